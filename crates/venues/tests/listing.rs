//! Market facts out of the venues' own lists.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_venues::dialect;
use portcullis_venues::listing::{Listed, Listing};

fn listing(venue: &str, target: &str) -> &'static Listing {
    let listings = dialect::of(venue).unwrap().listings();
    listings
        .iter()
        .find(|l| l.target.starts_with(target))
        .unwrap()
}

fn read(venue: &str, target: &str, answer: &str) -> Result<Listed, String> {
    dialect::of(venue)
        .unwrap()
        .listed(listing(venue, target), answer.as_bytes())
}

fn check(venue: &str, target: &str, answer: &str, expected: &str) {
    let listed = read(venue, target, answer).unwrap();
    assert_eq!(serde_json::to_string(&listed.markets).unwrap(), expected);
}

#[test]
fn binance_spot() {
    check(
        "binance",
        "/api/",
        r#"{"timezone":"UTC","symbols":[
            {"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","isSpotTradingAllowed":true,
             "filters":[{"filterType":"PRICE_FILTER","minPrice":"0.01","tickSize":"0.01000000"},
                        {"filterType":"LOT_SIZE","stepSize":"0.00001000"}]},
            {"symbol":"币安人生USDT","status":"TRADING","baseAsset":"币安人生","quoteAsset":"USDT",
             "filters":[{"filterType":"PRICE_FILTER","tickSize":"0.00000000"}]},
            {"symbol":"OLDUSDT","status":"BREAK","baseAsset":"OLD","quoteAsset":"USDT","filters":[]}]}"#,
        r#"[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT","tick":"0.01","step":"0.00001"},{"symbol":"币安人生USDT","base":"币安人生","quote":"USDT"}]"#,
    );
}

#[test]
fn binance_futures() {
    check(
        "binance",
        "/fapi/",
        r#"{"symbols":[
            {"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","marginAsset":"USDT","contractType":"PERPETUAL",
             "filters":[{"filterType":"PRICE_FILTER","tickSize":"0.10"},{"filterType":"LOT_SIZE","stepSize":"0.001"}]},
            {"symbol":"ODD","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","marginAsset":"BNB","filters":[]},
            {"symbol":"BTCUSDT_230630","status":"SETTLING","baseAsset":"BTC","quoteAsset":"USDT","marginAsset":"USDT","filters":[]}]}"#,
        r#"[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT","kind":"usd_futures","tick":"0.1","step":"0.001"}]"#,
    );
    let coin = r#"{"symbols":[{"symbol":"BTCUSD_PERP","contractStatus":"TRADING","contractSize":100,"baseAsset":"BTC","quoteAsset":"USD",
        "marginAsset":"BTC","filters":[{"filterType":"PRICE_FILTER","tickSize":"0.1"},{"filterType":"LOT_SIZE","stepSize":"1"}]}]}"#;
    check(
        "binance",
        "/dapi/",
        coin,
        r#"[{"symbol":"BTCUSD_PERP","base":"BTC","quote":"USD","kind":"coin_futures","tick":"0.1","step":"1","contract_size":"100","inverse":true}]"#,
    );
    assert!(
        read(
            "binance",
            "/dapi/",
            &coin.replace("\"contractSize\":100,", "")
        )
        .is_err()
    );
}

#[test]
fn bybit_by_category() {
    let page = |category: &str, item: &str, cursor: &str| {
        format!(
            r#"{{"retCode":0,"retMsg":"OK","result":{{"category":"{category}","list":[{item}],"nextPageCursor":"{cursor}"}},"retExtInfo":{{}},"time":1735809771618}}"#
        )
    };
    let path = "/v5/market/instruments-info?category=";
    let linear = r#"{"symbol":"BTCUSDT","contractType":"LinearPerpetual","status":"Trading","baseCoin":"BTC","quoteCoin":"USDT","settleCoin":"USDT",
        "priceFilter":{"minPrice":"0.10","maxPrice":"1999999.80","tickSize":"0.10"},"lotSizeFilter":{"maxOrderQty":"1190.000","qtyStep":"0.001"}}"#;
    check(
        "bybit",
        &format!("{path}linear"),
        &page("linear", linear, ""),
        r#"[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT","kind":"usd_futures","tick":"0.1","step":"0.001"}]"#,
    );
    let odd = linear.replace(r#""settleCoin":"USDT""#, r#""settleCoin":"BTC""#);
    check(
        "bybit",
        &format!("{path}linear"),
        &page("linear", &odd, ""),
        "[]",
    );
    check(
        "bybit",
        &format!("{path}inverse"),
        &page(
            "inverse",
            r#"{"symbol":"BTCUSD","status":"Trading","baseCoin":"BTC","quoteCoin":"USD","settleCoin":"BTC","priceFilter":{"tickSize":"0.50"},"lotSizeFilter":{"qtyStep":"1"}}"#,
            "",
        ),
        r#"[{"symbol":"BTCUSD","base":"BTC","quote":"USD","kind":"coin_futures","tick":"0.5","step":"1","contract_size":"1","inverse":true}]"#,
    );
    check(
        "bybit",
        &format!("{path}spot"),
        &page(
            "spot",
            r#"{"symbol":"BTCUSDT","baseCoin":"BTC","quoteCoin":"USDT","status":"Trading","lotSizeFilter":{"basePrecision":"0.000001","quotePrecision":"0.00000001"},"priceFilter":{"tickSize":"0.01"}}"#,
            "",
        ),
        r#"[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT","tick":"0.01","step":"0.000001"}]"#,
    );
    // A list goes on where its cursor says, and ends with a page of nothing.
    let name = format!("{path}linear");
    let next = |answer: &str| read("bybit", &name, answer).unwrap().next;
    assert_eq!(
        next(&page("linear", linear, "first%3DBIOUSDT%26last%3DBIOUSDT")).unwrap(),
        format!("{path}linear&limit=1000&cursor=first%3DBIOUSDT%26last%3DBIOUSDT")
    );
    assert_eq!(next(&page("linear", "", "first%3DBIOUSDT")), None);
    assert!(read("bybit", &name, &page("inverse", linear, "")).is_err());
}

#[test]
fn okx_by_kind_of_instrument() {
    let answer = |items: &str| format!(r#"{{"code":"0","msg":"","data":[{items}]}}"#);
    let path = "/api/v5/public/instruments?instType=";
    let pair = r#"{"alias":"","baseCcy":"BTC","category":"1","ctMult":"","ctType":"","ctVal":"","ctValCcy":"","instId":"BTC-USDT","instType":"SPOT",
        "lotSz":"0.00000001","minSz":"0.00001","quoteCcy":"USDT","settleCcy":"","state":"live","tickSz":"0.1","uly":""}"#;
    check(
        "okx",
        &format!("{path}SPOT"),
        &answer(&format!(
            "{pair},{}",
            pair.replace(r#""live""#, r#""preopen""#)
        )),
        r#"[{"symbol":"BTC-USDT","base":"BTC","quote":"USDT","tick":"0.1","step":"0.00000001"}]"#,
    );
    let linear = r#"{"baseCcy":"","ctMult":"1","ctType":"linear","ctVal":"0.01","ctValCcy":"BTC","instFamily":"BTC-USDT","instId":"BTC-USDT-SWAP","instType":"SWAP",
        "lotSz":"0.01","minSz":"0.01","quoteCcy":"","settleCcy":"USDT","state":"live","tickSz":"0.1","uly":"BTC-USDT"}"#;
    let inverse = r#"{"ctMult":"1","ctType":"inverse","ctVal":"100","ctValCcy":"USD","instId":"BTC-USD-SWAP","instType":"SWAP","lotSz":"0.1","settleCcy":"BTC","state":"live","tickSz":"0.1"}"#;
    // Announced, with nothing but its name; and settled in dollars of the account, whatever their coin.
    let odd = r#"{"instId":"ETH-USD_UM-SWAP","instType":"SWAP","state":"preopen"},
        {"ctMult":"1","ctType":"linear","ctVal":"0.01","ctValCcy":"BTC","instId":"BTC-USD_UM-SWAP","instType":"SWAP","lotSz":"1","settleCcy":"USD","state":"live","tickSz":"0.1"}"#;
    check(
        "okx",
        &format!("{path}SWAP"),
        &answer(&format!("{linear},{inverse},{odd}")),
        r#"[{"symbol":"BTC-USDT-SWAP","base":"BTC","quote":"USDT","kind":"usd_futures","tick":"0.1","step":"0.01","contract_size":"0.01"},{"symbol":"BTC-USD-SWAP","base":"BTC","quote":"USD","kind":"coin_futures","tick":"0.1","step":"0.1","contract_size":"100","inverse":true}]"#,
    );
    // Contracts of cheap coins are large: their size times one is beyond 128 bits on the way.
    let large = linear
        .replace("BTC", "PEPE")
        .replace(r#""ctVal":"0.01""#, r#""ctVal":"10000000""#);
    check(
        "okx",
        &format!("{path}SWAP"),
        &answer(&large),
        r#"[{"symbol":"PEPE-USDT-SWAP","base":"PEPE","quote":"USDT","kind":"usd_futures","tick":"0.1","step":"0.01","contract_size":"10000000"}]"#,
    );
    let dated = inverse
        .replace("-SWAP", "-261225")
        .replace("SWAP", "FUTURES");
    check(
        "okx",
        &format!("{path}FUTURES"),
        &answer(&dated.replace(r#""ctMult":"1""#, r#""ctMult":"0.1""#)),
        r#"[{"symbol":"BTC-USD-261225","base":"BTC","quote":"USD","kind":"coin_futures","tick":"0.1","step":"0.1","contract_size":"10","inverse":true}]"#,
    );
    // A contract of no size, another kind of instrument, and an answer that is none.
    let swaps = format!("{path}SWAP");
    for bad in [
        linear.replace(r#""ctVal":"0.01""#, r#""ctVal":"""#),
        linear.replace(r#""ctMult":"1""#, r#""ctMult":"0""#),
        pair.to_owned(),
        linear.replace("BTC-USDT-SWAP", "BTC-USDT"),
    ] {
        assert!(read("okx", &swaps, &answer(&bad)).is_err(), "{bad}");
    }
    assert!(read("okx", &swaps, r#"{"code":"50011","msg":"","data":[]}"#).is_err());
}

/// Every list is a public call of the catalog.
#[test]
fn lists_are_public_calls() {
    use portcullis_venues::catalog::{Method, Security};
    let catalog = portcullis_venues::Catalog::builtin().unwrap();
    for dialect in dialect::all() {
        for listing in dialect.listings() {
            let (path, _) = listing
                .target
                .split_once('?')
                .unwrap_or((listing.target, ""));
            let (_, rule) = catalog.find(listing.host, Method::Get, path).unwrap();
            assert_eq!(rule.security, Security::None, "{}", listing.target);
        }
    }
}

#[test]
fn an_answer_that_lies_about_its_form_is_refused() {
    for bad in [
        "",
        "[]",
        r#"{"symbols":[{"symbol":"A B","status":"TRADING","baseAsset":"A","quoteAsset":"B"}]}"#,
        r#"{"symbols":[{"symbol":"AB","status":"TRADING","baseAsset":"","quoteAsset":"B"}]}"#,
        r#"{"symbols":[{"symbol":"AB","status":"TRADING","baseAsset":"A","quoteAsset":"B","filters":[{"filterType":"LOT_SIZE","stepSize":"1e-5"}]}]}"#,
    ] {
        assert!(read("binance", "/api/", bad).is_err(), "{bad}");
        assert!(read("bybit", "/v5/", bad).is_err(), "{bad}");
        assert!(read("okx", "/api/v5/", bad).is_err(), "{bad}");
    }
}

/// What is read is plain text that goes back into a file of ours.
#[test]
fn no_answer_breaks_it() {
    let goods = [
        (
            "binance",
            "/api/",
            r#"{"symbols":[{"symbol":"AB","status":"TRADING","baseAsset":"A","quoteAsset":"B","filters":[{"filterType":"LOT_SIZE","stepSize":"0.1"}]}]}"#,
        ),
        (
            "bybit",
            "/v5/",
            r#"{"result":{"category":"spot","list":[{"symbol":"AB","status":"Trading","baseCoin":"A","quoteCoin":"B","priceFilter":{"tickSize":"0.1"}}],"nextPageCursor":"a%3D"}}"#,
        ),
        (
            "okx",
            "/api/v5/",
            r#"{"code":"0","data":[{"instType":"SPOT","instId":"A-B","baseCcy":"A","quoteCcy":"B","state":"live","tickSz":"0.1"}]}"#,
        ),
    ];
    let mut seed = 1u64;
    for (venue, target, good) in goods {
        assert_eq!(read(venue, target, good).unwrap().markets.len(), 1);
        for _ in 0..10_000 {
            let mut bad = good.as_bytes().to_vec();
            for _ in 0..1 + seed % 4 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (seed >> 33) as usize % bad.len();
                bad[at] = (seed >> 20) as u8;
            }
            let listing = listing(venue, target);
            if let Ok(listed) = dialect::of(venue).unwrap().listed(listing, &bad) {
                let text = serde_json::to_string(&listed.markets).unwrap();
                let again: Vec<portcullis_model::release::Market> =
                    serde_json::from_str(&text).unwrap();
                assert_eq!(again, listed.markets);
            }
        }
    }
}
