//! `portcullis decode`: what a raw request means, without a site.

use crate::Context;
use crate::fail::{DONE, Done, Fail, REFUSED};
use crate::show;
use portcullis_venues::binance::Binance;
use std::io::{self, Read};

/// A request on standard input at most; head and body of the gate's own bounds fit.
const REQUEST_BYTES_MAX: u64 = 65_536;

#[derive(clap::Args)]
#[command(after_help = "Example:
  portcullis decode --venue binance --json < request.txt

The request is as it stands on the wire: lines end with CR LF, a blank line ends the head. The signature is not checked: this shows what a request means, not who sent it. Exit 0 understood, 1 refused, 2 could not be read.")]
pub struct Decode {
    #[arg(long, value_enum)]
    venue: Venue,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Venue {
    Binance,
}

pub fn run(context: &Context, arguments: &Decode) -> Done {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(REQUEST_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|why| Fail::untold(format!("standard input: {why}")))?;
    if bytes.len() as u64 > REQUEST_BYTES_MAX {
        return Err(Fail::untold(format!(
            "the request is longer than {REQUEST_BYTES_MAX} bytes"
        )));
    }
    let Venue::Binance = arguments.venue;
    let venue = Binance::builtin().map_err(|why| Fail::untold(why.to_string()))?;
    let (object, understood) = portcullis_venues::decode_json(venue, &bytes);
    show::either(context.json, &object, || format!("{object:#}"));
    Ok(if understood { DONE } else { REFUSED })
}
