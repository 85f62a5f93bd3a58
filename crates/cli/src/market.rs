//! `portcullis market`: market facts, fetched from the venue, shown, and written into the working copy for review. They
//! govern once `policy apply` has put them in force, never as an answer in passing.

use crate::Context;
use crate::fail::{DONE, Done, Fail};
use crate::https::{self, Trust};
use crate::show::{self, count};
use crate::site::Site;
use portcullis_model::action::MarketKind;
use portcullis_model::release::{Authority, Judgement, Market as Facts, Release};
use portcullis_model::{action, id, table};
use portcullis_venues::Catalog;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// How long a venue may take to send its list.
const PATIENCE: Duration = Duration::from_secs(60);
/// Markets that are shown one by one at most.
const SHOWN_MAX: usize = 20;

#[derive(clap::Subcommand)]
pub enum Market {
    /// Ask a venue for its markets, and write them into release/markets
    #[command(after_help = "Examples:
  portcullis market fetch binance
  portcullis market fetch binance --only 'BTC*' --only ETHUSDT
  portcullis market fetch bybit --only 'usd_futures:*USDT'

The venue is found and believed as release/hosts.toml says. The file is written for you to look at; it governs after `portcullis policy apply`.")]
    Fetch {
        venue: String,
        /// Only symbols that fit, or names with their kind; `*` stands for any run of characters; repeatable
        #[arg(long, value_name = "PATTERN")]
        only: Vec<String>,
        /// Which host of the venue to ask [default: each that release/hosts.toml has]
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
        /// Show what would change, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the markets of the working copy
    #[command(after_help = "Example:
  portcullis market list --only '*USDC'")]
    List {
        #[arg(long, value_name = "PATTERN")]
        only: Vec<String>,
    },
}

pub fn run(context: &Context, arguments: &Market) -> Done {
    match arguments {
        Market::Fetch {
            venue,
            only,
            host,
            dry_run,
        } => fetch(context, venue, only, host.as_deref(), *dry_run),
        Market::List { only } => list(context, only),
    }
}

/// Pages of one list at most: a venue that never ends its list is not followed.
const PAGES_MAX: usize = 50;

/// Every market of the venue's lists at the hosts that the release names, as a mandate names it but for the venue.
fn ask(
    release: &Release,
    venue: &str,
    wanted: Option<&str>,
) -> Result<BTreeMap<String, Facts>, Fail> {
    let dialect = portcullis_venues::dialect::of(venue)
        .filter(|dialect| !dialect.listings().is_empty())
        .ok_or_else(|| {
            let known: Vec<_> = portcullis_venues::dialect::all()
                .filter(|dialect| !dialect.listings().is_empty())
                .map(|dialect| format!("`{}`", dialect.venue()))
                .collect();
            Fail::refused(format!("venue `{venue}` has no list of markets here"))
                .hint(format!("{} have", known.join(", ")))
        })?;
    let roots: Vec<Vec<u8>> = release
        .hosts
        .roots
        .iter()
        .map(|root| root.to_vec())
        .collect();
    let mut markets = BTreeMap::new();
    let mut asked = false;
    let catalog = Catalog::builtin().map_err(|why| Fail::untold(why.to_string()))?;
    for listing in dialect.listings() {
        // By any of its names: a venue's regions have their own.
        let service = catalog.service(listing.host);
        let host = release.hosts.hosts.iter().find(|host| {
            host.venue == venue
                && service.is_some_and(|service| service.serves(&host.name))
                && wanted.is_none_or(|wanted| host.name == wanted)
        });
        let Some(host) = host else {
            continue;
        };
        asked = true;
        let mut next = Some(listing.target.to_owned());
        for _ in 0..PAGES_MAX {
            let Some(target) = next.take() else {
                break;
            };
            let url = format!("https://{}{target}", host.name);
            let trust = Trust::of_host(host, &roots).map_err(|why| {
                Fail::refused(format!("release/hosts.toml: host `{}`: {why}", host.name))
            })?;
            let answer = https::get(trust, &url, Some(&host.address), PATIENCE).map_err(|why| {
                Fail::untold(format!("{url} (at {}): {why}", host.address)).hint(
                    "release/hosts.toml says where the venue is and which certificates are believed",
                )
            })?;
            let page = dialect
                .listed(listing, &answer)
                .map_err(|why| Fail::untold(format!("{url}: {why}")))?;
            for facts in page.markets {
                let known = name(&facts);
                if markets.insert(known.clone(), facts).is_some() {
                    return Err(Fail::untold(format!("{url}: `{known}` stands twice")));
                }
            }
            next = page.next;
        }
        if next.is_some() {
            return Err(Fail::untold(format!(
                "{}{} does not end",
                host.name, listing.target
            )));
        }
    }
    match asked {
        true => Ok(markets),
        false => Err(Fail::refused(format!(
            "release/hosts.toml has no such host of venue `{venue}`"
        ))),
    }
}

/// One market a line, so that a change of one is a change of one line.
fn text(markets: &BTreeMap<String, Facts>) -> Result<String, Fail> {
    let lines = markets
        .values()
        .map(serde_json::to_string)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| Fail::untold(why.to_string()))?;
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}

fn fetch(
    context: &Context,
    venue: &str,
    only: &[String],
    host: Option<&str>,
    dry_run: bool,
) -> Done {
    let site = context.open()?;
    let mut fetched = ask(&hosts(&site)?, venue, host)?;
    fetched.retain(|_, facts| is_wanted(only, facts));
    if fetched.is_empty() {
        return Err(Fail::refused("no market of the venue fits").hint("widen --only"));
    }
    let before = known(&site, venue)?;
    let changes = changes(&before, &fetched);
    let place = site
        .dir
        .join("release")
        .join("markets")
        .join(format!("{venue}.json"));
    if !dry_run {
        write(&place, &text(&fetched)?)?;
    }
    let names = |kind: Change| -> Vec<&str> {
        changes
            .iter()
            .filter(|(_, of)| *of == kind)
            .map(|(name, _)| *name)
            .collect()
    };
    let object = json!({
        "venue": venue, "markets": fetched.len(), "written": !dry_run,
        "added": names(Change::Added), "removed": names(Change::Removed), "changed": names(Change::Changed),
    });
    show::either(context.json, &object, || {
        let mut words = String::new();
        for (name, kind) in changes.iter().take(SHOWN_MAX) {
            let word = match kind {
                Change::Added => "new",
                Change::Removed => "gone",
                Change::Changed => "changed",
            };
            let facts = fetched.get(*name).or_else(|| before.get(*name));
            words += &format!(
                "  {word:<8} {name:<12} {}\n",
                facts.map(line).unwrap_or_default()
            );
        }
        if changes.len() > SHOWN_MAX {
            words += &format!("  and {} more\n", changes.len() - SHOWN_MAX);
        }
        words += &format!(
            "{}: {} new, {} changed, {} gone\n",
            count(fetched.len() as u64, "market", "markets"),
            names(Change::Added).len(),
            names(Change::Changed).len(),
            names(Change::Removed).len()
        );
        match (dry_run, changes.is_empty()) {
            (true, _) => words += "nothing is written\n",
            (false, true) => {}
            (false, false) => {
                words += "written to release/markets; `portcullis policy apply` puts it in force\n";
            }
        }
        words
    });
    Ok(DONE)
}

/// Whether a pattern fits its symbol, or the name with the kind.
fn is_wanted(only: &[String], facts: &Facts) -> bool {
    let name = name(facts);
    let fits = |pattern: &String| fits(pattern, facts.symbol.as_str()) || fits(pattern, &name);
    only.is_empty() || only.iter().any(fits)
}

/// As a mandate names it, but for the venue.
fn name(facts: &Facts) -> String {
    match facts.kind {
        MarketKind::Spot => facts.symbol.to_string(),
        kind => format!("{}:{}", kind.name(), facts.symbol),
    }
}

fn line(facts: &Facts) -> String {
    let number = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    format!(
        "{}/{}  tick {}  step {}",
        facts.base,
        facts.quote,
        number(facts.tick.map(|tick| tick.to_string())),
        number(facts.step.map(|step| step.to_string()))
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Added,
    Changed,
    Removed,
}

fn changes<'a>(
    before: &'a BTreeMap<String, Facts>,
    after: &'a BTreeMap<String, Facts>,
) -> Vec<(&'a str, Change)> {
    let mut changes = Vec::new();
    for (name, facts) in after {
        match before.get(name) {
            None => changes.push((name.as_str(), Change::Added)),
            Some(old) if old != facts => changes.push((name.as_str(), Change::Changed)),
            Some(_) => {}
        }
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    changes.extend(gone.map(|name| (name.as_str(), Change::Removed)));
    changes
}

fn known(site: &Site, venue: &str) -> Result<BTreeMap<String, Facts>, Fail> {
    let files = site.release()?;
    let file = format!("markets/{venue}.json");
    let Some(text) = files.get(&file) else {
        return Ok(BTreeMap::new());
    };
    let list: Vec<Facts> = serde_json::from_str(text).map_err(|why| {
        Fail::refused(format!("release/{file}: {why}")).hint("move it away and fetch again")
    })?;
    Ok(list
        .into_iter()
        .map(|facts| (name(&facts), facts))
        .collect())
}

/// Whole or not at all.
fn write(place: &std::path::Path, text: &str) -> Result<(), Fail> {
    let new = place.with_extension("new");
    if let Some(folder) = place.parent().filter(|folder| !folder.exists()) {
        crate::seal::private_folder(folder)?;
    }
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, place))
        .map_err(|why| Fail::at(place, &why))
}

/// Where to ask, and whom to believe there.
fn hosts(site: &Site) -> Result<Release, Fail> {
    let mut files = site.release()?;
    // Of all the release only its hosts matter here, and the rest may not be finished.
    files.retain(|name, _| name == "hosts.toml" || name == "values.toml");
    files.insert("authority.cedar".to_owned(), String::new());
    files.insert("mandates.toml".to_owned(), ANY_MANDATE.to_owned());
    Release::load(&files, Box::new(Nobody)).map_err(|why| Fail::refused(format!("release: {why}")))
}

/// Permits nothing.
pub struct Nobody;

impl Authority for Nobody {
    fn judge(
        &self,
        _: id::StrategyId,
        _: action::ActionKind,
        _: id::AccountId,
        _: &table::Facts<'_>,
    ) -> Judgement {
        Judgement::NoPermit
    }
}

/// Reads as a mandate, so that a release's hosts can be read before its mandates are written.
pub const ANY_MANDATE: &str = r#"
[firm]
order_value = "0"
price_tolerance = "0%"
price_age = "1s"
message_rate = "1/1s"
reserved_message_rate = "1/1s"
repeat = "1/1s"
turnover_1h = "0"
turnover_1d = "0"
turnover_7d = "0"
turnover_30d = "0"
open_orders = "0"
position = "0"
loss = "0"
venue_weight = "0"
[firm.markets."-"]
"#;

/// `*` stands for any run of characters.
fn fits(pattern: &str, symbol: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == symbol,
        Some((head, tail)) => symbol.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| rest.get(at..).is_some_and(|rest| fits(tail, rest)))
        }),
    }
}

fn list(context: &Context, only: &[String]) -> Done {
    let site = context.open()?;
    let mut markets = Vec::new();
    for name in site.release()?.keys() {
        let Some(venue) = name
            .strip_prefix("markets/")
            .and_then(|n| n.strip_suffix(".json"))
        else {
            continue;
        };
        for facts in known(&site, venue)?.into_values() {
            if is_wanted(only, &facts) {
                markets.push((venue.to_owned(), facts));
            }
        }
    }
    let objects: Vec<_> = markets
        .iter()
        .map(|(venue, facts)| {
            json!({
                "venue": venue, "symbol": facts.symbol, "base": facts.base, "quote": facts.quote,
                "tick": facts.tick, "step": facts.step, "kind": facts.kind,
                "contract_size": facts.contract_size, "settled_in": facts.settled_in(),
            })
        })
        .collect();
    show::either(context.json, &json!({ "markets": objects }), || {
        let rows: Vec<_> = markets
            .iter()
            .map(|(venue, facts)| {
                let number = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
                [
                    name(facts),
                    venue.clone(),
                    facts.base.to_string(),
                    facts.quote.to_string(),
                    number(facts.tick.map(|tick| tick.to_string())),
                    number(facts.step.map(|step| step.to_string())),
                ]
            })
            .collect();
        show::table(
            ["market", "venue", "base", "quote", "tick", "step"],
            &rows,
            "no markets; `portcullis market fetch binance` fetches them",
        )
    });
    Ok(DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_symbols() {
        for (pattern, symbol, expected) in [
            ("BTCUSDT", "BTCUSDT", true),
            ("BTC*", "BTCUSDT", true),
            ("*USDT", "USDTBTC", false),
            ("B*S*T", "BTCUSDT", true),
            ("*", "", true),
            ("币*", "币安人生USDT", true),
        ] {
            assert_eq!(fits(pattern, symbol), expected, "{pattern} {symbol}");
        }
    }

    #[test]
    fn hosts_are_read_before_mandates_are_written() {
        assert!(portcullis_model::mandate::Mandates::parse(ANY_MANDATE).is_ok());
    }
}
