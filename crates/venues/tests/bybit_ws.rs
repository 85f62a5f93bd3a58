//! Frames of Bybit's WebSockets: what CCXT Pro and pybit send verifies and says the same as over REST; what goes out is built
//! anew, the logon signed with the real key; what could be read twice, or is another place's, is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use portcullis_model::action::{Action, ActionKind, Duty, MarketKind, OrderType, Side, Stamp};
use portcullis_model::id::Timestamp;
use portcullis_model::report::{OrderStatus, Report};
use portcullis_venues::catalog::Method;
use portcullis_venues::dialect::{self, FrameHead};
use portcullis_venues::{
    Actions, Asked, Catalog, RawRequest, Signature, VerifyKey, summarize, summarize_event,
};
use serde_json::{Value, json};

/// Throwaways of the capture.
const KEY: &str = "PcVirtKeyHmac0000000000000000000000000000000000000000000000000001";
const SECRET: &[u8] = b"pcvs-throwaway-not-a-real-secret-0123456789abcdefghijklmnopqrstu";
/// As CCXT Pro 4.5.90 sent them at 1790000000123.
const LOGON: &str = r#"{"op":"auth","args":["PcVirtKeyHmac0000000000000000000000000000000000000000000000000001","1790000010123","eccc9c7ddcd1ecffcbbcd217f1b2ef5d4cb0d0c03a5d5592dcc7d4a0e6a07a23"]}"#;
const ORDER: &str = r#"{"op":"order.create","reqId":"1","args":[{"symbol":"BTCUSDT","side":"Buy","orderType":"Limit","price":"65000.1","category":"linear","qty":"0.001"}],"header":{"X-BAPI-TIMESTAMP":"1790000000123","X-BAPI-RECV-WINDOW":"5000"}}"#;

fn raw<'a>(target: &'a str, frame: &'a str) -> RawRequest<'a> {
    RawRequest {
        method: "WS",
        host: "stream.bybit.com",
        target: target.as_bytes(),
        headers: &[],
        body: frame.as_bytes(),
    }
}

fn catalog() -> &'static Catalog {
    Catalog::builtin().unwrap()
}

fn decode(target: &str, frame: &str) -> Result<Actions, &'static str> {
    let raw = raw(target, frame);
    let presented = catalog().present(&raw).map_err(|e| e.code())?;
    if !presented.is_public() && !presented.is_of_session() {
        assert_eq!(presented.api_key, Some(KEY));
        presented
            .verify(&VerifyKey::hmac(SECRET))
            .map_err(|e| e.code())?;
    }
    presented.decode(Some("mint")).map_err(|e| e.code())
}

/// What the venue gets, under the real key.
fn rebuilt(actions: &Actions) -> (String, String) {
    let stamp = Stamp {
        venue_time_ms: 1_790_000_000_500,
        receive_window_ms: 1_000,
        at: Timestamp(1_790_000_000_500_000),
    };
    let unsigned = catalog().prepare(actions, stamp).unwrap();
    let ready = match unsigned.is_public {
        true => unsigned.finish_public().unwrap(),
        false => {
            let message = unsigned.message("RealKey").into_owned();
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"real"), &message);
            let tag: [u8; 32] = tag.as_ref().try_into().unwrap();
            unsigned.finish("RealKey".into(), &Signature::HmacSha256(tag))
        }
    };
    assert_eq!((ready.method, ready.headers.len()), ("WS", 0));
    (ready.target, ready.body)
}

fn sent(actions: &Actions) -> Value {
    serde_json::from_str(&rebuilt(actions).1).unwrap()
}

#[test]
fn a_logon_of_a_program_becomes_one_of_the_real_key() {
    for target in ["/v5/trade", "/v5/private"] {
        let raw = raw(target, LOGON);
        let presented = catalog().present(&raw).unwrap();
        // It is good for ten seconds before its expiry, and no longer.
        assert_eq!(presented.timestamp_us, Some(1_790_000_000_123_000));
        assert_eq!(presented.receive_window_us, 10_000_000);
        let actions = decode(target, LOGON).unwrap();
        assert_eq!(actions.list[0].kind(), ActionKind::Session);
        let frame = sent(&actions);
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"real");
        let tag: String = hmac::sign(&key, b"GET/realtime1790000001500")
            .as_ref()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(
            frame,
            json!({"op": "auth", "args": ["RealKey", 1_790_000_001_500_u64, tag]})
        );
    }
    // As pybit sends it: the expiry as a number.
    let number = LOGON.replace("\"1790000010123\"", "1790000010123");
    assert!(decode("/v5/trade", &number).is_ok());
    let later = LOGON.replace("1790000010123", "1790000010124");
    assert_eq!(decode("/v5/trade", &later).err(), Some("signature-wrong"));
    for bad in [
        r#"{"op":"auth","args":[]}"#,
        r#"{"op":"auth","args":["k",1790000010123]}"#,
        r#"{"op":"auth","args":["k",1790000010123,"00","more"]}"#,
        r#"{"op":"auth","args":["k",1,"00"]}"#,
        r#"{"op":"auth","args":["k k",1790000010123,"00"]}"#,
        r#"{"op":"auth","args":["k",1790000010123,"00"],"header":{"a":"b"}}"#,
    ] {
        assert!(decode("/v5/trade", bad).is_err(), "{bad}");
    }
    assert!(decode("/v5/public/spot", LOGON).is_err());
    let dialect = dialect::of("bybit").unwrap();
    assert_eq!(dialect.logon_duty(b"/v5/trade"), Duty::Trade);
    assert_eq!(
        dialect.logon_duty(b"/v5/private?max_active_time=1m"),
        Duty::Read
    );
}

#[test]
fn an_order_by_frame_is_the_order_over_rest() {
    let actions = decode("/v5/trade", ORDER).unwrap();
    let [Action::PlaceOrder(order)] = actions.list.as_slice() else {
        panic!("{:?}", actions.list);
    };
    assert_eq!(
        (order.market, order.side, order.order_type),
        (MarketKind::UsdFutures, Side::Buy, OrderType::Limit)
    );
    let frame = sent(&actions);
    assert_eq!(frame["reqId"], "1");
    assert_eq!(
        frame["header"],
        json!({"X-BAPI-TIMESTAMP": "1790000000500", "X-BAPI-RECV-WINDOW": "1000"})
    );
    assert_eq!(frame["args"][0]["orderLinkId"], "mint-0");
    assert_eq!(frame["args"][0]["price"], "65000.1");
    assert!(frame["args"][0].get("reqId").is_none());
    // pybit: an id as long as a UUID, times as numbers, a broker's tag.
    let uuid = "8c5ee6a4-0f6b-4a7c-9a5d-0d3d0c1a7f01";
    let pybit = ORDER
        .replace("\"reqId\":\"1\"", &format!("\"reqId\":\"{uuid}\""))
        .replace("\"1790000000123\"", "1790000000123")
        .replace("\"5000\"", "5000,\"Referer\":\"tag\"");
    let frame = sent(&decode("/v5/trade", &pybit).unwrap());
    assert_eq!(frame["reqId"], uuid);
    assert!(frame["header"].get("Referer").is_none());

    let batch = r#"{"op":"order.create-batch","reqId":"b","args":[{"category":"spot","request":[{"symbol":"BTCUSDT","side":"Buy","orderType":"Market","qty":"100"},{"symbol":"ETHUSDT","side":"Sell","orderType":"Market","qty":"1"}]}],"header":{"X-BAPI-TIMESTAMP":"1790000000123"}}"#;
    let actions = decode("/v5/trade", batch).unwrap();
    assert_eq!(actions.list.len(), 2);
    assert_eq!(
        sent(&actions)["args"][0]["request"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let cancel = r#"{"op":"order.cancel","reqId":"c","args":[{"category":"spot","symbol":"BTCUSDT","orderId":"5"}],"header":{"X-BAPI-TIMESTAMP":"1790000000123"}}"#;
    assert_eq!(
        decode("/v5/trade", cancel).unwrap().list[0].kind(),
        ActionKind::CancelOrder
    );
}

#[test]
fn each_order_frame_has_the_fields_of_its_twin_over_rest() {
    let all: Vec<_> = catalog()
        .endpoints()
        .map(|(_, e)| e)
        .filter(|e| {
            let host = catalog().service_of(e).unwrap().host.as_str();
            host == "stream.bybit.com" && e.path.starts_with("order.")
        })
        .collect();
    assert_eq!(all.len(), 6);
    for frame in all {
        let path = format!("/v5/order/{}", frame.path.strip_prefix("order.").unwrap());
        let rest = catalog()
            .endpoints()
            .map(|(_, e)| e)
            .find(|e| e.path == path && e.method == Method::Post)
            .unwrap();
        let names = |e: &portcullis_venues::catalog::Endpoint| -> Vec<String> {
            e.fields
                .iter()
                .map(|f| format!("{} {:?} {:?}", f.name, f.meaning, f.ty))
                .filter(|f| !f.starts_with("reqId "))
                .collect()
        };
        assert_eq!(
            (frame.action, frame.answer),
            (rest.action, rest.answer),
            "{path}"
        );
        let strip = |all: Vec<String>| -> Vec<String> {
            all.into_iter()
                .map(|f| f.split("Objects").next().unwrap().to_owned())
                .collect()
        };
        assert_eq!(strip(names(frame)), strip(names(rest)), "{path}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let header = r#""header":{"X-BAPI-TIMESTAMP":"1790000000123"}"#;
    let order = r#"{"symbol":"BTCUSDT","side":"Buy","orderType":"Limit","price":"1","category":"linear","qty":"1"}"#;
    for bad in [
        format!(r#"{{"op":"order.create","args":[{order}],{header}}}"#),
        format!(r#"{{"op":"order.create","reqId":"1","args":[{order}]}}"#),
        format!(r#"{{"op":"order.create","reqId":"1","args":[{order},{order}],{header}}}"#),
        format!(r#"{{"op":"order.create","reqId":"1","args":[],{header}}}"#),
        format!(
            r#"{{"op":"order.create","op":"order.cancel","reqId":"1","args":[{order}],{header}}}"#
        ),
        format!(r#"{{"op":"order.create","reqId":"1","req_id":"2","args":[{order}],{header}}}"#),
        format!(r#"{{"op":"order.create","reqId":{{}},"args":[{order}],{header}}}"#),
        format!(r#"{{"op":"order.create","reqId":"1","more":1,"args":[{order}],{header}}}"#),
        format!(
            r#"{{"op":"order.create","reqId":"1","args":[{}],{header}}}"#,
            order.replace("\"qty\"", "\"reqId\":\"1\",\"qty\"")
        ),
        format!(
            r#"{{"op":"order.create","reqId":"1","args":[{}],{header}}}"#,
            order.replace("\"qty\"", "\"unknown\":\"1\",\"qty\"")
        ),
        format!(
            r#"{{"op":"order.create","reqId":"1","args":[{order}],"header":{{"X-BAPI-TIMESTAMP":"1790000000123","X-Other":"1"}}}}"#
        ),
        format!(
            r#"{{"op":"order.create","reqId":"1","args":[{order}],"header":{{"X-BAPI-TIMESTAMP":"179"}}}}"#
        ),
        format!(r#"{{"op":"order.make","reqId":"1","args":[{order}],{header}}}"#),
        r#"{"op":"subscribe","args":["order"]}"#.to_owned(),
        r#"{"op":"ping","args":["x"]}"#.to_owned(),
        "[]".to_owned(),
        "ping".to_owned(),
    ] {
        assert!(decode("/v5/trade", &bad).is_err(), "{bad}");
    }
    assert!(
        decode("/v5/private", ORDER).is_err(),
        "orders go to order entry alone"
    );
    assert!(decode("/v5/public/spot", ORDER).is_err());
    for bad in [
        r#"{"op":"subscribe","args":["order","nothing"]}"#,
        r#"{"op":"subscribe","args":[]}"#,
        r#"{"op":"subscribe"}"#,
    ] {
        assert!(decode("/v5/private", bad).is_err(), "{bad}");
    }
    assert!(decode("/v5/public/spot", r#"{"op":"subscribe","args":["a b"]}"#).is_err());
    for bad in [
        "/v5/public/option",
        "/v5/trade/x",
        "/",
        "/v5/trade?key=1",
        "/v5/trade?max_active_time=1m&max_active_time=2m",
    ] {
        assert!(decode(bad, "").is_err(), "{bad}");
    }
}

#[test]
fn handshakes_topics_and_pings_go_on_as_the_venue_documents_them() {
    for target in [
        "/v5/trade",
        "/v5/private",
        "/v5/private?max_active_time=1m",
        "/v5/public/spot",
        "/v5/public/linear",
        "/v5/public/inverse",
    ] {
        let actions = decode(target, "").unwrap();
        assert_eq!(rebuilt(&actions), (target.to_owned(), String::new()));
    }
    let topics =
        r#"{"op":"subscribe","req_id":"7","args":["orderbook.50.BTCUSDT","kline.1.BTCUSDT"]}"#;
    let actions = decode("/v5/public/linear", topics).unwrap();
    assert_eq!(
        sent(&actions),
        serde_json::from_str::<Value>(topics).unwrap()
    );
    let own = r#"{"op":"subscribe","req_id":"7","args":["order","execution"]}"#;
    let actions = decode("/v5/private", own).unwrap();
    assert_eq!(actions.list[0].kind(), ActionKind::Read);
    assert_eq!(sent(&actions), serde_json::from_str::<Value>(own).unwrap());
    // CCXT calls the id so at every place.
    let ping = decode("/v5/trade", r#"{"op":"ping","req_id":"9"}"#).unwrap();
    assert_eq!(sent(&ping), json!({"op": "ping", "reqId": "9"}));
    assert_eq!(
        sent(&decode("/v5/private", r#"{"op":"ping"}"#).unwrap()),
        json!({"op": "ping"})
    );
}

#[test]
fn answers_are_known_by_their_ids_and_read_as_rests() {
    let dialect = dialect::of("bybit").unwrap();
    let answer = r#"{"reqId":"1","retCode":0,"retMsg":"OK","op":"order.create","data":{"orderId":"c0de0000-0000-4000-0000-000000000007","orderLinkId":"mint-0"},"retExtInfo":{},"header":{},"connId":"x"}"#;
    let answered = dialect.answered(answer).unwrap();
    assert_eq!((&*answered.id, answered.status), ("\"1\"", 200));
    for event in [
        r#"{"topic":"order","data":[]}"#,
        r#"{"op":"pong"}"#,
        r#"{"retCode":0,"op":"auth"}"#,
        r#"{"retCode":10005,"op":"order.create"}"#,
    ] {
        assert_eq!(dialect.answered(event), None, "{event}");
    }
    let actions = decode("/v5/trade", ORDER).unwrap();
    let (target, body) = rebuilt(&actions);
    let asked = Asked {
        target: target.as_bytes(),
        body: body.as_bytes(),
    };
    let endpoint = catalog()
        .present(&raw("/v5/trade", ORDER))
        .unwrap()
        .endpoint;
    let reports = summarize(endpoint, asked, answered.status, answered.body.as_bytes());
    let [Report::Order(order)] = reports.as_slice() else {
        panic!("{reports:?}");
    };
    assert_eq!(
        (order.market, order.status),
        (MarketKind::UsdFutures, OrderStatus::Open)
    );
    assert_eq!(
        order.order_id.to_string(),
        "c0de0000-0000-4000-0000-000000000007"
    );
    let refused = r#"{"reqId":"1","retCode":110007,"retMsg":"ab not enough","op":"order.create","data":{},"retExtInfo":{}}"#;
    assert_eq!(
        summarize(endpoint, asked, 200, refused.as_bytes()),
        [Report::Refused { code: 110_007 }]
    );
    let unknown = refused.replace("110007", "10016");
    assert_eq!(
        summarize(endpoint, asked, 200, unknown.as_bytes()),
        [Report::Unreadable]
    );
}

#[test]
fn the_accounts_stream_tells_orders_and_fills() {
    let endpoint = catalog().present(&raw("/v5/private", "")).unwrap().endpoint;
    let row = json!({
        "category": "linear", "symbol": "BTCUSDT", "orderId": "c0de0000-0000-4000-0000-000000000007", "orderLinkId": "a", "side": "Buy", "orderType": "Limit",
        "orderStatus": "PartiallyFilled", "price": "65000", "qty": "2", "cumExecQty": "1", "cumExecValue": "65000", "timeInForce": "GTC",
        "stopOrderType": "", "triggerDirection": 0, "updatedTime": "1790000000123",
    });
    let told = json!({"id": "1", "topic": "order", "creationTime": 1, "data": [row]}).to_string();
    let reports = summarize_event(endpoint, told.as_bytes());
    let [Report::Order(order)] = reports.as_slice() else {
        panic!("{reports:?}");
    };
    assert_eq!(
        (order.status, order.executed_quantity.unwrap().0),
        (
            OrderStatus::Open,
            portcullis_model::number::parse_units(b"1").unwrap()
        )
    );
    let fill = json!({
        "category": "spot", "symbol": "BTCUSDT", "execId": "9", "orderId": "5", "side": "Sell", "execType": "Trade", "execPrice": "65000", "execQty": "1",
        "execValue": "65000", "execFee": "65", "feeCurrency": "USDT", "execTime": "1790000000123",
    });
    let mut funding = fill.clone();
    funding["execType"] = "Funding".into();
    let told = json!({"id": "1", "topic": "execution", "data": [fill, funding]}).to_string();
    let reports = summarize_event(endpoint, told.as_bytes());
    assert!(
        matches!(reports.as_slice(), [Report::Trade(_)]),
        "{reports:?}"
    );
    for other in [
        json!({"topic": "wallet", "data": [{}]}),
        json!({"topic": "tickers.BTCUSDT", "data": {}}),
        json!({"op": "pong"}),
    ] {
        assert_eq!(summarize_event(endpoint, other.to_string().as_bytes()), []);
    }
}

#[test]
fn a_refusal_never_says_that_all_is_well() {
    let dialect = dialect::of("bybit").unwrap();
    for class in dialect.refusals().iter().map(|row| row.class) {
        let (status, body) = dialect.refuse(class, "why", None);
        let body = String::from_utf8(body).unwrap();
        for operation in ["order.create", "auth", "subscribe"] {
            let head = FrameHead {
                id: "\"7\"".into(),
                operation: operation.into(),
            };
            let text: Value =
                serde_json::from_str(&dialect.frame_refusal(&head, status, &body)).unwrap();
            assert_ne!(text["retCode"], 0, "{class:?}");
            assert_ne!(text["success"], true);
            assert_eq!(text["op"], operation);
            let id = if operation == "order.create" {
                "reqId"
            } else {
                "req_id"
            };
            assert_eq!(text[id], "7");
            assert!(text["retMsg"].as_str().unwrap().contains("why"));
        }
    }
    let head = dialect.frame_head(ORDER).unwrap();
    assert_eq!((&*head.id, &*head.operation), ("\"1\"", "order.create"));
    assert_eq!(&*dialect.frame_head(LOGON).unwrap().id, "null");
    assert_eq!(dialect.frame_head("ping"), None);
    let (op, key) = dialect.glance(LOGON.as_bytes()).unwrap();
    assert_eq!((&*op, &*key), ("auth", KEY));
    assert_eq!(&*dialect.glance(ORDER.as_bytes()).unwrap().1, "");
}
