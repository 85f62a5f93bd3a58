//! Orders on USD-M and COIN-M futures as the venue would understand them: for each type, which fields it must have and which
//! it may not. The rules are those of its documentation for `order` and `algoOrder`, the same in a batch: what the venue would
//! refuse, or might quietly leave out, is refused here.

use super::orders::Draft;
use crate::catalog::Attribute as A;
use crate::error::DecodeError;
use crate::value::Value;
use portcullis_model::action::{
    MarketKind, Order, OrderType, PositionSide, Side, Symbol, TimeInForce,
};
use portcullis_model::number::{ONE, Price, Quantity};

/// Basis points in the percent that a callback rate is given in.
const BASIS_POINTS_PER_PERCENT: i128 = 100;

impl Draft<'_> {
    /// One order of futures.
    pub(super) fn futures_order(
        &self,
        market: MarketKind,
        symbol: Symbol,
    ) -> Result<Order, DecodeError> {
        let side = self.side()?;
        let word = self.word(A::Type).unwrap_or_default();
        let kind = Kind::of(word).ok_or_else(|| self.missing(A::Type))?;
        self.check_fields(&kind, word)?;
        let position_side = match self.word(A::PositionSide) {
            Some("LONG") => Some(PositionSide::Long),
            Some("SHORT") => Some(PositionSide::Short),
            _ => None,
        };
        let closes_all = self.truth(A::ClosePosition);
        // In hedge mode the side against the position's can only reduce it: the venue refuses more than there is.
        let against = matches!(
            (position_side, side),
            (Some(PositionSide::Long), Side::Sell) | (Some(PositionSide::Short), Side::Buy)
        );
        if position_side.is_some() {
            self.unwanted(A::ReduceOnly, "a position side of hedge mode")?;
            if closes_all && !against {
                return Err(DecodeError::FieldNotWanted {
                    field: self.name(A::ClosePosition).to_owned(),
                    with: "the side that opens the position".to_owned(),
                });
            }
        }
        let (order_type, time_in_force) = self.force(&kind, word)?;
        Ok(Order {
            market,
            symbol,
            side,
            order_type,
            time_in_force,
            quantity: self.units(A::Quantity).map(Quantity),
            quote_quantity: None,
            price: self.units(A::Price).map(Price),
            stop_price: self
                .units(A::StopPrice)
                .or(self.units(A::ActivationPrice))
                .map(Price),
            trailing_delta: self.callback_rate()?,
            iceberg_quantity: None,
            client_order_id: self.client_id(),
            list_client_order_id: None,
            leg: None,
            reduce_only: self.truth(A::ReduceOnly) || closes_all || against,
            borrows: false,
            pegged: self.get(A::PriceMatch).is_some(),
            replaces: false,
            position_side,
            close_position: closes_all,
            algo: self.rule.algo,
        })
    }

    /// What a type must have, and what it may not.
    fn check_fields(&self, kind: &Kind, word: &str) -> Result<(), DecodeError> {
        if kind.has_price {
            // The price is given or taken from the book.
            match (self.get(A::Price), self.get(A::PriceMatch)) {
                (None, None) => self.need(A::Price)?,
                (Some((price, _)), Some((from_book, _))) => {
                    return Err(DecodeError::FieldsExclude {
                        fields: format!("`{}`, `{}`", price.name, from_book.name),
                    });
                }
                _ => {}
            }
        } else {
            self.unwanted(A::Price, word)?;
            self.unwanted(A::PriceMatch, word)?;
        }
        match kind.waits_for {
            Some(OrderType::TrailingStop) => {
                self.need(A::CallbackRate)?;
                self.unwanted(A::StopPrice, word)?;
            }
            Some(_) => {
                self.need(A::StopPrice)?;
                self.unwanted(A::CallbackRate, word)?;
                self.unwanted(A::ActivationPrice, word)?;
            }
            None => {
                self.unwanted(A::StopPrice, word)?;
                self.unwanted(A::CallbackRate, word)?;
                self.unwanted(A::ActivationPrice, word)?;
            }
        }
        if self.truth(A::ClosePosition) {
            if !kind.may_close_all {
                self.unwanted(A::ClosePosition, word)?;
            }
            self.unwanted(A::Quantity, "an order that closes the position")?;
            self.unwanted(A::ReduceOnly, "an order that closes the position")?;
            return Ok(());
        }
        self.need(A::Quantity)
    }

    /// How long it stands. Post-only forces make a limit order one that only makes.
    fn force(
        &self,
        kind: &Kind,
        word: &str,
    ) -> Result<(OrderType, Option<TimeInForce>), DecodeError> {
        let plain = kind.order_type();
        if plain == OrderType::Market {
            self.unwanted(A::TimeInForce, word)?;
        }
        if plain == OrderType::Limit {
            self.need(A::TimeInForce)?;
        }
        let force = self.word(A::TimeInForce);
        if force == Some("GTD") {
            self.need(A::GoodTill)?;
        } else {
            self.unwanted(A::GoodTill, "a time in force other than GTD")?;
        }
        Ok(match force {
            None => (plain, None),
            Some("GTC") => (plain, Some(TimeInForce::Gtc)),
            Some("IOC") => (plain, Some(TimeInForce::Ioc)),
            Some("FOK") => (plain, Some(TimeInForce::Fok)),
            Some("GTD") => (plain, Some(TimeInForce::Gtd)),
            Some(word) if post_only(word) && plain == OrderType::Limit => {
                (OrderType::LimitMaker, None)
            }
            // A stop-limit order that only makes may rest where it was put: as if it took.
            Some(word) if post_only(word) && kind.has_price => (plain, Some(TimeInForce::Gtc)),
            Some(_) => {
                return Err(DecodeError::FieldNotWanted {
                    field: self.name(A::TimeInForce).to_owned(),
                    with: word.to_owned(),
                });
            }
        })
    }

    /// A trailing stop's distance in basis points: the venue has it in percent.
    fn callback_rate(&self) -> Result<Option<u32>, DecodeError> {
        let Some(percent) = self.units(A::CallbackRate) else {
            return Ok(None);
        };
        let points = percent.saturating_mul(BASIS_POINTS_PER_PERCENT);
        match u32::try_from(points / ONE) {
            Ok(whole @ 1..=10_000) if points % ONE == 0 => Ok(Some(whole)),
            _ => Err(DecodeError::FieldValue {
                field: self.name(A::CallbackRate).to_owned(),
                why: "is not between 0.01 and 100 percent in hundredths".to_owned(),
            }),
        }
    }

    fn truth(&self, attribute: A) -> bool {
        matches!(self.get(attribute), Some((_, Value::Bool(true))))
    }
}

/// What a type is made of.
struct Kind {
    has_price: bool,
    /// What has to happen first.
    waits_for: Option<OrderType>,
    may_close_all: bool,
}

impl Kind {
    fn of(word: &str) -> Option<Self> {
        use OrderType::{StopLoss, TakeProfit, TrailingStop};
        let (has_price, waits_for, may_close_all) = match word {
            "LIMIT" => (true, None, false),
            "MARKET" => (false, None, false),
            "STOP" => (true, Some(StopLoss), false),
            "STOP_MARKET" => (false, Some(StopLoss), true),
            "TAKE_PROFIT" => (true, Some(TakeProfit), false),
            "TAKE_PROFIT_MARKET" => (false, Some(TakeProfit), true),
            "TRAILING_STOP_MARKET" => (false, Some(TrailingStop), false),
            _ => return None,
        };
        Some(Self {
            has_price,
            waits_for,
            may_close_all,
        })
    }

    fn order_type(&self) -> OrderType {
        match (self.waits_for, self.has_price) {
            (None, true) => OrderType::Limit,
            (None, false) => OrderType::Market,
            (Some(OrderType::StopLoss), true) => OrderType::StopLossLimit,
            (Some(OrderType::TakeProfit), true) => OrderType::TakeProfitLimit,
            (Some(other), _) => other,
        }
    }
}

/// The order type of a word in an answer.
pub(super) fn order_type(word: &str) -> Option<OrderType> {
    Kind::of(word).map(|kind| kind.order_type())
}

/// Whether a time in force lets an order only make: GTX is the venue's post-only, RPI the same for retail.
pub(super) fn post_only(word: &str) -> bool {
    matches!(word, "GTX" | "RPI")
}
