//! `portcullis exposure`: what a strategy can lose at worst, computed from the release.

use crate::Context;
use crate::fail::{DONE, Done, Fail};
use crate::ledger;
use crate::market::Nobody;
use crate::policy;
use crate::show;
use portcullis_model::action::ActionKind;
use portcullis_model::exposure::{Bound, Exposure as Figures, exposures};
use portcullis_model::id::{AccountId, StrategyId};
use portcullis_model::number::Value;
use portcullis_model::release::Release;
use portcullis_model::table::{Effect, Slot, Table, Test};
use serde_json::json;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  portcullis exposure
  portcullis exposure my-bot --working-copy

Two figures a strategy: what a program that turned against you can pay away to others in a window, and what the market may do to the position that it may hold. `unbounded` is said where there is no bound.")]
pub struct Exposure {
    /// Only this strategy
    strategy: Option<String>,
    /// Under the working copy instead of the release in force
    #[arg(long)]
    working_copy: bool,
}

pub fn run(context: &Context, arguments: &Exposure) -> Done {
    let site = context.open()?;
    let state = ledger::fold(&site.log(), None)?;
    let files = match (arguments.working_copy, state.release) {
        (false, Some(hash)) => site.released(&hash)?,
        (true, _) => site.release()?,
        (false, None) => {
            return Err(Fail::refused(
                "no release is in force, so nothing can be lost through the gate",
            )
            .hint("--working-copy shows what release/ would permit"));
        }
    };
    let release = Release::load(&files, Box::new(Nobody)).map_err(|why| {
        Fail::refused(format!("release: {why}"))
            .hint("`portcullis policy check` shows all that is wrong")
    })?;
    let wanted = arguments
        .strategy
        .as_deref()
        .map(crate::account::name)
        .transpose()?;
    if let Some(name) = wanted
        .as_ref()
        .filter(|name| state.strategy(name).is_none())
    {
        return Err(Fail::refused(format!("there is no strategy `{name}`"))
            .hint("`portcullis strategy list` shows them"));
    }
    let (table, _) = policy::authority(&files, &state)?;
    let figures: Vec<(bool, Figures)> = exposures(&release, &state, |strategy, accounts| {
        accounts
            .iter()
            .any(|account| may_be_unpriced(&table, strategy, *account))
    })
    .into_iter()
    .filter(|of| wanted.as_ref().is_none_or(|name| *name == of.strategy))
    .map(|of| {
        let strategy = state
            .strategy(&of.strategy)
            .and_then(|id| state.strategies.get(&id));
        (strategy.is_some_and(|strategy| strategy.observe), of)
    })
    .collect();
    let objects: Vec<_> = figures.iter().map(|(_, figures)| figures).collect();
    let object = json!({ "currency": release.currency, "strategies": objects });
    show::either(context.json, &object, || words(&release, &figures));
    Ok(DONE)
}

/// Whether authority may permit this strategy orders without a price. `false` only if that follows from the order's type
/// alone, whatever else the order and the moment are.
fn may_be_unpriced(table: &Table, strategy: StrategyId, account: AccountId) -> bool {
    ["market", "stop_loss", "take_profit", "trailing_stop"]
        .into_iter()
        .any(|word| {
            let of = |wanted: Effect| {
                table
                    .policies()
                    .filter(move |(_, _, effect)| *effect == wanted)
                    .filter_map(|(policy, _, _)| {
                        table.residual(strategy, account, ActionKind::PlaceOrder, policy)
                    })
                    .map(|test| follows(test, word))
                    .collect::<Vec<_>>()
            };
            let forbidden = of(Effect::Forbid).contains(&Some(true));
            let permitted = of(Effect::Permit)
                .into_iter()
                .any(|test| test != Some(false));
            permitted && !forbidden
        })
}

/// What a test says of an order type, if nothing else matters to it.
fn follows(test: &Test, word: &str) -> Option<bool> {
    match test {
        Test::Always => Some(true),
        Test::Never => Some(false),
        Test::All(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| follows(part, word)).collect();
            match parts.contains(&Some(false)) {
                true => Some(false),
                false => parts.iter().all(|part| *part == Some(true)).then_some(true),
            }
        }
        Test::Any(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| follows(part, word)).collect();
            match parts.contains(&Some(true)) {
                true => Some(true),
                false => parts
                    .iter()
                    .all(|part| *part == Some(false))
                    .then_some(false),
            }
        }
        Test::Not(part) => follows(part, word).map(|is| !is),
        Test::WordIn {
            slot: Slot::OrderType,
            mask,
        } => {
            let code = Slot::OrderType
                .words()
                .iter()
                .position(|known| *known == word)?;
            Some(mask >> code & 1 == 1)
        }
        _ => None,
    }
}

fn words(release: &Release, figures: &[(bool, Figures)]) -> String {
    let currency = &release.currency;
    let rows: Vec<[String; 7]> = figures
        .iter()
        .map(|(observe, of)| {
            let [hour, day, week, month] = of
                .windows
                .each_ref()
                .map(|window| window.pay_away.to_string());
            let name = match observe {
                true => format!("{} (observe)", of.strategy),
                false => of.strategy.to_string(),
            };
            [
                name,
                hour,
                day,
                week,
                month,
                of.market.to_string(),
                error(of),
            ]
        })
        .collect();
    let mut words = show::table(
        [
            "strategy",
            "pays away 1h",
            "1d",
            "7d",
            "30d",
            "market",
            "widest price error",
        ],
        &rows,
        "no strategies",
    );
    if rows.is_empty() {
        return words;
    }
    words += &format!(
        "\nin {currency}. Pays away: what it can lose to others by bad prices and fees in a window.\n"
    );
    words += "Market: what the position that it may hold can lose.\n";
    let names = |of: &dyn Fn(&(bool, Figures)) -> bool| -> Vec<String> {
        figures
            .iter()
            .filter(|f| of(f))
            .map(|(_, of)| of.strategy.to_string())
            .collect()
    };
    let unpriced = names(&|(_, of)| of.unpriced != Bound::At(Value(0)));
    if !unpriced.is_empty() {
        words += &format!(
            "note: market orders trade wherever the book is, and the figures leave that out: {}\n",
            unpriced.join(", ")
        );
    }
    if figures.iter().any(|(_, of)| of.fee_ppm.is_none()) {
        words += "note: values.toml has no `fee`, so fees are not counted\n";
    }
    let observed = names(&|(observe, _)| *observe);
    if !observed.is_empty() {
        words += &format!(
            "note: limits are only observed, so nothing is bounded: {}\n",
            observed.join(", ")
        );
    }
    words
}

fn error(of: &Figures) -> String {
    let percent = of.price_error_ppm as f64 / 10_000.0;
    match &of.widest_market {
        Some(market) => format!("{percent}% in {market}"),
        None => "no market".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_follows_from_the_type_alone_bounds_market_orders() {
        let market = Test::WordIn {
            slot: Slot::OrderType,
            mask: 0b010,
        };
        let buys = Test::WordIn {
            slot: Slot::Side,
            mask: 1,
        };
        assert_eq!(follows(&market, "market"), Some(true));
        assert_eq!(follows(&market, "limit"), Some(false));
        assert_eq!(follows(&buys, "market"), None);
        let both = Test::All([market.clone(), buys.clone()].into());
        assert_eq!(follows(&both, "market"), None);
        assert_eq!(follows(&both, "limit"), Some(false));
        let either = Test::Any([buys, market.clone()].into());
        assert_eq!(follows(&either, "market"), Some(true));
        assert_eq!(follows(&either, "limit"), None);
        assert_eq!(follows(&Test::Not(market.into()), "market"), Some(false));
    }
}
