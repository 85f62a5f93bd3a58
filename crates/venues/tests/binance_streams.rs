//! Market streams: what client libraries ask for is rebuilt and says the same; a name that could open an account's own stream
//! does not pass, and neither does what nobody documents.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_model::action::Stamp;
use portcullis_model::id::Timestamp;
use portcullis_venues::{Catalog, RawRequest};

const KEY: &str = "pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1";

/// What the venue gets: target and frame.
fn sent(host: &str, target: &str, frame: &str) -> Result<(String, String), &'static str> {
    let catalog = Catalog::builtin().unwrap();
    let raw = RawRequest {
        method: "WS",
        host,
        target: target.as_bytes(),
        headers: &[],
        body: frame.as_bytes(),
    };
    let presented = catalog.present(&raw).map_err(|why| why.code())?;
    assert!(presented.is_public());
    let actions = presented.decode(None).map_err(|why| why.code())?;
    let stamp = Stamp {
        venue_time_ms: 0,
        receive_window_ms: 0,
        at: Timestamp(0),
    };
    let ready = catalog
        .prepare(&actions, stamp)
        .unwrap()
        .finish_public()
        .unwrap();
    assert_eq!((ready.method, ready.headers.len()), ("WS", 0));
    Ok((ready.target, ready.body))
}

fn connect(host: &str, target: &str) -> Result<String, &'static str> {
    let (target, body) = sent(host, target, "")?;
    assert_eq!(body, "");
    Ok(target)
}

fn says(frame: &str) -> Result<serde_json::Value, &'static str> {
    let (_, body) = sent("stream.binance.com", "/ws", frame)?;
    Ok(serde_json::from_str(&body).unwrap())
}

#[test]
fn handshakes_are_rebuilt() {
    for (host, target, becomes) in [
        ("stream.binance.com", "/ws", "/ws"),
        ("stream.binance.com", "/ws/0", "/ws"),
        ("data-stream.binance.vision", "/stream", "/stream"),
        (
            "stream.binance.com",
            "/ws/btcusdt@trade",
            "/ws/btcusdt@trade",
        ),
        (
            "stream.binance.com",
            "/ws/btcusdt@kline_1d@+08:00/!ticker_1h@arr",
            "/ws/btcusdt@kline_1d@+08:00/!ticker_1h@arr",
        ),
        (
            "stream.binance.com",
            "/stream?streams=btcusdt@depth%40100ms/%21bookTicker&timeUnit=MICROSECOND",
            "/stream?streams=btcusdt@depth@100ms/!bookTicker&timeUnit=MICROSECOND",
        ),
        (
            "stream.binance.com",
            "/ws/%E5%B8%81usdt@trade?timeUnit=microsecond",
            "/ws/%E5%B8%81usdt@trade?timeUnit=microsecond",
        ),
        (
            "fstream.binance.com",
            "/public/stream?streams=btcusdt@bookTicker",
            "/public/stream?streams=btcusdt@bookTicker",
        ),
        (
            "fstream.binance.com",
            "/market/ws/btcusdt_perpetual@continuousKline_1m",
            "/market/ws/btcusdt_perpetual@continuousKline_1m",
        ),
        (
            "dstream.binance.com",
            "/ws/btcusd@indexPrice@1s",
            "/ws/btcusd@indexPrice@1s",
        ),
    ] {
        assert_eq!(connect(host, target).as_deref(), Ok(becomes), "{target}");
    }
}

#[test]
fn what_could_open_an_accounts_stream_is_refused() {
    let host = "stream.binance.com";
    for target in [
        format!("/ws/{KEY}"),
        format!("/ws/btcusdt@trade/{KEY}"),
        format!("/stream?streams={KEY}"),
        format!("/stream?streams=btcusdt@trade/{KEY}"),
        format!("/ws/{KEY}@account"),
        format!("/ws/%70{}", &KEY[1..]),
        format!("/ws/!{KEY}"),
        format!("/ws?listenKey={KEY}"),
        format!("/ws?listenKey={KEY}&events=ORDER_TRADE_UPDATE"),
    ] {
        assert!(connect(host, &target).is_err(), "{target}");
        assert!(connect("fstream.binance.com", &target).is_err(), "{target}");
    }
    for frame in [
        format!(r#"{{"method":"SUBSCRIBE","params":["{KEY}"],"id":1}}"#),
        format!(r#"{{"method":"SUBSCRIBE","params":["a@trade","{KEY}@balance"],"id":1}}"#),
        format!(r#"{{"method":"REQUEST","params":["{KEY}@account"],"id":1}}"#),
    ] {
        assert!(says(&frame).is_err(), "{frame}");
    }
}

#[test]
fn what_nobody_documents_is_refused() {
    let host = "stream.binance.com";
    for target in [
        "/",
        "/wss",
        "/ws//a@trade",
        "/ws/a@",
        "/ws/@trade",
        "/stream/a@trade",
        "/ws-api/v3",
        "/public/ws",
        "/stream?streams=",
        "/stream?streams=a@trade&streams=b@trade",
        "/stream?x=1",
        "/ws/a@trade?streams=b@trade",
        "/ws/a@trade%0d%0aX:1",
        "/ws/a@trade%23",
        "/ws?timeUnit=hours",
    ] {
        assert!(connect(host, target).is_err(), "{target}");
    }
    for frame in [
        "ping",
        "[]",
        "{}",
        r#"{"method":"SUBSCRIBE","id":1}"#,
        r#"{"method":"SUBSCRIBE","params":[],"id":1}"#,
        r#"{"method":"SUBSCRIBE","params":["a@trade"],"params":["b@trade"],"id":1}"#,
        r#"{"method":"SUBSCRIBE","params":"a@trade","id":1}"#,
        r#"{"method":"SUBSCRIBE","params":[["a@trade"]],"id":1}"#,
        r#"{"method":"SUBSCRIBE","params":["a@trade"],"id":1.5}"#,
        r#"{"method":"SUBSCRIBE","params":["a@trade"],"id":{}}"#,
        r#"{"method":"SUBSCRIBE","params":["a@trade"],"id":1,"more":1}"#,
        r#"{"method":"subscribe","params":["a@trade"],"id":1}"#,
        r#"{"method":"SET_PROPERTY","params":["combined"],"id":1}"#,
        r#"{"method":"SET_PROPERTY","params":["combined",true,1],"id":1}"#,
        r#"{"method":"SET_PROPERTY","params":["other",true],"id":1}"#,
        r#"{"method":"CONNECT","params":["a@trade"],"id":1}"#,
        r#"{"method":"order.place","params":[],"id":1}"#,
    ] {
        assert!(says(frame).is_err(), "{frame}");
    }
}

#[test]
fn frames_say_the_same_and_keep_their_id() {
    for (frame, becomes) in [
        (
            r#"{"method":"SUBSCRIBE","params":["btcusdt@aggTrade","btcusdt@depth"],"id":1}"#,
            r#"{"method":"SUBSCRIBE","params":["btcusdt@aggTrade","btcusdt@depth"],"id":1}"#,
        ),
        (
            r#"{"id":"a-1","params":["!miniTicker@arr"],"method":"UNSUBSCRIBE"}"#,
            r#"{"method":"UNSUBSCRIBE","params":["!miniTicker@arr"],"id":"a-1"}"#,
        ),
        (
            r#"{"method":"LIST_SUBSCRIPTIONS","id":3}"#,
            r#"{"method":"LIST_SUBSCRIPTIONS","id":3}"#,
        ),
        (
            r#"{"method":"LIST_SUBSCRIPTIONS","id":null}"#,
            r#"{"method":"LIST_SUBSCRIPTIONS"}"#,
        ),
        (
            r#"{"method":"SET_PROPERTY","params":["combined",true],"id":5}"#,
            r#"{"method":"SET_PROPERTY","params":["combined",true],"id":5}"#,
        ),
        (
            r#"{"method":"SET_PROPERTY","params":["combined",false],"id":5}"#,
            r#"{"method":"SET_PROPERTY","params":["combined",false],"id":5}"#,
        ),
        (
            r#"{"method":"GET_PROPERTY","params":["combined"],"id":2}"#,
            r#"{"method":"GET_PROPERTY","params":["combined"],"id":2}"#,
        ),
    ] {
        let becomes: serde_json::Value = serde_json::from_str(becomes).unwrap();
        assert_eq!(says(frame), Ok(becomes), "{frame}");
    }
}
