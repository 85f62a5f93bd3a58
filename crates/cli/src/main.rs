//! `portcullis`: the operator's program. It links neither the signer nor the gateway: what needs them it asks of them.

use clap::{Parser, Subcommand, ValueEnum};
use portcullis_venues::binance::Binance;
use std::io::{self, Read, Write};
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
