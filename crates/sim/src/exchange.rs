//! Accounts, orders and matching: everything that changes a balance on the spot market.
//!
//! INVARIANT: for each asset the sum over all accounts (free, locked, other wallets, what left and what came by command)
//! never changes. Every change goes through `give`, `lock`, `unlock` and `pay`; a property test counts.

use crate::book::{Amend, Book, Fill, Life, Order, Side, Status, Type};
use crate::decimal::{D, ONE, div, mul};
use crate::market::{self, Symbol};
use crate::refusal::Refusal;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Trades of a market that are remembered.
const TRADES_MAX: usize = 5_000;
/// Trades of an account on one market that are remembered.
const MY_TRADES_MAX: usize = 50_000;
/// Orders of an account on one market that are remembered once they are done; older ones are unknown.
const DONE_ORDERS_MAX: usize = 100_000;
/// Order lists of an account that are remembered once they are done, and prevented matches.
const DONE_LISTS_MAX: usize = 20_000;
/// Rounds of waking orders that one change may cause; reached only by a loop of ours.
const WAKES_MAX: usize = 10_000;
/// What a taker and a maker pay, of what they get: 0.1 %.
pub const COMMISSION: D = ONE / 1000;

/// Free and locked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    /// May be used.
    pub free: D,
    /// Held by orders.
    pub locked: D,
}

/// A trade as its owner sees it.
#[derive(Debug, Clone)]
pub struct MyTrade {
    /// Number of the trade.
    pub id: u64,
    /// Order.
    pub order: u64,
    /// List of the order.
    pub list: Option<u64>,
    /// Price.
    pub price: D,
    /// Quantity.
    pub quantity: D,
    /// Commission.
    pub commission: D,
    /// Asset of the commission.
    pub commission_asset: usize,
    /// When, in milliseconds.
    pub time: u64,
    /// Bought.
    pub buyer: bool,
    /// Was resting.
    pub maker: bool,
}

/// A match that self-trade prevention prevented.
#[derive(Debug, Clone)]
pub struct Prevented {
    /// Number.
    pub id: u64,
    /// Market.
    pub market: usize,
    /// The order that came.
    pub taker: u64,
    /// The order that rested.
    pub maker: u64,
    /// Mode of the one that came.
    pub mode: &'static str,
    /// Price.
    pub price: D,
    /// Quantity that the one that came lost.
    pub taker_quantity: D,
    /// Quantity that the resting one lost.
    pub maker_quantity: D,
    /// When, in milliseconds.
    pub time: u64,
}

/// Somebody at the venue.
#[derive(Debug, Default)]
pub struct Account {
    /// Name, for people.
    pub name: String,
    /// Number at the venue.
    pub uid: u64,
    /// The account that it is a sub-account of.
    pub parent: Option<usize>,
    /// Spot, by asset.
    pub spot: Vec<Balance>,
    /// Other wallets, by name and asset.
    pub wallets: BTreeMap<(String, usize), D>,
    /// What was borrowed, by asset.
    pub debts: BTreeMap<usize, D>,
    /// Address book for withdrawals, as the venue lists it.
    pub addresses: Vec<serde_json::Value>,
    /// Withdrawals go to the address book alone.
    pub whitelist: bool,
    /// Orders by market, oldest first.
    pub orders: Vec<VecDeque<u64>>,
    /// Open orders by market.
    pub open: Vec<BTreeSet<u64>>,
    /// The last order of each client id, by market.
    pub by_client: HashMap<(usize, String), u64>,
    /// Trades by market.
    pub trades: Vec<VecDeque<MyTrade>>,
    /// Prevented matches.
    pub prevented: VecDeque<Prevented>,
    /// Order lists, oldest first.
    pub lists: VecDeque<u64>,
    /// Those that still execute.
    pub open_lists: BTreeSet<u64>,
    /// New orders that were not filled: (window, count) for ten seconds and a day.
    pub order_counts: [(u64, u64); 2],
    /// Last change, in milliseconds.
    pub updated: u64,
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

/// A market with its book.
#[derive(Debug)]
pub struct Market {
    /// Rules.
    pub symbol: Symbol,
    /// Base asset.
    pub base: usize,
    /// Quote asset.
    pub quote: usize,
    /// Book and orders.
    pub book: Book,
    /// Orders that wait for a price.
    pub waiting: BTreeSet<u64>,
    /// Trades, oldest first.
    pub trades: VecDeque<Trade>,
    /// Price of the last trade.
    pub last: D,
    /// Around which the makers quote.
    pub mid: D,
    /// Changes of the book.
    pub update: u64,
    /// Highest price since the start.
    pub high: D,
    /// Lowest price since the start.
    pub low: D,
    /// Traded quantity.
    pub volume: D,
    /// Traded value.
    pub quote_volume: D,
    next_order: u64,
    next_trade: u64,
}

/// An order list.
#[derive(Debug, Clone)]
pub struct List {
    /// Number.
    pub id: u64,
    /// Whose.
    pub account: usize,
    /// Market.
    pub market: usize,
    /// The client's id.
    pub client_id: String,
    /// `OCO` or `OTO`.
    pub contingency: &'static str,
    /// Orders.
    pub orders: Vec<u64>,
    /// The first order of an OTO.
    pub working: Option<u64>,
    /// Orders that wait for the first.
    pub pending: Vec<u64>,
    /// Two orders of which one cancels the other, while both live.
    pub pair: Option<[u64; 2]>,
    /// Quantity of the pending orders comes from the first one's fills.
    pub pays: bool,
    /// Held for orders of the list that hold nothing themselves yet.
    pub locked: D,
    /// Asset of `locked`.
    pub locked_asset: usize,
    /// Still executing.
    pub open: bool,
    /// When it last changed, in milliseconds.
    pub time: u64,
}

/// A new order before it has a number.
#[derive(Debug, Clone)]
pub struct NewOrder {
    /// Side.
    pub side: Side,
    /// Type.
    pub kind: Type,
    /// Life.
    pub life: Life,
    /// Price, or zero.
    pub price: D,
    /// Quantity, or zero.
    pub quantity: D,
    /// Value, of a market order by value.
    pub quote_quantity: D,
    /// Price that wakes it.
    pub stop_price: Option<D>,
    /// Distance that wakes it.
    pub trailing: Option<u64>,
    /// What it shows.
    pub iceberg: Option<D>,
    /// The client's id.
    pub client_id: Option<String>,
    /// Self-trade prevention.
    pub stp: Option<String>,
    /// Labels.
    pub strategy_id: Option<u64>,
    /// Labels.
    pub strategy_type: Option<u64>,
    /// Asks for a price that follows the book.
    pub pegged: bool,
    /// Sent through `/sor`.
    pub sor: bool,
}

/// What an order list asks for.
#[derive(Debug)]
pub struct NewList {
    /// The client's id.
    pub client_id: Option<String>,
    /// The first order of an OTO, and whether it pays for the others.
    pub working: Option<(NewOrder, bool)>,
    /// One order, or two of which one cancels the other.
    pub legs: Vec<NewOrder>,
}

/// All of the venue's state that trading changes.
#[derive(Debug)]
pub struct Exchange {
    /// Milliseconds since 1970, set before each request.
    pub now: u64,
    /// Assets.
    pub assets: Vec<String>,
    /// Markets.
    pub markets: Vec<Market>,
    /// Accounts: [`FEES`], [`MAKERS`], [`CROWD`], then people.
    pub accounts: Vec<Account>,
    /// Order lists.
    pub lists: HashMap<u64, List>,
    /// Limits of new orders: ten seconds, a day.
    pub order_limits: [u64; 2],
    markets_by_name: HashMap<String, usize>,
    next_list: u64,
    next_id: u64,
    ready: Vec<u64>,
}

/// Gets the commissions.
pub const FEES: usize = 0;
/// Keeps the books two-sided.
pub const MAKERS: usize = 1;
/// Trades now and then.
pub const CROWD: usize = 2;

const UNKNOWN: &str = "Unknown order sent.";
const POOR: &str = "Account has insufficient balance for requested action.";

impl Exchange {
    /// A venue with its markets and nobody but its own accounts.
    #[must_use]
    pub fn new(symbols: Vec<Symbol>, now: u64) -> Self {
        let mut assets: Vec<String> = Vec::new();
        for asset in symbols.iter().flat_map(|s| [&s.base, &s.quote]) {
            if !assets.contains(asset) {
                assets.push(asset.clone());
            }
        }
        let index = |name: &str| assets.iter().position(|a| a == name).unwrap_or(0);
        let markets: Vec<Market> = symbols
            .into_iter()
            .map(|symbol| Market {
                base: index(&symbol.base),
                quote: index(&symbol.quote),
                book: Book::default(),
                waiting: BTreeSet::new(),
                trades: VecDeque::new(),
                last: symbol.price,
                mid: symbol.price,
                update: 1,
                high: symbol.price,
                low: symbol.price,
                volume: 0,
                quote_volume: 0,
                next_order: 1,
                next_trade: 1,
                symbol,
            })
            .collect();
        let markets_by_name = markets
            .iter()
            .enumerate()
            .map(|(i, m)| (m.symbol.name.clone(), i))
            .collect();
        let mut exchange = Self {
            now,
            assets,
            markets,
            accounts: Vec::new(),
            lists: HashMap::new(),
            order_limits: [100, 200_000],
            markets_by_name,
            next_list: 1,
            next_id: 1,
            ready: Vec::new(),
        };
        for name in ["fees", "makers", "crowd"] {
            let account = exchange.open_account(name);
            if account != FEES {
                for asset in 0..exchange.assets.len() {
                    exchange.give(account, asset, 1_000_000_000_000 * ONE);
                }
            }
        }
        exchange
    }

    /// A new account without money.
    pub fn open_account(&mut self, name: &str) -> usize {
        let index = self.accounts.len();
        self.accounts.push(Account {
            name: name.to_owned(),
            uid: 350_000_001 + index as u64,
            spot: vec![Balance::default(); self.assets.len()],
            orders: vec![VecDeque::new(); self.markets.len()],
            open: vec![BTreeSet::new(); self.markets.len()],
            trades: vec![VecDeque::new(); self.markets.len()],
            ..Account::default()
        });
        index
    }

    /// The market of that name.
    ///
    /// # Errors
    /// `-1121`.
    pub fn market(&self, name: &str) -> Result<usize, Refusal> {
        self.markets_by_name
            .get(name)
            .copied()
            .ok_or_else(Refusal::symbol)
    }

    /// The asset of that name.
    #[must_use]
    pub fn asset(&self, name: &str) -> Option<usize> {
        self.assets.iter().position(|a| a == name)
    }

    /// Adds to (or, below zero, takes from) what is free, without asking. For the control API and for wallets.
    pub fn give(&mut self, account: usize, asset: usize, amount: D) {
        self.accounts[account].spot[asset].free += amount;
        self.accounts[account].updated = self.now;
    }

    fn lock(&mut self, account: usize, asset: usize, amount: D) -> bool {
        let balance = &mut self.accounts[account].spot[asset];
        if balance.free < amount {
            return false;
        }
        balance.free -= amount;
        balance.locked += amount;
        self.accounts[account].updated = self.now;
        true
    }

    fn unlock(&mut self, account: usize, asset: usize, amount: D) {
        let balance = &mut self.accounts[account].spot[asset];
        balance.free += amount;
        balance.locked -= amount;
        self.accounts[account].updated = self.now;
    }

    /// Moves what `from` has locked to `to`, free.
    fn pay(&mut self, from: usize, to: usize, asset: usize, amount: D) {
        self.accounts[from].spot[asset].locked -= amount;
        self.accounts[from].updated = self.now;
        self.give(to, asset, amount);
    }

    fn order(&self, market: usize, id: u64) -> Option<&Order> {
        self.markets[market].book.orders.get(&id)
    }

    fn edit(&mut self, market: usize, id: u64) -> Option<&mut Order> {
        self.markets[market].book.orders.get_mut(&id)
    }

    /// An id as the venue makes them up.
    pub fn make_id(&mut self) -> String {
        self.next_id += 1;
        format!("sim{:019}", self.next_id)
    }

    /// The price that filters measure against: the last one, since the walk is slow against five minutes.
    #[must_use]
    pub fn average(&self, market: usize) -> D {
        self.markets[market].last
    }

    /// Whether more new orders are allowed, and the counts.
    ///
    /// # Errors
    /// `-1015`, 429.
    pub fn count_orders(&mut self, account: usize, orders: u64) -> Result<(), Refusal> {
        let windows = [self.now / 10_000, self.now / 86_400_000];
        let names = ["10 SECOND", "1 DAY"];
        let account = &mut self.accounts[account];
        for i in 0..2 {
            if account.order_counts[i].0 != windows[i] {
                account.order_counts[i] = (windows[i], 0);
            }
            if account.order_counts[i].1 + orders > self.order_limits[i] {
                return Err(Refusal::new(
                    -1015,
                    format!(
                        "Too many new orders; current limit is {} orders per {}.",
                        self.order_limits[i], names[i]
                    ),
                )
                .status(429));
            }
        }
        for count in &mut account.order_counts {
            count.1 += orders;
        }
        Ok(())
    }

    /// A counted order was refused after all.
    pub fn uncount_orders(&mut self, account: usize, orders: u64) {
        for count in &mut self.accounts[account].order_counts {
            count.1 = count.1.saturating_sub(orders);
        }
    }

    /// What the filters and the engine ask of a new order, without balances.
    ///
    /// # Errors
    /// The venue's refusal.
    pub fn admit(
        &self,
        account: usize,
        market: usize,
        new: &NewOrder,
        more: usize,
    ) -> Result<(), Refusal> {
        self.filters(market, new)?;
        self.admit_another(account, market, new, more)
    }

    fn filters(&self, market: usize, new: &NewOrder) -> Result<(), Refusal> {
        let at = &self.markets[market];
        let rules = &at.symbol;
        if rules.status != "TRADING" {
            return Err(Refusal::order("Market is closed."));
        }
        if new.pegged {
            return Err(Refusal::order(
                "Pegged orders are not supported for this symbol.",
            ));
        }
        if let Some(stp) = new.stp.as_deref()
            && !rules.stp_allowed.contains(&stp)
        {
            return Err(Refusal::new(
                -1013,
                "This symbol does not allow the specified self-trade prevention mode.",
            ));
        }
        for price in [(!new.kind.at_market()).then_some(new.price), new.stop_price]
            .into_iter()
            .flatten()
        {
            if price <= 0 {
                return Err(Refusal::new(-1013, "Invalid price."));
            }
            if price < rules.price_min || price > rules.price_max || price % rules.tick != 0 {
                return Err(Refusal::filter("PRICE_FILTER"));
            }
        }
        let average = self.average(market);
        if !new.kind.at_market()
            && (new.price > mul(average, market::PERCENT_UP)
                || new.price < mul(average, market::PERCENT_DOWN))
        {
            return Err(Refusal::filter("PERCENT_PRICE_BY_SIDE"));
        }
        let by_value = new.kind == Type::Market && new.quote_quantity > 0;
        if by_value {
            if new.quote_quantity < rules.notional_min {
                return Err(Refusal::filter("NOTIONAL"));
            }
        } else {
            if new.quantity <= 0 {
                return Err(Refusal::new(-1013, "Invalid quantity."));
            }
            let lots =
                |q: D| q >= rules.quantity_min && q <= rules.quantity_max && q % rules.step == 0;
            if !lots(new.quantity) {
                return Err(Refusal::filter("LOT_SIZE"));
            }
            if new.kind.at_market() && new.quantity > rules.market_quantity_max {
                return Err(Refusal::filter("MARKET_LOT_SIZE"));
            }
            let price = if new.kind.at_market() {
                average
            } else {
                new.price
            };
            let value = mul(price, new.quantity);
            if value < rules.notional_min || !new.kind.at_market() && value > rules.notional_max {
                return Err(Refusal::filter("NOTIONAL"));
            }
            if let Some(iceberg) = new.iceberg {
                if iceberg > new.quantity {
                    return Err(Refusal::order("IcebergQty exceeds QTY."));
                }
                if iceberg > 0 && !lots(iceberg) {
                    return Err(Refusal::filter("LOT_SIZE"));
                }
                if iceberg > 0 && (new.quantity + iceberg - 1) / iceberg > market::ICEBERG_PARTS_MAX
                {
                    return Err(Refusal::filter("ICEBERG_PARTS"));
                }
            }
        }
        if let Some(trailing) = new.trailing
            && !(market::TRAILING_MIN..=market::TRAILING_MAX).contains(&trailing)
        {
            return Err(Refusal::filter("TRAILING_DELTA"));
        }
        Ok(())
    }

    /// What the numbers of open orders and the client's id ask of a new order.
    fn admit_another(
        &self,
        account: usize,
        market: usize,
        new: &NewOrder,
        more: usize,
    ) -> Result<(), Refusal> {
        let rules = &self.markets[market].symbol;
        let open = &self.accounts[account].open[market];
        if open.len() + more >= rules.orders_max {
            return Err(Refusal::filter("MAX_NUM_ORDERS"));
        }
        if new.kind.waits() {
            let algo = open
                .iter()
                .filter_map(|id| self.order(market, *id))
                .filter(|o| o.kind.waits())
                .count();
            if algo >= rules.algo_orders_max {
                return Err(Refusal::filter("MAX_NUM_ALGO_ORDERS"));
            }
        }
        if let Some(id) = new.client_id.as_deref()
            && self.find_open(account, market, id).is_some()
        {
            return Err(Refusal::order("Duplicate order sent."));
        }
        Ok(())
    }

    fn find_open(&self, account: usize, market: usize, client_id: &str) -> Option<u64> {
        let id = *self.accounts[account]
            .by_client
            .get(&(market, client_id.to_owned()))?;
        self.accounts[account].open[market]
            .contains(&id)
            .then_some(id)
    }

    fn triggers_now(&self, market: usize, new: &NewOrder) -> bool {
        let last = self.markets[market].last;
        new.trailing.is_none()
            && new.stop_price.is_some_and(|stop| {
                if rises(new.kind, new.side) {
                    last >= stop
                } else {
                    last <= stop
                }
            })
    }

    /// Whether an order at that price would take.
    pub(crate) fn crosses(&self, market: usize, side: Side, price: D) -> bool {
        self.markets[market]
            .book
            .best(side.other())
            .is_some_and(|(best, _)| reaches(side, price, best))
    }

    /// What an order must hold: asset and amount. For market orders what the book would ask now.
    fn needs(&self, account: usize, market: usize, new: &NewOrder) -> (usize, D) {
        let at = &self.markets[market];
        match new.side {
            Side::Sell => {
                if new.kind == Type::Market && new.quote_quantity > 0 {
                    let (quantity, _) = self.sweep(account, market, new);
                    return (at.base, quantity);
                }
                (at.base, new.quantity)
            }
            Side::Buy => match new.kind {
                Type::Market => (at.quote, self.sweep(account, market, new).1),
                Type::StopLoss | Type::TakeProfit => {
                    let price = new.stop_price.unwrap_or(at.last);
                    // Room for the book moving on until it works, as the venue keeps some.
                    (at.quote, mul(mul(price, new.quantity), ONE + ONE / 20))
                }
                _ => (at.quote, mul(new.price, new.quantity)),
            },
        }
    }

    /// Quantity and value that a market order would take from the book now.
    fn sweep(&self, account: usize, market: usize, new: &NewOrder) -> (D, D) {
        let at = &self.markets[market];
        let (mut quantity, mut value) = (0, 0);
        for (price, id) in at.book.walk(new.side.other()) {
            let Some(order) = at.book.orders.get(&id) else {
                continue;
            };
            if order.account == account {
                continue;
            }
            let left = if new.quote_quantity > 0 {
                div(new.quote_quantity - value, price) / at.symbol.step * at.symbol.step
            } else {
                new.quantity - quantity
            };
            let part = order.remaining().min(left);
            if part <= 0 {
                break;
            }
            quantity += part;
            value += mul(price, part);
        }
        (quantity, value)
    }

    /// Places one order.
    ///
    /// # Errors
    /// The venue's refusal; nothing has changed then.
    pub fn place(&mut self, account: usize, market: usize, new: NewOrder) -> Result<u64, Refusal> {
        self.admit(account, market, &new, 0)?;
        self.engine_checks(market, &new)?;
        if new.kind == Type::Market {
            let (quantity, _) = self.sweep(account, market, &new);
            if quantity == 0 && new.quote_quantity > 0 {
                return Err(Refusal::order(
                    "Order book liquidity is less than `LOT_SIZE` filter minimum quantity.",
                ));
            }
        }
        let (asset, amount) = self.needs(account, market, &new);
        if !self.lock(account, asset, amount) {
            return Err(Refusal::order(POOR));
        }
        let id = self.insert(account, market, new, None);
        if let Some(order) = self.edit(market, id) {
            order.locked = amount;
        }
        self.start(market, id);
        self.settle(market);
        Ok(id)
    }

    /// Remembers an order that never worked, since it may not take and would: for venues that accept and then cancel it.
    pub(crate) fn place_dead(&mut self, account: usize, market: usize, new: NewOrder) -> u64 {
        let id = self.insert(account, market, new, None);
        self.end(market, id, Status::Canceled, Some("WOULD_TAKE"));
        id
    }

    /// Another price, quantity or price that wakes it for an open order outside lists; it goes where a new order would go,
    /// but for a smaller quantity at the same price, which keeps its place.
    ///
    /// # Errors
    /// The balance does not cover it; the order stays as it is then.
    pub(crate) fn revise(
        &mut self,
        account: usize,
        market: usize,
        id: u64,
        price: D,
        quantity: D,
        stop_price: Option<D>,
    ) -> Result<(), Refusal> {
        let order = self
            .find(account, market, Some(id), None)
            .filter(|o| o.status.open() && o.list.is_none())
            .ok_or_else(|| Refusal::cancel(UNKNOWN))?;
        let (side, was) = (order.side, order.price);
        let keeps = price == was && quantity <= order.quantity;
        let waits = self.markets[market].waiting.contains(&id);
        let left = quantity - order.executed - order.prevented;
        let new = NewOrder {
            stop_price,
            ..crate::makers::plain(side, order.kind, price, left)
        };
        let (asset, need) = self.needs(account, market, &new);
        let more = need - order.locked;
        if more > 0 && !self.lock(account, asset, more) {
            return Err(Refusal::order(POOR));
        }
        let now = self.now;
        if !keeps && !waits {
            self.markets[market].book.take(side, was, id);
        }
        self.markets[market].update += 1;
        if let Some(order) = self.edit(market, id) {
            order.locked += more.max(0);
            order.price = price;
            order.quantity = quantity;
            order.stop_price = stop_price;
            order.updated = now;
            order.visible = order.visible.min(left);
        }
        self.trim(market, id);
        if !keeps && !waits {
            self.work(market, id);
        }
        self.settle(market);
        Ok(())
    }

    fn engine_checks(&self, market: usize, new: &NewOrder) -> Result<(), Refusal> {
        if new.kind == Type::LimitMaker && self.crosses(market, new.side, new.price) {
            return Err(Refusal::order("Order would immediately match and take."));
        }
        if new.kind.waits() && self.triggers_now(market, new) {
            return Err(Refusal::order("Order would trigger immediately."));
        }
        Ok(())
    }

    /// Gives an order its number, without holding or starting anything.
    fn insert(&mut self, account: usize, market: usize, new: NewOrder, list: Option<u64>) -> u64 {
        let client_id = new.client_id.unwrap_or_else(|| self.make_id());
        let at = &mut self.markets[market];
        let id = at.next_order;
        at.next_order += 1;
        let stp = at
            .symbol
            .stp_allowed
            .iter()
            .copied()
            .find(|mode| new.stp.as_deref() == Some(mode))
            .unwrap_or(at.symbol.stp);
        let order = Order {
            id,
            account,
            list,
            client_id: client_id.clone(),
            side: new.side,
            kind: new.kind,
            life: new.life,
            price: new.price,
            stop_price: new.stop_price,
            trailing: new.trailing,
            extreme: None,
            trailing_time: None,
            quantity: new.quantity,
            quote_quantity: new.quote_quantity,
            executed: 0,
            quote_executed: 0,
            prevented: 0,
            prevented_match: None,
            iceberg: new.iceberg,
            visible: 0,
            status: Status::New,
            stp,
            time: self.now,
            updated: self.now,
            working_time: None,
            strategy_id: new.strategy_id,
            strategy_type: new.strategy_type,
            locked: 0,
            expiry: None,
            fills: Vec::new(),
            amends: Vec::new(),
            sor: new.sor,
        };
        at.book.orders.insert(id, order);
        let owner = &mut self.accounts[account];
        owner.open[market].insert(id);
        if account > CROWD {
            owner.by_client.insert((market, client_id), id);
            owner.orders[market].push_back(id);
            if owner.orders[market].len() > DONE_ORDERS_MAX {
                forget_oldest(owner, &mut self.markets[market].book, market);
            }
        }
        id
    }

    /// An order begins: it waits, or it works.
    fn start(&mut self, market: usize, id: u64) {
        let last = self.markets[market].last;
        let now = self.now;
        let Some(order) = self.edit(market, id) else {
            return;
        };
        order.status = Status::New;
        if order.kind.waits() {
            if order.trailing.is_some() && order.stop_price.is_none() {
                order.extreme = Some(last);
                order.trailing_time = Some(now);
            }
            self.markets[market].waiting.insert(id);
        } else {
            self.work(market, id);
        }
    }

    /// An order works: it takes what it can, then rests or ends.
    fn work(&mut self, market: usize, id: u64) {
        let now = self.now;
        self.markets[market].update += 1;
        let Some(order) = self.edit(market, id) else {
            return;
        };
        order.working_time = Some(now);
        order.updated = now;
        let (side, kind, life, price, account, stp) = (
            order.side,
            order.kind,
            order.life,
            order.price,
            order.account,
            order.stp,
        );
        let limit = (!kind.at_market()).then_some(price);
        if life == Life::Fok
            && limit.is_some()
            && self.available(market, account, side, price, stp)
                < self.order(market, id).map_or(0, Order::remaining)
        {
            return self.end(
                market,
                id,
                Status::Expired,
                Some("UNFILLED_FOK_ORDER_EXPIRED"),
            );
        }
        self.take(market, id, limit);
        let Some(order) = self.edit(market, id) else {
            return;
        };
        if !order.status.open() {
            return;
        }
        if kind.at_market() {
            let by_value = order.quote_quantity > 0;
            if by_value {
                // By value: what was filled is the quantity.
                order.quantity = order.executed + order.prevented;
                if order.executed > 0 && order.prevented == 0 {
                    return self.end(market, id, Status::Filled, None);
                }
            }
            return self.end(market, id, Status::Expired, Some("INSUFFICIENT_LIQUIDITY"));
        }
        if life != Life::Gtc {
            return self.end(
                market,
                id,
                Status::Expired,
                Some("UNFILLED_IOC_QUANTITY_EXPIRED"),
            );
        }
        order.visible = shown(order);
        self.markets[market].book.rest(side, price, id);
    }

    /// Quantity that an order at `price` would find, its owner's own orders left out where they may not match.
    fn available(&self, market: usize, account: usize, side: Side, price: D, stp: &str) -> D {
        let book = &self.markets[market].book;
        book.walk(side.other())
            .take_while(|(at, _)| reaches(side, price, *at))
            .filter_map(|(_, id)| book.orders.get(&id))
            .filter(|o| stp == "NONE" || o.account != account)
            .map(Order::remaining)
            .sum()
    }

    /// Matches a working order against the book until nothing fits.
    fn take(&mut self, market: usize, id: u64, limit: Option<D>) {
        loop {
            let Some(order) = self.order(market, id) else {
                return;
            };
            if !order.status.open() {
                return;
            }
            let (side, account, stp) = (order.side, order.account, order.stp);
            let Some((price, maker)) = self.markets[market].book.best(side.other()) else {
                return;
            };
            if limit.is_some_and(|limit| !reaches(side, limit, price)) {
                return;
            }
            let step = self.markets[market].symbol.step;
            let left = if order.quote_quantity > 0 {
                div(order.quote_quantity - order.quote_executed, price) / step * step
            } else {
                order.remaining()
            };
            // A market order pays from what was locked for it; the book may have become dearer only through its own fills.
            let left = if side == Side::Buy && limit.is_none() {
                left.min(div(order.locked, price) / step * step)
            } else if side == Side::Sell && limit.is_none() {
                left.min(order.locked)
            } else {
                left
            };
            if left <= 0 {
                return;
            }
            let Some(resting) = self.order(market, maker) else {
                return;
            };
            let part = left.min(resting.visible);
            if resting.account == account && stp != "NONE" && account > CROWD {
                self.prevent(market, id, maker, price, part, stp);
                continue;
            }
            self.trade(market, id, maker, price, part);
        }
    }

    /// Two orders of one account would match: what the mode says happens instead.
    fn prevent(
        &mut self,
        market: usize,
        taker: u64,
        maker: u64,
        price: D,
        part: D,
        mode: &'static str,
    ) {
        let number = self.next_id;
        self.next_id += 1;
        let remaining = |this: &Self, id| this.order(market, id).map_or(0, Order::remaining);
        let (taker_left, maker_left) = (remaining(self, taker), remaining(self, maker));
        let (taker_loss, maker_loss) = match mode {
            "EXPIRE_TAKER" => (taker_left, 0),
            "EXPIRE_BOTH" => (taker_left, maker_left),
            "DECREMENT" => (part, part),
            _ => (0, maker_left),
        };
        let account = self.order(market, taker).map_or(0, |o| o.account);
        let seen = &mut self.accounts[account].prevented;
        if seen.len() >= DONE_LISTS_MAX {
            seen.pop_front();
        }
        seen.push_back(Prevented {
            id: number,
            market,
            taker,
            maker,
            mode,
            price,
            taker_quantity: taker_loss,
            maker_quantity: maker_loss,
            time: self.now,
        });
        for (id, loss) in [(taker, taker_loss), (maker, maker_loss)] {
            if loss == 0 {
                continue;
            }
            let Some(order) = self.edit(market, id) else {
                continue;
            };
            order.prevented += loss;
            order.prevented_match = Some(number);
            let done = order.remaining() <= 0 || order.quote_quantity > 0;
            if id == maker && !done {
                order.visible -= loss;
                if order.visible <= 0 {
                    let (side, price) = (order.side, order.price);
                    order.visible = shown(order);
                    self.markets[market].book.to_back(side, price, id);
                }
            }
            if done {
                self.end(market, id, Status::ExpiredInMatch, None);
            } else {
                self.trim(market, id);
            }
        }
    }

    /// One match.
    fn trade(&mut self, market: usize, taker: u64, maker: u64, price: D, part: D) {
        self.claim(market, maker);
        self.claim(market, taker);
        let at = &mut self.markets[market];
        let (base, quote) = (at.base, at.quote);
        let number = at.next_trade;
        at.next_trade += 1;
        at.update += 1;
        let value = mul(price, part);
        let Some(buyer_maker) = at.book.orders.get(&maker).map(|o| o.side == Side::Buy) else {
            return;
        };
        at.trades.push_back(Trade {
            id: number,
            price,
            quantity: part,
            time: self.now,
            buyer_maker,
        });
        if at.trades.len() > TRADES_MAX {
            at.trades.pop_front();
        }
        at.last = price;
        at.high = at.high.max(price);
        at.low = at.low.min(price);
        at.volume += part;
        at.quote_volume += value;
        let (buyer, seller) = if buyer_maker {
            (maker, taker)
        } else {
            (taker, maker)
        };
        let owner = |this: &Self, id| this.order(market, id).map_or(FEES, |o| o.account);
        let (buying, selling) = (owner(self, buyer), owner(self, seller));
        self.pay(buying, selling, quote, value);
        self.pay(selling, buying, base, part);
        let mut got = [(buyer, buying, base, part), (seller, selling, quote, value)];
        for (id, account, asset, amount) in &mut got {
            let commission = if *account > CROWD {
                mul(*amount, COMMISSION)
            } else {
                0
            };
            self.give(*account, *asset, -commission);
            self.give(FEES, *asset, commission);
            let now = self.now;
            let is_maker = *id == maker;
            let mut traded = None;
            if let Some(order) = self.edit(market, *id) {
                let first = order.executed == 0;
                order.executed += part;
                order.quote_executed += value;
                order.locked -= if *asset == base { value } else { part };
                order.status = Status::PartiallyFilled;
                order.updated = now;
                if is_maker {
                    order.visible -= part;
                } else if order.account > CROWD {
                    order.fills.push(Fill {
                        price,
                        quantity: part,
                        commission,
                        trade: number,
                    });
                }
                traded = Some((order.id, order.list, first));
            }
            if let Some((order, list, first)) = traded
                && *account > CROWD
            {
                let owner = &mut self.accounts[*account];
                if first {
                    for count in &mut owner.order_counts {
                        count.1 = count.1.saturating_sub(1);
                    }
                }
                let trades = &mut owner.trades[market];
                trades.push_back(MyTrade {
                    id: number,
                    order,
                    list,
                    price,
                    quantity: part,
                    commission,
                    commission_asset: *asset,
                    time: now,
                    buyer: *id == buyer,
                    maker: is_maker,
                });
                if trades.len() > MY_TRADES_MAX {
                    trades.pop_front();
                }
            }
            *amount -= commission;
        }
        // The first order of a list that pays for the others: what it got is held for them.
        for (id, account, asset, amount) in got {
            let list = self.order(market, id).and_then(|o| o.list);
            if let Some(list) = list.and_then(|l| self.lists.get(&l))
                && list.pays
                && list.working == Some(id)
                && asset == base
            {
                let list = list.id;
                if self.lock(account, asset, amount)
                    && let Some(list) = self.lists.get_mut(&list)
                {
                    list.locked += amount;
                }
            }
        }
        for id in [maker, taker] {
            let Some(order) = self.edit(market, id) else {
                continue;
            };
            if order.quote_quantity == 0 && order.remaining() <= 0 {
                self.end(market, id, Status::Filled, None);
                continue;
            }
            if id == maker && order.visible <= 0 {
                let (side, price) = (order.side, order.price);
                order.visible = shown(order);
                self.markets[market].book.to_back(side, price, id);
            }
            self.trim(market, id);
        }
    }

    /// Lets go of what a limit order holds beyond what it can still need.
    fn trim(&mut self, market: usize, id: u64) {
        let at = &self.markets[market];
        let (base, quote) = (at.base, at.quote);
        let Some(order) = at.book.orders.get(&id) else {
            return;
        };
        if order.kind.at_market() {
            return;
        }
        let (asset, need) = match order.side {
            Side::Buy => (quote, mul(order.price, order.remaining())),
            Side::Sell => (base, order.remaining()),
        };
        let (account, excess) = (order.account, order.locked - need);
        if excess > 0 {
            self.unlock(account, asset, excess);
            if let Some(order) = self.edit(market, id) {
                order.locked -= excess;
            }
        }
    }

    /// The leg of a pair that acts first ends the other and gets what was held for both.
    fn claim(&mut self, market: usize, id: u64) {
        let Some(list) = self.order(market, id).and_then(|o| o.list) else {
            return;
        };
        let Some(list) = self.lists.get_mut(&list) else {
            return;
        };
        let Some(pair) = list.pair.filter(|pair| pair.contains(&id)) else {
            return;
        };
        list.pair = None;
        let held = std::mem::take(&mut list.locked);
        if let Some(order) = self.edit(market, id) {
            order.locked += held;
        }
        for other in pair {
            if other != id {
                self.end(market, other, Status::Expired, Some("OCO_TRIGGER"));
            }
        }
        self.trim(market, id);
    }

    /// An order is over.
    fn end(&mut self, market: usize, id: u64, status: Status, why: Option<&'static str>) {
        let now = self.now;
        let at = &mut self.markets[market];
        let (base, quote) = (at.base, at.quote);
        let Some(order) = at.book.orders.get_mut(&id) else {
            return;
        };
        if !order.status.open() {
            return;
        }
        let pending = order.status == Status::PendingNew;
        order.status = status;
        order.updated = now;
        order.expiry = why;
        order.visible = 0;
        let (side, price, account, list) = (order.side, order.price, order.account, order.list);
        let held = std::mem::take(&mut order.locked);
        if !pending {
            at.book.take(side, price, id);
        }
        at.waiting.remove(&id);
        at.update += 1;
        if held > 0 {
            self.unlock(account, if side == Side::Buy { quote } else { base }, held);
        }
        self.accounts[account].open[market].remove(&id);
        if account <= CROWD {
            self.markets[market].book.orders.remove(&id);
        }
        let Some(list) = list else { return };
        let Some(entry) = self.lists.get_mut(&list) else {
            return;
        };
        entry.time = now;
        // A leg that ends by itself takes the other along.
        if let Some(pair) = entry
            .pair
            .take_if(|pair| pair.contains(&id) && status != Status::Canceled)
        {
            for other in pair {
                self.end(market, other, Status::Expired, Some("OCO_TRIGGER"));
            }
        }
        let Some(entry) = self.lists.get_mut(&list) else {
            return;
        };
        if entry.working == Some(id) {
            if status == Status::Filled {
                self.ready.push(list);
            } else {
                // Nothing will follow any more.
                for pending in std::mem::take(&mut entry.pending) {
                    self.end(
                        market,
                        pending,
                        Status::Expired,
                        Some("OTO_PHASE_ONE_EXPIRED"),
                    );
                }
            }
        }
        self.close_list(list);
    }

    /// A list is over when none of its orders lives: what it still holds is let go.
    fn close_list(&mut self, list: u64) {
        let Some(entry) = self.lists.get(&list) else {
            return;
        };
        let alive = entry.orders.iter().any(|id| {
            self.order(entry.market, *id)
                .is_some_and(|o| o.status.open())
        });
        if alive || !entry.open {
            return;
        }
        let (account, asset) = (entry.account, entry.locked_asset);
        let mut held = 0;
        self.accounts[account].open_lists.remove(&list);
        if let Some(entry) = self.lists.get_mut(&list) {
            entry.open = false;
            held = std::mem::take(&mut entry.locked);
        }
        if held > 0 {
            self.unlock(account, asset, held);
        }
    }

    /// Wakes what waits for a price or for the first order of its list, until nothing wakes any more.
    pub fn settle(&mut self, market: usize) {
        for _ in 0..WAKES_MAX {
            if let Some(list) = self.ready.pop() {
                self.activate(list);
                continue;
            }
            let last = self.markets[market].last;
            let waiting: Vec<u64> = self.markets[market].waiting.iter().copied().collect();
            let Some(id) = waiting.into_iter().find(|id| self.wakes(market, *id, last)) else {
                return;
            };
            self.markets[market].waiting.remove(&id);
            self.claim(market, id);
            if self
                .order(market, id)
                .is_some_and(|o| o.kind == Type::StopLoss || o.kind == Type::TakeProfit)
            {
                self.fund_market(market, id);
            }
            self.work(market, id);
        }
    }

    /// Whether a waiting order wakes at `last`; a trailing one remembers the best price.
    fn wakes(&mut self, market: usize, id: u64, last: D) -> bool {
        let now = self.now;
        let Some(order) = self.edit(market, id) else {
            return false;
        };
        let up = rises(order.kind, order.side);
        let met = order
            .stop_price
            .is_none_or(|stop| if up { last >= stop } else { last <= stop });
        let Some(delta) = order.trailing else {
            return met;
        };
        let Some(extreme) = order.extreme else {
            if met {
                order.extreme = Some(last);
                order.trailing_time = Some(now);
            }
            return false;
        };
        let extreme = if up {
            extreme.min(last)
        } else {
            extreme.max(last)
        };
        order.extreme = Some(extreme);
        let distance = extreme.saturating_mul(D::from(delta)) / 10_000;
        if up {
            last >= extreme + distance
        } else {
            last <= extreme - distance
        }
    }

    /// A stop that buys at market may need more than it held: it takes the rest from what is free.
    fn fund_market(&mut self, market: usize, id: u64) {
        let Some(order) = self.order(market, id) else {
            return;
        };
        if order.side == Side::Sell {
            return;
        }
        let new = NewOrder {
            kind: Type::Market,
            ..like(order)
        };
        let (account, held) = (order.account, order.locked);
        let (asset, need) = self.needs(account, market, &new);
        let free = self.accounts[account].spot[asset].free;
        let more = (need - held).clamp(0, free.max(0));
        if more > 0
            && self.lock(account, asset, more)
            && let Some(order) = self.edit(market, id)
        {
            order.locked += more;
        }
    }

    /// The first order of a list is filled: the others begin.
    fn activate(&mut self, list: u64) {
        let Some(entry) = self.lists.get_mut(&list) else {
            return;
        };
        let (market, account, pays) = (entry.market, entry.account, entry.pays);
        let pending = std::mem::take(&mut entry.pending);
        let held = entry.locked;
        let asset = entry.locked_asset;
        if pays {
            let step = self.markets[market].symbol.step;
            let quantity = held / step * step;
            if let Some(entry) = self.lists.get_mut(&list) {
                entry.locked = quantity;
            }
            self.unlock(account, asset, held - quantity);
            for id in &pending {
                if let Some(order) = self.edit(market, *id) {
                    order.quantity = quantity;
                }
            }
        }
        // Judged anew now that they begin.
        let mut alive = Vec::new();
        for id in pending.iter().copied() {
            let Some(order) = self.order(market, id) else {
                continue;
            };
            let new = like(order);
            let fits = self.filters(market, &new).is_ok();
            let crosses = new.kind == Type::LimitMaker && self.crosses(market, new.side, new.price);
            if fits && !crosses {
                alive.push(id);
            }
        }
        if alive.len() < pending.len() {
            for id in pending {
                self.end(market, id, Status::Rejected, Some("REJECTED"));
            }
            return self.close_list(list);
        }
        match alive.as_slice() {
            [a, b] => {
                if let Some(entry) = self.lists.get_mut(&list) {
                    entry.pair = Some([*a, *b]);
                }
            }
            [only] => {
                let id = *only;
                let held = self
                    .lists
                    .get_mut(&list)
                    .map_or(0, |entry| std::mem::take(&mut entry.locked));
                if let Some(order) = self.edit(market, id) {
                    order.locked += held;
                }
                self.trim(market, id);
            }
            _ => {}
        }
        for id in alive {
            if self
                .order(market, id)
                .is_some_and(|o| o.kind == Type::Market)
            {
                self.fund_market(market, id);
            }
            self.start(market, id);
        }
        self.close_list(list);
    }

    /// Places an order list whole, or nothing of it.
    ///
    /// # Errors
    /// The venue's refusal; nothing has changed then.
    pub fn place_list(
        &mut self,
        account: usize,
        market: usize,
        mut new: NewList,
    ) -> Result<u64, Refusal> {
        let open: Vec<&List> = self.accounts[account]
            .open_lists
            .iter()
            .filter_map(|id| self.lists.get(id))
            .collect();
        if let Some(id) = new.client_id.as_deref()
            && open.iter().any(|list| list.client_id == id)
        {
            return Err(Refusal::order("Duplicate order sent."));
        }
        let open = open.iter().filter(|list| list.market == market).count();
        if open >= market::ORDER_LISTS_MAX {
            return Err(Refusal::filter("MAX_NUM_ORDER_LISTS"));
        }
        let count = new.legs.len() + usize::from(new.working.is_some());
        let last = self.markets[market].last;
        let pays = new.working.as_ref().is_some_and(|(_, pays)| *pays);
        let mut ids: Vec<&str> = Vec::new();
        for order in new.working.iter().map(|(o, _)| o).chain(&new.legs) {
            if let Some(id) = order.client_id.as_deref() {
                if ids.contains(&id) {
                    return Err(Refusal::order("Duplicate order sent."));
                }
                ids.push(id);
            }
        }
        if let Some((working, _)) = &new.working {
            self.admit(account, market, working, count - 1)?;
            self.engine_checks(market, working)?;
        }
        for leg in &new.legs {
            // The quantity of a leg that is paid for by the first order is known later; its prices are judged now.
            let judged = match &new.working {
                Some((working, true)) => NewOrder {
                    quantity: working.quantity,
                    ..leg.clone()
                },
                _ => leg.clone(),
            };
            self.admit(account, market, &judged, count - 1)?;
            if new.working.is_none() {
                self.engine_checks(market, leg)?;
            }
        }
        if let [a, b] = new.legs.as_slice() {
            let price = |o: &NewOrder| {
                if o.kind == Type::LimitMaker {
                    o.price
                } else {
                    o.stop_price
                        .unwrap_or(if rises(o.kind, o.side) { D::MAX } else { 0 })
                }
            };
            let (high, low) = (price(a).max(price(b)), price(a).min(price(b)));
            let apart = high > low && (new.working.is_some() || high > last && last > low);
            if !apart {
                return Err(Refusal::order(
                    "The relationship of the prices for the orders is not correct.",
                ));
            }
        }
        // What must be there: the first order's own, and for the others once, whichever of them needs more.
        let working_need = new
            .working
            .as_ref()
            .map(|(w, _)| self.needs(account, market, w));
        let legs_need = if pays {
            (self.markets[market].base, 0)
        } else {
            new.legs
                .iter()
                .map(|leg| {
                    if new.working.is_some() && leg.kind == Type::Market && leg.side == Side::Buy {
                        (self.markets[market].quote, mul(last, leg.quantity))
                    } else {
                        self.needs(account, market, leg)
                    }
                })
                .max_by_key(|(_, amount)| *amount)
                .unwrap_or((0, 0))
        };
        if let Some((asset, amount)) = working_need
            && !self.lock(account, asset, amount)
        {
            return Err(Refusal::order(POOR));
        }
        if !self.lock(account, legs_need.0, legs_need.1) {
            if let Some((asset, amount)) = working_need {
                self.unlock(account, asset, amount);
            }
            return Err(Refusal::order(POOR));
        }
        let id = self.next_list;
        self.next_list += 1;
        let client_id = new.client_id.take().unwrap_or_else(|| self.make_id());
        let oto = new.working.is_some();
        let working = new
            .working
            .map(|(order, _)| self.insert(account, market, order, Some(id)));
        if let (Some(order), Some((_, amount))) = (working, working_need)
            && let Some(order) = self.edit(market, order)
        {
            order.locked = amount;
        }
        let legs: Vec<u64> = new
            .legs
            .into_iter()
            .map(|leg| self.insert(account, market, leg, Some(id)))
            .collect();
        let pair = match legs.as_slice() {
            [a, b] if !oto => Some([*a, *b]),
            _ => None,
        };
        self.lists.insert(
            id,
            List {
                id,
                account,
                market,
                client_id,
                contingency: if oto { "OTO" } else { "OCO" },
                orders: working
                    .iter()
                    .copied()
                    .chain(legs.iter().copied())
                    .collect(),
                working,
                pending: if oto { legs.clone() } else { Vec::new() },
                pair,
                pays,
                locked: legs_need.1,
                locked_asset: legs_need.0,
                open: true,
                time: self.now,
            },
        );
        let owner = &mut self.accounts[account];
        owner.open_lists.insert(id);
        owner.lists.push_back(id);
        if owner.lists.len() > DONE_LISTS_MAX
            && let Some(at) = owner
                .lists
                .iter()
                .position(|l| !owner.open_lists.contains(l))
            && let Some(old) = owner.lists.remove(at)
        {
            self.lists.remove(&old);
        }
        if let Some(working) = working {
            for leg in &legs {
                if let Some(order) = self.edit(market, *leg) {
                    order.status = Status::PendingNew;
                }
            }
            self.start(market, working);
        } else {
            for leg in legs {
                self.start(market, leg);
            }
        }
        Ok(id)
    }

    /// An order of an account by number, by client id, or by both.
    #[must_use]
    pub fn find(
        &self,
        account: usize,
        market: usize,
        id: Option<u64>,
        client_id: Option<&str>,
    ) -> Option<&Order> {
        let id = match (id, client_id) {
            (Some(id), _) => id,
            (None, Some(text)) => *self.accounts[account]
                .by_client
                .get(&(market, text.to_owned()))?,
            (None, None) => return None,
        };
        let order = self.order(market, id)?;
        (order.account == account && client_id.is_none_or(|text| order.client_id == text))
            .then_some(order)
    }

    /// Cancels one order, and with it the rest of its list. Gives the order's number and that of its list.
    ///
    /// # Errors
    /// `-2011`.
    pub fn cancel(
        &mut self,
        account: usize,
        market: usize,
        id: Option<u64>,
        client_id: Option<&str>,
        restrict: Option<&str>,
    ) -> Result<(u64, Option<u64>), Refusal> {
        let order = self
            .find(account, market, id, client_id)
            .filter(|o| o.status.open())
            .ok_or_else(|| Refusal::cancel(UNKNOWN))?;
        let wrong = match restrict {
            Some("ONLY_NEW") => order.status != Status::New,
            Some("ONLY_PARTIALLY_FILLED") => order.status != Status::PartiallyFilled,
            _ => false,
        };
        if wrong {
            return Err(Refusal::cancel(
                "Order was not canceled due to cancel restrictions.",
            ));
        }
        let (id, list) = (order.id, order.list);
        match list.filter(|l| self.lists.get(l).is_some_and(|l| l.open)) {
            Some(list) => self.cancel_list(list),
            None => self.end(market, id, Status::Canceled, None),
        }
        self.settle(market);
        Ok((id, list))
    }

    /// Cancels every order of a list.
    pub fn cancel_list(&mut self, list: u64) {
        let Some(entry) = self.lists.get_mut(&list) else {
            return;
        };
        entry.pair = None;
        entry.pending.clear();
        let (market, orders) = (entry.market, entry.orders.clone());
        for id in orders {
            self.end(market, id, Status::Canceled, None);
        }
        self.close_list(list);
    }

    /// Makes an order smaller; it keeps its place.
    ///
    /// # Errors
    /// The venue's refusal.
    pub fn amend(
        &mut self,
        account: usize,
        market: usize,
        id: u64,
        quantity: D,
        client_id: Option<String>,
    ) -> Result<u64, Refusal> {
        let refuse = |msg: &str| Refusal::new(-2038, msg);
        let now = self.now;
        let step = self.markets[market].symbol.step;
        let minimum = self.markets[market].symbol.quantity_min;
        let order = self
            .order(market, id)
            .filter(|o| o.account == account && o.status.open());
        let Some(order) = order else {
            return Err(refuse(UNKNOWN));
        };
        if quantity % step != 0 || quantity < minimum {
            return Err(Refusal::filter("LOT_SIZE"));
        }
        if order.status == Status::PendingNew
            && order
                .list
                .and_then(|l| self.lists.get(&l))
                .is_some_and(|l| l.pays)
        {
            return Err(refuse("Order amend (pending OPO order) is not supported."));
        }
        if quantity == order.quantity {
            return Err(refuse(
                "The requested action would change no state; rejecting",
            ));
        }
        if quantity > order.quantity || quantity <= order.executed + order.prevented {
            return Err(refuse("Order amend (quantity increase) is not supported."));
        }
        if !order.kind.at_market()
            && mul(order.price, quantity) < self.markets[market].symbol.notional_min
        {
            return Err(Refusal::filter("NOTIONAL"));
        }
        if order.amends.len() >= market::AMENDS_MAX {
            return Err(refuse("Filter failure: MAX_NUM_ORDER_AMENDS"));
        }
        if let Some(new) = client_id.as_deref()
            && new != order.client_id
            && self.find_open(account, market, new).is_some()
        {
            return Err(refuse("Duplicate order sent."));
        }
        let execution = self.next_id;
        let new_id = client_id.unwrap_or_else(|| self.make_id());
        self.next_id += 1;
        let Some(order) = self.edit(market, id) else {
            return Err(refuse(UNKNOWN));
        };
        let before = order.quantity;
        let id_before = std::mem::replace(&mut order.client_id, new_id.clone());
        order.quantity = quantity;
        order.updated = now;
        order.visible = order.visible.min(order.remaining());
        order.amends.push(Amend {
            execution,
            id_before: id_before.clone(),
            id_after: new_id.clone(),
            before,
            after: quantity,
            at: now,
        });
        self.accounts[account]
            .by_client
            .remove(&(market, id_before));
        self.accounts[account]
            .by_client
            .insert((market, new_id), id);
        self.markets[market].update += 1;
        if self.order(market, id).is_some_and(|o| o.locked > 0) {
            self.trim(market, id);
        }
        Ok(execution)
    }

    /// Somebody takes a resting order at its price, whatever stands before it. Gives what was traded.
    pub fn hit(&mut self, market: usize, id: u64, quantity: D) -> Option<D> {
        let order = self.order(market, id)?;
        if !order.status.open() || order.visible <= 0 {
            return None;
        }
        let (side, price) = (order.side, order.price);
        let step = self.markets[market].symbol.step;
        let quantity = quantity.min(order.remaining()) / step * step;
        if quantity <= 0 {
            return None;
        }
        let new = crate::makers::plain(side.other(), Type::Limit, price, quantity);
        let (asset, amount) = self.needs(CROWD, market, &new);
        if !self.lock(CROWD, asset, amount) {
            return None;
        }
        let taker = self.insert(CROWD, market, new, None);
        if let Some(order) = self.edit(market, taker) {
            order.locked = amount;
        }
        let mut traded = 0;
        while traded < quantity {
            let Some(order) = self.order(market, id).filter(|o| o.status.open()) else {
                break;
            };
            let part = order.visible.min(quantity - traded);
            self.trade(market, taker, id, price, part);
            traded += part;
        }
        self.end(market, taker, Status::Expired, None);
        Some(traded)
    }

    /// Everything of one asset at the venue, outside wallets that [`Account::wallets`] holds included.
    #[must_use]
    pub fn total(&self, asset: usize) -> D {
        self.accounts
            .iter()
            .map(|a| {
                a.spot[asset].free
                    + a.spot[asset].locked
                    + a.wallets
                        .iter()
                        .filter(|((_, w), _)| *w == asset)
                        .map(|(_, v)| *v)
                        .sum::<D>()
            })
            .sum()
    }
}

/// Forgets the oldest order of an account on a market that is done.
fn forget_oldest(owner: &mut Account, book: &mut Book, market: usize) {
    let Some(position) = owner.orders[market]
        .iter()
        .position(|id| !owner.open[market].contains(id))
    else {
        return;
    };
    if let Some(id) = owner.orders[market].remove(position)
        && let Some(order) = book.orders.remove(&id)
    {
        let key = (market, order.client_id);
        if owner.by_client.get(&key) == Some(&id) {
            owner.by_client.remove(&key);
        }
    }
}

/// The same order once more.
fn like(order: &Order) -> NewOrder {
    NewOrder {
        side: order.side,
        kind: order.kind,
        life: order.life,
        price: order.price,
        quantity: order.quantity,
        quote_quantity: order.quote_quantity,
        stop_price: order.stop_price,
        trailing: order.trailing,
        iceberg: order.iceberg,
        client_id: Some(order.client_id.clone()),
        stp: Some(order.stp.to_owned()),
        strategy_id: order.strategy_id,
        strategy_type: order.strategy_type,
        pegged: false,
        sor: order.sor,
    }
}

/// What an order shows.
fn shown(order: &Order) -> D {
    match order.iceberg {
        Some(part) if part > 0 => part.min(order.remaining()),
        _ => order.remaining(),
    }
}

/// Whether an order that waits does so for a rising price.
fn rises(kind: Type, side: Side) -> bool {
    matches!(
        (kind, side),
        (Type::StopLoss | Type::StopLossLimit, Side::Buy)
            | (Type::TakeProfit | Type::TakeProfitLimit, Side::Sell)
    )
}

/// Whether an order at `limit` takes one at `price`.
fn reaches(side: Side, limit: D, price: D) -> bool {
    match side {
        Side::Buy => limit >= price,
        Side::Sell => limit <= price,
    }
}
