//! The gate's own questions, in KuCoin's words. Orders are told by object ids, so there is none for all from a number on.

use crate::question::{InWords, Question, target};
use portcullis_model::action::MarketKind;

/// Read past: nothing of it is verified or sent.
const SIGNED: [(&str, &str); 4] = [
    ("kc-api-key", "gate"),
    ("kc-api-sign", "00"),
    ("kc-api-timestamp", "1000000000000"),
    ("kc-api-passphrase", "gate"),
];

pub(super) fn ask(kind: MarketKind, question: &Question<'_>) -> Option<InWords> {
    if kind != MarketKind::Spot {
        return None;
    }
    let orders = "/api/v1/hf/orders";
    let (target, is_public) = match *question {
        Question::Time => (target("/api/v1/timestamp", &[]), true),
        Question::Prices([symbol]) => {
            let fields = [("symbol", symbol.as_str())];
            (target("/api/v1/market/orderbook/level1", &fields), true)
        }
        Question::Prices(_) => (target("/api/v1/market/allTickers", &[]), true),
        // Conditional orders are not reviewed.
        Question::OpenOrders { algo: true, .. } | Question::Order { algo: true, .. } => {
            return None;
        }
        Question::OpenOrders { symbol, .. } => {
            let fields = [("symbol", symbol.as_str())];
            (target(&format!("{orders}/active"), &fields), false)
        }
        Question::Order {
            symbol,
            order_id,
            client,
            ..
        } => {
            let path = match (order_id, client) {
                (Some(id), _) => format!("{orders}/{id}"),
                (None, Some(client)) => format!("{orders}/client-order/{}", client.as_str()),
                (None, None) => return None,
            };
            (target(&path, &[("symbol", symbol.as_str())]), false)
        }
        Question::OrdersFrom { .. } => return None,
    };
    Some(InWords {
        host: super::HOST,
        target,
        headers: match is_public {
            true => Vec::new(),
            false => SIGNED.to_vec(),
        },
    })
}
