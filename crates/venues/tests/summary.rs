//! What the venue's answers say: its documented examples, and what must never be taken for a refusal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_model::report::{OrderReport, OrderStatus, Report};
use portcullis_venues::catalog::Method;
use portcullis_venues::{Asked, Catalog};

fn summarize(call: &str, target: &str, status: u16, body: &str) -> Vec<Report> {
    let venue = Catalog::builtin().unwrap();
    let (method, path) = call.split_once(' ').unwrap();
    let (endpoint, _) = venue
        .find("api.binance.com", Method::from_name(method).unwrap(), path)
        .unwrap();
    let asked = Asked {
        target: target.as_bytes(),
        body: b"",
    };
    venue.summarize(endpoint, asked, status, body.as_bytes())
}

/// One line a report.
fn check(call: &str, status: u16, body: &str, expected: &[&str]) {
    let path = call.split_once(' ').unwrap().1;
    check_target(call, path, status, body, expected);
}

fn check_target(call: &str, target: &str, status: u16, body: &str, expected: &[&str]) {
    let lines: Vec<String> = summarize(call, target, status, body)
        .iter()
        .map(line)
        .collect();
    assert_eq!(lines, expected, "{call} {status} {body}");
}

fn line(report: &Report) -> String {
    match report {
        Report::Order(o) => order(o),
        Report::Trade(t) => format!(
            "trade {} {} of {} {:?} {} @ {} = {} fee {} {} at {}",
            t.symbol,
            t.trade_id,
            t.order_id,
            t.side,
            t.quantity,
            t.price,
            t.quote.unwrap_or_default(),
            t.commission,
            t.commission_asset,
            t.time_ms
        ),
        Report::Refused { code } => format!("refused {code}"),
        Report::NoSuchOrder => "no such order".to_owned(),
        Report::ActionRefused { position, code } => format!("action {position} refused {code}"),
        Report::Price { symbol, price, .. } => format!("price {symbol} {price}"),
        Report::VenueTime { time_ms } => format!("time {time_ms}"),
        Report::OpenOrdersComplete { market, symbol } => {
            format!(
                "open orders complete {market:?} {}",
                symbol.as_ref().map_or("all", |s| s.as_str())
            )
        }
        Report::Unreadable => "unreadable".to_owned(),
    }
}

fn order(o: &OrderReport) -> String {
    let id = o.client_order_id.as_ref().map_or("-", |c| c.as_str());
    let executed = o
        .executed_quantity
        .map_or("-".to_owned(), |q| q.to_string());
    let quote = o.executed_quote.map_or("-".to_owned(), |q| q.to_string());
    let list = o.list_id.map_or(String::new(), |l| format!(" list {l}"));
    let was = o
        .original_client_order_id
        .as_ref()
        .map_or(String::new(), |c| format!(" was {c}"));
    format!(
        "order {} {} {id} {:?} {executed} for {quote}{list}{was}",
        o.symbol, o.order_id, o.status
    )
}

const FULL: &str = r#"{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"6gCrw2kRUAF9CvJDGP16IP","transactTime":1507725176595,
"price":"0.00000000","origQty":"10.00000000","executedQty":"10.00000000","origQuoteOrderQty":"0.000000","cummulativeQuoteQty":"39990.00000000",
"status":"FILLED","timeInForce":"GTC","type":"MARKET","side":"SELL","workingTime":1507725176595,"selfTradePreventionMode":"NONE",
"fills":[{"price":"4000.00000000","qty":"1.00000000","commission":"4.00000000","commissionAsset":"USDT","tradeId":56},
{"price":"3999.00000000","qty":"5.00000000","commission":"19.99500000","commissionAsset":"USDT","tradeId":57}]}"#;

#[test]
fn order_answers_of_each_length() {
    check(
        "POST /api/v3/order",
        200,
        FULL,
        &[
            "order BTCUSDT 28 6gCrw2kRUAF9CvJDGP16IP Filled 10 for 39990",
            "trade BTCUSDT 56 of 28 Sell 1 @ 4000 = 4000 fee 4 USDT at 1507725176595",
            "trade BTCUSDT 57 of 28 Sell 5 @ 3999 = 19995 fee 19.995 USDT at 1507725176595",
        ],
    );
    let ack = r#"{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"a","transactTime":1507725176595}"#;
    check(
        "POST /api/v3/order",
        200,
        ack,
        &["order BTCUSDT 28 a Open - for -"],
    );
    // Microseconds, a symbol written with escapes, a field that nobody knows.
    let answer = r#"{"symbol":"\u5e01\u5b89USDT","orderId":9,"clientOrderId":"a","transactTime":1507725176595123,"status":"NEW","executedQty":"0.00","cummulativeQuoteQty":"0.0","new":{"x":[1]}}"#;
    let reports = summarize("POST /api/v3/order", "/api/v3/order", 200, answer);
    let [Report::Order(o)] = &reports[..] else {
        panic!("{reports:?}")
    };
    assert_eq!(
        (o.symbol.as_str(), o.time_ms, o.status),
        ("币安USDT", Some(1_507_725_176_595), OrderStatus::Open)
    );
}

#[test]
fn every_status_is_what_it_is() {
    for (word, status) in [
        ("NEW", OrderStatus::Open),
        ("PARTIALLY_FILLED", OrderStatus::Open),
        ("PENDING_NEW", OrderStatus::Open),
        ("PENDING_CANCEL", OrderStatus::Open),
        ("FILLED", OrderStatus::Filled),
        ("CANCELED", OrderStatus::Cancelled),
        ("REJECTED", OrderStatus::Rejected),
        ("EXPIRED", OrderStatus::Expired),
        ("EXPIRED_IN_MATCH", OrderStatus::Expired),
        ("filled", OrderStatus::Unknown),
        ("", OrderStatus::Unknown),
        ("SOMETHING_NEW", OrderStatus::Unknown),
    ] {
        let body = format!(r#"{{"symbol":"A","orderId":1,"status":"{word}"}}"#);
        let reports = summarize("GET /api/v3/order", "/api/v3/order", 200, &body);
        let [Report::Order(o)] = &reports[..] else {
            panic!("{reports:?}")
        };
        assert_eq!(o.status, status, "{word}");
    }
}

#[test]
fn cancels_and_lists() {
    let cancel = r#"{"symbol":"LTCBTC","origClientOrderId":"myOrder1","orderId":4,"orderListId":-1,"clientOrderId":"cancelMyOrder1","transactTime":1684804350068,"price":"2.00000000","origQty":"1.00000000","executedQty":"0.50000000","cummulativeQuoteQty":"1.00000000","status":"CANCELED","timeInForce":"GTC","type":"LIMIT","side":"BUY"}"#;
    check(
        "DELETE /api/v3/order",
        200,
        cancel,
        &["order LTCBTC 4 cancelMyOrder1 Cancelled 0.5 for 1 was myOrder1"],
    );
    let list = r#"{"orderListId":1929,"contingencyType":"OCO","listStatusType":"ALL_DONE","listOrderStatus":"ALL_DONE","listClientOrderId":"l","transactionTime":1585230948299,"symbol":"BTCUSDT",
      "orders":[{"symbol":"BTCUSDT","orderId":20,"clientOrderId":"a"},{"symbol":"BTCUSDT","orderId":21,"clientOrderId":"b"}],
      "orderReports":[{"symbol":"BTCUSDT","orderId":20,"orderListId":1929,"clientOrderId":"a","status":"CANCELED","executedQty":"0","cummulativeQuoteQty":"0"},{"symbol":"BTCUSDT","orderId":21,"orderListId":1929,"clientOrderId":"b","status":"CANCELED","executedQty":"1","cummulativeQuoteQty":"2"}]}"#;
    let both = [
        "order BTCUSDT 20 a Cancelled 0 for 0 list 1929",
        "order BTCUSDT 21 b Cancelled 1 for 2 list 1929",
    ];
    check("DELETE /api/v3/orderList", 200, list, &both);
    check("POST /api/v3/orderList/oco", 200, list, &both);
    check(
        "DELETE /api/v3/openOrders",
        200,
        &format!("[{cancel},{list}]"),
        &[
            "order LTCBTC 4 cancelMyOrder1 Cancelled 0.5 for 1 was myOrder1",
            both[0],
            both[1],
        ],
    );
    // A list that is asked for does not say how its orders stand.
    let read = r#"[{"orderListId":7,"listOrderStatus":"EXECUTING","orders":[{"symbol":"BTCUSDT","orderId":20,"clientOrderId":"a"}]}]"#;
    check(
        "GET /api/v3/allOrderList",
        200,
        read,
        &["order BTCUSDT 20 a Unknown - for - list 7"],
    );
}

#[test]
fn open_orders_are_complete_for_what_was_asked() {
    let one = r#"[{"symbol":"BTCUSDT","orderId":1,"orderListId":-1,"clientOrderId":"a","price":"1","origQty":"1","executedQty":"0","cummulativeQuoteQty":"0","status":"NEW","time":1499827319559,"updateTime":1499827319559}]"#;
    check_target(
        "GET /api/v3/openOrders",
        "/api/v3/openOrders?symbol=BTCUSDT&timestamp=1",
        200,
        one,
        &[
            "order BTCUSDT 1 a Open 0 for 0",
            "open orders complete Spot BTCUSDT",
        ],
    );
    check_target(
        "GET /api/v3/openOrders",
        "/api/v3/openOrders?recvWindow=1&timestamp=1",
        200,
        "[]",
        &["open orders complete Spot all"],
    );
    check_target(
        "GET /api/v3/openOrders",
        "/api/v3/openOrders?symbol=%E5%B8%81USDT",
        200,
        "[]",
        &["open orders complete Spot 币USDT"],
    );
    // Cross or isolated, never both: not the whole of margin.
    check_target(
        "GET /sapi/v1/margin/openOrders",
        "/sapi/v1/margin/openOrders",
        200,
        "[]",
        &[],
    );
    // Cut short, or with an order that cannot be read: nothing is complete.
    for body in [
        "[",
        r#"[{"symbol":"BTCUSDT"}]"#,
        "{}",
        "",
        "<html>",
        r#"[{"symbol":"BTCUSDT","orderId":-1}]"#,
    ] {
        check_target(
            "GET /api/v3/openOrders",
            "/api/v3/openOrders",
            200,
            body,
            &["unreadable"],
        );
    }
}

#[test]
fn trades_prices_and_time() {
    let trades = r#"[{"symbol":"BNBBTC","id":28457,"orderId":100234,"orderListId":-1,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012","commission":"10.10000000","commissionAsset":"BNB","time":1499865549590,"isBuyer":true,"isMaker":false,"isBestMatch":true}]"#;
    check(
        "GET /api/v3/myTrades",
        200,
        trades,
        &[
            "trade BNBBTC 28457 of 100234 Buy 12 @ 4.000001 = 48.000012 fee 10.1 BNB at 1499865549590",
        ],
    );
    check(
        "GET /api/v3/ticker/price",
        200,
        r#"{"symbol":"LTCBTC","price":"4.00000200"}"#,
        &["price LTCBTC 4.000002"],
    );
    check(
        "GET /api/v3/ticker/price",
        200,
        r#"[{"symbol":"LTCBTC","price":"4.0"},{"symbol":"X","price":"0.0"},{"symbol":"Y","price":"-1"}]"#,
        &["price LTCBTC 4"],
    );
    check(
        "GET /api/v3/ticker/24hr",
        200,
        r#"{"symbol":"BNBBTC","lastPrice":"4.1","bidPrice":"4.0","count":76}"#,
        &["price BNBBTC 4.1"],
    );
    check(
        "GET /api/v3/time",
        200,
        r#"{"serverTime":1499827319559}"#,
        &["time 1499827319559"],
    );
}

#[test]
fn refusals_are_told_from_what_nobody_knows() {
    let error = |code: i64| format!(r#"{{"code":{code},"msg":"x"}}"#);
    check("POST /api/v3/order", 400, &error(-2010), &["refused -2010"]);
    check("POST /api/v3/order", 401, &error(-2015), &["refused -2015"]);
    check("POST /api/v3/order", 429, &error(-1015), &["refused -1015"]);
    check("POST /api/v3/order", 429, "slow down", &["refused 429"]);
    check("POST /api/v3/order", 418, "", &["refused 418"]);
    check(
        "POST /api/v3/order",
        403,
        "<html>WAF</html>",
        &["refused 403"],
    );
    check("GET /api/v3/order", 400, &error(-2013), &["no such order"]);
    check(
        "DELETE /api/v3/order",
        400,
        &error(-2011),
        &["refused -2011"],
    );
    for code in [-1000, -1001, -1006, -1007] {
        for status in [400, 408, 409, 500, 503, 504] {
            check("POST /api/v3/order", status, &error(code), &["unreadable"]);
        }
    }
    for status in [500, 502, 503, 504] {
        check("POST /api/v3/order", status, &error(-2010), &["unreadable"]);
        check("POST /api/v3/order", status, "", &["unreadable"]);
    }
    for body in [
        "",
        "<html>",
        "{}",
        r#"{"code":0}"#,
        r#"{"code":"-2010"}"#,
        "[]",
    ] {
        check("POST /api/v3/order", 400, body, &["unreadable"]);
    }
    check("POST /api/v3/order", 301, "", &["unreadable"]);
    check("POST /api/v3/order", 200, "{}", &["unreadable"]);
}

#[test]
fn cancel_replace_says_what_became_of_each_half() {
    let call = "POST /api/v3/order/cancelReplace";
    let cancelled = r#"{"symbol":"BTCUSDT","origClientOrderId":"o","orderId":9,"orderListId":-1,"clientOrderId":"c","status":"CANCELED","executedQty":"0","cummulativeQuoteQty":"0"}"#;
    let placed = r#"{"symbol":"BTCUSDT","orderId":10,"orderListId":-1,"clientOrderId":"n","transactTime":1684804350068,"status":"NEW","executedQty":"0","cummulativeQuoteQty":"0"}"#;
    check(
        call,
        200,
        &format!(
            r#"{{"cancelResult":"SUCCESS","newOrderResult":"SUCCESS","cancelResponse":{cancelled},"newOrderResponse":{placed}}}"#
        ),
        &[
            "order BTCUSDT 9 c Cancelled 0 for 0 was o",
            "order BTCUSDT 10 n Open 0 for 0",
        ],
    );
    check(
        call,
        400,
        r#"{"code":-2022,"msg":"x","data":{"cancelResult":"FAILURE","newOrderResult":"NOT_ATTEMPTED","cancelResponse":{"code":-2011,"msg":"Unknown order sent."},"newOrderResponse":null}}"#,
        &["action 0 refused -2011", "action 1 refused -2022"],
    );
    check(
        call,
        409,
        &format!(
            r#"{{"code":-2021,"msg":"x","data":{{"cancelResult":"SUCCESS","newOrderResult":"FAILURE","cancelResponse":{cancelled},"newOrderResponse":{{"code":-2010,"msg":"no"}}}}}}"#
        ),
        &[
            "order BTCUSDT 9 c Cancelled 0 for 0 was o",
            "action 1 refused -2010",
        ],
    );
    check(
        call,
        409,
        &format!(
            r#"{{"code":-2021,"msg":"x","data":{{"cancelResult":"FAILURE","newOrderResult":"SUCCESS","cancelResponse":{{"code":-2011,"msg":"no"}},"newOrderResponse":{placed}}}}}"#
        ),
        &["action 0 refused -2011", "order BTCUSDT 10 n Open 0 for 0"],
    );
    // One half timed out: nothing is said of it.
    check(
        call,
        409,
        &format!(
            r#"{{"code":-2021,"msg":"x","data":{{"cancelResult":"SUCCESS","newOrderResult":"FAILURE","cancelResponse":{cancelled},"newOrderResponse":{{"code":-1007,"msg":"timeout"}}}}}}"#
        ),
        &["order BTCUSDT 9 c Cancelled 0 for 0 was o", "unreadable"],
    );
    check(call, 400, r#"{"code":-1102,"msg":"x"}"#, &["refused -1102"]);
    check(call, 409, r#"{"code":-2021,"msg":"x"}"#, &["unreadable"]);
}

#[test]
fn amend() {
    let body = r#"{"transactTime":1741926410255,"executionId":75,"amendedOrder":{"symbol":"BTCUSDT","orderId":33,"orderListId":-1,"origClientOrderId":"a","clientOrderId":"b","price":"6.00000000","qty":"5.00000000","executedQty":"0.00000000","preventedQty":"0.00000000","quoteOrderQty":"0.00000000","cumulativeQuoteQty":"0.00000000","status":"NEW","timeInForce":"GTC","type":"LIMIT","side":"SELL"}}"#;
    let reports = summarize("PUT /api/v3/order/amend/keepPriority", "/", 200, body);
    let [Report::Order(o)] = &reports[..] else {
        panic!("{reports:?}")
    };
    assert_eq!(
        (
            o.original_quantity.unwrap().to_string(),
            o.time_ms,
            order(o)
        ),
        (
            "5".to_owned(),
            Some(1_741_926_410_255),
            "order BTCUSDT 33 b Open 0 for 0 was a".to_owned()
        )
    );
}

/// The example answers of the venue's documentation, cut at every byte and with every byte changed: no panic, and what is
/// cut never speaks of a whole.
#[test]
fn broken_answers_do_not_panic() {
    for at in 0..FULL.len() {
        let reports = summarize("POST /api/v3/order", "/", 200, &FULL[..at]);
        assert_eq!(reports, [Report::Unreadable], "{at}");
        let mut bytes = FULL.as_bytes().to_vec();
        bytes[at] ^= 0x15;
        let venue = Catalog::builtin().unwrap();
        for (endpoint, _) in venue.endpoints() {
            let _ = venue.summarize(
                endpoint,
                Asked {
                    target: b"/?symbol=%",
                    body: b"",
                },
                200,
                &bytes,
            );
        }
    }
}

#[test]
fn what_no_venue_has_is_not_handed_on() {
    let long = "X".repeat(65);
    check(
        "GET /api/v3/ticker/price",
        200,
        &format!(r#"[{{"symbol":"BTCUSDT","price":"5"}},{{"symbol":"{long}","price":"4"}}]"#),
        &["price BTCUSDT 5", "unreadable"],
    );
}
