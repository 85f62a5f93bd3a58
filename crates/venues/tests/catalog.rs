//! The compiled-in catalog is whole and says of every endpoint what it is; what a site may add, and what it may not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_model::action::ActionKind as A;
use portcullis_model::wire::Header;
use portcullis_venues::Catalog;
use portcullis_venues::RawRequest;
use portcullis_venues::catalog::{Attribute, Meaning, Method, Security};

#[path = "suite/host.rs"]
mod host;

const HEAD: &str = "venue = \"binance\"\nhost = \"api.binance.com\"\n";

#[test]
fn every_known_call_has_its_action() {
    let venue = Catalog::builtin().unwrap_or_else(|e| panic!("{e}"));
    let of = |folder: &str| {
        let path = format!(
            "{}/../../vectors/{folder}/endpoints.txt",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read_to_string(path).unwrap()
    };
    let text = of("binance") + &of("binance_futures") + &of("bybit");
    let kucoin = of("kucoin");
    let elsewhere = kucoin.lines().map(|line| (line, Some("api.kucoin.com")));
    let mut count = 0;
    for (line, host) in text.lines().map(|line| (line, None)).chain(elsewhere) {
        let [class, method, path] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let method = Method::from_name(method).unwrap();
        let (_, endpoint) = venue
            .find(host.unwrap_or_else(|| host::of(path)), method, path)
            .unwrap_or_else(|| panic!("{line} is missing"));
        let fits: &[A] = match class {
            // The class of what no method gives away was read from a name.
            "earn_loan_invest" if path.starts_with("/v5/event/") => &[A::CancelOrder, A::Rfq],
            "earn_loan_invest" if path.starts_with("/v5/broker/award/") => {
                &[A::Read, A::TransferOut]
            }
            "earn_loan_invest" if path.ends_with("create-sub-account") => &[A::Subaccount],
            "account_config" if path.starts_with("/v5/card/") => &[A::Read],
            "account_config" if path.starts_with("/v5/earn/") => &[A::Invest],
            "borrow_repay" if path.starts_with("/v5/crypto-loan") => {
                &[A::Borrow, A::Repay, A::Invest, A::TransferInside, A::Read]
            }
            "cancel_all" if path.starts_with("/v5/rfq/") => &[A::Rfq],
            "subaccount_admin" if path == "/v5/user/agreement" => &[A::Configure],
            "subaccount_transfer" if path.ends_with("save-transfer-sub-member") => &[A::Subaccount],
            "read" if path == "/v5/user/del-submember" => &[A::Subaccount],
            "internal_transfer" if path.ends_with("deposit-to-account") => &[A::Configure],
            "bot_strategy" => &[A::Invest, A::Read],
            // Takes a withdrawal back.
            "withdraw" if path.contains("{withdrawalId}") => &[A::Configure],
            "cancel" if path.ends_with("order/cancel-all") => &[A::CancelAll],
            // Signs an agreement, whatever the method.
            "read" if path == "/fapi/v1/stock/contract" => &[A::Configure],
            "read" => &[A::Read, A::Public],
            "deadman" => &[A::DeadMan, A::Read],
            "block_rfq" => &[A::Rfq],
            "public" => &[A::Public, A::Read],
            "place" => &[A::PlaceOrder],
            "test_order" => &[A::TestOrder],
            "cancel" => &[A::CancelOrder, A::Configure],
            "cancel_all" => &[A::CancelAll],
            "amend" => &[A::AmendOrder, A::PlaceOrder],
            "convert" | "unclassified" => &[A::Convert, A::Read],
            "borrow_repay" => &[A::Borrow, A::Repay, A::Convert, A::Configure],
            "earn_loan_invest" => &[A::Invest, A::Borrow, A::Repay, A::TransferOut, A::Configure],
            "internal_transfer" => &[A::TransferInside, A::Convert],
            "subaccount_transfer" => &[A::TransferOwn, A::TransferOut],
            "withdraw" => &[
                A::Withdraw,
                A::TransferOut,
                A::TransferInside,
                A::TransferOwn,
            ],
            "deposit_address" => &[A::DepositAddress],
            "account_config" => &[A::Configure],
            "subaccount_admin" => &[A::Subaccount, A::Read],
            "key_management" => &[A::ManageKeys],
            "stream" => &[A::Session],
            other => panic!("{other}"),
        };
        assert!(
            fits.contains(&endpoint.action),
            "{line} is {}",
            endpoint.action
        );
        count += 1;
    }
    assert!(count >= 1500, "{count}");
}

#[test]
fn every_endpoint_is_whole() {
    let venue = Catalog::builtin().unwrap();
    let (mut reviewed, mut refused) = (0, 0);
    for (_, e) in venue.endpoints() {
        let name = e.name();
        if e.secret.is_some() || !e.reviewed {
            refused += 1;
            continue;
        }
        reviewed += 1;
        assert!(!e.source.is_empty(), "{name}");
        // What only reads does not write by another name, and no GET changes anything.
        if e.method == Method::Get {
            assert!(e.action.is_read(), "{name}");
        }
        assert_eq!(
            e.security == Security::None,
            e.action == A::Public,
            "{name}"
        );
        // A trade, and value that leaves, say how much of what, where to.
        let fields = || {
            e.fields
                .iter()
                .chain(e.objects.iter().flat_map(|o| &o.fields))
        };
        let has = |meaning: Meaning| fields().any(|f| f.meaning == meaning);
        match e.action {
            A::PlaceOrder | A::TestOrder => {
                assert!(has(Meaning::Symbol) && !e.legs.is_empty(), "{name}");
                // What closes a position there has no id of anybody's.
                let nameless = e.path == "/v5/position/trading-stop";
                for leg in e.legs.iter().filter(|_| !nameless) {
                    let ids =
                        fields().any(|f| f.meaning == Meaning::Order(*leg, Attribute::ClientId));
                    assert!(ids, "{name}: {leg:?} cannot be given a client id");
                }
            }
            A::Withdraw => {
                for meaning in [Meaning::Asset, Meaning::Amount, Meaning::Address] {
                    assert!(
                        e.fields.iter().any(|f| f.meaning == meaning && f.required),
                        "{name}: {meaning:?}"
                    );
                }
                assert!(has(Meaning::Memo) && has(Meaning::Network), "{name}");
            }
            A::TransferOwn => {
                for meaning in [Meaning::Asset, Meaning::Amount] {
                    assert!(
                        e.fields.iter().any(|f| f.meaning == meaning && f.required),
                        "{name}: {meaning:?}"
                    );
                }
            }
            A::CancelOrder | A::AmendOrder => {
                let ids = [Meaning::RefOrderId, Meaning::RefClientId].map(has);
                // A path with an id in it has one of them.
                let named = match e.has_fields_in_path() {
                    true => ids.contains(&true),
                    false => !ids.contains(&false),
                };
                assert!(has(Meaning::Symbol) && named, "{name}");
            }
            _ => {}
        }
    }
    assert!(
        reviewed >= 795 && refused >= 780,
        "{reviewed} reviewed, {refused} refused"
    );
}

fn decode(
    venue: &Catalog,
    method: &str,
    target: &str,
    body: &str,
) -> Result<serde_json::Value, String> {
    let headers: Vec<Header> = [
        ("x-mbx-apikey", "Key"),
        ("content-type", "application/x-www-form-urlencoded"),
    ]
    .iter()
    .map(|(name, value)| Header {
        name,
        value: value.as_bytes().into(),
    })
    .collect();
    let request = RawRequest {
        method,
        host: "api.binance.com",
        target: target.as_bytes(),
        headers: &headers,
        body: body.as_bytes(),
    };
    venue
        .decode(&request)
        .map(|a| serde_json::to_value(a.list).unwrap())
        .map_err(|e| e.code().to_owned())
}

const ORDER: &str =
    "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1&timestamp=1790000000123&signature=00";

#[test]
fn a_site_adds_fields_reviews_and_endpoints() {
    let field = format!(
        "{HEAD}[[endpoint]]\nextend = true\nmethod = \"POST\"\npath = \"/api/v3/order\"\n[endpoint.fields]\nsomedayField = \"words(A|B)\"\n"
    );
    let venue = Catalog::load(portcullis_venues::catalog::FILES, &[("site.toml", &field)]).unwrap();
    let with = |v: &str| format!("{ORDER}&somedayField={v}");
    assert!(decode(&venue, "POST", "/api/v3/order", &with("A")).is_ok());
    assert_eq!(
        decode(&venue, "POST", "/api/v3/order", &with("C")),
        Err("field-value".into())
    );
    assert_eq!(
        decode(
            Catalog::builtin().unwrap(),
            "POST",
            "/api/v3/order",
            &with("A")
        ),
        Err("field-unknown".into())
    );

    let review = format!(
        "{HEAD}[[endpoint]]\nextend = true\nmethod = \"POST\"\npath = \"/sapi/v1/staking/purchase\"\nreviewed = true\nsource = \"our own trial\"\n[endpoint.fields]\nproductId = \"token! > address\"\namount = \"positive! > amount\"\n"
    );
    let venue =
        Catalog::load(portcullis_venues::catalog::FILES, &[("site.toml", &review)]).unwrap();
    let call = "productId=a&amount=5&timestamp=1790000000123&signature=00";
    assert_eq!(
        decode(&venue, "POST", "/sapi/v1/staking/purchase", call).unwrap(),
        serde_json::json!([{"kind": "Invest", "address": "a", "amount": "5"}])
    );
    assert_eq!(
        decode(
            Catalog::builtin().unwrap(),
            "POST",
            "/sapi/v1/staking/purchase",
            call
        ),
        Err("not-reviewed".into())
    );

    let new = format!(
        "{HEAD}[[endpoint]]\nmethod = \"GET\"\npath = \"/sapi/v1/new\"\naction = \"Read\"\nweight = 1\nreviewed = true\nsource = \"x\"\n"
    );
    let venue = Catalog::load(portcullis_venues::catalog::FILES, &[("site.toml", &new)]).unwrap();
    assert!(
        decode(
            &venue,
            "GET",
            "/sapi/v1/new?timestamp=1790000000123&signature=00",
            ""
        )
        .is_ok()
    );
    // Numbers of the compiled-in endpoints stay: rooms with and without the addition mean the same by them.
    for (at, e) in Catalog::builtin().unwrap().endpoints() {
        assert_eq!(venue.endpoint(at).unwrap().name(), e.name());
    }
}

#[test]
fn what_does_not_load() {
    let order = "method = \"POST\"\npath = \"/api/v3/order\"\n";
    let new = "method = \"POST\"\npath = \"/x\"\naction = \"Configure\"\nweight = 1\n";
    for (text, why) in [
        (
            format!("[[endpoint]]\n{order}action = \"Read\"\nweight = 1\n"),
            "named twice",
        ),
        (
            format!("[[endpoint]]\nextend = true\n{order}action = \"Read\"\n"),
            "changes nothing else",
        ),
        (
            format!("[[endpoint]]\nextend = true\n{order}orders = 0\n"),
            "changes nothing else",
        ),
        (
            format!("[[endpoint]]\nextend = true\n{order}[endpoint.fields]\nsymbol = \"text\"\n"),
            "there already",
        ),
        (
            format!(
                "[[endpoint]]\nextend = true\n{order}[endpoint.fields]\nRecvWindow = \"text\"\n"
            ),
            "belongs to the scheme",
        ),
        (
            "[[endpoint]]\nextend = true\nmethod = \"POST\"\npath = \"/y\"\n".into(),
            "not there",
        ),
        (
            format!("[[endpoint]]\n{new}[endpoint.fields]\na = \"nothing\"\n"),
            "no type",
        ),
        (
            format!("[[endpoint]]\n{new}[endpoint.fields]\na = \"text > nothing\"\n"),
            "no meaning",
        ),
        (
            format!("[[endpoint]]\n{new}[endpoint.fields]\na = \"text > amount\"\n"),
            "cannot carry",
        ),
        (
            format!("[[endpoint]]\n{new}reviewed = true\n"),
            "without a source",
        ),
        (
            format!("[[endpoint]]\n{new}security = \"none\"\n"),
            "public",
        ),
        (
            format!("[[endpoint]]\n{new}one_of = [[\"a\"]]\n"),
            "in a group only",
        ),
        (
            format!("[[endpoint]]\n{new}actions = {{ A = \"Read\" }}\n"),
            "go together",
        ),
        (
            format!("[[endpoint]]\n{new}sometimes = true\n"),
            "unknown field",
        ),
        (
            "[[endpoint]]\nmethod = \"PATCH\"\npath = \"/x\"\naction = \"Read\"\nweight = 1\n"
                .into(),
            "unknown method",
        ),
        (
            "[[endpoint]]\nmethod = \"GET\"\npath = \"/x\"\naction = \"Reads\"\nweight = 1\n"
                .into(),
            "no action",
        ),
        (
            "[[endpoint]]\nmethod = \"GET\"\npath = \"/x\"\naction = \"Read\"\n".into(),
            "no weight",
        ),
        ("not toml".into(), "does not load"),
    ] {
        let error = Catalog::load(
            portcullis_venues::catalog::FILES,
            &[("site.toml", &format!("{HEAD}{text}"))],
        )
        .map(|_| ())
        .unwrap_err();
        assert!(
            error.to_string().contains(why) && error.to_string().contains("site.toml"),
            "{error}\nshould say {why}"
        );
    }
}

#[test]
fn fields_stand_in_paths() {
    let of = |path: &str| {
        let found = Catalog::builtin()
            .unwrap()
            .find("api.kucoin.com", Method::Get, path)?;
        Some(found.1.path.clone())
    };
    let orders = "/api/v1/hf/orders";
    let id = "670fd33bf9406e0007ab3945";
    for (path, expected) in [
        (format!("{orders}/{id}"), format!("{orders}/{{orderId}}")),
        // What is written out comes first.
        (format!("{orders}/active"), format!("{orders}/active")),
        (
            format!("{orders}/client-order/a-b_1"),
            format!("{orders}/client-order/{{clientOid}}"),
        ),
    ] {
        assert_eq!(of(&path), Some(expected));
    }
    for path in ["/", "", "/..", "/.", "/%2e%2e", "/a%2Fb", "/a.b", "/a/b"] {
        assert_eq!(of(&format!("{orders}{path}")), None, "{path}");
    }
    // No request is one by the catalog's own way of writing it.
    let catalog = Catalog::builtin().unwrap();
    let target = format!("{orders}/{{orderId}}?symbol=BTC-USDT");
    let request = RawRequest {
        method: "GET",
        host: "api.kucoin.com",
        target: target.as_bytes(),
        headers: &[],
        body: b"",
    };
    assert_eq!(
        catalog.decode(&request).unwrap_err().code(),
        "unknown-endpoint"
    );
    for (fields, why) in [
        ("", "no field `id`, which is in its path"),
        ("[endpoint.fields]\nid = \"token\"\n", "is in the path"),
        ("[endpoint.fields]\nid = \"text!\"\n", "is in the path"),
    ] {
        let text = format!(
            "{HEAD}[[endpoint]]\nmethod = \"GET\"\npath = \"/x/{{id}}\"\naction = \"Read\"\nweight = 1\n{fields}"
        );
        let error = Catalog::load(portcullis_venues::catalog::FILES, &[("site.toml", &text)])
            .map(|_| ())
            .unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn weights_follow_the_fields() {
    let venue = Catalog::builtin().unwrap();
    let weight = |target: &str| {
        let headers: Vec<Header> = vec![Header {
            name: "x-mbx-apikey",
            value: b"Key"[..].into(),
        }];
        let request = RawRequest {
            method: "GET",
            host: "api.binance.com",
            target: target.as_bytes(),
            headers: &headers,
            body: b"",
        };
        venue.decode(&request).unwrap().weight
    };
    let signed = "timestamp=1790000000123&signature=00";
    assert_eq!(
        weight(&format!("/api/v3/openOrders?symbol=BTCUSDT&{signed}")),
        6
    );
    assert_eq!(weight(&format!("/api/v3/openOrders?{signed}")), 80);
    assert_eq!(weight("/api/v3/depth?symbol=BTCUSDT&limit=100"), 5);
    assert_eq!(weight("/api/v3/depth?symbol=BTCUSDT&limit=101"), 25);
    assert_eq!(weight("/api/v3/depth?symbol=BTCUSDT&limit=9999"), 250);
}

/// The figures of Binance's page.
#[test]
fn the_page_of_the_venue_counts_right() {
    let path = format!(
        "{}/../../docs/venues/binance.md",
        env!("CARGO_MANIFEST_DIR")
    );
    let page = std::fs::read_to_string(path).unwrap();
    let venue = Catalog::builtin().unwrap();
    for (host, reviewed) in [
        ("fapi.binance.com", true),
        ("dapi.binance.com", true),
        ("papi.binance.com", false),
        ("eapi.binance.com", false),
    ] {
        let all: Vec<_> = venue
            .endpoints()
            .filter(|(_, e)| venue.service_of(e).unwrap().host == host)
            .collect();
        assert!(
            page.contains(&format!("| `{host}` | {} |", all.len())),
            "{host} has {}",
            all.len()
        );
        assert_eq!(all.iter().any(|(_, e)| e.reviewed), reviewed, "{host}");
    }
}
