//! `portcullis decode`: what a raw request means; of a site it takes what its working copy adds to the catalog, and nothing else.

use crate::Context;
use crate::fail::{DONE, Done, Fail, REFUSED};
use crate::show;
use portcullis_model::release::Files;
use portcullis_venues::Catalog;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A request on standard input at most; head and body of the gate's own bounds fit.
const REQUEST_BYTES_MAX: u64 = 65_536;

#[derive(clap::Args)]
#[command(after_help = "Example:
  portcullis decode --venue binance --json < request.txt
  portcullis decode --venue binance --against new-ccxt.json

Where a site is named, what its release/catalog.d adds to the catalog counts. The request is as it stands on the wire: lines end with CR LF, a blank line ends the head. The signature is not checked: this shows what a request means, not who sent it. Exit 0 understood, 1 refused, 2 could not be read.

--against reads captured requests of a client library instead, a JSON array of objects with `method`, `target`, `headers` and `body_b64`, and says which of them the gate would refuse: what a new version of it would lose.")]
pub struct Decode {
    #[arg(long, value_parser = venues())]
    venue: String,
    /// Captured requests of a client library, to see beforehand what it would lose
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

pub fn run(context: &Context, arguments: &Decode) -> Done {
    if let Some(file) = &arguments.against {
        return against(context, &arguments.venue, file);
    }
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
    let (object, understood) =
        portcullis_venues::decode_json(&*catalog(context)?, &arguments.venue, &bytes);
    show::either(context.json, &object, || format!("{object:#}"));
    Ok(if understood { DONE } else { REFUSED })
}

/// The venues that have a dialect.
pub fn venues() -> clap::builder::PossibleValuesParser {
    portcullis_venues::dialect::all()
        .map(|dialect| dialect.venue())
        .collect::<Vec<_>>()
        .into()
}

fn catalog(context: &Context) -> Result<Arc<Catalog>, Fail> {
    let files = match &context.site {
        Some(_) => context.open()?.release()?,
        None => Files::new(),
    };
    Catalog::of_release(&files).map_err(|why| Fail::untold(why.to_string()))
}

fn against(context: &Context, venue: &str, file: &Path) -> Done {
    let text = std::fs::read_to_string(file)
        .map_err(|why| Fail::untold(format!("{}: {why}", file.display())))?;
    let found = portcullis_venues::against(&*catalog(context)?, venue, &text)
        .map_err(|why| Fail::untold(format!("{}: {why}", file.display())))?;
    let object = serde_json::json!(found);
    show::either(context.json, &object, || {
        let rows: Vec<[String; 4]> = found
            .lost
            .iter()
            .map(|lost| {
                [
                    format!("{} {}", lost.client, lost.label),
                    format!("{} {}", lost.method, lost.path),
                    lost.code.to_owned(),
                    lost.message.clone(),
                ]
            })
            .collect();
        let mut words = show::table(
            ["request", "call", "refused as", "why"],
            &rows,
            "nothing lost",
        );
        words += &format!(
            "\n{} requests: {} understood, {} lost, {} of other venues\n",
            found.requests,
            found.understood,
            found.lost.len(),
            found.skipped
        );
        words
    });
    Ok(if found.lost.is_empty() { DONE } else { REFUSED })
}
