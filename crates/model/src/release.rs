//! Everything that governs, as one hash: mandates, authority, market facts, hosts, catalogs. The signer loads only the
//! release whose hash is in the log.
//!
//! | file | what |
//! |---|---|
//! | `mandates.toml` | how much ([`crate::mandate`]) |
//! | `authority.cedar` | who may (crate `authority`) |
//! | `values.toml` | the site's currency, the assets declared equal to it, the highest fee (`fee = "0.1%"`), hedge groups |
//! | `hosts.toml` | venue hosts, with roots, pins and rate limits |
//! | `markets/VENUE.json` | market facts, fetched and reviewed |
//! | `catalog.d/*.toml` | what a site adds to a catalog |

use crate::Map;
use crate::action::{ActionKind, Asset, MarketId, MarketKind, Symbol};
use crate::id::{AccountId, Name, StrategyId};
use crate::mandate::{MandateError, Mandates};
use crate::number::{Price, Quantity};
use crate::table::{self, Table};
use crate::wire::{Host, Hosts};
use aws_lc_rs::digest;
use minicbor::bytes::ByteVec;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Where what a site adds to a catalog stands.
pub const CATALOG_FOLDER: &str = "catalog.d/";

/// A release's texts, by name.
pub type Files = BTreeMap<String, String>;

/// What authority says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    Permit { policy: String },
    Forbid { policy: String },
    NoPermit,
}

/// Who may do what: compiled when the release is loaded. What errs there must say [`Judgement::NoPermit`].
pub trait Authority: Send + Sync {
    fn judge(
        &self,
        strategy: StrategyId,
        kind: ActionKind,
        account: AccountId,
        facts: &table::Facts<'_>,
    ) -> Judgement;

    /// What decides and what checks it have disagreed: a bug of ours, to be said loudly. From then on
    /// [`Authority::judge`] permits only what lowers risk.
    fn mismatch(&self) -> Option<String> {
        None
    }
}

/// The compiled policies. What they cannot judge they do not permit.
impl Authority for Table {
    fn judge(
        &self,
        strategy: StrategyId,
        kind: ActionKind,
        account: AccountId,
        facts: &table::Facts<'_>,
    ) -> Judgement {
        let name = |index| {
            self.policy(index)
                .map_or_else(String::new, |(name, _)| name.to_owned())
        };
        match self.evaluate(strategy, account, kind, facts) {
            table::Verdict::Permit { policy } => Judgement::Permit {
                policy: name(policy),
            },
            table::Verdict::Forbid { policy } => Judgement::Forbid {
                policy: name(policy),
            },
            table::Verdict::NoPermit | table::Verdict::Unfit(_) => Judgement::NoPermit,
        }
    }
}

/// Facts of one market.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Market {
    pub symbol: Symbol,
    pub base: Asset,
    pub quote: Asset,
    #[serde(default, skip_serializing_if = "is_spot")]
    pub kind: MarketKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<Price>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Quantity>,
    /// What one contract is: so much of base, at an inverse market of quote. Absent: quantities are in base units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract_size: Option<Quantity>,
    /// The same as kind `coin_futures`, said where the facts are read.
    #[serde(default, skip_serializing_if = "is_false")]
    pub inverse: bool,
    /// What a position is settled in. Absent: quote, at an inverse market base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Asset>,
    /// The venue's own number of the instrument, where its WebSockets name it so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u64>,
}

fn is_spot(kind: &MarketKind) -> bool {
    *kind == MarketKind::Spot
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Market {
    /// What is gained and lost here.
    #[must_use]
    pub fn settled_in(&self) -> &Asset {
        match (&self.settle, self.kind.is_inverse()) {
            (Some(asset), _) => asset,
            (None, true) => &self.base,
            (None, false) => &self.quote,
        }
    }

    fn check(&self) -> Result<(), String> {
        let symbol = &self.symbol;
        if self.inverse != self.kind.is_inverse() {
            return Err(format!(
                "`{symbol}`: `inverse` is true of kind `coin_futures`, and of no other"
            ));
        }
        if self.inverse && self.contract_size.is_none() {
            return Err(format!(
                "`{symbol}`: an inverse market needs its `contract_size`"
            ));
        }
        if self.contract_size.is_some_and(|size| !size.is_positive()) {
            return Err(format!("`{symbol}`: `contract_size` is not above zero"));
        }
        if self.contract_size.is_some() && !self.kind.is_future() {
            return Err(format!(
                "`{symbol}`: only futures have a `contract_size` here"
            ));
        }
        let gained = if self.inverse {
            &self.base
        } else {
            &self.quote
        };
        if self.settle.as_ref().is_some_and(|asset| asset != gained) {
            return Err(format!(
                "`{symbol}`: a position settled in another asset than `{gained}` cannot be valued"
            ));
        }
        Ok(())
    }
}

/// Instruments and accounts whose net position counts as one: `[[hedge_group]]` of `values.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HedgeGroup {
    pub name: Name,
    /// Absent: each account alone.
    #[serde(default)]
    pub accounts: Vec<Name>,
    /// Base assets that count one to one, whatever they are traded against. Absent: each asset alone.
    #[serde(default)]
    pub assets: Vec<Asset>,
}

/// A release that has passed every check.
pub struct Release {
    pub hash: [u8; 32],
    pub currency: Asset,
    /// Assets declared equal to the site's currency.
    pub equal: Vec<Asset>,
    /// The highest fee that a trade may cost, in millionths (`fee` of `values.toml`).
    pub fee_ppm: Option<u64>,
    /// Whose net positions count as one; the first that fits holds. What is in none counts alone.
    pub hedge_groups: Vec<HedgeGroup>,
    pub mandates: Mandates,
    pub markets: Map<MarketId, Market>,
    /// The markets that say what an asset is worth.
    rates: Map<Asset, Vec<MarketId>>,
    pub hosts: Hosts,
    /// Accounts (by name) whose programs may log on at the venue, by the position of the host.
    sessions: BTreeSet<(usize, Name)>,
    pub authority: Box<dyn Authority>,
}

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Release")
            .field("markets", &self.markets.len())
            .finish_non_exhaustive()
    }
}

/// Why a release does not load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseError {
    Missing(&'static str),
    Mandate(MandateError),
    File { name: String, what: String },
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(
                f,
                "the release has no `{name}`; `portcullis init` writes one to start from"
            ),
            Self::Mandate(error) => error.fmt(f),
            Self::File { name, what } => write!(f, "{name}: {what}"),
        }
    }
}

impl std::error::Error for ReleaseError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    currency: Asset,
    #[serde(default)]
    equal: Vec<Asset>,
    #[serde(default)]
    fee: Option<String>,
    #[serde(default)]
    hedge_group: Vec<HedgeGroup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostsFile {
    #[serde(default)]
    host: Vec<HostText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostText {
    venue: String,
    name: String,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    pins: Vec<String>,
    #[serde(default)]
    roots: Vec<String>,
    public_roots: bool,
    weight_per_minute: u32,
    orders_per_10s: u32,
    /// Accounts whose programs may log on there. On such a session egress could send orders that nobody signed.
    #[serde(default)]
    sessions: Vec<Name>,
}

impl Release {
    /// Reads a release's texts. `authority` is its `authority.cedar`, compiled.
    pub fn load(files: &Files, authority: Box<dyn Authority>) -> Result<Self, ReleaseError> {
        let file = |name: &'static str| files.get(name).ok_or(ReleaseError::Missing(name));
        let wrong = |name: &str, what: String| ReleaseError::File {
            name: name.to_owned(),
            what,
        };
        file("authority.cedar")?;
        let mandates = Mandates::parse(file("mandates.toml")?).map_err(ReleaseError::Mandate)?;
        let values: Values = toml::from_str(file("values.toml")?)
            .map_err(|e| wrong("values.toml", e.to_string()))?;
        let fee_ppm = values
            .fee
            .map(|text| {
                crate::mandate::parse_percent(&text)
                    .map_err(|e| wrong("values.toml", format!("`fee` = \"{text}\" {e}")))
            })
            .transpose()?;
        let hosts: HostsFile =
            toml::from_str(file("hosts.toml")?).map_err(|e| wrong("hosts.toml", e.to_string()))?;
        let mut markets = Map::default();
        for (name, text) in files
            .iter()
            .filter(|(name, _)| name.starts_with("markets/"))
        {
            let list: Vec<Market> =
                serde_json::from_str(text).map_err(|e| wrong(name, e.to_string()))?;
            let venue = name
                .strip_prefix("markets/")
                .and_then(|file| file.strip_suffix(".json"))
                .and_then(|venue| Name::new(venue).ok())
                .ok_or_else(|| wrong(name, "is not named `markets/VENUE.json`".to_owned()))?;
            for market in list {
                market.check().map_err(|what| wrong(name, what))?;
                let id = MarketId {
                    symbol: market.symbol.clone(),
                    kind: market.kind,
                    venue: venue.clone(),
                };
                if markets.insert(id, market).is_some() {
                    return Err(wrong(name, "a symbol stands twice".to_owned()));
                }
            }
        }
        let rates = rates(&markets, &values.equal, &values.currency);
        let permitted = hosts.host.iter().enumerate();
        let sessions = permitted
            .flat_map(|(at, host)| host.sessions.iter().map(move |name| (at, name.clone())))
            .collect();
        Ok(Self {
            sessions,
            hash: hash(files),
            currency: values.currency,
            equal: values.equal,
            fee_ppm,
            hedge_groups: values.hedge_group,
            mandates,
            markets,
            rates,
            hosts: read_hosts(hosts).map_err(|what| wrong("hosts.toml", what))?,
            authority,
        })
    }

    /// Markets whose prices a decision may need: those of the firm's mandate, and those that value their quote assets.
    #[must_use]
    pub fn priced(&self) -> BTreeSet<MarketId> {
        let mandated = self
            .markets
            .iter()
            .filter(|(id, _)| self.mandates.firm.market(id).is_some());
        let mut ids = BTreeSet::new();
        for (id, market) in mandated {
            ids.insert(id.clone());
            for asset in [&market.quote, market.settled_in()] {
                ids.extend(self.rates(asset).iter().cloned());
            }
        }
        ids
    }

    /// Whether programs of an account may log on at the host with this position: not unless it says so.
    #[must_use]
    pub fn permits_sessions(&self, host: u16, account: &Name) -> bool {
        self.sessions
            .contains(&(usize::from(host), account.clone()))
    }

    /// The spot markets that say what an asset is worth, the first of them first; none for the currency itself.
    #[must_use]
    pub fn rates(&self, asset: &Asset) -> &[MarketId] {
        self.rates.get(asset).map_or(&[], Vec::as_slice)
    }

    /// The asset is the site's currency, or declared equal to it.
    #[must_use]
    pub fn is_currency(&self, asset: &Asset) -> bool {
        *asset == self.currency || self.equal.contains(asset)
    }
}

fn rates(
    markets: &Map<MarketId, Market>,
    equal: &[Asset],
    currency: &Asset,
) -> Map<Asset, Vec<MarketId>> {
    let rank = |asset: &Asset| equal.iter().chain([currency]).position(|one| one == asset);
    let mut found: Vec<(usize, &MarketId, &Asset)> = markets
        .iter()
        .filter(|(id, market)| id.kind == MarketKind::Spot && rank(&market.base).is_none())
        .filter_map(|(id, market)| Some((rank(&market.quote)?, id, &market.base)))
        .collect();
    found.sort_by_key(|(rank, id, _)| (*rank, &id.venue, &id.symbol));
    let mut rates: Map<Asset, Vec<MarketId>> = Map::default();
    for (_, id, asset) in found {
        rates.entry(asset.clone()).or_default().push(id.clone());
    }
    rates
}

fn read_hosts(file: HostsFile) -> Result<Hosts, String> {
    let mut hosts = Hosts {
        hosts: Vec::new(),
        roots: Vec::new(),
    };
    for host in file.host {
        let pins = host
            .pins
            .iter()
            .map(|pin| from_hex(pin).filter(|b| b.len() == 32).map(ByteVec::from))
            .collect::<Option<Vec<_>>>()
            .ok_or("a pin is not the SHA-256 of a public key in 64 hexadecimal digits")?;
        for root in &host.roots {
            let der =
                from_hex(root).ok_or("a root is not a certificate's DER in hexadecimal digits")?;
            hosts.roots.push(ByteVec::from(der));
        }
        hosts.hosts.push(Host {
            address: host.address.unwrap_or_else(|| format!("{}:443", host.name)),
            venue: host.venue,
            name: host.name,
            pins,
            public_roots: host.public_roots,
            weight_per_minute: host.weight_per_minute,
            orders_per_10s: host.orders_per_10s,
        });
    }
    Ok(hosts)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}

/// SHA-256 over the canonical CBOR of the files in the order of their names: an array of `[name, text]`.
#[must_use]
pub fn hash(files: &Files) -> [u8; 32] {
    let list: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    // Encoding into a `Vec` cannot fail.
    let bytes = minicbor::to_vec(list).unwrap_or_default();
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, &bytes).as_ref());
    hash
}
