//! Entries in words: one line for lists, and the parts that `explain` puts together.

use crate::ledger::strategy_name;
use portcullis_model::action::{Action, Order, OrderRef, ReadOf};
use portcullis_model::entry::{Body, What};
use portcullis_model::halt::By;
use portcullis_model::id::{AccountId, VirtualKeyId};
use portcullis_model::report::{OrderReport, OrderStatus, Report, Sent};
use portcullis_model::state::State;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Snake case of serde's words, for people: `stop_loss_limit` is `stop loss limit`.
fn plain(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text.replace('_', " "),
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

pub fn account_name(state: &State, id: AccountId) -> String {
    state
        .accounts
        .get(&id)
        .map_or_else(|| id.to_string(), |account| account.name.to_string())
}

/// The strategy that an entry is about, or who acted.
pub fn who(state: &State, body: &Body) -> String {
    match (body.regulator.strategy, &body.regulator.by) {
        (Some(strategy), _) => strategy_name(state, strategy),
        (None, Some(By::Operator(name))) => format!("operator {name}"),
        (None, Some(By::Rule(rule))) => format!("rule {rule}"),
        (None, None) => "-".to_owned(),
    }
}

pub fn order(order: &Order) -> String {
    let mut words = plain(&order.side);
    match (&order.quantity, &order.quote_quantity) {
        (Some(quantity), _) => words += &format!(" {quantity}"),
        (None, Some(quote)) => words += &format!(" for {quote}"),
        (None, None) => {}
    }
    words += &format!(" {} {}", order.symbol, plain(&order.order_type));
    if let Some(price) = &order.price {
        words += &format!(" at {price}");
    }
    if let Some(stop) = &order.stop_price {
        words += &format!(" stop {stop}");
    }
    if let Some(time) = &order.time_in_force {
        words += &format!(" {}", plain(time));
    }
    if let Some(leg) = &order.leg {
        words += &format!(" ({} leg)", plain(leg));
    }
    words
}

fn reference(of: &OrderRef) -> String {
    let what = if of.list { "list" } else { "order" };
    match (&of.order_id, &of.client_order_id) {
        (Some(id), _) => format!("{what} {id} on {}", of.symbol),
        (None, Some(id)) => format!("{what} `{id}` on {}", of.symbol),
        (None, None) => format!("{what} on {}", of.symbol),
    }
}

/// One action in words.
pub fn action(action: &Action) -> String {
    let on = |symbol: &Option<_>| match symbol {
        Some(symbol) => format!(" on {symbol}"),
        None => String::new(),
    };
    match action {
        Action::PlaceOrder(of) => order(of),
        Action::TestOrder(of) => format!("test {}", order(of)),
        Action::AmendOrder(of) => {
            let mut words = format!("amend {}", reference(&of.order));
            if let Some(quantity) = &of.quantity {
                words += &format!(" to {quantity}");
            }
            if let Some(price) = &of.price {
                words += &format!(" at {price}");
            }
            words
        }
        Action::CancelOrder(of) => format!("cancel {}", reference(of)),
        Action::CancelAll(of) => format!("cancel all{}", on(&of.symbol)),
        Action::Read(of) => {
            let what = match of.of {
                ReadOf::Orders => "orders",
                ReadOf::Trades => "trades",
                ReadOf::Balances => "balances",
                ReadOf::Account => "the account",
            };
            format!("read {what}{}", on(&of.symbol))
        }
        Action::Convert(of)
        | Action::Borrow(of)
        | Action::Repay(of)
        | Action::Invest(of)
        | Action::TransferInside(of)
        | Action::TransferOwn(of)
        | Action::TransferOut(of)
        | Action::Withdraw(of)
        | Action::DepositAddress(of)
        | Action::Rfq(of) => {
            let mut words = action.kind().name().to_owned();
            if let Some(amount) = &of.amount {
                words += &format!(" {amount}");
            }
            if let Some(asset) = &of.asset {
                words += &format!(" {asset}");
            }
            if let Some(from) = &of.from {
                words += &format!(" from {from}");
            }
            if let Some(asset) = &of.to_asset {
                words += &format!(" into {asset}");
            }
            if let Some(address) = &of.address {
                words += &format!(" to {address}");
            }
            words
        }
        Action::Configure(of)
        | Action::DeadMan(of)
        | Action::Subaccount(of)
        | Action::ManageKeys(of)
        | Action::Session(of)
        | Action::Public(of) => {
            let to = of
                .to
                .as_ref()
                .map(|to| format!(" to {to}"))
                .unwrap_or_default();
            format!("{}{}{to}", action.kind().name(), on(&of.symbol))
        }
    }
}

fn actions(body: &Body) -> String {
    let mut words: Vec<String> = body.regulator.actions.iter().take(4).map(action).collect();
    let more = body.regulator.actions.len().saturating_sub(words.len());
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    match words.is_empty() {
        true => body.public.endpoint.clone().unwrap_or_default(),
        false => words.join("; "),
    }
}

pub fn sent(sent: Sent) -> &'static str {
    match sent {
        Sent::NotSent => "not sent",
        Sent::MaybeSent => "may have been sent",
        Sent::Sent => "answered",
    }
}

fn status(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Open => "open",
        OrderStatus::Filled => "filled",
        OrderStatus::Cancelled => "cancelled",
        OrderStatus::Rejected => "rejected",
        OrderStatus::Expired => "expired",
        OrderStatus::Unknown => "of unknown status",
    }
}

fn order_report(of: &OrderReport) -> String {
    let mut words = format!("order {} {}", of.order_id, status(of.status));
    if let Some(executed) = of
        .executed_quantity
        .filter(|executed| executed.is_positive())
    {
        words += &format!(", {executed} filled");
    }
    words
}

/// One report in words.
pub fn report(of: &Report) -> String {
    match of {
        Report::Order(of) => order_report(of),
        Report::Trade(of) => format!(
            "trade {}: {} {} {} at {}",
            of.trade_id,
            plain(&of.side),
            of.quantity,
            of.symbol,
            of.price
        ),
        Report::Refused { code } => format!("refused by the venue, code {code}"),
        Report::NoSuchOrder => "the venue knows no such order".to_owned(),
        Report::ActionRefused { position, code } => {
            format!("action {} refused by the venue, code {code}", position + 1)
        }
        Report::Price { symbol, price, .. } => format!("{symbol} at {price}"),
        Report::VenueTime { .. } => "the venue's time".to_owned(),
        Report::OpenOrdersComplete { symbol, .. } => match symbol {
            Some(symbol) => format!("all open orders of {symbol}"),
            None => "all open orders".to_owned(),
        },
        Report::Unreadable => "an answer that could not be read".to_owned(),
    }
}

fn reports(body: &Body) -> String {
    let mut words: Vec<String> = body.regulator.reports.iter().take(4).map(report).collect();
    let more = body.regulator.reports.len().saturating_sub(words.len());
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    words.join("; ")
}

/// What an entry says, on one line.
pub fn line(body: &Body) -> String {
    let mut words = match body.what {
        What::Approved | What::Refused | What::Dropped | What::Canary => actions(body),
        What::Outcome => {
            let mut words = body
                .public
                .of
                .map(|of| format!("of {of}: "))
                .unwrap_or_default();
            if let Some(of) = body.regulator.sent {
                words += sent(of);
            }
            if let Some(code) = body.regulator.status.filter(|code| *code > 0) {
                words += &format!(" {code}");
            }
            let reports = reports(body);
            if !reports.is_empty() {
                words += &format!("; {reports}");
            }
            words
        }
        What::Prices => prices(body),
        What::Failures => counts(body),
        _ => body.regulator.text.clone().unwrap_or_default(),
    };
    if let Some(refusal) = &body.regulator.refusal {
        words += &format!(": {refusal}");
    } else if body.what != What::Outcome && words.is_empty() {
        words = body.regulator.text.clone().unwrap_or_default();
    }
    if let Some(refusal) = &body.private.would_refuse {
        words += &format!(" (observed; enforced it would be refused: {refusal})");
    }
    words
}

fn prices(body: &Body) -> String {
    let mut prices: Vec<String> = body
        .private
        .effects
        .iter()
        .filter_map(|effect| match effect {
            portcullis_model::state::Effect::Price { symbol, price, .. } => {
                Some(format!("{symbol} {price}"))
            }
            _ => None,
        })
        .collect();
    let more = prices.len().saturating_sub(4);
    prices.truncate(4);
    if more > 0 {
        prices.push(format!("and {more} more"));
    }
    prices.join(", ")
}

fn counts(body: &Body) -> String {
    body.private
        .counts
        .iter()
        .map(|count| format!("{} {}", count.count, count.of))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The peer's address.
pub fn source(body: &Body) -> Option<String> {
    let bytes = body.private.source.as_ref()?;
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(four).to_string());
    }
    <[u8; 16]>::try_from(bytes.as_slice())
        .ok()
        .map(|sixteen| Ipv6Addr::from(sixteen).to_canonical().to_string())
}

/// A virtual key, with the beginning of its text.
pub fn virtual_key(state: &State, id: VirtualKeyId) -> String {
    match state.virtual_keys.get(&id) {
        Some(key) => format!("{id} ({})", crate::account::short(&key.api_key)),
        None => id.to_string(),
    }
}
