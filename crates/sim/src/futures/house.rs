//! The clearing house of one kind of futures: accounts with wallets and positions, order books, margin, funding, liquidation.
//!
//! Pure: no clock (`now` is set before each call), socket or random source, and no venue's words; [`Deny`] says why not.
//!
//! INVARIANT: for each asset the sum over all accounts (wallets and isolated margins, less what their positions cost), the
//! fees and the insurance fund is what was paid in less what was paid out. [`House::total`] counts it, and a property test
//! over random histories holds it to the last unit. The fund is account [`FUND`]: it takes over what a liquidation leaves.

use super::position::{Contract, M, Position, money, part, share};
use crate::book::{Book, Resting, Side, Status};
use crate::decimal::{D, ONE};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// The insurance fund.
pub const FUND: usize = 0;
/// Accounts up to this one are the venue's own: makers and crowd, which need no margin.
pub const OWN: usize = crate::exchange::CROWD;
/// Leverage of an account that chose none.
pub const LEVERAGE: u32 = 20;
/// Trades of a contract, and things of each kind of an account, that are remembered.
const REMEMBERED_MAX: usize = 20_000;
/// Rounds of waking orders that one change may cause; reached only by a loop of ours.
const WAKES_MAX: usize = 1_000;
/// How often an order may be amended.
pub const AMENDS_MAX: usize = 10_000;
/// How far beyond the mark price an order at market may go.
pub const TAKE_BOUND: D = ONE / 20;

/// Why an order or a setting is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deny {
    /// The contract does not trade.
    Closed,
    /// The price is not above zero, or finer than prices are.
    PriceZero,
    /// See `PriceZero`.
    Precision,
    /// Above the highest.
    PriceMax,
    /// Below the lowest.
    PriceMin,
    /// Off its steps.
    Tick,
    /// Too far above the mark price; the bound.
    PriceHigh(D),
    /// Too far below it; the bound.
    PriceLow(D),
    /// The quantity is not above zero.
    QuantityZero,
    /// Above the largest.
    QuantityMax,
    /// Worth too little; the bound.
    Value(M),
    /// The client's id is that of an open order.
    Duplicate,
    /// The position side is not of the account's mode.
    PositionSide,
    /// Would not reduce, or more than there is.
    ReduceOnly,
    /// The margin does not cover it.
    Margin,
    /// More than the leverage allows.
    ValueMax,
    /// Too many open orders.
    Orders,
    /// Too many waiting orders.
    Stops,
    /// It would wake at once.
    Immediate,
    /// It would take.
    Takes,
    /// It could not be filled whole.
    Unfilled,
    /// The book has no such level.
    NoDepth,
    /// Another close-all order waits on that side.
    CloseExists,
    /// No such order, or it is done.
    Unknown,
    /// Not a limit order.
    LimitOnly,
    /// Nothing would change.
    Same,
    /// Amended too often.
    Amends,
    /// Not a leverage of that contract.
    Leverage,
    /// A lower leverage on an isolated position.
    LeverageIsolated,
    /// The margin does not cover a lower leverage.
    LeverageMargin,
    /// There are open orders.
    OpenOrders,
    /// There is a position.
    HasPosition,
    /// There are isolated positions or settings.
    Isolated,
    /// All assets back each other: nothing is isolated.
    Joint,
    /// The position is not isolated.
    NotIsolated,
    /// There is no position.
    NoPosition,
    /// The wallet does not have that.
    Wallet,
    /// The position's margin cannot spare that.
    IsolatedWallet,
}

/// The side of a position: one for both directions, or one each (hedge mode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leg {
    /// One-way mode.
    Both,
    /// Hedge mode, bought.
    Long,
    /// Hedge mode, sold.
    Short,
}

/// How long an order lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Until cancelled.
    Gtc,
    /// What fills at once.
    Ioc,
    /// All at once or nothing.
    Fok,
    /// Never takes.
    Gtx,
    /// Never takes, and is meant for takers from the venue's own programs; here it meets anybody.
    Rpi,
    /// Until then, in milliseconds.
    Gtd(u64),
}

/// When a waiting order wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trigger {
    /// Wakes at a price that rises to it; else at one that falls to it.
    pub rising: bool,
    /// The price; of a trailing order the one from which it watches, or zero.
    pub price: D,
    /// Distance from the best price since then that wakes a trailing order, in units of 10^-8.
    pub trailing: Option<D>,
    /// Best price since it watches.
    pub extreme: Option<D>,
    /// By the mark price; else by the last one.
    pub by_mark: bool,
    /// Not while mark and last price are far apart.
    pub protect: bool,
}

/// A new order.
#[derive(Debug, Clone)]
pub struct NewOrder {
    /// Side.
    pub side: Side,
    /// Which position.
    pub leg: Leg,
    /// The venue's word for its type, kept for answers.
    pub kind: &'static str,
    /// Price; `None` is at market.
    pub price: Option<D>,
    /// Quantity; zero with `close`.
    pub quantity: D,
    /// Life.
    pub life: Life,
    /// Only reduces.
    pub reduce: bool,
    /// Closes the whole position.
    pub close: bool,
    /// Waits for a price.
    pub trigger: Option<Trigger>,
    /// Its price is that of this level of this side of the book.
    pub matched: Option<(Side, usize)>,
    /// The venue's word for that.
    pub price_match: &'static str,
    /// The client's id.
    pub client_id: Option<String>,
    /// Self-trade prevention.
    pub stp: &'static str,
}

/// An order.
#[derive(Debug, Clone)]
pub struct Order {
    /// Number.
    pub id: u64,
    /// Whose.
    pub account: usize,
    /// Contract.
    pub contract: usize,
    /// What was asked.
    pub asked: NewOrder,
    /// Price now; zero at market.
    pub price: D,
    /// Quantity.
    pub quantity: D,
    /// Filled.
    pub executed: D,
    /// What that was worth, in the margin asset, without a sign.
    pub value: M,
    /// Sum of price times quantity of the fills.
    pub paid: M,
    /// Status.
    pub status: Status,
    /// Waits for its price.
    pub waiting: bool,
    /// Stands in the book.
    resting: bool,
    /// When it came, in milliseconds.
    pub time: u64,
    /// When it last changed.
    pub updated: u64,
    /// Changes: time, price before and after, quantity before and after.
    pub amends: Vec<[i128; 5]>,
    /// Why the venue itself made it: `LIQUIDATION`.
    pub auto_close: Option<&'static str>,
}

impl Order {
    /// What is still to be filled.
    #[must_use]
    pub fn remaining(&self) -> D {
        self.quantity - self.executed
    }

    /// Average price of the fills.
    #[must_use]
    pub fn average(&self) -> D {
        share(self.paid, 1, self.executed)
    }

    /// May only lessen a position.
    #[must_use]
    pub fn reduces(&self) -> bool {
        reduces(&self.asked)
    }
}

impl Resting for Order {
    fn shown(&self) -> D {
        self.remaining()
    }
}

fn reduces(new: &NewOrder) -> bool {
    new.reduce
        || new.close
        || matches!(
            (new.leg, new.side),
            (Leg::Long, Side::Sell) | (Leg::Short, Side::Buy)
        )
}

/// A conditional order with a number of its own, of another space than orders.
#[derive(Debug, Clone)]
pub struct Algo {
    /// Number.
    pub id: u64,
    /// Whose.
    pub account: usize,
    /// Contract.
    pub contract: usize,
    /// The client's id.
    pub client_id: String,
    /// What it places.
    pub asked: NewOrder,
    /// `NEW`, `TRIGGERED`, `FINISHED`, `CANCELED`, `REJECTED`, `EXPIRED`.
    pub status: &'static str,
    /// The order that it became.
    pub order: Option<u64>,
    /// When it came, in milliseconds.
    pub time: u64,
    /// When it last changed.
    pub updated: u64,
    /// When it woke.
    pub triggered: u64,
}

/// A trade as its owner sees it.
#[derive(Debug, Clone)]
pub struct MyTrade {
    /// Number.
    pub id: u64,
    /// Order.
    pub order: u64,
    /// Contract.
    pub contract: usize,
    /// Side.
    pub side: Side,
    /// Which position.
    pub leg: Leg,
    /// Price.
    pub price: D,
    /// Quantity.
    pub quantity: D,
    /// Worth, in the margin asset.
    pub value: M,
    /// Gain of what it closed.
    pub realized: M,
    /// Fee.
    pub fee: M,
    /// Was resting.
    pub maker: bool,
    /// When, in milliseconds.
    pub time: u64,
}

/// Something that changed a wallet.
#[derive(Debug, Clone)]
pub struct Income {
    /// Contract.
    pub contract: Option<usize>,
    /// `REALIZED_PNL`, `COMMISSION`, `FUNDING_FEE`, `TRANSFER`, `INSURANCE_CLEAR`.
    pub kind: &'static str,
    /// Amount; below zero it went.
    pub amount: M,
    /// Asset.
    pub asset: usize,
    /// When, in milliseconds.
    pub time: u64,
    /// Number.
    pub id: u64,
    /// Trade.
    pub trade: Option<u64>,
}

/// Settings of an account for a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Leverage.
    pub leverage: u32,
    /// Each position has its own margin.
    pub isolated: bool,
}

/// Somebody.
#[derive(Debug, Default)]
pub struct Account {
    /// Wallets by asset, without what is isolated.
    pub wallets: BTreeMap<usize, M>,
    /// Positions; those that are nothing are not there.
    pub positions: BTreeMap<(usize, Leg), Position>,
    settings: BTreeMap<usize, Setting>,
    /// Hedge mode.
    pub hedge: bool,
    /// All assets back all positions.
    pub joint: bool,
    /// Open orders.
    pub open: BTreeSet<(usize, u64)>,
    /// Orders, oldest first.
    pub orders: VecDeque<(usize, u64)>,
    by_client: HashMap<(usize, String), u64>,
    /// Conditional orders, oldest first.
    pub algos: VecDeque<u64>,
    /// Trades, oldest first.
    pub trades: VecDeque<MyTrade>,
    /// What changed wallets, oldest first.
    pub income: VecDeque<Income>,
    /// Margin moved by hand: contract, leg, added or taken, amount, time.
    pub margins: VecDeque<(usize, Leg, bool, M, u64)>,
    /// Orders that the venue made to close positions.
    pub forced: VecDeque<(usize, u64)>,
    /// When all orders of a contract are cancelled, in milliseconds.
    pub countdowns: BTreeMap<usize, u64>,
    /// New orders in ten seconds and in a minute: window and count.
    pub order_counts: [(u64, u64); 2],
}

impl Account {
    /// Settings for a contract.
    #[must_use]
    pub fn setting(&self, contract: usize) -> Setting {
        self.settings.get(&contract).copied().unwrap_or(Setting {
            leverage: LEVERAGE,
            isolated: false,
        })
    }

    /// A position, or nothing.
    #[must_use]
    pub fn position(&self, contract: usize, leg: Leg) -> Position {
        self.positions
            .get(&(contract, leg))
            .copied()
            .unwrap_or_default()
    }
}

/// A public trade.
#[derive(Debug, Clone)]
pub struct Trade {
    /// Number.
    pub id: u64,
    /// Price.
    pub price: D,
    /// Quantity.
    pub quantity: D,
    /// When, in milliseconds.
    pub time: u64,
    /// The buyer was resting.
    pub buyer_maker: bool,
}

/// A contract with its book.
#[derive(Debug)]
pub struct Market {
    /// Rules.
    pub contract: Contract,
    /// Orders.
    pub book: Book<Order>,
    waiting: BTreeSet<u64>,
    waiting_algos: BTreeSet<u64>,
    /// Last price.
    pub last: D,
    /// Mark price.
    pub mark: D,
    /// Index price.
    pub index: D,
    /// Highest price.
    pub high: D,
    /// Lowest price.
    pub low: D,
    /// Traded quantity.
    pub volume: D,
    /// Its worth in the margin asset.
    pub turnover: M,
    /// Trades, oldest first.
    pub trades: VecDeque<Trade>,
    /// Changes of the book.
    pub update: u64,
    /// What longs pay to shorts at the next funding.
    pub rate: D,
    /// Fundings: time, rate, mark price.
    pub fundings: VecDeque<(u64, D, D)>,
}

/// What one asset of an account stands for; all in that asset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Wallet with isolated margins.
    pub wallet: M,
    /// Without them.
    pub cross: M,
    /// Gain of all positions.
    pub profit: M,
    /// Gain of those that are not isolated.
    pub cross_profit: M,
    /// Margin of positions.
    pub positions: M,
    /// More margin for open orders.
    pub orders: M,
    /// Maintenance margin.
    pub maintenance: M,
    /// That of positions that are not isolated.
    pub cross_maintenance: M,
    /// May be used or moved away; not below zero.
    pub available: M,
}

/// What an account has on one contract.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exposure {
    /// Value of open buy orders that may open.
    pub bids: M,
    /// Value of open sell orders that may open.
    pub asks: M,
    /// Margin of the positions.
    pub positions: M,
    /// Margin of positions and orders.
    pub needed: M,
    /// The largest value that positions and orders may come to.
    pub value: M,
}

/// All of it.
#[derive(Debug)]
pub struct House {
    /// Milliseconds since 1970.
    pub now: u64,
    /// Contracts.
    pub markets: Vec<Market>,
    /// Accounts, by their numbers at the venue.
    pub accounts: Vec<Account>,
    /// Fees by asset.
    pub fees: BTreeMap<usize, M>,
    /// What came from outside less what went, by asset.
    pub paid_in: BTreeMap<usize, M>,
    /// Conditional orders.
    pub algos: BTreeMap<u64, Algo>,
    /// What an asset is worth where all back all; nothing for those that back nothing.
    pub rates: BTreeMap<usize, D>,
    /// New orders in ten seconds and in a minute, at most.
    pub order_limits: [u64; 2],
    /// Whether its markets take orders of retail price improvement (`RPI`).
    pub takes_rpi: bool,
    names: HashMap<String, usize>,
    next: u64,
    funded: u64,
}

/// Between two fundings.
pub const FUNDING_MS: u64 = 8 * 3_600_000;

fn add(map: &mut BTreeMap<usize, M>, asset: usize, amount: M) {
    *map.entry(asset).or_default() += amount;
}

fn remember<T>(all: &mut VecDeque<T>, one: T) -> Option<T> {
    let old = (all.len() >= REMEMBERED_MAX)
        .then(|| all.pop_front())
        .flatten();
    all.push_back(one);
    old
}

/// Whether an order at `limit` takes one at `price`.
fn reaches(side: Side, limit: D, price: D) -> bool {
    match side {
        Side::Buy => limit >= price,
        Side::Sell => limit <= price,
    }
}

impl House {
    /// A house with its contracts and nobody.
    #[must_use]
    pub fn new(contracts: Vec<Contract>, now: u64) -> Self {
        let names = contracts
            .iter()
            .enumerate()
            .map(|(i, c)| (c.name.clone(), i))
            .collect();
        let markets = contracts
            .into_iter()
            .map(|contract| Market {
                book: Book::default(),
                waiting: BTreeSet::new(),
                waiting_algos: BTreeSet::new(),
                last: contract.price,
                mark: contract.price,
                index: contract.price,
                high: contract.price,
                low: contract.price,
                volume: 0,
                turnover: 0,
                trades: VecDeque::new(),
                update: 1,
                rate: ONE / 10_000,
                fundings: VecDeque::new(),
                contract,
            })
            .collect();
        Self {
            now,
            markets,
            accounts: Vec::new(),
            fees: BTreeMap::new(),
            paid_in: BTreeMap::new(),
            algos: BTreeMap::new(),
            rates: BTreeMap::new(),
            order_limits: [300, 1200],
            takes_rpi: true,
            names,
            next: 1_000_000_000,
            funded: now / FUNDING_MS,
        }
    }

    /// The contract of that name.
    #[must_use]
    pub fn find_contract(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Makes room for the account of that number.
    pub fn open_account(&mut self, account: usize) {
        while self.accounts.len() <= account {
            self.accounts.push(Account::default());
        }
    }

    /// Everything of an asset: it is what was paid in less what was paid out.
    #[must_use]
    pub fn total(&self, asset: usize) -> M {
        let fees = self.fees.get(&asset).copied().unwrap_or(0);
        let of = |account: &Account| -> M {
            account.wallets.get(&asset).copied().unwrap_or(0)
                + account
                    .positions
                    .iter()
                    .filter(|((c, _), _)| self.markets[*c].contract.margin == asset)
                    .map(|(_, p)| p.isolated - p.cost)
                    .sum::<M>()
        };
        fees + self.accounts.iter().map(of).sum::<M>()
    }

    /// Money from outside; below zero it goes there, without asking.
    pub fn pay_in(&mut self, account: usize, asset: usize, amount: D) {
        self.open_account(account);
        add(&mut self.accounts[account].wallets, asset, money(amount));
        add(&mut self.paid_in, asset, money(amount));
        self.earn(account, None, "TRANSFER", money(amount), asset, None);
    }

    /// Money to outside, if it may go.
    ///
    /// # Errors
    /// The account does not have it to spare.
    pub fn pay_out(&mut self, account: usize, asset: usize, amount: D) -> Result<(), Deny> {
        self.open_account(account);
        if money(amount) > self.spare(account, asset) {
            return Err(Deny::Wallet);
        }
        self.pay_in(account, asset, -amount);
        Ok(())
    }

    /// What may leave a wallet.
    #[must_use]
    pub fn spare(&self, account: usize, asset: usize) -> M {
        let sums = self.sums(account, asset);
        sums.available.min(sums.cross).max(0)
    }

    fn earn(
        &mut self,
        account: usize,
        contract: Option<usize>,
        kind: &'static str,
        amount: M,
        asset: usize,
        trade: Option<u64>,
    ) {
        if amount == 0 || account <= OWN {
            return;
        }
        let id = self.number();
        let one = Income {
            contract,
            kind,
            amount,
            asset,
            time: self.now,
            id,
            trade,
        };
        remember(&mut self.accounts[account].income, one);
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// An order.
    #[must_use]
    pub fn order(&self, contract: usize, id: u64) -> Option<&Order> {
        self.markets[contract].book.orders.get(&id)
    }

    fn edit(&mut self, contract: usize, id: u64) -> Option<&mut Order> {
        self.markets[contract].book.orders.get_mut(&id)
    }

    /// What an account has on a contract, with one more order if there is one.
    #[must_use]
    pub fn exposure(
        &self,
        account: usize,
        contract: usize,
        more: Option<(&NewOrder, D)>,
    ) -> Exposure {
        let owner = &self.accounts[account];
        let at = &self.markets[contract];
        let setting = owner.setting(contract);
        let (mut bids, mut asks) = (0, 0);
        let mut count = |new: &NewOrder, price: D, quantity: D| {
            if reduces(new) {
                return;
            }
            let value = at.contract.worth(quantity, price);
            match new.side {
                Side::Buy => bids += value,
                Side::Sell => asks += value,
            }
        };
        for (_, id) in owner.open.range((contract, 0)..(contract + 1, 0)) {
            if let Some(order) = self.order(contract, *id).filter(|o| !o.waiting) {
                count(&order.asked, order.price, order.remaining());
            }
        }
        if let Some((new, price)) = more {
            count(new, price, new.quantity);
        }
        let worth = |leg| {
            let quantity = owner.position(contract, leg).quantity;
            at.contract.worth(quantity, at.mark) * quantity.signum()
        };
        let both = worth(Leg::Both);
        let (long, short) = (worth(Leg::Long).abs(), worth(Leg::Short).abs());
        let leverage = M::from(setting.leverage.max(1));
        let value = if owner.hedge {
            long + bids + short + asks
        } else {
            (both + bids).abs().max((both - asks).abs())
        };
        Exposure {
            bids,
            asks,
            positions: (both.abs() + long + short) / leverage,
            needed: value / leverage,
            value,
        }
    }

    /// The assets that back positions in `asset`: itself, or all with what they are worth.
    fn pool(&self, account: usize, asset: usize) -> Vec<(usize, D)> {
        if self.accounts[account].joint && self.rates.contains_key(&asset) {
            self.rates.iter().map(|(a, r)| (*a, *r)).collect()
        } else {
            vec![(asset, ONE)]
        }
    }

    /// An account's contracts: where it has a position or an open order.
    fn active(&self, account: usize) -> BTreeSet<usize> {
        let owner = &self.accounts[account];
        owner
            .positions
            .keys()
            .map(|(c, _)| *c)
            .chain(owner.open.iter().map(|(c, _)| *c))
            .collect()
    }

    fn own_sums(&self, account: usize, asset: usize) -> Sums {
        let owner = &self.accounts[account];
        let cross = owner.wallets.get(&asset).copied().unwrap_or(0);
        let mut sums = Sums {
            wallet: cross,
            cross,
            ..Sums::default()
        };
        let mut needed = 0;
        for contract in self.active(account) {
            let at = &self.markets[contract];
            if at.contract.margin != asset {
                continue;
            }
            let isolated = owner.setting(contract).isolated;
            let exposure = self.exposure(account, contract, None);
            sums.positions += exposure.positions;
            sums.orders += exposure.needed - exposure.positions;
            needed += if isolated {
                exposure.needed - exposure.positions
            } else {
                exposure.needed
            };
            for leg in [Leg::Both, Leg::Long, Leg::Short] {
                let position = owner.position(contract, leg);
                let profit = position.profit(&at.contract, at.mark);
                let maintenance = at
                    .contract
                    .maintenance(at.contract.worth(position.quantity, at.mark));
                sums.wallet += position.isolated;
                sums.profit += profit;
                sums.maintenance += maintenance;
                if !isolated {
                    sums.cross_profit += profit;
                    sums.cross_maintenance += maintenance;
                }
            }
        }
        sums.available = sums.cross + sums.cross_profit - needed;
        sums
    }

    /// What an account has in one asset.
    #[must_use]
    pub fn sums(&self, account: usize, asset: usize) -> Sums {
        let mut sums = self.own_sums(account, asset);
        let pool = self.pool(account, asset);
        if pool.len() > 1 {
            // In units of the asset itself.
            let rate = pool
                .iter()
                .find(|(a, _)| *a == asset)
                .map_or(ONE, |(_, r)| *r);
            let all: M = pool
                .iter()
                .map(|(a, r)| part(self.own_sums(account, *a).available, *r))
                .sum();
            sums.available = share(all, ONE, rate);
        }
        sums.available = sums.available.max(0);
        sums
    }

    /// Free margin of a pool before it is cut at zero.
    fn free(&self, account: usize, asset: usize) -> M {
        self.pool(account, asset)
            .iter()
            .map(|(a, r)| part(self.own_sums(account, *a).available, *r))
            .sum()
    }

    /// The price at which a position is liquidated.
    #[must_use]
    pub fn liquidation_price(&self, account: usize, contract: usize, leg: Leg) -> Option<D> {
        let owner = &self.accounts[account];
        let position = owner.position(contract, leg);
        let at = &self.markets[contract];
        let balance = if owner.setting(contract).isolated {
            position.isolated
        } else {
            let mut balance = 0;
            let asset = at.contract.margin;
            for (a, rate) in self.pool(account, asset) {
                let sums = self.own_sums(account, a);
                balance += part(
                    sums.cross + sums.cross_profit - sums.cross_maintenance,
                    rate,
                );
            }
            let own = position.profit(&at.contract, at.mark);
            let maintenance = at
                .contract
                .maintenance(at.contract.worth(position.quantity, at.mark));
            balance - own + maintenance
        };
        position.liquidation(&at.contract, balance)
    }

    /// What may still be closed by an order of that kind.
    fn closable(&self, account: usize, contract: usize, leg: Leg, side: Side) -> D {
        let quantity = self.accounts[account].position(contract, leg).quantity;
        match side {
            Side::Sell => quantity.max(0),
            Side::Buy => (-quantity).max(0),
        }
    }

    fn crosses(&self, contract: usize, side: Side, price: D) -> bool {
        self.markets[contract]
            .book
            .best(side.other())
            .is_some_and(|(best, _)| reaches(side, price, best))
    }

    fn price_rules(&self, contract: usize, price: D) -> Result<(), Deny> {
        let c = &self.markets[contract].contract;
        let finest = 10_i128.pow(u32::try_from(8 - c.price_places.min(8)).unwrap_or(0));
        if price <= 0 {
            Err(Deny::PriceZero)
        } else if price % finest != 0 {
            Err(Deny::Precision)
        } else if price > c.price_max {
            Err(Deny::PriceMax)
        } else if price < c.price_min {
            Err(Deny::PriceMin)
        } else if price % c.tick != 0 {
            Err(Deny::Tick)
        } else {
            Ok(())
        }
    }

    fn quantity_rules(&self, contract: usize, quantity: D, market: bool) -> Result<(), Deny> {
        let c = &self.markets[contract].contract;
        if quantity <= 0 {
            Err(Deny::QuantityZero)
        } else if quantity % c.step != 0 {
            Err(Deny::Precision)
        } else if quantity > c.quantity_max || market && quantity > c.market_quantity_max {
            Err(Deny::QuantityMax)
        } else {
            Ok(())
        }
    }

    /// The price of a level of the book.
    fn level(&self, contract: usize, side: Side, level: usize) -> Result<D, Deny> {
        let levels = self.markets[contract].book.depth(side, level);
        levels
            .get(level.saturating_sub(1))
            .map(|(price, _)| *price)
            .ok_or(Deny::NoDepth)
    }

    /// What rules and settings ask of a new order, whether it waits or not; nothing is changed.
    fn rules(&self, account: usize, contract: usize, new: &NewOrder) -> Result<(), Deny> {
        let owner = &self.accounts[account];
        let at = &self.markets[contract];
        if !at.contract.trading {
            return Err(Deny::Closed);
        }
        if owner.hedge == (new.leg == Leg::Both) && account > OWN {
            return Err(Deny::PositionSide);
        }
        if let Some(price) = new.price {
            self.price_rules(contract, price)?;
        }
        if !new.close {
            self.quantity_rules(contract, new.quantity, new.price.is_none())?;
        }
        if let Some(id) = new.client_id.as_deref()
            && owner
                .by_client
                .get(&(contract, id.to_owned()))
                .is_some_and(|id| owner.open.contains(&(contract, *id)))
        {
            return Err(Deny::Duplicate);
        }
        if owner.open.range((contract, 0)..(contract + 1, 0)).count() >= at.contract.orders_max
            && account > OWN
        {
            return Err(Deny::Orders);
        }
        Ok(())
    }

    /// What a working order needs beside the rules: prices near the mark, a value, margin. Nothing is changed.
    fn admit(&self, account: usize, contract: usize, new: &NewOrder) -> Result<(), Deny> {
        let at = &self.markets[contract];
        if account <= OWN {
            return Ok(());
        }
        if let Some(price) = new.price {
            let (high, low) = (
                part(at.mark, at.contract.up),
                part(at.mark, at.contract.down),
            );
            if new.side == Side::Buy && price > high {
                return Err(Deny::PriceHigh(high / at.contract.tick * at.contract.tick));
            }
            if new.side == Side::Sell && price < low {
                let tick = at.contract.tick;
                return Err(Deny::PriceLow((low + tick - 1) / tick * tick));
            }
        }
        if reduces(new) {
            let closable = self.closable(account, contract, new.leg, new.side);
            // In hedge mode all that may close a side together may not be more than the side has.
            let resting: D = if new.leg == Leg::Both {
                0
            } else {
                self.accounts[account]
                    .open
                    .range((contract, 0)..(contract + 1, 0))
                    .filter_map(|(_, id)| self.order(contract, *id))
                    .filter(|o| !o.waiting && o.asked.leg == new.leg && o.reduces())
                    .map(Order::remaining)
                    .sum()
            };
            let asked = if new.leg == Leg::Both {
                0
            } else {
                new.quantity
            };
            if closable == 0 || asked + resting > closable {
                return Err(Deny::ReduceOnly);
            }
        } else {
            let price = new.price.unwrap_or(at.mark);
            if at.contract.worth(new.quantity, price) < at.contract.value_min {
                return Err(Deny::Value(at.contract.value_min));
            }
            let price = new
                .price
                .unwrap_or_else(|| self.worst(account, contract, new));
            let before = self.exposure(account, contract, None);
            let after = self.exposure(account, contract, Some((new, price)));
            if after.needed > before.needed {
                let leverage = self.accounts[account].setting(contract).leverage;
                if after.value > at.contract.value_max(leverage) {
                    return Err(Deny::ValueMax);
                }
                let sign = if new.side == Side::Buy { 1 } else { -1 };
                let loss = at.contract.value(new.quantity * sign, price)
                    - at.contract.value(new.quantity * sign, at.mark);
                let asset = at.contract.margin;
                let rate = self
                    .pool(account, asset)
                    .iter()
                    .find(|(a, _)| *a == asset)
                    .map_or(ONE, |(_, r)| *r);
                let more = part(after.needed - before.needed + loss.max(0), rate);
                if self.free(account, asset) < more {
                    return Err(Deny::Margin);
                }
            }
        }
        match (new.life, new.price) {
            (Life::Gtx | Life::Rpi, Some(price)) if self.crosses(contract, new.side, price) => {
                return Err(Deny::Takes);
            }
            (Life::Fok, Some(price)) => {
                let book = &at.book;
                let found: D = book
                    .walk(new.side.other())
                    .take_while(|(at, _)| reaches(new.side, price, *at))
                    .filter_map(|(_, id)| book.orders.get(&id))
                    .filter(|o| new.stp == "NONE" || o.account != account)
                    .map(Order::remaining)
                    .sum();
                if found < new.quantity {
                    return Err(Deny::Unfilled);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The worst price that an order at market would come to now.
    fn worst(&self, account: usize, contract: usize, new: &NewOrder) -> D {
        let at = &self.markets[contract];
        let bound = bound(at.mark, new.side);
        let (mut left, mut worst) = (new.quantity, at.mark);
        for (price, id) in at.book.walk(new.side.other()) {
            if left <= 0 || !reaches(new.side, bound, price) {
                break;
            }
            if let Some(order) = at.book.orders.get(&id).filter(|o| o.account != account) {
                left -= order.remaining();
                worst = price;
            }
        }
        worst
    }

    /// Judges an order without placing it.
    ///
    /// # Errors
    /// Why not.
    pub fn test(&self, account: usize, contract: usize, new: &NewOrder) -> Result<(), Deny> {
        let mut new = new.clone();
        self.priced(contract, &mut new)?;
        self.rules(account, contract, &new)?;
        match &new.trigger {
            Some(trigger) => self.wait_rules(account, contract, &new, trigger),
            None => self.admit(account, contract, &new),
        }
    }

    fn priced(&self, contract: usize, new: &mut NewOrder) -> Result<(), Deny> {
        if let Some((side, level)) = new.matched
            && new.trigger.is_none()
        {
            new.price = Some(self.level(contract, side, level)?);
        }
        Ok(())
    }

    fn wait_rules(
        &self,
        account: usize,
        contract: usize,
        new: &NewOrder,
        trigger: &Trigger,
    ) -> Result<(), Deny> {
        let at = &self.markets[contract];
        let price = if trigger.by_mark { at.mark } else { at.last };
        if trigger.price != 0 || trigger.trailing.is_none() {
            self.price_rules(contract, trigger.price)?;
            let reached = if trigger.rising {
                price >= trigger.price
            } else {
                price <= trigger.price
            };
            // A trailing order watches from a better price on: above the market to sell, below it to buy.
            let activated = trigger.trailing.is_some()
                && if trigger.rising {
                    price <= trigger.price
                } else {
                    price >= trigger.price
                };
            if trigger.trailing.is_none() && reached || activated {
                return Err(Deny::Immediate);
            }
        }
        let owner = &self.accounts[account];
        let stops = at
            .waiting
            .iter()
            .filter(|id| owner.open.contains(&(contract, **id)))
            .count()
            + at.waiting_algos
                .iter()
                .filter(|id| self.algos.get(id).is_some_and(|a| a.account == account))
                .count();
        if stops >= at.contract.stops_max {
            return Err(Deny::Stops);
        }
        if new.close {
            let same = |other: &NewOrder| {
                other.close
                    && other.leg == new.leg
                    && other.side == new.side
                    && other.trigger.is_some_and(|t| t.rising == trigger.rising)
            };
            let exists = at
                .waiting
                .iter()
                .filter_map(|id| self.order(contract, *id))
                .any(|o| o.account == account && same(&o.asked))
                || at
                    .waiting_algos
                    .iter()
                    .filter_map(|id| self.algos.get(id))
                    .any(|a| a.account == account && same(&a.asked));
            if exists {
                return Err(Deny::CloseExists);
            }
        }
        Ok(())
    }

    /// Places an order; one with a trigger waits.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub fn place(&mut self, account: usize, contract: usize, new: NewOrder) -> Result<u64, Deny> {
        let id = self.place_unsettled(account, contract, new)?;
        self.settle(contract);
        Ok(id)
    }

    pub(super) fn place_unsettled(
        &mut self,
        account: usize,
        contract: usize,
        mut new: NewOrder,
    ) -> Result<u64, Deny> {
        self.test(account, contract, &new)?;
        self.priced(contract, &mut new)?;
        let waits = new.trigger.is_some();
        let id = self.insert(account, contract, new, waits);
        if waits {
            self.markets[contract].waiting.insert(id);
        } else {
            self.work(contract, id);
        }
        Ok(id)
    }

    /// Places a conditional order with a number of its own.
    ///
    /// # Errors
    /// Why not.
    pub fn place_algo(
        &mut self,
        account: usize,
        contract: usize,
        new: NewOrder,
        client_id: Option<String>,
    ) -> Result<u64, Deny> {
        self.test(account, contract, &new)?;
        if let Some(client) = client_id.as_deref()
            && self.accounts[account]
                .algos
                .iter()
                .filter_map(|id| self.algos.get(id))
                .any(|a| a.status == "NEW" && a.client_id == client)
        {
            return Err(Deny::Duplicate);
        }
        let id = self.number();
        let algo = Algo {
            id,
            account,
            contract,
            client_id: client_id.unwrap_or_else(|| format!("sim{id}")),
            asked: new,
            status: "NEW",
            order: None,
            time: self.now,
            updated: self.now,
            triggered: 0,
        };
        self.algos.insert(id, algo);
        self.markets[contract].waiting_algos.insert(id);
        if let Some(old) = remember(&mut self.accounts[account].algos, id) {
            self.algos.remove(&old);
        }
        Ok(id)
    }

    fn insert(&mut self, account: usize, contract: usize, new: NewOrder, waiting: bool) -> u64 {
        let id = self.number();
        let client = new.client_id.clone().unwrap_or_else(|| format!("sim{id}"));
        let order = Order {
            id,
            account,
            contract,
            price: new.price.unwrap_or(0),
            quantity: new.quantity,
            executed: 0,
            value: 0,
            paid: 0,
            status: Status::New,
            waiting,
            resting: false,
            time: self.now,
            updated: self.now,
            amends: Vec::new(),
            auto_close: None,
            asked: NewOrder {
                client_id: Some(client.clone()),
                ..new
            },
        };
        self.markets[contract].book.orders.insert(id, order);
        let owner = &mut self.accounts[account];
        owner.open.insert((contract, id));
        if account > OWN {
            owner.by_client.insert((contract, client), id);
            // The oldest that is done goes; open ones are few.
            if let Some((c, old)) = remember(&mut owner.orders, (contract, id)) {
                if owner.open.contains(&(c, old)) {
                    owner.orders.push_front((c, old));
                } else if let Some(gone) = self.markets[c].book.orders.remove(&old) {
                    let key = (c, gone.asked.client_id.unwrap_or_default());
                    if owner.by_client.get(&key) == Some(&old) {
                        owner.by_client.remove(&key);
                    }
                }
            }
        }
        id
    }

    /// An order works: it takes what it can, then rests or ends.
    fn work(&mut self, contract: usize, id: u64) {
        self.markets[contract].update += 1;
        let now = self.now;
        let Some(order) = self.edit(contract, id) else {
            return;
        };
        order.updated = now;
        let (side, price, at_market, life) = (
            order.asked.side,
            order.price,
            order.asked.price.is_none(),
            order.asked.life,
        );
        self.take(contract, id);
        let Some(order) = self.edit(contract, id).filter(|o| o.status.open()) else {
            return;
        };
        if at_market || matches!(life, Life::Ioc | Life::Fok) {
            return self.end(contract, id, Status::Expired);
        }
        order.resting = true;
        self.markets[contract].book.rest(side, price, id);
    }

    fn take(&mut self, contract: usize, id: u64) {
        loop {
            let Some(order) = self
                .order(contract, id)
                .filter(|o| o.status.open() && o.remaining() > 0)
            else {
                return;
            };
            let (side, account, stp) = (order.asked.side, order.account, order.asked.stp);
            let at = &self.markets[contract];
            let limit = if order.asked.price.is_some() {
                order.price
            } else if order.auto_close.is_some() {
                if side == Side::Buy { D::MAX } else { 0 }
            } else {
                bound(at.mark, side)
            };
            let Some((price, maker)) = at.book.best(side.other()) else {
                return;
            };
            if !reaches(side, limit, price) {
                return;
            }
            let Some(resting) = self.order(contract, maker) else {
                return;
            };
            if resting.account == account && account > OWN && stp != "NONE" {
                if matches!(stp, "EXPIRE_MAKER" | "EXPIRE_BOTH") {
                    self.end(contract, maker, Status::ExpiredInMatch);
                }
                if matches!(stp, "EXPIRE_TAKER" | "EXPIRE_BOTH") {
                    return self.end(contract, id, Status::ExpiredInMatch);
                }
                continue;
            }
            let mut quantity = order.remaining().min(resting.remaining());
            // What may only reduce fills no more than there is; with nothing left it ends.
            let both = [resting, order].map(|o| {
                let closable = (o.reduces() && o.account > OWN)
                    .then(|| self.closable(o.account, contract, o.asked.leg, o.asked.side));
                (o.id, closable)
            });
            for (one, closable) in both {
                let Some(closable) = closable else {
                    continue;
                };
                quantity = quantity.min(closable);
                if closable == 0 {
                    self.end(contract, one, Status::Expired);
                }
            }
            if quantity > 0 {
                self.trade(contract, id, maker, price, quantity);
            }
        }
    }

    /// One match.
    fn trade(&mut self, contract: usize, taker: u64, maker: u64, price: D, quantity: D) {
        let number = self.number();
        let now = self.now;
        let at = &mut self.markets[contract];
        let value = at.contract.value(quantity, price);
        at.last = price;
        at.high = at.high.max(price);
        at.low = at.low.min(price);
        at.volume += quantity;
        at.turnover += value.abs();
        let buyer_maker = at
            .book
            .orders
            .get(&maker)
            .is_some_and(|o| o.asked.side == Side::Buy);
        let trade = Trade {
            id: number,
            price,
            quantity,
            time: now,
            buyer_maker,
        };
        remember(&mut at.trades, trade);
        at.update += 1;
        for (id, is_maker) in [(taker, false), (maker, true)] {
            let Some(order) = self.edit(contract, id) else {
                continue;
            };
            order.executed += quantity;
            order.value += value.abs();
            order.paid += quantity * price;
            order.updated = now;
            order.status = Status::PartiallyFilled;
            let (account, side, leg, filled) = (
                order.account,
                order.asked.side,
                order.asked.leg,
                order.remaining() == 0,
            );
            let c = &self.markets[contract].contract;
            let rate = if is_maker { c.maker_fee } else { c.taker_fee };
            let fee = if account <= OWN {
                0
            } else {
                part(value.abs(), rate)
            };
            let sign = if side == Side::Buy { 1 } else { -1 };
            let realized = self.fill(
                account,
                contract,
                leg,
                quantity * sign,
                value * sign,
                fee,
                Some(number),
            );
            if account > OWN {
                let one = MyTrade {
                    id: number,
                    order: id,
                    contract,
                    side,
                    leg,
                    price,
                    quantity,
                    value: value.abs(),
                    realized,
                    fee,
                    maker: is_maker,
                    time: now,
                };
                remember(&mut self.accounts[account].trades, one);
            }
            if filled {
                self.end(contract, id, Status::Filled);
            }
        }
    }

    /// A fill reaches a position and the wallets; gives what it earned.
    #[expect(
        clippy::too_many_arguments,
        reason = "one fill is all of these, and only two places make one"
    )]
    fn fill(
        &mut self,
        account: usize,
        contract: usize,
        leg: Leg,
        quantity: D,
        value: M,
        fee: M,
        trade: Option<u64>,
    ) -> M {
        let now = self.now;
        let asset = self.markets[contract].contract.margin;
        let owner = &mut self.accounts[account];
        let setting = owner.setting(contract);
        let position = owner.positions.entry((contract, leg)).or_default();
        let (held, backing) = (position.quantity.abs(), position.isolated);
        let change = position.fill(quantity, value);
        position.updated = now;
        // What backed the part that was closed comes back with what it earned; what was opened is backed anew.
        let back = share(backing, change.closed, held);
        let anew = if setting.isolated && account > OWN {
            change.opened / M::from(setting.leverage.max(1))
        } else {
            0
        };
        position.isolated += anew - back;
        if position.quantity == 0 {
            owner.positions.remove(&(contract, leg));
        }
        add(
            &mut owner.wallets,
            asset,
            back - anew + change.realized - fee,
        );
        add(&mut self.fees, asset, fee);
        self.earn(
            account,
            Some(contract),
            "REALIZED_PNL",
            change.realized,
            asset,
            trade,
        );
        self.earn(account, Some(contract), "COMMISSION", -fee, asset, trade);
        change.realized
    }

    /// An order ends.
    fn end(&mut self, contract: usize, id: u64, status: Status) {
        let now = self.now;
        let Some(order) = self.edit(contract, id).filter(|o| o.status.open()) else {
            return;
        };
        order.status = status;
        order.updated = now;
        let (account, side, price, resting) =
            (order.account, order.asked.side, order.price, order.resting);
        order.resting = false;
        let at = &mut self.markets[contract];
        if resting {
            at.book.take(side, price, id);
            at.update += 1;
        }
        at.waiting.remove(&id);
        self.accounts[account].open.remove(&(contract, id));
        if account <= OWN {
            self.markets[contract].book.orders.remove(&id);
        }
    }

    /// An order of an account, by number or by the client's id.
    #[must_use]
    pub fn find(
        &self,
        account: usize,
        contract: usize,
        id: Option<u64>,
        client_id: Option<&str>,
    ) -> Option<&Order> {
        let id = match (id, client_id) {
            (Some(id), _) => id,
            (None, Some(text)) => *self.accounts[account]
                .by_client
                .get(&(contract, text.to_owned()))?,
            (None, None) => return None,
        };
        self.order(contract, id).filter(|o| o.account == account)
    }

    /// Cancels an order.
    ///
    /// # Errors
    /// There is none, or it is done.
    pub fn cancel(
        &mut self,
        account: usize,
        contract: usize,
        id: Option<u64>,
        client_id: Option<&str>,
    ) -> Result<u64, Deny> {
        let id = self
            .find(account, contract, id, client_id)
            .filter(|o| o.status.open())
            .map(|o| o.id)
            .ok_or(Deny::Unknown)?;
        self.end(contract, id, Status::Canceled);
        Ok(id)
    }

    /// Cancels all orders of an account on a contract.
    pub fn cancel_all(&mut self, account: usize, contract: usize) {
        let open: Vec<u64> = self.accounts[account]
            .open
            .range((contract, 0)..(contract + 1, 0))
            .map(|(_, id)| *id)
            .collect();
        for id in open {
            self.end(contract, id, Status::Canceled);
        }
    }

    /// A conditional order of an account.
    #[must_use]
    pub fn find_algo(
        &self,
        account: usize,
        id: Option<u64>,
        client_id: Option<&str>,
    ) -> Option<&Algo> {
        let mine = self.accounts[account]
            .algos
            .iter()
            .rev()
            .filter_map(|id| self.algos.get(id));
        match id {
            Some(id) => self.algos.get(&id).filter(|a| a.account == account),
            None => mine
                .into_iter()
                .find(|a| Some(a.client_id.as_str()) == client_id),
        }
    }

    /// Cancels a conditional order.
    ///
    /// # Errors
    /// There is none, or it is done.
    pub fn cancel_algo(
        &mut self,
        account: usize,
        id: Option<u64>,
        client_id: Option<&str>,
    ) -> Result<u64, Deny> {
        let id = self
            .find_algo(account, id, client_id)
            .filter(|a| a.status == "NEW")
            .map(|a| a.id)
            .ok_or(Deny::Unknown)?;
        self.end_algo(id, "CANCELED");
        Ok(id)
    }

    /// Cancels all conditional orders of an account on a contract.
    pub fn cancel_algos(&mut self, account: usize, contract: usize) {
        let open: Vec<u64> = self.markets[contract]
            .waiting_algos
            .iter()
            .copied()
            .filter(|id| self.algos.get(id).is_some_and(|a| a.account == account))
            .collect();
        for id in open {
            self.end_algo(id, "CANCELED");
        }
    }

    fn end_algo(&mut self, id: u64, status: &'static str) {
        let now = self.now;
        if let Some(algo) = self.algos.get_mut(&id) {
            algo.status = status;
            algo.updated = now;
            self.markets[algo.contract].waiting_algos.remove(&id);
        }
    }

    /// Another price and quantity for a limit order; it goes behind the others. What cannot stay as asked is cancelled.
    ///
    /// # Errors
    /// Why not; the order stays as it is then.
    pub fn amend(
        &mut self,
        account: usize,
        contract: usize,
        id: u64,
        side: Side,
        price: D,
        quantity: D,
    ) -> Result<(), Deny> {
        let order = self
            .find(account, contract, Some(id), None)
            .filter(|o| o.status.open() && o.asked.side == side)
            .ok_or(Deny::Unknown)?
            .clone();
        if order.asked.price.is_none() || order.waiting {
            return Err(Deny::LimitOnly);
        }
        if order.price == price && order.quantity == quantity {
            return Err(Deny::Same);
        }
        if order.amends.len() >= AMENDS_MAX {
            return Err(Deny::Amends);
        }
        self.price_rules(contract, price)?;
        self.quantity_rules(contract, quantity, false)?;
        // It is judged as an order that comes, with itself out of the way.
        self.accounts[account].open.remove(&(contract, id));
        let probe = NewOrder {
            price: Some(price),
            quantity: (quantity - order.executed).max(0),
            client_id: None,
            ..order.asked.clone()
        };
        let judged = if quantity <= order.executed {
            Ok(())
        } else {
            self.admit(account, contract, &probe)
        };
        self.accounts[account].open.insert((contract, id));
        match judged {
            Err(Deny::Takes) => {
                self.end(contract, id, Status::Canceled);
                return Ok(());
            }
            Err(why) => return Err(why),
            Ok(()) if quantity <= order.executed => {
                self.end(contract, id, Status::Canceled);
                return Ok(());
            }
            Ok(()) => {}
        }
        let now = self.now;
        self.markets[contract].book.take(side, order.price, id);
        if let Some(order) = self.edit(contract, id) {
            order.resting = false;
            order.amends.push([
                i128::from(now),
                order.price,
                price,
                order.quantity,
                quantity,
            ]);
            order.price = price;
            order.quantity = quantity;
            order.asked.price = Some(price);
            order.asked.quantity = quantity;
        }
        self.work(contract, id);
        self.settle(contract);
        Ok(())
    }

    /// Wakes what a price wakes, ends what may no longer stand, liquidates, until nothing changes.
    pub fn settle(&mut self, contract: usize) {
        for _ in 0..WAKES_MAX {
            self.sweep(contract);
            let Some(woken) = self.woken(contract) else {
                break;
            };
            match woken {
                Woken::Order(id) => self.wake(contract, id),
                Woken::Algo(id) => self.wake_algo(contract, id),
            }
        }
        self.liquidate_all();
    }

    /// Orders that only reduce end with their position.
    fn sweep(&mut self, contract: usize) {
        let mut gone = Vec::new();
        for (account, owner) in self.accounts.iter().enumerate().skip(OWN + 1) {
            for (_, id) in owner.open.range((contract, 0)..(contract + 1, 0)) {
                if let Some(order) = self.order(contract, *id)
                    && !order.waiting
                    && order.reduces()
                    && self.closable(account, contract, order.asked.leg, order.asked.side) == 0
                {
                    gone.push(*id);
                }
            }
        }
        for id in gone {
            self.end(contract, id, Status::Expired);
        }
    }

    fn woken(&mut self, contract: usize) -> Option<Woken> {
        let at = &mut self.markets[contract];
        let (last, mark, protect) = (at.last, at.mark, at.contract.protect);
        for id in &at.waiting {
            if let Some(order) = at.book.orders.get_mut(id)
                && let Some(trigger) = &mut order.asked.trigger
                && wakes(trigger, last, mark, protect)
            {
                return Some(Woken::Order(*id));
            }
        }
        for id in &at.waiting_algos {
            if let Some(algo) = self.algos.get_mut(id)
                && let Some(trigger) = &mut algo.asked.trigger
                && wakes(trigger, last, mark, protect)
            {
                return Some(Woken::Algo(*id));
            }
        }
        None
    }

    /// What an order that woke now asks.
    fn awake(&self, account: usize, contract: usize, asked: &NewOrder) -> Result<NewOrder, Deny> {
        let mut new = NewOrder {
            trigger: None,
            client_id: None,
            ..asked.clone()
        };
        self.priced(contract, &mut new)?;
        if new.close {
            new.quantity = self.closable(account, contract, new.leg, new.side);
        }
        if new.quantity == 0 {
            return Err(Deny::ReduceOnly);
        }
        self.admit(account, contract, &new)?;
        Ok(new)
    }

    fn wake(&mut self, contract: usize, id: u64) {
        self.markets[contract].waiting.remove(&id);
        let Some(order) = self.order(contract, id) else {
            return;
        };
        match self.awake(order.account, contract, &order.asked) {
            Err(_) => self.end(contract, id, Status::Expired),
            Ok(new) => {
                if let Some(order) = self.edit(contract, id) {
                    order.waiting = false;
                    order.price = new.price.unwrap_or(0);
                    order.quantity = new.quantity;
                    order.asked.price = new.price;
                }
                self.work(contract, id);
            }
        }
    }

    fn wake_algo(&mut self, contract: usize, id: u64) {
        let now = self.now;
        let Some(algo) = self.algos.get_mut(&id) else {
            return;
        };
        algo.triggered = now;
        algo.status = "TRIGGERED";
        let (account, asked) = (algo.account, algo.asked.clone());
        let placed = self
            .awake(account, contract, &asked)
            .and_then(|new| self.place_unsettled(account, contract, new));
        match placed {
            Ok(order) => {
                if let Some(algo) = self.algos.get_mut(&id) {
                    algo.order = Some(order);
                }
                self.end_algo(id, "FINISHED");
            }
            Err(_) => self.end_algo(id, "REJECTED"),
        }
    }

    /// Time passes: orders and countdowns run out, funding is paid.
    pub fn advance(&mut self) {
        let now = self.now;
        for account in OWN + 1..self.accounts.len() {
            let due: Vec<usize> = self.accounts[account]
                .countdowns
                .iter()
                .filter(|(_, until)| **until <= now)
                .map(|(c, _)| *c)
                .collect();
            for contract in due {
                self.accounts[account].countdowns.remove(&contract);
                self.cancel_all(account, contract);
            }
            let old: Vec<(usize, u64)> = self.accounts[account]
                .open
                .iter()
                .filter(|(c, id)| {
                    self.order(*c, *id).is_some_and(|o| {
                        matches!(o.asked.life, Life::Gtd(until) if until <= now) && !o.waiting
                    })
                })
                .copied()
                .collect();
            for (contract, id) in old {
                self.end(contract, id, Status::Expired);
            }
        }
        while self.funded < now / FUNDING_MS {
            // After a long pause only the last one: nobody was there to hold a position meanwhile.
            self.funded = (now / FUNDING_MS).max(self.funded + 1);
            for contract in 0..self.markets.len() {
                self.fund(contract, self.funded * FUNDING_MS);
            }
        }
        for contract in 0..self.markets.len() {
            self.settle(contract);
        }
    }

    /// Longs pay to shorts, or the other way round where the rate is below zero; what rounding leaves goes to the fund.
    pub fn fund(&mut self, contract: usize, time: u64) {
        let at = &mut self.markets[contract];
        let (rate, mark, asset) = (at.rate, at.mark, at.contract.margin);
        remember(&mut at.fundings, (time, rate, mark));
        let mut rest = 0;
        for account in 0..self.accounts.len() {
            for leg in [Leg::Both, Leg::Long, Leg::Short] {
                let position = self.accounts[account].position(contract, leg);
                let worth = self.markets[contract]
                    .contract
                    .worth(position.quantity, mark)
                    * position.quantity.signum();
                let paid = part(worth, rate);
                if paid == 0 {
                    continue;
                }
                rest += paid;
                let isolated = self.accounts[account].setting(contract).isolated && account > OWN;
                match self.accounts[account].positions.get_mut(&(contract, leg)) {
                    Some(position) if isolated => position.isolated -= paid,
                    _ => add(&mut self.accounts[account].wallets, asset, -paid),
                }
                self.earn(account, Some(contract), "FUNDING_FEE", -paid, asset, None);
            }
        }
        if !self.accounts.is_empty() {
            add(&mut self.accounts[FUND].wallets, asset, rest);
        }
    }

    /// Sets mark and index price; waking and liquidating is [`House::settle`]'s.
    pub fn set_mark(&mut self, contract: usize, mark: D) {
        let at = &mut self.markets[contract];
        at.mark = mark;
        at.index = mark;
    }

    fn liquidate_all(&mut self) {
        for account in OWN + 1..self.accounts.len() {
            if self.accounts[account].positions.is_empty() {
                continue;
            }
            let held: Vec<((usize, Leg), Position)> = self.accounts[account]
                .positions
                .iter()
                .map(|(k, p)| (*k, *p))
                .collect();
            for ((contract, leg), position) in held {
                if !self.accounts[account].setting(contract).isolated {
                    continue;
                }
                let at = &self.markets[contract];
                let equity = position.isolated + position.profit(&at.contract, at.mark);
                if equity
                    < at.contract
                        .maintenance(at.contract.worth(position.quantity, at.mark))
                {
                    let before = self.cross(account, contract);
                    self.cancel_all(account, contract);
                    self.close_out(account, contract, leg);
                    // An isolated position loses its own margin and no more.
                    let lost = before - self.cross(account, contract);
                    self.rescue(account, contract, lost.max(0));
                }
            }
            let assets: BTreeSet<usize> = self.accounts[account]
                .positions
                .keys()
                .map(|(c, _)| self.markets[*c].contract.margin)
                .collect();
            for asset in assets {
                if self.covered(account, asset) {
                    continue;
                }
                let pool: Vec<usize> = self.pool(account, asset).iter().map(|(a, _)| *a).collect();
                let concerned = |house: &Self, c: usize| {
                    pool.contains(&house.markets[c].contract.margin)
                        && !house.accounts[account].setting(c).isolated
                };
                for contract in self.active(account) {
                    if concerned(self, contract) {
                        self.cancel_all(account, contract);
                    }
                }
                // The worst first, until what is left is covered.
                while !self.covered(account, asset) {
                    let worst = self.accounts[account]
                        .positions
                        .iter()
                        .filter(|((c, _), _)| concerned(self, *c))
                        .min_by_key(|((c, _), p)| {
                            let at = &self.markets[*c];
                            p.profit(&at.contract, at.mark)
                        })
                        .map(|(key, _)| *key);
                    let Some((contract, leg)) = worst else {
                        break;
                    };
                    self.close_out(account, contract, leg);
                }
                for a in pool {
                    let wallet = self.accounts[account].wallets.get(&a).copied().unwrap_or(0);
                    let poor = self.accounts[account].positions.is_empty() && wallet < 0;
                    if poor {
                        self.clear(account, a, -wallet, None);
                    }
                }
            }
        }
    }

    fn cross(&self, account: usize, contract: usize) -> M {
        let asset = self.markets[contract].contract.margin;
        self.accounts[account]
            .wallets
            .get(&asset)
            .copied()
            .unwrap_or(0)
    }

    fn covered(&self, account: usize, asset: usize) -> bool {
        let (mut equity, mut needed, mut positions) = (0, 0, false);
        for (a, rate) in self.pool(account, asset) {
            let sums = self.own_sums(account, a);
            equity += part(sums.cross + sums.cross_profit, rate);
            needed += part(sums.cross_maintenance, rate);
            positions |= sums.cross_maintenance > 0;
        }
        !positions || equity >= needed
    }

    fn rescue(&mut self, account: usize, contract: usize, lost: M) {
        if lost > 0 {
            let asset = self.markets[contract].contract.margin;
            self.clear(account, asset, lost, Some(contract));
        }
    }

    /// The fund pays.
    fn clear(&mut self, account: usize, asset: usize, amount: M, contract: Option<usize>) {
        add(&mut self.accounts[account].wallets, asset, amount);
        add(&mut self.accounts[FUND].wallets, asset, -amount);
        self.earn(account, contract, "INSURANCE_CLEAR", amount, asset, None);
    }

    /// Closes a position by force: on the book, what is left with the fund at the mark price. It costs a fee for the fund,
    /// as far as there is something.
    fn close_out(&mut self, account: usize, contract: usize, leg: Leg) {
        let position = self.accounts[account].position(contract, leg);
        if position.quantity == 0 {
            return;
        }
        let side = if position.quantity > 0 {
            Side::Sell
        } else {
            Side::Buy
        };
        let quantity = position.quantity.abs();
        let new = NewOrder {
            leg,
            ..plain(side, None, quantity)
        };
        let id = self.insert(account, contract, new, false);
        if let Some(order) = self.edit(contract, id) {
            order.auto_close = Some("LIQUIDATION");
            order.asked.client_id = Some(format!("autoclose-{id}"));
        }
        remember(&mut self.accounts[account].forced, (contract, id));
        self.work(contract, id);
        let left = self.accounts[account].position(contract, leg).quantity;
        let (mark, asset) = {
            let at = &self.markets[contract];
            (at.mark, at.contract.margin)
        };
        if left != 0 {
            let value = self.markets[contract].contract.value(left, mark);
            self.fill(account, contract, leg, -left, -value, 0, None);
            self.fill(FUND, contract, Leg::Both, left, value, 0, None);
        }
        let c = &self.markets[contract].contract;
        let fee = part(c.worth(quantity, mark), c.liquidation_fee);
        let wallet = self.cross(account, contract);
        let fee = fee.min(wallet.max(0));
        add(&mut self.accounts[account].wallets, asset, -fee);
        add(&mut self.accounts[FUND].wallets, asset, fee);
        self.earn(
            account,
            Some(contract),
            "INSURANCE_CLEAR",
            -fee,
            asset,
            None,
        );
    }

    /// Another leverage.
    ///
    /// # Errors
    /// Why not.
    pub fn set_leverage(
        &mut self,
        account: usize,
        contract: usize,
        leverage: u32,
    ) -> Result<M, Deny> {
        let at = &self.markets[contract];
        if leverage == 0 || leverage > at.contract.leverage_max() {
            return Err(Deny::Leverage);
        }
        let value_max = at.contract.value_max(leverage);
        let (asset, before) = (at.contract.margin, self.accounts[account].setting(contract));
        let exposure = self.exposure(account, contract, None);
        if exposure.value > value_max {
            return Err(Deny::ValueMax);
        }
        if before.isolated && leverage < before.leverage && exposure.positions > 0 {
            return Err(Deny::LeverageIsolated);
        }
        let after = Setting {
            leverage,
            isolated: before.isolated,
        };
        self.accounts[account].settings.insert(contract, after);
        if leverage < before.leverage && exposure.needed > 0 && self.free(account, asset) < 0 {
            self.accounts[account].settings.insert(contract, before);
            return Err(Deny::LeverageMargin);
        }
        Ok(value_max)
    }

    /// Isolated margin or not.
    ///
    /// # Errors
    /// Why not.
    pub fn set_isolated(
        &mut self,
        account: usize,
        contract: usize,
        isolated: bool,
    ) -> Result<(), Deny> {
        let owner = &mut self.accounts[account];
        let setting = owner.setting(contract);
        if setting.isolated == isolated {
            return Err(Deny::Same);
        }
        if owner.joint {
            return Err(Deny::Joint);
        }
        if owner.open.iter().any(|(c, _)| *c == contract)
            || self.markets[contract]
                .waiting_algos
                .iter()
                .any(|id| self.algos.get(id).is_some_and(|a| a.account == account))
        {
            return Err(Deny::OpenOrders);
        }
        let owner = &mut self.accounts[account];
        if owner.positions.keys().any(|(c, _)| *c == contract) {
            return Err(Deny::HasPosition);
        }
        owner.settings.insert(
            contract,
            Setting {
                isolated,
                ..setting
            },
        );
        Ok(())
    }

    fn has_orders(&self, account: usize) -> bool {
        !self.accounts[account].open.is_empty()
            || self.accounts[account]
                .algos
                .iter()
                .any(|id| self.algos.get(id).is_some_and(|a| a.status == "NEW"))
    }

    /// Whether the position mode may change.
    ///
    /// # Errors
    /// Why not.
    pub fn may_set_hedge(&self, account: usize, hedge: bool) -> Result<(), Deny> {
        if self.accounts[account].hedge == hedge {
            return Err(Deny::Same);
        }
        if self.has_orders(account) {
            return Err(Deny::OpenOrders);
        }
        if !self.accounts[account].positions.is_empty() {
            return Err(Deny::HasPosition);
        }
        Ok(())
    }

    /// Hedge mode or not.
    ///
    /// # Errors
    /// Why not.
    pub fn set_hedge(&mut self, account: usize, hedge: bool) -> Result<(), Deny> {
        self.may_set_hedge(account, hedge)?;
        self.accounts[account].hedge = hedge;
        Ok(())
    }

    /// All assets back all positions, or not.
    ///
    /// # Errors
    /// Why not.
    pub fn set_joint(&mut self, account: usize, joint: bool) -> Result<(), Deny> {
        if self.accounts[account].joint == joint {
            return Err(Deny::Same);
        }
        if self.has_orders(account) {
            return Err(Deny::OpenOrders);
        }
        if joint && self.accounts[account].settings.values().any(|s| s.isolated) {
            return Err(Deny::Isolated);
        }
        self.accounts[account].joint = joint;
        let assets: Vec<usize> = self.rates.keys().copied().collect();
        if assets
            .iter()
            .any(|a| self.free(account, *a) < 0 || !self.covered(account, *a))
        {
            self.accounts[account].joint = !joint;
            return Err(Deny::Margin);
        }
        Ok(())
    }

    /// Adds to the margin of an isolated position, or takes from it.
    ///
    /// # Errors
    /// Why not.
    pub fn move_margin(
        &mut self,
        account: usize,
        contract: usize,
        leg: Leg,
        adds: bool,
        amount: M,
    ) -> Result<(), Deny> {
        let owner = &self.accounts[account];
        let setting = owner.setting(contract);
        if owner.hedge == (leg == Leg::Both) {
            return Err(Deny::PositionSide);
        }
        if !setting.isolated {
            return Err(Deny::NotIsolated);
        }
        let position = owner.position(contract, leg);
        if position.quantity == 0 {
            return Err(Deny::NoPosition);
        }
        let (contract_of, mark) = (
            &self.markets[contract].contract,
            self.markets[contract].mark,
        );
        let asset = contract_of.margin;
        if adds {
            if self.spare(account, asset) < amount {
                return Err(Deny::Wallet);
            }
        } else {
            let needed =
                contract_of.worth(position.quantity, mark) / M::from(setting.leverage.max(1));
            let profit = position.profit(contract_of, mark).min(0);
            if position.isolated + profit - amount < needed {
                return Err(Deny::IsolatedWallet);
            }
        }
        let signed = if adds { amount } else { -amount };
        let now = self.now;
        let owner = &mut self.accounts[account];
        if let Some(position) = owner.positions.get_mut(&(contract, leg)) {
            position.isolated += signed;
        }
        add(&mut owner.wallets, asset, -signed);
        remember(&mut owner.margins, (contract, leg, adds, amount, now));
        Ok(())
    }

    /// Somebody takes a resting order at its price, whatever stands before it. Gives what was traded.
    pub fn hit(&mut self, contract: usize, id: u64, quantity: D) -> Option<D> {
        let order = self.order(contract, id).filter(|o| o.resting)?;
        let (side, price, account) = (order.asked.side, order.price, order.account);
        let mut quantity = quantity.min(order.remaining());
        if order.reduces() {
            quantity = quantity.min(self.closable(account, contract, order.asked.leg, side));
        }
        if quantity <= 0 {
            return None;
        }
        let taker = self.insert(
            OWN,
            contract,
            plain(side.other(), Some(price), quantity),
            false,
        );
        self.trade(contract, taker, id, price, quantity);
        self.end(contract, taker, Status::Expired);
        self.settle(contract);
        Some(quantity)
    }

    /// Counts new orders in ten seconds and in a minute.
    ///
    /// # Errors
    /// The limit that was reached: its number and window.
    pub fn count_orders(&mut self, account: usize, counts: [u64; 2]) -> Result<(), (u64, usize)> {
        let windows = [self.now / 10_000, self.now / 60_000];
        let limits = self.order_limits;
        let used = &mut self.accounts[account].order_counts;
        for i in 0..2 {
            if used[i].0 != windows[i] {
                used[i] = (windows[i], 0);
            }
            if used[i].1 + counts[i] > limits[i] {
                return Err((limits[i], i));
            }
        }
        for i in 0..2 {
            used[i].1 += counts[i];
        }
        Ok(())
    }
}

enum Woken {
    Order(u64),
    Algo(u64),
}

fn bound(mark: D, side: Side) -> D {
    match side {
        Side::Buy => part(mark, ONE + TAKE_BOUND),
        Side::Sell => part(mark, ONE - TAKE_BOUND),
    }
}

/// Whether a trigger wakes at these prices; a trailing one also looks.
fn wakes(trigger: &mut Trigger, last: D, mark: D, protect: D) -> bool {
    let price = if trigger.by_mark { mark } else { last };
    let reached = match trigger.trailing {
        None => {
            if trigger.rising {
                price >= trigger.price
            } else {
                price <= trigger.price
            }
        }
        Some(distance) => {
            if trigger.extreme.is_none() {
                let watches = trigger.price == 0
                    || if trigger.rising {
                        price <= trigger.price
                    } else {
                        price >= trigger.price
                    };
                if !watches {
                    return false;
                }
            }
            let best = trigger.extreme.unwrap_or(price);
            let best = if trigger.rising {
                best.min(price)
            } else {
                best.max(price)
            };
            trigger.extreme = Some(best);
            if trigger.rising {
                price >= part(best, ONE + distance)
            } else {
                price <= part(best, ONE - distance)
            }
        }
    };
    reached && !(trigger.protect && share((last - mark).abs(), ONE, mark) > protect)
}

/// An order with nothing special.
#[must_use]
pub fn plain(side: Side, price: Option<D>, quantity: D) -> NewOrder {
    NewOrder {
        side,
        leg: Leg::Both,
        kind: if price.is_some() { "LIMIT" } else { "MARKET" },
        price,
        quantity,
        life: Life::Gtc,
        reduce: false,
        close: false,
        trigger: None,
        matched: None,
        price_match: "NONE",
        client_id: None,
        stp: "NONE",
    }
}
