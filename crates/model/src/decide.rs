//! The decision: pure, without clock, file, socket or random source. It serves the signer, the dry run, the replay under
//! another release, and the property tests. A request passes whole or not at all: later actions are judged with what the
//! earlier ones of the same request would spend.

use crate::action::{
    Action, ActionKind, Amend, Asset, ClientOrderId, Duty, Leg, MarketId, MarketKind, Order,
    OrderRef, OrderType, PositionSide, ReadOf, Setting, SettingKind, Side, Symbol,
};
use crate::halt::{By, Halt, Level, Passage, Scope};
use crate::id::{AccountId, Name, StrategyId, Timestamp, VirtualKeyId};
use crate::mandate::{Limit, Mandate, Rate, Trip, parse_leverage};
use crate::number::{Amount, ONE, Price, Quantity, Round, Value};
use crate::refusal::{Refusal, Rule};
use crate::release::{HedgeGroup, Judgement, Market, Release};
use crate::report::OrderStatus;
use crate::state::{Called, Effect, OpenOrder, OrderNumber, Place, Position, State, Usage};
use crate::table;
use crate::usage::rate_passes;
use std::net::IpAddr;

/// Unsynced entries older than this let only cancels and reducing orders pass.
pub const UNSYNCED_US_MAX: u64 = 1_000_000;

/// What an order that closes a whole position is reserved with: more than any position, so that nothing beside it is known
/// to reduce.
const CLOSES: Quantity = Quantity(1_000_000_000_000 * ONE);
const BASIS_POINTS: i128 = 10_000;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    pub strategy: StrategyId,
    pub virtual_key: VirtualKeyId,
    pub account: AccountId,
    /// Where the request came from.
    pub source: IpAddr,
}

/// How much the log can still take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    Plenty,
    /// Only the reserve is left: cancels, reducing orders, reads of orders and positions, halts.
    ReserveOnly,
}

/// What the decision needs and neither action nor state says.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    pub space: Space,
    pub unsynced_us: u64,
    /// The request's weight at the venue.
    pub weight: u32,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub verdict: Verdict,
    /// In `observe`: the refusal that `enforce` would have given.
    pub would_refuse: Option<Refusal>,
    /// Every action is a cancel, or an order known to reduce: the reserves are open to it.
    pub reserved: bool,
    /// The key that must sign.
    pub duty: Duty,
    /// With a refusal: the limit was one that stops the strategy. This halt is an effect of the refusal's entry.
    pub trip: Option<Halt>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Approved(Vec<Effect>),
    Refused(Refusal),
}

/// Decides on a whole request.
#[must_use]
pub fn decide(
    release: &Release,
    state: &State,
    caller: Caller,
    actions: &[Action],
    facts: &Facts,
    now: Timestamp,
) -> Decision {
    let duty = actions
        .iter()
        .map(|action| action.kind().duty())
        .max()
        .unwrap_or(Duty::Read);
    let observe = state
        .strategies
        .get(&caller.strategy)
        .is_some_and(|strategy| strategy.observe);
    let judge = Judge::new(release, state, caller, facts, now, false);
    let (verdict, would_refuse, reserved, trip) = match judge.whole(actions) {
        Ok((effects, reserved)) => (Verdict::Approved(effects), None, reserved, None),
        // Observing never loosens a halt, what moves value, or whose order it is.
        Err(refusal) if observe && is_observable(&refusal, actions) => {
            match Judge::new(release, state, caller, facts, now, true).whole(actions) {
                Ok((effects, reserved)) => {
                    (Verdict::Approved(effects), Some(refusal), reserved, None)
                }
                Err(refusal) => (Verdict::Refused(refusal), None, false, None),
            }
        }
        Err(refusal) => {
            let trip = judge.trip(&refusal);
            (Verdict::Refused(refusal), None, false, trip)
        }
    };
    Decision {
        verdict,
        would_refuse,
        reserved,
        duty,
        trip,
    }
}

/// Strategies that have reached a loss which stops them, whether they ask for anything or not: to be looked at when
/// prices or fills are new.
#[must_use]
pub fn trips(release: &Release, state: &State, now: Timestamp) -> Vec<Halt> {
    let facts = Facts {
        space: Space::Plenty,
        unsynced_us: 0,
        weight: 0,
    };
    let mut halts: Vec<Halt> = Vec::new();
    for (id, key) in &state.virtual_keys {
        let scope = Scope::Strategy(key.strategy);
        let observe = state
            .strategies
            .get(&key.strategy)
            .is_none_or(|strategy| strategy.observe || strategy.revoked);
        if key.revoked || observe || halts.iter().any(|halt| halt.scope == scope) {
            continue;
        }
        let caller = Caller {
            strategy: key.strategy,
            virtual_key: *id,
            account: key.account,
            source: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        };
        let judge = Judge::new(release, state, caller, &facts, now, false);
        let lost = judge
            .each()
            .find_map(|(_, mandate, usage)| judge.lost(mandate, usage).err());
        halts.extend(lost.and_then(|refusal| judge.trip(&refusal)));
    }
    halts
}

/// The levels of a strategy that have reached a loss: what re-arming it begins anew.
#[must_use]
pub fn lost_at(
    release: &Release,
    state: &State,
    strategy: StrategyId,
    now: Timestamp,
) -> Vec<Scope> {
    let facts = Facts {
        space: Space::Plenty,
        unsynced_us: 0,
        weight: 0,
    };
    let mut scopes = Vec::new();
    for (id, key) in &state.virtual_keys {
        if key.strategy != strategy {
            continue;
        }
        let caller = Caller {
            strategy,
            virtual_key: *id,
            account: key.account,
            source: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        };
        let judge = Judge::new(release, state, caller, &facts, now, false);
        for (at, mandate, usage) in judge.each() {
            if judge.lost(mandate, usage).is_ok() {
                continue;
            }
            let desk = || state.strategies.get(&strategy)?.desk.clone();
            let scope = match at {
                0 => Some(Scope::Firm),
                1 => Some(Scope::Account(key.account)),
                2 => desk().map(Scope::Desk),
                _ => Some(Scope::Strategy(strategy)),
            };
            scopes.extend(scope.filter(|scope| !scopes.contains(scope)));
        }
    }
    scopes
}

fn is_observable(refusal: &Refusal, actions: &[Action]) -> bool {
    let trades = actions
        .iter()
        .all(|action| action.kind().duty() <= Duty::Trade);
    let firm = matches!(
        refusal,
        Refusal::Halted { .. }
            | Refusal::NotYourOrder { .. }
            | Refusal::CancelAllOnSharedAccount
            | Refusal::StrategyRevoked
            | Refusal::LogSpace
            | Refusal::LogBehind { .. }
            | Refusal::NoRelease
    );
    trades && !firm
}

/// What earlier actions of the same request would spend.
#[derive(Default)]
struct Sofar {
    open: u64,
    turnover: i128,
    /// By base asset and place, as if they were open.
    sizes: Vec<(Asset, Place, Position)>,
    repeats: Vec<(u64, u64)>,
    effects: Vec<Effect>,
    /// The other leg of the order list at hand: value and base units that it already counts.
    other_leg: Option<(i128, i128)>,
    /// A cancel of an open order of ours stands before.
    cancels: bool,
    /// Open orders that are gone if what is asked now takes effect.
    replaced: u64,
    /// The size of the order list's working leg, or of the order that what follows is attached to.
    working: Option<Quantity>,
    /// Every action so far is a cancel or known to reduce: it may use the reserves.
    reserved: bool,
    /// Every action so far may have the log's last room.
    last_room: bool,
}

impl Sofar {
    fn nothing_reserved(&mut self) {
        self.reserved = false;
        self.last_room = false;
    }

    /// An earlier action of the request amends the order.
    fn amends(&self, number: OrderNumber) -> bool {
        let is_it =
            |effect: &Effect| matches!(effect, Effect::Amending { order, .. } if *order == number);
        self.effects.iter().any(is_it)
    }

    /// What the earlier orders of the request could do to an asset, place by place.
    fn sizes<'s>(&'s self, base: &'s Asset) -> impl Iterator<Item = (&'s Place, &'s Position)> {
        let of = move |(asset, place, position): &'s (Asset, Place, Position)| {
            (asset == base).then_some((place, position))
        };
        self.sizes.iter().filter_map(of)
    }
}

/// An order on a market that the release knows.
#[derive(Clone, Copy)]
struct On<'a> {
    order: &'a Order,
    id: &'a MarketId,
    market: &'a Market,
    place: &'a Place,
}

impl On<'_> {
    /// The venue itself sees to it that no position grows. In hedge mode an order of the other direction than its side can only
    /// take from it, and what else an order says of reducing is not looked at there. Only futures have positions.
    fn is_held_to_reduce(&self) -> bool {
        let Order {
            side,
            reduce_only,
            close_position,
            ..
        } = *self.order;
        self.id.kind.is_future()
            && match self.place.side() {
                None => reduce_only || close_position,
                Some(PositionSide::Long) => side == Side::Sell,
                Some(PositionSide::Short) => side == Side::Buy,
            }
    }

    /// What so much of it is worth in quote: an inverse contract is an amount of quote, whatever its price.
    fn quote(&self, size: Quantity, price: Price) -> Option<Amount> {
        match self.id.kind.is_inverse() {
            true => Some(Amount(size.0)),
            false => price.times(size, Round::Up),
        }
    }
}

/// What an order that is judged is.
#[derive(Clone, Copy)]
enum Becomes<'a> {
    Placed,
    Tested,
    /// Another one than it was: its quantity is in our own unit.
    Amended(OrderNumber, &'a OpenOrder),
}

/// An open order as an amendment would make it. Absent: what it would be worth is not known.
fn changed(amend: &Amend, known: &OpenOrder) -> Option<Order> {
    let price = amend.price.unwrap_or(known.price?);
    let quantity = match amend.quantity {
        Some(quantity) => known.sized(quantity),
        None => known.quantity,
    };
    let fits = price.is_positive() && quantity.is_positive();
    let plain = !known.algo && !known.alternative && known.quantity < CLOSES;
    // Of a sale that was amended the lowest price is known, and it may stand at a higher one.
    let is_valued = amend.price.is_some() || known.side == Side::Buy || known.most.is_none();
    (fits && plain && is_valued).then(|| Order {
        market: known.market,
        symbol: known.symbol.clone(),
        side: known.side,
        order_type: OrderType::Limit,
        time_in_force: None,
        quantity: Some(quantity),
        quote_quantity: None,
        price: Some(price),
        stop_price: None,
        trailing_delta: None,
        iceberg_quantity: None,
        client_order_id: None,
        list_client_order_id: None,
        leg: None,
        reduce_only: known.reduces && known.position_side.is_none(),
        // Whether it did is not kept.
        borrows: known.market == MarketKind::Margin,
        pegged: false,
        replaces: false,
        position_side: known.position_side,
        close_position: false,
        algo: false,
    })
}

struct Judge<'a> {
    release: &'a Release,
    state: &'a State,
    caller: Caller,
    facts: &'a Facts,
    now: Timestamp,
    /// Limits of the mandate are passed over.
    observe: bool,
    /// That of the caller's account.
    venue: Option<&'a Name>,
    mandates: [Option<&'a Mandate>; 4],
    usages: [Option<&'a Usage>; 4],
}

impl<'a> Judge<'a> {
    fn new(
        release: &'a Release,
        state: &'a State,
        caller: Caller,
        facts: &'a Facts,
        now: Timestamp,
        observe: bool,
    ) -> Self {
        let levels = state.levels(caller.strategy, caller.account);
        let of = &release.mandates;
        let account = state.accounts.get(&caller.account);
        let strategy = state.strategies.get(&caller.strategy);
        let mandates = [
            Some(&of.firm),
            account.and_then(|account| of.accounts.get(&account.name)),
            strategy
                .and_then(|s| s.desk.as_ref())
                .and_then(|desk| of.desks.get(desk)),
            strategy.and_then(|s| of.strategies.get(&s.name)),
        ];
        let usages = [0, 1, 2, 3].map(|at: usize| {
            levels
                .get(at)
                .and_then(Option::as_ref)
                .and_then(|k| state.usage.get(k))
        });
        Self {
            release,
            state,
            caller,
            facts,
            now,
            observe,
            venue: account.map(|account| &account.venue),
            mandates,
            usages,
        }
    }

    /// Mandate and usage of each level that has a mandate.
    fn each(&self) -> impl Iterator<Item = (usize, &'a Mandate, Option<&'a Usage>)> + '_ {
        (0..4).filter_map(|at| {
            let mandate = self.mandates.get(at).copied().flatten()?;
            Some((at, mandate, self.usages.get(at).copied().flatten()))
        })
    }

    fn whole(&self, actions: &[Action]) -> Result<(Vec<Effect>, bool), Refusal> {
        if self.state.release.is_none() {
            return Err(Refusal::NoRelease);
        }
        let strategy = self
            .state
            .strategies
            .get(&self.caller.strategy)
            .ok_or(Refusal::StrategyRevoked)?;
        if strategy.revoked {
            return Err(Refusal::StrategyRevoked);
        }
        let mut sofar = Sofar {
            reserved: true,
            last_room: true,
            ..Sofar::default()
        };
        for (leg, action) in actions.iter().enumerate() {
            let leg = u8::try_from(leg).map_err(|_| Refusal::Overflow)?;
            self.action(leg, action, &mut sofar)?;
        }
        if !sofar.last_room && self.facts.space == Space::ReserveOnly {
            return Err(Refusal::LogSpace);
        }
        let only_reads = actions.iter().all(|action| action.kind().is_read());
        if !sofar.reserved && !only_reads && self.facts.unsynced_us > UNSYNCED_US_MAX {
            return Err(Refusal::LogBehind {
                unsynced_us: self.facts.unsynced_us,
            });
        }
        let (tats, from_reserve) = self.message(sofar.reserved)?;
        self.weight(sofar.reserved)?;
        let mut effects = vec![Effect::Spent {
            strategy: self.caller.strategy,
            account: self.caller.account,
            tats,
            reserved: from_reserve,
            weight: self.facts.weight,
            turnover: Value(sofar.turnover),
            repeats: sofar.repeats,
        }];
        effects.append(&mut sofar.effects);
        Ok((effects, sofar.reserved))
    }

    fn action(&self, leg: u8, action: &Action, sofar: &mut Sofar) -> Result<(), Refusal> {
        let kind = action.kind();
        let unless_reducing = self.halted(kind)?;
        match action {
            Action::PlaceOrder(order) => {
                self.order(leg, order, kind, unless_reducing, sofar, Becomes::Placed)
            }
            Action::TestOrder(order) => {
                self.order(leg, order, kind, unless_reducing, sofar, Becomes::Tested)
            }
            Action::AmendOrder(amend) => self.amend(leg, amend, unless_reducing, sofar),
            Action::CancelOrder(order) => {
                self.permitted(
                    kind,
                    &table::Facts {
                        market: Some(order.symbol.as_str()),
                        market_kind: Some(order.market),
                        ..self.said()
                    },
                )?;
                sofar.cancels = !order.list;
                self.own(order)
            }
            Action::CancelAll(all) => {
                let market = all.symbol.as_ref().map(Symbol::as_str);
                self.permitted(
                    kind,
                    &table::Facts {
                        market,
                        market_kind: Some(all.market),
                        ..self.said()
                    },
                )?;
                self.cancel_all()
            }
            Action::Read(read) => {
                sofar.reserved = false;
                sofar.last_room &= matches!(read.of, ReadOf::Orders | ReadOf::Balances);
                self.permitted(
                    kind,
                    &table::Facts {
                        market: read.symbol.as_ref().map(Symbol::as_str),
                        market_kind: read.market,
                        reads: Some(read.of),
                        ..self.said()
                    },
                )
            }
            Action::Convert(m)
            | Action::Borrow(m)
            | Action::Repay(m)
            | Action::Invest(m)
            | Action::TransferInside(m)
            | Action::TransferOwn(m)
            | Action::TransferOut(m)
            | Action::Withdraw(m)
            | Action::Rfq(m) => {
                sofar.nothing_reserved();
                let said = table::Facts {
                    asset: m.asset.as_ref().map(|a| a.as_str()),
                    to_asset: m.to_asset.as_ref().map(|a| a.as_str()),
                    from: m.from.as_deref(),
                    address: m.address.as_deref(),
                    network: m.network.as_deref(),
                    value: Some(i64::MAX),
                    approvals: Some(0),
                    ..self.said()
                };
                self.permitted(kind, &said)?;
                // No mandate for value that moves exists in this version: authority alone is never enough for it.
                Err(Refusal::ValueOut { kind })
            }
            Action::DepositAddress(m) => {
                sofar.nothing_reserved();
                self.permitted(
                    kind,
                    &table::Facts {
                        asset: m.asset.as_ref().map(|a| a.as_str()),
                        network: m.network.as_deref(),
                        ..self.said()
                    },
                )
            }
            Action::Configure(s) => {
                sofar.nothing_reserved();
                self.set(kind, s)?;
                let Some(setting) = s.setting else {
                    return Ok(());
                };
                if let Some(symbol) = &s.symbol {
                    self.names(&self.id(s.market.unwrap_or_default(), symbol)?)?;
                }
                self.setting(setting, s.to.as_deref().unwrap_or_default())
            }
            // It would cancel whatever stands on the account when the program is gone, others' orders too.
            Action::DeadMan(_) => Err(Refusal::DeadManOfGate),
            Action::Subaccount(s)
            | Action::ManageKeys(s)
            | Action::Session(s)
            | Action::Public(s) => {
                sofar.nothing_reserved();
                self.set(kind, s)
            }
        }
    }

    fn set(&self, kind: ActionKind, s: &Setting) -> Result<(), Refusal> {
        let said = table::Facts {
            market: s.symbol.as_ref().map(Symbol::as_str),
            market_kind: s.market,
            setting: s.to.as_deref(),
            approvals: Some(0),
            ..self.said()
        };
        self.permitted(kind, &said)
    }

    /// What a mandate has a number for passes only if a level names it, and within every level that does.
    fn setting(&self, setting: SettingKind, asked: &str) -> Result<(), Refusal> {
        if self.observe {
            return Ok(());
        }
        let mut named = false;
        for (_, mandate, _) in self.each() {
            let (fits, limit) = match setting {
                SettingKind::Leverage => match mandate.leverage_milli {
                    None => continue,
                    Some(Limit::Unlimited) => (true, String::new()),
                    Some(Limit::Is(limit)) => (
                        parse_leverage(asked).is_some_and(|asked| asked <= limit),
                        Quantity(i128::from(limit) * (ONE / 1_000)).to_string(),
                    ),
                },
                SettingKind::MarginMode => match &mandate.margin_modes {
                    None => continue,
                    Some(words) => (
                        words.iter().any(|word| word.eq_ignore_ascii_case(asked)),
                        words.join(", "),
                    ),
                },
                SettingKind::PositionMode => match mandate.position_mode {
                    None => continue,
                    Some(may) => (may, "none".to_owned()),
                },
            };
            if !fits {
                return Err(self.not_mandated(mandate, setting, limit, asked));
            }
            named = true;
        }
        if named {
            return Ok(());
        }
        let firm = &self.release.mandates.firm;
        Err(self.not_mandated(firm, setting, "none".to_owned(), asked))
    }

    fn not_mandated(
        &self,
        mandate: &Mandate,
        setting: SettingKind,
        limit: String,
        asked: &str,
    ) -> Refusal {
        Refusal::SettingNotMandated {
            rule: Rule(mandate.rule.clone()),
            setting,
            limit,
            asked: asked.to_owned(),
        }
    }

    /// What the halts that cover the caller refuse; `Some`: only what reduces passes, and this is said to the rest.
    fn halted(&self, kind: ActionKind) -> Result<Option<Refusal>, Refusal> {
        let mut unless_reducing = None;
        if self.state.halts.is_empty() {
            return Ok(None);
        }
        let strategy = self.state.strategies.get(&self.caller.strategy);
        let account = self.state.accounts.get(&self.caller.account);
        let scopes = [
            Some(Scope::Firm),
            account.map(|account| Scope::Venue(account.venue.clone())),
            Some(Scope::Account(self.caller.account)),
            strategy.and_then(|s| s.desk.clone()).map(Scope::Desk),
            Some(Scope::Strategy(self.caller.strategy)),
            Some(Scope::VirtualKey(self.caller.virtual_key)),
        ];
        for scope in scopes.into_iter().flatten() {
            let Some(halt) = self.state.halts.get(&scope) else {
                continue;
            };
            let refusal = Refusal::Halted {
                scope,
                level: halt.level,
                since: halt.since,
            };
            match halt.level.passage(kind) {
                Passage::Passes => {}
                Passage::IfReducing => unless_reducing = Some(refusal),
                Passage::Refused => return Err(refusal),
            }
        }
        Ok(unless_reducing)
    }

    /// What every action says to authority.
    fn said(&self) -> table::Facts<'a> {
        let strategy = self.state.strategies.get(&self.caller.strategy);
        let observe = strategy.is_some_and(|strategy| strategy.observe);
        table::Facts::new(self.caller.source, self.now, observe)
    }

    fn permitted(&self, kind: ActionKind, said: &table::Facts<'_>) -> Result<(), Refusal> {
        match self
            .release
            .authority
            .judge(self.caller.strategy, kind, self.caller.account, said)
        {
            Judgement::Permit { .. } => Ok(()),
            Judgement::Forbid { policy } => Err(Refusal::Forbidden { kind, policy }),
            Judgement::NoPermit => Err(Refusal::NoPermit { kind }),
        }
    }

    fn own(&self, order: &OrderRef) -> Result<(), Refusal> {
        let refused = || Refusal::NotYourOrder {
            symbol: order.symbol.clone(),
        };
        let client = order.client_order_id.as_ref();
        if order.list {
            let mut any = false;
            let account = self.caller.account;
            for (_, one) in self
                .state
                .find_list(account, order.market, order.order_id, client)
            {
                any = true;
                if one.strategy != self.caller.strategy || one.symbol != order.symbol {
                    return Err(refused());
                }
            }
            return if any { Ok(()) } else { Err(refused()) };
        }
        let number = self
            .state
            .find(self.caller.account, order.into())
            .ok_or_else(refused)?;
        match self.state.orders.get(&number) {
            Some(one) if one.strategy == self.caller.strategy => Ok(()),
            _ => Err(refused()),
        }
    }

    /// On an account that only this strategy may use, everything there is its own.
    fn cancel_all(&self) -> Result<(), Refusal> {
        let shared = self.state.virtual_keys.values().any(|key| {
            key.account == self.caller.account
                && key.strategy != self.caller.strategy
                && !key.revoked
        });
        let others = self.state.orders.values().any(|order| {
            order.account == self.caller.account && order.strategy != self.caller.strategy
        });
        if shared || others {
            Err(Refusal::CancelAllOnSharedAccount)
        } else {
            Ok(())
        }
    }

    fn amend(
        &self,
        leg: u8,
        amend: &Amend,
        unless_reducing: Option<Refusal>,
        sofar: &mut Sofar,
    ) -> Result<(), Refusal> {
        let symbol = &amend.order.symbol;
        self.own(&amend.order)?;
        let called = Called::from(&amend.order);
        self.id_is_free(
            called.market,
            called.algo,
            amend.new_client_order_id.as_ref(),
        )?;
        let number = self
            .state
            .find(self.caller.account, called)
            .ok_or_else(|| Refusal::NotYourOrder {
                symbol: symbol.clone(),
            })?;
        let known = self.state.orders.get(&number);
        // One at a time: what an order becomes by two is not known, and so not whether it becomes less.
        let is_alone = !self.state.is_amending(number) && !sofar.amends(number);
        let less = is_alone
            && amend.price.is_none()
            && amend
                .quantity
                .zip(known)
                .is_some_and(|(q, order)| q.is_positive() && order.is_at_least(q));
        if !less {
            let changed = known
                .and_then(|known| changed(amend, known))
                .filter(|_| is_alone);
            let (order, known) = changed.zip(known).ok_or_else(|| Refusal::SizeUnknown {
                symbol: symbol.clone(),
            })?;
            // It takes the place of one that is open.
            sofar.replaced += 1;
            let kind = ActionKind::AmendOrder;
            let becomes = Becomes::Amended(number, known);
            self.order(leg, &order, kind, unless_reducing, sofar, becomes)?;
            sofar.open += 1;
            return Ok(());
        }
        // Less of the same order at the same price risks less: it passes wherever a reducing order does, and what it is worth
        // is not computed anew. Only what rests can be amended, so its type is a limit order's.
        self.permitted(
            ActionKind::AmendOrder,
            &table::Facts {
                market: Some(symbol.as_str()),
                market_kind: Some(amend.order.market),
                side: known.map(|order| order.side),
                order_type: Some(OrderType::Limit),
                value: Some(i64::MAX),
                reduces: Some(true),
                post_only: Some(false),
                borrows: Some(false),
                ..self.said()
            },
        )
    }

    /// A market of the caller's venue.
    fn id(&self, kind: MarketKind, symbol: &Symbol) -> Result<MarketId, Refusal> {
        let venue = self.venue.ok_or_else(|| Refusal::UnknownMarket {
            symbol: symbol.clone(),
        })?;
        Ok(MarketId {
            symbol: symbol.clone(),
            kind,
            venue: venue.clone(),
        })
    }

    /// Every level that names markets names this one.
    fn names(&self, id: &MarketId) -> Result<(), Refusal> {
        for (_, mandate, _) in self.each() {
            if !mandate.markets.is_empty() && mandate.market(id).is_none() {
                return Err(Refusal::MarketNotMandated {
                    rule: Rule(mandate.rule.clone()),
                    symbol: id.symbol.clone(),
                });
            }
        }
        Ok(())
    }

    /// Whether an order is known to reduce, under any outcome of the strategy's open orders.
    fn reduces(&self, on: On<'_>, size: i128, sofar: &Sofar) -> bool {
        // How much an amount of quote becomes is for the book to say.
        if on.order.borrows || on.order.quote_quantity.is_some() {
            return false;
        }
        if on.is_held_to_reduce() {
            return true;
        }
        // In hedge mode it opens.
        if on.place.side().is_some() {
            return false;
        }
        let held = self.grouped(3, on, sofar);
        let size = self.in_group_units(on, size);
        let Some((held, size)) = held.zip(size) else {
            return false;
        };
        match on.order.side {
            Side::Sell => size <= held.base.0 - held.open_sells.0 - held.reducing_sells.0,
            Side::Buy => size <= -held.base.0 - held.open_buys.0 - held.reducing_buys.0,
        }
    }

    /// What a level holds in the order's place, or in its hedge group in base units, with what the request at hand would add.
    /// Absent: a market of the group has no price.
    fn grouped(&self, level: usize, on: On<'_>, sofar: &Sofar) -> Option<Position> {
        let usage = self.usages.get(level).copied().flatten();
        let base = &on.market.base;
        let Some(group) = self.group(base) else {
            let mut held = usage
                .and_then(|usage| usage.position(base, on.place))
                .copied()
                .unwrap_or_default();
            for (_, more) in sofar.sizes(base).filter(|(place, _)| *place == on.place) {
                held.add(more);
            }
            return Some(held);
        };
        let mut sum = Position::default();
        let assets = match group.assets.as_slice() {
            [] => std::slice::from_ref(base),
            assets => assets,
        };
        for asset in assets {
            let known = usage.and_then(|usage| usage.positions.get(asset));
            let known = known.into_iter().flatten();
            for (place, position) in known.chain(sofar.sizes(asset)) {
                if self.in_group(group, place.account) {
                    sum.add(&self.position_in_base(place, position)?);
                }
            }
        }
        Some(sum)
    }

    /// An order's size as [`Judge::grouped`] counts.
    fn in_group_units(&self, on: On<'_>, size: i128) -> Option<i128> {
        match self.group(&on.market.base) {
            Some(_) => self.in_base(on.place, size, Round::Up),
            None => Some(size),
        }
    }

    /// Base units of an amount in a place: what an inverse market counts is so much of it at the last known price.
    fn in_base(&self, place: &Place, amount: i128, round: Round) -> Option<i128> {
        let (symbol, _) = match &place.of {
            Some(of) if place.kind.is_inverse() => of,
            _ => return Some(amount),
        };
        let account = self.state.accounts.get(&place.account)?;
        let id = MarketId {
            symbol: symbol.clone(),
            kind: place.kind,
            venue: account.venue.clone(),
        };
        let (price, _) = self.state.prices.get(&id)?;
        Some(Amount(amount).over(*price, round)?.0)
    }

    fn position_in_base(&self, place: &Place, position: &Position) -> Option<Position> {
        if !place.kind.is_inverse() {
            return Some(*position);
        }
        let up = |amount: Quantity| self.in_base(place, amount.0, Round::Up).map(Quantity);
        Some(Position {
            base: Quantity(self.in_base(place, position.base.0, Round::Down)?),
            open_buys: up(position.open_buys)?,
            open_sells: up(position.open_sells)?,
            reducing_buys: up(position.reducing_buys)?,
            reducing_sells: up(position.reducing_sells)?,
        })
    }

    /// The widest that a level's positions in an asset may come to outside the order's place or hedge group: they are not
    /// netted. Base units.
    fn beside(&self, usage: Option<&Usage>, on: On<'_>, sofar: &Sofar) -> Option<i128> {
        let base = &on.market.base;
        let group = self.group(base);
        let inside = |place: &Place| match group {
            None => place == on.place,
            Some(group) => self.in_group(group, place.account),
        };
        let known = usage.and_then(|usage| usage.positions.get(base));
        let known = known.into_iter().flatten();
        let mut sum = 0i128;
        for (place, position) in known.chain(sofar.sizes(base)) {
            if !inside(place) {
                let widest = position.widest(place.side());
                sum = sum.saturating_add(self.in_base(place, widest, Round::Up)?);
            }
        }
        Some(sum)
    }

    /// What the strategy holds in an order's own place.
    fn alone(&self, on: On<'_>) -> Position {
        let usage = self.usages.get(3).copied().flatten();
        let held = usage.and_then(|usage| usage.position(&on.market.base, on.place));
        held.copied().unwrap_or_default()
    }

    fn group(&self, base: &Asset) -> Option<&'a HedgeGroup> {
        if self.release.hedge_groups.is_empty() {
            return None;
        }
        self.release.hedge_groups.iter().find(|group| {
            (group.assets.is_empty() || group.assets.contains(base))
                && self.in_group(group, self.caller.account)
        })
    }

    fn in_group(&self, group: &HedgeGroup, account: AccountId) -> bool {
        if group.accounts.is_empty() {
            return account == self.caller.account;
        }
        self.state
            .accounts
            .get(&account)
            .is_some_and(|account| group.accounts.contains(&account.name))
    }

    /// No order of another strategy may go by this id while it is open.
    fn id_is_free(
        &self,
        market: MarketKind,
        algo: bool,
        id: Option<&ClientOrderId>,
    ) -> Result<(), Refusal> {
        let Some(id) = id else { return Ok(()) };
        match self.state.named(self.caller.account, market, algo, id) {
            Some(order) if order.strategy != self.caller.strategy => {
                Err(Refusal::ClientIdTaken { id: id.clone() })
            }
            _ => Ok(()),
        }
    }

    fn order(
        &self,
        leg: u8,
        order: &Order,
        kind: ActionKind,
        unless_reducing: Option<Refusal>,
        sofar: &mut Sofar,
        becomes: Becomes<'_>,
    ) -> Result<(), Refusal> {
        let symbol = &order.symbol;
        let size_unknown = || Refusal::SizeUnknown {
            symbol: symbol.clone(),
        };
        let id = self.id(order.market, symbol)?;
        // What an option is worth, its price and quantity do not say.
        let market = self
            .release
            .markets
            .get(&id)
            .filter(|_| id.kind != MarketKind::Option)
            .ok_or_else(|| Refusal::UnknownMarket {
                symbol: symbol.clone(),
            })?;
        let account = self.caller.account;
        let place = Place::new(account, id.kind, symbol, order.position_side);
        let on = On {
            order,
            id: &id,
            market,
            place: &place,
        };
        let reference = self.reference(&id);
        let last = self.state.prices.get(&id).map(|(price, _)| *price);
        let sell = order.side == Side::Sell;

        // What it may trade at: its own price, and for what crosses the market the reference.
        let own = order.price.or(order.stop_price);
        let at = |own: Price| match reference {
            // A sale may do better than its price; what it turns over is then more.
            Some(reference) if sell => reference.max(own),
            _ => own,
        };
        let price = match (order.order_type, own, reference) {
            (
                OrderType::Limit
                | OrderType::LimitMaker
                | OrderType::StopLossLimit
                | OrderType::TakeProfitLimit,
                Some(own),
                _,
            ) => at(own),
            (_, own, Some(reference)) => {
                let price = own.map_or(reference, |own| own.max(reference));
                // It follows the price, and trades where it has turned by so much.
                let price = match (order.order_type, order.trailing_delta) {
                    (OrderType::TrailingStop, Some(points)) => {
                        let turned = price.0 / BASIS_POINTS * i128::from(points);
                        Price(price.0.saturating_add(turned))
                    }
                    (OrderType::TrailingStop, None) => return Err(size_unknown()),
                    _ => price,
                };
                // No price of its own bounds what a buy may cost: it counts as the dearest limit order that may pass.
                if sell { price } else { self.dearest(price) }
            }
            // Not fresh: good enough to count an order that reduces, which nothing else may be.
            (_, _, None) => last.unwrap_or(Price::ZERO),
        };
        let client = order.client_order_id.as_ref();
        self.id_is_free(order.market, order.algo, client)?;
        // The venue would know but one of them, and whose answer is whose nobody.
        let is_same = |effect: &Effect| match effect {
            Effect::Reserved { order: before, .. } => {
                (before.market, before.algo) == (order.market, order.algo)
                    && before.client_order_id.as_ref() == client
            }
            _ => false,
        };
        if let Some(id) = client.filter(|_| sofar.effects.iter().any(is_same)) {
            return Err(Refusal::ClientIdTaken { id: id.clone() });
        }
        if order.replaces && std::mem::take(&mut sofar.cancels) {
            sofar.replaced += 1;
        }
        let pending = matches!(
            order.leg,
            Some(Leg::Pending | Leg::PendingAbove | Leg::PendingBelow)
        );
        let is_future = id.kind.is_future();
        let is_held = on.is_held_to_reduce();
        let quantity = match (order.quantity, order.quote_quantity, market.contract_size) {
            _ if order.close_position && (order.quantity.is_some() || !is_held) => {
                return Err(size_unknown());
            }
            _ if order.position_side.is_some() && !is_future => return Err(size_unknown()),
            // As large as what is held there.
            _ if order.close_position => {
                let held = self.alone(on);
                Quantity(held.base.0.saturating_abs())
            }
            (Some(quantity), _, _) if matches!(becomes, Becomes::Amended(..)) => quantity,
            (Some(quantity), _, None) => quantity,
            (Some(quantity), _, Some(contract)) => {
                quantity.of(contract, Round::Up).ok_or(Refusal::Overflow)?
            }
            // What a working order brings is what its pending legs may give back (OPO, OPOCO, an attached stop).
            (None, None, _) if pending && (sell || is_held) && sofar.working.is_some() => {
                sofar.working.unwrap_or_default()
            }
            (None, Some(quote), _) if !is_future => self
                .base_for(quote, &id, reference)
                .ok_or_else(size_unknown)?,
            (None, _, _) => return Err(size_unknown()),
        };
        if order.leg == Some(Leg::Working) || is_future && order.leg.is_none() {
            sofar.working = Some(quantity);
        }
        if order.pegged || order.order_type == OrderType::TrailingStop && !is_future {
            return Err(size_unknown());
        }
        let quote = match order.quote_quantity {
            Some(quote) => quote,
            None => on.quote(quantity, price).ok_or(Refusal::Overflow)?,
        };
        let rate = self.rate(&market.quote);
        let value = rate
            .map(|rate| quote.at(rate, Round::Up).ok_or(Refusal::Overflow))
            .transpose()?;
        // What an order counted before it is amended; the amendment counts what it has more.
        if let Becomes::Amended(_, known) = becomes {
            let quote = known
                .price
                .and_then(|price| on.quote(known.quantity, at(price)))
                .ok_or(Refusal::Overflow)?;
            let value = rate.map(|rate| quote.at(rate, Round::Down).ok_or(Refusal::Overflow));
            let value = value.transpose()?.map_or(0, |value| value.0);
            sofar.other_leg = Some((value, known.quantity.0));
        }
        let alternative = matches!(
            order.leg,
            Some(Leg::Above | Leg::Below | Leg::PendingAbove | Leg::PendingBelow)
        );
        let again = alternative || matches!(becomes, Becomes::Amended(..));
        let (counted_value, counted_size) = match (again, sofar.other_leg.take()) {
            // The first of two legs counts whole; the second only what it has more.
            (true, Some((value_before, size_before))) => (
                value.map(|v| (v.0 - value_before).max(0)),
                (quantity.0 - size_before).max(0),
            ),
            (true, None) => {
                sofar.other_leg = Some((value.map_or(0, |v| v.0), quantity.0));
                (value.map(|v| v.0), quantity.0)
            }
            (false, _) => (value.map(|v| v.0), quantity.0),
        };
        let reducing = self.reduces(on, counted_size, sofar);
        // What reduces needs no fresh rate; what it turns over is then counted at the last one that was known.
        let counted = match counted_value {
            None if reducing => {
                let rate = last_rate(self.release, self.state, &market.quote);
                quote.at(rate, Round::Up).ok_or(Refusal::Overflow)?.0
            }
            counted => counted.unwrap_or(0),
        };
        if let Some(refusal) = unless_reducing.filter(|_| !reducing) {
            return Err(refusal);
        }
        sofar.reserved &= reducing;
        sofar.last_room &= reducing;
        let said = table::Facts {
            market: Some(symbol.as_str()),
            market_kind: Some(order.market),
            side: Some(order.side),
            order_type: Some(order.order_type),
            time_in_force: order.time_in_force,
            value: Some(value.map_or(i64::MAX, |v| i64::try_from(v.0).unwrap_or(i64::MAX))),
            reduces: Some(reducing),
            post_only: Some(order.order_type == OrderType::LimitMaker),
            borrows: Some(order.borrows),
            ..self.said()
        };
        self.permitted(kind, &said)?;
        if !self.observe {
            self.bounds(on, quantity, own, reference)?;
            let worth = match value {
                Some(value) => value,
                None if reducing => Value::ZERO,
                None => {
                    return Err(Refusal::NoFreshPrice {
                        symbol: symbol.clone(),
                    });
                }
            };
            self.order_value(worth)?;
            if reducing {
                // At a price that was never known it would turn over nothing.
                if !price.is_positive() {
                    return Err(Refusal::NoFreshPrice {
                        symbol: symbol.clone(),
                    });
                }
                if !is_held {
                    self.reducing_turnover(counted, sofar)?;
                }
            } else {
                let needs = order.order_type != OrderType::Limit
                    && order.order_type != OrderType::LimitMaker;
                if reference.is_none() && (sell || needs) {
                    return Err(Refusal::NoFreshPrice {
                        symbol: symbol.clone(),
                    });
                }
                let known = last.map_or(price, |last| last.max(price));
                self.growth(
                    on,
                    counted_size,
                    Value(counted),
                    reference.unwrap_or(known),
                    sofar,
                )?;
            }
        }
        let repeated = self.repeat(order, reducing, sofar)?;
        sofar.turnover = sofar
            .turnover
            .checked_add(counted)
            .ok_or(Refusal::Overflow)?;
        // A test order is judged as the order it could become, and turns over as much: where the signature leaves the path
        // out, whoever hands it in decides which it is. What an order keeps until its end is known it keeps not.
        if let Becomes::Tested = becomes {
            return Ok(());
        }
        sofar.repeats.extend(repeated);
        let (quantity, counted_size) = match order.close_position {
            true => (CLOSES, CLOSES.0),
            false => (quantity, counted_size),
        };
        let mut open = Position::default();
        *open.open_mut(order.side, is_held) = Quantity(counted_size);
        match sofar
            .sizes
            .iter_mut()
            .find(|(asset, at, _)| *asset == market.base && *at == place)
        {
            Some((_, _, position)) => position.add(&open),
            None => sofar.sizes.push((market.base.clone(), place, open)),
        }
        if let Becomes::Amended(number, known) = becomes {
            let looser = |own: Price| match order.side {
                Side::Buy => order.price.map_or(own, |price| price.max(own)),
                Side::Sell => order.price.map_or(own, |price| price.min(own)),
            };
            sofar.effects.push(Effect::Amending {
                leg,
                order: number,
                quantity: quantity.max(known.quantity),
                price: known.price.map(looser),
            });
            return Ok(());
        }
        sofar.open += 1;
        let settled_in = market.settled_in();
        sofar.effects.push(Effect::Reserved {
            leg,
            order: OpenOrder {
                strategy: self.caller.strategy,
                account: self.caller.account,
                symbol: symbol.clone(),
                side: order.side,
                quantity,
                client_order_id: order.client_order_id.clone(),
                list_client_order_id: order.list_client_order_id.clone(),
                order_id: None,
                list_id: None,
                executed: Quantity::ZERO,
                executed_quote: Amount::ZERO,
                status: OrderStatus::Unknown,
                alternative: alternative && counted_size == 0,
                base: Some(market.base.clone()),
                quote: Some(market.quote.clone()),
                price: order.price,
                market: order.market,
                position_side: order.position_side,
                contract: market.contract_size,
                settle: (*settled_in != market.quote).then(|| settled_in.clone()),
                reduces: is_held,
                algo: order.algo,
                became: None,
                most: None,
            },
        });
        Ok(())
    }

    /// The fresh reference price: no older than the shortest age that a level sets.
    fn reference(&self, id: &MarketId) -> Option<Price> {
        let (price, at) = self.state.prices.get(id)?;
        let age = self
            .each()
            .filter_map(|(_, mandate, _)| mandate.price_age_us)
            .min()?;
        (self.now.since_us(*at) <= age && price.is_positive()).then_some(*price)
    }

    /// What one unit of a quote asset is worth.
    fn rate(&self, quote: &crate::action::Asset) -> Option<Price> {
        if self.release.is_currency(quote) {
            return Some(Price(ONE));
        }
        let rates = self.release.rates(quote);
        rates.iter().find_map(|id| self.reference(id))
    }

    /// The highest price at which a limit buy may pass beside this one.
    fn dearest(&self, price: Price) -> Price {
        let tolerance = self
            .each()
            .filter_map(|(_, mandate, _)| mandate.price_tolerance.and_then(Limit::get))
            .min();
        let width = (price.0 / 1_000_000).saturating_mul(i128::from(tolerance.unwrap_or(0)));
        Price(price.0.saturating_add(width))
    }

    /// At most so much base for an amount of quote.
    fn base_for(&self, quote: Amount, id: &MarketId, reference: Option<Price>) -> Option<Quantity> {
        let floor = self
            .each()
            .filter_map(|(_, m, _)| m.market(id)?.floor)
            .max();
        // The lowest price that it may trade at gives the most base: a tenth below the reference, or the floor.
        let lowest = match (reference, floor) {
            (Some(reference), floor) => {
                Price(reference.0 / 10 * 9).max(floor.unwrap_or(Price::ZERO))
            }
            (None, Some(floor)) => floor,
            (None, None) => return None,
        };
        if !lowest.is_positive() {
            return None;
        }
        // quote / lowest, both in 10^-18: scaled in two steps to stay within 128 bits.
        let whole = (quote.0 / lowest.0).checked_mul(ONE)?;
        let rest = quote.0 % lowest.0;
        let part = rest.checked_mul(1_000_000_000)? / (lowest.0 / 1_000_000_000).max(1);
        whole.checked_add(part)?.checked_add(1).map(Quantity)
    }

    fn bounds(
        &self,
        on: On<'_>,
        quantity: Quantity,
        own: Option<Price>,
        reference: Option<Price>,
    ) -> Result<(), Refusal> {
        let order = on.order;
        let sell = order.side == Side::Sell;
        for (_, mandate, _) in self.each() {
            let rule = || Rule(mandate.rule.clone());
            if !mandate.markets.is_empty() {
                let Some(bounds) = mandate.market(on.id) else {
                    return Err(Refusal::MarketNotMandated {
                        rule: rule(),
                        symbol: order.symbol.clone(),
                    });
                };
                // An order without a price trades where the market is: the feed is held to the bounds in its place.
                let market = reference.filter(|_| own.is_none());
                for asked in [order.price, order.stop_price, market]
                    .into_iter()
                    .flatten()
                {
                    if let Some(limit) = bounds.floor.filter(|floor| asked < *floor) {
                        return Err(Refusal::PriceBelowFloor {
                            rule: rule(),
                            limit,
                            asked,
                        });
                    }
                    if let Some(limit) = bounds.ceiling.filter(|ceiling| asked > *ceiling) {
                        return Err(Refusal::PriceAboveCeiling {
                            rule: rule(),
                            limit,
                            asked,
                        });
                    }
                }
                if let Some(limit) = bounds.quantity.filter(|cap| quantity > *cap) {
                    return Err(Refusal::QuantityAboveCap {
                        rule: rule(),
                        limit,
                        asked: quantity,
                    });
                }
            }
            let Some(tolerance) = mandate.price_tolerance.and_then(Limit::get) else {
                continue;
            };
            // A stop order trades when its stop price has been reached: its own price is held against that.
            let against = match order.order_type {
                OrderType::StopLossLimit | OrderType::TakeProfitLimit => {
                    order.stop_price.or(reference)
                }
                _ => reference,
            };
            let (Some(asked), Some(reference)) = (own.filter(|_| order.price.is_some()), against)
            else {
                continue;
            };
            let width = (reference.0 / 1_000_000).saturating_mul(i128::from(tolerance));
            let limit = if sell {
                Price(reference.0 - width)
            } else {
                Price(reference.0.saturating_add(width))
            };
            if (sell && asked < limit) || (!sell && asked > limit) {
                return Err(Refusal::PriceOutsideTolerance {
                    rule: rule(),
                    limit,
                    asked,
                    reference,
                });
            }
        }
        Ok(())
    }

    fn order_value(&self, asked: Value) -> Result<(), Refusal> {
        for (_, mandate, _) in self.each() {
            if let Some(limit) = mandate
                .order_value
                .and_then(Limit::get)
                .filter(|limit| asked > *limit)
            {
                return Err(Refusal::OrderValueAboveLimit {
                    rule: Rule(mandate.rule.clone()),
                    limit,
                    asked,
                });
            }
        }
        Ok(())
    }

    /// The limits that stop risk from growing: turnover, open orders, position, loss.
    fn growth(
        &self,
        on: On<'_>,
        size: i128,
        value: Value,
        price: Price,
        sofar: &Sofar,
    ) -> Result<(), Refusal> {
        let no_price = || Refusal::NoFreshPrice {
            symbol: on.order.symbol.clone(),
        };
        for (at, mandate, usage) in self.each() {
            let rule = || Rule(mandate.rule.clone());
            for (limit, ring) in mandate.turnover.iter().zip(0..4usize) {
                let Some(limit) = limit.and_then(Limit::get) else {
                    continue;
                };
                let used = usage
                    .and_then(|u| u.turnover.get(ring))
                    .map_or(Value::ZERO, |r| r.sum(self.now.0));
                let used = Value(used.0.saturating_add(sofar.turnover));
                if used.0.saturating_add(value.0) > limit.0 {
                    return Err(Refusal::TurnoverAboveLimit {
                        rule: rule(),
                        limit,
                        used,
                        asked: value,
                    });
                }
            }
            if let Some(limit) = mandate.open_orders.and_then(Limit::get) {
                let asked = usage.map_or(0, |u| u.open_orders) + sofar.open + 1;
                let asked = asked.saturating_sub(sofar.replaced);
                if asked > limit {
                    return Err(Refusal::OpenOrdersAboveLimit {
                        rule: rule(),
                        limit,
                        asked,
                    });
                }
            }
            if let Some(limit) = mandate.position.and_then(Limit::get) {
                let held = self.grouped(at, on, sofar).ok_or_else(no_price)?;
                let size = self.in_group_units(on, size).ok_or_else(no_price)?;
                // What lessens the other side is no growth.
                let worst = match on.order.side {
                    Side::Buy => held.base.0 + held.open_buys.0 + size,
                    Side::Sell => held.open_sells.0 - held.base.0 + size,
                };
                let beside = self.beside(usage, on, sofar).ok_or_else(no_price)?;
                let base = |size| price.times(Quantity(size), Round::Up);
                let own = match self.group(&on.market.base) {
                    Some(_) => base(worst.max(0)),
                    None => on.quote(Quantity(worst.max(0)), price),
                };
                let quote = own
                    .zip(base(beside))
                    .and_then(|(own, beside)| own.checked_add(beside))
                    .ok_or(Refusal::Overflow)?;
                let rate = self.rate(&on.market.quote).unwrap_or(Price(ONE));
                let asked = quote.at(rate, Round::Up).ok_or(Refusal::Overflow)?;
                if asked > limit {
                    return Err(Refusal::PositionAboveLimit {
                        rule: rule(),
                        limit,
                        asked,
                    });
                }
            }
            self.lost(mandate, usage)?;
        }
        Ok(())
    }

    /// What reduces has a bound of its own, far above the one that growth is held to: that it reduces is known from what
    /// egress says of fills, and a lie must not go on for ever. It is held against what the strategy itself turned over,
    /// so that none can take the way out from another.
    fn reducing_turnover(&self, asked: i128, sofar: &Sofar) -> Result<(), Refusal> {
        let nearest = [3usize, 2, 1, 0].into_iter().find_map(|at| {
            let mandate = self.mandates.get(at).copied().flatten()?;
            mandate.reducing_turnover
        });
        let times = nearest.unwrap_or(crate::mandate::REDUCING_DEFAULT);
        let Some(times) = times.get() else {
            return Ok(());
        };
        let own = self.usages.get(3).copied().flatten();
        for ring in 0..4usize {
            let of = |mandate: &'a Mandate| mandate.turnover.get(ring).copied().flatten()?.get();
            let tightest = self
                .each()
                .filter_map(|(_, mandate, _)| Some((of(mandate)?, mandate)))
                .min_by_key(|(limit, _)| *limit);
            let Some((limit, mandate)) = tightest else {
                continue;
            };
            let limit = Value(limit.0.saturating_mul(i128::from(times)));
            let used = own
                .and_then(|usage| usage.turnover.get(ring))
                .map_or(Value::ZERO, |ring| ring.sum(self.now.0));
            let used = Value(used.0.saturating_add(sofar.turnover));
            if used.0.saturating_add(asked) > limit.0 {
                return Err(Refusal::TurnoverAboveLimit {
                    rule: Rule(format!("what reduces, {}", mandate.rule)),
                    limit,
                    used,
                    asked: Value(asked),
                });
            }
        }
        Ok(())
    }

    /// Whether a level has reached its loss of the day.
    fn lost(&self, mandate: &Mandate, usage: Option<&Usage>) -> Result<(), Refusal> {
        let (Some(limit), Some(usage)) = (mandate.loss.and_then(Limit::get), usage) else {
            return Ok(());
        };
        let lost = lost_today(self.release, self.state, usage);
        if lost < limit || !lost.is_positive() {
            return Ok(());
        }
        Err(Refusal::LossAboveLimit {
            rule: Rule(mandate.rule.clone()),
            limit,
            lost,
        })
    }

    /// The halt that a limit puts on the strategy, unless it is halted so far already.
    fn trip(&self, refusal: &Refusal) -> Option<Halt> {
        let nearest = [3usize, 2, 1, 0].into_iter().find_map(|at| {
            let mandate = self.mandates.get(at).copied().flatten()?;
            mandate.trip
        });
        let trip = nearest.unwrap_or(Trip::DEFAULT);
        let rule = match refusal {
            Refusal::LossAboveLimit { rule, .. } if trip.loss => format!("loss of {rule}"),
            Refusal::Repeated { rule, .. } if trip.repeat => format!("repeat of {rule}"),
            _ => return None,
        };
        let scope = Scope::Strategy(self.caller.strategy);
        let halted = self.state.halts.get(&scope);
        if halted.is_some_and(|halt| halt.level >= Level::ReduceOnly) {
            return None;
        }
        Some(Halt {
            scope,
            level: Level::ReduceOnly,
            since: self.now,
            reason: refusal.to_string(),
            by: By::Rule(rule),
        })
    }

    /// The throttle's mark and its new arrival time.
    fn repeat(
        &self,
        order: &Order,
        reducing: bool,
        sofar: &Sofar,
    ) -> Result<Option<(u64, u64)>, Refusal> {
        let nearest = [3usize, 2, 1, 0].into_iter().find_map(|at| {
            self.mandates
                .get(at)
                .copied()
                .flatten()
                .filter(|m| m.repeat.is_some())
        });
        let Some((mandate, limit)) = nearest.and_then(|m| Some((m, m.repeat?.get()?))) else {
            return Ok(None);
        };
        let Rate { count, per_us } = limit;
        let mark = mark(self.caller.account, order);
        let known = self
            .usages
            .get(3)
            .copied()
            .flatten()
            .and_then(|usage| usage.repeats.get(&mark))
            .copied();
        let before = sofar
            .repeats
            .iter()
            .rev()
            .find(|(m, _)| *m == mark)
            .map(|(_, tat)| *tat)
            .or(known)
            .unwrap_or(0);
        match rate_passes(before, self.now.0, count, per_us) {
            Some(tat) => Ok(Some((mark, tat))),
            None if reducing || self.observe => Ok(None),
            None => Err(Refusal::Repeated {
                rule: Rule(mandate.rule.clone()),
                limit: count,
                per_us,
            }),
        }
    }

    /// The new arrival times, and whether they are of the reserved rate.
    fn message(&self, reserved: bool) -> Result<([u64; 4], bool), Refusal> {
        let try_rates = |from_reserve: bool| -> Result<[u64; 4], Refusal> {
            let mut tats = [0; 4];
            for (at, mandate, usage) in self.each() {
                let limit = if from_reserve {
                    mandate.reserved_message_rate
                } else {
                    mandate.message_rate
                };
                let Some(Rate { count, per_us }) = limit.and_then(Limit::get) else {
                    continue;
                };
                let tat = usage.map_or(0, |u| {
                    if from_reserve {
                        u.reserved_tat_us
                    } else {
                        u.message_tat_us
                    }
                });
                match (
                    rate_passes(tat, self.now.0, count, per_us),
                    tats.get_mut(at),
                ) {
                    (Some(next), Some(slot)) => *slot = next,
                    _ => {
                        let rule = Rule(mandate.rule.clone());
                        return Err(Refusal::MessageRate {
                            rule,
                            limit: count,
                            per_us,
                        });
                    }
                }
            }
            Ok(tats)
        };
        match try_rates(false) {
            Ok(tats) => Ok((tats, false)),
            Err(_) if reserved => try_rates(true).map(|tats| (tats, true)),
            Err(refusal) => Err(refusal),
        }
    }

    fn weight(&self, reserved: bool) -> Result<(), Refusal> {
        if reserved {
            return Ok(());
        }
        let minute = self.now.0 / 60_000_000;
        for (_, mandate, usage) in self.each() {
            let Some(limit) = mandate.venue_weight.and_then(Limit::get) else {
                continue;
            };
            let used = usage.map_or(0, |u| if u.weight.0 == minute { u.weight.1 } else { 0 });
            let asked = used + u64::from(self.facts.weight);
            if asked > limit {
                return Err(Refusal::VenueWeightAboveLimit {
                    rule: Rule(mandate.rule.clone()),
                    limit,
                    asked,
                });
            }
        }
        Ok(())
    }
}

/// What one unit of an asset was last known to be worth. One without a price ever known counts one to one.
fn last_rate(release: &Release, state: &State, asset: &Asset) -> Price {
    if release.is_currency(asset) {
        return Price(ONE);
    }
    let rates = release.rates(asset);
    rates
        .iter()
        .find_map(|id| state.prices.get(id))
        .map_or(Price(ONE), |(price, _)| *price)
}

/// What a level has lost since the UTC day began, or since an operator re-armed its loss: realized and not, at the last
/// known prices, with the fees that were told; zero if it gained.
#[must_use]
pub fn lost_today(release: &Release, state: &State, usage: &Usage) -> Value {
    let gained = usage.gained().fold(0i128, |sum, (quote, amount)| {
        let value = amount.at(last_rate(release, state, quote), Round::Down);
        // A loss beyond counting is a loss beyond every limit.
        let beyond = if amount.0 < 0 { -i128::MAX } else { 0 };
        sum.saturating_add(value.map_or(beyond, |v| v.0))
    });
    Value(gained.saturating_neg().max(0))
}

/// A number for "the same order": account, kind of market, symbol, side, quantity, price. FNV-1a; who makes two orders collide throttles himself.
fn mark(account: AccountId, order: &Order) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    add(&account.0.to_be_bytes());
    add(order.symbol.as_str().as_bytes());
    let side = match order.position_side {
        None => 0,
        Some(PositionSide::Long) => 1,
        Some(PositionSide::Short) => 2,
    };
    add(&[
        0,
        u8::from(order.side == Side::Sell),
        order.market as u8,
        side,
    ]);
    for number in [
        order.quantity.map(|q| q.0),
        order.quote_quantity.map(|q| q.0),
        order.price.map(|p| p.0),
    ] {
        add(&number.unwrap_or(-1).to_be_bytes());
    }
    hash
}

#[cfg(test)]
mod tests;
