//! The gate's own questions, in Bybit's words. Orders are told by UUID, so there is none for all from a number on.

use crate::question::{InWords, Question, target};
use portcullis_model::action::MarketKind;

/// Read past: nothing of it is verified or sent.
const SIGNED: [(&str, &str); 3] = [
    ("x-bapi-api-key", "gate"),
    ("x-bapi-sign", "00"),
    ("x-bapi-timestamp", "1000000000000"),
];

pub(super) fn ask(kind: MarketKind, question: &Question<'_>) -> Option<InWords> {
    let category = match kind {
        MarketKind::Spot | MarketKind::Margin => "spot",
        MarketKind::UsdFutures => "linear",
        MarketKind::CoinFutures => "inverse",
        MarketKind::Option => return None,
    };
    let category = ("category", category);
    let orders = "/v5/order/realtime";
    let (target, is_public) = match *question {
        Question::Time => (target("/v5/market/time", &[]), true),
        Question::Prices([symbol]) => {
            let fields = [category, ("symbol", symbol.as_str())];
            (target("/v5/market/tickers", &fields), true)
        }
        Question::Prices(_) => (target("/v5/market/tickers", &[category]), true),
        // Conditional orders stand among the others here.
        Question::OpenOrders { algo: true, .. } | Question::Order { algo: true, .. } => {
            return None;
        }
        Question::OpenOrders { symbol, .. } => {
            let fields = [category, ("symbol", symbol.as_str()), ("limit", "50")];
            (target(orders, &fields), false)
        }
        Question::Order {
            symbol,
            order_id,
            client,
            done,
            ..
        } => {
            let symbol = ("symbol", symbol.as_str());
            let id = order_id.map(|id| id.to_string());
            let named = match (&id, client) {
                (Some(id), _) => ("orderId", id.as_str()),
                (None, Some(client)) => ("orderLinkId", client.as_str()),
                (None, None) => return None,
            };
            // An order leaves the open ones' list some time after its end, so that nothing there is no answer.
            let place = if done { "/v5/order/history" } else { orders };
            (target(place, &[category, symbol, named]), false)
        }
        Question::OrdersFrom { .. } => return None,
    };
    Some(InWords {
        host: "api.bybit.com",
        target,
        headers: match is_public {
            true => Vec::new(),
            false => SIGNED.to_vec(),
        },
    })
}
