//! What a mandate costs at worst, computed beforehand: what a program that turned against us can pay away, and what the
//! market may do to the position that it may hold. Pure, from a release alone.
//!
//! **Pay away.** In a window a strategy turns over what its tightest limit says, and after that it may still reduce what
//! it holds (what reduces is not held to that limit): together at most `turnover + position`. Each unit of it loses at
//! most the widest error that price tolerance, floor and ceiling leave in any of its markets, and the fee. A limit of one
//! window bounds the others: a day is 25 begun hours, an hour is part of a day.
//!
//! **Market.** What it may hold, all bought, falls to nothing. On a spot market a sale only gives up what the account
//! had; the rise that it then misses is not counted. Where it may trade futures there is no bound: what is sold short may
//! rise without end.
//!
//! Not in either figure: an order without a price of its own (market, stop market). It trades wherever the book is, so its
//! error is the book's; [`Exposure::unpriced`] says so unless authority forbids such orders to the strategy.

use crate::action::{MarketId, MarketKind, Symbol};
use crate::id::{AccountId, Name, StrategyId};
use crate::mandate::{Limit, Mandate};
use crate::number::{ONE, Price, Value};
use crate::release::Release;
use crate::state::State;
use crate::usage::{WINDOW_NAMES, WINDOWS};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// A figure, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    At(Value),
    Unbounded,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(value) => value.fmt(f),
            Self::Unbounded => f.write_str("unbounded"),
        }
    }
}

impl Serialize for Bound {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Bound {
    fn of(limit: Option<Limit<Value>>) -> Self {
        match limit.and_then(Limit::get) {
            Some(value) => Self::At(value),
            None => Self::Unbounded,
        }
    }

    fn map(self, with: impl FnOnce(i128) -> Option<i128>) -> Self {
        match self {
            // What cannot be counted has no bound that we could state.
            Self::At(value) => with(value.0).map_or(Self::Unbounded, |v| Self::At(Value(v))),
            Self::Unbounded => Self::Unbounded,
        }
    }

    fn plus(self, other: Self) -> Self {
        match other {
            Self::At(more) => self.map(|v| v.checked_add(more.0)),
            Self::Unbounded => Self::Unbounded,
        }
    }
}

/// Whose exposure.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    pub strategy: &'a Name,
    pub desk: Option<&'a Name>,
    /// The accounts that its virtual keys are for.
    pub accounts: &'a [Name],
    /// All its limits are passed over: nothing is bounded.
    pub observe: bool,
    /// Whether authority may permit it orders without a price; `true` if that is not known.
    pub unpriced: bool,
}

/// One window of turnover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Window {
    pub window: &'static str,
    /// What it may turn over, reducing included.
    pub turnover: Bound,
    pub pay_away: Bound,
}

/// The two figures of a strategy, and what they come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exposure {
    pub strategy: Name,
    pub windows: [Window; 4],
    /// What the market may do to the position that it may hold.
    pub market: Bound,
    /// What it may hold of one base asset.
    pub position: Bound,
    /// Base assets of the markets that its mandate names.
    pub bases: usize,
    /// The widest price error, in millionths, and where.
    pub price_error_ppm: u64,
    pub widest_market: Option<Symbol>,
    /// The highest fee, in millionths; absent if `values.toml` does not say: then it is not counted.
    pub fee_ppm: Option<u64>,
    /// What orders without a price may pay away beyond the figures: nothing if authority forbids them.
    pub unpriced: Bound,
}

const WHOLE_PPM: u64 = 1_000_000;

/// The exposure of one strategy under a release.
#[must_use]
pub fn exposure(release: &Release, who: &Who<'_>) -> Exposure {
    let of = &release.mandates;
    let accounts: Vec<&Mandate> = who
        .accounts
        .iter()
        .filter_map(|name| of.accounts.get(name))
        .collect();
    let levels: Vec<&Mandate> = [
        Some(&of.firm),
        who.desk.and_then(|desk| of.desks.get(desk)),
        of.strategies.get(who.strategy),
    ]
    .into_iter()
    .flatten()
    .collect();
    // Of several accounts each adds its own room; one that names no number leaves it to the other levels.
    let tightest = |number: &dyn Fn(&Mandate) -> Option<Limit<Value>>| {
        let level = levels
            .iter()
            .map(|mandate| Bound::of(number(mandate)))
            .min();
        let together = (accounts.len() == who.accounts.len())
            .then(|| {
                accounts
                    .iter()
                    .map(|mandate| Bound::of(number(mandate)))
                    .reduce(Bound::plus)
            })
            .flatten();
        let tightest = [level, together].into_iter().flatten().min();
        tightest
            .filter(|_| !who.observe)
            .unwrap_or(Bound::Unbounded)
    };
    let all: Vec<&Mandate> = levels.iter().chain(&accounts).copied().collect();
    let markets: Vec<_> = release
        .markets
        .iter()
        .filter(|(id, _)| {
            // An account's own bounds hold only there, so with several accounts they are no bound of the strategy.
            levels.iter().all(|mandate| names(mandate, id))
                && (accounts.len() < who.accounts.len()
                    || accounts.is_empty()
                    || accounts.iter().any(|m| names(m, id)))
        })
        .collect();
    let bounding: &[&Mandate] = if who.accounts.len() == 1 {
        &all
    } else {
        &levels
    };
    let (price_error_ppm, widest_market) = markets
        .iter()
        .map(|(id, _)| (price_error(bounding, id), *id))
        .max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map_or((0, None), |(ppm, id)| (ppm, Some(id.symbol.clone())));
    let price_error_ppm = if who.observe {
        WHOLE_PPM
    } else {
        price_error_ppm
    };
    let bases = markets
        .iter()
        .map(|(_, market)| &market.base)
        .collect::<BTreeSet<_>>()
        .len();
    let position = tightest(&|mandate| mandate.position);
    let held = if bases == 0 && !who.observe {
        Bound::At(Value::ZERO)
    } else {
        position.map(|v| v.checked_mul(i128::try_from(bases).ok()?))
    };
    // What is sold short may rise without end.
    let market = match markets.iter().any(|(id, _)| id.kind != MarketKind::Spot) {
        true => Bound::Unbounded,
        false => held,
    };
    let limits = [0, 1, 2, 3]
        .map(|at: usize| tightest(&|mandate| mandate.turnover.get(at).copied().flatten()));
    let windows = [0, 1, 2, 3].map(|at: usize| {
        let turnover = window(&limits, at).plus(held);
        let rate = price_error_ppm + release.fee_ppm.unwrap_or(0);
        Window {
            window: WINDOW_NAMES
                .get(at)
                .and_then(|name| name.strip_prefix("turnover_"))
                .unwrap_or_default(),
            turnover,
            pay_away: turnover.map(|v| {
                let product = v.checked_mul(i128::from(rate))?;
                product
                    .checked_add(i128::from(WHOLE_PPM) - 1)?
                    .checked_div(i128::from(WHOLE_PPM))
            }),
        }
    });
    let unpriced = if who.unpriced && bases > 0 {
        Bound::Unbounded
    } else {
        Bound::At(Value::ZERO)
    };
    Exposure {
        strategy: who.strategy.clone(),
        windows,
        market,
        position,
        bases,
        price_error_ppm,
        widest_market,
        fee_ppm: release.fee_ppm,
        unpriced,
    }
}

/// The exposure of every strategy that is not revoked. `unpriced` says whether authority may permit a strategy orders
/// without a price.
#[must_use]
pub fn exposures(
    release: &Release,
    state: &State,
    unpriced: impl Fn(StrategyId, &[AccountId]) -> bool,
) -> Vec<Exposure> {
    state
        .strategies
        .iter()
        .filter(|(_, strategy)| !strategy.revoked)
        .map(|(id, strategy)| {
            let ids: BTreeSet<AccountId> = state
                .virtual_keys
                .values()
                .filter(|key| key.strategy == *id && !key.revoked)
                .map(|key| key.account)
                .collect();
            let names: Vec<Name> = ids
                .iter()
                .filter_map(|account| state.accounts.get(account).map(|a| a.name.clone()))
                .collect();
            let ids: Vec<AccountId> = ids.into_iter().collect();
            let who = Who {
                strategy: &strategy.name,
                desk: strategy.desk.as_ref(),
                accounts: &names,
                observe: strategy.observe,
                unpriced: unpriced(*id, &ids),
            };
            exposure(release, &who)
        })
        .collect()
}

fn names(mandate: &Mandate, id: &MarketId) -> bool {
    mandate.markets.is_empty() || mandate.market(id).is_some()
}

/// A limit on each window bounds every other: a shorter one as often as it begins in it, a longer one as it is.
fn window(limits: &[Bound; 4], at: usize) -> Bound {
    let length = |at: usize| {
        WINDOWS
            .get(at)
            .map_or(1, |(width, count)| width * *count as u64)
    };
    limits
        .iter()
        .enumerate()
        .map(|(other, limit)| {
            let begun = if other < at {
                length(at).div_ceil(length(other)) + 1
            } else {
                1
            };
            limit.map(|v| v.checked_mul(i128::from(begun)))
        })
        .min()
        .unwrap_or(Bound::Unbounded)
}

/// Millionths of what is turned over that a price within all bounds may lose against a true price within them.
fn price_error(levels: &[&Mandate], id: &MarketId) -> u64 {
    let tolerance = levels
        .iter()
        .filter_map(|mandate| mandate.price_tolerance.and_then(Limit::get))
        .min()
        .unwrap_or(WHOLE_PPM);
    let bounds = || levels.iter().filter_map(|m| m.market(id));
    let floor = bounds()
        .filter_map(|b| b.floor)
        .max()
        .unwrap_or(Price::ZERO);
    let Some(ceiling) = bounds().filter_map(|b| b.ceiling).min() else {
        return tolerance.min(WHOLE_PPM);
    };
    // (ceiling - floor) / ceiling, rounded up. An empty range lets no order pass.
    let range = (ceiling.0 - floor.0).max(0);
    let step = (ceiling.0 / i128::from(WHOLE_PPM)).max(1);
    let width = u64::try_from((range / step).saturating_add(1)).unwrap_or(WHOLE_PPM);
    let width = if range == 0 { 0 } else { width };
    tolerance.min(width).min(WHOLE_PPM)
}

/// `0.1%` for 1,000 millionths.
#[must_use]
pub fn percent(ppm: u64) -> String {
    format!("{}%", Price(i128::from(ppm) * (ONE / 10_000)))
}

#[cfg(test)]
mod tests;
