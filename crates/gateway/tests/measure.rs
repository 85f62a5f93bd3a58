//! What the two network rooms cost a request, without the signer's part: a figure for a profile, not a promise. The whole
//! gate's is `bench`'s. Run by hand: `cargo test --release -p portcullis-gateway --test measure -- --ignored --nocapture`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

mod common;

use common::*;
use std::time::{Duration, Instant};

/// Processor time of a process so far, microseconds.
fn cpu_us(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e3
}

#[test]
#[ignore = "takes seconds, and says figures"]
fn cost_of_a_request() {
    // Twenty headers, as a venue sends them.
    let headers: String = (0..18)
        .map(|n| format!("x-header-number-{n}: some value of it\r\n"))
        .collect();
    let answer = answer_with(
        200,
        &format!("x-mbx-used-weight-1m: 5\r\n{headers}"),
        "x".repeat(400).as_bytes(),
    );
    let venue = venue(move |_, _, _| Does::Answers(answer.clone()));
    let gate = Gate::new(&venue.hosts()).pass_on();
    let seconds: u64 = std::env::var("SECONDS_EACH").map_or(3, |s| s.parse().unwrap());
    let body = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=IOC&quantity=0.001&price=65000.1&timestamp=1790000000123&signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let request = format!(
        "POST /api/v3/order HTTP/1.1\r\nHost: api.binance.com\r\nUser-Agent: x\r\nAccept: */*\r\nX-MBX-APIKEY: {}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        "k".repeat(64),
        body.len()
    );
    for connections in [1, 16] {
        let end = Instant::now() + Duration::from_secs(seconds);
        let (ingress, egress) = (cpu_us(gate.ingress.pid()), cpu_us(gate.egress.pid()));
        let workers: Vec<_> = (0..connections)
            .map(|_| {
                let (mut client, request) = (gate.client(), request.clone());
                std::thread::spawn(move || {
                    let mut n = 0u32;
                    while Instant::now() < end {
                        assert_eq!(client.ask(&request).0, 200);
                        n += 1;
                    }
                    n
                })
            })
            .collect();
        let n: u32 = workers.into_iter().map(|w| w.join().unwrap()).sum();
        let each = |pid, before| (cpu_us(pid) - before) / f64::from(n);
        println!(
            "{connections} connections: {} requests, ingress {:.1} us, egress {:.1} us each",
            n,
            each(gate.ingress.pid(), ingress),
            each(gate.egress.pid(), egress)
        );
    }
}
