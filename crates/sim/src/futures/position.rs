//! Contracts, positions and what they are worth: the arithmetic of futures, without accounts, orders or words of a venue.
//!
//! One rule for linear and inverse contracts: [`Contract::value`] is signed so that a position earns `value(now) - cost`.
//! A linear contract is worth quantity times price; an inverse one, quoted in dollars and paid in coins, minus quantity
//! times size by price. A position holds the sum of what it was opened at (`cost`), not an average price, so that the two
//! sides of a trade change by exactly opposite amounts and nothing is made or lost by rounding.

use crate::decimal::{D, ONE};

/// An amount of money in units of 10^-16: what a quantity times a price is, without rounding.
pub type M = i128;

/// An amount of a wallet (10^-8) in units of 10^-16.
#[must_use]
pub fn money(amount: D) -> M {
    amount.saturating_mul(ONE)
}

/// The same rounded down to what a wallet shows.
#[must_use]
pub fn shown(amount: M) -> D {
    amount.div_euclid(ONE)
}

/// `a * b / c` towards zero, without a product that does not fit; zero where `c` is.
#[must_use]
pub fn share(a: M, b: M, c: M) -> M {
    if c == 0 {
        return 0;
    }
    (a / c).saturating_mul(b) + (a % c).saturating_mul(b) / c
}

/// `amount` times a rate in units of 10^-8, towards zero.
#[must_use]
pub fn part(amount: M, rate: D) -> M {
    share(amount, rate, ONE)
}

/// A step of the table that says how much leverage a position of some value may have, and what must back it.
#[derive(Debug, Clone, Copy)]
pub struct Bracket {
    /// Leverage, at most.
    pub leverage: u32,
    /// From that value on.
    pub floor: M,
    /// Up to that value.
    pub cap: M,
    /// Maintenance margin, of the value.
    pub rate: D,
    /// Less that, so that the margin has no step.
    pub cum: M,
}

/// Brackets from (leverage, cap, rate), the caps in whole units and rising.
#[must_use]
pub fn brackets(steps: &[(u32, i128, D)]) -> Vec<Bracket> {
    let mut all: Vec<Bracket> = Vec::new();
    for (leverage, cap, rate) in steps {
        let (floor, cum) = all.last().map_or((0, 0), |b| {
            (b.cap, b.cum + part(b.cap, rate.saturating_sub(b.rate)))
        });
        all.push(Bracket {
            leverage: *leverage,
            floor,
            cap: money(cap.saturating_mul(ONE)),
            rate: *rate,
            cum,
        });
    }
    all
}

/// A contract and its rules.
#[derive(Debug, Clone)]
pub struct Contract {
    /// Name.
    pub name: String,
    /// The pair whose price it follows.
    pub pair: String,
    /// What it is about.
    pub base: String,
    /// What its price is in.
    pub quote: String,
    /// Number of the asset that it is paid in.
    pub margin: usize,
    /// What one of it is worth: units of the base (linear), or of the quote (inverse).
    pub size: D,
    /// Paid in the base.
    pub inverse: bool,
    /// Whether it trades.
    pub trading: bool,
    /// Where its price starts.
    pub price: D,
    /// Step of the price.
    pub tick: D,
    /// Lowest price.
    pub price_min: D,
    /// Highest price.
    pub price_max: D,
    /// Times the mark price that the price of a buy order may be, at most.
    pub up: D,
    /// Times the mark price that the price of a sell order must be, at least.
    pub down: D,
    /// Step of the quantity, and its minimum.
    pub step: D,
    /// Largest quantity.
    pub quantity_max: D,
    /// Largest quantity of an order at market.
    pub market_quantity_max: D,
    /// Smallest value of an order that opens.
    pub value_min: M,
    /// Places of prices.
    pub price_places: usize,
    /// Places of quantities.
    pub quantity_places: usize,
    /// Open orders an account may have.
    pub orders_max: usize,
    /// Waiting orders an account may have.
    pub stops_max: usize,
    /// What a maker pays, of the value.
    pub maker_fee: D,
    /// What a taker pays.
    pub taker_fee: D,
    /// What a liquidation costs.
    pub liquidation_fee: D,
    /// Distance of mark and last price beyond which protected orders do not wake.
    pub protect: D,
    /// What its makers show at each price.
    pub maker_size: D,
    /// Leverage and maintenance margin by value.
    pub brackets: Vec<Bracket>,
}

impl Contract {
    /// What a quantity (below zero: sold) is worth at a price, signed so that a rising value is a gain.
    #[must_use]
    pub fn value(&self, quantity: D, price: D) -> M {
        if price <= 0 {
            return 0;
        }
        let sized = quantity.saturating_mul(self.size);
        if self.inverse {
            -share(sized, ONE, price)
        } else {
            share(sized, price, ONE)
        }
    }

    /// The same without its sign.
    #[must_use]
    pub fn worth(&self, quantity: D, price: D) -> M {
        self.value(quantity, price).abs()
    }

    /// The price at which a quantity costs `cost`; zero without a quantity.
    #[must_use]
    pub fn price_of(&self, quantity: D, cost: M) -> D {
        let sized = quantity.saturating_mul(self.size).abs();
        if self.inverse {
            share(sized, ONE, cost.abs())
        } else {
            share(cost.abs(), ONE, sized)
        }
    }

    /// The bracket of a value.
    #[must_use]
    pub fn bracket(&self, value: M) -> Option<&Bracket> {
        self.brackets
            .iter()
            .find(|b| value <= b.cap)
            .or(self.brackets.last())
    }

    /// What must back a position of that value, or it is liquidated.
    #[must_use]
    pub fn maintenance(&self, value: M) -> M {
        self.bracket(value)
            .map_or(value, |b| (part(value, b.rate) - b.cum).max(0))
    }

    /// The largest value of a position with that leverage.
    #[must_use]
    pub fn value_max(&self, leverage: u32) -> M {
        self.brackets
            .iter()
            .filter(|b| b.leverage >= leverage)
            .map(|b| b.cap)
            .max()
            .unwrap_or(0)
    }

    /// The highest leverage.
    #[must_use]
    pub fn leverage_max(&self) -> u32 {
        self.brackets.first().map_or(1, |b| b.leverage)
    }
}

/// A position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// Quantity; below zero it is short.
    pub quantity: D,
    /// What it was opened at, as [`Contract::value`] signs it.
    pub cost: M,
    /// What backs it alone, where it is isolated.
    pub isolated: M,
    /// Last change, in milliseconds.
    pub updated: u64,
}

/// What a fill did to a position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// Gain (below zero: loss) of the part that was closed.
    pub realized: M,
    /// Quantity that was closed.
    pub closed: D,
    /// Value of the part that was opened, without a sign.
    pub opened: M,
}

impl Position {
    /// A fill of `quantity` (below zero: sold) worth `value`. What it earns plus the change of `cost` is minus `value`,
    /// always.
    pub fn fill(&mut self, quantity: D, value: M) -> Change {
        let mut change = Change::default();
        let (mut quantity, mut value) = (quantity, value);
        if self.quantity != 0 && self.quantity.signum() != quantity.signum() {
            let closed = quantity.abs().min(self.quantity.abs());
            let cost = share(self.cost, closed, self.quantity.abs());
            let at = share(value, closed, quantity.abs());
            change.realized = -at - cost;
            change.closed = closed;
            self.quantity += closed * quantity.signum();
            self.cost -= cost;
            quantity -= closed * quantity.signum();
            value -= at;
        }
        if quantity == 0 {
            // Nothing is left of the fill; what rounding left of its value goes with what was closed.
            change.realized -= value;
        } else {
            self.quantity += quantity;
            self.cost += value;
            change.opened = value.abs();
        }
        change
    }

    /// What it would earn at a price.
    #[must_use]
    pub fn profit(&self, contract: &Contract, price: D) -> M {
        contract.value(self.quantity, price) - self.cost
    }

    /// The average price that it was opened at.
    #[must_use]
    pub fn entry(&self, contract: &Contract) -> D {
        contract.price_of(self.quantity, self.cost)
    }

    /// The mark price at which `balance` (what backs it beside its own gain, less what others need) no longer covers its
    /// maintenance margin; `None` where no price does that.
    #[must_use]
    pub fn liquidation(&self, contract: &Contract, balance: M) -> Option<D> {
        if self.quantity == 0 {
            return None;
        }
        let rising = contract.value(self.quantity, contract.price.max(1)) > 0;
        let value = contract.brackets.iter().find_map(|b| {
            // balance + (±value - cost) = value * rate - cum
            let value = if rising {
                share(self.cost - balance - b.cum, ONE, ONE - b.rate)
            } else {
                share(balance - self.cost + b.cum, ONE, ONE + b.rate)
            };
            (value > b.floor && value <= b.cap).then_some(value)
        })?;
        let price = contract.price_of(self.quantity, value);
        (price > 0).then_some(price)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::d;
    use proptest::prelude::*;

    pub(crate) fn contract(inverse: bool) -> Contract {
        Contract {
            name: "X".to_owned(),
            pair: "X".to_owned(),
            base: "B".to_owned(),
            quote: "Q".to_owned(),
            margin: 0,
            size: if inverse { d("100") } else { ONE },
            inverse,
            trading: true,
            price: d("65000"),
            tick: d("0.1"),
            price_min: d("0.1"),
            price_max: d("1000000"),
            up: d("1.05"),
            down: d("0.95"),
            step: if inverse { ONE } else { d("0.001") },
            quantity_max: d("1000000"),
            market_quantity_max: d("100000"),
            value_min: 0,
            price_places: 1,
            quantity_places: if inverse { 0 } else { 3 },
            orders_max: 200,
            stops_max: 10,
            maker_fee: d("0.0002"),
            taker_fee: d("0.0005"),
            liquidation_fee: d("0.0125"),
            protect: d("0.05"),
            maker_size: d("10"),
            brackets: if inverse {
                brackets(&[
                    (125, 5, d("0.004")),
                    (100, 10, d("0.005")),
                    (20, 1_000_000, d("0.01")),
                ])
            } else {
                brackets(&[
                    (125, 300_000, d("0.004")),
                    (100, 800_000, d("0.005")),
                    (20, 1_000_000_000_000, d("0.01")),
                ])
            },
        }
    }

    #[test]
    fn maintenance_has_no_steps() {
        for inverse in [false, true] {
            let c = contract(inverse);
            for b in &c.brackets[..2] {
                let below = c.maintenance(b.cap);
                let above = c.maintenance(b.cap + 1);
                assert!((above - below).abs() <= 2, "{below} {above}");
            }
        }
    }

    #[test]
    fn an_inverse_contract_earns_coins() {
        let c = contract(true);
        let mut p = Position::default();
        // 650 contracts of 100 dollars at 65000 are one coin; at 130000 they are half of one.
        p.fill(650 * ONE, c.value(650 * ONE, d("65000")));
        assert_eq!(p.entry(&c), d("65000"));
        assert_eq!(p.profit(&c, d("130000")), money(d("0.5")));
        assert_eq!(p.profit(&c, d("32500")), money(-ONE));
    }

    proptest! {
        /// Whatever is bought and sold: gains less what the positions cost are what the fills were worth.
        #[test]
        fn fills_add_up(inverse: bool, fills in proptest::collection::vec((-500_i128..500, 100_i128..2_000_000), 1..60)) {
            let c = contract(inverse);
            let (mut p, mut paid, mut earned, mut held) = (Position::default(), 0, 0, 0);
            for (lots, ticks) in fills {
                if lots == 0 {
                    continue;
                }
                let quantity = lots * c.step;
                let value = c.value(quantity, ticks * c.tick);
                earned += p.fill(quantity, value).realized;
                paid += value;
                held += quantity;
                prop_assert_eq!(p.quantity, held);
                prop_assert_eq!(earned - p.cost, -paid);
                prop_assert!(p.quantity != 0 || p.cost == 0);
            }
        }

        /// At the liquidation price the margin just holds, a little beyond it does not.
        #[test]
        fn liquidation_price_is_where_the_margin_ends(inverse: bool, short: bool, lots in 1_i128..20_000, backing in 1_i128..300) {
            let c = contract(inverse);
            let quantity = lots * c.step * if short { -1 } else { 1 };
            let mut p = Position::default();
            p.fill(quantity, c.value(quantity, d("65000")));
            // From a third of a per cent to the whole value.
            let balance = c.worth(quantity, d("65000")) * backing / 300;
            let holds = |price: D| {
                balance + p.profit(&c, price) >= c.maintenance(c.worth(quantity, price))
            };
            match p.liquidation(&c, balance) {
                Some(price) => {
                    let (safe, lost) = if short { (price - price / 1000 - 2, price + price / 1000 + 2) } else { (price + price / 1000 + 2, price - price / 1000 - 2) };
                    prop_assert!(holds(safe), "{price}");
                    prop_assert!(!holds(lost), "{price}");
                }
                None => {
                    let worst = if short { d("10000000") } else { d("0.01") };
                    prop_assert!(holds(worst));
                }
            }
        }
    }
}
