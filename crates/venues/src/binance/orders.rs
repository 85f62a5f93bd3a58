//! Orders as the venue would understand them: for each type, which fields it must have and which it may not. The rules
//! are those of `POST /api/v3/order` in the venue's documentation, applied to every leg of every list: what the venue
//! would refuse, or might quietly leave out, is refused here.

use crate::actions::{Named, find};
use crate::catalog::{Attribute, Endpoint, Meaning, Which};
use crate::error::DecodeError;
use crate::value::Value;
use portcullis_model::action::{
    ClientOrderId, Leg, MarketKind, Order, OrderType, Side, Symbol, TimeInForce,
};
use portcullis_model::number::{Amount, Price, Quantity};

pub(super) fn orders(
    rule: &Endpoint,
    named: &[Named<'_>],
    market: MarketKind,
    symbol: Symbol,
) -> Result<Vec<Order>, DecodeError> {
    if matches!(market, MarketKind::UsdFutures | MarketKind::CoinFutures) {
        let draft = Draft {
            rule,
            named,
            which: Which::Order,
        };
        return draft.futures_order(market, symbol).map(|order| vec![order]);
    }
    let list_id = find(named, Meaning::ListClientId).and_then(|(_, v)| client_id(v));
    rule.legs
        .iter()
        .map(|which| {
            Draft {
                rule,
                named,
                which: *which,
            }
            .order(market, symbol.clone(), list_id.clone())
        })
        .collect()
}

/// One order of a request, before it is known to be whole.
pub(super) struct Draft<'a> {
    pub(super) rule: &'a Endpoint,
    named: &'a [Named<'a>],
    which: Which,
}

impl<'a> Draft<'a> {
    fn applies(&self, which: Which) -> bool {
        which == self.which
            || which == Which::All
            || which == Which::Pending
                && matches!(
                    self.which,
                    Which::Leg(Leg::PendingAbove | Leg::PendingBelow)
                )
    }

    pub(super) fn get(&self, attribute: Attribute) -> Option<Named<'a>> {
        self.named
            .iter()
            .find(|(f, _)| matches!(f.meaning, Meaning::Order(w, a) if a == attribute && self.applies(w)))
            .copied()
    }

    /// The catalog's name of an attribute of this order, for messages; empty if the endpoint has no such field.
    pub(super) fn name(&self, attribute: Attribute) -> &'a str {
        let rule = self.rule;
        rule.fields
            .iter()
            .chain(rule.objects.iter().flat_map(|o| &o.fields))
            .find(
                |f| matches!(f.meaning, Meaning::Order(w, a) if a == attribute && self.applies(w)),
            )
            .map_or("", |f| f.name.as_str())
    }

    pub(super) fn units(&self, attribute: Attribute) -> Option<i128> {
        match self.get(attribute) {
            Some((_, Value::Units(units))) => Some(*units),
            _ => None,
        }
    }

    fn integer(&self, attribute: Attribute) -> Option<u64> {
        match self.get(attribute) {
            Some((_, Value::Integer(n))) => Some(*n),
            _ => None,
        }
    }

    pub(super) fn word(&self, attribute: Attribute) -> Option<&'a str> {
        match self.get(attribute) {
            Some((field, Value::Word(at))) => Some(field.ty.word(*at)),
            _ => None,
        }
    }

    pub(super) fn need(&self, attribute: Attribute) -> Result<(), DecodeError> {
        if self.get(attribute).is_some() {
            return Ok(());
        }
        Err(self.missing(attribute))
    }

    pub(super) fn missing(&self, attribute: Attribute) -> DecodeError {
        DecodeError::FieldMissing {
            field: self.name(attribute).to_owned(),
        }
    }

    pub(super) fn unwanted(&self, attribute: Attribute, with: &str) -> Result<(), DecodeError> {
        match self.get(attribute) {
            None => Ok(()),
            Some((field, _)) => Err(DecodeError::FieldNotWanted {
                field: field.name.clone(),
                with: with.to_owned(),
            }),
        }
    }

    pub(super) fn side(&self) -> Result<Side, DecodeError> {
        match self.word(Attribute::Side) {
            Some("BUY") => Ok(Side::Buy),
            Some("SELL") => Ok(Side::Sell),
            _ => Err(self.missing(Attribute::Side)),
        }
    }

    pub(super) fn client_id(&self) -> Option<ClientOrderId> {
        self.get(Attribute::ClientId)
            .and_then(|(_, v)| client_id(v))
    }

    fn order_type(&self) -> Result<OrderType, DecodeError> {
        use Attribute as A;
        let word = match self.which {
            Which::OcoLimit => "LIMIT_MAKER",
            Which::OcoStop if self.get(A::Price).is_some() => "STOP_LOSS_LIMIT",
            Which::OcoStop => "STOP_LOSS",
            _ => self.word(A::Type).unwrap_or_default(),
        };
        order_type(word).ok_or_else(|| self.missing(A::Type))
    }

    fn order(
        &self,
        market: MarketKind,
        symbol: Symbol,
        list_client_order_id: Option<ClientOrderId>,
    ) -> Result<Order, DecodeError> {
        use Attribute as A;
        let side = self.side()?;
        let ty = self.order_type()?;
        self.check_type(ty)?;
        let pegged = self.check_peg(ty)?;
        let time_in_force = match self.word(A::TimeInForce) {
            None => None,
            Some("GTC") => Some(TimeInForce::Gtc),
            Some("IOC") => Some(TimeInForce::Ioc),
            Some("FOK") => Some(TimeInForce::Fok),
            Some(_) => {
                return Err(self.missing(A::TimeInForce));
            }
        };
        if self.get(A::Iceberg).is_some()
            && ty != OrderType::LimitMaker
            && time_in_force != Some(TimeInForce::Gtc)
        {
            return Err(DecodeError::FieldNotWanted {
                field: self.name(A::Iceberg).to_owned(),
                with: "a time in force other than GTC".to_owned(),
            });
        }
        let (quantity, iceberg) = (self.units(A::Quantity), self.units(A::Iceberg));
        if let (Some(whole), Some(shown)) = (quantity, iceberg)
            && shown > whole
        {
            return Err(DecodeError::FieldValue {
                field: self.name(A::Iceberg).to_owned(),
                why: "is more than the whole quantity".to_owned(),
            });
        }
        Ok(Order {
            market,
            symbol,
            side,
            order_type: ty,
            time_in_force,
            quantity: quantity.map(Quantity),
            quote_quantity: self.units(A::QuoteQuantity).map(Amount),
            price: self.units(A::Price).map(Price),
            stop_price: self.units(A::StopPrice).map(Price),
            trailing_delta: self
                .integer(A::TrailingDelta)
                .and_then(|n| u32::try_from(n).ok()),
            iceberg_quantity: iceberg.map(Quantity),
            client_order_id: self.client_id(),
            list_client_order_id,
            leg: self.leg(side),
            reduce_only: false,
            borrows: matches!(
                self.word(A::SideEffect),
                Some("MARGIN_BUY" | "AUTO_BORROW_REPAY")
            ),
            pegged,
            replaces: self.replaces(),
            position_side: None,
            close_position: false,
            algo: self.rule.algo,
        })
    }

    fn replaces(&self) -> bool {
        match find(self.named, Meaning::ReplaceMode) {
            Some((field, Value::Word(at))) => field.ty.word(*at) == "STOP_ON_FAILURE",
            _ => false,
        }
    }

    /// Which of the old OCO call's legs stands above the price follows from its side.
    fn leg(&self, side: Side) -> Option<Leg> {
        match (self.which, side) {
            (Which::Leg(leg), _) => Some(leg),
            (Which::OcoLimit, Side::Sell) | (Which::OcoStop, Side::Buy) => Some(Leg::Above),
            (Which::OcoLimit, Side::Buy) | (Which::OcoStop, Side::Sell) => Some(Leg::Below),
            _ => None,
        }
    }

    fn check_type(&self, ty: OrderType) -> Result<(), DecodeError> {
        use Attribute as A;
        let with = word(ty);
        // A leg without a quantity field takes its working leg's outcome (OPO, OPOCO).
        let outcome = self.name(A::Quantity).is_empty();
        if ty == OrderType::Market {
            for attribute in [
                A::TimeInForce,
                A::Price,
                A::StopPrice,
                A::TrailingDelta,
                A::Iceberg,
                A::PegPrice,
                A::PegOffset,
                A::PegOffsetType,
            ] {
                self.unwanted(attribute, with)?;
            }
            return match (self.get(A::Quantity), self.get(A::QuoteQuantity)) {
                (Some(_), Some((quote, _))) => Err(DecodeError::FieldsExclude {
                    fields: format!("`{}`, `{}`", self.name(A::Quantity), quote.name),
                }),
                (None, None) if !outcome => self.need(A::Quantity),
                _ => Ok(()),
            };
        }
        self.unwanted(A::QuoteQuantity, with)?;
        if !outcome {
            self.need(A::Quantity)?;
        }
        let limit = matches!(
            ty,
            OrderType::Limit
                | OrderType::LimitMaker
                | OrderType::StopLossLimit
                | OrderType::TakeProfitLimit
        );
        let stop = !matches!(ty, OrderType::Limit | OrderType::LimitMaker);
        if limit {
            if self.get(A::PegPrice).is_none() {
                self.need(A::Price)?;
            }
        } else {
            for attribute in [
                A::Price,
                A::Iceberg,
                A::PegPrice,
                A::PegOffset,
                A::PegOffsetType,
            ] {
                self.unwanted(attribute, with)?;
            }
        }
        if limit && ty != OrderType::LimitMaker {
            self.need(A::TimeInForce)?;
        } else {
            self.unwanted(A::TimeInForce, with)?;
        }
        if stop {
            if self.get(A::TrailingDelta).is_none() {
                self.need(A::StopPrice)?;
            }
        } else {
            self.unwanted(A::StopPrice, with)?;
            self.unwanted(A::TrailingDelta, with)?;
        }
        Ok(())
    }

    /// A pegged order's price follows the book. The venue lets a price stand beside the peg and does not say what it
    /// then means: refused.
    fn check_peg(&self, ty: OrderType) -> Result<bool, DecodeError> {
        use Attribute as A;
        if self.get(A::PegOffset).is_some() != self.get(A::PegOffsetType).is_some() {
            self.need(A::PegOffset)?;
            self.need(A::PegOffsetType)?;
        }
        if self.get(A::PegPrice).is_none() {
            self.unwanted(A::PegOffset, word(ty))?;
            return Ok(false);
        }
        self.unwanted(A::Price, self.name(A::PegPrice))?;
        Ok(true)
    }
}

fn client_id(value: &Value) -> Option<ClientOrderId> {
    match value {
        Value::Text(text) => Some(ClientOrderId(text.clone())),
        _ => None,
    }
}

pub(super) fn order_type(word: &str) -> Option<OrderType> {
    Some(match word {
        "LIMIT" => OrderType::Limit,
        "MARKET" => OrderType::Market,
        "LIMIT_MAKER" => OrderType::LimitMaker,
        "STOP_LOSS" => OrderType::StopLoss,
        "STOP_LOSS_LIMIT" => OrderType::StopLossLimit,
        "TAKE_PROFIT" => OrderType::TakeProfit,
        "TAKE_PROFIT_LIMIT" => OrderType::TakeProfitLimit,
        _ => return None,
    })
}

fn word(ty: OrderType) -> &'static str {
    match ty {
        OrderType::Limit => "LIMIT",
        OrderType::Market => "MARKET",
        OrderType::LimitMaker => "LIMIT_MAKER",
        OrderType::StopLoss => "STOP_LOSS",
        OrderType::StopLossLimit => "STOP_LOSS_LIMIT",
        OrderType::TakeProfit => "TAKE_PROFIT",
        OrderType::TakeProfitLimit => "TAKE_PROFIT_LIMIT",
        OrderType::TrailingStop => "TRAILING_STOP_MARKET",
    }
}
