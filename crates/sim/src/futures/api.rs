//! What each call of futures does and answers.

use super::house::{Algo, Deny, House, Leg, Life, NewOrder, Order, Sums};
use super::orders::{self, BATCH_MAX, CANCEL_MAX, Params, refusal};
use super::position::{M, money, part, share, shown};
use super::{Service, calls, house};
use crate::book::{Side, Status};
use crate::decimal::{D, ONE, parse, short, text};
use crate::refusal::Refusal;
use crate::strict::{self, Understood};
use crate::venue::Venue;
use serde_json::{Map, Value, json};

type Done = Result<Value, Refusal>;

/// One request on its way through a house.
struct Call<'a> {
    service: Service,
    house: &'a mut House,
    assets: &'a [String],
    asked: &'a Understood,
    account: usize,
}

/// Does what an accepted request asks.
///
/// # Errors
/// The venue's refusal.
pub fn answer(venue: &mut Venue, service: Service, asked: &Understood) -> Result<String, Refusal> {
    let account = match asked.key {
        Some(_) => crate::api::owner(venue, asked)?,
        None => 0,
    };
    venue.futures.house(service).open_account(account);
    if asked.path.ends_with("/listenKey") {
        return listen_key(venue, service, account, asked).map(|value| value.to_string());
    }
    let weight_limit = venue.options.futures_weight_per_minute;
    if let Some(endpoint) = asked.endpoint()
        && endpoint.orders + endpoint.minute_orders > 0
    {
        let counts = [
            u64::from(endpoint.orders),
            u64::from(endpoint.minute_orders),
        ];
        // Both kinds count as one.
        let house = venue.futures.house(Service::Usd);
        house.open_account(account);
        house
            .count_orders(account, counts)
            .map_err(|(limit, window)| {
                let window = if window == 0 { "10 SECOND" } else { "1 MINUTE" };
                let msg =
                    format!("Too many new orders; current limit is {limit} orders per {window}.");
                Refusal::new(-1015, msg).status(429)
            })?;
    }
    if (asked.method, asked.path.ends_with("/positionSide/dual")) == ("POST", true) {
        return position_mode(venue, account, asked).map(|value| value.to_string());
    }
    let mut call = Call {
        service,
        house: &mut venue.futures.houses[service.index()],
        assets: &venue.exchange.assets,
        asked,
        account,
    };
    call.answer(weight_limit).map(|value| value.to_string())
}

/// Both kinds have one position mode: it changes at both, or at none.
fn position_mode(venue: &mut Venue, account: usize, asked: &Understood) -> Done {
    let hedge = asked.get("dualSidePosition") == Some("true");
    for house in &mut venue.futures.houses {
        house.open_account(account);
    }
    let may = venue
        .futures
        .houses
        .iter()
        .try_for_each(|house| house.may_set_hedge(account, hedge));
    may.map_err(|deny| match deny {
        Deny::Same => Refusal::new(-4059, "No need to change position side."),
        Deny::OpenOrders => Refusal::new(
            -4067,
            "Position side cannot be changed if there exists open orders.",
        ),
        Deny::HasPosition => Refusal::new(
            -4068,
            "Position side cannot be changed if there exists position.",
        ),
        other => refusal(other),
    })?;
    for house in &mut venue.futures.houses {
        house.set_hedge(account, hedge).map_err(refusal)?;
    }
    Ok(json!({"code": 200, "msg": "success"}))
}

/// How long a listen key lives without a word.
const LISTEN_KEY_MS: u64 = 3_600_000;

fn listen_key(venue: &mut Venue, service: Service, account: usize, asked: &Understood) -> Done {
    let place = (service, account);
    let missing = || Refusal::new(-1125, "This listenKey does not exist.");
    let now = venue.exchange.now;
    let until = now + LISTEN_KEY_MS;
    let known = venue.futures.listen_keys.get_mut(&place);
    let known = known.filter(|(_, until)| *until > now);
    if asked.method == "POST" {
        if let Some((key, until_then)) = known {
            *until_then = until;
            return Ok(json!({"listenKey": key}));
        }
        let made = crate::sapi::stream(venue, asked)?;
        let key = made["listenKey"].as_str().unwrap_or("").to_owned();
        venue.futures.listen_keys.insert(place, (key, until));
        return Ok(made);
    }
    let (key, until_then) = known
        .filter(|(key, _)| asked.get("listenKey").is_none_or(|sent| sent == key))
        .ok_or_else(missing)?;
    let key = key.clone();
    if asked.method == "DELETE" {
        venue.futures.listen_keys.remove(&place);
        venue.listen_keys.remove(&key);
        return Ok(json!({}));
    }
    *until_then = until;
    Ok(json!({"listenKey": key}))
}

impl<'a> Call<'a> {
    fn answer(&mut self, weight_limit: u64) -> Done {
        let usd = self.service == Service::Usd;
        let rest = self.asked.path.get(6..).unwrap_or("");
        let version = rest.get(..3).unwrap_or("");
        let name = rest.get(3..).unwrap_or("");
        Ok(match (self.asked.method, name) {
            ("GET", "ping") => json!({}),
            ("GET", "time") => json!({"serverTime": self.house.now}),
            ("GET", "exchangeInfo") => self.exchange_info(weight_limit),
            ("GET", "depth") => self.depth()?,
            ("GET", "trades" | "historicalTrades") => self.trades()?,
            ("GET", "aggTrades") => self.agg_trades()?,
            (
                "GET",
                "klines" | "continuousKlines" | "indexPriceKlines" | "markPriceKlines"
                | "premiumIndexKlines",
            ) => self.klines(name)?,
            ("GET", "ticker/24hr") => self.each(Self::day)?,
            ("GET", "ticker/price") => self.each(|call, m| {
                let at = &call.house.markets[m];
                let mut value = json!({"symbol": at.contract.name, "price": call.price(m, at.last), "time": call.house.now});
                if !usd {
                    value["ps"] = json!(at.contract.pair);
                }
                value
            })?,
            ("GET", "ticker/bookTicker") => self.each(Self::book_ticker)?,
            ("GET", "premiumIndex") => self.each(Self::premium)?,
            ("GET", "fundingRate") => self.funding_rates()?,
            ("GET", "fundingInfo") => (0..self.house.markets.len())
                .map(|m| {
                    json!({"symbol": self.house.markets[m].contract.name, "adjustedFundingRateCap": "0.02000000",
                           "adjustedFundingRateFloor": "-0.02000000", "fundingIntervalHours": 8, "disclaimer": false})
                })
                .collect(),
            ("GET", "openInterest") => self.open_interest()?,
            ("GET", "constituents") => {
                let symbol = self.asked.get("symbol").unwrap_or("");
                json!({"symbol": symbol, "time": self.house.now, "constituents": [{"exchange": "binance", "symbol": symbol, "weight": "1.00000000"}]})
            }
            ("GET", "assetIndex") => self.asset_index()?,
            ("GET", "insuranceBalance") => self.insurance(),
            ("POST", "order") => self.place_one(&self.asked.params.clone())?,
            ("POST", "order/test") => {
                let read = orders::read(self.house, self.account, &self.asked.params, false)?;
                self.house.test(self.account, read.contract, &read.new).map_err(refusal)?;
                json!({})
            }
            ("PUT", "order") => self.amend_one(&self.asked.params.clone())?,
            ("DELETE", "order") => {
                let contract = self.contract()?;
                self.cancel_one(contract, self.asked.long("orderId"), self.asked.get("origClientOrderId"))?
            }
            ("POST" | "PUT", "batchOrders") => self.batch()?,
            ("DELETE", "batchOrders") => self.cancel_batch()?,
            ("DELETE", "allOpenOrders") => {
                let contract = self.contract()?;
                self.house.cancel_all(self.account, contract);
                json!({"code": 200, "msg": "The operation of cancel all open order is done."})
            }
            ("POST", "countdownCancelAll") => self.countdown()?,
            ("GET", "order" | "openOrder") => {
                let contract = self.contract()?;
                let (id, client) = self.order_ref()?;
                let found = self
                    .house
                    .find(self.account, contract, id, client)
                    .filter(|o| name == "order" || o.status.open())
                    .ok_or_else(|| Refusal::new(-2013, "Order does not exist."))?;
                self.queried(found)
            }
            ("GET", "openOrders") => {
                let only = self.filter()?;
                let open = &self.house.accounts[self.account].open;
                open.iter()
                    .filter(|(c, _)| only(*c))
                    .filter_map(|(c, id)| self.house.order(*c, *id))
                    .map(|o| self.queried(o))
                    .collect()
            }
            ("GET", "allOrders") => self.all_orders()?,
            ("GET", "userTrades") => self.user_trades()?,
            ("GET", "forceOrders") => {
                let only = self.filter()?;
                let limit = self.limit(50, 100)?;
                let forced = &self.house.accounts[self.account].forced;
                let found: Vec<Value> = forced
                    .iter()
                    .filter(|(c, _)| only(*c) && self.asked.get("autoCloseType") != Some("ADL"))
                    .filter_map(|(c, id)| self.house.order(*c, *id))
                    .map(|o| self.queried(o))
                    .collect();
                last(found, limit)
            }
            ("POST", "algoOrder") => self.place_algo()?,
            ("DELETE", "algoOrder") => {
                let (id, client) = self.algo_ref()?;
                let id = self.house.cancel_algo(self.account, id, client).map_err(refusal)?;
                let client = self.house.algos.get(&id).map(|a| a.client_id.clone());
                json!({"algoId": id, "clientAlgoId": client, "code": "200", "msg": "success"})
            }
            ("DELETE", "algoOpenOrders") => {
                let contract = self.contract()?;
                self.house.cancel_algos(self.account, contract);
                json!({"code": 200, "msg": "The operation of cancel all open order is done."})
            }
            ("GET", "algoOrder") => {
                let (id, client) = self.algo_ref()?;
                let found = self
                    .house
                    .find_algo(self.account, id, client)
                    .ok_or_else(|| Refusal::new(-2013, "Order does not exist."))?;
                self.algo(found, true)
            }
            ("GET", "openAlgoOrders" | "allAlgoOrders") => self.algos(name)?,
            ("POST", "leverage") => self.leverage()?,
            ("POST", "marginType") => {
                let contract = self.contract()?;
                let isolated = self.asked.get("marginType") == Some("ISOLATED");
                self.house
                    .set_isolated(self.account, contract, isolated)
                    .map_err(|deny| match deny {
                        Deny::Same => Refusal::new(-4046, "No need to change margin type."),
                        other => refusal(other),
                    })?;
                json!({"code": 200, "msg": "success"})
            }
            ("GET", "positionSide/dual") => {
                json!({"dualSidePosition": self.house.accounts[self.account].hedge})
            }
            ("POST", "multiAssetsMargin") => {
                let joint = self.asked.get("multiAssetsMargin") == Some("true");
                self.house.set_joint(self.account, joint).map_err(|deny| match deny {
                    Deny::Same => Refusal::new(-4171, "Adjusted asset mode is currently set and does not need to be adjusted repeatedly."),
                    Deny::OpenOrders => Refusal::new(-4170, "Unable to adjust Multi-Assets Mode with open orders in USDⓈ-M Futures."),
                    Deny::Margin => Refusal::new(-4169, "Unable to adjust Multi-Assets Mode with insufficient margin balance in USDⓈ-M Futures."),
                    other => refusal(other),
                })?;
                json!({"code": 200, "msg": "success"})
            }
            ("GET", "multiAssetsMargin") => {
                json!({"multiAssetsMargin": self.house.accounts[self.account].joint})
            }
            ("POST", "positionMargin") => self.position_margin()?,
            ("GET", "positionMargin/history") => self.margin_history()?,
            ("GET", "positionRisk") => self.positions(version)?,
            ("GET", "account") => self.account(version),
            ("GET", "balance") => self.balances(),
            ("GET", "income") => self.income()?,
            ("GET", "leverageBracket") => self.brackets(version)?,
            ("GET", "commissionRate") => {
                let contract = self.contract()?;
                let c = &self.house.markets[contract].contract;
                let mut value = json!({"symbol": c.name, "makerCommissionRate": short(c.maker_fee), "takerCommissionRate": short(c.taker_fee)});
                if usd {
                    value["rpiCommissionRate"] = json!("0.00005000");
                }
                value
            }
            ("GET", "accountConfig") => {
                let owner = &self.house.accounts[self.account];
                json!({"feeTier": 0, "canTrade": true, "canDeposit": true, "canWithdraw": true, "dualSidePosition": owner.hedge,
                       "updateTime": 0, "multiAssetsMargin": owner.joint, "tradeGroupId": -1})
            }
            ("GET", "symbolConfig") => {
                let only = self.filter()?;
                (0..self.house.markets.len())
                    .filter(|m| only(*m))
                    .map(|m| {
                        let at = &self.house.markets[m].contract;
                        let setting = self.house.accounts[self.account].setting(m);
                        json!({"symbol": at.name, "marginType": if setting.isolated { "ISOLATED" } else { "CROSSED" }, "isAutoAddMargin": false,
                               "leverage": setting.leverage, "maxNotionalValue": short(shown(at.value_max(setting.leverage)))})
                    })
                    .collect()
            }
            ("GET", "apiTradingStatus") => json!({"indicators": {}, "updateTime": self.house.now}),
            ("GET", "feeBurn") => json!({"feeBurn": false}),
            ("POST", "feeBurn") => {
                if self.asked.get("feeBurn") == Some("true") {
                    // No discount in BNB is simulated.
                    return Err(Refusal::new(-1000, "An unknown error occurred while processing the request."));
                }
                json!({"code": 200, "msg": "success"})
            }
            ("GET", "rateLimit/order") => {
                let limits = self.house.order_limits;
                json!([
                    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": limits[0]},
                    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": limits[1]},
                ])
            }
            ("GET", "adlQuantile") => {
                let only = self.filter()?;
                let owner = &self.house.accounts[self.account];
                owner
                    .positions
                    .keys()
                    .filter(|(c, _)| only(*c))
                    .map(|(c, _)| {
                        let quantile = if owner.hedge { json!({"LONG": 1, "SHORT": 1, "HEDGE": 0}) } else { json!({"LONG": 1, "SHORT": 1, "BOTH": 0}) };
                        json!({"symbol": self.house.markets[*c].contract.name, "adlQuantile": quantile})
                    })
                    .collect()
            }
            ("GET", "orderAmendment") => self.amendments()?,
            _ => return Err(Refusal::new(0, "404 Not found").status(404)),
        })
    }

    fn contract(&self) -> Result<usize, Refusal> {
        self.house
            .find_contract(self.asked.get("symbol").unwrap_or(""))
            .ok_or_else(Refusal::symbol)
    }

    /// The contracts that `symbol` or `pair` leave.
    fn filter(&self) -> Result<impl Fn(usize) -> bool + use<>, Refusal> {
        let (symbol, pair) = (self.asked.get("symbol"), self.asked.get("pair"));
        if symbol.is_some() && pair.is_some() {
            return Err(Refusal::new(
                -1128,
                "Combination of optional parameters invalid.",
            ));
        }
        if symbol.is_some() {
            self.contract()?;
        }
        let fits: Vec<bool> = self
            .house
            .markets
            .iter()
            .map(|m| {
                symbol.is_none_or(|s| m.contract.name == s)
                    && pair.is_none_or(|p| m.contract.pair == p)
            })
            .collect();
        if pair.is_some() && !fits.contains(&true) {
            return Err(Refusal::new(-4144, "Invalid pair"));
        }
        Ok(move |contract: usize| fits.get(contract).copied().unwrap_or(false))
    }

    fn limit(&self, default: usize, max: usize) -> Result<usize, Refusal> {
        match self.asked.long("limit") {
            None => Ok(default),
            Some(0) => Err(Refusal::new(
                -1130,
                "Data sent for parameter 'limit' is not valid.",
            )),
            Some(number) => Ok(usize::try_from(number).unwrap_or(max).min(max)),
        }
    }

    /// Whether a time is between `startTime` and `endTime`.
    fn times(&self, days: u64) -> Result<impl Fn(u64) -> bool + use<>, Refusal> {
        let (start, end) = (self.asked.long("startTime"), self.asked.long("endTime"));
        if let (Some(start), Some(end)) = (start, end) {
            if end < start {
                return Err(Refusal::new(-1023, "Start time is greater than end time."));
            }
            if end - start > days * 86_400_000 {
                return Err(Refusal::new(
                    -4165,
                    format!("Maximum time interval is {days} days"),
                ));
            }
        }
        Ok(move |time| start.is_none_or(|s| time >= s) && end.is_none_or(|e| time <= e))
    }

    fn order_ref(&self) -> Result<(Option<u64>, Option<&'a str>), Refusal> {
        let asked = self.asked;
        let found = (asked.long("orderId"), asked.get("origClientOrderId"));
        if found == (None, None) {
            return Err(Refusal::either("origClientOrderId", "orderId"));
        }
        Ok(found)
    }

    fn algo_ref(&self) -> Result<(Option<u64>, Option<&'a str>), Refusal> {
        let asked = self.asked;
        let found = (asked.long("algoId"), asked.get("clientAlgoId"));
        if found == (None, None) {
            return Err(Refusal::either("algoId", "clientAlgoId"));
        }
        Ok(found)
    }

    fn price(&self, contract: usize, price: D) -> String {
        fixed(price, self.house.markets[contract].contract.price_places)
    }

    fn quantity(&self, contract: usize, quantity: D) -> String {
        let places = self.house.markets[contract].contract.quantity_places;
        fixed(quantity, places)
    }

    /// One answer, or one for each contract.
    fn each(&self, one: impl Fn(&Self, usize) -> Value) -> Done {
        let only = self.filter()?;
        if self.service == Service::Usd && self.asked.get("symbol").is_some() {
            return Ok(one(self, self.contract()?));
        }
        Ok((0..self.house.markets.len())
            .filter(|m| only(*m))
            .map(|m| one(self, m))
            .collect())
    }

    fn exchange_info(&self, weight_limit: u64) -> Value {
        let usd = self.service == Service::Usd;
        let limits = self.house.order_limits;
        let mut rates = vec![
            json!({"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight_limit}),
            json!({"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": limits[1]}),
        ];
        rates.push(json!({"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": limits[0]}));
        let lives = ["GTC", "IOC", "FOK", "GTX", "GTD", "RPI"];
        let lives = &lives[..lives.len() - usize::from(!self.house.takes_rpi)];
        let symbols: Vec<Value> = self
            .house
            .markets
            .iter()
            .enumerate()
            .map(|(m, at)| {
                let c = &at.contract;
                let price = |p| self.price(m, p);
                let mut filters = vec![
                    json!({"filterType": "PRICE_FILTER", "minPrice": price(c.price_min), "maxPrice": price(c.price_max), "tickSize": price(c.tick)}),
                    json!({"filterType": "LOT_SIZE", "minQty": self.quantity(m, c.step), "maxQty": self.quantity(m, c.quantity_max), "stepSize": self.quantity(m, c.step)}),
                    json!({"filterType": "MARKET_LOT_SIZE", "minQty": self.quantity(m, c.step), "maxQty": self.quantity(m, c.market_quantity_max), "stepSize": self.quantity(m, c.step)}),
                    json!({"filterType": "MAX_NUM_ORDERS", "limit": c.orders_max}),
                    json!({"filterType": "MAX_NUM_ALGO_ORDERS", "limit": c.stops_max}),
                    json!({"filterType": "PERCENT_PRICE", "multiplierUp": fixed(c.up, 4), "multiplierDown": fixed(c.down, 4), "multiplierDecimal": "4"}),
                ];
                if usd {
                    filters.push(json!({"filterType": "MIN_NOTIONAL", "notional": short(shown(c.value_min))}));
                }
                let status = if c.trading { "TRADING" } else { "SETTLING" };
                let mut value = json!({
                    "symbol": c.name, "pair": c.pair, "contractType": "PERPETUAL", "deliveryDate": 4_133_404_800_000_u64, "onboardDate": 1_569_398_400_000_u64,
                    "maintMarginPercent": "2.5000", "requiredMarginPercent": "5.0000", "baseAsset": c.base, "quoteAsset": c.quote,
                    "marginAsset": self.assets[c.margin], "pricePrecision": c.price_places, "quantityPrecision": c.quantity_places,
                    "baseAssetPrecision": 8, "quotePrecision": 8, "underlyingType": "COIN", "underlyingSubType": ["PoW"],
                    "triggerProtect": fixed(c.protect, 4), "liquidationFee": fixed(c.liquidation_fee, 6), "marketTakeBound": short(house::TAKE_BOUND),
                    "filters": filters,
                    "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"],
                    "timeInForce": lives,
                });
                if usd {
                    value["status"] = json!(status);
                    value["settlePlan"] = json!(0);
                    value["maxMoveOrderLimit"] = json!(house::AMENDS_MAX);
                } else {
                    value["contractStatus"] = json!(status);
                    value["contractSize"] = json!(shown(money(c.size)) / ONE);
                    value["equalQtyPrecision"] = json!(4);
                }
                value
            })
            .collect();
        let mut value = json!({"timezone": "UTC", "serverTime": self.house.now, "rateLimits": rates, "exchangeFilters": [], "symbols": symbols});
        if usd {
            value["futuresType"] = json!("U_MARGINED");
            value["assets"] = self
                .house
                .rates
                .keys()
                .map(|a| json!({"asset": self.assets[*a], "marginAvailable": true, "autoAssetExchange": "-10000"}))
                .collect();
        }
        value
    }

    fn depth(&self) -> Done {
        let contract = self.contract()?;
        let limit = self.asked.long("limit").unwrap_or(500);
        if ![5, 10, 20, 50, 100, 500, 1000].contains(&limit) {
            return Err(Refusal::new(
                -4021,
                format!("'{limit}' is not valid depth limit."),
            ));
        }
        let at = &self.house.markets[contract];
        let levels = |side| -> Vec<[String; 2]> {
            at.book
                .depth(side, usize::try_from(limit).unwrap_or(500))
                .into_iter()
                .map(|(p, q)| [self.price(contract, p), self.quantity(contract, q)])
                .collect()
        };
        let mut value = json!({"lastUpdateId": at.update, "E": self.house.now, "T": self.house.now, "bids": levels(Side::Buy), "asks": levels(Side::Sell)});
        if self.service == Service::Coin {
            value["symbol"] = json!(at.contract.name);
            value["pair"] = json!(at.contract.pair);
        }
        Ok(value)
    }

    fn trades(&self) -> Done {
        let contract = self.contract()?;
        let limit = self.limit(500, 1000)?;
        let at = &self.house.markets[contract];
        let one = |t: &house::Trade| {
            let mut value = json!({"id": t.id, "price": self.price(contract, t.price), "qty": self.quantity(contract, t.quantity), "time": t.time, "isBuyerMaker": t.buyer_maker});
            let worth = text(shown(at.contract.worth(t.quantity, t.price)));
            value[if self.service == Service::Usd {
                "quoteQty"
            } else {
                "baseQty"
            }] = json!(worth);
            value
        };
        Ok(match self.asked.long("fromId") {
            Some(from) => at
                .trades
                .iter()
                .filter(|t| t.id >= from)
                .take(limit)
                .map(one)
                .collect(),
            None => last(at.trades.iter().map(one).collect(), limit),
        })
    }

    fn agg_trades(&self) -> Done {
        let contract = self.contract()?;
        let (limit, within) = (self.limit(500, 1000)?, self.times(1)?);
        let from = self.asked.long("fromId");
        let all: Vec<Value> = self.house.markets[contract]
            .trades
            .iter()
            .filter(|t| within(t.time) && from.is_none_or(|from| t.id >= from))
            .map(|t| {
                json!({"a": t.id, "p": self.price(contract, t.price), "q": self.quantity(contract, t.quantity), "f": t.id, "l": t.id, "T": t.time, "m": t.buyer_maker})
            })
            .collect();
        if from.is_some() || self.asked.long("startTime").is_some() {
            return Ok(all.into_iter().take(limit).collect());
        }
        Ok(last(all, limit))
    }

    /// Candles are made up: a wave around the price, the last one closing at it. Only their form is real.
    fn klines(&self, name: &str) -> Done {
        let contract = match self.asked.get("pair") {
            None => self.contract()?,
            Some(pair) => {
                if self
                    .asked
                    .get("contractType")
                    .is_some_and(|t| t != "PERPETUAL")
                {
                    return Err(Refusal::new(-4104, "Invalid contract type"));
                }
                self.house
                    .markets
                    .iter()
                    .position(|m| m.contract.pair == pair)
                    .ok_or_else(|| Refusal::new(-4144, "Invalid pair"))?
            }
        };
        let limit = self.limit(500, 1500)?;
        let _ = self.times(36_500)?;
        let width = crate::api::interval_ms(self.asked.get("interval").unwrap_or("1m"));
        let at = &self.house.markets[contract];
        let now = self.house.now;
        let until = self.asked.long("endTime").unwrap_or(now).min(now) / width;
        let first = match self.asked.long("startTime") {
            Some(start) => start.div_ceil(width),
            None => (until + 1).saturating_sub(limit as u64),
        };
        let traded = matches!(name, "klines" | "continuousKlines");
        let slots = (first..=until).take(limit);
        let candles = slots.map(|slot| {
            let open = crate::api::wave(at.contract.price, at.contract.tick, slot);
            let close = if slot == now / width {
                if traded { at.last } else { at.mark }
            } else {
                crate::api::wave(at.contract.price, at.contract.tick, slot + 1)
            };
            let quantity = if traded {
                at.contract.maker_size * 10
            } else {
                0
            };
            let worth = text(shown(at.contract.worth(quantity, open)));
            let [open, high, low, close] =
                [open, open.max(close), open.min(close), close].map(|p| {
                    if name == "premiumIndexKlines" {
                        text(0)
                    } else {
                        self.price(contract, p)
                    }
                });
            let volume = self.quantity(contract, quantity);
            json!([
                slot * width,
                open,
                high,
                low,
                close,
                volume,
                (slot + 1) * width - 1,
                worth,
                100,
                volume,
                worth,
                "0"
            ])
        });
        Ok(candles.collect())
    }

    fn day(&self, contract: usize) -> Value {
        let at = &self.house.markets[contract];
        let (open, change) = (at.contract.price, at.last - at.contract.price);
        let percent = share(change, 100 * ONE, open);
        let quantity = at.trades.back().map_or(0, |t| t.quantity);
        let mut value = json!({
            "symbol": at.contract.name, "priceChange": self.price(contract, change), "priceChangePercent": fixed(percent, 3),
            "weightedAvgPrice": self.price(contract, at.contract.price_of(at.volume, at.turnover)), "lastPrice": self.price(contract, at.last),
            "lastQty": self.quantity(contract, quantity), "openPrice": self.price(contract, open), "highPrice": self.price(contract, at.high),
            "lowPrice": self.price(contract, at.low), "volume": self.quantity(contract, at.volume),
            "openTime": self.house.now.saturating_sub(86_400_000), "closeTime": self.house.now,
            "firstId": at.trades.front().map_or(0, |t| t.id), "lastId": at.trades.back().map_or(0, |t| t.id), "count": at.trades.len(),
        });
        if self.service == Service::Usd {
            value["quoteVolume"] = json!(text(shown(at.turnover)));
        } else {
            value["pair"] = json!(at.contract.pair);
            value["baseVolume"] = json!(text(shown(at.turnover)));
        }
        value
    }

    fn book_ticker(&self, contract: usize) -> Value {
        let at = &self.house.markets[contract];
        let best = |side| at.book.depth(side, 1).first().copied().unwrap_or((0, 0));
        let (bid, ask) = (best(Side::Buy), best(Side::Sell));
        let mut value = json!({
            "symbol": at.contract.name, "bidPrice": self.price(contract, bid.0), "bidQty": self.quantity(contract, bid.1),
            "askPrice": self.price(contract, ask.0), "askQty": self.quantity(contract, ask.1), "time": self.house.now, "lastUpdateId": at.update,
        });
        if self.service == Service::Coin {
            value["pair"] = json!(at.contract.pair);
        }
        value
    }

    fn premium(&self, contract: usize) -> Value {
        let at = &self.house.markets[contract];
        let next = (self.house.now / house::FUNDING_MS + 1) * house::FUNDING_MS;
        let mut value = json!({
            "symbol": at.contract.name, "markPrice": text(at.mark), "indexPrice": text(at.index), "estimatedSettlePrice": text(at.index),
            "lastFundingRate": text(at.rate), "interestRate": "0.00010000", "nextFundingTime": next, "time": self.house.now,
        });
        if self.service == Service::Coin {
            value["pair"] = json!(at.contract.pair);
        }
        value
    }

    fn funding_rates(&self) -> Done {
        let only = self.filter()?;
        let (limit, within) = (self.limit(100, 1000)?, self.times(36_500)?);
        let mut all: Vec<(u64, Value)> = Vec::new();
        for (m, at) in self.house.markets.iter().enumerate() {
            if !only(m) {
                continue;
            }
            for (time, rate, mark) in at.fundings.iter().filter(|(time, _, _)| within(*time)) {
                all.push((*time, json!({"symbol": at.contract.name, "fundingRate": text(*rate), "fundingTime": time, "markPrice": text(*mark)})));
            }
        }
        all.sort_by_key(|(time, _)| *time);
        Ok(last(all.into_iter().map(|(_, v)| v).collect(), limit))
    }

    fn open_interest(&self) -> Done {
        let contract = self.contract()?;
        let held: D = self
            .house
            .accounts
            .iter()
            .flat_map(|a| a.positions.iter())
            .filter(|((c, _), p)| *c == contract && p.quantity > 0)
            .map(|(_, p)| p.quantity)
            .sum();
        let c = &self.house.markets[contract].contract;
        let mut value = json!({"symbol": c.name, "openInterest": self.quantity(contract, held), "time": self.house.now});
        if self.service == Service::Coin {
            value["pair"] = json!(c.pair);
            value["contractType"] = json!("PERPETUAL");
        }
        Ok(value)
    }

    fn asset_index(&self) -> Done {
        let one = |(asset, rate): (&usize, &D)| {
            let rate = text(*rate);
            json!({"symbol": format!("{}USD", self.assets[*asset]), "time": self.house.now, "index": rate, "bidBuffer": "0.05000000", "askBuffer": "0.05000000",
                   "bidRate": rate, "askRate": rate, "autoExchangeBidBuffer": "0.05000000", "autoExchangeAskBuffer": "0.05000000",
                   "autoExchangeBidRate": rate, "autoExchangeAskRate": rate})
        };
        let all: Vec<Value> = self.house.rates.iter().map(one).collect();
        match self.asked.get("symbol") {
            None => Ok(Value::Array(all)),
            Some(name) => all
                .into_iter()
                .find(|v| v["symbol"] == name)
                .ok_or_else(Refusal::symbol),
        }
    }

    fn insurance(&self) -> Value {
        let symbols: Vec<&str> = self
            .house
            .markets
            .iter()
            .map(|m| m.contract.name.as_str())
            .collect();
        let assets: Vec<Value> = self
            .house
            .accounts
            .get(house::FUND)
            .map(|fund| {
                fund.wallets
                    .iter()
                    .map(|(a, v)| json!({"asset": self.assets[*a], "marginBalance": text(shown(*v)), "updateTime": self.house.now}))
                    .collect()
            })
            .unwrap_or_default();
        json!({"symbols": symbols, "assets": assets})
    }

    fn place_one(&mut self, params: &Params) -> Done {
        let read = orders::read(self.house, self.account, params, false)?;
        let id = self
            .house
            .place(self.account, read.contract, read.new)
            .map_err(refusal)?;
        let order = self
            .house
            .order(read.contract, id)
            .ok_or_else(|| refusal(Deny::Unknown))?;
        // An acknowledgement is written before the order is matched.
        if read.ack {
            let mut early = order.clone();
            early.executed = 0;
            early.paid = 0;
            early.value = 0;
            early.status = Status::New;
            early.updated = early.time;
            return Ok(Value::Object(self.order(&early)));
        }
        Ok(Value::Object(self.order(order)))
    }

    fn amend_one(&mut self, params: &Params) -> Done {
        let contract = self
            .house
            .find_contract(params.get("symbol").map_or("", String::as_str))
            .ok_or_else(Refusal::symbol)?;
        let side = orders::side(params)?;
        let id = params.get("orderId").and_then(|t| t.parse().ok());
        let client = params.get("origClientOrderId").map(String::as_str);
        if id.is_none() && client.is_none() {
            return Err(Refusal::either("origClientOrderId", "orderId"));
        }
        let gone = || Refusal::new(-2013, "Order does not exist.");
        let order = self
            .house
            .find(self.account, contract, id, client)
            .filter(|o| o.status.open())
            .ok_or_else(gone)?;
        let id = order.id;
        let quantity = match orders::amount(params, "quantity") {
            Some(quantity) => quantity,
            None => return Err(Refusal::mandatory("quantity")),
        };
        let matched = params
            .get("priceMatch")
            .and_then(|word| orders::level(word, side));
        let price = match (orders::amount(params, "price"), matched) {
            (Some(_), Some(_)) => return Err(Refusal::not_required("price")),
            (Some(price), None) => price,
            (None, Some((of, level))) => self.house.markets[contract]
                .book
                .depth(of, level)
                .get(level - 1)
                .map(|(price, _)| *price)
                .ok_or_else(|| refusal(Deny::NoDepth))?,
            (None, None) => return Err(Refusal::mandatory("price")),
        };
        self.house
            .amend(self.account, contract, id, side, price, quantity)
            .map_err(|deny| match deny {
                Deny::Unknown => gone(),
                other => refusal(other),
            })?;
        let order = self.house.order(contract, id).ok_or_else(gone)?;
        let mut value = self.order(order);
        if let Some(modify) = params.get("modifyId").and_then(|t| t.parse::<u64>().ok()) {
            value.insert("modifyId".to_owned(), json!(modify));
        }
        Ok(Value::Object(value))
    }

    fn cancel_one(&mut self, contract: usize, id: Option<u64>, client: Option<&str>) -> Done {
        if id.is_none() && client.is_none() {
            return Err(Refusal::either("origClientOrderId", "orderId"));
        }
        let id = self
            .house
            .cancel(self.account, contract, id, client)
            .map_err(refusal)?;
        let order = self
            .house
            .order(contract, id)
            .ok_or_else(|| refusal(Deny::Unknown))?;
        Ok(Value::Object(self.order(order)))
    }

    fn batch(&mut self) -> Done {
        let bad = || Refusal::new(-1130, "Data sent for parameter 'batchOrders' is not valid.");
        let all = orders::batch(self.asked.get("batchOrders").unwrap_or("")).ok_or_else(bad)?;
        if all.is_empty() || all.len() > BATCH_MAX {
            return Err(Refusal::new(
                -4082,
                format!("Invalid number of batch place orders: {}", all.len()),
            ));
        }
        let path = self.asked.path.replace("batchOrders", "order");
        let endpoint = calls::call(self.asked.method, &path).ok_or_else(bad)?;
        let done = all
            .iter()
            .map(|params| {
                let known = |name: &str| endpoint.param(name).is_some();
                if let Some(name) = params.keys().find(|name| !known(name)) {
                    return Err(Refusal::new(
                        -1104,
                        format!("Not all sent parameters were read; '{name}' is unknown."),
                    ));
                }
                strict::parameters(endpoint, params, false)?;
                if self.asked.method == "POST" {
                    self.place_one(params)
                } else {
                    self.amend_one(params)
                }
            })
            .map(mixed)
            .collect();
        Ok(done)
    }

    fn cancel_batch(&mut self) -> Done {
        let contract = self.contract()?;
        // Clients write their names in two ways.
        let either = |a, b| match (self.asked.get(a), self.asked.get(b)) {
            (Some(_), Some(_)) => Err(Refusal::new(
                -1128,
                "Combination of optional parameters invalid.",
            )),
            (a, b) => Ok(a.or(b)),
        };
        let ids = either("orderIdList", "orderidlist")?;
        let clients = either("origClientOrderIdList", "origclientorderidlist")?;
        let (name, text) = match (ids, clients) {
            (Some(text), None) => ("orderIdList", text),
            (None, Some(text)) => ("origClientOrderIdList", text),
            (None, None) => {
                return Err(Refusal::either("orderIdList", "origClientOrderIdList"));
            }
            (Some(_), Some(_)) => {
                return Err(Refusal::new(
                    -1128,
                    "Combination of optional parameters invalid.",
                ));
            }
        };
        let bad = || {
            Refusal::new(
                -1130,
                format!("Data sent for parameter '{name}' is not valid."),
            )
        };
        let all = orders::list(text).ok_or_else(bad)?;
        if all.len() > CANCEL_MAX {
            return Err(Refusal::new(-4032, "Exceed maximum cancel order size."));
        }
        let numbers: Option<Vec<u64>> = all.iter().map(|t| t.parse().ok()).collect();
        if ids.is_some() && numbers.is_none() {
            return Err(bad());
        }
        let done = all
            .iter()
            .map(|one| {
                if ids.is_some() {
                    self.cancel_one(contract, one.parse().ok(), None)
                } else {
                    self.cancel_one(contract, None, Some(one))
                }
            })
            .map(mixed)
            .collect();
        Ok(done)
    }

    fn countdown(&mut self) -> Done {
        let contract = self.contract()?;
        let ms = self.asked.long("countdownTime").unwrap_or(0);
        let until = self.house.now.saturating_add(ms);
        let owner = &mut self.house.accounts[self.account];
        if ms == 0 {
            owner.countdowns.remove(&contract);
        } else {
            owner.countdowns.insert(contract, until);
        }
        Ok(json!({"symbol": self.asked.get("symbol"), "countdownTime": ms.to_string()}))
    }

    fn place_algo(&mut self) -> Done {
        let read = orders::read(self.house, self.account, &self.asked.params, true)?;
        let client = self.asked.get("clientAlgoId").map(str::to_owned);
        let id = self
            .house
            .place_algo(self.account, read.contract, read.new, client)
            .map_err(refusal)?;
        let algo = self
            .house
            .algos
            .get(&id)
            .ok_or_else(|| refusal(Deny::Unknown))?;
        Ok(self.algo(algo, false))
    }

    fn algos(&self, name: &str) -> Done {
        let only = self.filter()?;
        let (limit, within) = (self.limit(500, 1000)?, self.times(7)?);
        let id = self.asked.long("algoId");
        let open = name == "openAlgoOrders";
        let all: Vec<Value> = self.house.accounts[self.account]
            .algos
            .iter()
            .filter_map(|id| self.house.algos.get(id))
            .filter(|a| only(a.contract) && within(a.time))
            .filter(|a| {
                if open {
                    a.status == "NEW" && id.is_none_or(|id| a.id == id)
                } else {
                    id.is_none_or(|id| a.id >= id)
                }
            })
            .map(|a| self.algo(a, true))
            .collect();
        Ok(last(all, limit))
    }

    fn algo(&self, algo: &Algo, queried: bool) -> Value {
        let (m, new) = (algo.contract, &algo.asked);
        let trigger = new.trigger;
        let price_or_zero = |p: D| {
            if p == 0 {
                "0".to_owned()
            } else {
                self.price(m, p)
            }
        };
        let mut value = json!({
            "algoId": algo.id, "clientAlgoId": algo.client_id, "algoType": "CONDITIONAL", "orderType": new.kind,
            "symbol": self.house.markets[m].contract.name, "side": new.side.word(), "positionSide": leg_word(new.leg),
            "timeInForce": life_word(new.life), "quantity": self.quantity(m, new.quantity), "algoStatus": algo.status,
            "triggerPrice": price_or_zero(trigger.filter(|t| t.trailing.is_none()).map_or(0, |t| t.price)),
            "price": price_or_zero(new.price.unwrap_or(0)), "icebergQuantity": null, "selfTradePreventionMode": new.stp,
            "workingType": working(new), "priceMatch": new.price_match, "closePosition": new.close,
            "priceProtect": trigger.is_some_and(|t| t.protect), "reduceOnly": new.reduce || new.close,
            "createTime": algo.time, "updateTime": algo.updated, "triggerTime": algo.triggered, "goodTillDate": till(new.life),
        });
        if let Some(t) = trigger.filter(|t| t.trailing.is_some()) {
            value["activatePrice"] = json!(price_or_zero(t.price));
            value["callbackRate"] = json!(short(t.trailing.unwrap_or(0) * 100));
        }
        if queried {
            let actual = algo.order.and_then(|id| self.house.order(m, id));
            value["actualOrderId"] = json!(actual.map_or(String::new(), |o| o.id.to_string()));
            value["actualPrice"] = json!(fixed(actual.map_or(0, Order::average), 5));
            value["actualQty"] =
                json!(actual.map_or("0.0".to_owned(), |o| self.quantity(m, o.executed)));
            value["actualType"] = json!(actual.map_or("", kind));
            value["tpOrderType"] = json!("");
        }
        value
    }

    /// An order as calls that change it answer.
    fn order(&self, order: &Order) -> Map<String, Value> {
        let (m, new) = (order.contract, &order.asked);
        let trigger = new.trigger;
        let price_or_zero = |p: D| {
            if p == 0 {
                "0".to_owned()
            } else {
                self.price(m, p)
            }
        };
        let waits = trigger
            .filter(|t| t.trailing.is_none())
            .map_or(0, |t| t.price);
        let value = json!({
            "orderId": order.id, "symbol": self.house.markets[m].contract.name, "status": order.status.word(),
            "clientOrderId": new.client_id, "price": price_or_zero(order.price), "avgPrice": fixed(order.average(), 5),
            "origQty": self.quantity(m, order.quantity), "executedQty": self.quantity(m, order.executed), "cumQty": self.quantity(m, order.executed),
            "timeInForce": life_word(new.life), "type": kind(order), "reduceOnly": order.reduces(), "closePosition": new.close,
            "side": new.side.word(), "positionSide": leg_word(new.leg), "stopPrice": price_or_zero(waits), "workingType": working(new),
            "priceProtect": trigger.is_some_and(|t| t.protect), "origType": new.kind, "priceMatch": new.price_match,
            "selfTradePreventionMode": new.stp, "updateTime": order.updated,
        });
        let Value::Object(mut map) = value else {
            return Map::new();
        };
        if let Some(t) = trigger.filter(|t| t.trailing.is_some()) {
            map.insert("activatePrice".to_owned(), json!(price_or_zero(t.price)));
            map.insert(
                "priceRate".to_owned(),
                json!(short(t.trailing.unwrap_or(0) * 100)),
            );
        }
        let worth = json!(text(shown(order.value)));
        map.insert("goodTillDate".to_owned(), json!(till(new.life)));
        if self.service == Service::Usd {
            map.insert("cumQuote".to_owned(), worth);
        } else {
            map.insert("cumBase".to_owned(), worth);
            let pair = &self.house.markets[m].contract.pair;
            map.insert("pair".to_owned(), json!(pair));
        }
        map
    }

    /// An order as reads answer.
    fn queried(&self, order: &Order) -> Value {
        let mut map = self.order(order);
        map.remove("cumQty");
        map.insert("time".to_owned(), json!(order.time));
        Value::Object(map)
    }

    fn all_orders(&self) -> Done {
        let only = self.filter()?;
        if self.service == Service::Coin
            && self.asked.get("symbol").is_none()
            && self.asked.get("pair").is_none()
        {
            return Err(Refusal::either("symbol", "pair"));
        }
        let (limit, within) = (self.limit(500, 1000)?, self.times(7)?);
        let from = self.asked.long("orderId");
        let all: Vec<Value> = self.house.accounts[self.account]
            .orders
            .iter()
            .filter(|(c, _)| only(*c))
            .filter_map(|(c, id)| self.house.order(*c, *id))
            .filter(|o| within(o.time) && from.is_none_or(|from| o.id >= from))
            .map(|o| self.queried(o))
            .collect();
        if from.is_some() {
            return Ok(all.into_iter().take(limit).collect());
        }
        Ok(last(all, limit))
    }

    fn user_trades(&self) -> Done {
        let only = self.filter()?;
        if self.asked.get("symbol").is_none() && self.asked.get("pair").is_none() {
            return Err(Refusal::either("symbol", "pair"));
        }
        let from = self.asked.long("fromId");
        if from.is_some()
            && (self.asked.long("startTime").is_some() || self.asked.long("endTime").is_some())
        {
            return Err(Refusal::new(
                -1128,
                "Combination of optional parameters invalid.",
            ));
        }
        let (limit, within) = (self.limit(500, 1000)?, self.times(7)?);
        let order = self.asked.long("orderId");
        let all: Vec<Value> = self.house.accounts[self.account]
            .trades
            .iter()
            .filter(|t| only(t.contract) && within(t.time))
            .filter(|t| from.is_none_or(|from| t.id >= from) && order.is_none_or(|o| t.order == o))
            .map(|t| {
                let c = &self.house.markets[t.contract].contract;
                let mut value = json!({
                    "symbol": c.name, "id": t.id, "orderId": t.order, "side": t.side.word(), "price": self.price(t.contract, t.price),
                    "qty": self.quantity(t.contract, t.quantity), "realizedPnl": text(shown(t.realized)), "commission": text(shown(t.fee)),
                    "commissionAsset": self.assets[c.margin], "time": t.time, "positionSide": leg_word(t.leg),
                    "buyer": t.side == Side::Buy, "maker": t.maker,
                });
                if self.service == Service::Usd {
                    value["quoteQty"] = json!(text(shown(t.value)));
                } else {
                    value["pair"] = json!(c.pair);
                    value["marginAsset"] = json!(self.assets[c.margin]);
                    value["baseQty"] = json!(text(shown(t.value)));
                }
                value
            })
            .collect();
        if from.is_some() {
            return Ok(all.into_iter().take(limit).collect());
        }
        Ok(last(all, limit))
    }

    fn leverage(&mut self) -> Done {
        let contract = self.contract()?;
        let leverage = self.asked.long("leverage").unwrap_or(0);
        let leverage = u32::try_from(leverage).unwrap_or(u32::MAX);
        let max = self
            .house
            .set_leverage(self.account, contract, leverage)
            .map_err(|deny| match deny {
                Deny::Leverage => Refusal::new(-4028, format!("Leverage {leverage} is not valid")),
                other => refusal(other),
            })?;
        let name = if self.service == Service::Usd {
            "maxNotionalValue"
        } else {
            "maxQty"
        };
        Ok(
            json!({"symbol": self.asked.get("symbol"), "leverage": leverage, name: short(shown(max))}),
        )
    }

    fn position_margin(&mut self) -> Done {
        let contract = self.contract()?;
        let amount = self.asked.decimal("amount").unwrap_or(0);
        if amount <= 0 {
            return Err(Refusal::new(-4055, "Amount must be positive."));
        }
        let adds = self.asked.get("type") == Some("1");
        let leg = orders::leg(&self.asked.params);
        self.house
            .move_margin(self.account, contract, leg, adds, money(amount))
            .map_err(refusal)?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "the venue answers a JSON number here"
        )]
        let number = amount as f64 / ONE as f64;
        Ok(
            json!({"amount": number, "code": 200, "msg": "Successfully modify position margin.", "type": if adds { 1 } else { 2 }}),
        )
    }

    fn margin_history(&self) -> Done {
        let contract = self.contract()?;
        let (limit, within) = (self.limit(500, 500)?, self.times(30)?);
        let kind = self.asked.get("type");
        let asset = &self.assets[self.house.markets[contract].contract.margin];
        let all: Vec<Value> = self.house.accounts[self.account]
            .margins
            .iter()
            .filter(|(c, _, adds, _, time)| {
                *c == contract
                    && within(*time)
                    && kind.is_none_or(|k| k == if *adds { "1" } else { "2" })
            })
            .map(|(_, leg, adds, amount, time)| {
                json!({"symbol": self.asked.get("symbol"), "type": if *adds { 1 } else { 2 }, "deltaType": "USER_ADJUST", "amount": text(shown(*amount)),
                       "asset": asset, "time": time, "positionSide": leg_word(*leg)})
            })
            .collect();
        Ok(last(all, limit))
    }

    fn legs(&self) -> &'static [Leg] {
        if self.house.accounts[self.account].hedge {
            &[Leg::Long, Leg::Short]
        } else {
            &[Leg::Both]
        }
    }

    fn positions(&self, version: &str) -> Done {
        let only = self.filter()?;
        let asset = self.asked.get("marginAsset");
        let mut all = Vec::new();
        for m in (0..self.house.markets.len()).filter(|m| only(*m)) {
            let at = &self.house.markets[m];
            if asset.is_some_and(|a| self.assets[at.contract.margin] != a) {
                continue;
            }
            let exposure = self.house.exposure(self.account, m, None);
            for leg in self.legs() {
                let p = self.house.accounts[self.account].position(m, *leg);
                let nothing = p.quantity == 0 && exposure.bids == 0 && exposure.asks == 0;
                if version == "v3/" && nothing {
                    continue;
                }
                all.push(self.position(version, m, *leg));
            }
        }
        Ok(Value::Array(all))
    }

    fn position(&self, version: &str, m: usize, leg: Leg) -> Value {
        let usd = self.service == Service::Usd;
        let owner = &self.house.accounts[self.account];
        let (at, p, setting) = (
            &self.house.markets[m],
            owner.position(m, leg),
            owner.setting(m),
        );
        let c = &at.contract;
        let worth = c.worth(p.quantity, at.mark);
        let profit = p.profit(c, at.mark);
        let price_places = if usd { c.price_places + 1 } else { 8 };
        let price = |p: D| {
            if p == 0 {
                "0.0".to_owned()
            } else {
                fixed(p, price_places.min(8))
            }
        };
        let liquidation = self.house.liquidation_price(self.account, m, leg);
        let isolated = if setting.isolated && p.quantity != 0 {
            p.isolated + profit
        } else {
            0
        };
        let notional = text(shown(worth) * p.quantity.signum());
        let mut value = json!({
            "symbol": c.name, "positionAmt": self.quantity(m, p.quantity), "entryPrice": price(p.entry(c)), "breakEvenPrice": price(p.entry(c)),
            "markPrice": text(at.mark), "unRealizedProfit": text(shown(profit)), "liquidationPrice": liquidation.map_or("0".to_owned(), price),
            "isolatedMargin": text(shown(isolated)), "positionSide": leg_word(leg), "isolatedWallet": text(shown(p.isolated)), "updateTime": p.updated,
        });
        if version == "v3/" {
            let exposure = self.house.exposure(self.account, m, None);
            let initial = worth / M::from(setting.leverage.max(1));
            let orders = exposure.needed - exposure.positions;
            for (name, amount) in [
                ("initialMargin", initial + orders),
                ("maintMargin", c.maintenance(worth)),
                ("positionInitialMargin", initial),
                ("openOrderInitialMargin", orders),
                ("bidNotional", exposure.bids),
                ("askNotional", exposure.asks),
            ] {
                value[name] = json!(text(shown(amount)));
            }
            value["notional"] = json!(notional);
            value["marginAsset"] = json!(self.assets[c.margin]);
            value["adl"] = json!(if p.quantity == 0 { 0 } else { 1 });
            return value;
        }
        value["leverage"] = json!(setting.leverage.to_string());
        value["marginType"] = json!(if setting.isolated {
            "isolated"
        } else {
            "cross"
        });
        value["isAutoAddMargin"] = json!("false");
        let max = short(shown(c.value_max(setting.leverage)));
        if usd {
            value["maxNotionalValue"] = json!(max);
            value["notional"] = json!(notional);
        } else {
            value["maxQty"] = json!(max);
            value["notionalValue"] = json!(notional);
        }
        value
    }

    /// The assets that an account lists.
    fn listed(&self) -> Vec<usize> {
        let mut all: Vec<usize> = self.house.rates.keys().copied().collect();
        for at in &self.house.markets {
            all.push(at.contract.margin);
        }
        all.extend(self.house.accounts[self.account].wallets.keys());
        all.sort_unstable();
        all.dedup();
        all
    }

    fn asset_fields(&self, asset: usize) -> (Sums, Value) {
        let sums = self.house.sums(self.account, asset);
        let mut value = json!({"asset": self.assets[asset], "updateTime": self.house.now});
        let spare = self.house.spare(self.account, asset);
        for (name, amount) in [
            ("walletBalance", sums.wallet),
            ("unrealizedProfit", sums.profit),
            ("marginBalance", sums.wallet + sums.profit),
            ("maintMargin", sums.maintenance),
            ("initialMargin", sums.positions + sums.orders),
            ("positionInitialMargin", sums.positions),
            ("openOrderInitialMargin", sums.orders),
            ("crossWalletBalance", sums.cross),
            ("crossUnPnl", sums.cross_profit),
            ("availableBalance", sums.available),
            ("maxWithdrawAmount", spare),
        ] {
            value[name] = json!(text(shown(amount)));
        }
        (sums, value)
    }

    fn account(&self, version: &str) -> Value {
        let usd = self.service == Service::Usd;
        let owner = &self.house.accounts[self.account];
        let (mut total, mut assets) = (Sums::default(), Vec::new());
        let dollar = self.assets.iter().position(|a| a == "USDT");
        for asset in self.listed() {
            let (sums, mut value) = self.asset_fields(asset);
            let rate = match (owner.joint, Some(asset) == dollar) {
                (true, _) => self.house.rates.get(&asset).copied().unwrap_or(0),
                (false, true) => ONE,
                (false, false) => 0,
            };
            for (to, from) in [
                (&mut total.wallet, sums.wallet),
                (&mut total.cross, sums.cross),
                (&mut total.profit, sums.profit),
                (&mut total.cross_profit, sums.cross_profit),
                (&mut total.positions, sums.positions),
                (&mut total.orders, sums.orders),
                (&mut total.maintenance, sums.maintenance),
            ] {
                *to += part(from, rate);
            }
            if Some(asset) == dollar {
                total.available = sums.available;
            }
            if usd && version != "v3/" {
                value["marginAvailable"] = json!(true);
            }
            assets.push(value);
        }
        let mut positions = Vec::new();
        for m in 0..self.house.markets.len() {
            for leg in self.legs() {
                let p = owner.position(m, *leg);
                let exposure = self.house.exposure(self.account, m, None);
                if usd && version == "v3/" && p.quantity == 0 && exposure.needed == 0 {
                    continue;
                }
                positions.push(self.account_position(version, m, *leg));
            }
        }
        let mut value = json!({"assets": assets, "positions": positions});
        if !usd || version != "v3/" {
            for name in ["canTrade", "canDeposit", "canWithdraw"] {
                value[name] = json!(true);
            }
            value["feeTier"] = json!(0);
            value["updateTime"] = json!(0);
        }
        if usd {
            if version != "v3/" {
                value["feeBurn"] = json!(false);
                value["multiAssetsMargin"] = json!(owner.joint);
                value["tradeGroupId"] = json!(-1);
            }
            for (name, amount) in [
                ("totalInitialMargin", total.positions + total.orders),
                ("totalMaintMargin", total.maintenance),
                ("totalWalletBalance", total.wallet),
                ("totalUnrealizedProfit", total.profit),
                ("totalMarginBalance", total.wallet + total.profit),
                ("totalPositionInitialMargin", total.positions),
                ("totalOpenOrderInitialMargin", total.orders),
                ("totalCrossWalletBalance", total.cross),
                ("totalCrossUnPnl", total.cross_profit),
                ("availableBalance", total.available),
                ("maxWithdrawAmount", total.available.min(total.cross)),
            ] {
                value[name] = json!(text(shown(amount)));
            }
        }
        value
    }

    fn account_position(&self, version: &str, m: usize, leg: Leg) -> Value {
        let usd = self.service == Service::Usd;
        let owner = &self.house.accounts[self.account];
        let (at, p, setting) = (
            &self.house.markets[m],
            owner.position(m, leg),
            owner.setting(m),
        );
        let c = &at.contract;
        let worth = c.worth(p.quantity, at.mark);
        let exposure = self.house.exposure(self.account, m, None);
        let initial = worth / M::from(setting.leverage.max(1));
        let orders = exposure.needed - exposure.positions;
        let profit = p.profit(c, at.mark);
        let mut value = json!({
            "symbol": c.name, "positionSide": leg_word(leg), "positionAmt": self.quantity(m, p.quantity),
            "unrealizedProfit": text(shown(profit)), "initialMargin": text(shown(initial + orders)),
            "maintMargin": text(shown(c.maintenance(worth))), "updateTime": p.updated,
        });
        let notional = text(shown(worth) * p.quantity.signum());
        if usd && version == "v3/" {
            let isolated = if setting.isolated {
                p.isolated + profit
            } else {
                0
            };
            value["isolatedMargin"] = json!(text(shown(isolated)));
            value["isolatedWallet"] = json!(text(shown(p.isolated)));
            value["notional"] = json!(notional);
            return value;
        }
        value["positionInitialMargin"] = json!(text(shown(initial)));
        value["openOrderInitialMargin"] = json!(text(shown(orders)));
        value["leverage"] = json!(setting.leverage.to_string());
        value["isolated"] = json!(setting.isolated);
        value["isolatedWallet"] = json!(text(shown(p.isolated)));
        value["entryPrice"] = json!(fixed(p.entry(c), if usd { c.price_places + 1 } else { 8 }));
        value["breakEvenPrice"] = value["entryPrice"].clone();
        let max = short(shown(c.value_max(setting.leverage)));
        if usd {
            value["maxNotional"] = json!(max);
            value["notional"] = json!(notional);
            value["bidNotional"] = json!(text(shown(exposure.bids)));
            value["askNotional"] = json!(text(shown(exposure.asks)));
        } else {
            value["maxQty"] = json!(max);
            value["notionalValue"] = json!(notional);
        }
        value
    }

    fn balances(&self) -> Value {
        let usd = self.service == Service::Usd;
        self.listed()
            .into_iter()
            .map(|asset| {
                let (_, fields) = self.asset_fields(asset);
                let mut value = json!({"accountAlias": "SgsR", "asset": fields["asset"], "balance": fields["walletBalance"],
                    "crossWalletBalance": fields["crossWalletBalance"], "crossUnPnl": fields["crossUnPnl"],
                    "availableBalance": fields["availableBalance"], "updateTime": fields["updateTime"]});
                if usd {
                    value["maxWithdrawAmount"] = fields["maxWithdrawAmount"].clone();
                    value["marginAvailable"] = json!(true);
                } else {
                    value["withdrawAvailable"] = fields["maxWithdrawAmount"].clone();
                }
                value
            })
            .collect()
    }

    fn income(&self) -> Done {
        let only = self.filter()?;
        let (limit, within) = (self.limit(100, 1000)?, self.times(36_500)?);
        let page = usize::try_from(self.asked.long("page").unwrap_or(1).max(1)).unwrap_or(1);
        let symbol = self.asked.get("symbol").is_some();
        let kind = self.asked.get("incomeType");
        let all: Vec<Value> = self.house.accounts[self.account]
            .income
            .iter()
            .filter(|i| within(i.time) && kind.is_none_or(|k| i.kind == k))
            .filter(|i| i.contract.map_or(!symbol, &only))
            .map(|i| {
                let contract = i.contract.map_or("", |c| self.house.markets[c].contract.name.as_str());
                json!({"symbol": contract, "incomeType": i.kind, "income": text(shown(i.amount)), "asset": self.assets[i.asset],
                       "info": i.kind, "time": i.time, "tranId": i.id, "tradeId": i.trade.map_or(String::new(), |t| t.to_string())})
            })
            .collect();
        if self.asked.long("startTime").is_some() || self.asked.long("page").is_some() {
            let skip = (page - 1).saturating_mul(limit);
            return Ok(all.into_iter().skip(skip).take(limit).collect());
        }
        Ok(last(all, limit))
    }

    fn brackets(&self, version: &str) -> Done {
        let only = self.filter()?;
        let by_pair = self.service == Service::Coin && version == "v1/";
        let [cap, floor] = match self.service {
            Service::Usd => ["notionalCap", "notionalFloor"],
            Service::Coin if by_pair => ["qtyCap", "qtylFloor"],
            Service::Coin => ["qtyCap", "qtyFloor"],
        };
        let all: Vec<Value> = self
            .house
            .markets
            .iter()
            .enumerate()
            .filter(|(m, _)| only(*m))
            .map(|(_, at)| {
                let brackets: Vec<Value> = at
                    .contract
                    .brackets
                    .iter()
                    .enumerate()
                    .map(|(i, b)| {
                        json!({"bracket": i + 1, "initialLeverage": b.leverage, cap: number(shown(b.cap)), floor: number(shown(b.floor)),
                               "maintMarginRatio": number(b.rate), "cum": number(shown(b.cum))})
                    })
                    .collect();
                if by_pair {
                    json!({"pair": at.contract.pair, "brackets": brackets})
                } else {
                    json!({"symbol": at.contract.name, "notionalCoef": 1.0, "brackets": brackets})
                }
            })
            .collect();
        Ok(Value::Array(all))
    }

    fn amendments(&self) -> Done {
        let contract = self.contract()?;
        let (id, client) = self.order_ref()?;
        let (limit, within) = (self.limit(50, 100)?, self.times(7)?);
        let order = self
            .house
            .find(self.account, contract, id, client)
            .ok_or_else(|| Refusal::new(-2013, "Order does not exist."))?;
        let c = &self.house.markets[contract].contract;
        let all: Vec<Value> = order
            .amends
            .iter()
            .enumerate()
            .filter(|(_, a)| within(u64::try_from(a[0]).unwrap_or(0)))
            .map(|(i, [time, p, p_after, q, q_after])| {
                json!({"amendmentId": i + 1, "symbol": c.name, "pair": c.pair, "orderId": order.id, "clientOrderId": order.asked.client_id, "time": u64::try_from(*time).unwrap_or(0),
                       "amendment": {"price": {"before": self.price(contract, *p), "after": self.price(contract, *p_after)},
                                     "origQty": {"before": self.quantity(contract, *q), "after": self.quantity(contract, *q_after)}, "count": i + 1}})
            })
            .collect();
        Ok(last(all, limit))
    }
}

/// The last of many.
fn last(all: Vec<Value>, limit: usize) -> Value {
    let skip = all.len().saturating_sub(limit);
    all.into_iter().skip(skip).collect()
}

/// One answer of a batch.
fn mixed(done: Done) -> Value {
    done.unwrap_or_else(|refusal| json!({"code": refusal.code, "msg": refusal.msg}))
}

pub(crate) fn kind(order: &Order) -> &'static str {
    if order.waiting {
        order.asked.kind
    } else if order.asked.price.is_some() {
        "LIMIT"
    } else {
        "MARKET"
    }
}

pub(crate) fn leg_word(leg: Leg) -> &'static str {
    match leg {
        Leg::Both => "BOTH",
        Leg::Long => "LONG",
        Leg::Short => "SHORT",
    }
}

pub(crate) fn life_word(life: Life) -> &'static str {
    match life {
        Life::Gtc => "GTC",
        Life::Ioc => "IOC",
        Life::Fok => "FOK",
        Life::Gtx => "GTX",
        Life::Rpi => "RPI",
        Life::Gtd(_) => "GTD",
    }
}

pub(crate) fn till(life: Life) -> u64 {
    match life {
        Life::Gtd(until) => until,
        _ => 0,
    }
}

pub(crate) fn working(new: &NewOrder) -> &'static str {
    if new.trigger.is_some_and(|t| t.by_mark) {
        "MARK_PRICE"
    } else {
        "CONTRACT_PRICE"
    }
}

/// A JSON number, where the venue writes one.
fn number(units: D) -> Value {
    let text = short(units);
    parse(&text)
        .ok()
        .and_then(|_| serde_json::from_str(&text).ok())
        .unwrap_or(Value::Null)
}

/// With that many places, cut.
pub(crate) fn fixed(units: D, places: usize) -> String {
    let all = text(units);
    let keep = match places {
        0 => all.len().saturating_sub(9),
        places => all.len().saturating_sub(8_usize.saturating_sub(places)),
    };
    all.get(..keep).unwrap_or(&all).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::d;

    #[test]
    fn numbers_have_their_places() {
        for (units, places, expected) in [
            (d("65000.1"), 2, "65000.10"),
            (-d("0.015"), 3, "-0.015"),
            (d("12"), 0, "12"),
            (-d("3"), 0, "-3"),
            (0, 0, "0"),
            (d("1.5"), 8, "1.50000000"),
        ] {
            assert_eq!(fixed(units, places), expected);
        }
        assert_eq!(number(d("0.0065")).to_string(), "0.0065");
    }
}
