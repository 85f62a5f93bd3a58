//! `portcullis explain ENTRY`: what was asked, what was decided and why, with the figures and the usage of that moment, and
//! what came of it. All of it from the log and the release that was in force then.

use crate::Context;
use crate::fail::{DONE, Done, Fail};
use crate::ledger::{self, Reader};
use crate::market::Nobody;
use crate::site::Site;
use crate::{policy, show, view, words};
use portcullis_model::action::{Action, MarketId};
use portcullis_model::entry::{Body, What};
use portcullis_model::id::{AccountId, EntryId, GATE, StrategyId};
use portcullis_model::mandate::{Limit, Mandate, Rate};
use portcullis_model::refusal::Refusal;
use portcullis_model::release::{Files, Release};
use portcullis_model::state::{Effect, LevelKey, State, Usage};
use serde_json::{Value, json};
use std::ops::ControlFlow;

#[derive(clap::Args)]
#[command(after_help = "Example:
  portcullis explain 88213

The entry's number stands in the refusal that the program got, and in `portcullis log show`.")]
pub struct Explain {
    #[arg(value_name = "ENTRY")]
    entry: u64,
}

pub fn run(context: &Context, arguments: &Explain) -> Done {
    let site = context.open()?;
    let id = EntryId(arguments.entry);
    let mut state = State::default();
    let mut found = None;
    let mut later = Vec::new();
    let mut entries = 0;
    Reader::new(&site.log()).read(|entry, bytes| {
        entries = entry.0 + 1;
        let body = ledger::body(entry, bytes)?;
        if entry < id {
            state.apply(entry, body.at, &body.private.effects);
        } else if entry == id {
            found = Some(body);
        } else if body.public.of == Some(id) {
            later.push((entry, body));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let Some(body) = found else {
        return Err(
            Fail::refused(format!("the log has no entry {id}")).hint(match entries {
                0 => "it is empty".to_owned(),
                _ => format!("its last is {}", entries - 1),
            }),
        );
    };
    // A command's own effects name things: `add account` knows the account.
    let mut names = state.clone();
    names.apply(id, body.at, &body.private.effects);
    let files = state.release.map(|hash| site.released(&hash)).transpose();
    let why = Why::of(
        &site,
        &state,
        &body,
        files.as_ref().ok().and_then(Option::as_ref),
    );
    let object = json!({
        "entry": id, "of": view::object(&names, id, &body), "decision": why.decision,
        "release": state.release.map(|hash| show::hex(&hash)), "levels": why.levels,
        "policy": why.policy,
        "later": later.iter().map(|(entry, body)| view::object(&names, *entry, body)).collect::<Vec<_>>(),
    });
    show::either(context.json, &object, || {
        text(&names, id, &body, &why, &later, &state, &files)
    });
    Ok(DONE)
}

/// What the entry's decision rests on.
struct Why {
    decision: Option<String>,
    /// Numbers of each level that had to fit, and what was used of them.
    levels: Vec<Value>,
    rows: Vec<[String; 4]>,
    policy: Option<Value>,
    policy_words: Option<String>,
}

impl Why {
    fn of(site: &Site, state: &State, body: &Body, files: Option<&Files>) -> Self {
        let mut why = Self {
            decision: match (&body.regulator.refusal, body.what) {
                (Some(refusal), _) => Some(format!("refused: {refusal}")),
                (None, What::Approved) => Some("approved".to_owned()),
                _ => None,
            },
            levels: Vec::new(),
            rows: Vec::new(),
            policy: None,
            policy_words: None,
        };
        let (Some(strategy), Some(account), Some(files)) =
            (body.regulator.strategy, body.regulator.account, files)
        else {
            return why;
        };
        if !matches!(body.what, What::Approved | What::Refused) {
            return why;
        }
        let _ = site;
        if let Ok(release) = Release::load(files, Box::new(Nobody)) {
            why.usage(state, body, &release, strategy, account);
        }
        if strategy == GATE {
            why.policy_words = Some("  the gate's own request: no policy is asked\n".to_owned());
        } else {
            why.policies(state, body, files, strategy);
        }
        why
    }

    fn usage(
        &mut self,
        state: &State,
        body: &Body,
        release: &Release,
        strategy: StrategyId,
        account: AccountId,
    ) {
        for key in state.levels(strategy, account).into_iter().flatten() {
            let (name, mandate) = match &key {
                LevelKey::Firm => ("firm".to_owned(), Some(&release.mandates.firm)),
                LevelKey::Account(id) => {
                    let name = state.accounts.get(id).map(|account| &account.name);
                    (
                        format!("account {}", words::account_name(state, *id)),
                        name.and_then(|name| release.mandates.accounts.get(name)),
                    )
                }
                LevelKey::Desk(desk) => (format!("desk {desk}"), release.mandates.desks.get(desk)),
                LevelKey::Strategy(id) => {
                    let name = state.strategies.get(id).map(|strategy| &strategy.name);
                    (
                        format!("strategy {}", ledger::strategy_name(state, *id)),
                        name.and_then(|name| release.mandates.strategies.get(name)),
                    )
                }
            };
            let usage = state.usage.get(&key).cloned().unwrap_or_default();
            let mut lines = numbers(mandate, &usage, body);
            lines.extend(bounds(mandate, state, body));
            self.levels.push(json!({
                "level": name,
                "numbers": lines.iter().map(|(name, used, limit)| json!({
                    "number": name, "used": used, "limit": limit,
                })).collect::<Vec<_>>(),
            }));
            for (number, used, limit) in lines {
                // What is not limited at a level is noise there; `--json` has it.
                if let Some(limit) = limit {
                    self.rows.push([
                        name.clone(),
                        number.to_owned(),
                        used.unwrap_or_else(|| "-".to_owned()),
                        limit,
                    ]);
                }
            }
        }
    }

    /// Authority's part: by name for a refusal of its own; for the rest that it was not authority.
    fn policies(&mut self, state: &State, body: &Body, files: &Files, strategy: StrategyId) {
        let named = match &body.regulator.refusal {
            Some(Refusal::Forbidden { policy, .. }) => Some(policy.clone()),
            _ => None,
        };
        let text = files.get("authority.cedar");
        let Ok((table, _)) = policy::authority(files, state) else {
            return;
        };
        let account = body.regulator.account.unwrap_or(AccountId(0));
        let mut kinds: Vec<_> = body
            .regulator
            .actions
            .iter()
            .map(|action| action.kind())
            .collect();
        kinds.dedup();
        let mut about = Vec::new();
        for (index, name, effect) in table.policies() {
            let applies = kinds
                .iter()
                .filter_map(|kind| table.residual(strategy, account, *kind, index))
                .map(ToString::to_string)
                .collect::<Vec<_>>();
            let decided = named.as_deref() == Some(name);
            if applies.is_empty() && !decided {
                continue;
            }
            let effect = match effect {
                portcullis_model::table::Effect::Permit => "permit",
                portcullis_model::table::Effect::Forbid => "forbid",
            };
            let line = text.and_then(|text| {
                text.lines()
                    .position(|line| line.contains(&format!("@id(\"{name}\")")))
                    .map(|at| at + 1)
            });
            about.push((effect, name.to_owned(), line, applies, decided));
        }
        self.policy = Some(json!(
            about
                .iter()
                .map(|(effect, name, line, when, decided)| json!({
                    "policy": name, "effect": effect, "line": line, "when": when, "decided": decided,
                }))
                .collect::<Vec<_>>()
        ));
        let mut words = String::new();
        for (effect, name, line, when, decided) in &about {
            let line = line
                .map(|line| format!(", authority.cedar line {line}"))
                .unwrap_or_default();
            let decided = if *decided { "  decided" } else { "" };
            let mut when = when.clone();
            when.dedup();
            let when: Vec<&str> = when
                .iter()
                .map(|test| if test == "true" { "always" } else { test })
                .collect();
            words += &format!(
                "  {effect} `{name}`{line}: when {}{decided}\n",
                when.join("; or ")
            );
        }
        if about.is_empty() {
            words += "  none is about this strategy, account and action\n";
        }
        self.policy_words = Some(words);
    }
}

/// Floor, ceiling and cap of each market that the entry is about.
fn bounds(
    mandate: Option<&Mandate>,
    state: &State,
    body: &Body,
) -> Vec<(&'static str, Option<String>, Option<String>)> {
    let mut lines = Vec::new();
    for bounds in markets(state, body)
        .iter()
        .filter_map(|id| mandate?.market(id))
    {
        let of = |text: String| Some(format!("{text} for {}", bounds.pattern));
        if let Some(floor) = bounds.floor {
            lines.push(("floor", None, of(floor.to_string())));
        }
        if let Some(ceiling) = bounds.ceiling {
            lines.push(("ceiling", None, of(ceiling.to_string())));
        }
        if let Some(quantity) = bounds.quantity {
            lines.push(("quantity", None, of(quantity.to_string())));
        }
    }
    lines
}

/// The markets that the entry is about, each once.
fn markets(state: &State, body: &Body) -> Vec<MarketId> {
    let mut markets: Vec<MarketId> = Vec::new();
    let account = body
        .regulator
        .account
        .and_then(|id| state.accounts.get(&id));
    for action in &body.regulator.actions {
        let (Action::PlaceOrder(order) | Action::TestOrder(order), Some(account)) =
            (action, account)
        else {
            continue;
        };
        let id = MarketId {
            symbol: order.symbol.clone(),
            kind: order.market,
            venue: account.venue.clone(),
        };
        if !markets.contains(&id) {
            markets.push(id);
        }
    }
    markets
}

/// Reference prices at that moment, of the markets that the entry is about.
fn prices(state: &State, body: &Body) -> Vec<String> {
    let line = |id: &MarketId| match state.prices.get(id) {
        Some((price, at)) => format!(
            "{} at {price}, {:.1} s old",
            id.symbol,
            body.at.since_us(*at) as f64 / 1e6
        ),
        None => format!("{}: none", id.symbol),
    };
    markets(state, body).iter().map(line).collect()
}

fn limit<T: ToString>(limit: Option<Limit<T>>) -> Option<String> {
    limit.map(|limit| match limit {
        Limit::Is(number) => number.to_string(),
        Limit::Unlimited => "unlimited".to_owned(),
    })
}

fn rate(rate: Option<Limit<Rate>>) -> Option<String> {
    rate.map(|rate| match rate {
        Limit::Is(rate) => match rate.per_us {
            1_000_000 => format!("{} a second", rate.count),
            60_000_000 => format!("{} a minute", rate.count),
            us => format!("{} each {} s", rate.count, us as f64 / 1e6),
        },
        Limit::Unlimited => "unlimited".to_owned(),
    })
}

/// Each number of a level: what was used before this entry, and its limit there.
fn numbers(
    mandate: Option<&Mandate>,
    usage: &Usage,
    body: &Body,
) -> Vec<(&'static str, Option<String>, Option<String>)> {
    let now = body.at.0;
    let mut lines = Vec::new();
    let mut add = |name, used: Option<String>, limit: Option<String>| {
        // Neither used nor limited here: nothing to see.
        if limit.is_some() || used.as_deref().is_some_and(|used| used != "0") {
            lines.push((name, used, limit));
        }
    };
    add(
        "order_value",
        None,
        limit(mandate.and_then(|of| of.order_value)),
    );
    add(
        "message_rate",
        None,
        rate(mandate.and_then(|of| of.message_rate)),
    );
    let windows = ["turnover_1h", "turnover_1d", "turnover_7d", "turnover_30d"];
    for (at, name) in windows.into_iter().enumerate() {
        let used = usage.turnover.get(at).map(|ring| ring.sum(now).to_string());
        let of = mandate.and_then(|of| of.turnover.get(at).copied().flatten());
        add(name, used, limit(of));
    }
    add(
        "open_orders",
        Some(usage.open_orders.to_string()),
        limit(mandate.and_then(|of| of.open_orders)),
    );
    add("position", None, limit(mandate.and_then(|of| of.position)));
    add("loss", None, limit(mandate.and_then(|of| of.loss)));
    let weight = match usage.weight.0 == now / 60_000_000 {
        true => usage.weight.1,
        false => 0,
    };
    add(
        "venue_weight",
        Some(weight.to_string()),
        limit(mandate.and_then(|of| of.venue_weight)),
    );
    lines
}

fn text(
    names: &State,
    id: EntryId,
    body: &Body,
    why: &Why,
    later: &[(EntryId, Body)],
    before: &State,
    files: &Result<Option<Files>, Fail>,
) -> String {
    let mut text = format!(
        "entry {id}, {}, {}\n",
        body.what.name(),
        show::time(body.at)
    );
    let mut row = |name: &str, value: String| {
        text += &format!("  {name:<12} {value}\n");
    };
    if let Some(strategy) = body.regulator.strategy {
        let of = names.strategies.get(&strategy);
        let mut value = ledger::strategy_name(names, strategy);
        if let Some(desk) = of.and_then(|of| of.desk.as_ref()) {
            value += &format!(", desk {desk}");
        }
        if of.is_some_and(|of| of.observe) {
            value += ", limits observed only";
        }
        row("strategy", value);
    }
    if let Some(account) = body.regulator.account {
        row("account", words::account_name(names, account));
    }
    if let Some(key) = body.private.virtual_key {
        let from = words::source(body)
            .map(|source| format!(", from {source}"))
            .unwrap_or_default();
        row(
            "virtual key",
            format!("{}{from}", words::virtual_key(names, key)),
        );
    }
    if body.regulator.by.is_some() {
        row("by", words::who(names, body));
    }
    if let Some(endpoint) = &body.public.endpoint {
        row("request", endpoint.clone());
    }
    for action in body.regulator.actions.iter().take(20) {
        row("asks", words::action(action));
    }
    if let Some(of) = body.public.of {
        row("about", format!("entry {of}"));
    }
    match &why.decision {
        Some(decision) => row("decision", decision.clone()),
        None => row("says", words::line(body)),
    }
    if let Some(refusal) = &body.regulator.refusal {
        row("code", refusal.code().to_owned());
    }
    if let Some(refusal) = &body.private.would_refuse {
        row("enforced", format!("it would be refused: {refusal}"));
    }
    if let Some(key) = body.regulator.key.and_then(|key| names.keys.get(&key)) {
        row(
            "signed by",
            format!(
                "{} (duty {})",
                crate::account::short(&key.api_key),
                crate::account::duty_name(key.duty)
            ),
        );
    }
    if body.private.weight > 0 {
        row("weight", body.private.weight.to_string());
    }
    for line in prices(before, body) {
        row("reference", line);
    }
    for line in effects(body) {
        row("effect", line);
    }
    match (before.release, files) {
        (Some(hash), Ok(_)) => row("release", policy::short(&hash)),
        (Some(hash), Err(fail)) => row(
            "release",
            format!(
                "{}, which cannot be read: {}",
                policy::short(&hash),
                fail.fact
            ),
        ),
        (None, _) => {}
    }
    if !why.rows.is_empty() {
        text += "\nlimits, and what was used of them before this entry\n";
        let table = show::table(["level", "number", "used", "limit"], &why.rows, "");
        for line in table.lines() {
            text += &format!("  {line}\n");
        }
    }
    if let Some(policies) = &why.policy_words {
        text += "\npolicies about it\n";
        text += policies;
    }
    if !later.is_empty() {
        text += "\nwhat came of it\n";
        for (entry, body) in later.iter().take(20) {
            text += &format!(
                "  entry {entry}, {}: {}\n",
                show::time(body.at),
                words::line(body)
            );
        }
    }
    text
}

/// What the entry changed, where that is not plain from its words.
fn effects(body: &Body) -> Vec<String> {
    body.private
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Spent { turnover, .. } if turnover.is_positive() => {
                Some(format!("turnover {turnover} spent"))
            }
            Effect::Reserved { order, .. } => Some(format!(
                "{} {} {} reserved as an open order",
                match order.side {
                    portcullis_model::action::Side::Buy => "buy",
                    portcullis_model::action::Side::Sell => "sell",
                },
                order.quantity,
                order.symbol
            )),
            Effect::Progress {
                order,
                executed,
                status,
                ..
            } => Some(format!(
                "order of entry {}: {executed} more filled, {}",
                order.entry,
                format!("{status:?}").to_lowercase()
            )),
            Effect::Traded {
                order,
                trade,
                fee,
                fee_asset,
                ..
            } if fee.0 != 0 => Some(format!(
                "trade {trade} of the order of entry {}: fee {fee} {fee_asset}",
                order.entry
            )),
            Effect::Rearmed { scope } => Some(format!("the loss of {scope} counts from here")),
            _ => None,
        })
        .take(20)
        .collect()
}
