//! Those who are always there: makers that keep every book two-sided around a price that walks from a seed, and a crowd
//! that takes a little of it.

use crate::book::{Life, Side, Type};
use crate::decimal::D;
use crate::exchange::{CROWD, Exchange, MAKERS, NewOrder};

/// How often the price moves.
pub const STEP_MS: u64 = 250;
/// Prices on each side.
const LEVELS: i128 = 10;
/// Moves that are made up for after a pause; the price does not jump, it stands still while nobody asks.
const STEPS_MAX: u64 = 4;

/// A small generator of our own, so that a seed means the same walk in every version.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// 64 bits (xorshift*).
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound.max(1)
    }
}

/// The makers' state.
#[derive(Debug)]
pub struct Makers {
    random: Random,
    at: u64,
    /// Distance of each price from its start, in hundredths of a basis point.
    offsets: Vec<i64>,
    quotes: Vec<Vec<u64>>,
    /// Whether the price walks and the crowd trades.
    pub moving: bool,
}

impl Makers {
    /// Begins to quote.
    #[must_use]
    pub fn new(exchange: &mut Exchange, seed: u64, moving: bool) -> Self {
        let count = exchange.markets.len();
        let mut makers = Self {
            random: Random::new(seed),
            at: exchange.now / STEP_MS,
            offsets: vec![0; count],
            quotes: vec![Vec::new(); count],
            moving,
        };
        for market in 0..count {
            makers.quote(exchange, market);
        }
        makers
    }

    /// Lets the time since the last call pass. Called before each request: nothing runs while nobody asks.
    pub fn advance(&mut self, exchange: &mut Exchange) {
        let step = exchange.now / STEP_MS;
        if step == self.at {
            return;
        }
        let steps = step.saturating_sub(self.at).min(STEPS_MAX);
        self.at = step;
        for market in 0..exchange.markets.len() {
            if self.moving {
                for _ in 0..steps {
                    self.walk(exchange, market);
                }
            }
            self.quote(exchange, market);
            if self.moving {
                self.take(exchange, market);
            }
        }
    }

    fn walk(&mut self, exchange: &mut Exchange, market: usize) {
        // Two basis points a step at most, pulled back to the start: within about one in a hundred of it.
        let noise = i64::try_from(self.random.below(401)).unwrap_or(0) - 200;
        let Some(offset) = self.offsets.get_mut(market) else {
            return;
        };
        *offset += noise - *offset / 64;
        let at = &mut exchange.markets[market];
        let start = at.symbol.price;
        let price = start + start * D::from(*offset) / 1_000_000;
        at.mid = (price / at.symbol.tick * at.symbol.tick).max(at.symbol.tick);
    }

    /// Takes a market's quotes away and puts new ones around its price.
    pub fn quote(&mut self, exchange: &mut Exchange, market: usize) {
        if exchange.markets[market].symbol.status != "TRADING" {
            return;
        }
        let Some(quotes) = self.quotes.get_mut(market) else {
            return;
        };
        for id in quotes.drain(..) {
            let _ = exchange.cancel(MAKERS, market, Some(id), None, None);
        }
        let at = &exchange.markets[market];
        let (mid, tick, size) = (at.mid, at.symbol.tick, at.symbol.maker_size);
        // One basis point apart, or one tick.
        let gap = (mid / 10_000 / tick * tick).max(tick);
        for level in 1..=LEVELS {
            for (side, price) in [
                (Side::Buy, mid - gap * level),
                (Side::Sell, mid + gap * level),
            ] {
                if price <= 0 {
                    continue;
                }
                let step = exchange.markets[market].symbol.step;
                let part = D::from(self.random.below(100));
                let quantity = (size + size * part / 100) / step * step;
                let order = plain(side, Type::Limit, price, quantity);
                if let Ok(id) = exchange.place(MAKERS, market, order) {
                    quotes.push(id);
                }
            }
        }
    }

    fn take(&mut self, exchange: &mut Exchange, market: usize) {
        let at = &exchange.markets[market];
        if at.symbol.status != "TRADING" {
            return;
        }
        let side = if self.random.below(2) == 0 {
            Side::Buy
        } else {
            Side::Sell
        };
        let quantity = (at.symbol.maker_size / 20 / at.symbol.step * at.symbol.step)
            .max(at.symbol.quantity_min);
        let _ = exchange.place(CROWD, market, plain(side, Type::Market, 0, quantity));
    }

    /// Moves a market to a price at once; its walk goes on around that.
    pub fn set_price(&mut self, exchange: &mut Exchange, market: usize, price: D) {
        let at = &mut exchange.markets[market];
        at.symbol.price = price;
        at.last = price;
        at.mid = price;
        if let Some(offset) = self.offsets.get_mut(market) {
            *offset = 0;
        }
        self.quote(exchange, market);
        // One small trade on each side, so that the last price is the new one and stops see it.
        for side in [Side::Buy, Side::Sell] {
            let at = &exchange.markets[market];
            let quantity = at.symbol.quantity_min.max(
                crate::decimal::div(at.symbol.notional_min * 2, at.mid) / at.symbol.step
                    * at.symbol.step
                    + at.symbol.step,
            );
            let _ = exchange.place(CROWD, market, plain(side, Type::Market, 0, quantity));
        }
    }
}

/// An order with nothing special.
#[must_use]
pub fn plain(side: Side, kind: Type, price: D, quantity: D) -> NewOrder {
    NewOrder {
        side,
        kind,
        life: Life::Gtc,
        price,
        quantity,
        quote_quantity: 0,
        stop_price: None,
        trailing: None,
        iceberg: None,
        client_id: None,
        stp: None,
        strategy_id: None,
        strategy_type: None,
        pegged: false,
        sor: false,
    }
}
