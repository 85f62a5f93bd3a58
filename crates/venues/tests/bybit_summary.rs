//! What Bybit's answers say: its documented examples, and what must never be taken for a refusal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_model::report::Report;
use portcullis_venues::catalog::Method;
use portcullis_venues::{Asked, Catalog};

const UUID: &str = "fd4300ae-7847-404e-b947-b46980a4d140";

fn reports(call: &str, asked: &str, status: u16, body: &str) -> Vec<Report> {
    let catalog = Catalog::builtin().unwrap();
    let (method, path) = call.split_once(' ').unwrap();
    let method = Method::from_name(method).unwrap();
    let (endpoint, _) = catalog.find("api.bybit.com", method, path).unwrap();
    let target = format!("{path}?{asked}");
    let asked = match method {
        Method::Get => Asked {
            target: target.as_bytes(),
            body: b"",
        },
        _ => Asked {
            target: path.as_bytes(),
            body: asked.as_bytes(),
        },
    };
    catalog.summarize(endpoint, asked, status, body.as_bytes())
}

/// One line a report.
fn check(call: &str, asked: &str, status: u16, body: &str, expected: &[&str]) {
    let lines: Vec<String> = reports(call, asked, status, body)
        .iter()
        .map(|report| match report {
            Report::Order(o) => {
                let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                format!(
                    "{:?} {} {} {} {:?} {} {} {} of {} @ {} for {}",
                    o.market,
                    o.symbol,
                    o.order_id,
                    text(o.client_order_id.as_ref().map(ToString::to_string)),
                    o.status,
                    text(o.side.map(|side| format!("{side:?}"))),
                    text(o.order_type.map(|ty| format!("{ty:?}"))),
                    text(o.executed_quantity.map(|q| q.to_string())),
                    text(o.original_quantity.map(|q| q.to_string())),
                    text(o.price.map(|p| p.to_string())),
                    text(o.executed_quote.map(|q| q.to_string())),
                )
            }
            Report::Trade(t) => format!(
                "trade {:?} {} {} of {} {:?} {} @ {} for {} fee {} {} at {}",
                t.market,
                t.symbol,
                t.trade_id,
                t.order_id,
                t.side,
                t.quantity,
                t.price,
                t.quote.map_or("-".to_owned(), |q| q.to_string()),
                t.commission,
                t.commission_asset,
                t.time_ms
            ),
            Report::Price {
                symbol,
                price,
                market,
            } => format!("price {market:?} {symbol} {price}"),
            Report::OpenOrdersComplete { market, symbol } => format!(
                "complete {market:?} {}",
                symbol.as_ref().map_or("all", |s| s.as_str())
            ),
            Report::Refused { code } => format!("refused {code}"),
            Report::ActionRefused { position, code } => format!("action {position} refused {code}"),
            Report::VenueTime { time_ms } => format!("time {time_ms}"),
            Report::NoSuchOrder => "no such order".to_owned(),
            Report::Unreadable => "unreadable".to_owned(),
        })
        .collect();
    assert_eq!(lines, expected, "{call} {asked} {status} {body}");
}

fn ok(result: &str) -> String {
    format!(
        r#"{{"retCode":0,"retMsg":"OK","result":{result},"retExtInfo":{{}},"time":1672211918471}}"#
    )
}

fn no(code: i64) -> String {
    format!(
        r#"{{"retCode":{code},"retMsg":"no","result":{{}},"retExtInfo":{{}},"time":1672211918471}}"#
    )
}

const CREATE: &str = "POST /v5/order/create";
const ORDER: &str = r#"{"category":"linear","orderLinkId":"a-1","orderType":"Market","qty":"1","side":"Buy","symbol":"BTCUSDT"}"#;

#[test]
fn an_acknowledgement_gives_the_order_its_id_and_says_nothing_of_fills() {
    let answer = ok(&format!(r#"{{"orderId":"{UUID}","orderLinkId":"a-1"}}"#));
    let line = format!("UsdFutures BTCUSDT {UUID} a-1 Open - - - of - @ - for -");
    check(CREATE, ORDER, 200, &answer, &[&line]);
    let margin = r#"{"category":"spot","isLeverage":1,"symbol":"BTCUSDT"}"#;
    let answer = ok(r#"{"orderId":"1321003749386327552","orderLinkId":""}"#);
    check(
        CREATE,
        margin,
        200,
        &answer,
        &["Margin BTCUSDT 1321003749386327552 - Open - - - of - @ - for -"],
    );
    for call in [
        "POST /v5/order/amend",
        "POST /v5/order/cancel",
        "POST /v5/order/cancel-all",
        "POST /v5/position/trading-stop",
    ] {
        check(call, ORDER, 200, &answer, &[]);
    }
    for answer in [
        ok("{}"),
        ok("null"),
        ok(r#"{"orderId":"x"}"#),
        "{}".to_owned(),
        String::new(),
        "<html>".to_owned(),
    ] {
        check(CREATE, ORDER, 200, &answer, &["unreadable"]);
    }
}

#[test]
fn a_batch_says_of_each_order_what_became_of_it() {
    let item = |symbol: &str, more: &str| {
        format!(r#"{{"orderType":"Market","qty":"1","side":"Buy","symbol":"{symbol}"{more}}}"#)
    };
    let asked = format!(
        r#"{{"category":"linear","request":[{},{},{}]}}"#,
        item("BTCUSDT", r#","stopLoss":"1","takeProfit":"9""#),
        item("ETHUSDT", ""),
        item("XRPUSDT", r#","stopLoss":"1""#)
    );
    let answer = |codes: [i64; 3]| {
        format!(
            r#"{{"retCode":0,"retMsg":"OK","result":{{"list":[
                {{"category":"linear","symbol":"BTCUSDT","orderId":"1","orderLinkId":"a","createAt":"1713434102752"}},
                {{"category":"linear","symbol":"ETHUSDT","orderId":"2","orderLinkId":"b","createAt":"1713434102752"}},
                {{"category":"","symbol":"","orderId":"3","orderLinkId":"","createAt":""}}]}},
              "retExtInfo":{{"list":[{{"code":{},"msg":""}},{{"code":{},"msg":""}},{{"code":{},"msg":""}}]}},"time":1713434102753}}"#,
            codes[0], codes[1], codes[2]
        )
    };
    let call = "POST /v5/order/create-batch";
    check(
        call,
        &asked,
        200,
        &answer([0, 0, 110_007]),
        &[
            "UsdFutures BTCUSDT 1 a Open - - - of - @ - for -",
            "UsdFutures ETHUSDT 2 b Open - - - of - @ - for -",
            "action 4 refused 110007",
            "action 5 refused 110007",
        ],
    );
    // The exits of the first are actions of their own.
    check(
        call,
        &asked,
        200,
        &answer([10_001, 110_007, 0]),
        &[
            "action 0 refused 10001",
            "action 1 refused 10001",
            "action 2 refused 10001",
            "action 3 refused 110007",
            "UsdFutures XRPUSDT 3 - Open - - - of - @ - for -",
        ],
    );
    // What the venue does not know it has not refused.
    check(
        call,
        &asked,
        200,
        &answer([0, 10_016, 170_146]),
        &[
            "UsdFutures BTCUSDT 1 a Open - - - of - @ - for -",
            "unreadable",
        ],
    );
    let short = answer([0, 0, 0]).replace(r#",{"code":0,"msg":""}]"#, "]");
    check(call, &asked, 200, &short, &["unreadable"]);
    let cancels = r#"{"category":"spot","request":[{"symbol":"BTCUSDT","orderId":"1"},{"symbol":"BTCUSDT","orderId":"2"},{"symbol":"BTCUSDT","orderId":"3"}]}"#;
    check(
        "POST /v5/order/cancel-batch",
        cancels,
        200,
        &answer([0, 170_213, 0]),
        &["action 1 refused 170213"],
    );
    check(
        "POST /v5/order/amend-batch",
        cancels,
        200,
        &answer([10_001, 0, 0]),
        &["action 0 refused 10001"],
    );
}

#[test]
fn what_the_venue_does_not_know_is_no_refusal() {
    for code in [110_007, 110_001, 10_001, 10_006, 170_210, -1] {
        let line = format!("refused {code}");
        check(CREATE, ORDER, 200, &no(code), &[&line]);
    }
    for code in [10_000, 10_016, 170_007, 170_146, 170_147, 429, 5004] {
        check(CREATE, ORDER, 200, &no(code), &["unreadable"]);
    }
    for status in [500, 502, 503, 504] {
        check(CREATE, ORDER, status, &no(10_001), &["unreadable"]);
        check(CREATE, ORDER, status, "<html>", &["unreadable"]);
    }
    for status in [400, 401, 403, 404, 429] {
        let line = format!("refused {status}");
        check(CREATE, ORDER, status, "access too frequent", &[&line]);
    }
    check(CREATE, ORDER, 403, &no(0), &["unreadable"]);
    check(CREATE, ORDER, 302, "", &["unreadable"]);
}

const REALTIME: &str = "GET /v5/order/realtime";

fn list(category: &str, items: &[String]) -> String {
    ok(&format!(
        r#"{{"list":[{}],"nextPageCursor":"x","category":"{category}"}}"#,
        items.join(",")
    ))
}

fn item(changes: &[(&str, &str)]) -> String {
    let mut item = serde_json::json!({
        "orderId": UUID, "orderLinkId": "test-000005", "blockTradeId": "", "symbol": "ETHUSDT", "price": "1600.00",
        "qty": "0.10", "side": "Buy", "isLeverage": "", "positionIdx": 1, "orderStatus": "New", "cancelType": "UNKNOWN",
        "rejectReason": "EC_NoError", "avgPrice": "0", "leavesQty": "0.10", "leavesValue": "160", "cumExecQty": "0.00",
        "cumExecValue": "0", "cumExecFee": "0", "timeInForce": "GTC", "orderType": "Limit", "stopOrderType": "UNKNOWN",
        "orderIv": "", "triggerPrice": "0.00", "takeProfit": "2500.00", "stopLoss": "1500.00", "triggerDirection": 0,
        "reduceOnly": false, "smpType": "None", "smpGroup": 0, "createdTime": "1684738540559", "updatedTime": "1684738540561",
        "cumFeeDetail": {"MNT": "0.00242968"},
    });
    for (name, value) in changes {
        item[*name] = (*value).into();
    }
    item.to_string()
}

#[test]
fn orders_are_read_by_category() {
    let line =
        format!("UsdFutures ETHUSDT {UUID} test-000005 Open Buy Limit 0 of 0.1 @ 1600 for 0");
    let asked = "category=linear&symbol=ETHUSDT";
    let answer = list("linear", &[item(&[])]);
    check(
        REALTIME,
        asked,
        200,
        &answer,
        &[&line, "complete UsdFutures ETHUSDT"],
    );
    for (changes, expected) in [
        (
            &[
                ("orderStatus", "PartiallyFilled"),
                ("cumExecQty", "0.04"),
                ("cumExecValue", "64"),
            ][..],
            "Open Buy Limit 0.04 of 0.1 @ 1600 for 64",
        ),
        (
            &[
                ("orderStatus", "Untriggered"),
                ("stopOrderType", "StopLoss"),
            ],
            "Open Buy StopLossLimit 0 of 0.1 @ 1600 for 0",
        ),
        (
            &[
                ("orderStatus", "Triggered"),
                ("stopOrderType", "TakeProfit"),
                ("orderType", "Market"),
            ],
            "Open Buy TakeProfit 0 of 0.1 @ - for 0",
        ),
        (
            &[("stopOrderType", "TrailingStop")],
            "Open Buy TrailingStop 0 of 0.1 @ 1600 for 0",
        ),
        (
            &[("timeInForce", "PostOnly"), ("orderLinkId", "")],
            "Open Buy LimitMaker 0 of 0.1 @ 1600 for 0",
        ),
        (
            &[("orderStatus", "Filled")],
            "Filled Buy Limit 0 of 0.1 @ 1600 for 0",
        ),
        (
            &[("orderStatus", "Cancelled")],
            "Cancelled Buy Limit 0 of 0.1 @ 1600 for 0",
        ),
        (
            &[("orderStatus", "Deactivated")],
            "Cancelled Buy Limit 0 of 0.1 @ 1600 for 0",
        ),
        (
            &[("orderStatus", "Rejected")],
            "Rejected Buy Limit 0 of 0.1 @ 1600 for 0",
        ),
        (
            &[("orderStatus", "SomethingNew")],
            "Unknown Buy Limit 0 of 0.1 @ 1600 for 0",
        ),
        (
            &[("stopOrderType", "SomethingNew")],
            "Open Buy - 0 of 0.1 @ 1600 for 0",
        ),
    ] {
        let id = if changes.iter().any(|(n, _)| *n == "orderLinkId") {
            "-"
        } else {
            "test-000005"
        };
        let line = format!("UsdFutures ETHUSDT {UUID} {id} {expected}");
        check(
            "GET /v5/order/history",
            asked,
            200,
            &list("linear", &[item(changes)]),
            &[&line],
        );
    }
    // On spot a market buy's size may be what it spends, and an order may borrow.
    let spot = |changes: &[(&str, &str)], expected: &str| {
        let line = format!("{expected} for 0");
        let mut all = vec![
            ("orderId", "1321003749386327552"),
            ("orderType", "Market"),
            ("stopOrderType", ""),
        ];
        all.extend(changes);
        check(
            "GET /v5/order/history",
            "category=spot",
            200,
            &list("spot", &[item(&all)]),
            &[&line],
        );
    };
    spot(
        &[("marketUnit", "")],
        "Spot ETHUSDT 1321003749386327552 test-000005 Open Buy Market 0 of - @ -",
    );
    spot(
        &[("marketUnit", "baseCoin")],
        "Spot ETHUSDT 1321003749386327552 test-000005 Open Buy Market 0 of 0.1 @ -",
    );
    spot(
        &[("side", "Sell")],
        "Spot ETHUSDT 1321003749386327552 test-000005 Open Sell Market 0 of 0.1 @ -",
    );
    spot(
        &[("marketUnit", "quoteCoin"), ("side", "Sell")],
        "Spot ETHUSDT 1321003749386327552 test-000005 Open Sell Market 0 of - @ -",
    );
    spot(
        &[("isLeverage", "1"), ("side", "Sell")],
        "Margin ETHUSDT 1321003749386327552 test-000005 Open Sell Market 0 of 0.1 @ -",
    );
    for (name, value) in [
        ("orderId", "x"),
        ("side", ""),
        ("qty", "1e3"),
        ("cumExecQty", "-1"),
    ] {
        let answer = list("linear", &[item(&[(name, value)])]);
        check(REALTIME, asked, 200, &answer, &["unreadable"]);
    }
    check(
        REALTIME,
        asked,
        200,
        &list("metals", &[item(&[])]),
        &["unreadable"],
    );
}

#[test]
fn only_a_whole_list_is_one() {
    let empty = list("linear", &[]);
    check(
        REALTIME,
        "category=linear&symbol=ETHUSDT",
        200,
        &empty,
        &["complete UsdFutures ETHUSDT"],
    );
    check(
        REALTIME,
        "category=linear&openOnly=0&symbol=ETHUSDT&limit=50",
        200,
        &empty,
        &["complete UsdFutures ETHUSDT"],
    );
    check(
        REALTIME,
        "category=spot",
        200,
        &list("spot", &[]),
        &["complete Margin all", "complete Spot all"],
    );
    for part in [
        "category=linear&settleCoin=USDT",
        "category=linear&baseCoin=ETH",
        "category=linear&symbol=ETHUSDT&cursor=x",
        "category=linear&symbol=ETHUSDT&openOnly=1",
        "category=linear&symbol=ETHUSDT&orderId=1",
        "category=linear&symbol=ETHUSDT&orderLinkId=a",
        "category=linear&symbol=ETHUSDT&orderFilter=Order",
        "category=linear&symbol=ETHUSDT&newThing=1",
        "category=linear&symbol=ETHUSDT&limit=0",
        "category=linear",
        "",
    ] {
        check(REALTIME, part, 200, &empty, &[]);
    }
    let full = list("linear", &vec![item(&[]); 20]);
    let lines = reports(REALTIME, "category=linear&symbol=ETHUSDT", 200, &full);
    assert_eq!(lines.len(), 20, "a full page may have another behind it");
}

#[test]
fn fills_prices_and_the_time() {
    let fill = |category: &str, changes: &[(&str, &str)], expected: &[&str]| {
        let mut item = serde_json::json!({
            "symbol": "ETHPERP", "orderType": "Market", "underlyingPrice": "", "orderLinkId": "", "side": "Buy",
            "orderId": "8c065341-7b52-4ca9-ac2c-37e31ac55c94", "stopOrderType": "UNKNOWN", "leavesQty": "0",
            "execTime": "1672282722429", "feeCurrency": "", "isMaker": false, "execFee": "0.071409", "feeRate": "0.0006",
            "execId": "e0cbe81d-0f18-5866-9415-cf319b5dab3b", "markPrice": "1183.54", "execPrice": "1190.15", "orderQty": "0.1",
            "orderPrice": "1236.9", "execValue": "119.015", "execType": "Trade", "execQty": "0.1", "closedSize": "", "seq": 4688002127u64,
        });
        for (name, value) in changes {
            item[*name] = (*value).into();
        }
        let call = "GET /v5/execution/list";
        check(
            call,
            "category=linear",
            200,
            &list(category, &[item.to_string()]),
            expected,
        );
    };
    let ids = "e0cbe81d-0f18-5866-9415-cf319b5dab3b of 8c065341-7b52-4ca9-ac2c-37e31ac55c94 Buy 0.1 @ 1190.15";
    fill(
        "linear",
        &[],
        &[&format!(
            "trade UsdFutures ETHPERP {ids} for 119.015 fee 0.071409 USDC at 1672282722429"
        )],
    );
    fill(
        "linear",
        &[("symbol", "ETHUSDT"), ("execFee", "-0.01")],
        &[&format!(
            "trade UsdFutures ETHUSDT {ids} for 119.015 fee -0.01 USDT at 1672282722429"
        )],
    );
    fill(
        "inverse",
        &[("symbol", "ETHUSDH26"), ("execValue", "0.00008402")],
        &[&format!(
            "trade CoinFutures ETHUSDH26 {ids} for 0.00008402 fee 0.071409 ETH at 1672282722429"
        )],
    );
    fill(
        "option",
        &[("symbol", "BTC-29DEC23-10000-P")],
        &[&format!(
            "trade Option BTC-29DEC23-10000-P {ids} for 119.015 fee 0.071409 USDC at 1672282722429"
        )],
    );
    fill(
        "spot",
        &[
            ("symbol", "BTCUSDT"),
            ("execId", "2290000000068683542"),
            ("orderId", "7"),
            ("feeCurrency", "BTC"),
        ],
        &[
            "trade Spot BTCUSDT 2290000000068683542 of 7 Buy 0.1 @ 1190.15 for 119.015 fee 0.071409 BTC at 1672282722429",
        ],
    );
    fill("linear", &[("execType", "Funding")], &[]);
    for (name, value) in [
        ("execId", ""),
        ("execQty", "x"),
        ("side", "None"),
        ("execTime", ""),
    ] {
        fill("linear", &[(name, value)], &["unreadable"]);
    }

    let call = "GET /v5/market/tickers";
    let ticker =
        r#"{"symbol":"BTCUSD","lastPrice":"120635.50","markPrice":"114898.43"}"#.to_owned();
    check(
        call,
        "category=inverse",
        200,
        &list("inverse", &[ticker]),
        &["price CoinFutures BTCUSD 114898.43"],
    );
    let ticker = r#"{"symbol":"BTCUSDT","lastPrice":"65000.10"}"#.to_owned();
    let none = r#"{"symbol":"XUSDT","lastPrice":"0"}"#.to_owned();
    check(
        call,
        "category=spot",
        200,
        &list("spot", &[ticker, none]),
        &["price Spot BTCUSDT 65000.1"],
    );
    let time = ok(r#"{"timeSecond":"1688639403","timeNano":"1688639403423213947"}"#);
    check(
        "GET /v5/market/time",
        "",
        200,
        &time,
        &["time 1672211918471"],
    );
}
