//! KuCoin against its vectors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

mod suite;

use aws_lc_rs::hmac;
use portcullis_model::action::{Action, MarketKind, Stamp, Symbol};
use portcullis_model::id::Timestamp;
use portcullis_model::report::{OrderStatus, Report};
use portcullis_model::wire::Header;
use portcullis_venues::signature::base64;
use portcullis_venues::{
    Actions, Asked, Catalog, Credential, DecodeError, Dialect, Method, Question, RawRequest,
    Signature, VerifyKey, dialect,
};
use serde::Deserialize;

venue_suite!(kucoin);

const HOST: &str = "api.kucoin.com";
const STAMP: Stamp = Stamp {
    venue_time_ms: 1_790_000_000_999,
    receive_window_ms: 1000,
    at: Timestamp(0),
};

type Headers = Vec<(String, String)>;

fn with<T>(
    (method, target, body): (&str, &str, &str),
    headers: &[(String, String)],
    then: impl FnOnce(&RawRequest<'_>) -> T,
) -> T {
    let headers: Vec<Header> = headers
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_bytes().into(),
        })
        .collect();
    then(&RawRequest {
        method,
        host: HOST,
        target: target.as_bytes(),
        headers: &headers,
        body: body.as_bytes(),
    })
}

fn read(method: &str, target: &str, headers: &Headers, body: &str) -> Result<Actions, DecodeError> {
    with((method, target, body), headers, |raw| {
        Catalog::builtin().unwrap().decode(raw)
    })
}

fn owned(headers: &[(&str, &str)]) -> Headers {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    headers.iter().map(own).collect()
}

fn scheme() -> Headers {
    owned(&[
        ("Content-Type", "application/json"),
        ("KC-API-KEY", "Key"),
        ("KC-API-SIGN", "00"),
        ("KC-API-TIMESTAMP", "1790000000123"),
        ("KC-API-PASSPHRASE", "phrase"),
    ])
}

fn sign(secret: &str, message: &[u8]) -> Signature {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    Signature::HmacSha256(hmac::sign(&key, message).as_ref().try_into().unwrap())
}

mod kucoin {
    use super::suite::{Sample, Understood};
    use super::{Catalog, Credential, DecodeError, STAMP, Signature, read, scheme};

    pub fn decode(sample: &Sample) -> Result<Understood, String> {
        let mut headers: Vec<(String, String)> = sample
            .headers
            .iter()
            .map(|[n, v]| (n.clone(), v.clone()))
            .collect();
        for (name, value) in scheme() {
            let is_content = name == "Content-Type";
            let given = headers.iter().any(|(n, _)| *n == name);
            if !given && (is_content || !sample.bare) {
                headers.push((name, value));
            }
        }
        let code = |e: DecodeError| format!("{}: {e}", e.code());
        let target = sample
            .target
            .strip_suffix('?')
            .filter(|_| sample.method == "GET");
        let target = target.unwrap_or(&sample.target);
        let actions = read(&sample.method, target, &headers, &sample.body).map_err(code)?;
        let unsigned = Catalog::builtin()
            .unwrap()
            .prepare(&actions, STAMP)
            .unwrap();
        let message = String::from_utf8(unsigned.message("RealKey").to_vec()).unwrap();
        let sent = message
            .strip_prefix("1790000000999")
            .and_then(|rest| rest.strip_prefix(&*sample.method))
            .unwrap()
            .to_owned();
        let credential = Credential {
            api_key: "RealKey",
            passphrase: Some("as the keyring made it"),
        };
        let ready = unsigned.finish(credential, &Signature::HmacSha256([7; 32]));
        assert_eq!(sent, format!("{}{}", ready.target, ready.body));
        let headers = ready
            .headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), v.clone()))
            .collect();
        let again = read(ready.method, &ready.target, &headers, &ready.body)
            .map_err(|e| format!("rebuilt: {e}"))?;
        Ok(Understood {
            actions: serde_json::to_value(&actions.list).unwrap(),
            sent,
            again: serde_json::to_value(&again.list).unwrap(),
        })
    }
}

#[derive(Deserialize)]
struct Capture {
    label: String,
    credentials: Secret,
    method: String,
    target: String,
    headers: Headers,
    body_b64: String,
    actions: Option<serde_json::Value>,
    refused: Option<String>,
}

#[derive(Deserialize)]
struct Secret {
    secret: String,
}

/// Every captured request verifies, asks what it should or is refused for its reason, and verifies again once it is rebuilt.
#[test]
fn captures_verify_decode_and_rebuild() {
    let captures: Vec<Capture> =
        serde_json::from_str(&suite::file("kucoin", "captures.json")).unwrap();
    let catalog = Catalog::builtin().unwrap();
    let mut wrong = Vec::new();
    for c in &captures {
        let body = portcullis_venues::signature::decode_base64(&c.body_b64).unwrap();
        let body = String::from_utf8(body).unwrap();
        let key = VerifyKey::hmac(c.credentials.secret.as_bytes());
        let other = VerifyKey::hmac(b"another");
        let request = (c.method.as_str(), c.target.as_str(), body.as_str());
        let got = with(request, &c.headers, |raw| {
            let presented = catalog.present(raw)?;
            presented.verify(&key)?;
            assert!(presented.verify(&other).is_err(), "{}", c.label);
            presented.decode(None)
        });
        let got = match got {
            Ok(actions) => {
                let unsigned = catalog.prepare(&actions, STAMP).unwrap();
                let signature = sign(&c.credentials.secret, &unsigned.message("Key"));
                let credential = Credential {
                    api_key: "Key",
                    passphrase: Some("p"),
                };
                let ready = unsigned.finish(credential, &signature);
                let headers: Headers = ready
                    .headers
                    .iter()
                    .map(|(n, v)| ((*n).to_owned(), v.clone()))
                    .collect();
                with(
                    (ready.method, &ready.target, &ready.body),
                    &headers,
                    |raw| {
                        let presented = catalog.present(raw).unwrap();
                        presented.verify(&key).unwrap();
                        assert_eq!(presented.decode(None).unwrap().list, actions.list);
                    },
                );
                Ok(serde_json::to_value(&actions.list).unwrap())
            }
            Err(why) => Err(why.code().to_owned()),
        };
        let fits = match &got {
            Ok(actions) => c.actions.as_ref() == Some(actions),
            Err(code) => c.refused.as_ref() == Some(code),
        };
        if !fits {
            wrong.push(format!("{}: {got:?}", c.label));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(captures.len() >= 14);
}

#[test]
fn the_venues_published_signature_is_ours() {
    #[derive(Deserialize)]
    struct Published {
        secret: String,
        message: String,
        signature: String,
    }
    let all: Vec<Published> =
        serde_json::from_str(&suite::file("kucoin", "published.json")).unwrap();
    for one in &all {
        let Signature::HmacSha256(tag) = sign(&one.secret, one.message.as_bytes()) else {
            panic!()
        };
        assert_eq!(base64(&tag), one.signature);
    }
    assert!(!all.is_empty());
}

/// A query is signed as it reads once decoded; where that could be two queries, it is not taken.
#[test]
fn decoded_queries_are_taken_unless_they_could_be_another() {
    let catalog = Catalog::builtin().unwrap();
    let check = |target: &str, decoded: &str| {
        let Signature::HmacSha256(tag) =
            sign("secret", format!("1790000000123GET{decoded}").as_bytes())
        else {
            panic!()
        };
        let mut headers = scheme();
        headers[2].1 = base64(&tag);
        with(("GET", target, ""), &headers, |raw| {
            let presented = catalog.present(raw).unwrap();
            let verified = presented.verify(&VerifyKey::hmac(b"secret"));
            verified.map(drop).map_err(|e| e.code())
        })
    };
    let fills = "/api/v1/hf/fills?symbol=BTC-USDT&x=";
    let at = |value: &str| format!("{fills}{value}");
    assert_eq!(check(&at("a%2Cb"), &at("a%2Cb")), Ok(()));
    assert_eq!(check(&at("a%2Cb"), &at("a,b")), Ok(()));
    assert_eq!(check(&at("a+b%2Cc%3Ad%2Fe"), &at("a b,c:d/e")), Ok(()));
    assert_eq!(check(&at("a%26b"), &at("a&b")), Err("signature-ambiguous"));
    assert_eq!(check(&at("a%2Cb"), &at("a,c")), Err("signature-wrong"));
    // Neither path nor method nor body of another request.
    assert_eq!(
        check(&at("a"), "/api/v1/hf/orders?symbol=BTC-USDT"),
        Err("signature-wrong")
    );
}

#[test]
fn orders_get_ids_that_they_can_be_asked_for_by() {
    let catalog = Catalog::builtin().unwrap();
    let body = r#"{"orderList":[
        {"symbol":"BTC-USDT","type":"limit","side":"buy","price":"1","size":"2"},
        {"symbol":"BTC-USDT","type":"limit","side":"buy","price":"1","size":"2","clientOid":"own"}]}"#;
    let request = ("POST", "/api/v1/hf/orders/multi", body);
    let ids: Vec<String> = with(request, &scheme(), |raw| {
        let actions = catalog.present(raw).unwrap().decode(Some("pc-7")).unwrap();
        let id = |action: &Action| match action {
            Action::PlaceOrder(order) => order.client_order_id.as_ref().unwrap().to_string(),
            other => panic!("{other:?}"),
        };
        actions.list.iter().map(id).collect()
    });
    assert_eq!(ids, ["pc-7-0", "own"]);
}

fn say(method: Method, target: &str, sent: &str, status: u16, answer: &str) -> Vec<Report> {
    let catalog = Catalog::builtin().unwrap();
    let path = target.split('?').next().unwrap();
    let (at, _) = catalog.find(HOST, method, path).unwrap();
    let asked = Asked {
        target: target.as_bytes(),
        body: sent.as_bytes(),
    };
    catalog.summarize(at, asked, status, answer.as_bytes())
}

const ID: &str = "670fd33bf9406e0007ab3945";
const PLACED: &str =
    r#"{"clientOid":"a-1","side":"buy","symbol":"BTC-USDT","type":"market","size":"1"}"#;

fn data(text: &str) -> String {
    format!(r#"{{"code":"200000","data":{text}}}"#)
}

#[test]
fn what_answers_to_orders_say() {
    let place = |sent: &str, status, answer: &str| {
        say(Method::Post, "/api/v1/hf/orders", sent, status, answer)
    };
    let taken = data(&format!(r#"{{"orderId":"{ID}","clientOid":"a-1"}}"#));
    let [Report::Order(order)] = &place(PLACED, 200, &taken)[..] else {
        panic!()
    };
    assert_eq!(
        (
            order.status,
            order.symbol.as_str(),
            order.order_id.to_string()
        ),
        (OrderStatus::Open, "BTC-USDT", ID.to_owned())
    );
    for (status, answer, expected) in [
        (
            400,
            r#"{"code":"200004","msg":"Balance insufficient!"}"#,
            Report::Refused { code: 200_004 },
        ),
        (
            200,
            r#"{"code":"400100","msg":"x"}"#,
            Report::Refused { code: 400_100 },
        ),
        (
            429,
            r#"{"code":"429000","msg":"x"}"#,
            Report::Refused { code: 429_000 },
        ),
        (403, "<html>", Report::Refused { code: 403 }),
        (200, "<html>", Report::Unreadable),
        (500, r#"{"code":"500000","msg":"x"}"#, Report::Unreadable),
        (200, r#"{"code":"500000","msg":"x"}"#, Report::Unreadable),
        (200, r#"{"code":"408000","msg":"x"}"#, Report::Unreadable),
        (504, r#"{"code":"200000","data":{}}"#, Report::Unreadable),
        (
            200,
            r#"{"code":"200000","data":{"orderId":"vs8hoo8q2ceshiue003b67c0"}}"#,
            Report::Unreadable,
        ),
        (200, r#"{"code":"200000"}"#, Report::Unreadable),
    ] {
        assert_eq!(place(PLACED, status, answer), [expected], "{answer}");
    }
    // Of an answer that waited, what was filled is asked for: the answer does not say what was paid.
    let sync = |text: &str| {
        let said = say(
            Method::Post,
            "/api/v1/hf/orders/sync",
            PLACED,
            200,
            &data(text),
        );
        let [Report::Order(order)] = &said[..] else {
            panic!("{said:?}")
        };
        order.status
    };
    let answer = |status: &str, deal: &str, cancelled: &str| {
        format!(
            r#"{{"orderId":"{ID}","status":"{status}","originSize":"1","dealSize":"{deal}","canceledSize":"{cancelled}"}}"#
        )
    };
    assert_eq!(sync(&answer("open", "0", "0")), OrderStatus::Open);
    assert_eq!(sync(&answer("done", "0", "1")), OrderStatus::Cancelled);
    assert_eq!(sync(&answer("done", "1", "0")), OrderStatus::Unknown);
    assert_eq!(sync(&answer("odd", "0", "0")), OrderStatus::Unknown);
    let sent = r#"{"orderList":[{"symbol":"BTC-USDT","clientOid":"a"},{"symbol":"ETH-USDT","clientOid":"b"}]}"#;
    let answer = data(&format!(
        r#"[{{"orderId":"{ID}","clientOid":"a","success":true}},{{"success":false,"failMsg":"x"}}]"#
    ));
    let multi = |answer: &str| say(Method::Post, "/api/v1/hf/orders/multi", sent, 200, answer);
    let said = multi(&answer);
    assert!(
        matches!(
            &said[..],
            [
                Report::Order(_),
                Report::ActionRefused {
                    position: 1,
                    code: 400_100
                }
            ]
        ),
        "{said:?}"
    );
    assert_eq!(multi(&data("[]")), [Report::Unreadable]);
}

#[test]
fn what_reads_say() {
    let one = |deal: &str, active: bool, cancelled: bool| {
        format!(
            r#"{{"id":"{ID}","clientOid":"a-1","symbol":"BTC-USDT","opType":"DEAL","type":"limit","side":"sell","price":"10","size":"2","funds":"20","dealSize":"{deal}","dealFunds":"5","timeInForce":"GTC","postOnly":false,"tradeType":"TRADE","active":{active},"inOrderBook":{active},"cancelExist":{cancelled},"createdAt":1,"lastUpdatedAt":2}}"#
        )
    };
    let target = format!("/api/v1/hf/orders/{ID}?symbol=BTC-USDT");
    let read = |answer: &str| say(Method::Get, &target, "", 200, answer);
    for (answer, expected) in [
        (one("0.5", true, false), OrderStatus::Open),
        (one("0.5", false, true), OrderStatus::Cancelled),
        (one("2", false, false), OrderStatus::Filled),
    ] {
        let said = read(&data(&answer));
        let [Report::Order(order)] = &said[..] else {
            panic!("{said:?}")
        };
        assert_eq!(order.status, expected);
        assert_eq!(order.executed_quote.unwrap().to_string(), "5");
    }
    for none in [
        data("null"),
        r#"{"code":"400100","msg":"order not exist."}"#.into(),
        r#"{"code":"order_not_exist","msg":"order_not_exist"}"#.into(),
    ] {
        assert_eq!(read(&none), [Report::NoSuchOrder], "{none}");
    }
    let active = "/api/v1/hf/orders/active?symbol=BTC-USDT";
    let whole = |target: &str, answer: &str| {
        let said = say(Method::Get, target, "", 200, answer);
        let whole = said
            .iter()
            .any(|r| matches!(r, Report::OpenOrdersComplete { .. }));
        (said.len(), whole)
    };
    let list = data(&format!("[{}]", one("0", true, false)));
    assert_eq!(whole(active, &list), (2, true));
    assert_eq!(whole(active, &data("null")), (1, true));
    assert_eq!(
        whole(
            &format!("{active}&tradeType=TRADE&status=active"),
            &data("[]")
        ),
        (1, true)
    );
    // Narrowed by something else, or of something that cannot be read.
    assert_eq!(whole(&format!("{active}&side=buy"), &list), (1, false));
    assert_eq!(whole(active, &data("[{}]")), (1, false));
    let fills = data(&format!(
        r#"{{"items":[{{"id":19814995255305,"orderId":"{ID}","tradeId":11029373945659392,"symbol":"BTC-USDT","side":"buy","liquidity":"taker","type":"limit","price":"67717.6","size":"0.00001","funds":"0.677176","fee":"0.000677176","feeCurrency":"USDT","tradeType":"TRADE","createdAt":1729577515473}}],"lastId":1}}"#
    ));
    let said = say(
        Method::Get,
        "/api/v1/hf/fills?symbol=BTC-USDT",
        "",
        200,
        &fills,
    );
    let [Report::Trade(trade)] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!(
        (trade.trade_id.to_string().as_str(), trade.market),
        ("19814995255305", MarketKind::Spot)
    );
    let price = say(
        Method::Get,
        "/api/v1/market/orderbook/level1?symbol=BTC-USDT",
        "",
        200,
        &data(r#"{"time":1,"sequence":"1","price":"67232.9","size":"1"}"#),
    );
    let all = say(
        Method::Get,
        "/api/v1/market/allTickers",
        "",
        200,
        &data(
            r#"{"time":1,"ticker":[{"symbol":"BTC-USDT","last":"67232.9"},{"symbol":"X-USDT","last":null}]}"#,
        ),
    );
    assert!(matches!(&price[..], [Report::Price { .. }]), "{price:?}");
    assert_eq!(price, all);
    let time = say(
        Method::Get,
        "/api/v1/timestamp",
        "",
        200,
        &data("1729260030774"),
    );
    assert_eq!(
        time,
        [Report::VenueTime {
            time_ms: 1_729_260_030_774
        }]
    );
}

/// What the gate asks for itself is decoded like any program's request, and summarized.
#[test]
fn questions_decode() {
    let dialect = dialect::of("kucoin").unwrap();
    let symbol = Symbol::from("BTC-USDT");
    let client = portcullis_model::action::ClientOrderId("pc-1-0".into());
    let order = |order_id, client| Question::Order {
        symbol: &symbol,
        algo: false,
        order_id,
        client,
        done: false,
    };
    for question in [
        Question::Time,
        Question::Prices(&[&symbol]),
        Question::Prices(&[&symbol, &symbol]),
        Question::OpenOrders {
            symbol: &symbol,
            algo: false,
        },
        order(ID.parse().ok(), None),
        order(None, Some(&client)),
    ] {
        let words = dialect.ask(MarketKind::Spot, &question).unwrap();
        let headers = owned(&words.headers);
        let actions = read("GET", &words.target, &headers, "").unwrap();
        let catalog = Catalog::builtin().unwrap();
        let rule = catalog.endpoint(actions.endpoint).unwrap();
        assert!(
            rule.action.is_read() && rule.is_summarized(),
            "{question:?}"
        );
        assert!(dialect.ask(MarketKind::UsdFutures, &question).is_none());
    }
}

#[test]
fn markets_are_listed() {
    let dialect: &dyn Dialect = dialect::of("kucoin").unwrap();
    let [listing] = dialect.listings() else {
        panic!()
    };
    let answer = data(
        r#"[{"symbol":"BTC-USDT","baseCurrency":"BTC","quoteCurrency":"USDT","baseIncrement":"0.00000001","priceIncrement":"0.1","enableTrading":true}]"#,
    );
    let listed = dialect.listed(listing, answer.as_bytes()).unwrap();
    assert_eq!(listed.next, None);
    let [market] = &listed.markets[..] else {
        panic!()
    };
    assert_eq!(
        (
            market.symbol.as_str(),
            market.base.as_str(),
            market.tick.unwrap().to_string()
        ),
        ("BTC-USDT", "BTC", "0.1".to_owned())
    );
    for answer in ["", "{}", r#"{"code":"429000","data":[]}"#] {
        assert!(dialect.listed(listing, answer.as_bytes()).is_err());
    }
}
