//! What a venue's part of one HMAC order costs, by stage: `cargo bench -p portcullis-venues`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark"
)]

use aws_lc_rs::hmac;
use criterion::{Criterion, criterion_group, criterion_main};
use portcullis_model::action::Stamp;
use portcullis_model::id::Timestamp;
use portcullis_model::wire::Header;
use portcullis_venues::RawRequest;
use portcullis_venues::catalog::Method;
use portcullis_venues::{Asked, Catalog, Signature, VerifyKey};
use std::hint::black_box;

const SECRET: &[u8] = b"pcvs-throwaway-not-a-real-secret-0123456789abcdefghijklmnopqrstu";
const ORDER: &str = "timestamp=1790000000123&symbol=BTCUSDT&side=BUY&newClientOrderId=pc-test-1&newOrderRespType=FULL&type=LIMIT&quantity=0.001&price=65000.1&timeInForce=GTC&recvWindow=10000";
const ANSWER: &str = r#"{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"6gCrw2kRUAF9CvJDGP16IP","transactTime":1507725176595,"price":"0.00000000","origQty":"10.00000000","executedQty":"10.00000000","origQuoteOrderQty":"0.000000","cummulativeQuoteQty":"10.00000000","status":"FILLED","timeInForce":"GTC","type":"MARKET","side":"SELL","workingTime":1507725176595,"selfTradePreventionMode":"NONE","fills":[{"price":"4000.00000000","qty":"1.00000000","commission":"4.00000000","commissionAsset":"USDT","tradeId":56}]}"#;

fn stages(c: &mut Criterion) {
    let venue = Catalog::builtin().unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let verify = VerifyKey::hmac(SECRET);
    let sign =
        |message: &[u8]| -> [u8; 32] { hmac::sign(&key, message).as_ref().try_into().unwrap() };
    let hex: String = sign(ORDER.as_bytes())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let body = format!("{ORDER}&signature={hex}");
    let headers: Vec<Header> = [
        ("user-agent", "python-requests/2.34.2"),
        ("accept-encoding", "gzip, deflate"),
        ("accept", "*/*"),
        ("connection", "keep-alive"),
        (
            "x-mbx-apikey",
            "PcVirtKeyHmac0000000000000000000000000000000000000000000000000001",
        ),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-length", "244"),
    ]
    .iter()
    .map(|(name, value)| Header {
        name,
        value: value.as_bytes().into(),
    })
    .collect();
    let raw = RawRequest {
        method: "POST",
        host: "api.binance.com",
        target: b"/api/v3/order",
        headers: &headers,
        body: body.as_bytes(),
    };
    let stamp = Stamp {
        venue_time_ms: 1_790_000_000_999,
        receive_window_ms: 1000,
        at: Timestamp(0),
    };
    let presented = venue.present(&raw).unwrap();
    let actions = presented.decode(None).unwrap();
    c.bench_function("present", |b| {
        b.iter(|| venue.present(black_box(&raw)).unwrap())
    });
    c.bench_function("verify", |b| {
        b.iter(|| presented.verify(black_box(&verify)).unwrap().len())
    });
    c.bench_function("decode", |b| b.iter(|| presented.decode(None).unwrap()));
    c.bench_function("prepare", |b| {
        b.iter(|| venue.prepare(black_box(&actions), stamp).unwrap())
    });
    c.bench_function(
        "whole: present, verify, decode, prepare, sign, finish",
        |b| {
            b.iter(|| {
                let presented = venue.present(black_box(&raw)).unwrap();
                presented.verify(&verify).unwrap();
                let actions = presented.decode(Some("pc-1f3a")).unwrap();
                let unsigned = venue.prepare(&actions, stamp).unwrap();
                let tag = sign(&unsigned.message("RealKey"));
                unsigned.finish("RealKey".into(), &Signature::HmacSha256(tag))
            });
        },
    );
    let (endpoint, _) = venue
        .find("api.binance.com", Method::Post, "/api/v3/order")
        .unwrap();
    c.bench_function("summarize an order answer", |b| {
        b.iter(|| {
            venue.summarize(
                endpoint,
                Asked {
                    target: b"/api/v3/order",
                    body: b"",
                },
                200,
                black_box(ANSWER.as_bytes()),
            )
        });
    });
    c.bench_function("load the catalog", |b| {
        b.iter(|| Catalog::load(portcullis_venues::catalog::FILES, &[]).unwrap())
    });
}

criterion_group!(benches, stages);
criterion_main!(benches);
