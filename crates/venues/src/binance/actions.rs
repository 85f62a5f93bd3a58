//! From fields to typed values to what the request asks. An endpoint that changes something takes no field that the
//! catalog does not name; a reviewed read takes one if it is a short plain word.

use super::orders;
use super::present::Presented;
use crate::catalog::{Answer, Attribute, Endpoint, FieldRule, Meaning};
use crate::error::{DecodeError, quote};
use crate::form::Field;
use crate::value::{Value, is_token};
use portcullis_model::action::{
    Action, ActionKind, Amend, Asset, CancelAll, ClientOrderId, Movement, OrderRef, Read, Setting,
    Symbol,
};
use portcullis_model::number::{Amount, Price, Quantity};
use smol_str::SmolStr;

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
    pub(super) fields: Vec<(u8, Value)>,
    pub(super) unnamed: Vec<(String, String)>,
    pub(super) time_unit: Option<&'static str>,
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
    /// an order whose answer is lost can be asked for: `mint` followed by `-` and the leg's number, at most 36 characters.
    pub fn decode(&self, mint: Option<&str>) -> Result<Actions, DecodeError> {
        let rule = self.rule;
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
        let (mut fields, unnamed) = values(rule, self.fields())?;
        if let Some(mint) = mint {
            mint_ids(rule, mint, &mut fields)?;
        }
        groups(rule, &fields)?;
        let list = actions(rule, &fields)?;
        Ok(Actions {
            endpoint: self.endpoint,
            list,
            weight: weight(rule, &fields, &unnamed),
            orders: rule.orders,
            fields,
            unnamed,
            time_unit: self.time_unit,
        })
    }
}

type Values = Vec<(u8, Value)>;
type Unnamed = Vec<(String, String)>;

fn values<'a, 'b: 'a>(
    rule: &Endpoint,
    sent: impl Iterator<Item = &'a Field<'b>>,
) -> Result<(Values, Unnamed), DecodeError> {
    let mut fields: Values = Vec::with_capacity(FIELDS_USUAL);
    let mut unnamed: Unnamed = Vec::new();
    for field in sent {
        if let Some((at, known)) = rule.field(field.name) {
            fields.push((at, known.ty.parse(field.name, &field.value)?));
            continue;
        }
        // The scheme's own names in another spelling are never a cursor or a filter.
        let scheme = ["signature", "timestamp", "recvwindow", "apikey"]
            .iter()
            .any(|n| field.name.eq_ignore_ascii_case(n));
        let passes = rule.is_read()
            && !scheme
            && unnamed.len() < UNNAMED_MAX
            && field.name.len() <= UNNAMED_NAME_BYTES_MAX
            && is_token(&field.value)
            && !rule
                .fields
                .iter()
                .any(|f| f.name.eq_ignore_ascii_case(field.name));
        if !passes {
            return Err(DecodeError::FieldUnknown {
                field: quote(field.name),
                path: rule.path.clone(),
            });
        }
        unnamed.push((field.name.to_owned(), field.value.clone().into_owned()));
    }
    fields.sort_unstable_by_key(|(at, _)| *at);
    unnamed.sort_unstable();
    for (at, known) in (0u8..).zip(&rule.fields) {
        if known.required && value_at(&fields, at).is_none() {
            return Err(DecodeError::FieldMissing {
                field: known.name.clone(),
            });
        }
    }
    Ok((fields, unnamed))
}

fn value_at(fields: &[(u8, Value)], at: u8) -> Option<&Value> {
    fields.iter().find(|(a, _)| *a == at).map(|(_, v)| v)
}

fn sent<'v>(rule: &Endpoint, fields: &'v [(u8, Value)], name: &str) -> Option<&'v Value> {
    value_at(fields, rule.field(name)?.0)
}

fn groups(rule: &Endpoint, fields: &[(u8, Value)]) -> Result<(), DecodeError> {
    let list = |names: &[String]| {
        names
            .iter()
            .map(|n| format!("`{n}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    for group in &rule.one_of {
        if group.iter().all(|n| sent(rule, fields, n).is_none()) {
            return Err(DecodeError::OneOfMissing {
                fields: list(group),
            });
        }
    }
    for group in &rule.exclude {
        if group
            .iter()
            .filter(|n| sent(rule, fields, n).is_some())
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

fn mint_ids(rule: &Endpoint, mint: &str, fields: &mut Values) -> Result<(), DecodeError> {
    let mut number = 0u8;
    let before = fields.len();
    for (at, field) in (0u8..).zip(&rule.fields) {
        let names_an_order = matches!(
            field.meaning,
            Meaning::Order(_, Attribute::ClientId) | Meaning::ListClientId | Meaning::AmendClientId
        );
        if !names_an_order || rule.legs.is_empty() && field.meaning == Meaning::ListClientId {
            continue;
        }
        if value_at(fields.get(..before).unwrap_or_default(), at).is_none() {
            let id = format!("{mint}-{number}");
            fields.push((at, field.ty.parse(&field.name, &id)?));
        }
        number = number.saturating_add(1);
    }
    if fields.len() > before {
        fields.sort_unstable_by_key(|(at, _)| *at);
    }
    Ok(())
}

fn weight(rule: &Endpoint, fields: &[(u8, Value)], unnamed: &[(String, String)]) -> u32 {
    let named =
        |name: &str| sent(rule, fields, name).is_some() || unnamed.iter().any(|(n, _)| n == name);
    let mut weight = rule.weight;
    if let Some(whole) = rule.weight_without_symbol
        && !named("symbol")
        && !named("symbols")
    {
        weight = whole;
    }
    if let Some(Value::Integer(limit)) = sent(rule, fields, "limit") {
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
pub(super) type Named<'a> = (&'a FieldRule, &'a Value);

/// What the values mean together.
fn actions(rule: &Endpoint, fields: &[(u8, Value)]) -> Result<Vec<Action>, DecodeError> {
    let named: Vec<Named<'_>> = fields
        .iter()
        .filter_map(|(at, value)| Some((rule.fields.get(usize::from(*at))?, value)))
        .collect();
    let symbol = || {
        find(&named, Meaning::Symbol).map(|(_, v)| match v {
            Value::Text(t) => Symbol(t.clone()),
            _ => Symbol::from(""),
        })
    };
    let needed_symbol = || {
        symbol().ok_or_else(|| DecodeError::FieldMissing {
            field: "symbol".to_owned(),
        })
    };
    let mut list = Vec::with_capacity(rule.legs.len() + 1);
    let kind = chosen(rule, &named);
    match kind {
        ActionKind::PlaceOrder | ActionKind::TestOrder => {
            // Cancel-replace: what goes comes first.
            if let Some(order) = reference(rule, &named, symbol()) {
                list.push(Action::CancelOrder(order));
            }
            for order in orders::orders(rule, &named, needed_symbol()?)? {
                list.push(match kind {
                    ActionKind::TestOrder => Action::TestOrder(order),
                    _ => Action::PlaceOrder(order),
                });
            }
        }
        ActionKind::AmendOrder => list.push(Action::AmendOrder(Amend {
            order: reference(rule, &named, Some(needed_symbol()?)).ok_or_else(no_order)?,
            quantity: units(&named, Meaning::AmendQuantity).map(Quantity),
            price: units(&named, Meaning::AmendPrice).map(Price),
            new_client_order_id: text(&named, Meaning::AmendClientId).map(ClientOrderId),
        })),
        ActionKind::CancelOrder => list.push(Action::CancelOrder(
            reference(rule, &named, Some(needed_symbol()?)).ok_or_else(no_order)?,
        )),
        ActionKind::CancelAll => list.push(Action::CancelAll(CancelAll {
            market: rule.market,
            symbol: symbol(),
        })),
        ActionKind::Read => list.push(Action::Read(Read {
            of: rule.of,
            market: Some(rule.market),
            symbol: symbol(),
        })),
        ActionKind::Convert => list.push(Action::Convert(movement(&named))),
        ActionKind::Borrow => list.push(Action::Borrow(movement(&named))),
        ActionKind::Repay => list.push(Action::Repay(movement(&named))),
        ActionKind::Invest => list.push(Action::Invest(movement(&named))),
        ActionKind::TransferInside => list.push(Action::TransferInside(movement(&named))),
        ActionKind::TransferOwn => list.push(Action::TransferOwn(movement(&named))),
        ActionKind::TransferOut => list.push(Action::TransferOut(movement(&named))),
        ActionKind::Withdraw => list.push(Action::Withdraw(movement(&named))),
        ActionKind::DepositAddress => list.push(Action::DepositAddress(movement(&named))),
        ActionKind::Rfq => list.push(Action::Rfq(movement(&named))),
        ActionKind::Configure => list.push(Action::Configure(setting(&named, symbol()))),
        ActionKind::DeadMan => list.push(Action::DeadMan(setting(&named, symbol()))),
        ActionKind::Subaccount => list.push(Action::Subaccount(setting(&named, symbol()))),
        ActionKind::ManageKeys => list.push(Action::ManageKeys(setting(&named, symbol()))),
        ActionKind::Session => list.push(Action::Session(setting(&named, symbol()))),
        ActionKind::Public => list.push(Action::Public(setting(&named, symbol()))),
    }
    Ok(list)
}

fn no_order() -> DecodeError {
    DecodeError::OneOfMissing {
        fields: "`orderId`, `origClientOrderId`".to_owned(),
    }
}

fn chosen(rule: &Endpoint, named: &[Named<'_>]) -> ActionKind {
    let Some((field, Value::Word(at))) = find(named, Meaning::Chooses) else {
        return rule.action;
    };
    let word = field.ty.word(*at);
    rule.actions
        .iter()
        .find(|(w, _)| w == word)
        .map_or(rule.action, |(_, kind)| *kind)
}

pub(super) fn find<'a>(named: &[Named<'a>], meaning: Meaning) -> Option<Named<'a>> {
    named.iter().find(|(f, _)| f.meaning == meaning).copied()
}

fn text(named: &[Named<'_>], meaning: Meaning) -> Option<SmolStr> {
    let (field, value) = find(named, meaning)?;
    Some(match value {
        Value::Text(text) => text.clone(),
        other => {
            let mut out = String::new();
            field.ty.write(other, &mut out);
            out.into()
        }
    })
}

fn units(named: &[Named<'_>], meaning: Meaning) -> Option<i128> {
    match find(named, meaning)? {
        (_, Value::Units(units)) => Some(*units),
        _ => None,
    }
}

fn reference(rule: &Endpoint, named: &[Named<'_>], symbol: Option<Symbol>) -> Option<OrderRef> {
    let order_id = match find(named, Meaning::RefOrderId) {
        Some((_, Value::Integer(id))) => Some(*id),
        _ => None,
    };
    let client_order_id = text(named, Meaning::RefClientId).map(ClientOrderId);
    if order_id.is_none() && client_order_id.is_none() {
        return None;
    }
    Some(OrderRef {
        market: rule.market,
        symbol: symbol?,
        order_id,
        client_order_id,
        list: rule.list,
    })
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

fn setting(named: &[Named<'_>], symbol: Option<Symbol>) -> Setting {
    Setting {
        symbol,
        to: text(named, Meaning::To).map(String::from),
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
