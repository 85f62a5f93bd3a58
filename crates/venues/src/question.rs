//! What the gate asks a venue for itself: its time, reference prices, the fate of orders. A dialect says it in the venue's
//! words; the request is then decoded, judged and built like any program's.

use crate::form::encode_into;
use portcullis_model::action::{ClientOrderId, Symbol};
use portcullis_model::id::OrderId;

/// A question about one kind of market.
#[derive(Debug, Clone, Copy)]
pub enum Question<'a> {
    /// The venue's clock.
    Time,
    /// Reference prices of these markets, of derivatives the mark prices; others may stand in the answer too.
    Prices(&'a [&'a Symbol]),
    /// The open orders of one market.
    OpenOrders { symbol: &'a Symbol, algo: bool },
    /// One order, by the venue's id if that is known.
    Order {
        symbol: &'a Symbol,
        algo: bool,
        order_id: Option<OrderId>,
        client: Option<&'a ClientOrderId>,
        /// Where what is done stands, at a venue that shows it apart: asked for when the other place did not show the order.
        done: bool,
    },
    /// Up to `limit` orders of one market from this number on, the oldest first.
    OrdersFrom {
        symbol: &'a Symbol,
        number: u64,
        limit: u32,
    },
}

/// A question in the venue's words: a GET. What the scheme would want of a program stands there to be read past: nothing
/// of it is verified, and none of it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InWords {
    pub host: &'static str,
    pub target: String,
    pub headers: Vec<(&'static str, &'static str)>,
}

/// Path and query.
pub(crate) fn target(path: &str, fields: &[(&str, &str)]) -> String {
    let mut target = path.to_owned();
    for (at, (name, value)) in fields.iter().enumerate() {
        target.push(if at == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        encode_into(&mut target, value);
    }
    target
}
