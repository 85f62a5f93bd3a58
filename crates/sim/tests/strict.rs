//! The strict parser and signature check: published examples, real clients' requests, and what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_sim::keys::{hex, unbase64};
use portcullis_sim::{Key, Keys, Material, Refusal, Understood, check};
use serde_json::Value;

const KEY: &str = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A";
const SECRET: &str = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";
const NOW_US: u64 = 1_790_000_000_123_000;

fn keys() -> Keys {
    let mut keys = Keys::default();
    keys.add(KEY, Key::new(3, 0, "all", Material::hmac(SECRET)));
    keys
}

fn vectors(name: &str) -> Vec<Value> {
    let path = format!(
        "{}/../../vectors/binance/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn sign(payload: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    hex(aws_lc_rs::hmac::sign(&key, payload.as_bytes()).as_ref())
}

fn send(method: &str, target: &str, body: &str) -> Result<Understood, Refusal> {
    let headers: [(&str, &[u8]); 2] = [
        ("X-MBX-APIKEY", KEY.as_bytes()),
        ("Content-Type", b"application/x-www-form-urlencoded"),
    ];
    check(
        method,
        target.as_bytes(),
        &headers,
        body.as_bytes(),
        &keys(),
        NOW_US,
    )
}

/// A request whose parameters, with a timestamp, are signed and sent in the body.
fn signed(method: &str, path: &str, params: &str) -> Result<Understood, Refusal> {
    let payload = format!("{params}&timestamp=1790000000123");
    let full = format!("{payload}&signature={}", sign(&payload));
    if method == "GET" {
        send(method, &format!("{path}?{full}"), "")
    } else {
        send(method, path, &full)
    }
}

#[track_caller]
fn refused(code: i64, result: Result<Understood, Refusal>) -> Refusal {
    let refusal = result.expect_err("must be refused");
    assert_eq!(refusal.code, code, "{}", refusal.msg);
    refusal
}

#[test]
fn published_examples_verify() {
    let mut count = 0;
    for vector in vectors("published.json") {
        let payload = vector["inputs"]["payload"].as_str().unwrap();
        let signature = vector["expected"].as_str().unwrap();
        let now = 1_499_827_319_559_000;
        let headers: [(&str, &[u8]); 1] = [("X-MBX-APIKEY", KEY.as_bytes())];
        // Where query and body meet is not in the example; the payload of the mixed one is no parameters by itself.
        let (query, body) = match payload.split_once("GTCquantity") {
            Some((query, body)) => (
                format!("{query}GTC"),
                format!("quantity{body}&signature={signature}"),
            ),
            None => (format!("{payload}&signature={signature}"), String::new()),
        };
        let target = format!("/api/v3/order?{query}");
        let asked = check(
            "POST",
            target.as_bytes(),
            &headers,
            body.as_bytes(),
            &keys(),
            now,
        );
        let asked = asked.unwrap_or_else(|r| panic!("{}: {r:?}", vector["id"]));
        assert_eq!(asked.get("quantity"), Some("1"));
        // Case does not matter to HMAC.
        let upper = format!(
            "/api/v3/order?{}",
            query.replace(signature, &signature.to_uppercase())
        );
        assert!(
            check(
                "POST",
                upper.as_bytes(),
                &headers,
                body.as_bytes(),
                &keys(),
                now
            )
            .is_ok()
        );
        let later = now + 5_001_000;
        refused(
            -1021,
            check(
                "POST",
                target.as_bytes(),
                &headers,
                body.as_bytes(),
                &keys(),
                later,
            ),
        );
        count += 1;
    }
    assert_eq!(count, 3);
}

#[test]
fn real_clients_requests_verify() {
    // python-binance signs these two decoded and sends them encoded, which the exchange refuses since 2026-01-15.
    let decoded = ["cancel by client id with special chars", "withdraw"];
    let (mut accepted, mut refusals) = (0, 0);
    for capture in vectors("captures.json") {
        let label = capture["label"].as_str().unwrap();
        let own = &capture["credentials"];
        let secret = own["secret"]
            .as_str()
            .or(own["private_key"].as_str())
            .unwrap();
        let key = capture["credentials"]["key"].as_str().unwrap();
        let der = |prefix: &str| unbase64(secret.strip_prefix(prefix).unwrap()).unwrap();
        let material = match capture["scheme"].as_str().unwrap() {
            "binance-hmac" => Material::hmac(secret),
            "binance-ed25519" => Material::ed25519_private(&der("pkcs8-der-base64:")).unwrap(),
            "binance-rsa" => Material::rsa_private(&der("pkcs8-der-base64:")).unwrap(),
            other => panic!("{other}"),
        };
        let mut keys = Keys::default();
        keys.add(key, Key::new(3, 0, "all", material));
        let headers: Vec<(String, String)> =
            serde_json::from_value(capture["headers"].clone()).unwrap();
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_bytes()))
            .collect();
        let body = unbase64(capture["body_b64"].as_str().unwrap()).unwrap_or_default();
        let method = capture["method"].as_str().unwrap();
        let target = capture["target"].as_str().unwrap().as_bytes();
        let python = capture["client"]
            .as_str()
            .unwrap()
            .starts_with("python-binance");
        match check(method, target, &headers, &body, &keys, NOW_US) {
            Ok(asked) => {
                accepted += 1;
                // One bit of the body or the target changed: no longer.
                let mut body = body.clone();
                let mut target = target.to_vec();
                let bytes = if body.is_empty() {
                    &mut target
                } else {
                    &mut body
                };
                let at = bytes.windows(10).position(|w| w == b"recvWindow").unwrap() + 11;
                bytes[at] ^= 1;
                refused(
                    -1022,
                    check(method, &target, &headers, &body, &keys, NOW_US),
                );
                assert_eq!(asked.timestamp_us, Some(NOW_US));
            }
            Err(refusal) => {
                assert!(python && decoded.contains(&label), "{label}: {refusal:?}");
                assert_eq!(refusal.code, -1022);
                refusals += 1;
            }
        }
    }
    assert_eq!((accepted, refusals), (25, 2));
}

#[test]
fn query_and_body() {
    let params = "symbol=BTCUSDT&side=BUY&type=MARKET&quoteOrderQty=25&timestamp=1790000000123";
    for at in params.match_indices('&').map(|(at, _)| at) {
        let (query, body) = (&params[..at], &params[at + 1..]);
        let signature = sign(&format!("{query}{body}"));
        let asked = send(
            "POST",
            &format!("/api/v3/order?{query}"),
            &format!("{body}&signature={signature}"),
        )
        .unwrap();
        assert_eq!(asked.get("quoteOrderQty"), Some("25"));
        assert!(
            send(
                "POST",
                &format!("/api/v3/order?{query}&signature={signature}"),
                body
            )
            .is_ok()
        );
        assert!(
            send(
                "POST",
                &format!("/api/v3/order?signature={signature}&{query}"),
                body
            )
            .is_ok()
        );
        // The same bytes cut elsewhere are the same payload, but no parameters.
        let whole = format!("{query}{body}");
        for cut in [at - 1, at + 1] {
            let (query, body) = whole.split_at(cut);
            let body = format!("{body}&signature={signature}");
            let refusal = send("POST", &format!("/api/v3/order?{query}"), &body).unwrap_err();
            assert!(
                [-1100, -1102, -1104].contains(&refusal.code),
                "{query} | {body}: {refusal:?}"
            );
        }
        refused(
            -1101,
            send(
                "POST",
                &format!("/api/v3/order?{query}&signature={signature}"),
                &format!("{body}&signature={signature}"),
            ),
        );
    }
    // In both: the query's counts.
    let (query, body) = (
        "symbol=BTCUSDT&quantity=1",
        "symbol=ETHUSDT&quantity=2&side=BUY&type=MARKET&timestamp=1790000000123",
    );
    let signature = sign(&format!("{query}{body}"));
    let asked = send(
        "POST",
        &format!("/api/v3/order?{query}"),
        &format!("{body}&signature={signature}"),
    )
    .unwrap();
    assert_eq!(
        (asked.get("symbol"), asked.get("quantity")),
        (Some("BTCUSDT"), Some("1"))
    );
    // A GET has no body.
    let full = format!("{params}&signature={}", sign(params));
    assert_eq!(
        send("GET", "/api/v3/account", &full).unwrap_err().status,
        403
    );
}

#[test]
fn keys_time_and_signature() {
    let order = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.001&price=65000.1";
    assert!(signed("POST", "/api/v3/order", order).is_ok());
    let sent = |params: &str| {
        send(
            "POST",
            "/api/v3/order",
            &format!("{params}&signature={}", sign(params)),
        )
    };
    refused(-1102, sent(order));
    refused(
        -1102,
        send(
            "POST",
            "/api/v3/order",
            &format!("{order}&timestamp=1790000000123"),
        ),
    );
    refused(
        -1102,
        send(
            "POST",
            "/api/v3/order",
            &format!("{order}&timestamp=1790000000123&signature="),
        ),
    );
    refused(
        -1022,
        send(
            "POST",
            "/api/v3/order",
            &format!(
                "{order}&timestamp=1790000000123&signature={}",
                "0".repeat(64)
            ),
        ),
    );
    for (time, code) in [
        ("1790000001123", Some(-1021)), // a second ahead
        ("1790000001122", None),
        ("1789999995123", None), // five seconds old
        ("1789999995122", Some(-1021)),
        ("1790000000123000", None), // microseconds
        ("1790000001123000", Some(-1021)),
        ("1790000000", Some(-1021)), // seconds
        ("-1", Some(-1100)),
        ("1790000000123.0", Some(-1100)),
        ("99999999999999999999", Some(-1108)),
    ] {
        let result = sent(&format!("{order}&timestamp={time}"));
        match code {
            None => assert!(result.is_ok(), "{time}: {result:?}"),
            Some(code) => drop(refused(code, result)),
        }
    }
    for (window, code) in [
        ("60000", None),
        ("60000.000", None),
        ("60000.001", Some(-1131)),
        ("60001", Some(-1131)),
        ("5000.1234", Some(-1100)),
        ("", Some(-1105)),
        ("5e3", Some(-1100)),
    ] {
        let result = sent(&format!(
            "{order}&timestamp=1790000000123&recvWindow={window}"
        ));
        match code {
            None => assert!(result.is_ok(), "{window}: {result:?}"),
            Some(code) => drop(refused(code, result)),
        }
    }
    let body = format!("{order}&timestamp=1790000000123");
    let body = format!("{body}&signature={}", sign(&body));
    let with = |key: &[u8]| {
        check(
            "POST",
            b"/api/v3/order",
            &[("x-mbx-apikey", key)],
            body.as_bytes(),
            &keys(),
            NOW_US,
        )
    };
    assert!(with(KEY.as_bytes()).is_ok());
    assert_eq!(refused(-2014, with(b"short")).status, 401);
    assert_eq!(refused(-2015, with("A".repeat(64).as_bytes())).status, 401);
    assert_eq!(
        refused(
            -2014,
            check(
                "POST",
                b"/api/v3/order",
                &[],
                body.as_bytes(),
                &keys(),
                NOW_US
            )
        )
        .status,
        401
    );
    let twice: [(&str, &[u8]); 2] = [
        ("X-MBX-APIKEY", KEY.as_bytes()),
        ("x-mbx-apikey", KEY.as_bytes()),
    ];
    assert_eq!(
        check(
            "POST",
            b"/api/v3/order",
            &twice,
            body.as_bytes(),
            &keys(),
            NOW_US
        )
        .unwrap_err()
        .status,
        400
    );
    // Rights.
    let mut keys = keys();
    for (duty, accepted) in [
        ("read", false),
        ("trade", true),
        ("move", false),
        ("admin", false),
        ("all", true),
    ] {
        keys.add(KEY, Key::new(3, 0, duty, Material::hmac(SECRET)));
        let result = check(
            "POST",
            b"/api/v3/order",
            &[("x-mbx-apikey", KEY.as_bytes())],
            body.as_bytes(),
            &keys,
            NOW_US,
        );
        assert_eq!(result.is_ok(), accepted, "{duty}: {result:?}");
        if !accepted {
            refused(-2015, result);
        }
    }
    keys.change(KEY).unwrap().revoked = true;
    refused(
        -2015,
        check(
            "POST",
            b"/api/v3/order",
            &[("x-mbx-apikey", KEY.as_bytes())],
            body.as_bytes(),
            &keys,
            NOW_US,
        ),
    );
}

#[test]
fn parameters_of_an_order() {
    let limit = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=65000";
    for (params, code) in [
        (limit.to_owned(), 0),
        (format!("{limit}&icebergQty=0.1"), 0),
        (format!("{limit}&foo=1"), -1104),
        (format!("{limit}&computeCommissionRates=true"), -1104),
        (format!("{limit}&price=65000"), -1101),
        (format!("{limit}&pri%63e=65000"), -1101),
        (format!("{limit}&&newClientOrderId=a"), -1100),
        (format!("{limit}&newClientOrderId"), -1100),
        (format!("{limit}&newClientOrderId="), -1105),
        (format!("{limit}&newClientOrderId=a+b"), -1100),
        (format!("{limit}&newClientOrderId=a%2Fb"), -1100),
        (format!("{limit}&newClientOrderId=a%0"), -1100),
        (format!("{limit}&newClientOrderId=a%zz"), -1100),
        (format!("{limit}&newClientOrderId=a%00"), -1100),
        (format!("{limit}&newClientOrderId=%FF"), -1100),
        (format!("{limit}&newClientOrderId={}", "a".repeat(37)), -1100),
        (format!("{limit}&newClientOrderId=%61-_9"), 0),
        (limit.replace("quantity=1", "quantity=1e3"), -1100),
        (limit.replace("quantity=1", "quantity=-1"), -1100),
        (limit.replace("quantity=1", "quantity=.5"), -1100),
        (limit.replace("quantity=1", "quantity=0.123456789"), -1111),
        (limit.replace("quantity=1", "quantity="), -1105),
        (limit.replace("quantity=1&", ""), -1102),
        (limit.replace("&price=65000", ""), -1102),
        (limit.replace("&timeInForce=GTC", ""), -1102),
        (limit.replace("GTC", "GTX"), -1115),
        (limit.replace("BUY", "buy"), -1117),
        (limit.replace("LIMIT", "LIMITS"), -1116),
        (limit.replace("BTCUSDT", "btcusdt"), -1100),
        (limit.replace("BTCUSDT", "BTC/USDT"), -1100),
        (limit.replace("BTCUSDT", "%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT"), 0),
        (limit.replace("symbol=BTCUSDT&", ""), -1102),
        (format!("{limit}&stopPrice=1"), -1106),
        (format!("{limit}&trailingDelta=100"), -1106),
        (format!("{limit}&quoteOrderQty=1"), -1106),
        (limit.replace("GTC", "IOC") + "&icebergQty=0.1", -1014),
        (format!("{limit}&strategyType=999999"), -1134),
        (format!("{limit}&strategyType=1000000&strategyId=1"), 0),
        (format!("{limit}&strategyType=99999999999"), -1108),
        (format!("{limit}&newOrderRespType=full"), -1102),
        (format!("{limit}&selfTradePreventionMode=SOME"), -1130),
        (format!("{limit}&pegPriceType=PRIMARY_PEG"), 0),
        (format!("{limit}&pegOffsetValue=1"), -1128),
        ("symbol=BTCUSDT&side=SELL&type=MARKET&quantity=1".to_owned(), 0),
        ("symbol=BTCUSDT&side=SELL&type=MARKET&quoteOrderQty=1".to_owned(), 0),
        ("symbol=BTCUSDT&side=SELL&type=MARKET".to_owned(), -1102),
        ("symbol=BTCUSDT&side=SELL&type=MARKET&quantity=1&quoteOrderQty=1".to_owned(), -1106),
        ("symbol=BTCUSDT&side=SELL&type=MARKET&quantity=1&price=1".to_owned(), -1106),
        ("symbol=BTCUSDT&side=SELL&type=MARKET&quantity=1&timeInForce=GTC".to_owned(), -1106),
        ("symbol=BTCUSDT&side=SELL&type=LIMIT_MAKER&quantity=1&price=1".to_owned(), 0),
        ("symbol=BTCUSDT&side=SELL&type=LIMIT_MAKER&quantity=1&price=1&timeInForce=GTC".to_owned(), -1106),
        ("symbol=BTCUSDT&side=SELL&type=STOP_LOSS&quantity=1&stopPrice=1".to_owned(), 0),
        ("symbol=BTCUSDT&side=SELL&type=STOP_LOSS&quantity=1".to_owned(), -1102),
        ("symbol=BTCUSDT&side=SELL&type=STOP_LOSS&quantity=1&stopPrice=1&price=1".to_owned(), -1106),
        ("symbol=BTCUSDT&side=SELL&type=TAKE_PROFIT_LIMIT&timeInForce=GTC&quantity=1&price=1&trailingDelta=50".to_owned(), 0),
        ("symbol=BTCUSDT&side=SELL&type=TAKE_PROFIT_LIMIT&timeInForce=GTC&quantity=1&trailingDelta=50".to_owned(), -1102),
    ] {
        let result = signed("POST", "/api/v3/order", &params);
        match code {
            0 => assert!(result.is_ok(), "{params}: {result:?}"),
            code => assert_eq!(result.as_ref().err().map(|r| r.code), Some(code), "{params}: {result:?}"),
        }
    }
}

#[test]
fn parameters_of_lists_and_the_rest() {
    let oco = "symbol=BTCUSDT&side=SELL&quantity=1&aboveType=LIMIT_MAKER&abovePrice=2&belowType=STOP_LOSS&belowStopPrice=1";
    let oto = "symbol=BTCUSDT&workingType=LIMIT&workingSide=BUY&workingPrice=1&workingQuantity=1&workingTimeInForce=GTC&pendingSide=SELL";
    for (method, path, params, code) in [
        ("POST", "/api/v3/orderList/oco", oco.to_owned(), 0),
        (
            "POST",
            "/api/v3/orderList/oco",
            oco.replace("SELL", "BUY"),
            -1165,
        ),
        (
            "POST",
            "/api/v3/orderList/oco",
            oco.replace("belowType=STOP_LOSS", "belowType=LIMIT_MAKER"),
            -1168,
        ),
        (
            "POST",
            "/api/v3/orderList/oco",
            oco.replace("belowType=STOP_LOSS", "belowType=MARKET"),
            -1158,
        ),
        (
            "POST",
            "/api/v3/orderList/oco",
            oco.replace("&belowStopPrice=1", ""),
            -1102,
        ),
        (
            "POST",
            "/api/v3/orderList/oco",
            format!("{oco}&price=1"),
            -1104,
        ),
        (
            "POST",
            "/api/v3/orderList/oto",
            format!("{oto}&pendingType=MARKET&pendingQuantity=1"),
            0,
        ),
        (
            "POST",
            "/api/v3/orderList/oto",
            format!("{oto}&pendingType=MARKET"),
            -1102,
        ),
        (
            "POST",
            "/api/v3/orderList/opo",
            format!("{oto}&pendingType=MARKET"),
            0,
        ),
        (
            "POST",
            "/api/v3/orderList/opo",
            format!("{oto}&pendingType=MARKET&pendingQuantity=1"),
            -1104,
        ),
        (
            "POST",
            "/api/v3/orderList/opo",
            format!("{oto}&pendingType=MARKET").replace("workingSide=BUY", "workingSide=SELL"),
            -1222,
        ),
        (
            "POST",
            "/api/v3/orderList/opoco",
            format!(
                "{oto}&pendingAboveType=LIMIT_MAKER&pendingAbovePrice=3&pendingBelowType=STOP_LOSS&pendingBelowStopPrice=1"
            ),
            0,
        ),
        (
            "POST",
            "/api/v3/orderList/otoco",
            format!("{oto}&pendingQuantity=1&pendingAboveType=LIMIT_MAKER&pendingAbovePrice=3"),
            -1102,
        ),
        (
            "POST",
            "/api/v3/order/oco",
            "symbol=BTCUSDT&side=SELL&quantity=1&price=2&stopPrice=1".to_owned(),
            0,
        ),
        (
            "POST",
            "/api/v3/order/oco",
            "symbol=BTCUSDT&side=SELL&quantity=1&price=2&stopPrice=1&stopLimitPrice=1".to_owned(),
            -1102,
        ),
        (
            "DELETE",
            "/api/v3/order",
            "symbol=BTCUSDT&orderId=1".to_owned(),
            0,
        ),
        (
            "DELETE",
            "/api/v3/order",
            "symbol=BTCUSDT".to_owned(),
            -1102,
        ),
        (
            "DELETE",
            "/api/v3/order",
            "symbol=BTCUSDT&orderId=1&cancelRestrictions=ALL".to_owned(),
            -1145,
        ),
        (
            "POST",
            "/api/v3/order/cancelReplace",
            "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=1&cancelReplaceMode=STOP_ON_FAILURE"
                .to_owned(),
            -1102,
        ),
        (
            "PUT",
            "/api/v3/order/amend/keepPriority",
            "symbol=BTCUSDT&orderId=1&newQty=1".to_owned(),
            0,
        ),
        (
            "POST",
            "/sapi/v1/capital/withdraw/apply",
            "coin=USDT&address=T1&amount=1&anything=goes".to_owned(),
            0,
        ),
        (
            "POST",
            "/sapi/v1/capital/withdraw/apply",
            "coin=USDT&amount=1".to_owned(),
            -1102,
        ),
        (
            "POST",
            "/sapi/v1/capital/withdraw/apply",
            "coin=USDT&address=T1&amount=1&amount=2".to_owned(),
            -1101,
        ),
    ] {
        let result = signed(method, path, &params);
        match code {
            0 => assert!(result.is_ok(), "{path} {params}: {result:?}"),
            code => assert_eq!(
                result.as_ref().err().map(|r| r.code),
                Some(code),
                "{path} {params}: {result:?}"
            ),
        }
    }
}

#[test]
fn paths_are_exact() {
    for path in [
        "/api/v3/Order",
        "/api/v3/order/",
        "//api/v3/order",
        "/api/v3/./order",
        "/api/v3/%6frder",
        "/api/v3/order;x",
        "/fapi/v9/order",
        "/fapi/v1/order/",
        "/fapi/order",
        "/",
        "*",
        "",
    ] {
        let refusal = signed("POST", path, "symbol=BTCUSDT").unwrap_err();
        assert_eq!(refusal.status, 404, "{path}");
    }
    assert_eq!(
        signed("PATCH", "/api/v3/order", "symbol=BTCUSDT")
            .unwrap_err()
            .status,
        405
    );
    assert_eq!(
        send("POST", "/api/v3/order?a=b c", "").unwrap_err().status,
        400
    );
    assert_eq!(send("GET", "/api/v3/time#x", "").unwrap_err().status, 400);
    refused(-1101, send("GET", "/api/v3/time?x=1", ""));
    assert!(send("GET", "/api/v3/time", "").is_ok());
}

/// What the gate's vectors say that the venue gets is what a strict venue takes, and it understands the same fields.
#[test]
fn what_the_gate_sends_is_accepted() {
    let path = format!(
        "{}/../../vectors/binance/accepted.toml",
        env!("CARGO_MANIFEST_DIR")
    );
    let cases: toml::Value = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in cases["case"].as_array().unwrap() {
        let text = |name: &str| case.get(name).and_then(toml::Value::as_str).unwrap_or("");
        let path = text("path").split('?').next().unwrap();
        let Some(sent) = case.get("sent").and_then(toml::Value::as_str) else {
            continue;
        };
        let join = if sent.is_empty() { "" } else { "&" };
        // A field of some later day, which the gate lets through on a read and this venue does not know yet.
        if sent.contains("someday=") {
            continue;
        }
        if path.starts_with("/api/v3/ticker") {
            assert!(send("GET", &format!("{path}?{sent}"), "").is_ok(), "{sent}");
            continue;
        }
        let payload = format!("{sent}{join}recvWindow=1000&timestamp=1790000000123");
        let full = format!("{payload}&signature={}", sign(&payload));
        let method = text("method");
        let result = if method == "GET" {
            send(method, &format!("{path}?{full}"), "")
        } else {
            send(method, path, &full)
        };
        count += 1;
        if let Err(refusal) = result {
            wrong.push(format!(
                "{}: {method} {path} {sent}: {refusal:?}",
                text("about")
            ));
        }
    }
    assert!(count > 20, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
