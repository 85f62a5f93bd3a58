//! USD-M and COIN-M futures: `/fapi` and `/dapi`, on the same book as spot.
//!
//! [`position`] is the arithmetic, [`house`] accounts, matching, margin and liquidation; both know no venue. [`orders`] reads
//! orders out of requests, [`api`] answers, [`calls`] has the table of calls. Prices follow the spot markets.

pub mod api;
pub mod calls;
pub mod house;
pub mod orders;
pub mod position;
pub mod user_stream;

use crate::book::Side;
use crate::decimal::{D, ONE, d, div};
use crate::exchange::{CROWD, Exchange, MAKERS};
use crate::makers::{Random, STEP_MS};
use crate::venue::Kind;
use house::House;
use position::{Bracket, Contract, brackets, money};
use std::collections::HashMap;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// USD-M: paid in dollars.
    Usd,
    /// COIN-M: paid in coins.
    Coin,
}

impl Service {
    /// By a path.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        if path.starts_with("/fapi/") {
            Some(Self::Usd)
        } else if path.starts_with("/dapi/") {
            Some(Self::Coin)
        } else {
            None
        }
    }

    /// The wallet that transfers name.
    #[must_use]
    pub fn of_wallet(name: &str) -> Option<Self> {
        match name {
            "UMFUTURE" => Some(Self::Usd),
            "CMFUTURE" => Some(Self::Coin),
            _ => None,
        }
    }

    /// The name of its wallet in transfers.
    #[must_use]
    pub fn wallet(self) -> &'static str {
        match self {
            Self::Usd => "UMFUTURE",
            Self::Coin => "CMFUTURE",
        }
    }

    /// Number.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Usd => 0,
            Self::Coin => 1,
        }
    }
}

/// Both, with those who quote.
#[derive(Debug)]
pub struct Futures {
    /// By [`Service::index`].
    pub houses: [House; 2],
    /// Listen keys by service and account, and until when they are good.
    pub listen_keys: HashMap<(Service, usize), (String, u64)>,
    spot: [Vec<usize>; 2],
    quotes: [Vec<Vec<u64>>; 2],
    random: Random,
    at: u64,
    moving: bool,
}

/// Prices on each side.
const LEVELS: i128 = 20;

impl Futures {
    /// Opens, with quotes.
    #[must_use]
    pub fn new(exchange: &Exchange, kind: Kind, seed: u64, moving: bool) -> Self {
        let (mut usd, mut coin) = (usd_contracts(exchange), coin_contracts(exchange));
        if kind == Kind::Okx {
            // Contracts of a part of the base there, in whole numbers.
            for contract in &mut usd {
                let size = match contract.base.as_str() {
                    "BTC" => ONE / 100,
                    "ETH" => ONE / 10,
                    "DOGE" => 1000 * ONE,
                    "XRP" => 100 * ONE,
                    _ => ONE,
                };
                for amount in [
                    &mut contract.quantity_max,
                    &mut contract.market_quantity_max,
                    &mut contract.maker_size,
                ] {
                    *amount = div(*amount, size) / ONE * ONE;
                }
                contract.size = size;
                contract.step = ONE;
                contract.quantity_places = 0;
                contract.value_min = 0;
            }
            for contract in usd.iter_mut().chain(&mut coin) {
                contract.name = format!("{}-{}-SWAP", contract.base, contract.quote);
            }
        }
        if kind == Kind::Bybit {
            // Inverse contracts of one dollar each there.
            for contract in &mut coin {
                contract.name.clone_from(&contract.pair);
                for amount in [
                    &mut contract.quantity_max,
                    &mut contract.market_quantity_max,
                    &mut contract.maker_size,
                ] {
                    *amount = *amount / ONE * contract.size;
                }
                contract.size = ONE;
            }
        }
        let spot = [&usd, &coin].map(|all| {
            all.iter()
                .map(|c| spot_market(exchange, &c.base).unwrap_or(0))
                .collect::<Vec<_>>()
        });
        let mut houses = [usd, coin].map(|all| House::new(all, exchange.now));
        for house in &mut houses {
            house.open_account(CROWD);
        }
        let quotes = [0, 1].map(|i: usize| vec![Vec::new(); houses[i].markets.len()]);
        let mut futures = Self {
            houses,
            listen_keys: HashMap::new(),
            spot,
            quotes,
            random: Random::new(seed ^ 0x0f0f),
            at: 0,
            moving,
        };
        futures.follow(exchange);
        futures
    }

    /// The house of a service.
    pub fn house(&mut self, service: Service) -> &mut House {
        &mut self.houses[service.index()]
    }

    /// Lets the time since the last call pass; between two steps of the prices only where `asked`, that spot is not slowed.
    pub fn advance(&mut self, exchange: &Exchange, moving: bool, asked: bool) {
        self.moving = moving;
        for house in &mut self.houses {
            house.now = exchange.now;
        }
        let step = exchange.now / STEP_MS;
        if step == self.at && !asked {
            return;
        }
        if step != self.at {
            self.at = step;
            self.follow(exchange);
        }
        for house in &mut self.houses {
            house.advance();
        }
    }

    /// Marks and quotes go where the spot prices are.
    pub fn follow(&mut self, exchange: &Exchange) {
        let price = |base: &str| spot_market(exchange, base).map_or(0, |m| exchange.markets[m].mid);
        for (name, rate) in [
            ("USDT", ONE),
            ("USDC", ONE),
            ("BTC", price("BTC") / 100 * 95),
            ("ETH", price("ETH") / 100 * 95),
            ("BNB", price("BNB") / 100 * 95),
        ] {
            if let Some(asset) = exchange.asset(name) {
                self.houses[0].rates.insert(asset, rate);
            }
        }
        for service in 0..2 {
            for contract in 0..self.houses[service].markets.len() {
                let mid = exchange.markets[self.spot[service][contract]].mid;
                self.quote(service, contract, mid);
            }
            for contract in 0..self.houses[service].markets.len() {
                self.houses[service].settle(contract);
            }
        }
    }

    fn quote(&mut self, service: usize, contract: usize, mid: D) {
        let house = &mut self.houses[service];
        let at = &house.markets[contract];
        let (tick, step, size, trading) = (
            at.contract.tick,
            at.contract.step,
            at.contract.maker_size,
            at.contract.trading,
        );
        let moved = at.mark != mid;
        house.set_mark(contract, mid);
        if !trading {
            return;
        }
        for id in std::mem::take(&mut self.quotes[service][contract]) {
            let _ = house.cancel(MAKERS, contract, Some(id), None);
        }
        let mid = (mid / tick * tick).max(tick);
        // One basis point apart, or one tick.
        let gap = (mid / 10_000 / tick * tick).max(tick);
        for level in 1..=LEVELS {
            for (side, price) in [
                (Side::Buy, mid - gap * level),
                (Side::Sell, mid + gap * level),
            ] {
                let part = D::from(self.random.below(100));
                let quantity = (size + size * part / 100) / step * step;
                if price > 0
                    && let Ok(id) = house.place_unsettled(
                        MAKERS,
                        contract,
                        house::plain(side, Some(price), quantity),
                    )
                {
                    self.quotes[service][contract].push(id);
                }
            }
        }
        if moved || self.moving {
            // One small trade on each side, so that the last price is the new one and stops see it.
            for side in [Side::Buy, Side::Sell] {
                let _ = house.place_unsettled(CROWD, contract, house::plain(side, None, step));
            }
        }
    }
}

/// The spot market that the contracts of a base follow, under whatever name.
fn spot_market(exchange: &Exchange, base: &str) -> Option<usize> {
    let mut markets = exchange.markets.iter();
    markets.position(|m| m.symbol.base == base && m.symbol.quote == "USDT")
}

fn usd_brackets() -> Vec<Bracket> {
    brackets(&[
        (125, 300_000, d("0.004")),
        (100, 800_000, d("0.005")),
        (75, 3_000_000, d("0.0065")),
        (50, 12_000_000, d("0.01")),
        (25, 70_000_000, d("0.02")),
        (20, 100_000_000, d("0.025")),
        (10, 230_000_000, d("0.05")),
        (5, 480_000_000, d("0.1")),
        (4, 600_000_000, d("0.125")),
        (3, 800_000_000, d("0.15")),
        (2, 1_200_000_000, d("0.25")),
        (1, 1_800_000_000, d("0.5")),
    ])
}

/// Steps of value in coins, `unit` times those of a coin as dear as BTC.
fn coin_brackets(unit: i128) -> Vec<Bracket> {
    brackets(&[
        (125, 5 * unit, d("0.004")),
        (100, 10 * unit, d("0.005")),
        (50, 20 * unit, d("0.01")),
        (20, 50 * unit, d("0.025")),
        (10, 100 * unit, d("0.05")),
        (5, 200 * unit, d("0.1")),
        (4, 400 * unit, d("0.125")),
        (3, 1_000 * unit, d("0.15")),
        (2, 1_500 * unit, d("0.25")),
        (1, 3_000 * unit, d("0.5")),
    ])
}

fn places(step: D) -> usize {
    let text = crate::decimal::short(step);
    text.split_once('.').map_or(0, |(_, part)| part.len())
}

fn usd_contracts(exchange: &Exchange) -> Vec<Contract> {
    [
        ("BTC", "USDT", "0.1", "0.001", "100"),
        ("ETH", "USDT", "0.01", "0.001", "20"),
        ("BNB", "USDT", "0.01", "0.01", "5"),
        ("SOL", "USDT", "0.01", "0.01", "5"),
        ("XRP", "USDT", "0.0001", "0.1", "5"),
        ("DOGE", "USDT", "0.00001", "1", "5"),
        ("币安人生", "USDT", "0.0001", "1", "5"),
        ("LUNA", "USDT", "0.0001", "1", "5"),
        ("BTC", "USDC", "0.1", "0.001", "50"),
    ]
    .iter()
    .filter_map(|(base, quote, tick, step, value_min)| {
        let spot = spot_market(exchange, base)?;
        let price = exchange.markets[spot].symbol.price;
        let (tick, step) = (d(tick), d(step));
        let name = format!("{base}{quote}");
        Some(Contract {
            pair: name.clone(),
            name,
            base: (*base).to_owned(),
            quote: (*quote).to_owned(),
            margin: exchange.asset(quote)?,
            size: ONE,
            inverse: false,
            trading: *base != "LUNA",
            price,
            tick,
            price_min: tick,
            price_max: price * 100 / tick * tick,
            up: d("1.05"),
            down: d("0.95"),
            step,
            quantity_max: div(d("100000000"), price) / step * step,
            market_quantity_max: div(d("10000000"), price) / step * step,
            value_min: money(d(value_min)),
            price_places: places(tick),
            quantity_places: places(step),
            orders_max: 200,
            stops_max: 10,
            maker_fee: d("0.0002"),
            taker_fee: d("0.0005"),
            liquidation_fee: d("0.0125"),
            protect: d("0.05"),
            maker_size: (div(d("200000"), price) / step * step).max(step),
            brackets: usd_brackets(),
        })
    })
    .collect()
}

fn coin_contracts(exchange: &Exchange) -> Vec<Contract> {
    [
        ("BTC", "100", "0.1", 1),
        ("ETH", "10", "0.01", 20),
        ("BNB", "10", "0.01", 100),
        ("SOL", "10", "0.01", 400),
        ("XRP", "10", "0.0001", 100_000),
    ]
    .iter()
    .filter_map(|(base, size, tick, unit)| {
        let spot = spot_market(exchange, base)?;
        let price = exchange.markets[spot].symbol.price;
        let (size, tick) = (d(size), d(tick));
        Some(Contract {
            name: format!("{base}USD_PERP"),
            pair: format!("{base}USD"),
            base: (*base).to_owned(),
            quote: "USD".to_owned(),
            margin: exchange.asset(base)?,
            size,
            inverse: true,
            trading: true,
            price,
            tick,
            price_min: tick,
            price_max: price * 100 / tick * tick,
            up: d("1.05"),
            down: d("0.95"),
            step: ONE,
            quantity_max: d("1000000"),
            market_quantity_max: d("60000"),
            value_min: 0,
            price_places: places(tick),
            quantity_places: 0,
            orders_max: 200,
            stops_max: 20,
            maker_fee: d("0.0001"),
            taker_fee: d("0.0005"),
            liquidation_fee: d("0.015"),
            protect: d("0.05"),
            maker_size: div(d("200000"), size) / ONE * ONE,
            brackets: coin_brackets(*unit),
        })
    })
    .collect()
}
