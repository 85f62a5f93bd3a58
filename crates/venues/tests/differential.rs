//! What the gate signs takes effect at a strict exchange as exactly what the gate decided: over generated requests and
//! mutations of them, for Binance futures (forms, and JSON within them), Bybit (JSON) and OKX (JSON arrays). The simulator
//! parses on its own, and its books say what became of the rebuilt request: which market, side, quantity, price, trigger,
//! whether it may only reduce, which position, whose id; what was cancelled, what was changed, what left. `strict.rs` does the
//! same for Binance spot, by names.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use portcullis_model::action::{
    Action, Leg, MarketKind, OrderType, PositionSide, Side, Stamp, TimeInForce,
};
use portcullis_model::id::Timestamp;
use portcullis_model::wire::Header;
use portcullis_sim::book::{self, Type};
use portcullis_sim::decimal::{self, D, ONE};
use portcullis_sim::futures::{Service, house};
use portcullis_sim::makers;
use portcullis_sim::venue::{Kind, Options, Venue};
use portcullis_venues::{
    Actions, Catalog, Credential, DecodeError, RawRequest, Signature, VerifyKey,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

const FORMS: u64 = 4_000;
/// Requests to one exchange, before a new one opens.
const AT_ONE_EXCHANGE: u64 = 100;
const NOW_MS: u64 = 1_790_000_000_123;
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A call: where, and its fields as they are written. `[` before the fields: a list of objects; a name before that: the
/// field that the list stands in, after those of the request itself.
struct Call {
    host: &'static str,
    method: &'static str,
    path: &'static str,
    fields: &'static str,
}

const fn call(
    host: &'static str,
    method: &'static str,
    path: &'static str,
    fields: &'static str,
) -> Call {
    Call {
        host,
        method,
        path,
        fields,
    }
}

const USD: &str = "fapi.binance.com";
const COIN: &str = "dapi.binance.com";
const BYBIT: &str = "api.bybit.com";
const OKX: &str = "www.okx.com";

/// Fields as `name=value`, objects of a list apart by `;`, values as they would stand in JSON.
const FUTURES: [Call; 22] = [
    call(
        USD,
        "POST",
        "/fapi/v1/order",
        r#"symbol="BTCUSDT"&side="BUY"&type="LIMIT"&timeInForce="GTC"&quantity="0.010"&price="60000.10""#,
    ),
    call(
        USD,
        "POST",
        "/fapi/v1/order",
        r#"symbol="BTCUSDT"&side="SELL"&type="MARKET"&quantity="0.01"&reduceOnly="true""#,
    ),
    call(
        USD,
        "POST",
        "/fapi/v1/order",
        r#"symbol="BTCUSDT"&side="SELL"&positionSide="LONG"&type="MARKET"&quantity="0.01""#,
    ),
    call(
        USD,
        "POST",
        "/fapi/v1/order",
        r#"symbol="ETHUSDT"&side="SELL"&type="LIMIT"&timeInForce="GTX"&quantity="1.5"&price="4000"&newClientOrderId="mine-1""#,
    ),
    call(
        USD,
        "POST",
        "/fapi/v1/order",
        r#"symbol="BTCUSDT"&side="BUY"&type="LIMIT"&timeInForce="GTC"&quantity="0.01"&priceMatch="QUEUE_5""#,
    ),
    call(
        USD,
        "POST",
        "/fapi/v1/order/test",
        r#"symbol="BTCUSDT"&side="BUY"&type="LIMIT"&timeInForce="IOC"&quantity="0.010"&price="60000""#,
    ),
    call(
        USD,
        "POST",
        "/fapi/v1/batchOrders",
        r#"batchOrders:[symbol="BTCUSDT"&side="BUY"&type="LIMIT"&timeInForce="GTC"&quantity="0.01"&price="60000";symbol="BTCUSDT"&side="SELL"&type="LIMIT"&timeInForce="IOC"&quantity="0.02"&price="70000"&reduceOnly="true""#,
    ),
    call(
        USD,
        "POST",
        "/fapi/v1/batchOrders",
        r#"batchOrders:[symbol="ETHUSDT"&side="SELL"&positionSide="SHORT"&type="MARKET"&quantity="0.1";symbol="BTCUSDT"&side="BUY"&type="MARKET"&quantity="0.01""#,
    ),
    call(
        USD,
        "PUT",
        "/fapi/v1/order",
        r#"symbol="BTCUSDT"&side="BUY"&quantity="0.005"&price="60000"&origClientOrderId="usd-bid""#,
    ),
    call(
        USD,
        "DELETE",
        "/fapi/v1/order",
        r#"symbol="BTCUSDT"&origClientOrderId="usd-bid""#,
    ),
    call(
        USD,
        "DELETE",
        "/fapi/v1/allOpenOrders",
        r#"symbol="BTCUSDT""#,
    ),
    call(
        USD,
        "DELETE",
        "/fapi/v1/batchOrders",
        r#"symbol="BTCUSDT"&origClientOrderIdList=["usd-bid","usd-ask"]"#,
    ),
    call(
        USD,
        "POST",
        "/fapi/v1/algoOrder",
        r#"algoType="CONDITIONAL"&symbol="BTCUSDT"&side="SELL"&type="STOP_MARKET"&triggerPrice="60000"&closePosition="true""#,
    ),
    call(
        USD,
        "POST",
        "/fapi/v1/algoOrder",
        r#"algoType="CONDITIONAL"&symbol="BTCUSDT"&side="SELL"&type="TAKE_PROFIT"&timeInForce="GTC"&quantity="0.01"&price="71000"&triggerPrice="70000"&reduceOnly="true"&clientAlgoId="tp-1""#,
    ),
    call(
        USD,
        "POST",
        "/fapi/v1/algoOrder",
        r#"algoType="CONDITIONAL"&symbol="BTCUSDT"&side="BUY"&type="STOP"&timeInForce="GTC"&quantity="0.01"&price="70100"&triggerPrice="70000""#,
    ),
    call(
        USD,
        "POST",
        "/fapi/v1/algoOrder",
        r#"algoType="CONDITIONAL"&symbol="BTCUSDT"&side="SELL"&type="TRAILING_STOP_MARKET"&quantity="0.01"&callbackRate="1.0"&activatePrice="70000""#,
    ),
    call(
        COIN,
        "POST",
        "/dapi/v1/order",
        r#"symbol="BTCUSD_PERP"&side="BUY"&type="LIMIT"&timeInForce="GTC"&quantity="10"&price="60000.1""#,
    ),
    call(
        COIN,
        "POST",
        "/dapi/v1/order",
        r#"symbol="BTCUSD_PERP"&side="SELL"&type="MARKET"&quantity="5"&reduceOnly="true""#,
    ),
    call(
        COIN,
        "POST",
        "/dapi/v1/order",
        r#"symbol="ETHUSD_PERP"&side="SELL"&positionSide="SHORT"&type="LIMIT"&timeInForce="FOK"&quantity="7"&price="3000""#,
    ),
    call(
        COIN,
        "POST",
        "/dapi/v1/batchOrders",
        r#"batchOrders:[symbol="BTCUSD_PERP"&side="BUY"&type="LIMIT"&timeInForce="GTC"&quantity="3"&price="60000";symbol="BTCUSD_PERP"&side="SELL"&type="MARKET"&quantity="2"&reduceOnly="true""#,
    ),
    call(
        COIN,
        "PUT",
        "/dapi/v1/order",
        r#"symbol="BTCUSD_PERP"&side="BUY"&quantity="4"&price="59000"&origClientOrderId="coin-bid""#,
    ),
    call(
        COIN,
        "DELETE",
        "/dapi/v1/order",
        r#"symbol="BTCUSD_PERP"&origClientOrderId="coin-bid""#,
    ),
];

const BYBITS: [Call; 22] = [
    call(
        BYBIT,
        "POST",
        "/v5/order/create",
        r#"category="spot"&symbol="BTCUSDT"&side="Buy"&orderType="Limit"&qty="0.010"&price="60000.1""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/create",
        r#"category="spot"&symbol="BTCUSDT"&side="Sell"&orderType="Market"&qty="250"&marketUnit="quoteCoin""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/create",
        r#"category="spot"&symbol="BTCUSDT"&side="Buy"&orderType="Market"&qty="250""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/create",
        r#"category="spot"&symbol="ETHUSDT"&side="Sell"&orderType="Limit"&qty="0.5"&price="4000"&timeInForce="PostOnly"&orderLinkId="mine-1""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/create",
        r#"category="spot"&symbol="BTCUSDT"&side="Buy"&orderType="Limit"&qty="0.01"&price="60000"&takeProfit="70000"&stopLoss="55000""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/create",
        r#"category="spot"&symbol="BTCUSDT"&side="Sell"&orderType="Limit"&qty="0.01"&price="60000"&orderFilter="StopOrder"&triggerPrice="60000""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/create",
        r#"category="linear"&symbol="BTCUSDT"&side="Buy"&orderType="Limit"&qty="0.01"&price="60000"&timeInForce="GTC""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/create",
        r#"category="linear"&symbol="BTCUSDT"&side="Sell"&orderType="Market"&qty="0.01"&reduceOnly=true"#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/create",
        r#"category="linear"&symbol="BTCUSDT"&side="Sell"&orderType="Market"&qty="0"&reduceOnly=true&closeOnTrigger=true"#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/create",
        r#"category="linear"&symbol="BTCUSDT"&side="Buy"&orderType="Limit"&qty="0.01"&price="60000"&positionIdx=1"#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/create",
        r#"category="linear"&symbol="BTCUSDT"&side="Buy"&orderType="Limit"&qty="0.01"&price="60000"&takeProfit="70000"&stopLoss="55000""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/create",
        r#"category="linear"&symbol="BTCUSDT"&side="Sell"&orderType="Market"&qty="0.01"&triggerPrice="60000"&triggerDirection=2&reduceOnly=true"#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/create",
        r#"category="inverse"&symbol="BTCUSD"&side="Sell"&orderType="Limit"&qty="100"&price="70000"&timeInForce="IOC""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/create-batch",
        r#"category="linear"&request:[symbol="BTCUSDT"&side="Buy"&orderType="Limit"&qty="0.01"&price="60000";symbol="ETHUSDT"&side="Sell"&orderType="Market"&qty="0.1""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/create-batch",
        r#"category="spot"&request:[symbol="BTCUSDT"&side="Buy"&orderType="Limit"&qty="0.01"&price="60000";symbol="BTCUSDT"&side="Sell"&orderType="Limit"&qty="0.02"&price="70000""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/amend",
        r#"category="linear"&symbol="BTCUSDT"&orderLinkId="usd-bid"&qty="0.005""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/cancel",
        r#"category="linear"&symbol="BTCUSDT"&orderLinkId="usd-bid""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/cancel",
        r#"category="spot"&symbol="BTCUSDT"&orderLinkId="spot-bid""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/cancel-batch",
        r#"category="linear"&request:[symbol="BTCUSDT"&orderLinkId="usd-bid";symbol="BTCUSDT"&orderLinkId="usd-ask""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/order/cancel-all",
        r#"category="linear"&symbol="BTCUSDT""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/position/trading-stop",
        r#"category="linear"&symbol="BTCUSDT"&tpslMode="Full"&positionIdx=0&takeProfit="70000"&stopLoss="60000""#,
    ),
    call(
        BYBIT,
        "POST",
        "/v5/asset/withdraw/create",
        r#"coin="USDT"&chain="TRX"&address="TX1Y"&amount="12.50"&timestamp=1790000000123&accountType="UTA""#,
    ),
];

const OKXS: [Call; 22] = [
    call(
        OKX,
        "POST",
        "/api/v5/trade/order",
        r#"instId="BTC-USDT"&tdMode="cash"&side="buy"&ordType="limit"&sz="0.010"&px="60000.1""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/order",
        r#"instId="BTC-USDT"&tdMode="cash"&side="buy"&ordType="market"&sz="250""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/order",
        r#"instId="BTC-USDT"&tdMode="cash"&side="sell"&ordType="market"&sz="0.01"&tgtCcy="base_ccy""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/order",
        r#"instId="BTC-USDT"&tdMode="cash"&side="sell"&ordType="post_only"&sz="0.01"&px="70000"&clOrdId="mine1""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/order",
        r#"instId="BTC-USDT"&tdMode="cash"&side="buy"&ordType="limit"&sz="0.01"&px="60000"&attachAlgoOrds=[{"tpTriggerPx":"70000","tpOrdPx":"-1","slTriggerPx":"55000","slOrdPx":"-1"}]"#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/order",
        r#"instId="BTC-USDT-SWAP"&tdMode="cross"&side="buy"&ordType="limit"&sz="2"&px="60000"&attachAlgoOrds=[{"tpTriggerPx":"70000","tpOrdPx":"-1"}]"#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/order",
        r#"instId="BTC-USDT-SWAP"&tdMode="cross"&side="sell"&ordType="market"&sz="1"&reduceOnly=true"#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/order",
        r#"instId="BTC-USDT-SWAP"&tdMode="cross"&side="buy"&posSide="long"&ordType="ioc"&sz="3"&px="70000""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/order",
        r#"instId="BTC-USD-SWAP"&tdMode="cross"&side="sell"&ordType="limit"&sz="5"&px="70000""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/batch-orders",
        r#"[instId="BTC-USDT"&tdMode="cash"&side="buy"&ordType="limit"&sz="0.01"&px="60000";instId="BTC-USDT-SWAP"&tdMode="cross"&side="sell"&ordType="fok"&sz="2"&px="60000""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/batch-orders",
        r#"[instId="ETH-USDT"&tdMode="cash"&side="sell"&ordType="limit"&sz="0.5"&px="4000""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/cancel-order",
        r#"instId="BTC-USDT"&clOrdId="spotbid""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/cancel-order",
        r#"instId="BTC-USDT-SWAP"&clOrdId="usdbid""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/cancel-batch-orders",
        r#"[instId="BTC-USDT"&clOrdId="spotbid";instId="BTC-USDT-SWAP"&clOrdId="usdask""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/amend-order",
        r#"instId="BTC-USDT-SWAP"&clOrdId="usdbid"&newSz="1""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/amend-batch-orders",
        r#"[instId="BTC-USDT-SWAP"&clOrdId="usdbid"&newSz="1";instId="BTC-USDT"&clOrdId="spotbid"&newSz="0.005""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/order-algo",
        r#"instId="BTC-USDT"&tdMode="cash"&side="sell"&ordType="oco"&sz="0.01"&tpTriggerPx="70000"&tpOrdPx="-1"&slTriggerPx="55000"&slOrdPx="-1""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/order-algo",
        r#"instId="BTC-USDT"&tdMode="cash"&side="sell"&ordType="conditional"&sz="0.01"&slTriggerPx="55000"&slOrdPx="54900"&algoClOrdId="stop1""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/order-algo",
        r#"instId="BTC-USDT"&tdMode="cash"&side="buy"&ordType="trigger"&sz="0.01"&triggerPx="60000"&orderPx="60000""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/trade/close-position",
        r#"instId="BTC-USDT-SWAP"&mgnMode="cross"&posSide="long""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/asset/withdrawal",
        r#"ccy="USDT"&amt="12.50"&dest="4"&toAddr="TX1Y"&chain="USDT-TRC20""#,
    ),
    call(
        OKX,
        "POST",
        "/api/v5/asset/withdrawal",
        r#"ccy="USDT"&amt="12.50"&dest="3"&toAddr="600000002"&toAddrType="2""#,
    ),
];

/// Values as they would stand in JSON, that readers have been known to differ on.
const VALUES: [&str; 62] = [
    r#""""#,
    r#""0""#,
    r#""1""#,
    r#""01""#,
    r#""0.0""#,
    r#""+1""#,
    r#""-1""#,
    r#""1e1""#,
    r#""1E1""#,
    r#""1.""#,
    r#"".5""#,
    r#""0.0100""#,
    r#""0.0123456789""#,
    r#""1.000000000000000000000""#,
    r#""99999999999999999999""#,
    r#""NaN""#,
    r#""Infinity""#,
    r#""0x10""#,
    r#""1_000""#,
    r#""1,5""#,
    r#"" 1""#,
    r#""1 ""#,
    r#""1\u0000""#,
    r#""\u0031""#,
    r#""١""#,
    r#""１""#,
    r#""1\n""#,
    "0",
    "1",
    "-1",
    "-0",
    "1.0",
    "0.01",
    "1e1",
    "1E-2",
    "1e400",
    "0.1e1",
    "12345678901234567890",
    "0.30000000000000004",
    "2.0",
    "true",
    "false",
    "null",
    r#""true""#,
    r#""false""#,
    r#""TRUE""#,
    r#""True""#,
    "[]",
    "{}",
    r#"["1"]"#,
    r#"{"a":"1"}"#,
    "[[]]",
    r#""BUY""#,
    r#""SELL""#,
    r#""Buy""#,
    r#""sell""#,
    r#""MARKET""#,
    r#""Market""#,
    r#""market""#,
    r#""linear""#,
    r#""spot""#,
    r#""BTCUSDT""#,
];

const NAMES: [&str; 34] = [
    "symbol",
    "Symbol",
    "SYMBOL",
    "side",
    "quantity",
    "qty",
    "sz",
    "price",
    "px",
    "reduceOnly",
    "reduceonly",
    "positionSide",
    "positionIdx",
    "posSide",
    "closePosition",
    "closeOnTrigger",
    "category",
    "instId",
    "timeInForce",
    "type",
    "orderType",
    "ordType",
    "triggerPrice",
    "stopPrice",
    "takeProfit",
    "stopLoss",
    "newClientOrderId",
    "orderLinkId",
    "clOrdId",
    "foo",
    "recvWindow",
    "timestamp",
    "signature",
    "tgtCcy",
];

/// A small generator of its own: the number of a failing request is printed.
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

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.roll(list.len())]
    }
}

type Fields = Vec<(String, String)>;

/// A request before it is written: its own fields, and the list within it.
struct Draft {
    own: Fields,
    /// The name of the list's field; none: the body is the list.
    list: Option<(Option<String>, Vec<Fields>)>,
}

/// Splits at a byte that stands in no brackets and no text.
fn split(text: &str, at: char) -> Vec<String> {
    let (mut parts, mut depth, mut quoted) = (vec![String::new()], 0, false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        if c == at && depth == 0 && !quoted {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(c);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn fields(text: &str) -> Fields {
    split(text, '&')
        .iter()
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn draft(call: &Call) -> Draft {
    let list = ["batchOrders:[", "request:[", "["]
        .iter()
        .find_map(|mark| Some((*mark, call.fields.split_once(mark)?)))
        // `[` alone begins a list only where no field stands before it.
        .filter(|(mark, (before, _))| mark.len() > 1 || before.is_empty());
    let Some((mark, (before, objects))) = list else {
        let own = fields(call.fields);
        return Draft { own, list: None };
    };
    let name = mark.strip_suffix(":[").map(str::to_owned);
    let objects = split(objects, ';').iter().map(|one| fields(one)).collect();
    Draft {
        own: fields(before.trim_end_matches('&')),
        list: Some((name, objects)),
    }
}

fn mutate(dice: &mut Dice, all: &mut Fields) {
    if all.is_empty() {
        return;
    }
    let at = dice.roll(all.len());
    match dice.roll(10) {
        0..=3 => all[at].1 = dice.pick(&VALUES).to_owned(),
        4 | 5 => all.push((dice.pick(&NAMES).to_owned(), dice.pick(&VALUES).to_owned())),
        6 => {
            // The same name again, with another value or the same, plain or escaped.
            let (name, value) = all[at].clone();
            let value = if dice.one_in(2) {
                value
            } else {
                dice.pick(&VALUES).to_owned()
            };
            let name = match (name.chars().next(), dice.one_in(2)) {
                (Some(first), true) => format!("\\u{:04x}{}", u32::from(first), &name[1..]),
                _ => name,
            };
            all.insert(dice.roll(all.len() + 1), (name, value));
        }
        7 => {
            all.remove(at);
        }
        8 => all[at].0 = all[at].0.to_uppercase(),
        _ => {
            let number = all[at].1.trim_matches('"').to_owned();
            // A number as a number, a text as a text, a truth as a text.
            all[at].1 = match all[at].1.starts_with('"') {
                true => number,
                false => format!("\"{number}\""),
            };
        }
    }
}

fn object(dice: &mut Dice, fields: &Fields) -> String {
    let space = |dice: &mut Dice| ["", "", "", "", " "][dice.roll(5)];
    let parts: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}\"{name}\":{}{value}", space(dice), space(dice)))
        .collect();
    format!("{{{}}}", parts.join(","))
}

fn array(dice: &mut Dice, objects: &[Fields]) -> String {
    let objects: Vec<String> = objects.iter().map(|one| object(dice, one)).collect();
    format!("[{}]", objects.join(","))
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

/// A request as it is sent.
#[derive(Debug, Clone)]
struct Sent {
    host: &'static str,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

#[derive(Debug, Clone)]
struct Key {
    id: String,
    secret: String,
    passphrase: Option<String>,
}

fn tag(secret: &str, text: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::sign(&key, text.as_bytes())
        .as_ref()
        .try_into()
        .unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Written and signed as a program would.
fn written(dice: &mut Dice, call: &Call, draft: &Draft, key: &Key) -> Sent {
    let mut headers = vec![("host".to_owned(), call.host.to_owned())];
    let mut head = |name: &str, value: String| headers.push((name.to_owned(), value));
    let (mut target, mut body) = (call.path.to_owned(), String::new());
    if matches!(call.host, USD | COIN) {
        // A text without its quotes, everything else as it is.
        let plain = |value: &str| match value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) {
            Some(text) => percent(text),
            None => percent(value),
        };
        let mut parts: Vec<String> = draft
            .own
            .iter()
            .map(|(name, value)| format!("{name}={}", plain(value)))
            .collect();
        if let Some((name, objects)) = &draft.list {
            let json = array(dice, objects);
            parts.push(format!("{}={}", name.as_deref().unwrap(), percent(&json)));
        }
        parts.push(format!("timestamp={NOW_MS}"));
        let payload = parts.join("&");
        let signed = format!("{payload}&signature={}", hex(&tag(&key.secret, &payload)));
        head("X-MBX-APIKEY", key.id.clone());
        if call.method == "DELETE" || dice.one_in(4) {
            target = format!("{target}?{signed}");
        } else {
            head(
                "Content-Type",
                "application/x-www-form-urlencoded".to_owned(),
            );
            body = signed;
        }
    } else {
        body = match &draft.list {
            None => object(dice, &draft.own),
            Some((None, objects)) => array(dice, objects),
            Some((Some(name), objects)) => {
                let list = array(dice, objects);
                let mut own = draft.own.clone();
                own.insert(dice.roll(own.len() + 1), (name.clone(), list));
                object(dice, &own)
            }
        };
        head("Content-Type", "application/json".to_owned());
        if call.host == BYBIT {
            let text = format!("{NOW_MS}{}5000{body}", key.id);
            head("X-BAPI-API-KEY", key.id.clone());
            head("X-BAPI-TIMESTAMP", NOW_MS.to_string());
            head("X-BAPI-RECV-WINDOW", "5000".to_owned());
            head("X-BAPI-SIGN", hex(&tag(&key.secret, &text)));
        } else {
            let text = format!("{ISO}{}{}{body}", call.method, call.path);
            let sign = portcullis_sim::keys::base64(&tag(&key.secret, &text));
            head("OK-ACCESS-KEY", key.id.clone());
            head("OK-ACCESS-TIMESTAMP", ISO.to_owned());
            head(
                "OK-ACCESS-PASSPHRASE",
                key.passphrase.clone().unwrap_or_default(),
            );
            head("OK-ACCESS-SIGN", sign);
        }
    }
    Sent {
        host: call.host,
        method: call.method.to_owned(),
        target,
        headers,
        body,
    }
}

/// `NOW_MS` as OKX writes it.
const ISO: &str = "2026-09-21T14:13:20.123Z";

fn gate(sent: &Sent, key: &Key) -> Result<Actions, DecodeError> {
    let headers: Vec<Header<'_>> = sent
        .headers
        .iter()
        .filter(|(name, _)| name != "host")
        .map(|(name, value)| Header {
            name,
            value: value.as_bytes().into(),
        })
        .collect();
    let raw = RawRequest {
        method: &sent.method,
        host: sent.host,
        target: sent.target.as_bytes(),
        headers: &headers,
        body: sent.body.as_bytes(),
    };
    let presented = Catalog::builtin().unwrap().present(&raw)?;
    presented.verify(&VerifyKey::hmac(key.secret.as_bytes()))?;
    presented.decode(Some("pc1t7"))
}

/// The request that the gate sends, signed as its keyring would.
fn rebuilt(host: &'static str, actions: &Actions, key: &Key) -> Sent {
    let stamp = Stamp {
        venue_time_ms: NOW_MS,
        receive_window_ms: 1000,
        at: Timestamp(0),
    };
    let unsigned = Catalog::builtin().unwrap().prepare(actions, stamp).unwrap();
    let message = unsigned.message(&key.id).into_owned();
    let tag = tag(&key.secret, std::str::from_utf8(&message).unwrap());
    let credential = Credential {
        api_key: &key.id,
        passphrase: key.passphrase.as_deref(),
    };
    let ready = unsigned.finish(credential, &Signature::HmacSha256(tag));
    let mut headers = vec![("host".to_owned(), host.to_owned())];
    headers.extend(ready.headers.into_iter().map(|(n, v)| (n.to_owned(), v)));
    Sent {
        host,
        method: ready.method.to_owned(),
        target: ready.target,
        headers,
        body: ready.body,
    }
}

/// An order as the exchange has it.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    market: MarketKind,
    symbol: String,
    client: String,
    is_buy: bool,
    /// None is at market.
    price: Option<D>,
    quantity: D,
    /// What a market order by value spends or receives.
    by_value: D,
    stop: Option<D>,
    /// Wakes at a price that rises to it.
    rising: Option<bool>,
    trailing: bool,
    /// By the venue's own word, and never a position side's.
    reduce: bool,
    closes: bool,
    position: Option<PositionSide>,
    life: &'static str,
    maker: bool,
    /// Its price is taken from the book.
    pegged: bool,
    status: String,
}

const NOBODY: usize = portcullis_sim::exchange::CROWD + 1;

fn firm(venue: &Venue) -> usize {
    let accounts = &venue.exchange.accounts;
    let at = accounts.iter().skip(NOBODY).position(|a| a.name == "firm");
    at.unwrap() + NOBODY
}

/// Every order of the firm, by place and number.
fn orders(venue: &Venue) -> BTreeMap<(u8, usize, u64), Seen> {
    let account = firm(venue);
    let mut all = BTreeMap::new();
    for (at, market) in venue.exchange.markets.iter().enumerate() {
        for id in &venue.exchange.accounts[account].orders[at] {
            let order = &market.book.orders[id];
            let waits = order.kind.waits();
            let seen = Seen {
                market: MarketKind::Spot,
                symbol: market.symbol.name.clone(),
                client: order.client_id.clone(),
                is_buy: order.side == book::Side::Buy,
                price: (!order.kind.at_market()).then_some(order.price),
                quantity: order.quantity,
                by_value: order.quote_quantity,
                stop: order.stop_price,
                rising: waits.then_some({
                    let goes_well = matches!(order.kind, Type::TakeProfit | Type::TakeProfitLimit);
                    (order.side == book::Side::Buy) != goes_well
                }),
                trailing: order.trailing.is_some(),
                reduce: false,
                closes: false,
                position: None,
                life: order.life.word(),
                maker: order.kind == Type::LimitMaker,
                pegged: false,
                status: format!("{:?}", order.status),
            };
            all.insert((0, at, *id), seen);
        }
    }
    for (number, house) in (1u8..).zip(&venue.futures.houses) {
        let Some(owner) = house.accounts.get(account) else {
            continue;
        };
        let seen =
            |contract: usize, asked: &house::NewOrder, client: String, status: String| Seen {
                market: [MarketKind::UsdFutures, MarketKind::CoinFutures][usize::from(number) - 1],
                symbol: house.markets[contract].contract.name.clone(),
                client,
                is_buy: asked.side == book::Side::Buy,
                price: asked.price,
                quantity: asked.quantity,
                by_value: 0,
                stop: asked.trigger.map(|t| t.price).filter(|price| *price > 0),
                rising: asked.trigger.map(|t| t.rising),
                trailing: asked.trigger.is_some_and(|t| t.trailing.is_some()),
                reduce: asked.reduce,
                closes: asked.close,
                position: match asked.leg {
                    house::Leg::Both => None,
                    house::Leg::Long => Some(PositionSide::Long),
                    house::Leg::Short => Some(PositionSide::Short),
                },
                life: match asked.life {
                    house::Life::Gtc => "GTC",
                    house::Life::Ioc => "IOC",
                    house::Life::Fok => "FOK",
                    house::Life::Gtx | house::Life::Rpi => "GTX",
                    house::Life::Gtd(_) => "GTD",
                },
                maker: matches!(asked.life, house::Life::Gtx | house::Life::Rpi),
                pegged: asked.matched.is_some(),
                status,
            };
        for (contract, id) in &owner.orders {
            let order = &house.markets[*contract].book.orders[id];
            let mut asked = order.asked.clone();
            // What was changed stands beside what was asked.
            if asked.price.is_some() {
                asked.price = Some(order.price);
            }
            asked.quantity = order.quantity;
            let client = order.asked.client_id.clone().unwrap_or_default();
            let status = format!("{:?}", order.status);
            all.insert(
                (number, *contract, *id),
                seen(*contract, &asked, client, status),
            );
        }
        for id in &owner.algos {
            let algo = &house.algos[id];
            let client = algo.client_id.clone();
            let status = algo.status.to_owned();
            let place = (number + 2, algo.contract, *id);
            all.insert(place, seen(algo.contract, &algo.asked, client, status));
        }
    }
    all
}

fn units(number: impl ToString) -> D {
    decimal::parse(&number.to_string()).unwrap()
}

/// Whether an order of the exchange is what the gate decided.
fn explains(
    kind: Kind,
    order: &portcullis_model::action::Order,
    seen: &Seen,
) -> Result<(), String> {
    let no = |what: &str| Err(format!("{what}: {order:?} and {seen:?}"));
    let is_attached = matches!(
        order.leg,
        Some(Leg::Pending | Leg::PendingAbove | Leg::PendingBelow)
    );
    let is_exit = is_attached || order.client_order_id.is_none();
    if order.market != seen.market || order.symbol.as_str() != seen.symbol {
        return no("market");
    }
    if (order.side == Side::Buy) != seen.is_buy {
        return no("side");
    }
    let spot = seen.market == MarketKind::Spot;
    // A price that is taken from the book is the exchange's.
    if order.pegged != seen.pegged || !order.pegged && order.price.map(units) != seen.price {
        return no("price");
    }
    if order.close_position {
        // Bybit's and OKX's own words for it become an order of the position's size that may only reduce.
        if !(seen.closes || seen.reduce && kind != Kind::Binance) {
            return no("close");
        }
    } else if seen.closes {
        // The simulated OKX lets an attached exit close what there is: never more than the order that it is attached to.
        if !(is_attached && order.reduce_only && kind == Kind::Okx) {
            return no("close");
        }
    } else if let Some(quote) = order.quote_quantity {
        let is_it = seen.by_value == units(quote) || order.stop_price.is_some();
        if !is_it {
            return no("value");
        }
    } else if seen.by_value != 0 || order.quantity.map(units) != Some(seen.quantity) {
        // A market order of futures that found too little is as large as it was asked to be.
        return no("quantity");
    }
    if order.stop_price.map(units) != seen.stop {
        return no("trigger");
    }
    let profit = matches!(
        order.order_type,
        OrderType::TakeProfit | OrderType::TakeProfitLimit
    );
    let is_conditional = profit
        || matches!(
            order.order_type,
            OrderType::StopLoss | OrderType::StopLossLimit | OrderType::TrailingStop
        );
    if is_conditional != seen.rising.is_some() {
        return no("conditional");
    }
    if (order.order_type == OrderType::TrailingStop) != seen.trailing {
        return no("trailing");
    }
    // Spot of Bybit, and OKX' `trigger`, do not say from which side the price comes.
    let says_side = is_exit && order.leg.is_some() || seen.market != MarketKind::Spot;
    if says_side
        && !seen.trailing
        && seen
            .rising
            .is_some_and(|rising| rising != ((order.side == Side::Buy) != profit))
    {
        return no("direction");
    }
    // Never signed as one that may only reduce, and then one that opens.
    let of_its_side = matches!(
        (seen.position, order.side),
        (Some(PositionSide::Long), Side::Sell) | (Some(PositionSide::Short), Side::Buy)
    );
    if order.reduce_only && !(seen.reduce || seen.closes || of_its_side) && !spot {
        return no("reduce");
    }
    if seen.position != order.position_side {
        return no("position side");
    }
    if is_exit {
        return Ok(());
    }
    if order
        .client_order_id
        .as_ref()
        .is_some_and(|id| id.as_str() != seen.client)
    {
        return no("client id");
    }
    if (order.order_type == OrderType::LimitMaker) != seen.maker {
        return no("maker");
    }
    let life = match order.time_in_force {
        Some(TimeInForce::Ioc) => "IOC",
        Some(TimeInForce::Fok) => "FOK",
        Some(TimeInForce::Gtd) => "GTD",
        _ if seen.maker => seen.life,
        _ => "GTC",
    };
    // A market order takes what there is, whatever it says.
    if seen.price.is_some() && life != seen.life {
        return no("life");
    }
    Ok(())
}

struct Site {
    kind: Kind,
    venue: Venue,
    key: Key,
}

/// An exchange with a position and two open orders on each kind of market.
fn site(kind: Kind, hedge: bool) -> Site {
    let options = Options {
        kind,
        seed: Some(7),
        moving: false,
        orders_per_10s: u64::MAX / 4,
        orders_per_day: u64::MAX / 4,
        weight_per_minute: u64::MAX / 4,
        futures_weight_per_minute: u64::MAX / 4,
        futures_orders: [u64::MAX / 4; 2],
        open_orders: 100_000,
        limits_times: 1_000_000,
        log_requests: 10,
        ..Options::default()
    };
    let mut venue = Venue::new(options, NOW_MS * 1000);
    let account = firm(&venue);
    let handed = venue
        .handed
        .iter()
        .find(|h| h.account == account && h.duty == "all")
        .unwrap();
    let key = Key {
        id: handed.key.clone(),
        secret: handed.secret.clone().unwrap(),
        passphrase: handed.passphrase.clone(),
    };
    let dash = if kind == Kind::Okx { "" } else { "-" };
    let name = if kind == Kind::Okx {
        "BTC-USDT"
    } else {
        "BTCUSDT"
    };
    let market = venue.exchange.market(name).unwrap();
    for (side, price, id) in [
        (book::Side::Buy, 60_000, format!("spot{dash}bid")),
        (book::Side::Sell, 70_000, format!("spot{dash}ask")),
    ] {
        let order = portcullis_sim::exchange::NewOrder {
            client_id: Some(id),
            ..makers::plain(side, Type::Limit, price * ONE, ONE / 100)
        };
        venue.exchange.place(account, market, order).unwrap();
    }
    let dollar = venue.exchange.asset("USDT").unwrap();
    venue.exchange.accounts[account]
        .wallets
        .insert(("FUNDING".to_owned(), dollar), 10_000 * ONE);
    // One wallet backs everything elsewhere; here each house has some of its own.
    for (service, word, names, size) in [
        (Service::Usd, "usd", ["BTCUSDT", "BTC-USDT-SWAP"], ONE / 100),
        (
            Service::Coin,
            "coin",
            ["BTCUSD_PERP", "BTC-USD-SWAP"],
            10 * ONE,
        ),
    ] {
        let coin = venue.exchange.asset("BTC").unwrap();
        let house = venue.futures.house(service);
        house.open_account(account);
        house.pay_in(account, coin, ONE);
        house.pay_in(account, dollar, 100_000 * ONE);
        if hedge && (service == Service::Usd || kind != Kind::Bybit) {
            house.set_hedge(account, true).unwrap();
        }
        let leg = if house.accounts[account].hedge {
            house::Leg::Long
        } else {
            house::Leg::Both
        };
        let contract = [names[0], names[1], "BTCUSD"]
            .iter()
            .find_map(|n| house.find_contract(n))
            .unwrap();
        let size = if kind == Kind::Okx { 5 * ONE } else { size };
        let first = house::NewOrder {
            leg,
            ..house::plain(book::Side::Buy, None, size)
        };
        house.place(account, contract, first).unwrap();
        for (side, price, id) in [
            (book::Side::Buy, 60_000, format!("{word}{dash}bid")),
            (book::Side::Sell, 70_000, format!("{word}{dash}ask")),
        ] {
            let order = house::NewOrder {
                leg,
                client_id: Some(id),
                ..house::plain(side, Some(price * ONE), size)
            };
            house.place(account, contract, order).unwrap();
        }
    }
    Site { kind, venue, key }
}

impl Site {
    fn send(&mut self, sent: &Sent) -> (u16, String) {
        let headers: Vec<(&str, &[u8])> = sent
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let (target, body) = (sent.target.as_bytes(), sent.body.as_bytes());
        let outcome = self
            .venue
            .handle(HOME, &sent.method, target, &headers, body, NOW_MS * 1000);
        let answer = outcome.answer.unwrap();
        (answer.status, answer.body)
    }

    /// What the rebuilt request does, against what was decided.
    fn compare(
        &mut self,
        sent: &Sent,
        counts: &mut BTreeMap<&'static str, u32>,
    ) -> Result<(), String> {
        let actions = match gate(sent, &self.key) {
            Ok(actions) => actions,
            Err(_) => {
                *counts.entry("refused").or_default() += 1;
                return Ok(());
            }
        };
        *counts.entry("accepted").or_default() += 1;
        let before = orders(&self.venue);
        let gone = self.venue.withdrawals.len();
        let ours = rebuilt(sent.host, &actions, &self.key);
        let (status, body) = self.send(&ours);
        // What the gate wrote is never refused for how it is written, signed or encoded.
        let malformed = [
            -1022, -1021, -1101, -2014, -2015, 10_002, 10_003, 10_004, 50_113, 50_112, 50_002,
            50_006,
        ];
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let code = ["code", "retCode"].iter().find_map(|name| {
            let code = &answer[*name];
            code.as_i64().or_else(|| code.as_str()?.parse().ok())
        });
        if status == 404 || status == 403 || code.is_some_and(|code| malformed.contains(&code)) {
            return Err(format!("{status} {body}\n{ours:#?}"));
        }
        let after = orders(&self.venue);
        let placed: Vec<&portcullis_model::action::Order> = actions
            .list
            .iter()
            .filter_map(|action| match action {
                Action::PlaceOrder(order) => Some(order),
                _ => None,
            })
            .collect();
        let mut used = vec![false; placed.len()];
        for (place, seen) in &after {
            let Some(old) = before.get(place) else {
                // Each order is one that was decided, and each decision becomes one order at most.
                let mut whys = Vec::new();
                let found = placed.iter().enumerate().find(|(at, order)| {
                    let why = explains(self.kind, order, seen);
                    whys.extend(why.clone().err());
                    !used[*at] && why.is_ok()
                });
                let Some((at, _)) = found else {
                    return Err(format!(
                        "an order that nobody decided: {seen:?}\n{whys:#?}\n{ours:#?}"
                    ));
                };
                used[at] = true;
                *counts.entry("orders").or_default() += 1;
                continue;
            };
            if old == seen {
                continue;
            }
            let is_it = |order: &portcullis_model::action::OrderRef| {
                order.market == seen.market
                    && order.symbol.as_str() == seen.symbol
                    && order
                        .client_order_id
                        .as_ref()
                        .is_none_or(|id| id.as_str() == old.client)
                    && (order.client_order_id.is_some() || order.order_id.is_some())
            };
            let was_decided = actions.list.iter().any(|action| match action {
                Action::CancelOrder(order) => {
                    let is_gone = seen.status.starts_with("Cancel") || seen.status == "CANCELED";
                    // What was to follow an order is gone with it.
                    let followed =
                        old.status == "PendingNew" && order.symbol.as_str() == seen.symbol;
                    is_gone && (is_it(order) || followed)
                }
                Action::CancelAll(all) => all
                    .symbol
                    .as_ref()
                    .is_none_or(|s| s.as_str() == seen.symbol),
                Action::AmendOrder(amend) => {
                    is_it(&amend.order)
                        && amend.quantity.map_or(old.quantity, units) == seen.quantity
                        && amend.price.map(units).or(old.price) == seen.price
                }
                // Fills of what was just placed may meet no order of ours but by self-trade prevention.
                Action::PlaceOrder(order) => {
                    order.symbol.as_str() == seen.symbol && (order.side == Side::Buy) != seen.is_buy
                        || seen.reduce
                        || seen.closes
                }
                _ => false,
            });
            if !was_decided {
                return Err(format!(
                    "changed without a decision: {old:?} to {seen:?}\n{ours:#?}"
                ));
            }
            *counts.entry("changes").or_default() += 1;
        }
        for left in self.venue.withdrawals.iter().skip(gone) {
            let is_it = actions.list.iter().any(|action| match action {
                Action::Withdraw(m) => {
                    let text = left.to_string();
                    let amount = m.amount.map(units);
                    let shown = ["amount", "amt", "quantity"]
                        .iter()
                        .find_map(|name| left[*name].as_str().and_then(|t| decimal::parse(t).ok()));
                    m.address
                        .as_ref()
                        .is_some_and(|a| text.contains(&format!("\"{a}\"")))
                        && amount == shown
                }
                _ => false,
            });
            if !is_it {
                return Err(format!(
                    "left without a decision: {left}\n{:?}",
                    actions.list
                ));
            }
            *counts.entry("withdrawals").or_default() += 1;
        }
        Ok(())
    }
}

fn run(kind: Kind, calls: &[Call]) -> BTreeMap<&'static str, u32> {
    let mut counts = BTreeMap::new();
    let mut here = None;
    for n in 0..FORMS {
        if n % AT_ONE_EXCHANGE == 0 {
            here = Some(site(kind, n / AT_ONE_EXCHANGE % 2 == 1));
        }
        let here = here.as_mut().unwrap();
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (n + 1).wrapping_mul(0xd134_2543_de82_ef95));
        for _ in 0..4 {
            dice.roll(2);
        }
        let call = &calls[dice.roll(calls.len())];
        let mut draft = draft(call);
        for _ in 0..dice.roll(4).saturating_sub(1) {
            let objects = draft.list.as_mut().map(|(_, objects)| objects);
            match objects {
                Some(objects) if !dice.one_in(4) => match dice.roll(8) {
                    0 => objects.push(objects[0].clone()),
                    1 => objects.truncate(1),
                    2 => objects.clear(),
                    _ => {
                        let at = dice.roll(objects.len().max(1));
                        if let Some(one) = objects.get_mut(at) {
                            mutate(&mut dice, one);
                        }
                    }
                },
                _ => mutate(&mut dice, &mut draft.own),
            }
            if draft
                .list
                .as_ref()
                .is_some_and(|(_, objects)| objects.is_empty())
            {
                break;
            }
        }
        let mut sent = written(&mut dice, call, &draft, &here.key);
        if dice.one_in(40) {
            let twice = sent.headers[1].clone();
            sent.headers.push(twice);
        }
        if let Err(why) = here.compare(&sent, &mut counts) {
            panic!("request {n}: {why}\n{sent:#?}");
        }
    }
    println!("{kind:?}: {counts:?}");
    counts
}

fn busy(counts: &BTreeMap<&'static str, u32>) {
    let count = |word| counts.get(word).copied().unwrap_or_default();
    let forms = u32::try_from(FORMS).unwrap();
    assert!(count("accepted") > forms / 4, "{counts:?}");
    assert!(count("refused") > forms / 5, "{counts:?}");
    assert!(count("orders") > forms / 20, "{counts:?}");
    assert!(count("changes") > 20, "{counts:?}");
}

#[test]
fn binance_futures() {
    busy(&run(Kind::Binance, &FUTURES));
}

#[test]
fn bybit() {
    let counts = run(Kind::Bybit, &BYBITS);
    busy(&counts);
    assert!(counts["withdrawals"] > 0, "{counts:?}");
}

#[test]
fn okx() {
    let counts = run(Kind::Okx, &OKXS);
    busy(&counts);
    assert!(counts["withdrawals"] > 0, "{counts:?}");
}

/// Each call, unharmed, is understood by the gate: otherwise the comparison would be of refusals.
#[test]
fn every_whole_call_is_understood() {
    for (kind, calls) in [
        (Kind::Binance, &FUTURES),
        (Kind::Bybit, &BYBITS),
        (Kind::Okx, &OKXS),
    ] {
        for call in calls {
            let mut here = site(kind, false);
            let mut dice = Dice(1);
            let sent = written(&mut dice, call, &draft(call), &here.key);
            gate(&sent, &here.key).unwrap_or_else(|e| panic!("{} {}: {e}", call.path, call.fields));
            here.compare(&sent, &mut BTreeMap::new())
                .unwrap_or_else(|e| panic!("{} {}: {e}", call.path, call.fields));
        }
    }
}
