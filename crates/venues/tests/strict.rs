//! What the gate understood and what a strict exchange understands is the same, or refused: over generated forms and
//! mutations of them, against the simulator's own parser, which shares no code with the gate's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use portcullis_model::action::{Action, Leg, Order, OrderType, Side, Stamp, TimeInForce};
use portcullis_model::id::Timestamp;
use portcullis_model::wire::Header;
use portcullis_sim::decimal;
use portcullis_sim::keys::{Key, Keys, Material};
use portcullis_sim::strict::{self, Understood};
use portcullis_venues::{Actions, Catalog, Signature, VerifyKey};
use portcullis_venues::{DecodeError, RawRequest};
use std::collections::BTreeMap;

const FORMS: u32 = 30_000;
const SECRET: &str = "pcvs-throwaway-not-a-real-secret-0123456789abcdefghijklmnopqrstu";
const KEY: &str = "pcvsThrowawayNotARealKey0123456789abcdefghijklmnopqrstuvwxyzABCD";
const NOW_MS: u64 = 1_790_000_000_123;

/// Whole calls: every kind of order, list, change and cancel, and some reads.
const CALLS: [(&str, &str, &str); 30] = [
    (
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1.50&price=65000.1",
    ),
    (
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=SELL&type=LIMIT_MAKER&quantity=0.001&price=65000&newClientOrderId=a-1",
    ),
    (
        "POST",
        "/api/v3/order",
        "symbol=币安人生USDT&side=SELL&type=MARKET&quoteOrderQty=20",
    ),
    (
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.5&newOrderRespType=RESULT",
    ),
    (
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=SELL&type=STOP_LOSS&quantity=0.5&stopPrice=60000",
    ),
    (
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=SELL&type=TAKE_PROFIT_LIMIT&timeInForce=IOC&quantity=0.5&price=70000&stopPrice=70000",
    ),
    (
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=BUY&type=STOP_LOSS_LIMIT&timeInForce=GTC&quantity=0.5&price=70000&trailingDelta=100",
    ),
    (
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=5&price=7&icebergQty=1",
    ),
    (
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=5&pegPriceType=PRIMARY_PEG",
    ),
    (
        "POST",
        "/api/v3/order/test",
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=FOK&quantity=1&price=2&computeCommissionRates=true",
    ),
    (
        "POST",
        "/api/v3/sor/order",
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=2",
    ),
    (
        "POST",
        "/api/v3/order/cancelReplace",
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=2&cancelReplaceMode=STOP_ON_FAILURE&cancelOrderId=3",
    ),
    (
        "POST",
        "/api/v3/order/cancelReplace",
        "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=1&cancelReplaceMode=ALLOW_FAILURE&cancelOrigClientOrderId=abc",
    ),
    (
        "PUT",
        "/api/v3/order/amend/keepPriority",
        "symbol=BTCUSDT&orderId=12&newQty=0.5&newClientOrderId=n1",
    ),
    (
        "POST",
        "/api/v3/order/oco",
        "symbol=BTCUSDT&side=SELL&quantity=1&price=70000&stopPrice=60000&stopLimitPrice=59900&stopLimitTimeInForce=GTC",
    ),
    (
        "POST",
        "/api/v3/orderList/oco",
        "symbol=BTCUSDT&side=SELL&quantity=1&aboveType=LIMIT_MAKER&abovePrice=70000&belowType=STOP_LOSS&belowStopPrice=60000",
    ),
    (
        "POST",
        "/api/v3/orderList/oto",
        "symbol=BTCUSDT&workingType=LIMIT&workingSide=BUY&workingTimeInForce=GTC&workingQuantity=1&workingPrice=60000&pendingType=MARKET&pendingSide=SELL&pendingQuantity=1",
    ),
    (
        "POST",
        "/api/v3/orderList/otoco",
        "symbol=BTCUSDT&workingType=LIMIT_MAKER&workingSide=BUY&workingQuantity=1&workingPrice=60000&pendingSide=SELL&pendingQuantity=1&pendingAboveType=LIMIT_MAKER&pendingAbovePrice=70000&pendingBelowType=STOP_LOSS&pendingBelowStopPrice=50000",
    ),
    (
        "POST",
        "/api/v3/orderList/opo",
        "symbol=BTCUSDT&workingType=LIMIT&workingSide=BUY&workingTimeInForce=GTC&workingQuantity=1&workingPrice=60000&pendingType=LIMIT_MAKER&pendingSide=SELL&pendingPrice=61000",
    ),
    (
        "POST",
        "/api/v3/orderList/opoco",
        "symbol=BTCUSDT&workingType=LIMIT_MAKER&workingSide=BUY&workingQuantity=1&workingPrice=60000&pendingSide=SELL&pendingAboveType=LIMIT_MAKER&pendingAbovePrice=70000&pendingBelowType=STOP_LOSS&pendingBelowStopPrice=50000",
    ),
    (
        "DELETE",
        "/api/v3/order",
        "symbol=BTCUSDT&orderId=7&origClientOrderId=a-b_c",
    ),
    (
        "DELETE",
        "/api/v3/order",
        "symbol=BTCUSDT&origClientOrderId=abc&cancelRestrictions=ONLY_NEW",
    ),
    ("DELETE", "/api/v3/openOrders", "symbol=BTCUSDT"),
    (
        "DELETE",
        "/api/v3/orderList",
        "symbol=BTCUSDT&orderListId=5",
    ),
    ("GET", "/api/v3/order", "symbol=BTCUSDT&orderId=7"),
    ("GET", "/api/v3/openOrders", "symbol=BTCUSDT"),
    ("GET", "/api/v3/myTrades", "symbol=BTCUSDT&limit=5&fromId=9"),
    ("GET", "/api/v3/account", "omitZeroBalances=true"),
    (
        "POST",
        "/sapi/v1/capital/withdraw/apply",
        "coin=USDT&network=TRX&address=TX1Y&amount=3.10&addressTag=m",
    ),
    (
        "POST",
        "/sapi/v1/asset/transfer",
        "type=MAIN_UMFUTURE&asset=USDT&amount=5",
    ),
];

/// Values that readers have been known to differ on.
const VALUES: [&str; 44] = [
    "",
    "0",
    "1",
    "01",
    "0.0",
    "+1",
    "-1",
    "1e3",
    "1E3",
    "1.",
    ".5",
    "1.50",
    "1.123456789",
    "1.12345678",
    "1.1234567800000",
    "99999999999999999999",
    "100000000000000000000",
    "NaN",
    "Infinity",
    "0x10",
    "1_000",
    "1,5",
    "%31",
    "%2531",
    "%2B1",
    "1%00",
    "1%0a",
    "1+",
    "+",
    "%20",
    "١",
    "%D9%A1",
    "１",
    "BUY",
    "buy",
    "SELL",
    "true",
    "TRUE",
    "BTCUSDT",
    "btcusdt",
    "BTCUSDT%26side%3DSELL",
    "BTC%2FUSDT",
    "a=b",
    "x;y",
];

const NAMES: [&str; 20] = [
    "symbol",
    "Symbol",
    "%73ymbol",
    "side",
    "SIDE",
    "quantity",
    "quantity[]",
    "price",
    "stopPrice",
    "timestamp",
    "recvWindow",
    "recvwindow",
    "signature",
    "Signature",
    "newClientOrderId",
    "strategyId",
    "foo",
    "reduceOnly",
    "selfTradePreventionMode",
    "price%00",
];

/// A small generator of its own: the seed of a failing form is printed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.roll(list.len())]
    }
}

#[derive(Debug)]
struct Form {
    method: String,
    target: String,
    body: String,
    headers: Vec<(String, String)>,
}

fn encoded(dice: &mut Dice, value: &str) -> String {
    let mut text = String::new();
    for b in value.bytes() {
        let plain = b.is_ascii_alphanumeric() || b"._-:/".contains(&b);
        match b {
            _ if plain && !dice.one_in(12) => text.push(b as char),
            b' ' if dice.one_in(2) => text.push('+'),
            _ if dice.one_in(2) => text.push_str(&format!("%{b:02x}")),
            _ => text.push_str(&format!("%{b:02X}")),
        }
    }
    text
}

fn form(dice: &mut Dice) -> Form {
    let (method, path, whole) = CALLS[dice.roll(CALLS.len())];
    let mut parts: Vec<String> = whole
        .split('&')
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap();
            format!("{name}={}", encoded(dice, value))
        })
        .collect();
    let window = match dice.roll(6) {
        0 => dice.pick(&[
            "60000",
            "60001",
            "1",
            "0",
            "1000.5",
            "1000.123",
            "1000.1234",
            "05000",
            "1e3",
            "-1",
            "+5000",
        ]),
        1 | 2 => "5000",
        _ => "",
    };
    if !window.is_empty() {
        parts.push(format!("recvWindow={window}"));
    }
    let stamp = match dice.roll(40) {
        0 => "1790000000123456".to_owned(),
        1 => "01790000000123".to_owned(),
        2 => "1790000000123.0".to_owned(),
        3 => "179000000012345".to_owned(),
        4 => "1790000000%3123".to_owned(),
        5 => "%31790000000123".to_owned(),
        _ => NOW_MS.to_string(),
    };
    if !dice.one_in(40) {
        parts.push(format!("timestamp={stamp}"));
    }
    // Mutations: most forms get one or none.
    for _ in 0..dice.roll(4).saturating_sub(1) {
        let at = dice.roll(parts.len());
        let name = parts[at].split('=').next().unwrap_or_default().to_owned();
        match dice.roll(9) {
            0 | 1 => parts[at] = format!("{name}={}", dice.pick(&VALUES)),
            2 => parts.push(format!("{}={}", dice.pick(&NAMES), dice.pick(&VALUES))),
            3 => parts.push(parts[at].clone()),
            4 => {
                parts.remove(at);
                if parts.is_empty() {
                    parts.push("x=1".to_owned());
                }
            }
            5 => {
                parts[at] = dice
                    .pick(&["", "=", "a", "&", "a=1&b", "symbol"])
                    .to_owned()
            }
            6 => parts[at] = parts[at].replacen(&name, &name.to_uppercase(), 1),
            7 => {
                let first = name.bytes().next().unwrap_or(b'x');
                parts[at] = parts[at].replacen(
                    &name,
                    &format!("%{first:02x}{}", name.get(1..).unwrap_or("")),
                    1,
                );
            }
            _ => {
                let value = dice.pick(&VALUES);
                parts.insert(at, format!("{name}={value}"));
            }
        }
        parts.retain(|part| part.contains('=') || dice.0 & 8 == 0);
        if parts.is_empty() {
            parts.push("x=1".to_owned());
        }
    }
    if dice.one_in(3) {
        parts.reverse();
    }
    let split = match dice.roll(4) {
        _ if method == "GET" && !dice.one_in(30) => parts.len(),
        0 => 0,
        1 => dice.roll(parts.len() + 1),
        _ if method == "POST" => 0,
        _ => parts.len(),
    };
    let (query, body) = parts.split_at(split);
    let (mut query, mut body) = (query.to_vec(), body.to_vec());
    let payload = query.join("&") + &body.join("&");
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()),
        payload.as_bytes(),
    );
    let mut hex: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    if dice.one_in(10) {
        hex = hex.to_uppercase();
    }
    if dice.one_in(20) {
        hex = encoded(dice, &hex);
    }
    let signature = format!("signature={hex}");
    let into = if body.is_empty() {
        &mut query
    } else {
        &mut body
    };
    let at = if dice.one_in(6) {
        dice.roll(into.len() + 1)
    } else {
        into.len()
    };
    into.insert(at, signature.clone());
    if dice.one_in(60) {
        query.push(signature);
    }
    let mut target = path.to_owned();
    if !query.is_empty() {
        target = format!("{path}?{}", query.join("&"));
    }
    let mut method = method.to_owned();
    match dice.roll(60) {
        0 => {
            method = dice
                .pick(&["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "post"])
                .to_owned()
        }
        1 => {
            target = target.replacen(
                "/api",
                dice.pick(&["/API", "//api", "/./api", "/api/../api", "/%61pi"]),
                1,
            )
        }
        2 => {
            target = target.replacen(
                "order",
                dice.pick(&["order/", "Order", "orders", "orderList"]),
                1,
            )
        }
        3 => target.push_str(dice.pick(&["#", "?", "&", "%", "&signature=00"])),
        _ => {}
    }
    let mut headers = vec![("X-MBX-APIKEY".to_owned(), KEY.to_owned())];
    if !body.is_empty() && !dice.one_in(40) {
        let kind = match dice.roll(20) {
            0 => "application/json",
            1 => "application/x-www-form-urlencoded; charset=utf-8",
            2 => "Application/X-WWW-Form-Urlencoded",
            3 => "multipart/form-data",
            _ => "application/x-www-form-urlencoded",
        };
        headers.push(("Content-Type".to_owned(), kind.to_owned()));
    }
    if dice.one_in(40) {
        headers.push(("x-mbx-apikey".to_owned(), KEY.to_owned()));
    }
    Form {
        method,
        target,
        body: body.join("&"),
        headers,
    }
}

fn gate(form: &Form) -> Result<Actions, DecodeError> {
    let headers: Vec<Header> = form
        .headers
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_bytes().into(),
        })
        .collect();
    let raw = RawRequest {
        method: &form.method,
        host: "api.binance.com",
        target: form.target.as_bytes(),
        headers: &headers,
        body: form.body.as_bytes(),
    };
    let presented = Catalog::builtin().unwrap().present(&raw)?;
    presented.verify(&VerifyKey::hmac(SECRET.as_bytes()))?;
    presented.decode(Some("pc-1"))
}

fn exchange(form: &Form, keys: &Keys) -> Result<Understood, portcullis_sim::refusal::Refusal> {
    let headers: Vec<(&str, &[u8])> = form
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    strict::check(
        &form.method,
        form.target.as_bytes(),
        &headers,
        form.body.as_bytes(),
        keys,
        NOW_MS * 1000,
    )
}

/// The request that the gate sends, signed as its keyring would.
fn rebuilt(actions: &Actions) -> Form {
    let stamp = Stamp {
        venue_time_ms: NOW_MS,
        receive_window_ms: 1000,
        at: Timestamp(0),
    };
    let unsigned = Catalog::builtin().unwrap().prepare(actions, stamp).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag: [u8; 32] = hmac::sign(&key, &unsigned.message("RealKey"))
        .as_ref()
        .try_into()
        .unwrap();
    let ready = unsigned.finish(KEY.into(), &Signature::HmacSha256(tag));
    Form {
        method: ready.method.to_owned(),
        target: ready.target,
        body: ready.body,
        headers: ready
            .headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}

/// The same value, whatever its form: numbers by their worth, truths without case.
fn same(a: &str, b: &str) -> bool {
    let number = |text: &str| decimal::parse(text).ok();
    a == b
        || a.eq_ignore_ascii_case(b) && matches!(b, "true" | "false" | "TRUE" | "FALSE")
        || number(a).is_some() && number(a) == number(b)
}

/// Everything that an order says, against what the exchange reads under the names of its leg.
fn agrees(order: &Order, seen: &Understood) -> Result<(), String> {
    let prefix = match order.leg {
        None => "",
        Some(Leg::Working) => "working",
        Some(Leg::Pending) => "pending",
        Some(Leg::Above) => "above",
        Some(Leg::Below) => "below",
        Some(Leg::PendingAbove) => "pendingAbove",
        Some(Leg::PendingBelow) => "pendingBelow",
    };
    let old_oco = seen.path == "/api/v3/order/oco";
    let stop_leg = old_oco && order.order_type != OrderType::LimitMaker;
    let get = |name: &str| -> Option<&str> {
        let mut own = format!("{prefix}{name}");
        if let (true, Some(first)) = (prefix.is_empty(), own.get_mut(..1)) {
            first.make_ascii_lowercase();
        }
        let shared = match (prefix, name) {
            ("pendingAbove" | "pendingBelow", "Side") => Some("pendingSide"),
            ("pendingAbove" | "pendingBelow", "Quantity") => Some("pendingQuantity"),
            ("above" | "below", "Side") => Some("side"),
            ("above" | "below", "Quantity") => Some("quantity"),
            _ => None,
        };
        let old = match (old_oco, stop_leg, name) {
            (false, ..) => None,
            (_, true, "Price") => Some("stopLimitPrice"),
            (_, true, "StopPrice") => Some("stopPrice"),
            (_, true, "TimeInForce") => Some("stopLimitTimeInForce"),
            (_, false, "Price") => Some("price"),
            _ => Some(""),
        };
        match (old, shared) {
            (_, Some(name)) => seen.get(name),
            (Some(name), None) => seen.get(name),
            (None, None) => seen.get(&own),
        }
    };
    let check = |name: &str, ours: Option<String>, theirs: Option<&str>| match (ours, theirs) {
        (None, None) => Ok(()),
        (Some(ours), Some(theirs)) if same(&ours, theirs) => Ok(()),
        (ours, theirs) => Err(format!("{prefix}{name}: {ours:?} and {theirs:?}")),
    };
    check("symbol", Some(order.symbol.to_string()), seen.get("symbol"))?;
    let side = if order.side == Side::Buy {
        "BUY"
    } else {
        "SELL"
    };
    check("side", Some(side.to_owned()), get("Side"))?;
    if !old_oco {
        let kind = match order.order_type {
            OrderType::Limit => "LIMIT",
            OrderType::Market => "MARKET",
            OrderType::LimitMaker => "LIMIT_MAKER",
            OrderType::StopLoss => "STOP_LOSS",
            OrderType::StopLossLimit => "STOP_LOSS_LIMIT",
            OrderType::TakeProfit => "TAKE_PROFIT",
            OrderType::TakeProfitLimit => "TAKE_PROFIT_LIMIT",
            OrderType::TrailingStop => "TRAILING_STOP_MARKET",
        };
        check("type", Some(kind.to_owned()), get("Type"))?;
        check(
            "trailing",
            order.trailing_delta.map(|n| n.to_string()),
            get("TrailingDelta"),
        )?;
        check(
            "iceberg",
            order.iceberg_quantity.map(|n| n.to_string()),
            get("IcebergQty"),
        )?;
        check(
            "peg",
            order.pegged.then(|| "x".to_owned()),
            get("PegPriceType").map(|_| "x"),
        )?;
        check(
            "quote",
            order.quote_quantity.map(|n| n.to_string()),
            seen.get("quoteOrderQty").filter(|_| prefix.is_empty()),
        )?;
    }
    let force = order.time_in_force.map(|force| match force {
        TimeInForce::Gtc => "GTC".to_owned(),
        TimeInForce::Ioc => "IOC".to_owned(),
        TimeInForce::Fok => "FOK".to_owned(),
        TimeInForce::Gtd => "GTD".to_owned(),
    });
    check("force", force, get("TimeInForce"))?;
    check(
        "quantity",
        order.quantity.map(|n| n.to_string()),
        get("Quantity"),
    )?;
    check("price", order.price.map(|n| n.to_string()), get("Price"))?;
    check(
        "stop",
        order.stop_price.map(|n| n.to_string()),
        get("StopPrice"),
    )
}

fn compare(
    form: &Form,
    keys: &Keys,
    counts: &mut BTreeMap<&'static str, u32>,
) -> Result<(), String> {
    let before = exchange(form, keys);
    let actions = match gate(form) {
        Ok(actions) => actions,
        Err(_) => {
            let word = if before.is_ok() {
                "gate refuses alone"
            } else {
                "both refuse"
            };
            *counts.entry(word).or_default() += 1;
            return Ok(());
        }
    };
    let sent = rebuilt(&actions);
    let after = exchange(&sent, keys);
    let seen = match (&before, &after) {
        (Ok(before), Ok(after)) => {
            *counts.entry("both accept").or_default() += 1;
            // Nothing lost, nothing changed, nothing added but ids of ours.
            if (before.method, before.path) != (after.method, after.path) {
                return Err(format!("{} became {}", before.path, after.path));
            }
            let ours = ["timestamp", "recvWindow"];
            for (name, value) in before
                .params
                .iter()
                .filter(|(n, _)| !ours.contains(&n.as_str()))
            {
                if !after.get(name).is_some_and(|other| same(value, other)) {
                    return Err(format!("{name}={value} became {:?}", after.get(name)));
                }
            }
            for (name, value) in after
                .params
                .iter()
                .filter(|(n, _)| !ours.contains(&n.as_str()))
            {
                if !before.params.contains_key(name) && !value.starts_with("pc-1-") {
                    return Err(format!("{name}={value} was added"));
                }
            }
            after
        }
        (Ok(_), Err(refusal)) => return Err(format!("what is sent is refused: {refusal:?}")),
        (Err(_), Ok(after)) => {
            *counts
                .entry("exchange refuses the original alone")
                .or_default() += 1;
            after
        }
        (Err(_), Err(_)) => {
            *counts.entry("exchange refuses both").or_default() += 1;
            return Ok(());
        }
    };
    for action in &actions.list {
        match action {
            Action::PlaceOrder(order) | Action::TestOrder(order) => agrees(order, seen)?,
            Action::CancelOrder(order) => {
                let names = match seen.path {
                    "/api/v3/order/cancelReplace" => ["cancelOrderId", "cancelOrigClientOrderId"],
                    "/api/v3/orderList" => ["orderListId", "listClientOrderId"],
                    _ => ["orderId", "origClientOrderId"],
                };
                let id = order.order_id.map(|id| id.to_string());
                let client = order.client_order_id.as_ref().map(|id| id.as_str());
                let agree = id.as_deref().map(decimal::parse)
                    == seen.get(names[0]).map(decimal::parse)
                    && client == seen.get(names[1])
                    && Some(order.symbol.as_str()) == seen.get("symbol");
                if !agree {
                    return Err(format!("cancel: {order:?}"));
                }
            }
            Action::AmendOrder(amend) => {
                let quantity = amend.quantity.map(|q| q.to_string());
                if !seen
                    .get("newQty")
                    .zip(quantity.as_deref())
                    .is_some_and(|(a, b)| same(a, b))
                {
                    return Err(format!("amend: {amend:?}"));
                }
            }
            Action::Withdraw(m) => {
                let amount = m.amount.map(|a| a.to_string());
                let agree = m.asset.as_ref().map(|a| a.as_str()) == seen.get("coin")
                    && m.address.as_deref() == seen.get("address")
                    && amount
                        .zip(seen.get("amount"))
                        .is_some_and(|(a, b)| same(&a, b));
                if !agree {
                    return Err(format!("withdraw: {m:?}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn the_gate_and_a_strict_exchange_understand_the_same_or_refuse() {
    let mut keys = Keys::default();
    keys.add(KEY, Key::new(0, 0, "all", Material::hmac(SECRET)));
    let mut counts = BTreeMap::new();
    for n in 0..u64::from(FORMS) {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (n + 1).wrapping_mul(0xd134_2543_de82_ef95));
        for _ in 0..4 {
            dice.roll(2);
        }
        let form = form(&mut dice);
        if let Err(why) = compare(&form, &keys, &mut counts) {
            panic!("form {n}: {why}\n{form:#?}");
        }
    }
    // No side of it is idle.
    let count = |word| counts.get(word).copied().unwrap_or_default();
    assert!(count("both accept") > FORMS / 5, "{counts:?}");
    assert!(count("both refuse") > FORMS / 5, "{counts:?}");
    assert!(
        count("exchange refuses the original alone") > 0,
        "{counts:?}"
    );
    println!("{counts:?}");
}

/// Each call, unharmed, is understood by both: otherwise the comparison would be of refusals.
#[test]
fn every_whole_call_is_understood_by_both() {
    let mut keys = Keys::default();
    keys.add(KEY, Key::new(0, 0, "all", Material::hmac(SECRET)));
    for (method, path, fields) in CALLS {
        let fields: Vec<String> = fields
            .split('&')
            .map(|part| {
                let (name, value) = part.split_once('=').unwrap();
                let value: String = value
                    .bytes()
                    .map(|b| match b {
                        b if b.is_ascii_alphanumeric() || b"._-/".contains(&b) => {
                            char::from(b).to_string()
                        }
                        b => format!("%{b:02X}"),
                    })
                    .collect();
                format!("{name}={value}")
            })
            .collect();
        let payload = format!("{}&timestamp={NOW_MS}", fields.join("&"));
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = hmac::sign(&key, payload.as_bytes());
        let hex: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let form = Form {
            method: method.to_owned(),
            target: format!("{path}?{payload}&signature={hex}"),
            body: String::new(),
            headers: vec![("x-mbx-apikey".to_owned(), KEY.to_owned())],
        };
        exchange(&form, &keys).unwrap_or_else(|e| panic!("{path}?{payload}: exchange: {e:?}"));
        gate(&form).unwrap_or_else(|e| panic!("{path}?{payload}: gate: {e}"));
        let mut counts = BTreeMap::new();
        compare(&form, &keys, &mut counts).unwrap_or_else(|e| panic!("{path}?{payload}: {e}"));
        assert_eq!(counts.get("both accept"), Some(&1));
    }
}
