//! Limits, faults and the log, request by request; and the HTTP of the program itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use aws_lc_rs::hmac;
use portcullis_sim::endpoints::{ENDPOINTS, Security};
use portcullis_sim::faults::{Act, Fault};
use portcullis_sim::keys::hex;
use portcullis_sim::sapi_table::SAPI;
use portcullis_sim::venue::{Options, Outcome, Venue};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

const NOW_US: u64 = 1_790_000_000_123_000;
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

struct Client {
    venue: Venue,
    key: String,
    secret: String,
    now_us: u64,
}

fn client(options: Options, duty: &str) -> Client {
    let venue = Venue::new(
        Options {
            seed: Some(7),
            moving: false,
            ..options
        },
        NOW_US,
    );
    let handed = venue.handed.iter().find(|h| h.duty == duty).unwrap();
    let (key, secret) = (handed.key.clone(), handed.secret.clone().unwrap());
    Client {
        venue,
        key,
        secret,
        now_us: NOW_US,
    }
}

impl Client {
    fn from(&mut self, from: IpAddr, method: &str, path: &str, params: &str) -> Outcome {
        let join = if params.is_empty() { "" } else { "&" };
        let payload = format!("{params}{join}timestamp={}", self.now_us / 1000);
        let mac = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes()),
            payload.as_bytes(),
        );
        let full = format!("{payload}&signature={}", hex(mac.as_ref()));
        let target = if method == "GET" {
            format!("{path}?{full}")
        } else {
            path.to_owned()
        };
        let body = if method == "GET" { String::new() } else { full };
        let headers: [(&str, &[u8]); 2] = [
            ("Host", b"localhost"),
            ("X-MBX-APIKEY", self.key.as_bytes()),
        ];
        self.venue.handle(
            from,
            method,
            target.as_bytes(),
            &headers,
            body.as_bytes(),
            self.now_us,
        )
    }

    fn send(&mut self, method: &str, path: &str, params: &str) -> (u16, Value) {
        let answer = self.from(HOME, method, path, params).answer.unwrap();
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    fn buy(&mut self, price: &str, more: &str) -> (u16, Value) {
        let params = format!(
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price={price}{more}"
        );
        self.send("POST", "/api/v3/order", &params)
    }
}

fn header(outcome: &Outcome, name: &str) -> Option<String> {
    let answer = outcome.answer.as_ref().unwrap();
    answer
        .headers
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, v)| v.clone())
}

#[test]
fn weight_then_429_then_418() {
    let mut c = client(
        Options {
            weight_per_minute: 100,
            tolerated: 2,
            ..Options::default()
        },
        "read",
    );
    for used in ["20", "40", "60", "80", "100"] {
        let outcome = c.from(HOME, "GET", "/api/v3/account", "");
        assert_eq!(outcome.answer.as_ref().unwrap().status, 200);
        assert_eq!(
            header(&outcome, "x-mbx-used-weight-1m").as_deref(),
            Some(used)
        );
    }
    for _ in 0..2 {
        let outcome = c.from(HOME, "GET", "/api/v3/account", "");
        assert_eq!(outcome.answer.as_ref().unwrap().status, 429);
        // Until the minute is over.
        assert_eq!(header(&outcome, "Retry-After").as_deref(), Some("40"));
    }
    let outcome = c.from(HOME, "GET", "/api/v3/account", "");
    assert_eq!(outcome.answer.as_ref().unwrap().status, 418);
    assert_eq!(header(&outcome, "Retry-After").as_deref(), Some("120"));
    // Another address is another matter.
    assert_eq!(
        c.from(AWAY, "GET", "/api/v3/account", "")
            .answer
            .unwrap()
            .status,
        200
    );
    c.now_us += 119_000_000;
    assert_eq!(c.send("GET", "/api/v3/account", "").0, 418);
    c.now_us += 2_000_000;
    assert_eq!(c.send("GET", "/api/v3/account", "").0, 200);
    // The second ban is twice as long.
    for _ in 0..6 {
        c.send("GET", "/api/v3/account", "");
    }
    let outcome = c.from(HOME, "GET", "/api/v3/account", "");
    assert_eq!(header(&outcome, "Retry-After").as_deref(), Some("240"));
    assert_eq!(c.venue.limited, [4, 3]);
}

#[test]
fn unfilled_orders_are_counted() {
    let mut c = client(
        Options {
            orders_per_10s: 3,
            ..Options::default()
        },
        "trade",
    );
    assert_eq!(c.buy("60000", "").0, 200);
    // A refused order does not count, a filled one is given back.
    assert_eq!(c.buy("60000.001", "").1["code"], -1013);
    assert_eq!(c.buy("65100", "").1["status"], "FILLED");
    assert_eq!(c.buy("60000", "").0, 200);
    let outcome = c.from(
        HOME,
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=60000",
    );
    assert_eq!(
        header(&outcome, "x-mbx-order-count-10s").as_deref(),
        Some("3")
    );
    let (status, body) = c.buy("60000", "");
    assert_eq!((status, body["code"].as_i64()), (429, Some(-1015)));
    // Cancels are not orders; cancel-replace says what it did.
    assert_eq!(
        c.send("DELETE", "/api/v3/order", "symbol=BTCUSDT&orderId=999999")
            .1["code"],
        -2011
    );
    c.now_us += 10_000_000;
    assert_eq!(c.buy("60000", "").0, 200);
}

#[test]
fn the_log_has_every_request_once() {
    let mut c = client(
        Options {
            log_requests: 4,
            ..Options::default()
        },
        "trade",
    );
    c.buy("60000", "&newClientOrderId=one");
    c.buy("60000", "&newClientOrderId=one");
    c.send(
        "GET",
        "/api/v3/order",
        "symbol=BTCUSDT&origClientOrderId=one",
    );
    c.venue.handle(
        HOME,
        "GET",
        b"/nothing",
        &[("host", b"api.binance.com")],
        b"",
        c.now_us,
    );
    let log: Vec<_> = c
        .venue
        .log
        .iter()
        .map(|e| (e.number, e.client_order_id.as_deref(), e.status, e.code))
        .collect();
    assert_eq!(
        log,
        [
            (1, Some("one"), 200, 0),
            (2, Some("one"), 400, -2010),
            (3, None, 200, 0),
            (4, None, 404, 0)
        ]
    );
    assert!(
        c.venue
            .log
            .iter()
            .take(3)
            .all(|e| e.signature.is_some() && e.account == Some(3))
    );
    // The oldest go first, and the count says so.
    c.buy("60000", "");
    assert_eq!(
        (c.venue.requests, c.venue.log.len(), c.venue.log[0].number),
        (5, 4, 2)
    );
}

#[test]
fn faults_before_and_after() {
    for (act, known, answered) in [
        (Act::ErrorBefore(503), false, Some(503)),
        (Act::ErrorAfter(504), true, Some(504)),
        (Act::DropBefore, false, None),
        (Act::DropAfter, true, None),
        (Act::CutAfter, true, Some(200)),
        (Act::HangBefore, false, None),
        (Act::HangAfter, true, None),
        (Act::Delay(50), true, Some(200)),
    ] {
        let mut c = client(Options::default(), "trade");
        c.venue.faults.push(Fault {
            method: Some("POST".to_owned()),
            path: Some("/api/v3/order".to_owned()),
            account: None,
            act,
            per_million: 1_000_000,
            left: Some(1),
            hits: 0,
        });
        let params = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=60000&newClientOrderId=one";
        let outcome = c.from(HOME, "POST", "/api/v3/order", params);
        assert_eq!(outcome.answer.map(|a| a.status), answered, "{act:?}");
        assert_eq!(
            outcome.close,
            matches!(act, Act::DropBefore | Act::DropAfter | Act::CutAfter)
        );
        assert_eq!(
            c.send(
                "GET",
                "/api/v3/order",
                "symbol=BTCUSDT&origClientOrderId=one"
            )
            .0 == 200,
            known,
            "{act:?}"
        );
        assert_eq!(c.venue.log[0].fault, Some(act.name()));
    }
    // A fault by chance comes about as often as it says, and the same way from the same seed.
    let hits = || {
        let mut c = client(
            Options {
                weight_per_minute: 1_000_000,
                ..Options::default()
            },
            "trade",
        );
        c.venue.faults.push(Fault {
            method: None,
            path: None,
            account: None,
            act: Act::ErrorBefore(503),
            per_million: 100_000,
            left: None,
            hits: 0,
        });
        (0..1000)
            .map(|_| c.send("GET", "/api/v3/time", "").0 == 503)
            .collect::<Vec<_>>()
    };
    let (first, second) = (hits(), hits());
    assert_eq!(first, second);
    let count = first.iter().filter(|hit| **hit).count();
    assert!((60..150).contains(&count), "{count}");
}

#[test]
fn a_key_is_bound_to_addresses() {
    let mut c = client(Options::default(), "all");
    let key = c.key.clone();
    c.venue.keys.change(&key).unwrap().ips = vec![AWAY];
    assert_eq!(c.send("GET", "/api/v3/account", "").1["code"], -2015);
    assert_eq!(
        c.from(AWAY, "GET", "/api/v3/account", "")
            .answer
            .unwrap()
            .status,
        200
    );
}

#[test]
fn value_moves_and_nothing_is_made() {
    let mut c = client(Options::default(), "all");
    let totals = |c: &Client| {
        (0..c.venue.exchange.assets.len())
            .map(|a| {
                let futures = c.venue.futures.houses.iter().map(|h| h.total(a));
                c.venue.exchange.total(a) + futures.sum::<i128>() / 100_000_000
            })
            .collect::<Vec<_>>()
    };
    let before = totals(&c);
    let (_, quote) = c.send(
        "POST",
        "/sapi/v1/convert/getQuote",
        "fromAsset=USDT&toAsset=BTC&fromAmount=1000",
    );
    for (path, params) in [
        (
            "/sapi/v1/capital/withdraw/apply",
            "coin=USDT&address=T1&amount=10&network=TRX".to_owned(),
        ),
        (
            "/sapi/v1/asset/transfer",
            "type=MAIN_UMFUTURE&asset=USDT&amount=5".to_owned(),
        ),
        (
            "/sapi/v1/asset/transfer",
            "type=UMFUTURE_MAIN&asset=USDT&amount=2".to_owned(),
        ),
        (
            "/sapi/v1/convert/acceptQuote",
            format!("quoteId={}", quote["quoteId"].as_str().unwrap()),
        ),
        (
            "/sapi/v1/margin/borrow-repay",
            "asset=USDT&amount=7&isIsolated=FALSE&type=BORROW".to_owned(),
        ),
        (
            "/sapi/v1/margin/borrow-repay",
            "asset=USDT&amount=3&isIsolated=FALSE&type=REPAY".to_owned(),
        ),
        (
            "/sapi/v1/simple-earn/flexible/subscribe",
            "productId=USDT001&amount=5".to_owned(),
        ),
        (
            "/sapi/v1/simple-earn/flexible/redeem",
            "productId=USDT001&amount=4".to_owned(),
        ),
        (
            "/sapi/v1/giftcard/createCode",
            "token=BTC&amount=0.1".to_owned(),
        ),
        (
            "/sapi/v2/loan/flexible/borrow",
            "loanCoin=USDT&collateralCoin=BTC&loanAmount=100".to_owned(),
        ),
        (
            "/sapi/v1/sub-account/virtualSubAccount",
            "subAccountString=desk".to_owned(),
        ),
    ] {
        let (status, body) = c.send("POST", path, &params);
        assert_eq!(status, 200, "{path} {params}: {body}");
    }
    let email = c.venue.exchange.accounts.last().unwrap().name.clone();
    let params = format!("toEmail={}&asset=USDT&amount=1", email.replace('@', "%40"));
    assert_eq!(
        c.send("POST", "/sapi/v1/sub-account/transfer/subToSub", &params)
            .0,
        200
    );
    assert_eq!(totals(&c), before);
    assert!(c.venue.effects.len() >= 11);
    // A quote is good once, and for ten seconds.
    let id = quote["quoteId"].as_str().unwrap();
    assert_eq!(
        c.send(
            "POST",
            "/sapi/v1/convert/acceptQuote",
            &format!("quoteId={id}")
        )
        .0,
        400
    );
}

/// Every call that changes something refuses a key that may only read.
#[test]
fn a_read_key_changes_nothing() {
    let mut c = client(
        Options {
            sapi_weight_per_minute: 1_000_000,
            weight_per_minute: 1_000_000,
            ..Options::default()
        },
        "read",
    );
    let mut count = 0;
    c.venue.options.futures_weight_per_minute = 1_000_000;
    for endpoint in portcullis_sim::endpoints::ENDPOINTS
        .iter()
        .chain(portcullis_sim::sapi_table::SAPI.iter())
        .chain(portcullis_sim::futures::calls::CALLS.iter())
    {
        use portcullis_sim::Right;
        match endpoint.security {
            Security::Signed(right) if right != Right::Read => {
                let (status, body) = c.send(endpoint.method, endpoint.path, "");
                assert_eq!(
                    (status, body["code"].as_i64()),
                    (401, Some(-2015)),
                    "{} {}",
                    endpoint.method,
                    endpoint.path
                );
                count += 1;
            }
            _ => {}
        }
    }
    assert!(count > 100, "{count}");
    assert!(c.venue.effects.is_empty() && c.venue.withdrawals.is_empty());
}

#[test]
fn reset_keeps_keys_and_forgets_the_rest() {
    let mut c = client(Options::default(), "all");
    c.buy("60000", "&newClientOrderId=one");
    c.send(
        "POST",
        "/sapi/v1/sub-account/virtualSubAccount",
        "subAccountString=desk",
    );
    let email = c
        .venue
        .exchange
        .accounts
        .last()
        .unwrap()
        .name
        .replace('@', "%40");
    let (status, made) = c.send(
        "POST",
        "/sapi/v1/sub-account/subAccountApi",
        &format!("email={email}&apiName=a&status=1"),
    );
    assert_eq!(status, 200, "{made}");
    c.venue.reset(c.now_us);
    assert_eq!(
        c.send(
            "GET",
            "/api/v3/order",
            "symbol=BTCUSDT&origClientOrderId=one"
        )
        .1["code"],
        -2013
    );
    assert_eq!(c.buy("60000", "&newClientOrderId=one").0, 200);
    c.key = made["apiKey"].as_str().unwrap().to_owned();
    c.secret = made["secretKey"].as_str().unwrap().to_owned();
    assert_eq!(c.send("GET", "/api/v3/account", "").1["code"], -2015);
}

/// Any call with any values in its parameters, signed by a key that may do everything: an answer each time, nothing made or lost.
#[derive(Debug, Clone)]
struct Call {
    /// Below the number of `WHOLE`: one of those as it stands.
    whole: usize,
    endpoint: usize,
    values: Vec<(bool, usize)>,
}

const VALUES: [&str; 40] = [
    "BTCUSDT",
    "ETHUSDT",
    "LTCBTC",
    "%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT",
    "NOPE",
    "BUY",
    "SELL",
    "LIMIT",
    "MARKET",
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
    "LIMIT_MAKER",
    "GTC",
    "IOC",
    "FOK",
    "0",
    "1",
    "0.01",
    "65000",
    "64000.5",
    "99999999999999999999.99999999",
    "0.00000001",
    "9223372036854775807",
    "100",
    "2",
    "true",
    "USDT",
    "BTC",
    "MAIN_UMFUTURE",
    "BORROW",
    "desk_virtual%406email.com",
    "%5B%22BTCUSDT%22%5D",
    "1m",
    "1790000000000",
    "DECREMENT",
    "ALLOW_FAILURE",
    "a-1",
    "%22",
];

/// Calls that pass as they stand, so that the others meet orders, lists and balances.
const WHOLE: [(&str, &str, &str); 14] = [
    (
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=64000&newClientOrderId=a-1",
    ),
    (
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=0.5&price=64000&icebergQty=0.01",
    ),
    (
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=BUY&type=MARKET&quoteOrderQty=100",
    ),
    (
        "POST",
        "/api/v3/order",
        "symbol=BTCUSDT&side=SELL&type=STOP_LOSS&quantity=0.01&stopPrice=64000&trailingDelta=100",
    ),
    (
        "POST",
        "/api/v3/order/oco",
        "symbol=BTCUSDT&side=SELL&quantity=0.01&price=66000&stopPrice=64000",
    ),
    (
        "POST",
        "/api/v3/orderList/oto",
        "symbol=BTCUSDT&workingType=LIMIT&workingSide=BUY&workingPrice=65100&workingQuantity=0.01&workingTimeInForce=GTC&pendingType=MARKET&pendingSide=SELL&pendingQuantity=0.01",
    ),
    (
        "POST",
        "/api/v3/orderList/opoco",
        "symbol=BTCUSDT&workingType=LIMIT&workingSide=BUY&workingPrice=65100&workingQuantity=0.01&workingTimeInForce=GTC&pendingSide=SELL&pendingAboveType=LIMIT_MAKER&pendingAbovePrice=66000&pendingBelowType=STOP_LOSS&pendingBelowStopPrice=64000",
    ),
    (
        "POST",
        "/api/v3/order/cancelReplace",
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.02&price=63000&cancelReplaceMode=ALLOW_FAILURE&cancelOrigClientOrderId=a-1",
    ),
    ("DELETE", "/api/v3/openOrders", "symbol=BTCUSDT"),
    ("GET", "/api/v3/openOrders", ""),
    ("GET", "/api/v3/allOrderList", ""),
    (
        "POST",
        "/sapi/v1/capital/withdraw/apply",
        "coin=USDT&address=T1&amount=10",
    ),
    (
        "POST",
        "/sapi/v1/convert/getQuote",
        "fromAsset=USDT&toAsset=BTC&fromAmount=100",
    ),
    (
        "POST",
        "/sapi/v1/sub-account/virtualSubAccount",
        "subAccountString=desk",
    ),
];

/// Values that fit a parameter by its name, so that calls get further than their form.
fn fitting(name: &str) -> &'static [usize] {
    let lower = name.to_lowercase();
    let ends = |word: &str| lower.ends_with(word);
    if ends("symbol") {
        &[0, 0, 2, 3]
    } else if ends("side") {
        &[5, 6]
    } else if ends("timeinforce") {
        &[14, 15, 16]
    } else if ends("type") && !lower.contains("resp") && !lower.contains("account") {
        &[7, 8, 9, 10, 11, 12, 13, 30, 31]
    } else if ends("quantity") || ends("qty") {
        &[19, 18, 26]
    } else if ends("price") {
        &[20, 21]
    } else if lower.contains("amount") {
        &[18, 19, 26, 22]
    } else if lower.contains("asset") || ends("coin") || ends("token") {
        &[28, 29]
    } else if ends("mode") {
        &[36, 37]
    } else if ends("id") {
        &[18, 26, 38, 25]
    } else if ends("email") {
        &[32]
    } else {
        &[18, 27, 33, 34, 35]
    }
}

fn calls() -> impl proptest::strategy::Strategy<Value = Vec<Call>> {
    use proptest::prelude::*;
    let count = ENDPOINTS.len() + SAPI.len();
    let endpoint = prop_oneof![3 => 0..ENDPOINTS.len(), 1 => 0..count];
    let value = (prop::bool::weighted(0.85), 0..1000_usize);
    prop::collection::vec(
        (
            0..WHOLE.len() * 3,
            endpoint,
            prop::collection::vec(value, 40),
        )
            .prop_map(|(whole, endpoint, values)| Call {
                whole,
                endpoint,
                values,
            }),
        1..40,
    )
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn any_call_has_an_answer(calls in calls()) {
        let mut c = client(
            Options { weight_per_minute: u64::MAX / 2, sapi_weight_per_minute: u64::MAX / 32, orders_per_10s: 100_000, ..Options::default() },
            "all",
        );
        let total = |c: &Client| (0..c.venue.exchange.assets.len()).map(|a| c.venue.exchange.total(a)).collect::<Vec<_>>();
        let before = total(&c);
        for call in &calls {
            let endpoint = ENDPOINTS.iter().chain(SAPI.iter()).nth(call.endpoint).unwrap();
            let mut values = call.values.iter().cycle();
            let mut params = Vec::new();
            for param in endpoint.params.iter().copied().flatten() {
                let (usual, number) = *values.next().unwrap();
                // What must be there mostly is, what may be there sometimes.
                if !param.must && number % 4 != 0 {
                    continue;
                }
                let fits = fitting(param.name);
                let value = if usual { fits[number % fits.len()] } else { number % VALUES.len() };
                params.push(format!("{}={}", param.name, VALUES[value]));
            }
            let made = (endpoint.method, endpoint.path, params.join("&"));
            let (method, path, params) = WHOLE.get(call.whole).map_or(made, |w| (w.0, w.1, w.2.to_owned()));
            c.now_us += 1_000;
            let outcome = if endpoint.security == Security::Public && call.whole >= WHOLE.len() {
                let target = format!("{path}?{params}");
                let target = target.trim_end_matches('?');
                c.venue.handle(HOME, method, target.as_bytes(), &[("Host", b"localhost")], b"", c.now_us)
            } else {
                c.from(HOME, method, path, &params)
            };
            let answer = outcome.answer.unwrap();
            proptest::prop_assert!([200, 400, 401, 404, 409, 429].contains(&answer.status), "{} {}", answer.status, answer.body);
            proptest::prop_assert!(serde_json::from_str::<Value>(&answer.body).is_ok(), "{}", answer.body);
            proptest::prop_assert_eq!(total(&c), before.clone(), "{} {} {}", method, path, params);
        }
    }
}

/// The program: what it prints, how it speaks HTTP (seen on the control API, which has no TLS), how it ends.
#[test]
fn the_program() {
    let folder = std::env::temp_dir().join(format!("portcullis-sim-http-{}", std::process::id()));
    let mut program = Command::new(env!("CARGO_BIN_EXE_portcullis-sim"))
        .args(["--json", "--end-with-stdin", "--seed", "7", "--folder"])
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert!(
        std::fs::read_to_string(ready["ca"].as_str().unwrap())
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    let schemes: Vec<&str> = ready["accounts"][0]["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| k["scheme"].as_str().unwrap())
        .collect();
    assert_eq!(schemes.iter().filter(|s| **s == "hmac").count(), 5);
    assert!(schemes.contains(&"rsa") && schemes.contains(&"ed25519"));
    let address = ready["control"]
        .as_str()
        .unwrap()
        .strip_prefix("http://")
        .unwrap()
        .to_owned();
    let talk = |text: &str, answers: usize| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut got = String::new();
        let mut buffer = [0; 4096];
        while got.matches("HTTP/1.1 ").count() < answers {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "{got}");
            got.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        got
    };
    assert!(talk("GET /requests?path=%2Fapi%2Fv3 HTTP/1.1\r\n\r\n", 1).contains("\"total\":0"));
    // Two requests in one write, two answers in order.
    let two = talk(
        "GET /counts HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n",
        2,
    );
    assert!(
        two.find("200 OK").unwrap() < two.find("400 Bad Request").unwrap(),
        "{two}"
    );
    for (text, status) in [
        (
            "GET /counts HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            400,
        ),
        ("GET /counts HTTP/1.1\r\nContent-Length: +1\r\n\r\nx", 400),
        (
            "GET /counts HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            411,
        ),
        (
            "GET /counts HTTP/1.1\r\nContent-Length: 999999\r\n\r\n",
            413,
        ),
        ("GET /counts\r\n\r\n", 400),
        ("\0\0\0\r\n\r\n", 400),
    ] {
        let answer = talk(text, 1);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{text:?}: {answer}"
        );
    }
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn names_of_the_venue() {
    let mut c = client(Options::default(), "read");
    let (spot, usd, coin) = ("/api/v3/time", "/fapi/v1/time", "/dapi/v1/time");
    for (hosts, target, status) in [
        (&["api.binance.com"][..], spot, 200),
        (&["API.binance.com:443"], spot, 200),
        (&["127.0.0.1:8443"], spot, 200),
        (&["127.0.0.1:8443"], usd, 200),
        (&["fapi.binance.com"], usd, 200),
        (&["FAPI.binance.com:443"], usd, 200),
        (&["dapi.binance.com"], coin, 200),
        // Each name serves its own paths.
        (&["fapi.binance.com"], spot, 404),
        (&["fapi.binance.com"], coin, 404),
        (&["dapi.binance.com"], usd, 404),
        (&["api.binance.com"], usd, 404),
        (&["api.binance.com.evil.example"], spot, 403),
        (&["fapi.binance.com.evil.example"], usd, 403),
        (&["api.binance.com:x"], spot, 403),
        (&["api.binance.com", "api.binance.com"], spot, 400),
        (&[], spot, 400),
    ] {
        let headers: Vec<(&str, &[u8])> = hosts.iter().map(|h| ("Host", h.as_bytes())).collect();
        let outcome = c
            .venue
            .handle(HOME, "GET", target.as_bytes(), &headers, b"", c.now_us);
        assert_eq!(outcome.answer.unwrap().status, status, "{hosts:?} {target}");
    }
}
