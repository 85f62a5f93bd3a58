//! The WebSocket API: a frame is a call of the same name over REST, signed in its own way, and its answer is a frame.

use crate::endpoints;
use crate::refusal::Refusal;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Spot.
    Spot,
    /// USD-M futures.
    Usd,
    /// COIN-M futures.
    Coin,
}

impl Api {
    /// By where a WebSocket is opened.
    #[must_use]
    pub fn of(target: &str) -> Option<Self> {
        [Self::Spot, Self::Usd, Self::Coin]
            .into_iter()
            .find(|api| api.target() == target)
    }

    /// Where a WebSocket is opened.
    #[must_use]
    pub fn target(self) -> &'static str {
        match self {
            Self::Spot => "/ws-api/v3",
            Self::Usd => "/ws-fapi/v1",
            Self::Coin => "/ws-dapi/v1",
        }
    }

    fn methods(self) -> &'static [Method] {
        match self {
            Self::Spot => &METHODS,
            Self::Usd => &USD_METHODS,
            Self::Coin => &COIN_METHODS,
        }
    }
}

/// Name, and the call that it is.
type Method = (&'static str, &'static str, &'static str);

const USD_METHODS: [Method; 18] = [
    ("depth", "GET", "/fapi/v1/depth"),
    ("ticker.price", "GET", "/fapi/v1/ticker/price"),
    ("ticker.book", "GET", "/fapi/v1/ticker/bookTicker"),
    ("order.place", "POST", "/fapi/v1/order"),
    ("order.modify", "PUT", "/fapi/v1/order"),
    ("order.cancel", "DELETE", "/fapi/v1/order"),
    ("order.status", "GET", "/fapi/v1/order"),
    ("algoOrder.place", "POST", "/fapi/v1/algoOrder"),
    ("algoOrder.cancel", "DELETE", "/fapi/v1/algoOrder"),
    ("account.position", "GET", "/fapi/v2/positionRisk"),
    ("v2/account.position", "GET", "/fapi/v3/positionRisk"),
    ("account.balance", "GET", "/fapi/v2/balance"),
    ("v2/account.balance", "GET", "/fapi/v3/balance"),
    ("account.status", "GET", "/fapi/v2/account"),
    ("v2/account.status", "GET", "/fapi/v3/account"),
    ("userDataStream.start", "POST", "/fapi/v1/listenKey"),
    ("userDataStream.ping", "PUT", "/fapi/v1/listenKey"),
    ("userDataStream.stop", "DELETE", "/fapi/v1/listenKey"),
];

const COIN_METHODS: [Method; 10] = [
    ("order.place", "POST", "/dapi/v1/order"),
    ("order.modify", "PUT", "/dapi/v1/order"),
    ("order.cancel", "DELETE", "/dapi/v1/order"),
    ("order.status", "GET", "/dapi/v1/order"),
    ("account.position", "GET", "/dapi/v1/positionRisk"),
    ("account.balance", "GET", "/dapi/v1/balance"),
    ("account.status", "GET", "/dapi/v1/account"),
    ("userDataStream.start", "POST", "/dapi/v1/listenKey"),
    ("userDataStream.ping", "PUT", "/dapi/v1/listenKey"),
    ("userDataStream.stop", "DELETE", "/dapi/v1/listenKey"),
];

/// Opens a user data stream.
const SUBSCRIBE: &str = "userDataStream.subscribe.signature";

/// Every method of spot, and the call that it is.
const METHODS: [Method; 49] = [
    // Who may read the account may watch it.
    (SUBSCRIBE, "GET", "/api/v3/account"),
    ("ping", "GET", "/api/v3/ping"),
    ("time", "GET", "/api/v3/time"),
    ("exchangeInfo", "GET", "/api/v3/exchangeInfo"),
    ("executionRules", "GET", "/api/v3/executionRules"),
    ("depth", "GET", "/api/v3/depth"),
    ("trades.recent", "GET", "/api/v3/trades"),
    ("trades.historical", "GET", "/api/v3/historicalTrades"),
    (
        "blockTrades.historical",
        "GET",
        "/api/v3/historicalBlockTrades",
    ),
    ("trades.aggregate", "GET", "/api/v3/aggTrades"),
    ("klines", "GET", "/api/v3/klines"),
    ("uiKlines", "GET", "/api/v3/uiKlines"),
    ("avgPrice", "GET", "/api/v3/avgPrice"),
    ("ticker.24hr", "GET", "/api/v3/ticker/24hr"),
    ("ticker.tradingDay", "GET", "/api/v3/ticker/tradingDay"),
    ("ticker", "GET", "/api/v3/ticker"),
    ("ticker.price", "GET", "/api/v3/ticker/price"),
    ("ticker.book", "GET", "/api/v3/ticker/bookTicker"),
    ("referencePrice", "GET", "/api/v3/referencePrice"),
    (
        "referencePrice.calculation",
        "GET",
        "/api/v3/referencePrice/calculation",
    ),
    ("order.place", "POST", "/api/v3/order"),
    ("order.test", "POST", "/api/v3/order/test"),
    ("order.cancel", "DELETE", "/api/v3/order"),
    ("order.cancelReplace", "POST", "/api/v3/order/cancelReplace"),
    (
        "order.amend.keepPriority",
        "PUT",
        "/api/v3/order/amend/keepPriority",
    ),
    ("openOrders.cancelAll", "DELETE", "/api/v3/openOrders"),
    ("orderList.place", "POST", "/api/v3/order/oco"),
    ("orderList.place.oco", "POST", "/api/v3/orderList/oco"),
    ("orderList.place.oto", "POST", "/api/v3/orderList/oto"),
    ("orderList.place.otoco", "POST", "/api/v3/orderList/otoco"),
    ("orderList.place.opo", "POST", "/api/v3/orderList/opo"),
    ("orderList.place.opoco", "POST", "/api/v3/orderList/opoco"),
    ("orderList.cancel", "DELETE", "/api/v3/orderList"),
    ("sor.order.place", "POST", "/api/v3/sor/order"),
    ("sor.order.test", "POST", "/api/v3/sor/order/test"),
    ("account.status", "GET", "/api/v3/account"),
    ("order.status", "GET", "/api/v3/order"),
    ("openOrders.status", "GET", "/api/v3/openOrders"),
    ("allOrders", "GET", "/api/v3/allOrders"),
    ("orderList.status", "GET", "/api/v3/orderList"),
    ("openOrderLists.status", "GET", "/api/v3/openOrderList"),
    ("allOrderLists", "GET", "/api/v3/allOrderList"),
    ("myTrades", "GET", "/api/v3/myTrades"),
    (
        "account.rateLimits.orders",
        "GET",
        "/api/v3/rateLimit/order",
    ),
    ("myPreventedMatches", "GET", "/api/v3/myPreventedMatches"),
    ("myAllocations", "GET", "/api/v3/myAllocations"),
    ("account.commission", "GET", "/api/v3/account/commission"),
    ("order.amendments", "GET", "/api/v3/order/amendments"),
    ("myFilters", "GET", "/api/v3/myFilters"),
];

type Object = BTreeMap<String, Box<RawValue>>;

/// A frame taken apart.
#[derive(Debug)]
pub struct Frame {
    api: Api,
    /// As it was sent.
    pub id: String,
    /// The call that it is; its HTTP method and its path.
    pub call: Result<(&'static str, &'static str), Refusal>,
    /// Parameters, without key and signature.
    pub params: BTreeMap<String, String>,
    /// The key.
    pub key: Option<String>,
    /// The signature.
    pub signature: Option<String>,
    /// What is signed: all parameters but the signature, by name.
    pub payload: String,
    /// It opens a user data stream.
    pub subscribes: bool,
    /// Whether the answer shows how much of the limits is used.
    pub shows_limits: bool,
}

/// Reads a frame.
#[must_use]
pub fn read(api: Api, text: &str) -> Frame {
    let mut frame = Frame {
        api,
        id: "null".to_owned(),
        call: Err(Refusal::new(-1135, "Invalid JSON Request")),
        params: BTreeMap::new(),
        key: None,
        signature: None,
        payload: String::new(),
        subscribes: false,
        shows_limits: true,
    };
    let Ok(object) = serde_json::from_str::<Object>(text) else {
        return frame;
    };
    if let Some(id) = object.get("id") {
        frame.id = id.get().to_owned();
    }
    let method: Option<String> = object
        .get("method")
        .and_then(|method| serde_json::from_str(method.get()).ok());
    let params = match object.get("params") {
        None => Some(Object::new()),
        Some(params) => serde_json::from_str(params.get()).ok(),
    };
    let (Some(method), Some(params)) = (method, params) else {
        return frame;
    };
    // Spot's methods may name their version.
    let method = match api {
        Api::Spot => method.strip_prefix("v3/").unwrap_or(&method),
        _ => &method,
    };
    frame.subscribes = api == Api::Spot && method == SUBSCRIBE;
    let known = api.methods().iter().find(|(name, _, _)| *name == method);
    frame.call = known.map_or_else(
        || {
            Err(Refusal::new(
                -1000,
                format!("Method '{method}' is not supported."),
            ))
        },
        |(_, method, path)| Ok((*method, *path)),
    );
    for (name, value) in params {
        // Text as it is meant, everything else as it is written.
        let text: String =
            serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned());
        if name == "signature" {
            frame.signature = Some(text);
            continue;
        }
        if !frame.payload.is_empty() {
            frame.payload.push('&');
        }
        let _ = write!(frame.payload, "{name}={text}");
        match name.as_str() {
            "apiKey" => frame.key = Some(text),
            "returnRateLimits" => frame.shows_limits = text != "false",
            _ => drop(frame.params.insert(name, text)),
        }
    }
    frame
}

impl Frame {
    /// The call in the table.
    #[must_use]
    pub fn endpoint(&self) -> Option<&'static endpoints::Endpoint> {
        let (method, path) = self.call.as_ref().ok()?;
        endpoints::at(path)?
            .iter()
            .copied()
            .find(|e| e.method == *method)
    }

    /// The answer's frame, of what REST would answer.
    #[must_use]
    pub fn answer(&self, status: u16, body: &str, headers: &[(&'static str, String)]) -> String {
        let name = if status == 200 { "result" } else { "error" };
        // Not every body of an error is JSON.
        let body = match serde_json::from_str::<&RawValue>(body) {
            Ok(_) => body.to_owned(),
            Err(_) => serde_json::json!({ "code": -1000, "msg": body }).to_string(),
        };
        let mut text = format!("{{\"id\":{},\"status\":{status},\"{name}\":{body}", self.id);
        if self.shows_limits {
            let count = |name: &str| {
                headers
                    .iter()
                    .find(|(header, _)| header.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.as_str())
            };
            let mut limits = Vec::new();
            let windows = match self.api {
                Api::Spot => [
                    ("x-mbx-order-count-10s", "ORDERS", "SECOND", 10, 100),
                    ("x-mbx-order-count-1d", "ORDERS", "DAY", 1, 200_000),
                    ("x-mbx-used-weight-1m", "REQUEST_WEIGHT", "MINUTE", 1, 6_000),
                ],
                _ => [
                    ("x-mbx-order-count-10s", "ORDERS", "SECOND", 10, 300),
                    ("x-mbx-order-count-1m", "ORDERS", "MINUTE", 1, 1_200),
                    ("x-mbx-used-weight-1m", "REQUEST_WEIGHT", "MINUTE", 1, 2_400),
                ],
            };
            for (name, kind, interval, number, limit) in windows {
                if let Some(count) = count(name) {
                    limits.push(format!(
                        "{{\"rateLimitType\":\"{kind}\",\"interval\":\"{interval}\",\"intervalNum\":{number},\"limit\":{limit},\"count\":{count}}}"
                    ));
                }
            }
            let _ = write!(text, ",\"rateLimits\":[{}]", limits.join(","));
        }
        text.push('}');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_a_call_of_the_table() {
        for api in [Api::Spot, Api::Usd, Api::Coin] {
            for (name, method, path) in api.methods() {
                let text = format!(r#"{{"id":7,"method":"{name}"}}"#);
                let frame = read(api, &text);
                assert_eq!(frame.call.as_ref().ok(), Some(&(*method, *path)), "{name}");
                assert!(frame.endpoint().is_some(), "{name}");
            }
        }
    }

    #[test]
    fn what_is_signed_is_sorted_and_as_it_was_written() {
        let frame = read(
            Api::Spot,
            r#"{"id":"a","method":"order.place","params":{"timestamp":1790000000123,"symbol":"币","apiKey":"k","signature":"s","price":0.10,"returnRateLimits":false}}"#,
        );
        assert_eq!(
            frame.payload,
            "apiKey=k&price=0.10&returnRateLimits=false&symbol=币&timestamp=1790000000123"
        );
        assert_eq!(
            (
                &*frame.id,
                frame.key.as_deref(),
                frame.signature.as_deref(),
                frame.shows_limits
            ),
            ("\"a\"", Some("k"), Some("s"), false)
        );
        assert_eq!(
            frame.answer(200, "[1]", &[]),
            r#"{"id":"a","status":200,"result":[1]}"#
        );
    }
}
