//! The simulated KuCoin: what it accepts, and what it refuses with which code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use portcullis_sim::keys::base64;
use portcullis_sim::kucoin::CALLS;
use portcullis_sim::venue::{Kind, Options, Venue};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};

const NOW_MS: u64 = 1_790_000_000_123;
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Client {
    venue: Venue,
    key: String,
    secret: String,
    passphrase: String,
}

fn client(duty: &str) -> Client {
    let options = Options {
        kind: Kind::KuCoin,
        seed: Some(7),
        moving: false,
        ..Options::default()
    };
    let venue = Venue::new(options, NOW_MS * 1000);
    let handed = venue.handed.iter().find(|h| h.duty == duty).unwrap();
    Client {
        key: handed.key.clone(),
        secret: handed.secret.clone().unwrap(),
        passphrase: handed.passphrase.clone().unwrap(),
        venue,
    }
}

impl Client {
    fn sign(&self, text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        base64(hmac::sign(&key, text.as_bytes()).as_ref())
    }

    fn raw(&mut self, request: (&str, &str, &str), headers: &[(&str, &str)]) -> (String, Value) {
        let (method, target, body) = request;
        let mut all: Vec<(&str, &[u8])> = vec![("Host", b"api.kucoin.com")];
        all.extend(headers.iter().map(|(n, v)| (*n, v.as_bytes())));
        let (target, body) = (target.as_bytes(), body.as_bytes());
        let outcome = self
            .venue
            .handle(HOME, method, target, &all, body, NOW_MS * 1000);
        let answer: Value = serde_json::from_str(&outcome.answer.unwrap().body).unwrap();
        (
            answer["code"].as_str().unwrap_or("").to_owned(),
            answer["data"].clone(),
        )
    }

    fn headers(&self, message: &str) -> Vec<(&'static str, String)> {
        vec![
            ("KC-API-KEY", self.key.clone()),
            ("KC-API-SIGN", self.sign(message)),
            ("KC-API-TIMESTAMP", NOW_MS.to_string()),
            ("KC-API-PASSPHRASE", self.sign(&self.passphrase.clone())),
            ("KC-API-KEY-VERSION", "3".to_owned()),
            ("Content-Type", "application/json".to_owned()),
        ]
    }

    fn send(&mut self, method: &str, target: &str, body: &str) -> (String, Value) {
        let headers = self.headers(&format!("{NOW_MS}{method}{target}{body}"));
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        self.raw((method, target, body), &headers)
    }

    fn ok(&mut self, method: &str, target: &str, body: &str) -> Value {
        let (code, data) = self.send(method, target, body);
        assert_eq!(code, "200000", "{method} {target} {body}");
        data
    }
}

const ORDERS: &str = "/api/v1/hf/orders";
const ORDER: &str = r#"{"clientOid":"a-1","symbol":"BTC-USDT","side":"buy","type":"limit","size":"0.01","price":"60000"}"#;

#[test]
fn every_line_of_the_table_is_read_and_answered() {
    let lines = include_str!("../src/kucoin/calls.txt")
        .lines()
        .filter(|l| l.contains(" /api/") && !l.starts_with('#'))
        .count();
    assert_eq!(CALLS.len(), lines);
    let mut c = client("all");
    for call in CALLS.iter() {
        // Nothing falls through to the end of the table of what is done.
        let path = call.path.replace(['{', '}'], "");
        let symbol = match call.method {
            "POST" => "",
            _ if call.fields.iter().any(|f| f.name == "symbol") => "?symbol=BTC-USDT",
            _ => "",
        };
        let (code, _) = c.send(
            call.method,
            &format!("{path}{symbol}"),
            if call.method == "POST" { "{}" } else { "" },
        );
        assert!(!matches!(&*code, "500000" | "404000"), "{}", call.path);
    }
}

#[test]
fn who_asks() {
    let mut c = client("trade");
    assert_eq!(c.send("POST", ORDERS, ORDER).0, "200000");
    let good = c.headers(&format!("{NOW_MS}POST{ORDERS}{ORDER}"));
    for (name, value, code) in [
        ("KC-API-KEY", "another".to_owned(), "400003"),
        ("KC-API-KEY", String::new(), "400001"),
        ("KC-API-SIGN", c.sign("x"), "400005"),
        (
            "KC-API-SIGN",
            c.sign(&format!("{NOW_MS}DELETE{ORDERS}{ORDER}")),
            "400005",
        ),
        (
            "KC-API-SIGN",
            c.sign(&format!("{NOW_MS}POST{ORDERS}/sync{ORDER}")),
            "400005",
        ),
        ("KC-API-TIMESTAMP", (NOW_MS - 5_001).to_string(), "400002"),
        ("KC-API-TIMESTAMP", "1790000000".to_owned(), "400002"),
        // As it is, as keys of the first version had it.
        ("KC-API-PASSPHRASE", c.passphrase.clone(), "400004"),
        ("KC-API-PASSPHRASE", c.sign("another"), "400004"),
        ("KC-API-KEY-VERSION", "1".to_owned(), "400004"),
        ("Content-Type", "text/plain".to_owned(), "415000"),
    ] {
        let headers: Vec<(&str, &str)> = good
            .iter()
            .map(|(n, v)| {
                (
                    *n,
                    if *n == name {
                        value.as_str()
                    } else {
                        v.as_str()
                    },
                )
            })
            .collect();
        assert_eq!(
            c.raw(("POST", ORDERS, ORDER), &headers).0,
            code,
            "{name} {value}"
        );
    }
    assert_eq!(client("read").send("POST", ORDERS, ORDER).0, "400007");
    let withdraw = r#"{"currency":"USDT","amount":"1","toAddress":"T1","withdrawType":"ADDRESS"}"#;
    assert_eq!(c.send("POST", "/api/v3/withdrawals", withdraw).0, "400007");
}

#[test]
fn a_query_is_signed_as_it_reads() {
    let mut c = client("read");
    let fills = "/api/v1/hf/fills?symbol=BTC-USDT&orderId=";
    for (signed, code) in [("a,b", "200000"), ("a%2Cb", "400005")] {
        let headers = c.headers(&format!("{NOW_MS}GET{fills}{signed}"));
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let target = format!("{fills}a%2Cb");
        assert_eq!(c.raw(("GET", &target, ""), &headers).0, code, "{signed}");
    }
}

#[test]
fn an_order_lives_and_ends() {
    let mut c = client("trade");
    let placed = c.ok("POST", ORDERS, ORDER);
    let id = placed["orderId"].as_str().unwrap().to_owned();
    assert_eq!((id.len(), placed["clientOid"].as_str()), (24, Some("a-1")));
    let of = format!("{ORDERS}/{id}?symbol=BTC-USDT");
    let by_name = format!("{ORDERS}/client-order/a-1?symbol=BTC-USDT");
    let active = format!("{ORDERS}/active?symbol=BTC-USDT");
    for target in [&of, &by_name] {
        let order = c.ok("GET", target, "");
        assert_eq!(
            (&order["id"], &order["active"]),
            (&placed["orderId"], &Value::from(true))
        );
    }
    assert_eq!(c.ok("GET", &active, "").as_array().unwrap().len(), 1);
    assert_eq!(c.send("POST", ORDERS, ORDER).0, "400100", "a name twice");
    c.ok("DELETE", &of, "");
    let order = c.ok("GET", &of, "");
    assert_eq!(
        (&order["active"], &order["cancelExist"]),
        (&Value::from(false), &Value::from(true))
    );
    assert_eq!(c.send("DELETE", &of, "").0, "400100");
    assert_eq!(c.ok("GET", &active, ""), Value::Array(Vec::new()));
    assert_eq!(c.ok("GET", &of.replace("BTC-", "ETH-"), ""), Value::Null);
    let market =
        r#"{"clientOid":"b","symbol":"BTC-USDT","side":"buy","type":"market","funds":"650"}"#;
    let bought = c.ok("POST", &format!("{ORDERS}/sync"), market);
    assert_eq!(bought["status"], "done");
    assert_eq!(bought["clientOid"], "b");
    let fills = c.ok("GET", "/api/v1/hf/fills?symbol=BTC-USDT", "");
    assert_eq!(fills["items"][0]["orderId"], bought["orderId"]);
    let several = r#"{"orderList":[{"symbol":"BTC-USDT","type":"limit","side":"buy","price":"60000","size":"0.01"},{"symbol":"BTC-USDT","type":"limit","side":"buy","price":"60000.001","size":"0.01"}]}"#;
    let each = c.ok("POST", &format!("{ORDERS}/multi"), several);
    assert_eq!(
        (&each[0]["success"], &each[1]["success"]),
        (&Value::from(true), &Value::from(false))
    );
    let all = c.ok("DELETE", &format!("{ORDERS}/cancelAll"), "");
    assert_eq!(all["succeedSymbols"], serde_json::json!(["BTC-USDT"]));
}

#[test]
fn what_no_order_is() {
    let mut c = client("trade");
    for (with, code) in [
        (r#""type":"limit","price":"60000""#, "400100"),
        (r#""type":"limit","size":"1""#, "400100"),
        (r#""type":"market""#, "400100"),
        (r#""type":"market","size":"1","funds":"1""#, "400100"),
        (r#""type":"market","size":"1","price":"1""#, "400100"),
        (
            r#""type":"limit","price":"60000","size":"0.01","timeInForce":"GTT""#,
            "400100",
        ),
        (
            r#""type":"limit","price":"60000","size":"0.01","postOnly":true,"timeInForce":"IOC""#,
            "400100",
        ),
        (r#""type":"limit","price":"60000","size":0.01"#, "400100"),
        (
            r#""type":"limit","price":"60000","size":"0.01","stop":"loss""#,
            "400100",
        ),
        (
            r#""type":"limit","price":"60000.001","size":"0.01""#,
            "400100",
        ),
        (r#""type":"limit","price":"60000","size":"1000""#, "400100"),
        (r#""type":"limit","price":"60000","size":"140""#, "200004"),
    ] {
        let body = format!(r#"{{"symbol":"BTC-USDT","side":"buy",{with}}}"#);
        assert_eq!(c.send("POST", ORDERS, &body).0, code, "{with}");
    }
    let unknown = ORDER.replace("BTC-USDT", "X-Y");
    assert_eq!(c.send("POST", ORDERS, &unknown).0, "400600".to_owned());
    assert_eq!(c.send("POST", "/api/v1/orders", ORDER).0, "404000");
    assert_eq!(c.send("POST", &format!("{ORDERS}?a=b"), ORDER).0, "400100");
}

#[test]
fn value_moves_between_wallets_and_leaves_the_main_one() {
    let mut c = client("all");
    let withdraw = r#"{"currency":"USDT","amount":"5","toAddress":"T1","withdrawType":"ADDRESS","chain":"trx"}"#;
    assert_eq!(c.send("POST", "/api/v3/withdrawals", withdraw).0, "230003");
    let transfer = r#"{"clientOid":"t","type":"INTERNAL","currency":"USDT","amount":"5","fromAccountType":"TRADE","toAccountType":"MAIN"}"#;
    c.ok("POST", "/api/v3/accounts/universal-transfer", transfer);
    let main = c.ok("GET", "/api/v1/accounts?type=main&currency=USDT", "");
    assert_eq!(main[0]["available"], "5");
    for name in ["trade", "trade_hf"] {
        let traded = c.ok("GET", &format!("/api/v1/accounts?type={name}"), "");
        assert_eq!(traded[0]["type"], name);
    }
    c.ok("POST", "/api/v3/withdrawals", withdraw);
    let main = c.ok("GET", "/api/v1/accounts?type=main&currency=USDT", "");
    assert_eq!(main, Value::Array(Vec::new()));
    assert_eq!(c.venue.withdrawals.len(), 1);
}
