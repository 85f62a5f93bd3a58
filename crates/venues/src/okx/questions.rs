//! The gate's own questions, in OKX's words.

use super::instrument::Instrument;
use crate::form::encode_into;
use crate::question::{InWords, Question};
use portcullis_model::action::{MarketKind, Symbol};

const HOST: &str = "www.okx.com";
/// What the scheme would want of a program, to be read past.
const HEADERS: [(&str, &str); 4] = [
    ("ok-access-key", "gate"),
    ("ok-access-sign", "00"),
    ("ok-access-timestamp", "2020-01-01T00:00:00.000Z"),
    ("ok-access-passphrase", "gate"),
];

pub(super) fn ask(kind: MarketKind, question: &Question<'_>) -> Option<InWords> {
    let of = |path: &str, symbol: &Symbol| {
        let mut target = format!("/api/v5/{path}instId=");
        encode_into(&mut target, symbol.as_str());
        target
    };
    Some(match *question {
        Question::Time => public("/api/v5/public/time".to_owned()),
        Question::Prices(symbols) => public(prices(kind, symbols)?),
        Question::OpenOrders {
            symbol,
            algo: false,
        } => signed(of("trade/orders-pending?", symbol)),
        // The list is asked for by kind of conditional order, and only these two together.
        Question::OpenOrders { symbol, algo: true } => signed(of(
            "trade/orders-algo-pending?ordType=conditional%2Coco&",
            symbol,
        )),
        Question::Order {
            symbol,
            algo,
            order_id,
            client,
            ..
        } => {
            let (mut target, by_id, by_client) = match algo {
                true => (
                    "/api/v5/trade/order-algo?".to_owned(),
                    "algoId",
                    "algoClOrdId",
                ),
                false => (of("trade/order?", symbol) + "&", "ordId", "clOrdId"),
            };
            match (order_id, client) {
                (Some(id), _) => target.push_str(&format!("{by_id}={id}")),
                (None, Some(client)) => {
                    target.push_str(&format!("{by_client}="));
                    encode_into(&mut target, client.as_str());
                }
                (None, None) => return None,
            }
            signed(target)
        }
        // Its lists begin with the newest, and keep what is open apart from what is done.
        Question::OrdersFrom { .. } => return None,
    })
}

/// Of pairs what was last paid, of contracts the mark price. A list is of one kind of instrument: of perpetuals, if there
/// is one among them.
fn prices(kind: MarketKind, symbols: &[&Symbol]) -> Option<String> {
    let first = symbols.first()?;
    let is_swap = |symbol: &&Symbol| symbol.as_str().ends_with("-SWAP");
    let (mut target, is_one) = match kind {
        MarketKind::Spot | MarketKind::Margin if symbols.len() == 1 => {
            ("/api/v5/market/ticker?".to_owned(), true)
        }
        MarketKind::Spot | MarketKind::Margin => {
            ("/api/v5/market/tickers?instType=SPOT".to_owned(), false)
        }
        MarketKind::UsdFutures | MarketKind::CoinFutures => {
            let class = match symbols.iter().any(is_swap) {
                true => "SWAP",
                false => "FUTURES",
            };
            let target = format!("/api/v5/public/mark-price?instType={class}");
            match symbols.len() == 1 {
                true => (target + "&", true),
                false => (target, false),
            }
        }
        // Options are named by family, and nothing values them here.
        MarketKind::Option => return None,
    };
    Instrument::of(first.as_str())?;
    if is_one {
        target.push_str("instId=");
        encode_into(&mut target, first.as_str());
    }
    Some(target)
}

fn public(target: String) -> InWords {
    InWords {
        host: HOST,
        target,
        headers: Vec::new(),
    }
}

fn signed(target: String) -> InWords {
    InWords {
        host: HOST,
        target,
        headers: HEADERS.to_vec(),
    }
}
