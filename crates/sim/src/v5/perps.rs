//! Contracts of the unified accounts of Bybit and OKX, on the clearing house of futures.
//!
//! A wallet there backs everything. Here what is free stands in the spot wallet, and behind the contracts while they are
//! looked at: after each step the house keeps what it needs, and the rest goes back.

use crate::book::Side;
use crate::decimal::D;
use crate::exchange::CROWD;
use crate::futures::Service;
use crate::futures::house::{Deny, House, Leg, NewOrder, Trigger, plain};
use crate::futures::position::shown;
use crate::venue::Venue;
use std::collections::BTreeSet;

/// A contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Linear or inverse.
    pub service: Service,
    /// Number.
    pub contract: usize,
}

/// Both houses.
pub const SERVICES: [Service; 2] = [Service::Usd, Service::Coin];

/// Assets that contracts of a house are paid in.
#[must_use]
pub fn margins(house: &House) -> BTreeSet<usize> {
    house.markets.iter().map(|m| m.contract.margin).collect()
}

impl Venue {
    /// The contract of that name.
    pub(crate) fn contract(&self, service: Service, name: &str) -> Option<At> {
        let contract = self.futures.houses[service.index()].find_contract(name)?;
        Some(At { service, contract })
    }

    /// Does something in a house while all that the account has free stands behind it.
    pub(crate) fn in_house<T>(
        &mut self,
        service: Service,
        account: usize,
        act: impl FnOnce(&mut House) -> T,
    ) -> T {
        self.back(account);
        let done = act(self.futures.house(service));
        self.release(account);
        done
    }

    /// The same for all accounts that have something there.
    pub(crate) fn backed(&mut self, act: impl FnOnce(&mut Self)) {
        let has = |venue: &Self, account: usize| {
            let mut all = venue
                .futures
                .houses
                .iter()
                .filter_map(|h| h.accounts.get(account));
            all.any(|a| !a.positions.is_empty() || !a.open.is_empty())
        };
        let accounts: Vec<usize> = (CROWD + 1..self.exchange.accounts.len())
            .filter(|account| has(self, *account))
            .collect();
        for account in &accounts {
            self.back(*account);
        }
        act(self);
        for account in accounts {
            self.release(account);
        }
    }

    fn back(&mut self, account: usize) {
        for service in SERVICES {
            let house = self.futures.house(service);
            house.open_account(account);
            for asset in margins(house) {
                let free = self.exchange.accounts[account].spot[asset].free;
                if free > 0 {
                    self.exchange.give(account, asset, -free);
                    self.futures.house(service).pay_in(account, asset, free);
                }
            }
        }
    }

    fn release(&mut self, account: usize) {
        for service in SERVICES {
            for asset in margins(self.futures.house(service)) {
                let spare = shown(self.futures.house(service).spare(account, asset));
                if spare > 0 {
                    self.futures.house(service).pay_in(account, asset, -spare);
                    self.exchange.give(account, asset, spare);
                }
            }
        }
    }

    /// What an account has of an asset: free and in spot orders, and behind contracts with their gains.
    pub(crate) fn worth(&self, account: usize, asset: usize) -> Worth {
        let balance = self.exchange.accounts[account].spot[asset];
        let mut worth = Worth {
            free: balance.free,
            locked: balance.locked,
            ..Worth::default()
        };
        for house in &self.futures.houses {
            if house.accounts.len() > account && margins(house).contains(&asset) {
                let sums = house.sums(account, asset);
                worth.behind += shown(sums.wallet);
                worth.profit += shown(sums.profit);
                worth.positions += shown(sums.positions);
                worth.orders += shown(sums.orders);
                worth.maintenance += shown(sums.maintenance);
            }
        }
        worth
    }

    /// Sets, replaces or (with zero) takes away what closes a position at a price.
    pub(crate) fn set_exit(
        &mut self,
        account: usize,
        at: At,
        leg: Leg,
        closes: Side,
        gain: bool,
        price: D,
    ) -> Result<(), Deny> {
        let rising = (closes == Side::Sell) == gain;
        self.in_house(at.service, account, |house| {
            let old: Vec<u64> = house.accounts[account]
                .algos
                .iter()
                .filter_map(|id| house.algos.get(id))
                .filter(|a| {
                    a.status == "NEW"
                        && a.contract == at.contract
                        && a.asked.leg == leg
                        && a.asked.side == closes
                        && a.asked.close
                        && a.asked
                            .trigger
                            .is_some_and(|t| t.rising == rising && t.trailing.is_none())
                })
                .map(|a| a.id)
                .collect();
            for id in old {
                let _ = house.cancel_algo(account, Some(id), None);
            }
            if price == 0 {
                return Ok(());
            }
            let exit = NewOrder {
                leg,
                close: true,
                kind: if gain { "TakeProfit" } else { "StopLoss" },
                trigger: Some(Trigger {
                    rising,
                    price,
                    trailing: None,
                    extreme: None,
                    by_mark: false,
                    protect: false,
                }),
                ..plain(closes, None, 0)
            };
            house.place_algo(account, at.contract, exit, None).map(drop)
        })
    }
}

/// What an account has of an asset.
#[derive(Debug, Clone, Copy, Default)]
pub struct Worth {
    /// May be used.
    pub free: D,
    /// In spot orders.
    pub locked: D,
    /// Behind contracts.
    pub behind: D,
    /// Gain of positions.
    pub profit: D,
    /// Margin of positions.
    pub positions: D,
    /// Margin of orders.
    pub orders: D,
    /// Maintenance margin.
    pub maintenance: D,
}

impl Worth {
    /// All without gains.
    #[must_use]
    pub fn wallet(&self) -> D {
        self.free + self.locked + self.behind
    }
}
