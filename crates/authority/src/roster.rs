//! Who and what exists in a release, as Cedar sees it. Names are unique; policies use them, the table uses ids.
//!
//! It trusts the caller to take it from the log's state. Strategies that were revoked stay in it, so that a policy
//! which names one still loads; their virtual keys no longer work.

use crate::vocabulary;
use cedar_policy::{Entities, Entity, EntityUid, RestrictedExpression, Schema};
use portcullis_model::id::{AccountId, Name, StrategyId};
use portcullis_model::release::{Files, Market};
use portcullis_model::state::{self, State};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

#[derive(Debug, Clone)]
pub struct Strategy {
    pub id: StrategyId,
    pub name: Name,
    pub desk: Option<Name>,
    /// The accounts that its virtual keys name.
    pub accounts: Vec<AccountId>,
}

#[derive(Debug, Clone)]
pub struct Account {
    pub id: AccountId,
    pub name: Name,
    pub venue: Name,
}

/// What a release's policies can name.
#[derive(Debug, Clone)]
pub struct Roster {
    /// Absent before the site's first entry.
    pub site: Option<Name>,
    pub strategies: Vec<Strategy>,
    pub accounts: Vec<Account>,
    /// Desks beside those that strategies name.
    pub desks: Vec<Name>,
    /// Venues beside those that accounts name.
    pub venues: Vec<Name>,
    /// Symbols of the release's markets. Empty: not known, so policies are not compared with them.
    pub markets: Vec<String>,
    /// The address book's labels. A policy that names another is refused.
    pub destinations: Vec<String>,
}

/// Why a roster cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RosterError {
    Twice {
        what: &'static str,
        name: String,
    },
    UnknownAccount {
        strategy: Name,
        account: AccountId,
    },
    /// [`portcullis_model::table::PAIRS_MAX`].
    TooManyPairs {
        strategies: usize,
        accounts: usize,
    },
    /// Cedar refuses what we made.
    Bug(String),
}

impl fmt::Display for RosterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice { what, name } => write!(
                f,
                "two {what} are called `{name}`; policies go by name, so rename one"
            ),
            Self::UnknownAccount { strategy, account } => write!(
                f,
                "strategy `{strategy}` has account {account}, which the release does not have"
            ),
            Self::TooManyPairs {
                strategies,
                accounts,
            } => write!(
                f,
                "{strategies} strategies on {accounts} accounts are too many for one site; split the site"
            ),
            Self::Bug(what) => write!(
                f,
                "the release's names do not fit the schema; please report this: {what}"
            ),
        }
    }
}

impl std::error::Error for RosterError {}

impl Roster {
    /// A site in which nobody exists yet.
    #[must_use]
    pub fn empty(site: Option<Name>) -> Self {
        Self {
            site,
            strategies: Vec::new(),
            accounts: Vec::new(),
            desks: Vec::new(),
            venues: Vec::new(),
            markets: Vec::new(),
            destinations: Vec::new(),
        }
    }

    /// The names of a release: strategies, their accounts and desks from the log's state, markets and venues from the
    /// release's files. Of two strategies of one name the one that is not revoked counts, or else the later.
    #[must_use]
    pub fn of_release(files: &Files, state: &State) -> Self {
        let mut roster = Self {
            site: state.site.clone(),
            strategies: Vec::new(),
            accounts: Vec::new(),
            desks: Vec::new(),
            venues: Vec::new(),
            markets: Vec::new(),
            destinations: Vec::new(),
        };
        for (id, account) in &state.accounts {
            roster.accounts.push(Account {
                id: *id,
                name: account.name.clone(),
                venue: account.venue.clone(),
            });
        }
        let mut of: HashMap<StrategyId, BTreeSet<AccountId>> = HashMap::new();
        for key in state.virtual_keys.values() {
            of.entry(key.strategy).or_default().insert(key.account);
        }
        let mut latest: BTreeMap<&Name, (StrategyId, &state::Strategy)> = BTreeMap::new();
        for (id, strategy) in &state.strategies {
            let kept = latest.entry(&strategy.name).or_insert((*id, strategy));
            if kept.1.revoked || !strategy.revoked {
                *kept = (*id, strategy);
            }
        }
        for (name, (id, strategy)) in latest {
            roster.strategies.push(Strategy {
                id,
                name: name.clone(),
                desk: strategy.desk.clone(),
                accounts: of.remove(&id).into_iter().flatten().collect(),
            });
        }
        for (name, text) in files {
            let Some(venue) = name
                .strip_prefix("markets/")
                .and_then(|name| name.strip_suffix(".json"))
            else {
                continue;
            };
            roster.venues.extend(Name::new(venue));
            // What does not read is `Release::load`'s to refuse.
            let markets: Vec<Market> = serde_json::from_str(text).unwrap_or_default();
            roster.markets.extend(
                markets
                    .into_iter()
                    .map(|market| market.symbol.0.to_string()),
            );
        }
        roster
    }

    #[must_use]
    pub fn strategy_named(&self, name: &str) -> Option<&Strategy> {
        self.strategies.iter().find(|s| s.name.as_str() == name)
    }

    #[must_use]
    pub fn account_named(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|a| a.name.as_str() == name)
    }

    pub(crate) fn all_desks(&self) -> HashSet<&str> {
        let named = self.strategies.iter().filter_map(|s| s.desk.as_ref());
        self.desks.iter().chain(named).map(Name::as_str).collect()
    }

    pub(crate) fn all_venues(&self) -> HashSet<&str> {
        let named = self.accounts.iter().map(|a| &a.venue);
        self.venues.iter().chain(named).map(Name::as_str).collect()
    }

    pub(crate) fn check(&self) -> Result<(), RosterError> {
        let pairs = self.strategies.len().saturating_mul(self.accounts.len());
        if pairs > portcullis_model::table::PAIRS_MAX {
            return Err(RosterError::TooManyPairs {
                strategies: self.strategies.len(),
                accounts: self.accounts.len(),
            });
        }
        once(
            "strategies",
            self.strategies
                .iter()
                .map(|s| (s.name.as_str(), s.id.to_string())),
        )?;
        once(
            "accounts",
            self.accounts
                .iter()
                .map(|a| (a.name.as_str(), a.id.to_string())),
        )?;
        let accounts: HashSet<AccountId> = self.accounts.iter().map(|a| a.id).collect();
        for strategy in &self.strategies {
            for account in &strategy.accounts {
                if !accounts.contains(account) {
                    return Err(RosterError::UnknownAccount {
                        strategy: strategy.name.clone(),
                        account: *account,
                    });
                }
            }
        }
        Ok(())
    }

    /// The same as Cedar entities, validated.
    pub(crate) fn entities(&self, schema: &Schema) -> Result<Entities, RosterError> {
        let bug = |error: &dyn fmt::Display| RosterError::Bug(error.to_string());
        let uid = |ty: &str, id: &str| vocabulary::uid(ty, id).map_err(|e| bug(&e));
        let site = match &self.site {
            Some(name) => HashSet::from([uid("Site", name.as_str())?]),
            None => HashSet::new(),
        };
        let in_site = || site.clone();
        let mut entities: Vec<Entity> = site.iter().cloned().map(Entity::with_uid).collect();
        for desk in self.all_desks() {
            entities.push(Entity::new_no_attrs(uid("Desk", desk)?, in_site()));
        }
        for venue in self.all_venues() {
            entities.push(Entity::new_no_attrs(uid("Venue", venue)?, in_site()));
        }
        let name = |name: &Name| {
            (
                "name".to_owned(),
                RestrictedExpression::new_string(name.as_str().to_owned()),
            )
        };
        let mut accounts: HashMap<AccountId, EntityUid> = HashMap::new();
        for account in &self.accounts {
            let of = uid("Account", account.name.as_str())?;
            accounts.insert(account.id, of.clone());
            let venue = uid("Venue", account.venue.as_str())?;
            let attributes = HashMap::from([
                name(&account.name),
                (
                    "venue".to_owned(),
                    RestrictedExpression::new_entity_uid(venue.clone()),
                ),
            ]);
            entities
                .push(Entity::new(of, attributes, HashSet::from([venue])).map_err(|e| bug(&e))?);
        }
        for strategy in &self.strategies {
            let own = strategy
                .accounts
                .iter()
                .filter_map(|id| accounts.get(id))
                .map(|of| RestrictedExpression::new_entity_uid(of.clone()));
            let mut attributes = HashMap::from([
                name(&strategy.name),
                ("accounts".to_owned(), RestrictedExpression::new_set(own)),
            ]);
            let mut parents = in_site();
            if let Some(desk) = &strategy.desk {
                let desk = uid("Desk", desk.as_str())?;
                attributes.insert(
                    "desk".to_owned(),
                    RestrictedExpression::new_entity_uid(desk.clone()),
                );
                parents.insert(desk);
            }
            let of = uid("Strategy", strategy.name.as_str())?;
            entities.push(Entity::new(of, attributes, parents).map_err(|e| bug(&e))?);
        }
        Entities::from_entities(entities, Some(schema)).map_err(|e| bug(&e))
    }
}

fn once<'a>(
    what: &'static str,
    names_and_ids: impl Iterator<Item = (&'a str, String)>,
) -> Result<(), RosterError> {
    let mut seen = HashSet::new();
    let mut ids = HashSet::new();
    for (name, id) in names_and_ids {
        if !seen.insert(name) || !ids.insert(id) {
            return Err(RosterError::Twice {
                what,
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}
