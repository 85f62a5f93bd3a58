//! `portcullis`: the operator's program. It links neither the signer nor the gateway: what needs them it asks of them.

mod log;

use clap::{Parser, Subcommand, ValueEnum};
use portcullis_model::log::note::Verifier;
use portcullis_venues::binance::Binance;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A request on standard input at most; head and body of the gate's own bounds fit.
const REQUEST_BYTES_MAX: u64 = 65_536;

/// Exit codes: done, refused or not true, could not tell.
const DONE: u8 = 0;
const REFUSED: u8 = 1;
const COULD_NOT_TELL: u8 = 2;

#[derive(Parser)]
#[command(name = "portcullis", version, about = "A gate between trading programs and exchanges", long_about = None)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Says what a raw HTTP request asks of a venue, or why it is not understood
    #[command(after_help = "Example:
  portcullis decode --venue binance --json < request.txt

The request is as it stands on the wire: lines end with CR LF, a blank line ends the head. The signature is not
checked: this shows what a request means, not who sent it. Exit 0 understood, 1 refused, 2 could not be read.")]
    Decode {
        #[arg(long, value_enum)]
        venue: Venue,
        /// One JSON object on one line
        #[arg(long)]
        json: bool,
    },
    /// Verifies a log folder, or writes it for other people's verifiers
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Subcommand)]
enum LogCommand {
    /// Recomputes every commitment, hash and root, and names the entry that is not what was recorded
    #[command(after_help = "Example:
  portcullis log verify /var/lib/portcullis/log --key site.example+1a2b3c4d+AbCd...

Without --key the key in the folder is used, which whoever changed the log could have changed too: keep the text of
`vkey` elsewhere. Exit 0 verified, 1 not what was recorded, 2 could not be read.")]
    Verify {
        folder: PathBuf,
        /// Verifier key: the text of the file `vkey`, kept elsewhere
        #[arg(long)]
        key: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Verifies, and writes a C2SP tlog-tiles folder (checkpoint, tile/, vkey)
    Export {
        folder: PathBuf,
        /// A folder that does not exist yet
        to: PathBuf,
        #[arg(long)]
        key: Option<String>,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Venue {
    Binance,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Decode {
            venue: Venue::Binance,
            json,
        } => decode(json),
        Command::Log(LogCommand::Verify { folder, key, json }) => {
            verify(&folder, key.as_deref(), None, json)
        }
        Command::Log(LogCommand::Export {
            folder,
            to,
            key,
            json,
        }) => verify(&folder, key.as_deref(), Some(&to), json),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(COULD_NOT_TELL)
        }
    }
}

fn decode(json: bool) -> io::Result<u8> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(REQUEST_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > REQUEST_BYTES_MAX {
        return Err(io::Error::other("the request is longer than 65536 bytes"));
    }
    let venue = Binance::builtin().map_err(|error| io::Error::other(error.to_string()))?;
    let (object, understood) = portcullis_venues::decode_json(venue, &bytes);
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{object}")?;
    } else {
        writeln!(out, "{object:#}")?;
    }
    Ok(if understood { DONE } else { REFUSED })
}

fn verify(folder: &Path, key: Option<&str>, to: Option<&Path>, json: bool) -> io::Result<u8> {
    let verifier = match key {
        Some(text) => Verifier::parse(text).ok_or_else(|| {
            io::Error::other("--key is not a verifier key; give the text of a `vkey` file")
        })?,
        None => log::key_of(folder)?,
    };
    let mut out = io::stdout().lock();
    match log::verify(folder, &verifier) {
        Ok(contents) => {
            let signed = contents
                .checkpoints
                .last()
                .map_or(0, |checkpoint| checkpoint.size);
            let entries = contents.hashes.len();
            if let Some(to) = to {
                log::export(&contents, &verifier, to)?;
            }
            if json {
                let object = serde_json::json!({
                    "verified": true, "entries": entries, "signed": signed,
                    "checkpoints": contents.checkpoints.len(), "torn_bytes": contents.torn_bytes,
                });
                writeln!(out, "{object}")?;
            } else {
                writeln!(
                    out,
                    "verified: {entries} entries, {signed} of them under {} checkpoints",
                    contents.checkpoints.len()
                )?;
                if contents.torn_bytes > 0 {
                    writeln!(
                        out,
                        "note: {} bytes of a write that was cut short stand at the end",
                        contents.torn_bytes
                    )?;
                }
                if key.is_none() {
                    writeln!(
                        out,
                        "note: checked with the key in the folder; give --key to check with one kept elsewhere"
                    )?;
                }
            }
            Ok(DONE)
        }
        Err(log::Wrong::Damage(damage)) => {
            if json {
                writeln!(
                    out,
                    "{}",
                    serde_json::json!({ "verified": false, "damage": damage.to_string() })
                )?;
            } else {
                writeln!(out, "not verified: {damage}")?;
            }
            Ok(REFUSED)
        }
        Err(log::Wrong::Unreadable(error)) => Err(error),
    }
}
