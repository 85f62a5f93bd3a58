//! What the answers of USD-M and COIN-M futures say: the venue's documented examples, batches with mixed outcomes, conditional
//! orders and what they become, and what must never be taken for a refusal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_model::report::{OrderReport, Report};
use portcullis_venues::catalog::Method;
use portcullis_venues::{Asked, Catalog};

#[path = "suite/host.rs"]
mod host;

fn summarize(call: &str, status: u16, body: &str) -> Vec<Report> {
    let venue = Catalog::builtin().unwrap();
    let (method, path) = call.split_once(' ').unwrap();
    let (endpoint, _) = venue
        .find(host::of(path), Method::from_name(method).unwrap(), path)
        .unwrap();
    let asked = Asked {
        target: path.as_bytes(),
        body: b"",
    };
    venue.summarize(endpoint, asked, status, body.as_bytes())
}

/// One line a report.
fn check(call: &str, status: u16, body: &str, expected: &[&str]) {
    let lines: Vec<String> = summarize(call, status, body).iter().map(line).collect();
    assert_eq!(lines, expected, "{call} {status} {body}");
}

fn line(report: &Report) -> String {
    match report {
        Report::Order(o) => order(o),
        Report::Trade(t) => format!(
            "trade {:?} {} {} of {} {:?} {} @ {} = {} fee {} {}",
            t.market,
            t.symbol,
            t.trade_id,
            t.order_id,
            t.side,
            t.quantity,
            t.price,
            t.quote.map_or("-".to_owned(), |q| q.to_string()),
            t.commission.0,
            t.commission_asset,
        ),
        Report::Price {
            market,
            symbol,
            price,
        } => format!("price {market:?} {symbol} {price}"),
        Report::ActionRefused { position, code } => format!("action {position} refused {code}"),
        Report::Refused { code } => format!("refused {code}"),
        other => format!("{other:?}"),
    }
}

fn order(o: &OrderReport) -> String {
    let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut line = format!(
        "{:?} {} {} {} {:?} {} {} {} for {}",
        o.market,
        o.symbol,
        o.order_id,
        or(o.client_order_id.as_ref().map(|c| c.to_string())),
        o.status,
        or(o.order_type
            .map(|t| format!("{t:?}"))
            .zip(Some(
                o.time_in_force.map_or(String::new(), |f| format!(" {f:?}"))
            ))
            .map(|(a, b)| a + &b)),
        or(o.original_quantity.map(|q| q.to_string())),
        or(o.executed_quantity.map(|q| q.to_string())),
        or(o.executed_quote.map(|q| q.to_string())),
    );
    if let Some(price) = o.average_price {
        line += &format!(" at {price}");
    }
    if o.algo {
        line += " algo";
    }
    if let Some(became) = o.became {
        line += &format!(" became {became}");
    }
    line
}

const NEW: &str = r#"{"clientOrderId":"testOrder","cumQty":"0","executedQty":"0","orderId":22542179,"origQty":"10","price":"5","reduceOnly":false,"side":"SELL","positionSide":"SHORT","status":"NEW","stopPrice":"0","closePosition":false,"symbol":"BTCUSDT","timeInForce":"GTD","type":"LIMIT","origType":"LIMIT","updateTime":1566818724722,"workingType":"CONTRACT_PRICE","priceProtect":false,"priceMatch":"NONE","selfTradePreventionMode":"NONE","goodTillDate":1693207680000}"#;

#[test]
fn orders() {
    check(
        "POST /fapi/v1/order",
        200,
        NEW,
        &["UsdFutures BTCUSDT 22542179 testOrder Open Limit Gtd 10 0 for -"],
    );
    let filled = NEW
        .replace(
            r#""executedQty":"0""#,
            r#""executedQty":"10","cumQuote":"50.5","cumBase":"10","avgPrice":"5.05000""#,
        )
        .replace("NEW", "FILLED");
    check(
        "GET /fapi/v1/order",
        200,
        &filled,
        &["UsdFutures BTCUSDT 22542179 testOrder Filled Limit Gtd 10 10 for 50.5 at 5.05"],
    );
    // On COIN-M what was paid is in the coin.
    let coin = r#"{"avgPrice":"7000.0","clientOrderId":"abc","cumBase":"0.0143","cumQuote":"100","executedQty":"1","orderId":5,"origQty":"4","price":"0","side":"BUY","status":"PARTIALLY_FILLED","symbol":"BTCUSD_PERP","pair":"BTCUSD","time":1579276756075,"timeInForce":"GTX","type":"LIMIT","updateTime":1579276756076}"#;
    check(
        "GET /dapi/v1/order",
        200,
        coin,
        &["CoinFutures BTCUSD_PERP 5 abc Open LimitMaker 4 1 for 0.0143 at 7000"],
    );
    for status in ["EXPIRED", "EXPIRED_IN_MATCH"] {
        let body = NEW.replace("\"NEW\"", &format!("\"{status}\""));
        let [Report::Order(o)] = &summarize("DELETE /fapi/v1/order", 200, &body)[..] else {
            panic!()
        };
        assert!(o.status.is_final());
    }
    // A word that nobody knows frees nothing.
    let odd = NEW.replace("\"NEW\"", "\"NEW_ADL\"");
    check(
        "POST /fapi/v1/order",
        200,
        &odd,
        &["UsdFutures BTCUSDT 22542179 testOrder Unknown Limit Gtd 10 0 for -"],
    );
    check(
        "GET /fapi/v1/openOrders",
        200,
        &format!("[{NEW}]"),
        &["UsdFutures BTCUSDT 22542179 testOrder Open Limit Gtd 10 0 for -"],
    );
}

#[test]
fn conditional_orders() {
    let algo = |status: &str, became: &str| {
        format!(
            r#"{{"algoId":2146760,"clientAlgoId":"c1","algoType":"CONDITIONAL","orderType":"TAKE_PROFIT","symbol":"BNBUSDT","side":"SELL","positionSide":"BOTH","timeInForce":"GTC","quantity":"0.01","algoStatus":"{status}","actualOrderId":{became},"actualPrice":"0.00000","actualType":"LIMIT","actualQty":"0.01","triggerPrice":"750.000","price":"750.000","icebergQuantity":null,"createTime":1750485492076,"updateTime":1750514545091,"triggerTime":0}}"#
        )
    };
    for (status, became, expected) in [
        ("NEW", "\"\"", "Open"),
        ("TRIGGERING", "\"\"", "Open"),
        ("CANCELED", "\"\"", "Cancelled"),
        ("EXPIRED", "\"\"", "Expired"),
        ("REJECTED", "\"\"", "Rejected"),
        ("FINISHED", "\"\"", "Unknown"),
        ("SOMETHING", "\"\"", "Unknown"),
    ] {
        check(
            "GET /fapi/v1/algoOrder",
            200,
            &algo(status, became),
            &[&format!(
                "UsdFutures BNBUSDT 2146760 c1 {expected} TakeProfitLimit Gtc 0.01 - for - algo"
            )],
        );
    }
    // What it became has the outcome: nothing that is said of it alone ends it.
    for (status, expected) in [
        ("TRIGGERED", "Open"),
        ("FINISHED", "Unknown"),
        ("CANCELED", "Unknown"),
    ] {
        for became in ["\"4321\"", "4321"] {
            check(
                "GET /fapi/v1/algoOrder",
                200,
                &algo(status, became),
                &[&format!(
                    "UsdFutures BNBUSDT 2146760 c1 {expected} TakeProfitLimit Gtc 0.01 - for - algo became 4321"
                )],
            );
        }
    }
    check(
        "GET /dapi/v1/openAlgoOrders",
        200,
        &format!("[{}]", algo("NEW", "0")),
        &["CoinFutures BNBUSDT 2146760 c1 Open TakeProfitLimit Gtc 0.01 - for - algo"],
    );
    check(
        "POST /fapi/v1/algoOrder",
        200,
        r#"{"algoId":1,"clientAlgoId":"c","symbol":"BTCUSDT"}"#,
        &["UsdFutures BTCUSDT 1 c Open - - - for - algo"],
    );
    check(
        "DELETE /fapi/v1/algoOrder",
        200,
        r#"{"algoId":2146760,"clientAlgoId":"c1","code":"200","msg":"success"}"#,
        &[],
    );
    check(
        "GET /fapi/v1/algoOrder",
        200,
        &algo("NEW", "\"x\""),
        &["Unreadable"],
    );
}

#[test]
fn a_batch_has_an_outcome_for_each_of_its_orders() {
    let refused = r#"{"code":-2022,"msg":"ReduceOnly Order is rejected."}"#;
    let line = "UsdFutures BTCUSDT 22542179 testOrder Open Limit Gtd 10 0 for -";
    for call in [
        "POST /fapi/v1/batchOrders",
        "PUT /fapi/v1/batchOrders",
        "DELETE /fapi/v1/batchOrders",
    ] {
        check(
            call,
            200,
            &format!("[{NEW},{refused},{NEW}]"),
            &[line, "action 1 refused -2022", line],
        );
    }
    let call = "POST /dapi/v1/batchOrders";
    check(
        call,
        200,
        &format!("[{refused},{refused}]"),
        &["action 0 refused -2022", "action 1 refused -2022"],
    );
    // The venue itself does not know what became of the second.
    check(
        call,
        200,
        &format!(r#"[{refused},{{"code":-1007,"msg":"timeout"}}]"#),
        &["action 0 refused -2022", "Unreadable"],
    );
    check(call, 200, r#"[{"code":200,"msg":"x"}]"#, &["Unreadable"]);
    check(call, 200, &format!("[{NEW},{{}}]"), &["Unreadable"]);
    check(call, 200, "{}", &["Unreadable"]);
    check(
        call,
        400,
        r#"{"code":-4082,"msg":"Invalid number of batch place orders."}"#,
        &["refused -4082"],
    );
}

#[test]
fn trades_have_their_signs() {
    let trade = |commission: &str, buyer: bool| {
        format!(
            r#"[{{"buyer":{buyer},"commission":"{commission}","commissionAsset":"USDT","id":698759,"maker":false,"orderId":25851813,"price":"7819.01","qty":"0.002","quoteQty":"15.63802","realizedPnl":"-0.91539999","side":"SELL","positionSide":"SHORT","symbol":"BTCUSDT","time":1569514978020}}]"#
        )
    };
    let call = "GET /fapi/v1/userTrades";
    check(
        call,
        200,
        &trade("0.5", false),
        &[
            "trade UsdFutures BTCUSDT 698759 of 25851813 Sell 0.002 @ 7819.01 = 15.63802 fee 500000000000000000 USDT",
        ],
    );
    check(
        call,
        200,
        &trade("-0.5", true),
        &[
            "trade UsdFutures BTCUSDT 698759 of 25851813 Buy 0.002 @ 7819.01 = 15.63802 fee -500000000000000000 USDT",
        ],
    );
    check(call, 200, &trade("--0.5", true), &["Unreadable"]);
    check(
        "GET /dapi/v1/userTrades",
        200,
        r#"[{"symbol":"BTCUSD_200626","id":6,"orderId":28,"pair":"BTCUSD","side":"SELL","price":"8800","qty":"1","realizedPnl":"0","marginAsset":"BTC","baseQty":"0.01136364","quoteQty":"100","commission":"0.00000454","commissionAsset":"BTC","time":1590743483586,"positionSide":"BOTH","buyer":false,"maker":false}]"#,
        &[
            "trade CoinFutures BTCUSD_200626 6 of 28 Sell 1 @ 8800 = 0.01136364 fee 4540000000000 BTC",
        ],
    );
    // A fill below zero is none.
    check(
        call,
        200,
        &trade("0", true).replace("\"0.002\"", "\"-0.002\""),
        &["Unreadable"],
    );
}

#[test]
fn prices_are_mark_prices_of_their_market() {
    let one = r#"{"symbol":"BTCUSDT","markPrice":"11793.63104562","indexPrice":"11781.8","lastFundingRate":"0.0001","time":1562306400000}"#;
    check(
        "GET /fapi/v1/premiumIndex",
        200,
        one,
        &["price UsdFutures BTCUSDT 11793.63104562"],
    );
    check(
        "GET /dapi/v1/premiumIndex",
        200,
        r#"[{"symbol":"BTCUSD_PERP","pair":"BTCUSD","markPrice":"11029.6","indexPrice":"1"},{"symbol":"X","pair":"X","markPrice":"0"}]"#,
        &["price CoinFutures BTCUSD_PERP 11029.6"],
    );
    // The last trade is no reference.
    check(
        "GET /fapi/v1/ticker/price",
        200,
        r#"{"symbol":"BTCUSDT","price":"5","time":1}"#,
        &[],
    );
    check(
        "GET /fapi/v1/time",
        200,
        r#"{"serverTime":1499827319559}"#,
        &["VenueTime { time_ms: 1499827319559 }"],
    );
}

#[test]
fn refusals() {
    let call = "POST /fapi/v1/order";
    for code in [-1000, -1001, -1006, -1007] {
        check(
            call,
            400,
            &format!(r#"{{"code":{code},"msg":"x"}}"#),
            &["Unreadable"],
        );
    }
    check(
        call,
        400,
        r#"{"code":-2019,"msg":"Margin is insufficient."}"#,
        &["refused -2019"],
    );
    check(call, 503, r#"{"code":-1008,"msg":"x"}"#, &["Unreadable"]);
    check(call, 408, "", &["Unreadable"]);
    check(call, 429, "<html>", &["refused 429"]);
    check(
        "GET /fapi/v1/order",
        400,
        r#"{"code":-2013,"msg":"Order does not exist."}"#,
        &["NoSuchOrder"],
    );
    // Said of filled orders too.
    check(
        "GET /fapi/v1/openOrder",
        400,
        r#"{"code":-2013,"msg":"Order does not exist."}"#,
        &["refused -2013"],
    );
    // Codes of success in words, and answers that say nothing of orders.
    check(
        "DELETE /fapi/v1/allOpenOrders",
        200,
        r#"{"code":200,"msg":"done"}"#,
        &[],
    );
    check(
        "POST /fapi/v1/leverage",
        200,
        r#"{"leverage":21,"maxNotionalValue":"1000000","symbol":"BTCUSDT"}"#,
        &[],
    );
}

/// Cut at every byte and with every byte changed: no panic, and what is cut never speaks of a whole.
#[test]
fn broken_answers_do_not_panic() {
    let venue = Catalog::builtin().unwrap();
    let futures: Vec<u16> = ["fapi.binance.com", "dapi.binance.com"]
        .iter()
        .flat_map(|host| {
            let served = venue.service(host).unwrap();
            venue
                .endpoints()
                .filter(|(_, e)| venue.service_of(e).unwrap().host == served.host)
                .map(|(at, _)| at)
        })
        .collect();
    let batch = format!("[{NEW}]");
    for at in 0..batch.len() {
        assert_eq!(
            summarize("POST /fapi/v1/batchOrders", 200, &batch[..at]),
            [Report::Unreadable]
        );
        let mut bytes = batch.as_bytes().to_vec();
        bytes[at] ^= 0x15;
        for endpoint in &futures {
            let _ = venue.summarize(*endpoint, Asked::default(), 200, &bytes);
        }
    }
}
