//! The markets that exist, with their filters.

use crate::decimal::{D, d, text};
use crate::venue::Kind;
use serde_json::{Value, json};

/// A market and its rules.
#[derive(Debug, Clone)]
pub struct Symbol {
    /// Name.
    pub name: String,
    /// What is traded.
    pub base: String,
    /// What it is paid in.
    pub quote: String,
    /// `TRADING` or `BREAK`.
    pub status: &'static str,
    /// Where the price starts.
    pub price: D,
    /// Steps and bounds of the price.
    pub tick: D,
    /// Lowest price.
    pub price_min: D,
    /// Highest price.
    pub price_max: D,
    /// Steps and bounds of the quantity.
    pub step: D,
    /// Smallest quantity.
    pub quantity_min: D,
    /// Largest quantity.
    pub quantity_max: D,
    /// Largest quantity of a market order.
    pub market_quantity_max: D,
    /// Smallest value of an order.
    pub notional_min: D,
    /// Largest value of an order.
    pub notional_max: D,
    /// Open orders an account may have.
    pub orders_max: usize,
    /// Open stop and take-profit orders an account may have.
    pub algo_orders_max: usize,
    /// Quantity that the makers show at each price.
    pub maker_size: D,
    /// Self-trade prevention where the order says nothing.
    pub stp: &'static str,
    /// Modes that an order may ask for.
    pub stp_allowed: &'static [&'static str],
}

/// Times the average price that an order's price may be, at most (`PERCENT_PRICE_BY_SIDE`).
pub const PERCENT_UP: D = 5 * crate::decimal::ONE;
/// Times the average price that an order's price must be, at least.
pub const PERCENT_DOWN: D = crate::decimal::ONE / 5;
/// `ICEBERG_PARTS`.
pub const ICEBERG_PARTS_MAX: D = 100;
/// `MAX_NUM_ICEBERG_ORDERS` is bounded by open orders; `MAX_NUM_ORDER_LISTS`.
pub const ORDER_LISTS_MAX: usize = 20;
/// `MAX_NUM_ORDER_AMENDS`.
pub const AMENDS_MAX: usize = 10;
/// `TRAILING_DELTA`, in basis points.
pub const TRAILING_MIN: u64 = 10;
/// See [`TRAILING_MIN`].
pub const TRAILING_MAX: u64 = 2000;

const STP_STRICT: &[&str] = &["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"];
const STP_ANY: &[&str] = &[
    "NONE",
    "EXPIRE_TAKER",
    "EXPIRE_MAKER",
    "EXPIRE_BOTH",
    "DECREMENT",
];

fn symbol(
    base: &str,
    quote: &str,
    price: &str,
    tick: &str,
    step: &str,
    quantity_max: &str,
) -> Symbol {
    let price = d(price);
    // About 100,000 units of a dollar-like quote at each price of the makers.
    let worth = match quote {
        "BTC" => d("1.5"),
        _ => d("100000"),
    };
    let step_units = d(step);
    let size = crate::decimal::div(worth, price);
    Symbol {
        name: format!("{base}{quote}"),
        base: base.to_owned(),
        quote: quote.to_owned(),
        status: "TRADING",
        price,
        tick: d(tick),
        price_min: d(tick),
        price_max: price.saturating_mul(20) / d(tick) * d(tick),
        step: step_units,
        quantity_min: step_units,
        quantity_max: d(quantity_max),
        market_quantity_max: d(quantity_max) / 10 / step_units * step_units,
        notional_min: if quote == "BTC" { d("0.0001") } else { d("5") },
        notional_max: if quote == "BTC" {
            d("9000")
        } else {
            d("9000000")
        },
        orders_max: 200,
        algo_orders_max: 5,
        maker_size: (size / step_units * step_units).max(step_units),
        stp: "EXPIRE_MAKER",
        stp_allowed: STP_STRICT,
    }
}

/// The markets of a new venue.
#[must_use]
pub fn symbols() -> Vec<Symbol> {
    let mut all = vec![
        symbol("BTC", "USDT", "65000", "0.01", "0.00001", "9000"),
        symbol("ETH", "USDT", "3500", "0.01", "0.0001", "9000"),
        symbol("BNB", "USDT", "600", "0.01", "0.001", "900000"),
        symbol("SOL", "USDT", "150", "0.01", "0.001", "900000"),
        symbol("XRP", "USDT", "0.6", "0.0001", "0.1", "9222449"),
        symbol("DOGE", "USDT", "0.12", "0.00001", "1", "9000000"),
        symbol("BTC", "USDC", "65000", "0.01", "0.00001", "9000"),
        symbol("USDC", "USDT", "1", "0.0001", "1", "10000000"),
        symbol("ETH", "BTC", "0.05384", "0.00001", "0.001", "100000"),
        symbol("LTC", "BTC", "0.0013", "0.000001", "0.01", "100000"),
        symbol("BNB", "BTC", "0.00923", "0.000001", "0.01", "100000"),
        symbol("币安人生", "USDT", "0.15", "0.0001", "0.1", "9000000"),
        symbol("LUNA", "USDT", "1", "0.0001", "0.01", "900000"),
    ];
    for one in &mut all {
        match one.name.as_str() {
            // One market where an account may trade with itself, one that does not trade.
            "LTCBTC" => {
                one.stp = "NONE";
                one.stp_allowed = STP_ANY;
            }
            "LUNAUSDT" => one.status = "BREAK",
            _ => {}
        }
    }
    all
}

/// The markets of a new venue of that kind, under its names.
#[must_use]
pub fn symbols_of(kind: Kind) -> Vec<Symbol> {
    let mut all = symbols();
    if kind == Kind::Binance {
        return all;
    }
    all.retain(|s| s.base.is_ascii());
    for one in &mut all {
        one.algo_orders_max = 30;
        one.stp_allowed = STP_ANY;
        if matches!(kind, Kind::Okx | Kind::KuCoin) {
            one.name = format!("{}-{}", one.base, one.quote);
        } else {
            one.stp = "NONE";
        }
    }
    all
}

impl Symbol {
    /// As `exchangeInfo` lists it.
    #[must_use]
    pub fn info(&self, permission_sets: bool) -> Value {
        json!({
            "symbol": self.name, "status": self.status,
            "baseAsset": self.base, "baseAssetPrecision": 8,
            "quoteAsset": self.quote, "quotePrecision": 8, "quoteAssetPrecision": 8,
            "baseCommissionPrecision": 8, "quoteCommissionPrecision": 8,
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"],
            "icebergAllowed": true, "ocoAllowed": true, "otoAllowed": true, "opoAllowed": true,
            "quoteOrderQtyMarketAllowed": true, "allowTrailingStop": true, "cancelReplaceAllowed": true,
            "amendAllowed": true, "pegInstructionsAllowed": false,
            "isSpotTradingAllowed": self.status == "TRADING", "isMarginTradingAllowed": false,
            "filters": self.filters(),
            "permissions": [],
            "permissionSets": if permission_sets { json!([["SPOT"]]) } else { json!([]) },
            "defaultSelfTradePreventionMode": self.stp, "allowedSelfTradePreventionModes": self.stp_allowed,
        })
    }

    /// The filters.
    #[must_use]
    pub fn filters(&self) -> Vec<Value> {
        let ratio = |units: D| crate::decimal::short(units);
        vec![
            json!({"filterType": "PRICE_FILTER", "minPrice": text(self.price_min), "maxPrice": text(self.price_max), "tickSize": text(self.tick)}),
            json!({"filterType": "LOT_SIZE", "minQty": text(self.quantity_min), "maxQty": text(self.quantity_max), "stepSize": text(self.step)}),
            json!({"filterType": "ICEBERG_PARTS", "limit": u64::try_from(ICEBERG_PARTS_MAX).unwrap_or(0)}),
            json!({"filterType": "MARKET_LOT_SIZE", "minQty": text(0), "maxQty": text(self.market_quantity_max), "stepSize": text(0)}),
            json!({"filterType": "TRAILING_DELTA", "minTrailingAboveDelta": TRAILING_MIN, "maxTrailingAboveDelta": TRAILING_MAX,
                   "minTrailingBelowDelta": TRAILING_MIN, "maxTrailingBelowDelta": TRAILING_MAX}),
            json!({"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": ratio(PERCENT_UP), "bidMultiplierDown": ratio(PERCENT_DOWN),
                   "askMultiplierUp": ratio(PERCENT_UP), "askMultiplierDown": ratio(PERCENT_DOWN), "avgPriceMins": 5}),
            json!({"filterType": "NOTIONAL", "minNotional": text(self.notional_min), "applyMinToMarket": true,
                   "maxNotional": text(self.notional_max), "applyMaxToMarket": false, "avgPriceMins": 5}),
            json!({"filterType": "MAX_NUM_ORDERS", "maxNumOrders": self.orders_max}),
            json!({"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": ORDER_LISTS_MAX}),
            json!({"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": self.algo_orders_max}),
            json!({"filterType": "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends": AMENDS_MAX}),
        ]
    }
}
