//! `portcullis-sim`: simulated exchanges on loopback.

use portcullis_sim::control;
use portcullis_sim::server;
use portcullis_sim::venue::{Kind, Options, Venue};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

const HELP: &str = "\
Simulated exchanges over HTTPS: real signatures, balances, matching, limits and error codes.

usage: portcullis-sim --folder DIR [options]

  --venue NAMES           binance, bybit, okx, kucoin, or several with commas between (binance)
  --listen ADDRESS        where it listens (127.0.0.1:0); of several, the first
  --control ADDRESS       where its control API listens, plain HTTP, loopback only (127.0.0.1:0); of several, the first
  --folder DIR            where it writes ca.pem and private keys; made if it is not there
  --seed NUMBER           the same keys, prices and faults each time
  --json                  one line of JSON for each exchange instead of text when all are ready
  --end-with-stdin        ends when its standard input closes
  --still                 prices do not move by themselves
  --weight-per-minute N   request weight an address may use in a minute (6000)
  --futures-weight-per-minute N  the same at fapi and dapi together (2400)
  --futures-orders-per-10s N     new orders an account may send to futures in ten seconds (300; four times that in a minute)
  --without-rpi           markets of futures take no orders of retail price improvement, as before there were any
  --orders-per-10s N      unfilled new orders an account may place in ten seconds (100)
  --open-orders N         open orders an account may have on a market (200)
  --tolerated N           requests after the first 429 before a ban, 418 (10)
  --log-requests N        requests that the control API remembers (200000)
  --limits-times N        Bybit and OKX: so many times the documented rates of requests (1)

example: portcullis-sim --folder /tmp/venue --seed 7 --json
";

struct Arguments {
    listen: SocketAddr,
    control: SocketAddr,
    folder: PathBuf,
    json: bool,
    end_with_stdin: bool,
    kinds: Vec<Kind>,
    options: Options,
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("error: {why}\nhint: `portcullis-sim --help` lists the options");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let (mut listen, mut control, mut folder) = (local, local, None);
    let (mut json, mut end_with_stdin) = (false, false);
    let mut options = Options::default();
    let mut kinds = vec![Kind::Binance];
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| format!("`{word}` needs a value"))
        };
        let bad = |value: &str| format!("`{value}` is not a value for `{word}`");
        macro_rules! parsed {
            () => {{
                let value = value()?;
                value.parse().map_err(|_| bad(&value))?
            }};
        }
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--venue" => {
                let names = value()?;
                let of = |name: &str| Kind::ALL.into_iter().find(|k| k.name() == name);
                let all: Option<Vec<Kind>> = names.split(',').map(of).collect();
                kinds = all.ok_or_else(|| bad(&names))?;
                if (1..kinds.len()).any(|i| kinds[..i].contains(&kinds[i])) {
                    return Err(bad(&names));
                }
            }
            "--listen" => listen = parsed!(),
            "--control" => control = parsed!(),
            "--folder" => folder = Some(PathBuf::from(value()?)),
            "--seed" => options.seed = Some(parsed!()),
            "--json" => json = true,
            "--end-with-stdin" => end_with_stdin = true,
            "--still" => options.moving = false,
            "--weight-per-minute" => {
                options.weight_per_minute = parsed!();
                options.sapi_weight_per_minute = options.weight_per_minute.saturating_mul(2);
            }
            "--futures-weight-per-minute" => options.futures_weight_per_minute = parsed!(),
            "--futures-orders-per-10s" => {
                let tens: u64 = parsed!();
                options.futures_orders = [tens, tens.saturating_mul(4)];
            }
            "--without-rpi" => options.takes_rpi = false,
            "--orders-per-10s" => options.orders_per_10s = parsed!(),
            "--open-orders" => options.open_orders = parsed!(),
            "--tolerated" => options.tolerated = parsed!(),
            "--limits-times" => options.limits_times = parsed!(),
            "--log-requests" => options.log_requests = parsed!(),
            _ => return Err(format!("`{word}` is not an option")),
        }
    }
    if !control.ip().is_loopback() {
        return Err(
            "`--control` must be a loopback address: whoever reaches it owns the venue".to_owned(),
        );
    }
    options.orders_per_day = options
        .orders_per_day
        .max(options.orders_per_10s.saturating_mul(8640));
    let folder = folder.ok_or("`--folder DIR` is missing")?;
    Ok(Some(Arguments {
        listen,
        control,
        folder,
        json,
        end_with_stdin,
        kinds,
        options,
    }))
}

fn run(arguments: &Arguments) -> io::Result<()> {
    std::fs::create_dir_all(&arguments.folder)?;
    let folder = arguments.folder.canonicalize()?;
    let tls = certificates(&folder)?;
    let mut out = io::stdout().lock();
    let mut ready = Vec::new();
    for (index, kind) in arguments.kinds.iter().enumerate() {
        let options = Options {
            kind: *kind,
            ..arguments.options.clone()
        };
        let mut venue = Venue::new(options, server::now_us());
        private_keys(&mut venue, &folder)?;
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let at = |address| if index == 0 { address } else { local };
        let listener = TcpListener::bind(at(arguments.listen))?;
        let control = TcpListener::bind(at(arguments.control))?;
        say(
            &mut out,
            &venue,
            &folder,
            &listener,
            &control,
            arguments.json,
        )?;
        ready.push((venue, listener, control));
    }
    out.flush()?;
    drop(out);
    if arguments.end_with_stdin {
        std::thread::spawn(|| {
            let mut scratch = [0; 1024];
            let mut input = io::stdin().lock();
            while input.read(&mut scratch).is_ok_and(|count| count > 0) {}
            std::process::exit(0);
        });
    }
    // Each exchange has a thread of its own; the program ends when one of them fails.
    let (fails, failed) = std::sync::mpsc::channel();
    for (mut venue, listener, control) in ready {
        let (tls, fails) = (Arc::clone(&tls), fails.clone());
        std::thread::spawn(move || fails.send(server::serve(&mut venue, &tls, listener, control)));
    }
    drop(fails);
    failed.recv().unwrap_or(Ok(()))
}

/// Says where an exchange is and what keys it has.
fn say(
    out: &mut impl Write,
    venue: &Venue,
    folder: &Path,
    listener: &TcpListener,
    control: &TcpListener,
    as_json: bool,
) -> io::Result<()> {
    let kind = venue.options.kind;
    let (at, control_at) = (listener.local_addr()?, control.local_addr()?);
    let ready = json!({
        "venue": kind.name(), "host": kind.host(), "url": format!("https://{at}"), "address": at.to_string(),
        "ca": folder.join("ca.pem"), "control": format!("http://{control_at}"), "accounts": control::accounts(venue),
    });
    if as_json {
        return writeln!(out, "{ready}");
    }
    writeln!(
        out,
        "simulated {} at https://{at} (CA {}), control API at http://{control_at}",
        kind.name(),
        folder.join("ca.pem").display()
    )?;
    for account in ready["accounts"].as_array().into_iter().flatten() {
        writeln!(out, "account {}", account["name"].as_str().unwrap_or(""))?;
        for key in account["keys"].as_array().into_iter().flatten() {
            let word = |name: &str| key[name].as_str().unwrap_or("").to_owned();
            writeln!(
                out,
                "  {:5} {:7} {} {}{} {}",
                word("duty"),
                word("scheme"),
                word("key"),
                word("secret"),
                word("file"),
                word("passphrase")
            )?;
        }
    }
    Ok(())
}

/// A CA, and a certificate by it for the venue's name and for loopback; `ca.pem` in `folder`.
fn certificates(folder: &Path) -> io::Result<Arc<rustls::ServerConfig>> {
    let fail = |e: rcgen::Error| io::Error::other(e.to_string());
    let ca_key = rcgen::KeyPair::generate().map_err(fail)?;
    let mut ca = rcgen::CertificateParams::new(Vec::new()).map_err(fail)?;
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(rcgen::DnType::CommonName, "portcullis simulated venue");
    ca.key_usages = vec![
        rcgen::KeyUsagePurpose::KeyCertSign,
        rcgen::KeyUsagePurpose::CrlSign,
    ];
    let ca_cert = ca.self_signed(&ca_key).map_err(fail)?;
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().map_err(fail)?;
    let names = Kind::ALL
        .iter()
        .map(|kind| kind.host())
        .chain([
            "fapi.binance.com",
            "dapi.binance.com",
            "ws-api.binance.com",
            "ws-fapi.binance.com",
            "ws-dapi.binance.com",
            "stream.binance.com",
            "data-stream.binance.vision",
            "fstream.binance.com",
            "dstream.binance.com",
            "stream.bybit.com",
            "ws.okx.com",
            "localhost",
            "127.0.0.1",
        ])
        .map(str::to_owned)
        .collect::<Vec<_>>();
    let mut leaf = rcgen::CertificateParams::new(names).map_err(fail)?;
    leaf.use_authority_key_identifier_extension = true;
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = leaf.signed_by(&key, &issuer).map_err(fail)?;
    std::fs::write(folder.join("ca.pem"), ca_cert.pem())?;
    let chain = vec![CertificateDer::from(leaf.der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Ed25519 and RSA keys of the firm, their private halves as files.
fn private_keys(venue: &mut Venue, folder: &Path) -> io::Result<()> {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    let fail = |_| io::Error::other("a key could not be made");
    let Some(firm) = venue
        .exchange
        .accounts
        .iter()
        .position(|a| a.name == "firm")
    else {
        return Ok(());
    };
    let kind = venue.options.kind;
    let schemes: (&[&str], &[&str]) = match kind {
        Kind::Binance => (
            &["read", "trade", "move", "admin", "all"],
            &["read", "trade", "all"],
        ),
        Kind::Bybit => (&[], &["read", "trade", "all"]),
        Kind::Okx | Kind::KuCoin => (&[], &[]),
    };
    let mut made = Vec::new();
    for duty in schemes.0.iter().copied() {
        let key = aws_lc_rs::signature::Ed25519KeyPair::generate().map_err(fail)?;
        made.push((
            duty,
            "ed25519",
            key.to_pkcs8v1().map_err(fail)?.as_ref().to_vec(),
        ));
    }
    for duty in schemes.1.iter().copied() {
        let key =
            aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).map_err(fail)?;
        let der: Pkcs8V1Der<'_> = key.as_der().map_err(fail)?;
        made.push((duty, "rsa", der.as_ref().to_vec()));
    }
    for (duty, scheme, pkcs8) in made {
        let handed = venue
            .hand_private(firm, duty, scheme, &pkcs8)
            .ok_or_else(|| io::Error::other("a key could not be read back"))?;
        let prefix = match kind {
            Kind::Binance => String::new(),
            other => format!("{}-", other.name()),
        };
        let file = folder.join(format!("{prefix}firm-{duty}-{scheme}.pem"));
        std::fs::write(&file, handed.pem.as_deref().unwrap_or(""))?;
        if let Some(last) = venue.handed.last_mut() {
            last.file = Some(file.display().to_string());
        }
    }
    Ok(())
}
