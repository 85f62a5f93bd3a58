//! What has happened to an account of futures since it was looked at last, as the venue's events.

use super::api::{fixed, kind, leg_word, life_word, till, working};
use super::house::{Account, House, Leg, MyTrade, Order};
use super::position::{M, shown};
use super::{Futures, Service};
use crate::book::Status;
use crate::decimal::{D, ONE, short, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A position's margin is called for when maintenance takes this much of what backs it, in hundredths.
const CALL_AT: M = 80;

/// What an order looked like: status, filled quantity, amendments.
type Looks = (Status, D, usize);

/// An account that somebody watches.
#[derive(Debug)]
pub struct Watch {
    service: Service,
    account: usize,
    /// Open orders, as they were told.
    open: HashMap<(usize, u64), Looks>,
    /// Number of the newest order, and of the newest change of a wallet.
    newest: (u64, u64),
    /// Number of the newest trade, by contract.
    trades: BTreeMap<usize, u64>,
    /// Wallet with and without isolated margins, by asset.
    wallets: BTreeMap<usize, (M, M)>,
    positions: BTreeMap<(usize, Leg), (D, M)>,
    leverage: BTreeMap<usize, u32>,
    joint: bool,
    called: BTreeSet<(usize, Leg)>,
}

/// One event: its kind, and what it says beside kind and times.
struct Event(&'static str, Value);

impl Watch {
    /// From now on.
    #[must_use]
    pub fn new(futures: &Futures, assets: &[String], service: Service, account: usize) -> Self {
        let mut watch = Self {
            service,
            account,
            open: HashMap::new(),
            newest: (0, 0),
            trades: BTreeMap::new(),
            wallets: BTreeMap::new(),
            positions: BTreeMap::new(),
            leverage: BTreeMap::new(),
            joint: false,
            called: BTreeSet::new(),
        };
        let _ = watch.events(futures, assets);
        watch
    }

    /// What happened since the last look.
    pub fn events(&mut self, futures: &Futures, assets: &[String]) -> Vec<Value> {
        let house = &futures.houses[self.service.index()];
        let Some(owner) = house.accounts.get(self.account) else {
            return Vec::new();
        };
        let mut all = Vec::new();
        self.settings(house, owner, &mut all);
        let mut trades = self.new_trades(owner);
        let mut orders = self.changed_orders(house, owner);
        // An order is there before it is filled; what a fill does to the account is told between the two.
        let (made, done): (Vec<_>, Vec<_>) =
            orders.drain(..).partition(|(_, before)| before.is_none());
        for (order, _) in &made {
            if order.status != Status::Rejected {
                let looks = (0, "NEW", "NEW");
                all.push(self.order(house, assets, order, looks, None));
            }
        }
        self.account(house, owner, assets, &mut all);
        for (order, before) in made.iter().chain(&done) {
            let before = before.unwrap_or((Status::New, 0, 0));
            if order.amends.len() > before.2 {
                let looks = (before.1, "AMENDMENT", order.status.word());
                all.push(self.order(house, assets, order, looks, None));
            }
            let mut executed = before.1;
            let (own, rest): (Vec<_>, Vec<_>) = trades
                .drain(..)
                .partition(|t| (t.contract, t.order) == (order.contract, order.id));
            trades = rest;
            for trade in &own {
                executed += trade.quantity;
                let status = match executed >= order.quantity {
                    true => "FILLED",
                    false => "PARTIALLY_FILLED",
                };
                all.push(Self::lite(house, order, trade));
                let execution = match order.auto_close {
                    Some(_) => "CALCULATED",
                    None => "TRADE",
                };
                let looks = (executed, execution, status);
                all.push(self.order(house, assets, order, looks, Some(trade)));
            }
            if !order.status.open() && order.status != Status::Filled {
                let word = order.status.word();
                let looks = (order.executed, word, word);
                all.push(self.order(house, assets, order, looks, None));
            }
        }
        self.margin(house, owner, &mut all);
        all.into_iter()
            .map(|Event(kind, mut value)| {
                value["e"] = json!(kind);
                value["E"] = json!(house.now);
                if kind != "MARGIN_CALL" {
                    value["T"] = json!(house.now);
                }
                if self.service == Service::Coin && kind != "TRADE_LITE" {
                    value["i"] = json!(format!("a{}", self.account));
                }
                value
            })
            .collect()
    }

    fn settings(&mut self, house: &House, owner: &Account, all: &mut Vec<Event>) {
        for (contract, at) in house.markets.iter().enumerate() {
            let now = owner.setting(contract).leverage;
            let before = self.leverage.insert(contract, now);
            if before.is_some_and(|before| before != now) {
                let value = json!({"ac": {"s": at.contract.name, "l": now}});
                all.push(Event("ACCOUNT_CONFIG_UPDATE", value));
            }
        }
        if std::mem::replace(&mut self.joint, owner.joint) != owner.joint {
            all.push(Event(
                "ACCOUNT_CONFIG_UPDATE",
                json!({"ai": {"j": owner.joint}}),
            ));
        }
    }

    fn new_trades(&mut self, owner: &Account) -> Vec<MyTrade> {
        let is_new = |t: &&MyTrade| self.trades.get(&t.contract).is_none_or(|last| t.id > *last);
        // Numbers rise in each contract alone; a look is short, so few are passed over.
        let mut new: Vec<MyTrade> = Vec::new();
        for trade in owner.trades.iter().rev() {
            if !is_new(&trade) {
                break;
            }
            new.push(trade.clone());
        }
        new.reverse();
        for trade in &new {
            let last = self.trades.entry(trade.contract).or_default();
            *last = trade.id.max(*last);
        }
        new
    }

    /// Orders that changed, the oldest first, with what they looked like.
    fn changed_orders<'h>(
        &mut self,
        house: &'h House,
        owner: &Account,
    ) -> Vec<(&'h Order, Option<Looks>)> {
        let newest = self.newest.0;
        let new = owner.orders.iter().rev();
        let new = new.take_while(|(_, id)| *id > newest).copied();
        let mut keys: Vec<(usize, u64)> = new.chain(self.open.keys().copied()).collect();
        keys.sort_unstable_by_key(|(_, id)| *id);
        let mut changed = Vec::new();
        for (contract, id) in keys {
            self.newest.0 = self.newest.0.max(id);
            let Some(order) = house.order(contract, id) else {
                self.open.remove(&(contract, id));
                continue;
            };
            let now = (order.status, order.executed, order.amends.len());
            let before = match order.status.open() {
                true => self.open.insert((contract, id), now),
                false => self.open.remove(&(contract, id)),
            };
            if before != Some(now) {
                changed.push((order, before));
            }
        }
        changed
    }

    fn account(&mut self, house: &House, owner: &Account, assets: &[String], all: &mut Vec<Event>) {
        let new = owner.income.iter().rev();
        let new: Vec<_> = new.take_while(|it| it.id > self.newest.1).collect();
        self.newest.1 = new.first().map_or(self.newest.1, |it| it.id);
        let reason = match new.first() {
            Some(it) if it.kind == "TRANSFER" && it.amount > 0 => "DEPOSIT",
            Some(it) if it.kind == "TRANSFER" => "WITHDRAW",
            Some(it) if it.kind == "FUNDING_FEE" => "FUNDING_FEE",
            Some(it) if it.kind == "INSURANCE_CLEAR" => "INSURANCE_CLEAR",
            _ => "ORDER",
        };
        let mut balances = Vec::new();
        let listed: BTreeSet<usize> = house.markets.iter().map(|m| m.contract.margin).collect();
        for asset in listed.into_iter().chain(owner.wallets.keys().copied()) {
            let sums = house.sums(self.account, asset);
            let now = (sums.wallet, sums.cross);
            let before = self.wallets.insert(asset, now).unwrap_or(now);
            if before == now {
                continue;
            }
            // What trading changed does not count there.
            let moved = match reason {
                "ORDER" | "FUNDING_FEE" => 0,
                _ => now.0 - before.0,
            };
            balances.push(json!({
                "a": assets.get(asset), "wb": text(shown(now.0)), "cw": text(shown(now.1)), "bc": text(shown(moved)),
            }));
        }
        let mut positions = Vec::new();
        let legs: BTreeSet<_> = owner
            .positions
            .keys()
            .chain(self.positions.keys())
            .copied()
            .collect();
        for (contract, leg) in legs {
            let position = owner.position(contract, leg);
            let now = (position.quantity, position.isolated);
            if self.positions.get(&(contract, leg)) == Some(&now) {
                continue;
            }
            match position.quantity {
                0 => self.positions.remove(&(contract, leg)),
                _ => self.positions.insert((contract, leg), now),
            };
            let at = &house.markets[contract];
            let isolated = owner.setting(contract).isolated;
            positions.push(json!({
                "s": at.contract.name, "pa": fixed(position.quantity, at.contract.quantity_places),
                "ep": short(position.entry(&at.contract)), "bep": short(position.entry(&at.contract)), "cr": "0",
                "up": text(shown(position.profit(&at.contract, at.mark))), "mt": if isolated { "isolated" } else { "cross" },
                "iw": text(shown(position.isolated)), "ps": leg_word(leg),
            }));
        }
        if balances.len() + positions.len() > 0 {
            let value = json!({"a": {"m": reason, "B": balances, "P": positions}});
            all.push(Event("ACCOUNT_UPDATE", value));
        }
    }

    /// Calls for margin, once for each position that comes near its end.
    fn margin(&mut self, house: &House, owner: &Account, all: &mut Vec<Event>) {
        let mut near = BTreeSet::new();
        let mut calls = Vec::new();
        for ((contract, leg), position) in &owner.positions {
            let at = &house.markets[*contract];
            let profit = position.profit(&at.contract, at.mark);
            let maintenance = at
                .contract
                .maintenance(at.contract.worth(position.quantity, at.mark));
            let isolated = owner.setting(*contract).isolated;
            let sums = house.sums(self.account, at.contract.margin);
            let (backs, needs) = match isolated {
                true => (position.isolated + profit, maintenance),
                false => (sums.cross + sums.cross_profit, sums.cross_maintenance),
            };
            if needs * 100 < backs * CALL_AT {
                continue;
            }
            near.insert((*contract, *leg));
            if !self.called.contains(&(*contract, *leg)) {
                calls.push(json!({
                    "s": at.contract.name, "ps": leg_word(*leg), "pa": fixed(position.quantity, at.contract.quantity_places),
                    "mt": if isolated { "ISOLATED" } else { "CROSSED" }, "iw": text(shown(position.isolated)),
                    "mp": text(at.mark), "up": text(shown(profit)), "mm": text(shown(maintenance)),
                }));
            }
        }
        self.called = near;
        if !calls.is_empty() {
            let cross: M = owner.wallets.values().sum();
            let value = json!({"cw": text(shown(cross)), "p": calls});
            all.push(Event("MARGIN_CALL", value));
        }
    }

    fn lite(house: &House, order: &Order, trade: &MyTrade) -> Event {
        let c = &house.markets[order.contract].contract;
        Event(
            "TRADE_LITE",
            json!({
                "s": c.name, "q": fixed(order.quantity, c.quantity_places), "p": price(house, order.contract, order.price),
                "m": trade.maker, "c": order.asked.client_id, "S": order.asked.side.word(),
                "L": price(house, order.contract, trade.price), "l": fixed(trade.quantity, c.quantity_places), "t": trade.id, "i": order.id,
            }),
        )
    }

    fn order(
        &self,
        house: &House,
        assets: &[String],
        order: &Order,
        (executed, execution, status): (D, &str, &str),
        trade: Option<&MyTrade>,
    ) -> Event {
        let m = order.contract;
        let c = &house.markets[m].contract;
        let new = &order.asked;
        let quantity = |q: D| fixed(q, c.quantity_places);
        let waits = new.trigger.filter(|t| t.trailing.is_none());
        let (bids, asks) = house.accounts.get(order.account).map_or((0, 0), |_| {
            let exposure = house.exposure(order.account, m, None);
            (exposure.bids, exposure.asks)
        });
        let average = if executed == 0 { 0 } else { order.average() };
        let mut value = json!({
            "s": c.name, "c": new.client_id, "S": new.side.word(), "o": kind(order), "f": life_word(new.life),
            "q": quantity(order.quantity), "p": price(house, m, order.price), "ap": fixed(average, 5),
            "sp": price(house, m, waits.map_or(0, |t| t.price)), "x": execution, "X": status, "i": order.id,
            "l": quantity(trade.map_or(0, |t| t.quantity)), "z": quantity(executed),
            "L": price(house, m, trade.map_or(0, |t| t.price)), "T": order.updated, "t": trade.map_or(0, |t| t.id),
            "b": text(shown(bids)), "a": text(shown(asks)), "m": trade.is_some_and(|t| t.maker), "R": order.reduces(),
            "wt": working(new), "ot": new.kind, "ps": leg_word(new.leg), "cp": new.close,
            "rp": text(shown(trade.map_or(0, |t| t.realized))), "pP": new.trigger.is_some_and(|t| t.protect),
            "si": 0, "ss": 0, "V": new.stp, "pm": new.price_match, "gtd": till(new.life), "er": "0",
        });
        if let Some(trade) = trade {
            value["n"] = json!(text(shown(trade.fee)));
            value["N"] = json!(assets.get(c.margin));
        }
        if let Some(t) = new.trigger.filter(|t| t.trailing.is_some()) {
            value["AP"] = json!(price(house, m, t.price));
            value["cr"] = json!(short(
                t.trailing.unwrap_or(0).saturating_mul(100 * ONE) / ONE
            ));
        }
        if self.service == Service::Coin {
            value["ma"] = json!(assets.get(c.margin));
        }
        Event("ORDER_TRADE_UPDATE", json!({ "o": value }))
    }
}

fn price(house: &House, contract: usize, price: D) -> String {
    match price {
        0 => "0".to_owned(),
        price => fixed(price, house.markets[contract].contract.price_places),
    }
}
