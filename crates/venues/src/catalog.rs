//! A venue's endpoints as data: what each call is, what its fields mean, what it weighs. A catalog is TOML, compiled
//! into the program; a site adds to it in `catalog.d/` as part of a release. Every text here was written by us or by
//! the site: a mistake in it refuses to load, and nothing is guessed. Format: `docs/spec/catalog.md`.

use crate::dialect::{self, Dialect};
use crate::error::{DecodeError, quote};
use crate::form::Field;
use crate::request::RawRequest;
use crate::value::{Type, Values};
use portcullis_model::action::{ActionKind, Leg, MarketKind, ReadOf, SettingKind, Symbol};
use portcullis_model::release::{CATALOG_FOLDER, Files};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, LazyLock};

/// Endpoints of all venues at most (their numbers are u16; the last is kept for "none").
pub const ENDPOINTS_MAX: usize = 10_000;
/// Venue hosts, each with endpoints of its own, at most.
pub const SERVICES_MAX: usize = 250;
/// Objects in a list where the catalog says nothing of it.
pub const BATCH_MAX: u8 = 20;

/// What is compiled in: `(file name, text)`.
pub const FILES: &[(&str, &str)] = &[
    ("binance.toml", include_str!("../catalog/binance.toml")),
    (
        "binance-fapi.toml",
        include_str!("../catalog/binance-fapi.toml"),
    ),
    (
        "binance-dapi.toml",
        include_str!("../catalog/binance-dapi.toml"),
    ),
    (
        "binance-papi.toml",
        include_str!("../catalog/binance-papi.toml"),
    ),
    (
        "binance-eapi.toml",
        include_str!("../catalog/binance-eapi.toml"),
    ),
    (
        "binance-ws.toml",
        include_str!("../catalog/binance-ws.toml"),
    ),
    (
        "binance-ws-fapi.toml",
        include_str!("../catalog/binance-ws-fapi.toml"),
    ),
    (
        "binance-ws-dapi.toml",
        include_str!("../catalog/binance-ws-dapi.toml"),
    ),
    (
        "binance-stream.toml",
        include_str!("../catalog/binance-stream.toml"),
    ),
    (
        "binance-fstream.toml",
        include_str!("../catalog/binance-fstream.toml"),
    ),
    (
        "binance-dstream.toml",
        include_str!("../catalog/binance-dstream.toml"),
    ),
    ("okx.toml", include_str!("../catalog/okx.toml")),
    (
        "okx-stream.toml",
        include_str!("../catalog/okx-stream.toml"),
    ),
    ("bybit.toml", include_str!("../catalog/bybit.toml")),
    (
        "bybit-stream.toml",
        include_str!("../catalog/bybit-stream.toml"),
    ),
    ("kucoin.toml", include_str!("../catalog/kucoin.toml")),
];

static BUILTIN: LazyLock<Result<Arc<Catalog>, CatalogError>> =
    LazyLock::new(|| Catalog::load(FILES, &[]).map(Arc::new));
/// Fields of one endpoint at most.
pub const ENDPOINT_FIELDS_MAX: usize = 120;

/// What a venue asks of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// A key and a signature.
    Signed,
    /// At the venue a key alone is enough. The gate wants the program's signature all the same, and signs.
    Key,
    /// Nothing: public data.
    None,
}

/// How an answer is read into reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Only whether it was refused.
    #[default]
    Plain,
    Order,
    Orders,
    OpenOrders,
    CancelAll,
    List,
    Lists,
    CancelReplace,
    /// One outcome for each object of a batch.
    Batch,
    Amend,
    Trades,
    Price,
    Time,
}

/// Which order of a request an attribute belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The only one.
    Order,
    Leg(Leg),
    /// The legs of the old OCO call: which of them stands above the price follows from the side.
    OcoLimit,
    OcoStop,
    /// Each leg.
    All,
    /// The pending legs.
    Pending,
}

/// What of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    Side,
    Type,
    TimeInForce,
    Quantity,
    QuoteQuantity,
    Price,
    StopPrice,
    TrailingDelta,
    Iceberg,
    ClientId,
    PegPrice,
    PegOffset,
    PegOffsetType,
    SideEffect,
    /// Which side of a hedge-mode position.
    PositionSide,
    ReduceOnly,
    ClosePosition,
    /// Whether the quantity is of the base or of the quote asset.
    QuantityUnit,
    /// Cash, cross or isolated; borrows on spot.
    MarginMode,
    TakeProfit,
    TakeProfitLimit,
    StopLoss,
    StopLossLimit,
    /// From which price on a trailing stop follows.
    ActivationPrice,
    /// By how much a trailing stop follows.
    CallbackRate,
    /// The price is taken from the book.
    PriceMatch,
    TriggerPrice,
    TriggerDirection,
    /// When a good-till-date order ends.
    GoodTill,
}

impl Attribute {
    const NAMES: [(&str, Self); 29] = [
        ("side", Self::Side),
        ("type", Self::Type),
        ("time_in_force", Self::TimeInForce),
        ("quantity", Self::Quantity),
        ("quote_quantity", Self::QuoteQuantity),
        ("price", Self::Price),
        ("stop_price", Self::StopPrice),
        ("trailing_delta", Self::TrailingDelta),
        ("iceberg", Self::Iceberg),
        ("client_id", Self::ClientId),
        ("peg_price", Self::PegPrice),
        ("peg_offset", Self::PegOffset),
        ("peg_offset_type", Self::PegOffsetType),
        ("side_effect", Self::SideEffect),
        ("position_side", Self::PositionSide),
        ("reduce_only", Self::ReduceOnly),
        ("close_position", Self::ClosePosition),
        ("quantity_unit", Self::QuantityUnit),
        ("margin_mode", Self::MarginMode),
        ("take_profit", Self::TakeProfit),
        ("take_profit_limit", Self::TakeProfitLimit),
        ("stop_loss", Self::StopLoss),
        ("stop_loss_limit", Self::StopLossLimit),
        ("activation_price", Self::ActivationPrice),
        ("callback_rate", Self::CallbackRate),
        ("price_match", Self::PriceMatch),
        ("trigger_price", Self::TriggerPrice),
        ("trigger_direction", Self::TriggerDirection),
        ("good_till", Self::GoodTill),
    ];
}
/// What a field means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Changes nothing that is judged.
    Inert,
    Symbol,
    Order(Which, Attribute),
    ListClientId,
    RefOrderId,
    RefClientId,
    AmendQuantity,
    AmendPrice,
    AmendClientId,
    Asset,
    Amount,
    Address,
    Network,
    Memo,
    From,
    ToAsset,
    /// `FROM_TO` in one word.
    Wallets,
    /// The figure of a setting.
    To,
    /// Chooses the action among [`Endpoint::actions`].
    Chooses,
    /// Whether an order is placed only if what it replaces was cancelled.
    ReplaceMode,
    /// Which of the venue's markets: its dialect knows the words.
    Market,
    /// The coin that what is cancelled settles in.
    Settle,
    /// The figure of a setting that mandates know.
    Setting(SettingKind),
    /// A list of objects, each with actions of its own.
    Batch,
    /// Objects that belong to the order: attached exits.
    Attached,
}

#[derive(Debug, Clone)]
pub struct FieldRule {
    pub name: String,
    pub ty: Type,
    pub required: bool,
    pub meaning: Meaning,
    /// It is a segment of the path.
    pub in_path: bool,
}

/// Fields of the objects within a request.
#[derive(Debug, Clone)]
pub struct ObjectRule {
    pub name: String,
    /// Sorted by name.
    pub fields: Vec<FieldRule>,
    pub one_of: Vec<Vec<String>>,
    pub exclude: Vec<Vec<String>>,
}

#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Position of its host in [`Catalog::services`].
    pub service: u8,
    pub method: Method,
    /// A segment `{name}` stands for the field of that name.
    pub path: String,
    pub action: ActionKind,
    /// Words of the choosing field, and the action of each.
    pub actions: Vec<(String, ActionKind)>,
    pub market: MarketKind,
    pub of: ReadOf,
    pub security: Security,
    pub weight: u32,
    /// Weight without any field called `symbol` or `symbols`.
    pub weight_without_symbol: Option<u32>,
    /// Weight where the figure of the field `limit` is at most the first number, ascending.
    pub weight_by_limit: Vec<(u64, u32)>,
    /// Orders that count against the venue's order rate.
    pub orders: u32,
    pub reviewed: bool,
    pub source: String,
    /// Why it is not passed: its answer holds a secret.
    pub secret: Option<String>,
    pub answer: Answer,
    /// The ids name an order list.
    pub list: bool,
    /// The ids name conditional (algo) orders.
    pub algo: bool,
    /// The whole body is a list of such objects.
    pub array: Option<u8>,
    pub batch_max: u8,
    /// `orders` is for the request, however many it holds.
    pub orders_whole: bool,
    pub objects: Vec<ObjectRule>,
    /// The orders that a request of this endpoint describes.
    pub legs: Vec<Which>,
    /// In the order in which they are sent: sorted by name.
    pub fields: Vec<FieldRule>,
    /// Groups of which at least one must be sent.
    pub one_of: Vec<Vec<String>>,
    /// Groups of which at most one may be sent.
    pub exclude: Vec<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
    /// A frame of a WebSocket; its own `method` (or `op`) is the path.
    Ws,
}

impl Method {
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "GET" => Self::Get,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "WS" => Self::Ws,
            _ => return None,
        })
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Ws => "WS",
        }
    }
}

impl Endpoint {
    /// Changes nothing at the venue and its fields were reviewed as such: an unnamed field may pass.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.action.is_read() && self.actions.is_empty()
    }

    /// `POST /api/v3/order`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.method.name(), self.path)
    }

    #[must_use]
    pub fn field(&self, name: &str) -> Option<(u8, &FieldRule)> {
        field(&self.fields, name)
    }

    /// Whether segments of its path are fields.
    #[must_use]
    pub fn has_fields_in_path(&self) -> bool {
        self.fields.iter().any(|field| field.in_path)
    }

    /// The fields that stand in a request's path. `None`: it is no path of this endpoint.
    pub(crate) fn in_path<'p>(&'p self, path: &'p str) -> Option<Vec<Field<'p>>> {
        let mut fields = Vec::new();
        if !self.has_fields_in_path() {
            return (path == self.path).then_some(fields);
        }
        let mut sent = path.split('/');
        for wanted in self.path.split('/') {
            let segment = sent.next()?;
            match path_field(wanted) {
                Some(name) if is_segment(segment) => fields.push(Field::plain(name, segment)),
                None if segment == wanted => {}
                _ => return None,
            }
        }
        sent.next().is_none().then_some(fields)
    }

    /// The path with these values in it.
    pub(crate) fn path_with(&self, values: &Values) -> String {
        if !self.has_fields_in_path() {
            return self.path.clone();
        }
        let mut path = String::with_capacity(self.path.len() + 40);
        for segment in self.path.split('/').skip(1) {
            path.push('/');
            let value = path_field(segment).and_then(|name| {
                let (at, rule) = self.field(name)?;
                let (_, value) = values.iter().find(|(known, _)| *known == at)?;
                Some((rule, value))
            });
            match value {
                Some((rule, value)) => rule.ty.write(value, &mut path),
                None => path.push_str(segment),
            }
        }
        path
    }

    /// The rule of objects that a field holds.
    #[must_use]
    pub fn object(&self, at: u8) -> Option<&ObjectRule> {
        self.objects.get(usize::from(at))
    }
}

/// The field that a segment of a catalog's path stands for.
fn path_field(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// What a field in a path may hold: characters that are never encoded, and nothing that a path gives a meaning to.
fn is_segment(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// A field by name, with its position.
#[must_use]
pub fn field<'a>(fields: &'a [FieldRule], name: &str) -> Option<(u8, &'a FieldRule)> {
    let at = fields.iter().position(|f| f.name == name)?;
    Some((u8::try_from(at).ok()?, fields.get(at)?))
}

/// A venue host and the endpoints that it serves.
#[derive(Debug, Clone)]
pub struct Service {
    pub dialect: &'static dyn Dialect,
    /// The name that catalogs and signatures use (`api.binance.com`).
    pub host: String,
    /// Hosts that serve the same.
    pub also: Vec<String>,
    /// Request weight that the venue grants an address a minute, and orders that it grants an account in 10 s: what a
    /// new site begins with.
    pub weight_per_minute: u32,
    pub orders_per_10s: u32,
    /// A program's WebSocket gets one of its own here.
    pub pipe: bool,
    by_path: HashMap<String, Vec<(Method, u16)>>,
    /// Endpoints with fields in their path. A path that is written out comes first, as at the venues.
    with_fields: Vec<(Method, u16)>,
}

impl Service {
    #[must_use]
    pub fn venue(&self) -> &'static str {
        self.dialect.venue()
    }

    #[must_use]
    pub fn serves(&self, host: &str) -> bool {
        self.host == host || self.also.iter().any(|also| also == host)
    }
}

/// Every endpoint of every venue host that is known.
#[derive(Debug, Clone)]
pub struct Catalog {
    services: Vec<Service>,
    endpoints: Vec<Endpoint>,
    /// By venue, as the release's market facts have them.
    codes: HashMap<String, Codes>,
}

/// A venue's own numbers of its instruments.
#[derive(Debug, Clone, Default)]
struct Codes {
    symbols: HashMap<u64, Symbol>,
    codes: HashMap<Symbol, u64>,
}

/// What of a market's facts decoding needs.
#[derive(Deserialize)]
struct Coded {
    symbol: Symbol,
    code: Option<u64>,
}

impl Catalog {
    /// Reads base catalogs and what a site adds: `(file name, text)` each. Endpoints keep their numbers: additions
    /// stand after them. What is added for a host that no base catalog names is an error.
    pub fn load(base: &[(&str, &str)], extra: &[(&str, &str)]) -> Result<Self, CatalogError> {
        let mut catalog = Self {
            services: Vec::new(),
            endpoints: Vec::new(),
            codes: HashMap::new(),
        };
        for &(name, text) in base {
            let file: File = parse((name, text))?;
            let fail = |why: String| CatalogError {
                file: name.to_owned(),
                endpoint: String::new(),
                why,
            };
            let dialect = dialect::of(&file.venue)
                .ok_or_else(|| fail(format!("venue `{}` has no dialect", file.venue)))?;
            if catalog.services.len() >= SERVICES_MAX {
                return Err(fail("is one of too many".to_owned()));
            }
            let hosts = || [&file.host].into_iter().chain(&file.also);
            if let Some(twice) = hosts().find(|host| catalog.service(host).is_some()) {
                return Err(fail(format!("host `{twice}` is served twice")));
            }
            catalog.services.push(Service {
                dialect,
                host: file.host.clone(),
                also: file.also.clone(),
                weight_per_minute: file.weight_per_minute,
                orders_per_10s: file.orders_per_10s,
                pipe: file.pipe,
                by_path: HashMap::new(),
                with_fields: Vec::new(),
            });
            catalog.add(name, catalog.services.len() - 1, file)?;
        }
        for &(name, text) in extra {
            let file: File = parse((name, text))?;
            let known = catalog
                .services
                .iter()
                .position(|s| s.venue() == file.venue && s.host == file.host);
            let Some(at) = known else {
                return Err(CatalogError {
                    file: name.to_owned(),
                    endpoint: String::new(),
                    why: format!(
                        "there is no host `{}` of venue `{}` to add to",
                        file.host, file.venue
                    ),
                });
            };
            catalog.add(name, at, file)?;
        }
        Ok(catalog)
    }

    /// The compiled-in catalog alone.
    pub fn builtin() -> Result<&'static Self, &'static CatalogError> {
        BUILTIN.as_ref().map(|shared| &**shared)
    }

    /// The compiled-in catalog with what a release adds to it.
    pub fn of_release(files: &Files) -> Result<Arc<Self>, CatalogError> {
        let extra: Vec<(&str, &str)> = files
            .iter()
            .filter(|(name, _)| name.starts_with(CATALOG_FOLDER))
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let plain = match extra.is_empty() {
            true => BUILTIN.clone(),
            false => Self::load(FILES, &extra).map(Arc::new),
        }?;
        let codes = codes(files)?;
        if codes.is_empty() {
            return Ok(plain);
        }
        let mut catalog = Self::clone(&plain);
        catalog.codes = codes;
        Ok(Arc::new(catalog))
    }

    /// The instrument that a venue has this number for.
    #[must_use]
    pub fn coded(&self, venue: &str, code: u64) -> Option<&Symbol> {
        self.codes.get(venue)?.symbols.get(&code)
    }

    /// The number that a venue has for an instrument.
    #[must_use]
    pub fn code_of(&self, venue: &str, symbol: &Symbol) -> Option<u64> {
        self.codes.get(venue)?.codes.get(symbol).copied()
    }

    fn add(&mut self, file_name: &str, service: usize, file: File) -> Result<(), CatalogError> {
        for text in file.endpoint {
            let name = format!("{} {}", text.method, text.path);
            let fail = |why: String| CatalogError {
                file: file_name.to_owned(),
                endpoint: name.clone(),
                why,
            };
            let method =
                Method::from_name(&text.method).ok_or_else(|| fail("unknown method".into()))?;
            let (Some(served), Ok(number)) =
                (self.services.get_mut(service), u8::try_from(service))
            else {
                return Err(fail("belongs to no host".into()));
            };
            let known = served
                .by_path
                .get(&text.path)
                .and_then(|list| list.iter().find(|(m, _)| *m == method))
                .map(|(_, at)| *at);
            match (known, text.extend) {
                (Some(_), false) => {
                    return Err(fail(
                        "is named twice; write `extend = true` to add fields".into(),
                    ));
                }
                (None, true) => return Err(fail("extends an endpoint that is not there".into())),
                (None, false) => {
                    let at = u16::try_from(self.endpoints.len())
                        .ok()
                        .filter(|_| self.endpoints.len() < ENDPOINTS_MAX)
                        .ok_or_else(|| fail("too many endpoints".into()))?;
                    let endpoint = text
                        .endpoint(served.dialect, number, method)
                        .map_err(fail)?;
                    served
                        .by_path
                        .entry(endpoint.path.clone())
                        .or_default()
                        .push((method, at));
                    if endpoint.has_fields_in_path() {
                        served.with_fields.push((method, at));
                    }
                    self.endpoints.push(endpoint);
                }
                (Some(at), true) => {
                    let Some(endpoint) = self.endpoints.get_mut(usize::from(at)) else {
                        return Err(fail("has no number".into()));
                    };
                    text.extend_endpoint(served.dialect, endpoint)
                        .map_err(fail)?;
                }
            }
        }
        Ok(())
    }

    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// Who serves this host.
    #[must_use]
    pub fn service(&self, host: &str) -> Option<&Service> {
        self.services.iter().find(|s| s.serves(host))
    }

    /// The dialect of a venue that has a catalog here.
    #[must_use]
    pub fn venue(&self, name: &str) -> Option<&'static dyn Dialect> {
        let service = self.services.iter().find(|s| s.venue() == name)?;
        Some(service.dialect)
    }

    /// Of which service an endpoint is.
    #[must_use]
    pub fn service_of(&self, endpoint: &Endpoint) -> Option<&Service> {
        self.services.get(usize::from(endpoint.service))
    }

    /// The endpoint of a request, or the one that a catalog writes so.
    #[must_use]
    pub fn find(&self, host: &str, method: Method, path: &str) -> Option<(u16, &Endpoint)> {
        let service = self.service(host)?;
        self.endpoint_at(service, method, path)
            .or_else(|| self.written(service, method, path))
    }

    fn written(&self, service: &Service, method: Method, path: &str) -> Option<(u16, &Endpoint)> {
        let known = service.by_path.get(path)?;
        let &(_, at) = known.iter().find(|(m, _)| *m == method)?;
        Some((at, self.endpoint(at)?))
    }

    pub(crate) fn endpoint_at(
        &self,
        service: &Service,
        method: Method,
        path: &str,
    ) -> Option<(u16, &Endpoint)> {
        let fits = |(at, rule): (u16, &'_ Endpoint)| rule.in_path(path).map(|_| at);
        let written = self.written(service, method, path).and_then(fits);
        let at = written.or_else(|| {
            let with_fields = service.with_fields.iter().filter(|(m, _)| *m == method);
            with_fields
                .filter_map(|(_, at)| Some((*at, self.endpoint(*at)?)))
                .find_map(fits)
        })?;
        Some((at, self.endpoint(at)?))
    }

    /// The endpoint that a request names.
    pub(crate) fn wanted(
        &self,
        service: &Service,
        method: &str,
        path: &str,
    ) -> Result<(u16, &Endpoint), DecodeError> {
        Method::from_name(method)
            .and_then(|method| self.endpoint_at(service, method, path))
            .ok_or_else(|| DecodeError::UnknownEndpoint {
                method: quote(method),
                path: quote(path),
            })
    }

    /// The host of a venue that a raw request is for: the one that it names, or else the one that has its endpoint.
    #[must_use]
    pub fn host_for(&self, venue: &str, request: &RawRequest<'_>) -> Option<&str> {
        let mut of_venue = self.services.iter().filter(|s| s.venue() == venue);
        if let Some(named) = of_venue.clone().find(|s| s.serves(request.host)) {
            return Some(&named.host);
        }
        let (path, _) = request.path_and_query().ok()?;
        let method = Method::from_name(request.method)?;
        of_venue
            .clone()
            .find(|s| self.endpoint_at(s, method, path).is_some())
            .or(of_venue.next())
            .map(|s| s.host.as_str())
    }

    #[must_use]
    pub fn endpoint(&self, at: u16) -> Option<&Endpoint> {
        self.endpoints.get(usize::from(at))
    }

    pub fn endpoints(&self) -> impl Iterator<Item = (u16, &Endpoint)> {
        (0..).zip(&self.endpoints)
    }
}

/// The numbers that venues have for instruments. One number of two instruments is an error: nobody could say which is meant.
fn codes(files: &Files) -> Result<HashMap<String, Codes>, CatalogError> {
    let mut all: HashMap<String, Codes> = HashMap::new();
    for (name, text) in files {
        let Some(venue) = name
            .strip_prefix("markets/")
            .and_then(|file| file.strip_suffix(".json"))
        else {
            continue;
        };
        let fail = |why: String| CatalogError {
            file: name.clone(),
            endpoint: String::new(),
            why,
        };
        let markets: Vec<Coded> =
            serde_json::from_str(text).map_err(|why| fail(why.to_string()))?;
        for Coded { symbol, code } in markets {
            let Some(code) = code else { continue };
            let known = all.entry(venue.to_owned()).or_default();
            let other = known.symbols.insert(code, symbol.clone());
            let another = known.codes.insert(symbol.clone(), code);
            if other.is_some_and(|other| other != symbol)
                || another.is_some_and(|another| another != code)
            {
                return Err(fail(format!(
                    "`{symbol}` has two codes, or one that another has: {code}"
                )));
            }
        }
    }
    Ok(all)
}

/// A catalog that does not load. Nothing of it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogError {
    pub file: String,
    pub endpoint: String,
    pub why: String,
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.endpoint.is_empty() {
            write!(f, "catalog `{}` does not load: {}", self.file, self.why)
        } else {
            write!(
                f,
                "catalog `{}`, endpoint `{}`: {}",
                self.file, self.endpoint, self.why
            )
        }
    }
}

impl std::error::Error for CatalogError {}

fn parse((name, text): (&str, &str)) -> Result<File, CatalogError> {
    toml::from_str(text).map_err(|e| CatalogError {
        file: name.to_owned(),
        endpoint: String::new(),
        why: e.to_string(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    venue: String,
    host: String,
    #[serde(default)]
    also: Vec<String>,
    #[serde(default = "weight_usual")]
    weight_per_minute: u32,
    #[serde(default = "orders_usual")]
    orders_per_10s: u32,
    #[serde(default)]
    pipe: bool,
    /// Who reviewed, when, against which documents: for people.
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "kept in the format so that a review without it does not load in strict tools"
    )]
    review: BTreeMap<String, String>,
    #[serde(default)]
    endpoint: Vec<EndpointText>,
}

fn weight_usual() -> u32 {
    1_200
}

fn orders_usual() -> u32 {
    100
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointText {
    method: String,
    path: String,
    #[serde(default)]
    extend: bool,
    action: Option<String>,
    #[serde(default)]
    actions: BTreeMap<String, String>,
    market: Option<MarketKind>,
    of: Option<ReadOf>,
    security: Option<Security>,
    weight: Option<u32>,
    weight_without_symbol: Option<u32>,
    #[serde(default)]
    weight_by_limit: Vec<(u64, u32)>,
    orders: Option<u32>,
    reviewed: Option<bool>,
    source: Option<String>,
    secret: Option<String>,
    answer: Option<Answer>,
    #[serde(default)]
    list: bool,
    #[serde(default)]
    algo: bool,
    array: Option<String>,
    batch_max: Option<u8>,
    #[serde(default)]
    orders_whole: bool,
    #[serde(default)]
    one_of: Vec<Vec<String>>,
    #[serde(default)]
    exclude: Vec<Vec<String>>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    /// Fields of the objects that fields hold, by name; `one_of` and `exclude` of them by the same name.
    #[serde(default)]
    objects: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    object_one_of: BTreeMap<String, Vec<Vec<String>>>,
    #[serde(default)]
    object_exclude: BTreeMap<String, Vec<Vec<String>>>,
}

impl EndpointText {
    fn endpoint(
        self,
        dialect: &dyn Dialect,
        service: u8,
        method: Method,
    ) -> Result<Endpoint, String> {
        let action = self.action.as_deref().ok_or("has no action")?;
        let mut endpoint = Endpoint {
            service,
            method,
            action: action_kind(action)?,
            actions: self
                .actions
                .iter()
                .map(|(word, action)| Ok((word.clone(), action_kind(action)?)))
                .collect::<Result<_, String>>()?,
            market: self.market.unwrap_or(MarketKind::Spot),
            of: self.of.unwrap_or(ReadOf::Account),
            security: self.security.unwrap_or(Security::Signed),
            weight: self.weight.ok_or("has no weight")?,
            weight_without_symbol: self.weight_without_symbol,
            weight_by_limit: self.weight_by_limit,
            orders: self.orders.unwrap_or(0),
            reviewed: self.reviewed.unwrap_or(false),
            source: self.source.unwrap_or_default(),
            secret: self.secret,
            answer: self.answer.unwrap_or_default(),
            list: self.list,
            algo: self.algo,
            array: None,
            batch_max: self.batch_max.unwrap_or(BATCH_MAX),
            orders_whole: self.orders_whole,
            objects: Vec::new(),
            legs: Vec::new(),
            fields: Vec::new(),
            one_of: Vec::new(),
            exclude: Vec::new(),
            path: self.path,
        };
        if endpoint.reviewed && endpoint.source.is_empty() {
            return Err("is reviewed without a source".into());
        }
        if (endpoint.action == ActionKind::Public) != (endpoint.security == Security::None) {
            return Err("is public without `security = \"none\"`, or the other way round".into());
        }
        for name in self.objects.keys() {
            endpoint.objects.push(ObjectRule {
                name: name.clone(),
                fields: Vec::new(),
                one_of: Vec::new(),
                exclude: Vec::new(),
            });
        }
        for (at, (name, fields)) in self.objects.into_iter().enumerate() {
            let mut rules = Vec::new();
            add_fields(dialect, &endpoint, &mut rules, fields)?;
            let one_of = self.object_one_of.get(&name).cloned().unwrap_or_default();
            let exclude = self.object_exclude.get(&name).cloned().unwrap_or_default();
            known_groups(&rules, &one_of, &exclude)?;
            if let Some(object) = endpoint.objects.get_mut(at) {
                (object.fields, object.one_of, object.exclude) = (rules, one_of, exclude);
            }
        }
        endpoint.array = self
            .array
            .map(|name| object_number(&endpoint, &name).ok_or(format!("has no object `{name}`")))
            .transpose()?;
        complete(
            dialect,
            &mut endpoint,
            self.fields,
            self.one_of,
            self.exclude,
        )?;
        Ok(endpoint)
    }

    /// What a site may add: fields, and its own review. It cannot change what the endpoint is.
    fn extend_endpoint(self, dialect: &dyn Dialect, endpoint: &mut Endpoint) -> Result<(), String> {
        let changes = self.action.is_some()
            || !self.actions.is_empty()
            || self.market.is_some()
            || self.of.is_some()
            || self.security.is_some()
            || self.weight.is_some()
            || self.weight_without_symbol.is_some()
            || !self.weight_by_limit.is_empty()
            || self.orders.is_some()
            || self.secret.is_some()
            || self.answer.is_some()
            || self.list
            || self.algo
            || self.array.is_some()
            || self.batch_max.is_some()
            || !self.objects.is_empty()
            || !self.object_one_of.is_empty()
            || !self.object_exclude.is_empty();
        if changes {
            return Err("an extension adds fields and a review, and changes nothing else".into());
        }
        if self.reviewed == Some(true) && !endpoint.reviewed {
            endpoint.source = self
                .source
                .filter(|s| !s.is_empty())
                .ok_or("is reviewed without a source")?;
            endpoint.reviewed = true;
        }
        complete(dialect, endpoint, self.fields, self.one_of, self.exclude)
    }
}

/// Adds fields and groups to an endpoint, and checks that the whole fits together.
fn complete(
    dialect: &dyn Dialect,
    endpoint: &mut Endpoint,
    fields: BTreeMap<String, String>,
    one_of: Vec<Vec<String>>,
    exclude: Vec<Vec<String>>,
) -> Result<(), String> {
    let mut rules = std::mem::take(&mut endpoint.fields);
    add_fields(dialect, endpoint, &mut rules, fields)?;
    endpoint.fields = rules;
    for which in [
        Which::Order,
        Which::Leg(Leg::Working),
        Which::Leg(Leg::Pending),
        Which::Leg(Leg::Above),
        Which::Leg(Leg::Below),
        Which::Leg(Leg::PendingAbove),
        Which::Leg(Leg::PendingBelow),
        Which::OcoLimit,
        Which::OcoStop,
    ] {
        let named = |f: &FieldRule| matches!(f.meaning, Meaning::Order(w, _) if w == which);
        let mut all = endpoint
            .fields
            .iter()
            .chain(endpoint.objects.iter().flat_map(|o| &o.fields));
        if !endpoint.legs.contains(&which) && all.any(named) {
            endpoint.legs.push(which);
        }
    }
    let named = |name| field(&endpoint.fields, name).is_some();
    let mut in_path = endpoint.path.split('/').filter_map(path_field);
    if let Some(name) = in_path.find(|name| !named(name)) {
        return Err(format!("has no field `{name}`, which is in its path"));
    }
    known_groups(&endpoint.fields, &one_of, &exclude)?;
    endpoint.one_of.extend(one_of);
    endpoint.exclude.extend(exclude);
    let batches = endpoint
        .fields
        .iter()
        .filter(|f| f.meaning == Meaning::Batch)
        .count();
    if batches + usize::from(endpoint.array.is_some()) > 1 {
        return Err("has more than one batch".into());
    }
    let chooser = endpoint
        .fields
        .iter()
        .chain(endpoint.objects.iter().flat_map(|o| &o.fields))
        .find(|f| f.meaning == Meaning::Chooses);
    let knows = |word: &str| endpoint.actions.iter().any(|(known, _)| known == word);
    let is_whole = match chooser {
        None => endpoint.actions.is_empty(),
        // Left out, it is the endpoint's own action.
        Some(FieldRule { ty, .. }) => match ty {
            Type::Words(words) => words.iter().all(|word| knows(word)),
            Type::Integer { from, to, .. } if from <= to && to - from < 10 => {
                (*from..=*to).all(|n| knows(&n.to_string()))
            }
            _ => false,
        },
    };
    match is_whole {
        true => Ok(()),
        false => {
            Err("`actions` and a field that chooses among exactly its words go together".into())
        }
    }
}

fn known_groups(
    fields: &[FieldRule],
    one_of: &[Vec<String>],
    exclude: &[Vec<String>],
) -> Result<(), String> {
    match one_of
        .iter()
        .chain(exclude)
        .flatten()
        .find(|name| field(fields, name).is_none())
    {
        Some(name) => Err(format!("names field `{name}` in a group only")),
        None => Ok(()),
    }
}

fn object_number(endpoint: &Endpoint, name: &str) -> Option<u8> {
    let at = endpoint.objects.iter().position(|o| o.name == name)?;
    u8::try_from(at).ok()
}

fn add_fields(
    dialect: &dyn Dialect,
    endpoint: &Endpoint,
    rules: &mut Vec<FieldRule>,
    fields: BTreeMap<String, String>,
) -> Result<(), String> {
    for (name, text) in fields {
        if field(rules, &name).is_some() {
            return Err(format!("field `{name}` is there already"));
        }
        if dialect
            .scheme_fields()
            .iter()
            .any(|scheme| name.eq_ignore_ascii_case(scheme))
        {
            return Err(format!("field `{name}` belongs to the scheme"));
        }
        let (ty, meaning) = match text.split_once(" > ") {
            Some((ty, meaning)) => (
                ty,
                meaning_of(meaning).ok_or(format!("field `{name}`: no meaning `{meaning}`"))?,
            ),
            None => (text.as_str(), Meaning::Inert),
        };
        let (ty, required) = match ty.strip_suffix('!') {
            Some(ty) => (ty, true),
            None => (ty, false),
        };
        let ty = Type::from_name(ty, &|object| object_number(endpoint, object))
            .ok_or(format!("field `{name}`: no type `{ty}`"))?;
        if !fits(&ty, meaning) {
            return Err(format!(
                "field `{name}`: `{text}` gives a meaning to a type that cannot carry it"
            ));
        }
        let in_path = endpoint
            .path
            .split('/')
            .any(|segment| path_field(segment) == Some(&name));
        if in_path && !(required && is_written_plain(&ty)) {
            return Err(format!(
                "field `{name}` is in the path: it is mandatory, and of a type that is one plain word"
            ));
        }
        rules.push(FieldRule {
            name,
            ty,
            required,
            meaning,
            in_path,
        });
    }
    if rules.len() > ENDPOINT_FIELDS_MAX {
        return Err("has too many fields".into());
    }
    rules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

/// Types whose values may be a segment of a path.
fn is_written_plain(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Symbol
            | Type::Asset
            | Type::OrderId
            | Type::ClientId
            | Type::ClientIdRef
            | Type::Token
            | Type::Words(_)
            | Type::Integer { .. }
    )
}

fn action_kind(name: &str) -> Result<ActionKind, String> {
    ActionKind::ALL
        .into_iter()
        .find(|k| k.name() == name)
        .ok_or(format!("no action `{name}`"))
}

/// Whether values of this type can be what the field is said to mean.
fn fits(ty: &Type, meaning: Meaning) -> bool {
    use Attribute as A;
    match meaning {
        Meaning::Inert => true,
        Meaning::Symbol => matches!(ty, Type::Symbol),
        Meaning::Order(_, attribute) => match attribute {
            A::Side
            | A::Type
            | A::TimeInForce
            | A::PegPrice
            | A::PegOffsetType
            | A::SideEffect
            | A::QuantityUnit
            | A::PriceMatch => matches!(ty, Type::Words(_)),
            A::Quantity
            | A::QuoteQuantity
            | A::StopPrice
            | A::Iceberg
            | A::TakeProfit
            | A::StopLoss
            | A::ActivationPrice
            | A::TriggerPrice => matches!(ty, Type::Positive | Type::Decimal),
            A::Price | A::TakeProfitLimit | A::StopLossLimit => {
                matches!(ty, Type::Positive | Type::Decimal | Type::PriceOrMarket)
            }
            A::CallbackRate => matches!(ty, Type::Positive | Type::Decimal | Type::Integer { .. }),
            A::TrailingDelta | A::PegOffset => matches!(ty, Type::Integer { .. }),
            A::ClientId => matches!(ty, Type::ClientId),
            A::ReduceOnly | A::ClosePosition => matches!(ty, Type::Bool | Type::Flag),
            A::PositionSide | A::MarginMode | A::TriggerDirection => {
                matches!(ty, Type::Words(_) | Type::Integer { .. })
            }
            A::GoodTill => matches!(ty, Type::Time | Type::Integer { .. }),
        },
        Meaning::ListClientId | Meaning::AmendClientId => matches!(ty, Type::ClientId),
        Meaning::RefOrderId => {
            let id = |ty: &Type| matches!(ty, Type::Integer { .. } | Type::OrderId);
            match ty {
                Type::List(items) => id(items),
                ty => id(ty),
            }
        }
        Meaning::RefClientId => match ty {
            Type::List(items) => matches!(**items, Type::ClientIdRef),
            ty => matches!(ty, Type::ClientIdRef),
        },
        Meaning::AmendQuantity | Meaning::AmendPrice | Meaning::Amount => {
            matches!(ty, Type::Positive)
        }
        Meaning::Asset | Meaning::ToAsset | Meaning::Settle => matches!(ty, Type::Asset),
        Meaning::Address
        | Meaning::Network
        | Meaning::Memo
        | Meaning::From
        | Meaning::To
        | Meaning::Setting(_) => !matches!(ty, Type::Objects(_) | Type::Object(_) | Type::List(_)),
        Meaning::Wallets => matches!(ty, Type::Token),
        Meaning::Chooses => matches!(ty, Type::Words(_) | Type::Integer { .. }),
        Meaning::ReplaceMode | Meaning::Market => matches!(ty, Type::Words(_)),
        Meaning::Batch => matches!(ty, Type::Objects(_)),
        Meaning::Attached => matches!(ty, Type::Objects(_) | Type::Object(_)),
    }
}

fn meaning_of(text: &str) -> Option<Meaning> {
    Some(match text {
        "symbol" => Meaning::Symbol,
        "list.client_id" => Meaning::ListClientId,
        "ref.order_id" => Meaning::RefOrderId,
        "ref.client_id" => Meaning::RefClientId,
        "amend.quantity" => Meaning::AmendQuantity,
        "amend.price" => Meaning::AmendPrice,
        "amend.client_id" => Meaning::AmendClientId,
        "asset" => Meaning::Asset,
        "amount" => Meaning::Amount,
        "address" => Meaning::Address,
        "network" => Meaning::Network,
        "memo" => Meaning::Memo,
        "from" => Meaning::From,
        "to_asset" => Meaning::ToAsset,
        "wallets" => Meaning::Wallets,
        "to" => Meaning::To,
        "chooses" => Meaning::Chooses,
        "replace_mode" => Meaning::ReplaceMode,
        "market" => Meaning::Market,
        "settle" => Meaning::Settle,
        "setting.leverage" => Meaning::Setting(SettingKind::Leverage),
        "setting.margin_mode" => Meaning::Setting(SettingKind::MarginMode),
        "setting.position_mode" => Meaning::Setting(SettingKind::PositionMode),
        "batch" => Meaning::Batch,
        "attached" => Meaning::Attached,
        _ => {
            let (which, attribute) = text.split_once('.')?;
            let which = match which {
                "order" => Which::Order,
                "above" => Which::Leg(Leg::Above),
                "below" => Which::Leg(Leg::Below),
                "working" => Which::Leg(Leg::Working),
                "pending" => Which::Leg(Leg::Pending),
                "pending_above" => Which::Leg(Leg::PendingAbove),
                "pending_below" => Which::Leg(Leg::PendingBelow),
                "limit" => Which::OcoLimit,
                "stop" => Which::OcoStop,
                "all" => Which::All,
                "pending_both" => Which::Pending,
                _ => return None,
            };
            let (_, attribute) = *Attribute::NAMES.iter().find(|(n, _)| *n == attribute)?;
            Meaning::Order(which, attribute)
        }
    })
}
