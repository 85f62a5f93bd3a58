//! The gate's own questions, in Binance's words.

use crate::form::encode_into;
use crate::question::{InWords, Question};
use portcullis_model::action::{ClientOrderId, MarketKind, Symbol};
use portcullis_model::id::OrderId;

pub(super) fn ask(kind: MarketKind, question: &Question<'_>) -> Option<InWords> {
    let (host, at) = match kind {
        MarketKind::Spot => ("api.binance.com", "/api/v3"),
        MarketKind::UsdFutures => ("fapi.binance.com", "/fapi/v1"),
        MarketKind::CoinFutures => ("dapi.binance.com", "/dapi/v1"),
        MarketKind::Margin | MarketKind::Option => return None,
    };
    let is_spot = kind == MarketKind::Spot;
    let of = |path: &str, symbol: &Symbol| {
        let mut target = format!("{at}/{path}?symbol=");
        encode_into(&mut target, symbol.as_str());
        target
    };
    let (target, is_public) = match *question {
        Question::Time => (format!("{at}/time"), true),
        Question::Prices(symbols) if is_spot => {
            let list = serde_json::json!(symbols).to_string();
            let mut target = format!("{at}/ticker/price?symbols=");
            encode_into(&mut target, &list);
            (target, true)
        }
        Question::Prices([symbol]) => (of("premiumIndex", symbol), true),
        Question::Prices(_) => (format!("{at}/premiumIndex"), true),
        Question::OpenOrders { algo: true, .. } if is_spot => return None,
        Question::OpenOrders { symbol, algo: true } => (of("openAlgoOrders", symbol), false),
        Question::OpenOrders { symbol, .. } => (of("openOrders", symbol), false),
        Question::Order { algo: true, .. } if is_spot => return None,
        Question::Order {
            algo: true,
            order_id,
            client,
            ..
        } => {
            let target = format!("{at}/algoOrder?");
            let names = ("algoId", "clientAlgoId");
            (named(target, names, order_id, client)?, false)
        }
        Question::Order {
            symbol,
            order_id,
            client,
            ..
        } => {
            let target = of("order", symbol) + "&";
            let names = ("orderId", "origClientOrderId");
            (named(target, names, order_id, client)?, false)
        }
        Question::OrdersFrom {
            symbol,
            number,
            limit,
        } => {
            let target = of("allOrders", symbol);
            (format!("{target}&orderId={number}&limit={limit}"), false)
        }
    };
    Some(match is_public {
        true => InWords {
            host,
            target,
            headers: Vec::new(),
        },
        false => InWords {
            host,
            target: target + "&timestamp=1000000000000&signature=00",
            headers: vec![("x-mbx-apikey", "gate")],
        },
    })
}

fn named(
    mut target: String,
    (by_id, by_client): (&str, &str),
    order_id: Option<OrderId>,
    client: Option<&ClientOrderId>,
) -> Option<String> {
    match (order_id, client) {
        (Some(id), _) => target.push_str(&format!("{by_id}={id}")),
        (None, Some(client)) => {
            target.push_str(&format!("{by_client}="));
            encode_into(&mut target, client.as_str());
        }
        (None, None) => return None,
    }
    Some(target)
}
