//! The venue's calls: method, path, what a key needs, weight, parameters with their forms. A table; `api` says what they do.

use crate::futures::Service;
use crate::keys::Right;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Anyone.
    Public,
    /// A key, no signature.
    KeyOnly,
    /// A signature by a key with the right.
    Signed(Right),
}

/// The form of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A market's name.
    Symbol,
    /// A JSON array of markets' names.
    Symbols,
    /// An id that the client chose.
    ClientId,
    /// `^([0-9]{1,20})(\.[0-9]{1,20})?$`, eight places at most.
    Decimal,
    /// `^[0-9]{1,20}$`, 63 bits.
    Long,
    /// The same in 31 bits.
    Int,
    /// An id that the client chose, as futures allow it.
    LongClientId,
    /// `true` or `false`.
    Bool,
    /// `BUY` or `SELL`.
    Side,
    /// An order type.
    OrderType,
    /// `GTC`, `IOC` or `FOK`.
    TimeInForce,
    /// `ACK`, `RESULT` or `FULL`.
    RespType,
    /// A self-trade prevention mode.
    Stp,
    /// One of a few words.
    Words(&'static [&'static str]),
    /// The same with the refusal for others.
    Coded(&'static [&'static str], i64, &'static str),
    /// A candle's interval.
    Interval,
    /// Text without control characters.
    Text,
}

/// One parameter.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// Its form.
    pub kind: Kind,
    /// Whether it must be sent.
    pub must: bool,
}

/// What a call counts for against the limit of its address.
#[derive(Debug, Clone, Copy)]
pub enum Weight {
    /// Always the same.
    Flat(u32),
    /// The same for an account wherever it asks from (`/sapi`).
    Account(u32),
    /// By `limit` (`depth`).
    Depth,
    /// By `limit` (`depth` of futures).
    FuturesDepth,
    /// By `limit` (candles of futures).
    Klines,
    /// One figure with `symbol`, another without.
    Symbol(u32, u32),
    /// `ticker/24hr`: by the number of symbols.
    Ticker24,
    /// Each symbol that much, at most that.
    PerSymbol(u32, u32),
    /// One figure with `orderId`, another without.
    OrderId(u32, u32),
    /// One figure with `computeCommissionRates=true`, another without.
    Rates(u32, u32),
}

/// One call.
#[derive(Debug)]
pub struct Endpoint {
    /// HTTP method.
    pub method: &'static str,
    /// Path.
    pub path: &'static str,
    /// Who may call.
    pub security: Security,
    /// Weight.
    pub weight: Weight,
    /// New orders that it counts for.
    pub orders: u32,
    /// The same in a minute, where the venue counts that.
    pub minute_orders: u32,
    /// Its parameters; `None` in SAPI means that others are ignored.
    pub params: &'static [&'static [Param]],
}

impl Endpoint {
    /// SAPI counts apart and ignores what it does not know; `/api` refuses it.
    #[must_use]
    pub fn sapi(&self) -> bool {
        self.path.starts_with("/sapi")
    }

    /// Futures, which count apart too.
    #[must_use]
    pub fn futures(&self) -> bool {
        Service::of(self.path).is_some()
    }

    /// The parameter of that name.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'static Param> {
        self.params
            .iter()
            .copied()
            .flatten()
            .find(|p| p.name == name)
    }
}

/// The calls at `path`, one a method.
#[must_use]
pub fn at(path: &str) -> Option<&'static [&'static Endpoint]> {
    static MAP: LazyLock<HashMap<&'static str, Vec<&'static Endpoint>>> = LazyLock::new(|| {
        let mut map: HashMap<&'static str, Vec<&'static Endpoint>> = HashMap::new();
        let all = ENDPOINTS
            .iter()
            .chain(crate::sapi_table::SAPI.iter())
            .chain(crate::futures::calls::CALLS.iter());
        for endpoint in all {
            map.entry(endpoint.path).or_default().push(endpoint);
        }
        map
    });
    MAP.get(path).map(Vec::as_slice)
}

/// A parameter that must be sent.
#[must_use]
pub const fn must(name: &'static str, kind: Kind) -> Param {
    Param {
        name,
        kind,
        must: true,
    }
}

/// A parameter that may be sent.
#[must_use]
pub const fn may(name: &'static str, kind: Kind) -> Param {
    Param {
        name,
        kind,
        must: false,
    }
}

const fn public(
    method: &'static str,
    path: &'static str,
    weight: Weight,
    params: &'static [&'static [Param]],
) -> Endpoint {
    Endpoint {
        method,
        path,
        security: Security::Public,
        weight,
        orders: 0,
        minute_orders: 0,
        params,
    }
}

const fn read(path: &'static str, weight: Weight, params: &'static [&'static [Param]]) -> Endpoint {
    Endpoint {
        method: "GET",
        path,
        security: Security::Signed(Right::Read),
        weight,
        orders: 0,
        minute_orders: 0,
        params,
    }
}

const fn trade(
    method: &'static str,
    path: &'static str,
    weight: u32,
    orders: u32,
    params: &'static [&'static [Param]],
) -> Endpoint {
    Endpoint {
        method,
        path,
        security: Security::Signed(Right::Trade),
        weight: Weight::Flat(weight),
        orders,
        minute_orders: 0,
        params,
    }
}

/// What every signed call takes besides its own parameters.
pub const SIGNED: [&str; 3] = ["timestamp", "recvWindow", "signature"];

const SYMBOL: &[Param] = &[must("symbol", Kind::Symbol)];
const SYMBOL_IF: &[Param] = &[may("symbol", Kind::Symbol)];
const STATUS: &[Param] = &[may(
    "symbolStatus",
    Kind::Words(&["TRADING", "HALT", "BREAK"]),
)];
const LIMIT: &[Param] = &[may("limit", Kind::Int)];
const FROM_ID: &[Param] = &[may("fromId", Kind::Long)];
const TIMES: &[Param] = &[may("startTime", Kind::Long), may("endTime", Kind::Long)];
const ORDER_ID: &[Param] = &[may("orderId", Kind::Long)];
const ORDER_REF: &[Param] = &[
    may("orderId", Kind::Long),
    may("origClientOrderId", Kind::ClientId),
];
const NEW_ID: &[Param] = &[may("newClientOrderId", Kind::ClientId)];
const SYMBOLS_IF: &[Param] = &[may("symbol", Kind::Symbol), may("symbols", Kind::Symbols)];
const TICKER_TYPE: &[Param] = &[may("type", Kind::Words(&["FULL", "MINI"]))];
const KLINES: &[Param] = &[
    must("interval", Kind::Interval),
    may("timeZone", Kind::Text),
];
const RESTRICTIONS: &[Param] = &[may(
    "cancelRestrictions",
    Kind::Words(&["ONLY_NEW", "ONLY_PARTIALLY_FILLED"]),
)];
const RESPONSE: &[Param] = &[
    may("newOrderRespType", Kind::RespType),
    may("selfTradePreventionMode", Kind::Stp),
];
const PEG_PRICE: Kind = Kind::Words(&["PRIMARY_PEG", "MARKET_PEG"]);
const PEG_OFFSET: Kind = Kind::Words(&["PRICE_LEVEL"]);
const ORDER: &[Param] = &[
    must("symbol", Kind::Symbol),
    must("side", Kind::Side),
    must("type", Kind::OrderType),
    may("timeInForce", Kind::TimeInForce),
    may("quantity", Kind::Decimal),
    may("quoteOrderQty", Kind::Decimal),
    may("price", Kind::Decimal),
    may("newClientOrderId", Kind::ClientId),
    may("strategyId", Kind::Long),
    may("strategyType", Kind::Int),
    may("stopPrice", Kind::Decimal),
    may("trailingDelta", Kind::Long),
    may("icebergQty", Kind::Decimal),
    may("newOrderRespType", Kind::RespType),
    may("selfTradePreventionMode", Kind::Stp),
    may("pegPriceType", PEG_PRICE),
    may("pegOffsetValue", Kind::Int),
    may("pegOffsetType", PEG_OFFSET),
];
const SOR_ORDER: &[Param] = &[
    must("symbol", Kind::Symbol),
    must("side", Kind::Side),
    must("type", Kind::OrderType),
    may("timeInForce", Kind::TimeInForce),
    must("quantity", Kind::Decimal),
    may("price", Kind::Decimal),
    may("newClientOrderId", Kind::ClientId),
    may("strategyId", Kind::Long),
    may("strategyType", Kind::Int),
    may("icebergQty", Kind::Decimal),
    may("newOrderRespType", Kind::RespType),
    may("selfTradePreventionMode", Kind::Stp),
];
const RATES: &[Param] = &[may("computeCommissionRates", Kind::Bool)];
const CANCEL_REPLACE: &[Param] = &[
    must(
        "cancelReplaceMode",
        Kind::Words(&["STOP_ON_FAILURE", "ALLOW_FAILURE"]),
    ),
    may("cancelNewClientOrderId", Kind::ClientId),
    may("cancelOrigClientOrderId", Kind::ClientId),
    may("cancelOrderId", Kind::Long),
    may(
        "orderRateLimitExceededMode",
        Kind::Words(&["DO_NOTHING", "CANCEL_ONLY"]),
    ),
];
const OLD_OCO: &[Param] = &[
    must("symbol", Kind::Symbol),
    may("listClientOrderId", Kind::ClientId),
    must("side", Kind::Side),
    must("quantity", Kind::Decimal),
    may("limitClientOrderId", Kind::ClientId),
    must("price", Kind::Decimal),
    may("limitStrategyId", Kind::Long),
    may("limitStrategyType", Kind::Int),
    may("limitIcebergQty", Kind::Decimal),
    may("trailingDelta", Kind::Long),
    may("stopClientOrderId", Kind::ClientId),
    must("stopPrice", Kind::Decimal),
    may("stopStrategyId", Kind::Long),
    may("stopStrategyType", Kind::Int),
    may("stopLimitPrice", Kind::Decimal),
    may("stopIcebergQty", Kind::Decimal),
    may("stopLimitTimeInForce", Kind::TimeInForce),
];
const LIST: &[Param] = &[
    must("symbol", Kind::Symbol),
    may("listClientOrderId", Kind::ClientId),
];

/// The parameters of one leg of an order list, its names led by `$leg`.
macro_rules! leg {
    ($leg:literal, $must_type:expr) => {
        &[
            Param {
                name: concat!($leg, "Type"),
                kind: Kind::OrderType,
                must: $must_type,
            },
            may(concat!($leg, "ClientOrderId"), Kind::ClientId),
            may(concat!($leg, "IcebergQty"), Kind::Decimal),
            may(concat!($leg, "Price"), Kind::Decimal),
            may(concat!($leg, "StopPrice"), Kind::Decimal),
            may(concat!($leg, "TrailingDelta"), Kind::Long),
            may(concat!($leg, "TimeInForce"), Kind::TimeInForce),
            may(concat!($leg, "StrategyId"), Kind::Long),
            may(concat!($leg, "StrategyType"), Kind::Int),
            may(concat!($leg, "PegPriceType"), PEG_PRICE),
            may(concat!($leg, "PegOffsetType"), PEG_OFFSET),
            may(concat!($leg, "PegOffsetValue"), Kind::Int),
        ]
    };
}

const ABOVE: &[Param] = leg!("above", true);
const BELOW: &[Param] = leg!("below", true);
const WORKING: &[Param] = leg!("working", true);
const PENDING: &[Param] = leg!("pending", true);
const PENDING_ABOVE: &[Param] = leg!("pendingAbove", true);
const PENDING_BELOW: &[Param] = leg!("pendingBelow", false);
const OCO_SIDE: &[Param] = &[must("side", Kind::Side), must("quantity", Kind::Decimal)];
const WORKING_MORE: &[Param] = &[
    must("workingSide", Kind::Side),
    must("workingQuantity", Kind::Decimal),
];
const PENDING_SIDE: &[Param] = &[must("pendingSide", Kind::Side)];
const PENDING_QUANTITY: &[Param] = &[must("pendingQuantity", Kind::Decimal)];

/// Spot (`/api/v3`), from the venue's rest-api.md.
pub static ENDPOINTS: &[Endpoint] = &[
    public("GET", "/api/v3/ping", Weight::Flat(1), &[]),
    public("GET", "/api/v3/time", Weight::Flat(1), &[]),
    public(
        "GET",
        "/api/v3/exchangeInfo",
        Weight::Flat(20),
        &[
            SYMBOLS_IF,
            STATUS,
            &[
                may("permissions", Kind::Text),
                may("showPermissionSets", Kind::Bool),
            ],
        ],
    ),
    public(
        "GET",
        "/api/v3/executionRules",
        Weight::PerSymbol(2, 40),
        &[SYMBOLS_IF, STATUS],
    ),
    public(
        "GET",
        "/api/v3/depth",
        Weight::Depth,
        &[SYMBOL, LIMIT, STATUS],
    ),
    public("GET", "/api/v3/trades", Weight::Flat(25), &[SYMBOL, LIMIT]),
    public(
        "GET",
        "/api/v3/historicalTrades",
        Weight::Flat(25),
        &[SYMBOL, LIMIT, FROM_ID],
    ),
    public(
        "GET",
        "/api/v3/historicalBlockTrades",
        Weight::Flat(25),
        &[SYMBOL, LIMIT, FROM_ID],
    ),
    public(
        "GET",
        "/api/v3/aggTrades",
        Weight::Flat(4),
        &[SYMBOL, LIMIT, FROM_ID, TIMES],
    ),
    public(
        "GET",
        "/api/v3/klines",
        Weight::Flat(2),
        &[SYMBOL, KLINES, TIMES, LIMIT],
    ),
    public(
        "GET",
        "/api/v3/uiKlines",
        Weight::Flat(2),
        &[SYMBOL, KLINES, TIMES, LIMIT],
    ),
    public("GET", "/api/v3/avgPrice", Weight::Flat(2), &[SYMBOL]),
    public(
        "GET",
        "/api/v3/ticker/24hr",
        Weight::Ticker24,
        &[SYMBOLS_IF, TICKER_TYPE, STATUS],
    ),
    public(
        "GET",
        "/api/v3/ticker/tradingDay",
        Weight::PerSymbol(4, 200),
        &[
            SYMBOLS_IF,
            TICKER_TYPE,
            STATUS,
            &[may("timeZone", Kind::Text)],
        ],
    ),
    public(
        "GET",
        "/api/v3/ticker/price",
        Weight::Symbol(2, 4),
        &[SYMBOLS_IF, STATUS],
    ),
    public(
        "GET",
        "/api/v3/ticker/bookTicker",
        Weight::Symbol(2, 4),
        &[SYMBOLS_IF, STATUS],
    ),
    public(
        "GET",
        "/api/v3/ticker",
        Weight::PerSymbol(4, 200),
        &[
            SYMBOLS_IF,
            TICKER_TYPE,
            STATUS,
            &[may("windowSize", Kind::Text)],
        ],
    ),
    public("GET", "/api/v3/referencePrice", Weight::Flat(2), &[SYMBOL]),
    public(
        "GET",
        "/api/v3/referencePrice/calculation",
        Weight::Flat(2),
        &[SYMBOL, STATUS],
    ),
    trade("POST", "/api/v3/order", 1, 1, &[ORDER]),
    Endpoint {
        method: "POST",
        path: "/api/v3/order/test",
        security: Security::Signed(Right::Trade),
        weight: Weight::Rates(1, 20),
        orders: 0,
        minute_orders: 0,
        params: &[ORDER, RATES],
    },
    trade(
        "DELETE",
        "/api/v3/order",
        1,
        0,
        &[SYMBOL, ORDER_REF, NEW_ID, RESTRICTIONS],
    ),
    trade("DELETE", "/api/v3/openOrders", 1, 0, &[SYMBOL]),
    trade(
        "POST",
        "/api/v3/order/cancelReplace",
        1,
        1,
        &[ORDER, CANCEL_REPLACE, RESTRICTIONS],
    ),
    trade(
        "PUT",
        "/api/v3/order/amend/keepPriority",
        4,
        0,
        &[SYMBOL, ORDER_REF, NEW_ID, &[must("newQty", Kind::Decimal)]],
    ),
    trade("POST", "/api/v3/order/oco", 1, 2, &[OLD_OCO, RESPONSE]),
    trade(
        "POST",
        "/api/v3/orderList/oco",
        1,
        2,
        &[LIST, OCO_SIDE, ABOVE, BELOW, RESPONSE],
    ),
    trade(
        "POST",
        "/api/v3/orderList/oto",
        1,
        2,
        &[
            LIST,
            WORKING,
            WORKING_MORE,
            PENDING,
            PENDING_SIDE,
            PENDING_QUANTITY,
            RESPONSE,
        ],
    ),
    trade(
        "POST",
        "/api/v3/orderList/otoco",
        1,
        3,
        &[
            LIST,
            WORKING,
            WORKING_MORE,
            PENDING_ABOVE,
            PENDING_BELOW,
            PENDING_SIDE,
            PENDING_QUANTITY,
            RESPONSE,
        ],
    ),
    trade(
        "POST",
        "/api/v3/orderList/opo",
        1,
        2,
        &[LIST, WORKING, WORKING_MORE, PENDING, PENDING_SIDE, RESPONSE],
    ),
    trade(
        "POST",
        "/api/v3/orderList/opoco",
        1,
        3,
        &[
            LIST,
            WORKING,
            WORKING_MORE,
            PENDING_ABOVE,
            PENDING_BELOW,
            PENDING_SIDE,
            RESPONSE,
        ],
    ),
    trade(
        "DELETE",
        "/api/v3/orderList",
        1,
        0,
        &[
            SYMBOL,
            NEW_ID,
            &[
                may("orderListId", Kind::Long),
                may("listClientOrderId", Kind::ClientId),
            ],
        ],
    ),
    trade("POST", "/api/v3/sor/order", 1, 1, &[SOR_ORDER]),
    Endpoint {
        method: "POST",
        path: "/api/v3/sor/order/test",
        security: Security::Signed(Right::Trade),
        weight: Weight::Rates(1, 20),
        orders: 0,
        minute_orders: 0,
        params: &[SOR_ORDER, RATES],
    },
    read(
        "/api/v3/account",
        Weight::Flat(20),
        &[&[may("omitZeroBalances", Kind::Bool)]],
    ),
    read("/api/v3/order", Weight::Flat(4), &[SYMBOL, ORDER_REF]),
    read("/api/v3/openOrders", Weight::Symbol(6, 80), &[SYMBOL_IF]),
    read(
        "/api/v3/allOrders",
        Weight::Flat(20),
        &[SYMBOL, ORDER_ID, TIMES, LIMIT],
    ),
    read(
        "/api/v3/orderList",
        Weight::Flat(4),
        &[&[
            may("orderListId", Kind::Long),
            may("origClientOrderId", Kind::ClientId),
        ]],
    ),
    read(
        "/api/v3/allOrderList",
        Weight::Flat(20),
        &[FROM_ID, TIMES, LIMIT],
    ),
    read("/api/v3/openOrderList", Weight::Flat(6), &[]),
    read(
        "/api/v3/myTrades",
        Weight::OrderId(5, 20),
        &[SYMBOL, ORDER_ID, TIMES, FROM_ID, LIMIT],
    ),
    read("/api/v3/rateLimit/order", Weight::Flat(40), &[]),
    read(
        "/api/v3/myPreventedMatches",
        Weight::OrderId(20, 2),
        &[
            SYMBOL,
            ORDER_ID,
            LIMIT,
            &[
                may("preventedMatchId", Kind::Long),
                may("fromPreventedMatchId", Kind::Long),
            ],
        ],
    ),
    read(
        "/api/v3/myAllocations",
        Weight::Flat(20),
        &[
            SYMBOL,
            TIMES,
            ORDER_ID,
            LIMIT,
            &[may("fromAllocationId", Kind::Int)],
        ],
    ),
    read("/api/v3/account/commission", Weight::Flat(20), &[SYMBOL]),
    read(
        "/api/v3/order/amendments",
        Weight::Flat(4),
        &[
            SYMBOL,
            LIMIT,
            &[
                must("orderId", Kind::Long),
                may("fromExecutionId", Kind::Long),
            ],
        ],
    ),
    read("/api/v3/myFilters", Weight::Flat(40), &[SYMBOL]),
];
