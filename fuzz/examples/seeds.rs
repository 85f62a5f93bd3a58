//! Writes the seeds of the corpus: `cargo run -p portcullis-fuzz --example seeds`. Run it again when a format changes;
//! what fuzzers find is added beside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a tool of the developers, which fails by panicking"
)]

use minicbor::Encode;
use minicbor::bytes::ByteVec;
use portcullis_model::entry::{Body, What};
use portcullis_model::id::{EntryId, RequestId, StrategyId, Timestamp};
use portcullis_model::log::segment;
use portcullis_model::report::Sent;
use portcullis_model::wire::{
    AnswerAborted, AnswerChunk, AnswerHead, Close, Credit, Discard, Discarded, Gone, Header, Hello,
    Host, Hosts, Lane, Leave, Outcome, Push, Reply, Request, Send, StreamEnded, Told, Window,
};
use std::fs;
use std::path::PathBuf;

fn seed(target: &str, name: &str, bytes: &[u8]) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")).join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

fn wire<T: Encode<()>>(kind: u8, name: &str, message: &T) {
    let mut bytes = vec![kind];
    minicbor::encode(message, &mut bytes).unwrap();
    seed("wire", name, &bytes);
}

fn captures(folder: &str) -> Vec<serde_json::Value> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors"));
    let text = fs::read(path.join(folder).join("captures.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// A captured request as it was sent, and its body.
fn request(capture: &serde_json::Value) -> (Vec<u8>, Vec<u8>) {
    let text = |name: &str| capture[name].as_str().unwrap_or_default();
    let body = from_base64(text("body_b64"));
    let mut raw = format!("{} {} HTTP/1.1\r\n", text("method"), text("target"));
    for header in capture["headers"].as_array().unwrap() {
        let part = |at: usize| header[at].as_str().unwrap_or_default();
        raw.push_str(&format!("{}: {}\r\n", part(0), part(1)));
    }
    raw.push_str("\r\n");
    ([raw.as_bytes(), &body].concat(), body)
}

fn main() {
    frames();
    // Every third of other venues and of futures, for the gate's reader alone.
    for (folder, target) in [
        ("binance_futures", "futures_request"),
        ("bybit", "bybit_request"),
        ("okx", "okx_request"),
    ] {
        for (at, capture) in captures(folder).iter().enumerate().step_by(3) {
            let (raw, _) = request(capture);
            seed(target, &format!("capture-{at:03}"), &raw);
        }
    }
    answers();
    for (at, capture) in captures("binance").iter().enumerate() {
        let text = |name: &str| capture[name].as_str().unwrap_or_default();
        let (raw, body) = request(capture);
        seed("binance_request", &format!("capture-{at:03}"), &raw);
        seed("strict", &format!("capture-{at:03}"), &raw);
        let line = format!("{} {}\n", text("method"), text("target"));
        seed(
            "exchange",
            &format!("capture-{at:03}"),
            &[line.as_bytes(), &body].concat(),
        );
        if at % 6 == 0 {
            seed("http_request", &format!("capture-{at:03}"), &raw);
        }
    }
    for (name, raw) in [
        (
            "two-lengths",
            &b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"[..],
        ),
        (
            "chunked",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        ),
        ("folded", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
        ("bare-lf", b"GET / HTTP/1.1\nHost: a\n\n"),
        (
            "pipelined",
            b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
    ] {
        seed("http_request", name, raw);
    }
    for (name, raw) in [
        ("length", &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"[..]),
        ("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"),
        ("interim", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"),
        ("to-the-end", b"HTTP/1.0 200 OK\r\n\r\nabc"),
        ("no-body", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ] {
        seed("http_answer", name, raw);
    }
    for (at, body) in [
        r#"{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"a","transactTime":1507725176595,"price":"1.00","origQty":"10.0","executedQty":"10.0","cummulativeQuoteQty":"10.0","status":"FILLED","timeInForce":"GTC","type":"MARKET","side":"SELL","fills":[{"price":"4000.0","qty":"1.0","commission":"4.0","commissionAsset":"USDT","tradeId":56}]}"#,
        r#"[{"symbol":"BNBBTC","id":28457,"orderId":100234,"orderListId":-1,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012","commission":"10.10000000","commissionAsset":"BNB","time":1499865549590,"isBuyer":true,"isMaker":false,"isBestMatch":true}]"#,
        r#"{"code":-2021,"msg":"x","data":{"cancelResult":"SUCCESS","newOrderResult":"FAILURE","cancelResponse":{"symbol":"A","orderId":1},"newOrderResponse":{"code":-2010,"msg":"no"}}}"#,
        r#"{"orderListId":1929,"contingencyType":"OCO","listStatusType":"ALL_DONE","listOrderStatus":"ALL_DONE","listClientOrderId":"l","transactionTime":1585230948299,"symbol":"BTCUSDT","orders":[{"symbol":"BTCUSDT","orderId":20,"clientOrderId":"a"}],"orderReports":[]}"#,
        r#"[{"symbol":"LTCBTC","price":"4.0"},{"symbol":"X","price":"0.0"}]"#,
        r#"{"serverTime":1499827319559}"#,
        r#"{"code":-2013,"msg":"Order does not exist."}"#,
    ]
    .iter()
    .enumerate()
    {
        for endpoint in [0u16, 7, 40, 120] {
            let mut bytes = endpoint.to_be_bytes().to_vec();
            bytes.push(if body.contains("\"code\"") { 2 } else { 0 });
            bytes.extend(b"/api/v3/openOrders?symbol=BTCUSDT\0");
            bytes.extend(body.as_bytes());
            seed("venue_answer", &format!("{at}-{endpoint}"), &bytes);
        }
    }
    channels();
    policies();
    messages();
    log();
    for (name, text) in [
        (
            "vkey",
            "example.com/log+4ea5ee0a+AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g",
        ),
        (
            "note",
            "example.com/log\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} example.com/log TqXuCgAAAAA=\n",
        ),
    ] {
        seed("checkpoint", name, text.as_bytes());
    }
    seed("mandates", "all", MANDATES.as_bytes());
    seed("catalog", "extend", CATALOG.as_bytes());
    for (name, text) in [
        ("status", r#"{"command":"status"}"#),
        (
            "halt",
            r#"{"command":"halt","scope":"Firm","level":"cancel-only","reason":"x"}"#,
        ),
        (
            "issue",
            r#"{"command":"virtual-key-issue","strategy":"a","account":"b","scheme":"HmacSha256","public_key":null,"expires":1,"sources":["127.0.0.1/32"],"canary":false}"#,
        ),
        (
            "release",
            r#"{"command":"release","files":{"mandates.toml":""}}"#,
        ),
        ("done", r#"{"answer":"done","entry":5}"#),
    ] {
        seed("command", name, text.as_bytes());
    }
}

/// Answers of each venue to what was asked of it, and events of streams.
fn answers() {
    let catalog = portcullis_venues::Catalog::builtin().unwrap();
    let method = |text| portcullis_venues::catalog::Method::from_name(text).unwrap();
    let asked = r#"{"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"1","price":"65000","takeProfit":"70000"}"#;
    let batch = format!(r#"{{"category":"linear","request":[{asked}]}}"#);
    for (at, (host, way, path, asked, answer)) in [
        ("api.bybit.com", "POST", "/v5/order/create", asked, r#"{"retCode":0,"retMsg":"OK","result":{"orderId":"c6f055d9-7f21-4079-913d-e6523a9cfffa","orderLinkId":"a"},"time":1790000000123}"#),
        ("api.bybit.com", "POST", "/v5/order/create-batch", &batch, r#"{"retCode":0,"result":{"list":[{"orderId":"c6f055d9-7f21-4079-913d-e6523a9cfffa","orderLinkId":"a"}]},"retExtInfo":{"list":[{"code":0,"msg":"OK"}]},"time":1}"#),
        ("api.bybit.com", "GET", "/v5/order/realtime", "/v5/order/realtime?category=linear&symbol=BTCUSDT", r#"{"retCode":0,"result":{"category":"linear","list":[{"symbol":"BTCUSDT","orderId":"c6f055d9-7f21-4079-913d-e6523a9cfffa","orderLinkId":"a","side":"Buy","orderType":"Limit","orderStatus":"PartiallyFilled","price":"1.5","qty":"2","cumExecQty":"1","cumExecValue":"1.5","updatedTime":"1790000000123"}]}}"#),
        ("api.bybit.com", "GET", "/v5/execution/list", "/v5/execution/list?category=spot", r#"{"retCode":0,"result":{"category":"spot","list":[{"symbol":"BTCUSDT","execId":"1","orderId":"2","side":"Sell","execType":"Trade","execPrice":"1","execQty":"2","execFee":"-0.1","feeCurrency":"BTC","execTime":"3"}]}}"#),
        ("www.okx.com", "POST", "/api/v5/trade/batch-orders", r#"[{"instId":"BTC-USDT-SWAP","tdMode":"cross"}]"#, r#"{"code":"0","data":[{"ordId":"1","clOrdId":"a","sCode":"0","ts":"5"}]}"#),
        ("www.okx.com", "POST", "/api/v5/trade/order", r#"{"instId":"BTC-USDT","tdMode":"cash"}"#, r#"{"code":"1","data":[{"ordId":"","clOrdId":"a","sCode":"51008"}]}"#),
        ("www.okx.com", "GET", "/api/v5/trade/orders-pending", "/api/v5/trade/orders-pending?instId=BTC-USDT", r#"{"code":"0","data":[{"instId":"BTC-USDT","instType":"MARGIN","ordId":"1","clOrdId":"a","side":"buy","ordType":"ioc","px":"1","sz":"2","accFillSz":"1","avgPx":"1","state":"partially_filled","uTime":"3"}]}"#),
        ("www.okx.com", "GET", "/api/v5/trade/fills", "/api/v5/trade/fills", r#"{"code":"0","data":[{"instId":"BTC-USD-SWAP","tradeId":"1","ordId":"2","side":"sell","fillPx":"1","fillSz":"2","fee":"-0.1","feeCcy":"BTC","ts":"3"}]}"#),
        ("fapi.binance.com", "POST", "/fapi/v1/order", "symbol=BTCUSDT", r#"{"orderId":1,"symbol":"BTCUSDT","status":"NEW","clientOrderId":"a","price":"1","avgPrice":"0","origQty":"2","executedQty":"1","cumQuote":"1","side":"BUY","type":"LIMIT","timeInForce":"GTC","updateTime":3}"#),
        ("ws-api.binance.com", "WS", "userDataStream.subscribe", "/ws-api/v3", r#"{"e":"executionReport","E":1,"s":"BTCUSDT","c":"a","S":"BUY","o":"LIMIT","f":"GTC","q":"1","p":"2","x":"TRADE","X":"FILLED","i":4,"l":"1","z":"1","L":"2","n":"0","N":"BNB","T":5,"t":6,"C":"","Z":"2"}"#),
    ]
    .into_iter()
    .enumerate()
    {
        let (endpoint, _) = catalog.find(host, method(way), path).unwrap();
        let mut bytes = endpoint.to_be_bytes().to_vec();
        bytes.push(if path.ends_with("trade/order") { 2 } else { 0 });
        bytes.extend(asked.as_bytes());
        bytes.push(0);
        bytes.extend(answer.as_bytes());
        seed("venue_answer", &format!("answer-{at}"), &bytes);
    }
}

/// What unseal writes, and policy texts: each construct that compiles, and one that does not.
fn policies() {
    for (name, bytes) in [
        ("one", &b"\x00\x05a.age\x00\x00\x00\x03xyz\x00\x00"[..]),
        (
            "two",
            b"\x00\x01a\x00\x00\x00\x01x\x00\x01b\x00\x00\x00\x00\x00\x00",
        ),
        ("cut", b"\x00\x05a.age\x00\x00\x00\x03x"),
        ("long", b"\x00\x01a\xff\xff\xff\xff"),
    ] {
        seed("secrets", name, bytes);
    }
    seed(
        "policy",
        "default",
        portcullis_authority::DEFAULT_POLICY.as_bytes(),
    );
    for (name, text) in [
        (
            "desk",
            r#"@id("desk")
permit (principal is Strategy in Desk::"desk-a", action in Action::"Trade", resource is Account in Venue::"binance")
when { context.value < 1000000 && ["BTCUSDT", "ETHUSDT"].contains(context.market) };
"#,
        ),
        (
            "has",
            r#"@id("out")
permit (principal == Strategy::"mm", action == Action::"Withdraw", resource == Account::"main")
when { context has destination && context.destination == "cold" && context.approvals >= 2 };
"#,
        ),
        (
            "unless",
            r#"@id("all") permit (principal is Strategy, action in Action::"Any", resource is Account);
@id("night") forbid (principal is Strategy, action in [Action::"Trade", Action::"MoveValue"], resource is Account)
unless { context.minuteOfDay > 510 && context.weekday <= 5 };
"#,
        ),
        (
            "source",
            r#"@id("office") permit (principal is Strategy, action in Action::"See", resource is Account)
when { context.source.isInRange(ip("10.0.0.0/8")) || (context.source.isLoopback() && !context.source.isIpv6()) };
"#,
        ),
        (
            "if",
            r#"@id("if") permit (principal is Strategy, action in Action::"Trade", resource is Account)
when { if principal has desk then principal.desk == Desk::"desk-a" else context.reduces }
when { context.market like "BTC*" || !(context has timeInForce) || context.timeInForce != "fok" };
"#,
        ),
        (
            "ahead",
            r#"@id("later") @ahead("it comes") forbid (principal == Strategy::"new", action in Action::"Trade", resource is Account) when { context.borrows == true || [true].contains(context.postOnly) };
"#,
        ),
        (
            "sums",
            r#"@id("sums") forbid (principal is Strategy, action in Action::"Trade", resource is Account) when { context.value + 1 > -5 };
"#,
        ),
    ] {
        seed("policy", name, text.as_bytes());
    }
}

/// The channels between `up` and the rooms, and what `unseal` opens.
fn channels() {
    let settings =
        r#"{"site":"fund","operators":[{"uid":0,"name":"root"}],"listeners":[],"seal":"key-file"}"#;
    for (name, json) in [
        ("start", format!(r#"{{"to":"start","settings":{settings},"fds":[]}}"#)),
        ("link", r#"{"to":"link","peer":"egress","epoch":7}"#.to_owned()),
        ("link-fds", r#"{"to":"link","peer":"ingress","epoch":1,"fds":["from","to"]}"#.to_owned()),
        ("addresses", r#"{"to":"addresses","address":"api.binance.com:443","found":["192.0.2.1:443","[2001:db8::1]:443"]}"#.to_owned()),
        ("secrets", r#"{"to":"secrets"}"#.to_owned()),
        ("metrics", r#"{"to":"metrics","token":9}"#.to_owned()),
        ("stop", r#"{"to":"stop"}"#.to_owned()),
        ("resolve", r#"{"from":"resolve","address":"a:1"}"#.to_owned()),
        ("page", r#"{"from":"metrics","token":9,"text":"a 1\n"}"#.to_owned()),
        ("stopped", r#"{"from":"stopped","ok":false,"why":"x"}"#.to_owned()),
    ] {
        let length = u32::try_from(json.len()).unwrap().to_be_bytes();
        seed("control", &format!("frame-{name}"), &[&length[..], json.as_bytes()].concat());
        seed("control", name, json.as_bytes());
    }
    let identity = std::env::temp_dir().join(format!("portcullis-seeds-{}", std::process::id()));
    fs::write(&identity, portcullis_fuzz::TOY_IDENTITY).unwrap();
    let recipient = portcullis_unseal::seal::credential_recipient(&identity).unwrap();
    fs::remove_file(&identity).unwrap();
    let secret = zeroize::Zeroizing::new(b"a secret".to_vec());
    seed(
        "sealed",
        "one",
        &portcullis_unseal::seal::seal(&secret, &[recipient]).unwrap(),
    );
}

fn messages() {
    let id = RequestId { epoch: 3, seq: 9 };
    let header = || {
        vec![Header {
            name: "x-mbx-apikey",
            value: (&b"k"[..]).into(),
        }]
    };
    let bytes = || (&b"symbol=BTCUSDT"[..]).into();
    let request = Request {
        id,
        connection: 4,
        host: "api.binance.com",
        source: (&[127u8, 0, 0, 1][..]).into(),
        method: "POST",
        target: bytes(),
        headers: header(),
        body: bytes(),
    };
    wire(0, "request", &request);
    let send = Send {
        id,
        entry: Some(EntryId(5)),
        strategy: StrategyId(3),
        account: None,
        lane: Lane::Order,
        host: 0,
        endpoint: 9,
        weight: 1,
        orders: 1,
        not_after_us: 77,
        method: "POST",
        target: bytes(),
        headers: header(),
        body: bytes(),
        summarize: true,
        share: 500,
        stream: false,
        pipe: None,
    };
    wire(1, "send", &send);
    let reply = Reply {
        id,
        status: 400,
        headers: header(),
        body: bytes(),
    };
    wire(2, "reply", &reply);
    let outcome = Outcome {
        id,
        entry: Some(EntryId(5)),
        sent: Sent::Sent,
        status: 200,
        reports: Vec::new(),
        why: Some("x".to_owned()),
        took_us: 5,
        more: false,
    };
    wire(3, "outcome", &outcome);
    let head = AnswerHead {
        id,
        status: 200,
        headers: header(),
        length: Some(14),
        body: bytes(),
        last: true,
    };
    wire(4, "head", &head);
    wire(
        5,
        "chunk",
        &AnswerChunk {
            id,
            body: bytes(),
            last: true,
        },
    );
    let aborted = AnswerAborted {
        id,
        sent: Sent::MaybeSent,
        why: "closed".to_owned(),
    };
    wire(6, "aborted", &aborted);
    let hosts = Hosts {
        hosts: vec![Host {
            venue: "binance".to_owned(),
            name: "api.binance.com".to_owned(),
            address: "127.0.0.1:443".to_owned(),
            pins: vec![ByteVec::from(vec![7; 32])],
            public_roots: true,
            weight_per_minute: 6_000,
            orders_per_10s: 100,
        }],
        roots: vec![ByteVec::from(vec![1, 2])],
    };
    wire(7, "hosts", &hosts);
    let hello = Hello {
        build: ByteVec::from(vec![1, 2, 3]),
        room: "ingress".to_owned(),
        epoch: 3,
    };
    wire(8, "hello", &hello);
    wire(
        9,
        "discard",
        &Discard {
            token: 1,
            entries: vec![EntryId(5)],
        },
    );
    let discarded = Discarded {
        token: 1,
        discarded: vec![EntryId(5)],
        under_way: Vec::new(),
        done: vec![EntryId(6)],
    };
    wire(10, "discarded", &discarded);
    wire(11, "window", &Window { id, bytes: 65_536 });
    wire(
        12,
        "close",
        &Close {
            connections: vec![4, 5],
        },
    );
    wire(
        13,
        "credit",
        &Credit {
            lane: Lane::Order,
            frames: 3,
        },
    );
    wire(14, "gone", &Gone { connection: 7 });
    let told = Told {
        id,
        reports: Vec::new(),
        ended: true,
    };
    wire(16, "told", &told);
    let push = Push {
        id,
        body: (&b"{}"[..]).into(),
        more: true,
    };
    wire(17, "push", &push);
    let why = "venue_closed".to_owned();
    wire(
        18,
        "stream-ended",
        &StreamEnded {
            id,
            why,
            code: Some(1000),
        },
    );
    wire(19, "leave", &Leave { id });
}

/// Frames as programs and venues write them, and the texts of what clients sent.
fn frames() {
    use portcullis_gateway::websocket::{Kind, push, push_close};
    for (name, mask) in [("program", Some([0x37, 0xfa, 0x21, 0x3d])), ("venue", None)] {
        let mut bytes = Vec::new();
        push(&mut bytes, Kind::Text, true, b"{\"id\":1}", mask);
        push(&mut bytes, Kind::Text, false, b"{\"id\":", mask);
        push(&mut bytes, Kind::Ping, true, b"there?", mask);
        push(&mut bytes, Kind::More, true, "\"\u{e9}\"}".as_bytes(), mask);
        push(&mut bytes, Kind::Text, true, &[b' '; 300], mask);
        push_close(&mut bytes, 1000, "bye", mask);
        seed("websocket", name, &bytes);
    }
    let vectors = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../vectors/binance/frames.json"
    );
    let vectors: Vec<serde_json::Value> =
        serde_json::from_slice(&fs::read(vectors).unwrap()).unwrap();
    for (at, vector) in vectors.iter().enumerate() {
        let text = vector["frame"].as_str().unwrap();
        seed("frame", &format!("frame-{at}"), text.as_bytes());
    }
    let public = r#"{"id":null,"method":"exchangeInfo","params":{"symbols":["BTCUSDT"]}}"#;
    seed("frame", "public", public.as_bytes());
    let session = r#"{"id":1,"method":"userDataStream.subscribe"}"#;
    seed("frame", "session", session.as_bytes());
}

fn log() {
    let mut frames = Vec::new();
    for (at, what) in What::ALL.into_iter().enumerate() {
        let mut body = Body::new(what, Timestamp(1_790_000_000_000_000 + at as u64));
        body.public.endpoint = Some("POST /api/v3/order".into());
        body.regulator.strategy = Some(StrategyId(3));
        body.private.source = Some(ByteVec::from(vec![127, 0, 0, 1]));
        let entry = body.to_entry().encode_whole().unwrap();
        seed("log_entry", what.name(), &entry);
        segment::write_frame(&mut frames, EntryId(at as u64), &entry);
    }
    seed("log_segment", "all", &frames);
    seed("log_segment", "torn", &frames[..frames.len() - 7]);
}

const MANDATES: &str = r#"[firm]
order_value = "50000"
price_tolerance = "5%"
price_age = "10s"
message_rate = "50/1s"
reserved_message_rate = "20/1s"
repeat = "20/1s"
turnover_1h = "1000000"
turnover_1d = "5000000"
turnover_7d = "unlimited"
turnover_30d = "unlimited"
open_orders = "200"
position = "250000"
loss = "10000"
venue_weight = "3000"

[firm.markets."BTC*"]
floor = "1000"
ceiling = "500000"
quantity = "5"

[strategy.quoter]
order_value = "2000"
"#;

const CATALOG: &str = r#"venue = "binance"
host = "api.binance.com"

[[endpoint]]
extend = true
method = "POST"
path = "/api/v3/order"
source = "a newer rest-api.md"
[endpoint.fields]
newHint = "token"
"#;

fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for byte in text.bytes().filter(|b| *b != b'=') {
        let value = ALPHABET.iter().position(|b| *b == byte).unwrap();
        bits = bits << 6 | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    out
}
