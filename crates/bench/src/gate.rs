//! The gate with everything on: a site made by the command line as an operator would, with the origin as its venue.

use crate::{Owned, Standing, Target, on};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Numbers that are all on and never reached, so that every rule is looked at and none refuses.
const MANDATES: &str = r#"[firm]
order_value = "1000000"
price_tolerance = "10%"
price_age = "10s"
message_rate = "1000000/1s"
reserved_message_rate = "1000000/1s"
repeat = "1000000/1s"
turnover_1h = "1000000000000"
turnover_1d = "1000000000000"
turnover_7d = "1000000000000"
turnover_30d = "1000000000000"
open_orders = "1000000"
position = "1000000000"
loss = "1000000000"
venue_weight = "unlimited"

[firm.markets."BTC*"]
floor = "1000"
ceiling = "500000"
quantity = "5"

[account.main]
order_value = "1000000"
turnover_1d = "1000000000000"

[strategy.bench]
order_value = "2000"
turnover_1h = "1000000000000"
open_orders = "1000000"
"#;

/// Facts of the one market, as `market fetch` writes them.
const MARKETS: &str =
    r#"[{"symbol":"BTCUSDT","base":"BTC","quote":"USDT","tick":"0.01","step":"0.00001"}]"#;

/// What a site is made of.
pub struct Plan {
    /// `hosts.toml`.
    pub hosts: String,
    /// `mandates.toml`.
    pub mandates: String,
    pub accounts: Vec<Account>,
    /// Strategies and their accounts.
    pub strategies: Vec<(String, &'static str)>,
    /// Facts of Binance's markets; absent: fetched from each account's venue.
    pub markets: Option<&'static str>,
}

/// An account at a venue; of its keys duty, id and secret.
pub struct Account {
    pub name: &'static str,
    pub venue: &'static str,
    pub host: &'static str,
    pub keys: Vec<(&'static str, String, String)>,
}

/// A site's folder, and the program that makes and starts it.
pub struct Site {
    portcullis: PathBuf,
    folder: PathBuf,
    credential: PathBuf,
}

/// The gate's programs run until this is dropped.
pub struct Up {
    /// Of `up` and the rooms.
    pub pids: Vec<u32>,
    /// Where programs find each host.
    pub listeners: BTreeMap<String, SocketAddr>,
    owned: Owned,
}

impl Site {
    pub fn new(bin: &Path, folder: &Path, name: &str) -> Self {
        Self {
            portcullis: bin.join("portcullis"),
            folder: folder.join(format!("site-{name}")),
            credential: folder.join(format!("credential-{name}")),
        }
    }

    /// Makes it, as an operator would; gives each strategy's virtual key and secret.
    pub fn make(&self, plan: &Plan) -> io::Result<Vec<(String, String)>> {
        let run = |arguments: &[&str], input: &str| {
            operate(&self.portcullis, &self.folder, arguments, input)
        };
        let credential = self.credential.display().to_string();
        run(
            &["init", "--name", "bench", "--credential", &credential],
            "",
        )?;
        let settings = self.folder.join("site.toml");
        replace(&settings, "127.0.0.1:7001", "127.0.0.1:0")?;
        replace(&settings, "127.0.0.1:9464", "127.0.0.1:0")?;
        let release = self.folder.join("release");
        std::fs::write(release.join("hosts.toml"), &plan.hosts)?;
        std::fs::write(release.join("mandates.toml"), &plan.mandates)?;
        for account in &plan.accounts {
            let (name, venue, host) = (account.name, account.venue, account.host);
            run(
                &["account", "add", name, "--venue", venue, "--host", host],
                "",
            )?;
            for (duty, id, secret) in &account.keys {
                let add = ["account", "key", "add", name, "--duty", duty];
                let key = ["--scheme", "hmac", "--api-key", id];
                run(&[&add[..], &key].concat(), secret)?;
            }
            if plan.markets.is_none() {
                run(&["market", "fetch", venue], "")?;
            }
        }
        if let Some(markets) = plan.markets {
            std::fs::write(release.join("markets/binance.json"), markets)?;
        }
        let mut keys = Vec::new();
        for (name, account) in &plan.strategies {
            let add = ["strategy", "add", name, "--account", account];
            let issued = run(&[&add[..], &["--sources", "127.0.0.1/32"]].concat(), "")?;
            let key = &issued["virtual_key"];
            keys.push((text(key, "api_key")?, text(key, "secret")?));
        }
        run(&["policy", "apply"], "")?;
        Ok(keys)
    }

    pub fn up(&self, cores: Option<&str>) -> io::Result<Up> {
        let mut child = on(cores, &self.portcullis)
            .arg("--site")
            .arg(&self.folder)
            .args(["up", "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let up = child.id();
        let stdout = child.stdout.take();
        let owned = Owned(child);
        let stdout = stdout.ok_or_else(|| io::Error::other("up has no output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = loop {
            let line = lines
                .next()
                .ok_or_else(|| io::Error::other("`portcullis up` ended before it was ready"))??;
            match serde_json::from_str::<Value>(&line) {
                Ok(event) if event["room"] == "up" && event["event"] == "ready" => break event,
                _ => {}
            }
        };
        // Its lines are read and forgotten, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let mut listeners = BTreeMap::new();
        for listener in ready["listeners"].as_array().into_iter().flatten() {
            let url = text(listener, "url")?;
            let address = url.strip_prefix("http://").unwrap_or(&url);
            let address = address.parse().map_err(io::Error::other)?;
            listeners.insert(text(listener, "host")?, address);
        }
        let mut pids = children(up);
        pids.push(up);
        Ok(Up {
            pids,
            listeners,
            owned,
        })
    }
}

/// A certificate as `hosts.toml` writes it.
pub fn root_hex(pem: &Path) -> io::Result<String> {
    let root = CertificateDer::from_pem_slice(&std::fs::read(pem)?)
        .map_err(|why| io::Error::other(why.to_string()))?;
    let mut der = String::new();
    for byte in root.as_ref() {
        let _ = write!(der, "{byte:02x}");
    }
    Ok(der)
}

/// A host of `hosts.toml`.
pub fn host(
    venue: &str,
    name: &str,
    address: &str,
    root: &str,
    weight: u32,
    orders: u32,
) -> String {
    format!(
        "[[host]]\nvenue = \"{venue}\"\nname = \"{name}\"\naddress = \"{address}\"\npublic_roots = false\n\
         roots = [\"{root}\"]\nweight_per_minute = {weight}\norders_per_10s = {orders}\n"
    )
}

/// A site that stands: the gate's programs run until this is dropped.
pub fn start(
    bin: &Path,
    folder: &Path,
    origin: SocketAddr,
    cores: Option<&str>,
) -> io::Result<Standing> {
    start_with(bin, folder, origin, cores, 1).map(|(standing, _)| standing)
}

/// The same with further strategies; gives their virtual keys and secrets.
pub fn start_with(
    bin: &Path,
    folder: &Path,
    origin: SocketAddr,
    cores: Option<&str>,
    strategies: usize,
) -> io::Result<(Standing, Vec<(String, String)>)> {
    let root = root_hex(&folder.join("ca.pem"))?;
    let limit = 1_000_000_000;
    let hosts = ["api.binance.com", "ws-api.binance.com"]
        .map(|name| host("binance", name, &origin.to_string(), &root, limit, limit));
    let key = |duty| (duty, format!("real{duty}").repeat(8), "s".repeat(64));
    let plan = Plan {
        hosts: hosts.concat(),
        mandates: MANDATES.to_owned(),
        accounts: vec![Account {
            name: "main",
            venue: "binance",
            host: "api.binance.com",
            keys: vec![key("read"), key("trade")],
        }],
        strategies: (0..strategies.max(1))
            .map(|number| match number {
                0 => ("bench".to_owned(), "main"),
                n => (format!("slow-{n}"), "main"),
            })
            .collect(),
        markets: Some(MARKETS),
    };
    let name = if cores.is_some() { "pinned" } else { "free" };
    let site = Site::new(bin, folder, name);
    let keys = site.make(&plan)?;
    let up = site.up(cores)?;
    let address = up.listeners.get("api.binance.com").copied();
    let address = address.ok_or_else(|| io::Error::other("`portcullis up` said no listener"))?;
    let (api_key, secret) = keys.first().cloned().unwrap_or_default();
    let standing = Standing {
        target: Target::Gate,
        address,
        pids: up.pids,
        api_key,
        secret,
        _owned: vec![up.owned],
    };
    serves(&standing)?;
    Ok((standing, keys))
}

/// Waits until the gate has a price and the venue's time: an order passes.
fn serves(standing: &Standing) -> io::Result<()> {
    let mut last = String::new();
    for _ in 0..200 {
        let load = crate::load::Load {
            address: standing.address,
            roots_pem: None,
            connections: 1,
            seconds: 0.02,
            warm_seconds: 0.0,
            api_key: standing.api_key.clone(),
            secret: standing.secret.clone(),
            pause_ms: 0,
            mixed: false,
            frames: 0,
        };
        match crate::load::run(&load) {
            Ok(taken) if taken.refused == 0 && taken.requests > 0 => return Ok(()),
            Ok(taken) => last = taken.first_refusal.unwrap_or_default(),
            Err(why) => last = why.to_string(),
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Err(io::Error::other(format!("the gate does not serve: {last}")))
}

/// One command of the operator; gives the object that it prints.
fn operate(portcullis: &Path, site: &Path, arguments: &[&str], input: &str) -> io::Result<Value> {
    let mut child = Command::new(portcullis)
        .arg("--site")
        .arg(site)
        .args(arguments)
        .arg("--json")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| io::Error::other(format!("{}: {why}", portcullis.display())))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!(
            "`portcullis {}` failed: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    serde_json::from_slice(&output.stdout).map_err(io::Error::other)
}

fn text(object: &Value, name: &str) -> io::Result<String> {
    object[name]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other(format!("no `{name}` in {object}")))
}

fn replace(file: &Path, old: &str, new: &str) -> io::Result<()> {
    let text = std::fs::read_to_string(file)?;
    std::fs::write(file, text.replace(old, new))
}

/// Processes started by `parent`, and by those in turn.
pub fn children(parent: u32) -> Vec<u32> {
    let Ok(folder) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    folder
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent_of = stat
                .rsplit_once(')')
                .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
            parent_of == Some(parent)
        })
        .collect()
}
