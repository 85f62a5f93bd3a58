//! Bybit against its vectors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

mod suite;

venue_suite!(bybit);

mod bybit {
    use super::suite::{Sample, Understood};
    use portcullis_model::action::Stamp;
    use portcullis_model::id::Timestamp;
    use portcullis_model::wire::Header;
    use portcullis_venues::{Actions, Catalog, DecodeError, RawRequest, Signature};

    pub fn decode(sample: &Sample) -> Result<Understood, String> {
        let mut headers: Vec<(String, String)> = sample
            .headers
            .iter()
            .map(|[n, v]| (n.clone(), v.clone()))
            .collect();
        let content = [("Content-Type", "application/json")];
        let scheme = [
            (
                "X-BAPI-API-KEY",
                "PcVirtKeyHmac0000000000000000000000000000000000000000000000000001",
            ),
            ("X-BAPI-SIGN", "00"),
            ("X-BAPI-TIMESTAMP", "1790000000123"),
            ("X-BAPI-RECV-WINDOW", "5000"),
        ];
        let scheme = scheme.iter().filter(|_| !sample.bare);
        for (name, value) in content.iter().chain(scheme) {
            if !headers.iter().any(|(n, _)| n == name) {
                headers.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        let code = |e: DecodeError| format!("{}: {e}", e.code());
        let actions = read(&sample.method, &sample.target, &headers, &sample.body).map_err(code)?;
        let stamp = Stamp {
            venue_time_ms: 1_790_000_000_999,
            receive_window_ms: 1000,
            at: Timestamp(0),
        };
        let unsigned = Catalog::builtin()
            .unwrap()
            .prepare(&actions, stamp)
            .unwrap();
        let message = String::from_utf8(unsigned.message("RealKey").to_vec()).unwrap();
        let sent = message
            .strip_prefix("1790000000999RealKey1000")
            .unwrap()
            .to_owned();
        let ready = unsigned.finish("RealKey".into(), &Signature::HmacSha256([7; 32]));
        let headers: Vec<(String, String)> = ready
            .headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), v.clone()))
            .collect();
        assert_eq!(
            sent,
            match ready.target.split_once('?') {
                Some((_, query)) => query,
                None => &ready.body,
            },
            "what is signed is what is sent"
        );
        let again = read(ready.method, &ready.target, &headers, &ready.body)
            .map_err(|e| format!("rebuilt: {e}"))?;
        Ok(Understood {
            actions: serde_json::to_value(&actions.list).unwrap(),
            sent,
            again: serde_json::to_value(&again.list).unwrap(),
        })
    }

    pub fn read(
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &str,
    ) -> Result<Actions, DecodeError> {
        let headers: Vec<Header> = headers
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes().into(),
            })
            .collect();
        Catalog::builtin().unwrap().decode(&RawRequest {
            method,
            host: "api.bybit.com",
            target: target.as_bytes(),
            headers: &headers,
            body: body.as_bytes(),
        })
    }
}

/// Neither host nor anything else of the catalog gives a request to another venue.
#[test]
fn its_hosts_serve_its_own_calls_alone() {
    use portcullis_venues::catalog::Method;
    let catalog = portcullis_venues::Catalog::builtin().unwrap();
    for host in ["api.bybit.com", "api.bytick.com"] {
        assert!(
            catalog
                .find(host, Method::Post, "/v5/order/create")
                .is_some()
        );
        assert!(catalog.find(host, Method::Post, "/api/v3/order").is_none());
    }
    for host in [
        "api.binance.com",
        "api-testnet.bybit.com",
        "bybit.com",
        "API.bybit.com",
        "",
    ] {
        assert!(
            catalog
                .find(host, Method::Post, "/v5/order/create")
                .is_none()
        );
    }
}

/// An order without a client id gets one, each of a batch its own; attached exits have none.
#[test]
fn orders_get_ids_that_they_can_be_asked_for_by() {
    use portcullis_model::action::Action;
    use portcullis_model::wire::Header;
    let ids = |path: &str, body: &str| {
        let headers: Vec<Header> = [
            ("x-bapi-api-key", "Key"),
            ("x-bapi-sign", "00"),
            ("x-bapi-timestamp", "1790000000123"),
            ("content-type", "application/json"),
        ]
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_bytes().into(),
        })
        .collect();
        let raw = portcullis_venues::RawRequest {
            method: "POST",
            host: "api.bybit.com",
            target: path.as_bytes(),
            headers: &headers,
            body: body.as_bytes(),
        };
        let catalog = portcullis_venues::Catalog::builtin().unwrap();
        let actions = catalog.present(&raw).unwrap().decode(Some("pc-7")).unwrap();
        actions
            .list
            .iter()
            .map(|action| match action {
                Action::PlaceOrder(order) => {
                    order.client_order_id.as_ref().map(|id| id.to_string())
                }
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    let id = |text: &str| Some(text.to_owned());
    assert_eq!(
        ids(
            "/v5/order/create",
            r#"{"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Market","qty":"1","stopLoss":"60000"}"#
        ),
        [id("pc-7-0"), None]
    );
    assert_eq!(
        ids(
            "/v5/order/create-batch",
            r#"{"category":"linear","request":[
                {"symbol":"BTCUSDT","side":"Buy","orderType":"Market","qty":"1"},
                {"symbol":"BTCUSDT","side":"Buy","orderType":"Market","qty":"1","orderLinkId":"own"},
                {"symbol":"BTCUSDT","side":"Buy","orderType":"Market","qty":"1"}]}"#
        ),
        [id("pc-7-0"), id("own"), id("pc-7-2")]
    );
}
