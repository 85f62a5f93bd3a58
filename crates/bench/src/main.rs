//! Measures the gate beside a plain pass-through (nginx by REST, a relay of bytes by WebSocket) and beside nothing, in one
//! run, on the same cores, with TLS to the same origin and kept-alive connections. `portcullis bench` runs it. Figures are
//! medians over interleaved rounds; ratios are taken within one round.

mod firm;
mod gate;
mod load;
mod nginx;
mod origin;
mod relay;
mod soak;
mod table;

use load::{Load, Taken};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How programs speak, on how many connections, and how many requests each has in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    way: Way,
    connections: usize,
    in_flight: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    Rest,
    Websocket,
}

impl Shape {
    const fn new(way: Way, connections: usize, in_flight: usize) -> Self {
        Self {
            way,
            connections,
            in_flight,
        }
    }

    /// As the table and the object name it.
    pub fn name(self) -> String {
        match self.in_flight {
            1 => self.connections.to_string(),
            n => format!("{}x{n}", self.connections),
        }
    }
}

/// What is measured. By WebSocket also one program with all in flight on its one connection.
const SHAPES: [Shape; 7] = [
    Shape::new(Way::Rest, 1, 1),
    Shape::new(Way::Rest, 16, 1),
    Shape::new(Way::Rest, 64, 1),
    Shape::new(Way::Websocket, 1, 1),
    Shape::new(Way::Websocket, 16, 1),
    Shape::new(Way::Websocket, 64, 1),
    Shape::new(Way::Websocket, 1, 64),
];
const WARM_SECONDS: f64 = 0.3;

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some("origin") => serve_origin(&args),
        Some("relay") => serve_relay(&args),
        Some("load") => run_load(),
        Some("soak") => Options::read(&args[1..]).and_then(|options| soak::run(&options)),
        Some("firm-day") => match Options::read(&args[1..]).and_then(|options| firm::run(&options))
        {
            Ok(true) => Ok(()),
            Ok(false) => return std::process::ExitCode::FAILURE,
            Err(error) => Err(error),
        },
        _ => Options::read(&args).and_then(|options| compare(&options)),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::from(2)
        }
    }
}

struct Options {
    rounds: usize,
    seconds: f64,
    json: bool,
    pinned_only: bool,
    /// The cells that are measured.
    shapes: Vec<Shape>,
    /// The one target that is measured.
    only: Option<Target>,
    core: usize,
    bin: PathBuf,
}

const USAGE: &str = "portcullis-bench [soak | firm-day] [--rounds N] [--seconds S] [--core N] [--pinned-only] [--way WAY] [--connections N] [--only TARGET] [--bin DIR] [--json]
  --rounds       interleaved rounds, medians are taken over them (5)
  --seconds      length of one cell (1.0); 42 cells and warm-up make a round. Of soak and firm-day: of the whole (600)
  --minutes      the same in minutes
  --core         the core that everything is pinned to in the pinned part (0)
  --pinned-only  leaves out the part in which the kernel places the programs
  --way          one way alone: rest or websocket
  --connections  the cells with so many connections alone, for a profile
  --only         one target alone: direct, nginx, relay or gate
  --bin          folder of the portcullis programs (beside this one)
  soak           mixed load for --seconds, with 30 slow strategies and a neighbour that syncs the disk
  firm-day       3 fast strategies by WebSocket and 30 slow ones by REST at three simulated venues for --seconds of real
                 time; exits 1 if something was refused that should pass, a share was not kept or a room's memory grew";

impl Options {
    fn read(args: &[String]) -> io::Result<Self> {
        let beside = std::env::current_exe()?
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default();
        let mut options = Self {
            rounds: 5,
            seconds: 1.0,
            json: false,
            pinned_only: false,
            shapes: SHAPES.to_vec(),
            only: None,
            core: 0,
            bin: beside,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || {
                args.next()
                    .ok_or_else(|| io::Error::other(format!("{arg} wants a value\n{USAGE}")))
            };
            match arg.as_str() {
                "--rounds" => options.rounds = parse(value()?)?,
                "--seconds" => options.seconds = parse(value()?)?,
                "--minutes" => options.seconds = 60.0 * parse::<f64>(value()?)?,
                "--connections" => {
                    let wanted: usize = parse(value()?)?;
                    options.shapes.retain(|shape| shape.connections == wanted);
                }
                "--way" => {
                    let wanted: Way = word(value()?)?;
                    options.shapes.retain(|shape| shape.way == wanted);
                }
                "--only" => options.only = Some(word(value()?)?),
                "--core" => options.core = parse(value()?)?,
                "--bin" => options.bin = value()?.into(),
                "--json" => options.json = true,
                "--pinned-only" => options.pinned_only = true,
                _ => {
                    return Err(io::Error::other(format!(
                        "unknown argument `{arg}`\n{USAGE}"
                    )));
                }
            }
        }
        if options.rounds == 0 || options.rounds > 50 || !(0.1..=3600.0).contains(&options.seconds)
        {
            return Err(io::Error::other("rounds are 1 to 50, seconds 0.1 to 3600"));
        }
        Ok(options)
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse()
        .map_err(|_| io::Error::other(format!("`{text}` is not a number\n{USAGE}")))
}

/// One of the words that an option takes.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> io::Result<T> {
    serde_json::from_value(serde_json::Value::from(text))
        .map_err(|why| io::Error::other(format!("{why}\n{USAGE}")))
}

/// A client's TLS settings that trust one CA.
fn tls_client(roots_pem: &str) -> io::Result<Arc<rustls::ClientConfig>> {
    use rustls_pki_types::pem::PemObject;
    let roots = rustls_pki_types::CertificateDer::pem_slice_iter(roots_pem.as_bytes())
        .map(|der| der.map(|der| minicbor::bytes::ByteVec::from(der.to_vec())))
        .collect::<Result<Vec<_>, _>>()
        .map_err(io::Error::other)?;
    let host = portcullis_model::wire::Host {
        venue: "binance".to_owned(),
        name: "api.binance.com".to_owned(),
        address: String::new(),
        pins: Vec::new(),
        public_roots: false,
        weight_per_minute: 0,
        orders_per_10s: 0,
    };
    let roots: Vec<Vec<u8>> = roots.into_iter().map(|root| root.to_vec()).collect();
    portcullis_gateway::tls::client(&host, &roots).map_err(io::Error::other)
}

fn serve_origin(args: &[String]) -> io::Result<()> {
    let folder = args
        .get(1)
        .ok_or_else(|| io::Error::other("origin wants a folder"))?;
    let read = |name: &str| std::fs::read_to_string(Path::new(folder).join(name));
    origin::serve(
        &read("chain.pem")?,
        &read("key.pem")?,
        &mut io::stdout().lock(),
    )
}

fn serve_relay(args: &[String]) -> io::Result<()> {
    let [_, folder, origin] = args else {
        return Err(io::Error::other("relay wants a folder and an origin"));
    };
    let roots = std::fs::read_to_string(Path::new(folder).join("ca.pem"))?;
    relay::serve(&roots, parse(origin)?, &mut io::stdout().lock())
}

fn run_load() -> io::Result<()> {
    let load: Load = serde_json::from_reader(io::stdin().lock())?;
    let taken = load::run(&load)?;
    println!("{}", serde_json::to_string(&taken)?);
    Ok(())
}

/// A process of ours that ends with this value.
pub struct Owned(Child);

/// A process that is asked to end has so long; nginx ends its workers then, which would outlive a master that is killed.
const END: Duration = Duration::from_secs(5);

impl Drop for Owned {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < END {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// On `cores` (a taskset list), or anywhere.
fn on(cores: Option<&str>, program: &Path) -> Command {
    match cores {
        None => Command::new(program),
        Some(cores) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(cores).arg(program);
            command
        }
    }
}

/// Processor time of these processes and their threads so far, microseconds (`utime + stime` of `/proc/PID/stat`).
fn cpu_us(pids: &[u32]) -> f64 {
    let ticks: u64 = pids
        .iter()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok())
        .filter_map(|stat| {
            let rest = stat.rsplit_once(')')?.1.to_owned();
            let mut fields = rest.split_whitespace().skip(11);
            Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
        })
        .sum();
    // USER_HZ is 100 on Linux for every program outside the kernel.
    ticks as f64 * 10_000.0
}

/// A program's name, as the kernel cuts it.
fn program_name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// One measured cell.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    pub rps: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub cpu_us: f64,
    /// The same for each program of the target.
    pub by_program: BTreeMap<String, f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Direct,
    Nginx,
    Relay,
    Gate,
}

impl Target {
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Relay => "relay",
            Self::Gate => "gate",
        }
    }

    /// nginx is measured by REST alone, the relay by WebSocket alone.
    fn speaks(self, way: Way) -> bool {
        match self {
            Self::Direct | Self::Gate => true,
            Self::Nginx => way == Way::Rest,
            Self::Relay => way == Way::Websocket,
        }
    }
}

/// Rounds of cells.
pub type Cells = BTreeMap<(Target, Shape), Vec<Cell>>;

/// What stands before the origin.
struct Standing {
    target: Target,
    address: SocketAddr,
    pids: Vec<u32>,
    api_key: String,
    secret: String,
    _owned: Vec<Owned>,
}

fn compare(options: &Options) -> io::Result<()> {
    let folder = tempfile()?;
    let ca = certificates(&folder)?;
    let pinned = measure(options, &folder, &ca, Some(&options.core.to_string()))?;
    let free = match options.pinned_only {
        true => None,
        false => Some(measure(options, &folder, &ca, None)?),
    };
    remove(&folder);
    let report = table::Report::new(options.rounds, options.seconds, &pinned, free.as_ref());
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", report.text());
    }
    Ok(())
}

fn tempfile() -> io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("portcullis-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The rooms of the gate end on their own once `up` is gone, and write until then: a few tries.
fn remove(folder: &Path) {
    for _ in 0..50 {
        if std::fs::remove_dir_all(folder).is_ok() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// A CA and a certificate for the origin; gives the CA.
fn certificates(folder: &Path) -> io::Result<String> {
    let fail = |e: rcgen::Error| io::Error::other(e.to_string());
    let ca_key = rcgen::KeyPair::generate().map_err(fail)?;
    let mut ca = rcgen::CertificateParams::new(Vec::new()).map_err(fail)?;
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(rcgen::DnType::CommonName, "portcullis bench");
    let ca_cert = ca.self_signed(&ca_key).map_err(fail)?;
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().map_err(fail)?;
    let leaf = rcgen::CertificateParams::new(
        ["api.binance.com", "ws-api.binance.com", "localhost"].map(str::to_owned),
    )
    .map_err(fail)?;
    let leaf = leaf.signed_by(&key, &issuer).map_err(fail)?;
    std::fs::write(folder.join("chain.pem"), leaf.pem())?;
    std::fs::write(folder.join("key.pem"), key.serialize_pem())?;
    std::fs::write(folder.join("ca.pem"), ca_cert.pem())?;
    Ok(ca_cert.pem())
}

fn measure(options: &Options, folder: &Path, ca: &str, cores: Option<&str>) -> io::Result<Cells> {
    let me = std::env::current_exe()?;
    let (origin, port) = start_origin(&me, folder, cores)?;
    let origin_address = SocketAddr::from(([127, 0, 0, 1], port));
    let direct = Standing {
        target: Target::Direct,
        address: origin_address,
        pids: Vec::new(),
        api_key: "k".repeat(64),
        secret: "s".repeat(64),
        _owned: vec![origin],
    };
    let standing = [
        direct,
        nginx::start(folder, origin_address, cores)?,
        relay::start(&me, folder, origin_address, cores)?,
        gate::start(&options.bin, folder, origin_address, cores)?,
    ];
    let mut cells = Cells::new();
    for round in 0..options.rounds {
        for shape in options.shapes.iter().copied() {
            for turn in 0..standing.len() {
                // Another order in each round, so that none is always behind the same neighbour.
                let Some(one) = standing
                    .get((turn + round) % standing.len())
                    .filter(|one| options.only.is_none_or(|only| only == one.target))
                    .filter(|one| one.target.speaks(shape.way))
                else {
                    continue;
                };
                let cell = cell(&me, one, shape, options.seconds, ca, cores)?;
                cells.entry((one.target, shape)).or_default().push(cell);
            }
        }
        eprint!(
            "\r{} round {}/{}   ",
            if cores.is_some() { "pinned" } else { "free" },
            round + 1,
            options.rounds
        );
    }
    eprintln!();
    Ok(cells)
}

fn cell(
    me: &Path,
    one: &Standing,
    shape: Shape,
    seconds: f64,
    ca: &str,
    cores: Option<&str>,
) -> io::Result<Cell> {
    let load = Load {
        address: one.address,
        roots_pem: (one.target == Target::Direct).then(|| ca.to_owned()),
        connections: shape.connections,
        seconds,
        warm_seconds: WARM_SECONDS,
        api_key: one.api_key.clone(),
        secret: one.secret.clone(),
        pause_ms: 0,
        mixed: false,
        frames: match shape.way {
            Way::Rest => 0,
            Way::Websocket => shape.in_flight,
        },
    };
    let mut child = on(cores, me)
        .arg("load")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let rooms =
        |one: &Standing| -> Vec<f64> { one.pids.iter().map(|pid| cpu_us(&[*pid])).collect() };
    let before = rooms(one);
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&serde_json::to_vec(&load)?)?;
    }
    let output = child.wait_with_output()?;
    let spent: Vec<f64> = rooms(one)
        .iter()
        .zip(&before)
        .map(|(now, then)| now - then)
        .collect();
    let taken: Taken = serde_json::from_slice(&output.stdout).map_err(|e| {
        io::Error::other(format!(
            "the load of {:?} at {} failed: {e}",
            one.target,
            shape.name()
        ))
    })?;
    if taken.refused > 0 {
        let first = taken.first_refusal.unwrap_or_default();
        return Err(io::Error::other(format!(
            "{:?} refused {} requests: {first}",
            one.target, taken.refused
        )));
    }
    let rps = taken.requests as f64 / taken.seconds.max(1e-9);
    // The processor time covers the warm-up too, so it is divided by all requests, at the measured rate.
    let all = rps * (taken.seconds + WARM_SECONDS);
    Ok(Cell {
        rps,
        p50_us: taken.p50_us,
        p99_us: taken.p99_us,
        cpu_us: spent.iter().sum::<f64>() / all.max(1.0),
        by_program: one
            .pids
            .iter()
            .zip(&spent)
            .map(|(pid, spent)| (program_name(*pid), spent / all.max(1.0)))
            .collect(),
    })
}

fn start_origin(me: &Path, folder: &Path, cores: Option<&str>) -> io::Result<(Owned, u16)> {
    let mut child = on(cores, me)
        .arg("origin")
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("the origin has no output"))?;
    let owned = Owned(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok((owned, parse(line.trim())?))
}
