//! Ten minutes of what a day brings: a mixed load, 30 slow strategies beside it, a neighbour that syncs the same disk.
//! Snapshots fall in by themselves. What is reported is the tail: p99.9 and the slowest answer.

use crate::load::{self, Load, Taken};
use crate::{Options, certificates, gate, remove, start_origin, tempfile};
use serde_json::json;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Strategies beside the measured one.
const SLOW: usize = 30;
const CONNECTIONS: usize = 16;

pub fn run(options: &Options) -> io::Result<()> {
    let seconds = if options.seconds <= 1.0 {
        600.0
    } else {
        options.seconds
    };
    let folder = tempfile()?;
    certificates(&folder)?;
    let me = std::env::current_exe()?;
    let (_origin, port) = start_origin(&me, &folder, None)?;
    let origin = SocketAddr::from(([127, 0, 0, 1], port));
    let (standing, keys) = gate::start_with(&options.bin, &folder, origin, None, 1 + SLOW)?;
    let load = |key: &(String, String), connections: usize, pause_ms: u64| Load {
        address: standing.address,
        roots_pem: None,
        connections,
        seconds,
        warm_seconds: 1.0,
        api_key: key.0.clone(),
        secret: key.1.clone(),
        pause_ms,
        mixed: true,
        frames: 0,
    };
    let ended = Arc::new(AtomicBool::new(false));
    let neighbour = {
        let (ended, file) = (Arc::clone(&ended), folder.join("neighbour"));
        thread::spawn(move || disturb(&file, &ended))
    };
    let slow: Vec<_> = keys
        .iter()
        .skip(1)
        .enumerate()
        .map(|(number, key)| {
            let load = load(key, 1, 200 + 10 * number as u64);
            thread::spawn(move || load::run(&load))
        })
        .collect();
    let fast = keys
        .first()
        .map(|key| load::run(&load(key, CONNECTIONS, 4)))
        .transpose();
    let others: Vec<io::Result<Taken>> = slow
        .into_iter()
        .map(|one| {
            one.join()
                .unwrap_or_else(|_| Err(io::Error::other("a slow strategy's thread ended early")))
        })
        .collect();
    ended.store(true, Ordering::Relaxed);
    let syncs = neighbour.join().unwrap_or(Ok(0))?;
    drop(standing);
    remove(&folder);
    let fast = fast?.unwrap_or_default();
    let mut slow_requests = 0;
    let mut refused = fast.refused;
    for one in others {
        let one = one?;
        slow_requests += one.requests;
        refused += one.refused;
    }
    if refused > 0 {
        return Err(io::Error::other(format!(
            "{refused} requests were refused: {}",
            fast.first_refusal.unwrap_or_default()
        )));
    }
    if options.json {
        let object = json!({
            "seconds": seconds, "requests": fast.requests, "slow_requests": slow_requests, "syncs": syncs,
            "p50_us": fast.p50_us, "p99_us": fast.p99_us, "p999_us": fast.p999_us, "max_us": fast.max_us,
        });
        println!("{object}");
    } else {
        println!(
            "{seconds:.0} s, {CONNECTIONS} connections, {} requests; beside them {slow_requests} of {SLOW} slow strategies, and {syncs} syncs of the disk",
            fast.requests
        );
        println!(
            "p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us, slowest {:.0} us",
            fast.p50_us, fast.p99_us, fast.p999_us, fast.max_us
        );
    }
    Ok(())
}

/// Writes and syncs a megabyte ten times a second on the log's disk, until told to end.
fn disturb(file: &Path, ended: &AtomicBool) -> io::Result<u64> {
    let block = vec![7u8; 1 << 20];
    let mut syncs = 0;
    while !ended.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let mut open = std::fs::File::create(file)?;
        open.write_all(&block)?;
        open.sync_data()?;
        syncs += 1;
        thread::sleep(Duration::from_millis(100).saturating_sub(begun.elapsed()));
    }
    Ok(syncs)
}
