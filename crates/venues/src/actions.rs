//! From fields to typed values to what the request asks. An endpoint that changes something takes no field that the
//! catalog does not name; a reviewed read takes one if it is a short plain word.

use crate::catalog::{Answer, Attribute, Endpoint, FieldRule, Meaning, field};
use crate::dialect::Dialect;
use crate::document::{Node, Object, read};
use crate::error::{DecodeError, quote};
use crate::form::Field;
use crate::present::{Fields, Presented};
use crate::value::{LIST_ITEMS_MAX, Type, Value, Values, is_token};
use portcullis_model::action::{
    Action, ActionKind, Amend, Asset, CancelAll, ClientOrderId, MarketKind, Movement, OrderRef,
    Read, Setting, Symbol,
};
use portcullis_model::id::OrderId;
use portcullis_model::number::{Amount, Price, Quantity};
use smol_str::SmolStr;
use std::borrow::Cow;

/// Fields of an order fit without growing.
const FIELDS_USUAL: usize = 12;
/// Name of an unnamed field that may pass on a read, at most.
const UNNAMED_NAME_BYTES_MAX: usize = 32;
/// Unnamed fields of one read at most.
const UNNAMED_MAX: usize = 8;

/// What a request asks, with the typed values that it is built from again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions {
    /// Position in the catalog.
    pub endpoint: u16,
    pub list: Vec<Action>,
    /// Request weight at the venue.
    pub weight: u32,
    /// Orders that count against the venue's order rate.
    pub orders: u32,
    /// By position in the endpoint's fields, ascending.
    pub(crate) fields: Values,
    /// The objects of a body that is a list of them.
    pub(crate) array: Option<Vec<Values>>,
    pub(crate) unnamed: Unnamed,
    pub(crate) time_unit: Option<&'static str>,
}

impl Actions {
    /// Whether a field passed that the catalog does not name.
    #[must_use]
    pub fn has_unnamed(&self) -> bool {
        !self.unnamed.is_empty()
    }
}

impl Presented<'_> {
    /// What the request asks. With `mint`, orders that the program gave no client id get one that starts with it, so that
    /// an order whose answer is lost can be asked for.
    pub fn decode(&self, mint: Option<&str>) -> Result<Actions, DecodeError> {
        let rule = self.rule;
        let dialect = self.service.dialect;
        let path = || rule.path.clone();
        let method = || rule.method.name().to_owned();
        if let Some(why) = &rule.secret {
            return Err(DecodeError::Secret {
                method: method(),
                path: path(),
                why: why.clone(),
            });
        }
        if !rule.reviewed {
            return Err(DecodeError::NotReviewed {
                method: method(),
                path: path(),
                action: rule.action.name(),
            });
        }
        let reader = Reader {
            rule,
            dialect,
            // A pipe's frames are built by the dialect, field by field: what it does not know would be lost.
            takes_unnamed: rule.is_read() && !self.service.pipe,
        };
        let in_path = || self.in_path.iter().map(Sent::form);
        let (mut fields, mut array, unnamed) = match &self.fields {
            Fields::Form(sent, _) => {
                let sent = sent
                    .iter()
                    .filter(|f| !dialect.scheme_fields().contains(&f.name));
                let (fields, unnamed) =
                    reader.values(in_path().chain(sent.map(Sent::form)), &rule.fields)?;
                (fields, None, unnamed)
            }
            Fields::Json(sent) => {
                let (fields, unnamed) =
                    reader.values(in_path().chain(sent.iter().map(Sent::json)), &rule.fields)?;
                (fields, None, unnamed)
            }
            Fields::Array(items) => {
                let array = reader.array(items)?;
                let (fields, unnamed) = reader.values(in_path(), &rule.fields)?;
                (fields, Some(array), unnamed)
            }
        };
        if let Some(mint) = mint {
            let mut number = 0;
            let mut ids = |rules: &[FieldRule], values: &mut Values| {
                mint_ids(rule, dialect, rules, mint, &mut number, values)
            };
            ids(&rule.fields, &mut fields)?;
            if let Some((object, items)) = batch_mut(rule, &mut fields, &mut array) {
                for item in items {
                    ids(object, item)?;
                }
            }
        }
        groups(&rule.fields, &rule.one_of, &rule.exclude, &fields)?;
        let whole = named(&rule.fields, &fields);
        let batch = array
            .as_ref()
            .and_then(|items| Some((rule.array?, items)))
            .or_else(|| {
                whole
                    .iter()
                    .find_map(|(field, value)| match (&field.ty, value) {
                        (Type::Objects(object), Value::Objects(items))
                            if field.meaning == Meaning::Batch =>
                        {
                            Some((*object, items))
                        }
                        _ => None,
                    })
            });
        let mut list = Vec::with_capacity(rule.legs.len() + 1);
        let mut count = 1;
        match batch {
            None => actions(rule, dialect, &whole, &mut list)?,
            Some((object, items)) => {
                let rules = rule.object(object).map_or(&[][..], |o| &o.fields);
                count = u32::try_from(items.len()).unwrap_or(u32::MAX);
                for item in items {
                    let mut both = whole.clone();
                    both.extend(named(rules, item));
                    actions(rule, dialect, &both, &mut list)?;
                }
            }
        }
        drop(whole);
        Ok(Actions {
            endpoint: self.endpoint,
            list,
            weight: weight(rule, &fields, &unnamed),
            orders: match rule.orders_whole {
                true => rule.orders,
                false => rule.orders.saturating_mul(count),
            },
            fields,
            array,
            unnamed,
            time_unit: self.time_unit,
        })
    }
}

type Unnamed = Vec<(String, String)>;

/// One field as it was sent.
struct Sent<'a> {
    name: &'a str,
    value: SentValue<'a>,
}

enum SentValue<'a> {
    Text(&'a str),
    Json(&'a Node<'a>),
}

impl SentValue<'_> {
    /// Holds nothing: the empty text, null, or an array of nothing.
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Json(Node::Null) => true,
            Self::Json(Node::Array(items)) => items.is_empty(),
            Self::Json(_) => false,
        }
    }
}

impl<'a> Sent<'a> {
    fn form(field: &'a Field<'_>) -> Self {
        Self {
            name: field.name,
            value: SentValue::Text(&field.value),
        }
    }

    fn json((name, value): &'a (Cow<'_, str>, Node<'_>)) -> Self {
        Self {
            name,
            value: match value {
                Node::Text(text) => SentValue::Text(text),
                value => SentValue::Json(value),
            },
        }
    }
}

/// Reads fields by an endpoint's rules.
struct Reader<'r> {
    rule: &'r Endpoint,
    dialect: &'static dyn Dialect,
    takes_unnamed: bool,
}

impl Reader<'_> {
    fn values<'s>(
        &self,
        sent: impl Iterator<Item = Sent<'s>>,
        rules: &[FieldRule],
    ) -> Result<(Values, Unnamed), DecodeError> {
        let mut fields: Values = Vec::with_capacity(FIELDS_USUAL);
        let mut unnamed: Unnamed = Vec::new();
        for Sent { name, value } in sent {
            if value.is_empty() && self.dialect.empty_is_absent() {
                continue;
            }
            if let Some((at, known)) = field(rules, name) {
                if known.in_path && fields.iter().any(|(there, _)| *there == at) {
                    return Err(DecodeError::FieldRepeated { field: quote(name) });
                }
                fields.push((at, self.value(known, value)?));
                continue;
            }
            // The scheme's own names in another spelling are never a cursor or a filter.
            let scheme = name.eq_ignore_ascii_case("apiKey")
                || self
                    .dialect
                    .scheme_fields()
                    .iter()
                    .any(|n| name.eq_ignore_ascii_case(n));
            let is_like_one = rules.iter().any(|f| f.name.eq_ignore_ascii_case(name));
            match value {
                SentValue::Text(text)
                    if self.takes_unnamed
                        && !scheme
                        && unnamed.len() < UNNAMED_MAX
                        && name.len() <= UNNAMED_NAME_BYTES_MAX
                        && is_token(text)
                        && !is_like_one =>
                {
                    unnamed.push((name.to_owned(), text.to_owned()));
                }
                _ => {
                    return Err(DecodeError::FieldUnknown {
                        field: quote(name),
                        path: self.rule.path.clone(),
                    });
                }
            }
        }
        fields.sort_unstable_by_key(|(at, _)| *at);
        unnamed.sort_unstable();
        for (at, known) in (0u8..).zip(rules) {
            if known.required && value_at(&fields, at).is_none() {
                return Err(DecodeError::FieldMissing {
                    field: known.name.clone(),
                });
            }
        }
        Ok((fields, unnamed))
    }

    fn value(&self, known: &FieldRule, value: SentValue<'_>) -> Result<Value, DecodeError> {
        let bad = |why: &str| DecodeError::FieldValue {
            field: known.name.clone(),
            why: why.to_owned(),
        };
        if matches!(known.ty, Type::List(_) | Type::Objects(_) | Type::Object(_)) {
            return match value {
                SentValue::Json(node) => self.nested(known, node),
                // In a form it is JSON text.
                SentValue::Text(text) if self.dialect.body() == crate::prepare::Body::Form => {
                    self.nested(known, &read(text).map_err(|e| bad(&e.to_string()))?)
                }
                SentValue::Text(_) => Err(bad("is text; send it as JSON")),
            };
        }
        match value {
            SentValue::Text(text) => known.ty.parse(&known.name, text),
            SentValue::Json(node) => plain(known, &known.ty, node),
        }
    }

    fn nested(&self, known: &FieldRule, node: &Node<'_>) -> Result<Value, DecodeError> {
        let bad = |why: String| DecodeError::FieldValue {
            field: known.name.clone(),
            why,
        };
        match (&known.ty, node) {
            (Type::List(of), Node::Array(items)) => {
                let max = match known.meaning {
                    Meaning::RefOrderId | Meaning::RefClientId => usize::from(self.rule.batch_max),
                    _ => LIST_ITEMS_MAX,
                };
                if items.is_empty() || items.len() > max {
                    return Err(bad(format!("has not 1 to {max} items")));
                }
                items
                    .iter()
                    .map(|item| match item {
                        Node::Text(text) => of.parse(&known.name, text),
                        item => plain(known, of, item),
                    })
                    .collect::<Result<_, _>>()
                    .map(Value::List)
            }
            (Type::Objects(object), Node::Array(items)) => {
                let objects = items
                    .iter()
                    .map(|item| match item {
                        Node::Object(object) => Some(object),
                        _ => None,
                    })
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| bad("holds something that is no JSON object".to_owned()))?;
                self.objects(*object, &objects, &known.name)
                    .map(Value::Objects)
            }
            (Type::Object(object), Node::Object(fields)) => self
                .objects(*object, &[fields], &known.name)
                .map(Value::Objects),
            (Type::Object(_), _) => Err(bad("is no JSON object".to_owned())),
            _ => Err(bad("is no JSON array".to_owned())),
        }
    }

    fn objects(
        &self,
        object: u8,
        items: &[&Object<'_>],
        name: &str,
    ) -> Result<Vec<Values>, DecodeError> {
        let max = usize::from(self.rule.batch_max);
        if items.is_empty() || items.len() > max {
            return Err(DecodeError::FieldValue {
                field: name.to_owned(),
                why: format!("has not 1 to {max} objects"),
            });
        }
        let Some(object) = self.rule.object(object) else {
            return Err(DecodeError::FieldUnknown {
                field: quote(name),
                path: self.rule.path.clone(),
            });
        };
        items
            .iter()
            .map(|item| {
                let (values, unnamed) = self.values(item.iter().map(Sent::json), &object.fields)?;
                if let Some((name, _)) = unnamed.first() {
                    return Err(DecodeError::FieldUnknown {
                        field: quote(name),
                        path: self.rule.path.clone(),
                    });
                }
                groups(&object.fields, &object.one_of, &object.exclude, &values)?;
                Ok(values)
            })
            .collect()
    }

    fn array(&self, items: &[Object<'_>]) -> Result<Vec<Values>, DecodeError> {
        match self.rule.array {
            Some(object) => self.objects(object, &items.iter().collect::<Vec<_>>(), "body"),
            None => Err(DecodeError::FieldValue {
                field: "body".to_owned(),
                why: "is a JSON array; this call takes an object".to_owned(),
            }),
        }
    }
}

/// A plain JSON value: a number where the type is one, `true` or `false` where it is a truth.
fn plain(known: &FieldRule, ty: &Type, node: &Node<'_>) -> Result<Value, DecodeError> {
    match node {
        Node::Number(text) if ty.is_number() => ty.parse(&known.name, text),
        // A whole number: nothing that two readers could round.
        Node::Number(text) if *ty == Type::FrameId => Type::Integer {
            from: 0,
            to: i64::MAX.unsigned_abs(),
            text: false,
        }
        .parse(&known.name, text)
        .map(|_| Value::Text((*text).into())),
        Node::Bool(truth) if matches!(ty, Type::Bool) => Ok(Value::Bool(*truth)),
        Node::Bool(truth) if matches!(ty, Type::Flag) => Ok(Value::Flag(*truth)),
        Node::Null => Err(DecodeError::FieldValue {
            field: known.name.clone(),
            why: "is null; send a value or leave the field out".to_owned(),
        }),
        _ => Err(DecodeError::FieldValue {
            field: known.name.clone(),
            why: "is of another JSON type than the venue's documentation says".to_owned(),
        }),
    }
}

/// The objects of a batch, and their rule.
fn batch_mut<'r, 'v>(
    rule: &'r Endpoint,
    fields: &'v mut Values,
    array: &'v mut Option<Vec<Values>>,
) -> Option<(&'r [FieldRule], &'v mut Vec<Values>)> {
    if let (Some(object), Some(items)) = (rule.array, array) {
        return Some((&rule.object(object)?.fields, items));
    }
    fields.iter_mut().find_map(|(at, value)| {
        let field = rule.fields.get(usize::from(*at))?;
        match (&field.ty, value) {
            (Type::Objects(object), Value::Objects(items)) if field.meaning == Meaning::Batch => {
                Some((&rule.object(*object)?.fields[..], items))
            }
            _ => None,
        }
    })
}

fn named<'a>(rules: &'a [FieldRule], values: &'a [(u8, Value)]) -> Vec<Named<'a>> {
    values
        .iter()
        .filter_map(|(at, value)| Some((rules.get(usize::from(*at))?, value)))
        .collect()
}

fn value_at(fields: &[(u8, Value)], at: u8) -> Option<&Value> {
    fields.iter().find(|(a, _)| *a == at).map(|(_, v)| v)
}

fn sent<'v>(rules: &[FieldRule], fields: &'v [(u8, Value)], name: &str) -> Option<&'v Value> {
    value_at(fields, field(rules, name)?.0)
}

fn groups(
    rules: &[FieldRule],
    one_of: &[Vec<String>],
    exclude: &[Vec<String>],
    fields: &[(u8, Value)],
) -> Result<(), DecodeError> {
    let list = |names: &[String]| {
        names
            .iter()
            .map(|n| format!("`{n}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    for group in one_of {
        if group.iter().all(|n| sent(rules, fields, n).is_none()) {
            return Err(DecodeError::OneOfMissing {
                fields: list(group),
            });
        }
    }
    for group in exclude {
        if group
            .iter()
            .filter(|n| sent(rules, fields, n).is_some())
            .count()
            > 1
        {
            return Err(DecodeError::FieldsExclude {
                fields: list(group),
            });
        }
    }
    Ok(())
}

fn mint_ids(
    rule: &Endpoint,
    dialect: &dyn Dialect,
    rules: &[FieldRule],
    mint: &str,
    number: &mut u8,
    fields: &mut Values,
) -> Result<(), DecodeError> {
    let before = fields.len();
    for (at, field) in (0u8..).zip(rules) {
        let names_an_order = matches!(
            field.meaning,
            Meaning::Order(_, Attribute::ClientId) | Meaning::ListClientId | Meaning::AmendClientId
        );
        if !names_an_order || rule.legs.is_empty() && field.meaning == Meaning::ListClientId {
            continue;
        }
        if value_at(fields.get(..before).unwrap_or_default(), at).is_none() {
            let id = dialect.mint(mint, *number);
            fields.push((at, field.ty.parse(&field.name, &id)?));
        }
        // One id for two orders would be worse than none.
        *number = number.checked_add(1).ok_or(DecodeError::TooManyFields)?;
    }
    if fields.len() > before {
        fields.sort_unstable_by_key(|(at, _)| *at);
    }
    // What is attached to an order becomes one of its own.
    for (at, value) in fields {
        let attached = rules
            .get(usize::from(*at))
            .filter(|field| field.meaning == Meaning::Attached);
        if let (
            Some(FieldRule {
                ty: Type::Objects(object) | Type::Object(object),
                ..
            }),
            Value::Objects(items),
        ) = (attached, value)
            && let Some(object) = rule.object(*object)
        {
            for item in items {
                mint_ids(rule, dialect, &object.fields, mint, number, item)?;
            }
        }
    }
    Ok(())
}

fn weight(rule: &Endpoint, fields: &[(u8, Value)], unnamed: &[(String, String)]) -> u32 {
    let named = |name: &str| {
        sent(&rule.fields, fields, name).is_some() || unnamed.iter().any(|(n, _)| n == name)
    };
    let mut weight = rule.weight;
    if let Some(whole) = rule.weight_without_symbol
        && !named("symbol")
        && !named("symbols")
    {
        weight = whole;
    }
    if let Some(Value::Integer(limit)) = sent(&rule.fields, fields, "limit") {
        let step = rule
            .weight_by_limit
            .iter()
            .find(|(up_to, _)| limit <= up_to);
        weight = step
            .or(rule.weight_by_limit.last())
            .map_or(weight, |(_, w)| *w);
    }
    weight
}

/// One field's rule and value.
pub type Named<'a> = (&'a FieldRule, &'a Value);

/// What the values mean together.
fn actions(
    rule: &Endpoint,
    dialect: &dyn Dialect,
    named: &[Named<'_>],
    list: &mut Vec<Action>,
) -> Result<(), DecodeError> {
    let before = list.len();
    let market = dialect.market(rule, named)?;
    let symbol = || {
        find(named, Meaning::Symbol).map(|(_, v)| match v {
            Value::Text(t) => Symbol(t.clone()),
            _ => Symbol::from(""),
        })
    };
    let needed_symbol = || {
        symbol().ok_or_else(|| DecodeError::FieldMissing {
            field: "symbol".to_owned(),
        })
    };
    let refer = |symbol| references(rule, market, named, symbol);
    let kind = chosen(rule, named);
    match kind {
        ActionKind::PlaceOrder | ActionKind::TestOrder => {
            // Cancel-replace: what goes comes first.
            list.extend(refer(symbol()).into_iter().map(Action::CancelOrder));
            for order in dialect.orders(rule, named, market, needed_symbol()?)? {
                list.push(match kind {
                    ActionKind::TestOrder => Action::TestOrder(order),
                    _ => Action::PlaceOrder(order),
                });
            }
        }
        ActionKind::AmendOrder => {
            let mut orders = refer(Some(needed_symbol()?)).into_iter();
            let (Some(order), None) = (orders.next(), orders.next()) else {
                return Err(no_order(rule));
            };
            list.push(Action::AmendOrder(Amend {
                order,
                quantity: units(named, Meaning::AmendQuantity).map(Quantity),
                price: units(named, Meaning::AmendPrice).map(Price),
                new_client_order_id: text(named, Meaning::AmendClientId).map(ClientOrderId),
            }));
        }
        ActionKind::CancelOrder => {
            let symbol = match symbol() {
                // The venue finds a conditional order by its id alone.
                None if rule.algo => Symbol::from(""),
                _ => needed_symbol()?,
            };
            let orders = refer(Some(symbol));
            if orders.is_empty() {
                return Err(no_order(rule));
            }
            list.extend(orders.into_iter().map(Action::CancelOrder));
        }
        ActionKind::CancelAll => list.push(Action::CancelAll(CancelAll {
            market,
            symbol: symbol(),
            settle: text(named, Meaning::Settle).map(Asset),
        })),
        ActionKind::Read => list.push(Action::Read(Read {
            of: rule.of,
            market: Some(market),
            symbol: symbol(),
        })),
        ActionKind::Convert => list.push(Action::Convert(movement(named))),
        ActionKind::Borrow => list.push(Action::Borrow(movement(named))),
        ActionKind::Repay => list.push(Action::Repay(movement(named))),
        ActionKind::Invest => list.push(Action::Invest(movement(named))),
        ActionKind::TransferInside => list.push(Action::TransferInside(movement(named))),
        ActionKind::TransferOwn => list.push(Action::TransferOwn(movement(named))),
        ActionKind::TransferOut => list.push(Action::TransferOut(movement(named))),
        ActionKind::Withdraw => list.push(Action::Withdraw(movement(named))),
        ActionKind::DepositAddress => list.push(Action::DepositAddress(movement(named))),
        ActionKind::Rfq => list.push(Action::Rfq(movement(named))),
        ActionKind::Configure => {
            // Each figure that it sets is judged.
            let before = list.len();
            for (field, value) in named {
                if let Meaning::Setting(setting) = field.meaning {
                    list.push(Action::Configure(Setting {
                        symbol: symbol(),
                        to: Some(word(field, value).into()),
                        setting: Some(setting),
                        market: Some(market),
                    }));
                }
            }
            if list.len() == before {
                list.push(Action::Configure(setting(named, market, symbol())));
            }
        }
        ActionKind::DeadMan => list.push(Action::DeadMan(setting(named, market, symbol()))),
        ActionKind::Subaccount => list.push(Action::Subaccount(setting(named, market, symbol()))),
        ActionKind::ManageKeys => list.push(Action::ManageKeys(setting(named, market, symbol()))),
        ActionKind::Session => list.push(Action::Session(setting(named, market, symbol()))),
        ActionKind::Public => list.push(Action::Public(setting(named, market, symbol()))),
    }
    for action in list.iter_mut().skip(before) {
        dialect.adjust(rule, named, action)?;
    }
    Ok(())
}

/// Which fields name the order, in the catalog's words.
fn no_order(rule: &Endpoint) -> DecodeError {
    let names: Vec<String> = rule
        .fields
        .iter()
        .chain(rule.objects.iter().flat_map(|o| &o.fields))
        .filter(|f| matches!(f.meaning, Meaning::RefOrderId | Meaning::RefClientId))
        .map(|f| format!("`{}`", f.name))
        .collect();
    DecodeError::OneOfMissing {
        fields: names.join(", "),
    }
}

fn chosen(rule: &Endpoint, named: &[Named<'_>]) -> ActionKind {
    let word = text(named, Meaning::Chooses);
    rule.actions
        .iter()
        .find(|(known, _)| Some(known.as_str()) == word.as_deref())
        .map_or(rule.action, |(_, kind)| *kind)
}

pub(crate) fn find<'a>(named: &[Named<'a>], meaning: Meaning) -> Option<Named<'a>> {
    named.iter().find(|(f, _)| f.meaning == meaning).copied()
}

pub(crate) fn text(named: &[Named<'_>], meaning: Meaning) -> Option<SmolStr> {
    find(named, meaning).map(|(field, value)| word(field, value))
}

fn word(field: &FieldRule, value: &Value) -> SmolStr {
    match value {
        Value::Text(text) => text.clone(),
        other => {
            let mut out = String::new();
            field.ty.write(other, &mut out);
            out.into()
        }
    }
}

pub(crate) fn units(named: &[Named<'_>], meaning: Meaning) -> Option<i128> {
    match find(named, meaning)? {
        (_, Value::Units(units)) => Some(*units),
        _ => None,
    }
}

/// The orders that a request points at.
fn references(
    rule: &Endpoint,
    market: MarketKind,
    named: &[Named<'_>],
    symbol: Option<Symbol>,
) -> Vec<OrderRef> {
    let Some(symbol) = symbol else {
        return Vec::new();
    };
    let order = |order_id, client_order_id| OrderRef {
        market,
        symbol: symbol.clone(),
        order_id,
        client_order_id,
        list: rule.list,
        algo: rule.algo,
    };
    let number = |value: &Value| match value {
        Value::Integer(id) => Some(OrderId::from(*id)),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    let ids = find(named, Meaning::RefOrderId).map(|(_, value)| value);
    let client_ids = find(named, Meaning::RefClientId).map(|(_, value)| value);
    let mut orders = Vec::new();
    if let Some(Value::List(items)) = ids {
        orders.extend(items.iter().map(|id| order(number(id), None)));
    }
    if let Some(Value::List(items)) = client_ids {
        orders.extend(items.iter().map(|id| match id {
            Value::Text(text) => order(None, Some(ClientOrderId(text.clone()))),
            _ => order(None, None),
        }));
    }
    let order_id = ids.and_then(number);
    let client_order_id = text(named, Meaning::RefClientId)
        .filter(|_| !matches!(client_ids, Some(Value::List(_))))
        .map(ClientOrderId);
    if order_id.is_some() || client_order_id.is_some() {
        orders.push(order(order_id, client_order_id));
    }
    orders
}

fn movement(named: &[Named<'_>]) -> Movement {
    let mut movement = Movement {
        asset: text(named, Meaning::Asset).map(Asset),
        amount: units(named, Meaning::Amount).map(Amount),
        address: text(named, Meaning::Address).map(String::from),
        network: text(named, Meaning::Network).map(String::from),
        memo: text(named, Meaning::Memo).map(String::from),
        from: text(named, Meaning::From).map(String::from),
        to_asset: text(named, Meaning::ToAsset).map(Asset),
    };
    if let Some(wallets) = text(named, Meaning::Wallets) {
        let (from, to) = split_wallets(&wallets);
        movement.from = Some(from.to_owned());
        movement.address = Some(to.to_owned());
    }
    movement
}

/// `MAIN_UMFUTURE` is from `MAIN` to `UMFUTURE`; two wallets have an underscore in their own name.
fn split_wallets(text: &str) -> (&str, &str) {
    for long in ["PORTFOLIO_MARGIN", "ISOLATED_MARGIN"] {
        if let Some(to) = text
            .strip_prefix(long)
            .and_then(|rest| rest.strip_prefix('_'))
        {
            return (text.get(..long.len()).unwrap_or(text), to);
        }
    }
    text.split_once('_').unwrap_or((text, text))
}

fn setting(named: &[Named<'_>], market: MarketKind, symbol: Option<Symbol>) -> Setting {
    Setting {
        symbol,
        to: text(named, Meaning::To).map(String::from),
        setting: None,
        market: Some(market),
    }
}

impl Endpoint {
    /// The signer wants to know what the answer says.
    #[must_use]
    pub fn is_summarized(&self) -> bool {
        self.answer != Answer::Plain || !self.action.is_read()
    }
}

#[cfg(test)]
mod tests {
    use super::split_wallets;

    #[test]
    fn wallets_split_at_their_border() {
        for (text, expected) in [
            ("MAIN_UMFUTURE", ("MAIN", "UMFUTURE")),
            ("MAIN_PORTFOLIO_MARGIN", ("MAIN", "PORTFOLIO_MARGIN")),
            ("PORTFOLIO_MARGIN_MAIN", ("PORTFOLIO_MARGIN", "MAIN")),
            (
                "ISOLATEDMARGIN_ISOLATEDMARGIN",
                ("ISOLATEDMARGIN", "ISOLATEDMARGIN"),
            ),
            ("MAIN_ISOLATED_MARGIN", ("MAIN", "ISOLATED_MARGIN")),
        ] {
            assert_eq!(split_wallets(text), expected);
        }
    }
}
