//! A venue's endpoints as data: what each call is, what its fields mean, what it weighs. A catalog is TOML, compiled
//! into the program; a site adds to it in `catalog.d/` as part of a release. Every text here was written by us or by
//! the site: a mistake in it refuses to load, and nothing is guessed. Format: `docs/spec/catalog.md`.

use crate::value::Type;
use portcullis_model::action::{ActionKind, Leg, MarketKind, ReadOf};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Endpoints of one catalog at most (their numbers are u16; the last is kept for "none").
pub const ENDPOINTS_MAX: usize = 10_000;
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
}

#[derive(Debug, Clone)]
pub struct FieldRule {
    pub name: String,
    pub ty: Type,
    pub required: bool,
    pub meaning: Meaning,
}

#[derive(Debug, Clone)]
pub struct Endpoint {
    pub method: Method,
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
}

impl Method {
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "GET" => Self::Get,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
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
        let at = self.fields.iter().position(|f| f.name == name)?;
        Some((u8::try_from(at).ok()?, self.fields.get(at)?))
    }
}

/// The endpoints of one venue host.
#[derive(Debug, Clone)]
pub struct Catalog {
    pub venue: String,
    pub host: String,
    endpoints: Vec<Endpoint>,
    by_path: HashMap<String, Vec<(Method, u16)>>,
}

impl Catalog {
    /// Reads a base catalog and what a site adds: `(file name, text)` each. Endpoints keep their numbers: additions
    /// stand after them.
    pub fn load(base: (&str, &str), extra: &[(&str, &str)]) -> Result<Self, CatalogError> {
        let file: File = parse(base)?;
        let mut catalog = Self {
            venue: file.venue.clone(),
            host: file.host.clone(),
            endpoints: Vec::new(),
            by_path: HashMap::new(),
        };
        catalog.add(base.0, file)?;
        for (name, text) in extra {
            let file: File = parse((name, text))?;
            if file.venue == catalog.venue && file.host == catalog.host {
                catalog.add(name, file)?;
            }
        }
        Ok(catalog)
    }

    fn add(&mut self, file_name: &str, file: File) -> Result<(), CatalogError> {
        for text in file.endpoint {
            let name = format!("{} {}", text.method, text.path);
            let fail = |why: String| CatalogError {
                file: file_name.to_owned(),
                endpoint: name.clone(),
                why,
            };
            let method =
                Method::from_name(&text.method).ok_or_else(|| fail("unknown method".into()))?;
            let known = self.find(method, &text.path);
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
                    let endpoint = text.endpoint(method).map_err(fail)?;
                    self.by_path
                        .entry(endpoint.path.clone())
                        .or_default()
                        .push((method, at));
                    self.endpoints.push(endpoint);
                }
                (Some((at, _)), true) => {
                    let Some(endpoint) = self.endpoints.get_mut(usize::from(at)) else {
                        return Err(fail("has no number".into()));
                    };
                    text.extend_endpoint(endpoint).map_err(fail)?;
                }
            }
        }
        Ok(())
    }

    #[must_use]
    pub fn find(&self, method: Method, path: &str) -> Option<(u16, &Endpoint)> {
        let &(_, at) = self.by_path.get(path)?.iter().find(|(m, _)| *m == method)?;
        Some((at, self.endpoints.get(usize::from(at))?))
    }

    #[must_use]
    pub fn endpoint(&self, at: u16) -> Option<&Endpoint> {
        self.endpoints.get(usize::from(at))
    }

    pub fn endpoints(&self) -> impl Iterator<Item = (u16, &Endpoint)> {
        (0..).zip(&self.endpoints)
    }
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
    one_of: Vec<Vec<String>>,
    #[serde(default)]
    exclude: Vec<Vec<String>>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
}

impl EndpointText {
    fn endpoint(self, method: Method) -> Result<Endpoint, String> {
        let action = self.action.as_deref().ok_or("has no action")?;
        let mut endpoint = Endpoint {
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
        add_fields(&mut endpoint, self.fields, self.one_of, self.exclude)?;
        Ok(endpoint)
    }

    /// What a site may add: fields, and its own review. It cannot change what the endpoint is.
    fn extend_endpoint(self, endpoint: &mut Endpoint) -> Result<(), String> {
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
            || self.list;
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
        add_fields(endpoint, self.fields, self.one_of, self.exclude)
    }
}

fn add_fields(
    endpoint: &mut Endpoint,
    fields: BTreeMap<String, String>,
    one_of: Vec<Vec<String>>,
    exclude: Vec<Vec<String>>,
) -> Result<(), String> {
    for (name, text) in fields {
        if endpoint.field(&name).is_some() {
            return Err(format!("field `{name}` is there already"));
        }
        if ["signature", "timestamp", "recvwindow"].contains(&name.to_lowercase().as_str()) {
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
        let ty = Type::from_name(ty).ok_or(format!("field `{name}`: no type `{ty}`"))?;
        if !fits(&ty, meaning) {
            return Err(format!(
                "field `{name}`: `{text}` gives a meaning to a type that cannot carry it"
            ));
        }
        endpoint.fields.push(FieldRule {
            name,
            ty,
            required,
            meaning,
        });
    }
    endpoint.fields.sort_by(|a, b| a.name.cmp(&b.name));
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
        if !endpoint.legs.contains(&which) && endpoint.fields.iter().any(named) {
            endpoint.legs.push(which);
        }
    }
    if endpoint.fields.len() > ENDPOINT_FIELDS_MAX {
        return Err("has too many fields".into());
    }
    for name in one_of.iter().chain(&exclude).flatten() {
        if endpoint.field(name).is_none() {
            return Err(format!("names field `{name}` in a group only"));
        }
    }
    endpoint.one_of.extend(one_of);
    endpoint.exclude.extend(exclude);
    let chooser = endpoint
        .fields
        .iter()
        .find(|f| f.meaning == Meaning::Chooses);
    match (chooser, endpoint.actions.is_empty()) {
        (None, true) => Ok(()),
        (
            Some(FieldRule {
                ty: Type::Words(words),
                required: true,
                ..
            }),
            false,
        ) if words
            .iter()
            .all(|w| endpoint.actions.iter().any(|(a, _)| a == w)) =>
        {
            Ok(())
        }
        _ => Err(
            "`actions` and a required field that chooses among exactly its words go together"
                .into(),
        ),
    }
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
            A::Side | A::Type | A::TimeInForce | A::PegPrice | A::PegOffsetType | A::SideEffect => {
                matches!(ty, Type::Words(_))
            }
            A::Quantity | A::QuoteQuantity | A::Price | A::StopPrice | A::Iceberg => {
                matches!(ty, Type::Positive)
            }
            A::TrailingDelta | A::PegOffset => matches!(ty, Type::Integer(..)),
            A::ClientId => matches!(ty, Type::ClientId),
        },
        Meaning::ListClientId | Meaning::AmendClientId => matches!(ty, Type::ClientId),
        Meaning::RefOrderId => matches!(ty, Type::Integer(..)),
        Meaning::RefClientId => matches!(ty, Type::ClientIdRef),
        Meaning::AmendQuantity | Meaning::AmendPrice | Meaning::Amount => {
            matches!(ty, Type::Positive)
        }
        Meaning::Asset | Meaning::ToAsset => matches!(ty, Type::Asset),
        Meaning::Address | Meaning::Network | Meaning::Memo | Meaning::From | Meaning::To => true,
        Meaning::Wallets => matches!(ty, Type::Token),
        Meaning::Chooses | Meaning::ReplaceMode => matches!(ty, Type::Words(_)),
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
            let attribute = match attribute {
                "side" => Attribute::Side,
                "type" => Attribute::Type,
                "time_in_force" => Attribute::TimeInForce,
                "quantity" => Attribute::Quantity,
                "quote_quantity" => Attribute::QuoteQuantity,
                "price" => Attribute::Price,
                "stop_price" => Attribute::StopPrice,
                "trailing_delta" => Attribute::TrailingDelta,
                "iceberg" => Attribute::Iceberg,
                "client_id" => Attribute::ClientId,
                "peg_price" => Attribute::PegPrice,
                "peg_offset" => Attribute::PegOffset,
                "peg_offset_type" => Attribute::PegOffsetType,
                "side_effect" => Attribute::SideEffect,
                _ => return None,
            };
            Meaning::Order(which, attribute)
        }
    })
}
