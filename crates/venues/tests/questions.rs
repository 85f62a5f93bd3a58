//! What the gate asks for itself is known to the catalog, reads, and tells what it is asked for.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_model::action::{ClientOrderId, MarketKind, Symbol};
use portcullis_venues::catalog::Answer;
use portcullis_venues::dialect;
use portcullis_venues::question::Question;
use portcullis_venues::{Catalog, RawRequest};

/// Two markets of a kind, as the venue calls them.
fn symbols(venue: &str, kind: MarketKind) -> (Symbol, Symbol) {
    let (one, other) = match (venue, kind) {
        ("okx", MarketKind::Spot) => ("BTC-USDT", "ETH-USDT"),
        ("okx", MarketKind::UsdFutures) => ("BTC-USDT-SWAP", "ETH-USDT-SWAP"),
        ("okx", _) => ("BTC-USD-261225", "ETH-USD-261225"),
        _ => ("BTCUSDT", "ETHUSDT"),
    };
    (one.into(), other.into())
}

#[test]
fn every_question_is_a_reviewed_read_of_its_own_kind_of_market() {
    let catalog = Catalog::builtin().unwrap();
    let mut asked = 0;
    for dialect in dialect::all() {
        for kind in [
            MarketKind::Spot,
            MarketKind::UsdFutures,
            MarketKind::CoinFutures,
        ] {
            let (symbol, other) = symbols(dialect.venue(), kind);
            let client = ClientOrderId::from("a1");
            let order = |algo, id: Option<u64>| Question::Order {
                symbol: &symbol,
                algo,
                order_id: id.map(Into::into),
                client: Some(&client),
                done: false,
            };
            let done = Question::Order {
                symbol: &symbol,
                algo: false,
                order_id: Some(7.into()),
                client: None,
                done: true,
            };
            let one = [&symbol];
            let two = [&symbol, &other];
            let questions = [
                (Question::Time, Answer::Time),
                (Question::Prices(&one), Answer::Price),
                (Question::Prices(&two), Answer::Price),
                (
                    Question::OpenOrders {
                        symbol: &symbol,
                        algo: false,
                    },
                    Answer::OpenOrders,
                ),
                (order(false, Some(7)), Answer::Order),
                (order(false, None), Answer::Order),
                (order(true, Some(7)), Answer::Order),
                (order(true, None), Answer::Order),
                (done, Answer::Order),
                (
                    Question::OrdersFrom {
                        symbol: &symbol,
                        number: 7,
                        limit: 1_000,
                    },
                    Answer::Orders,
                ),
            ];
            for (question, answer) in &questions {
                let Some(words) = dialect.ask(kind, question) else {
                    continue;
                };
                let headers: Vec<_> = words
                    .headers
                    .iter()
                    .map(|(name, value)| portcullis_model::wire::Header {
                        name,
                        value: value.as_bytes().into(),
                    })
                    .collect();
                let raw = RawRequest {
                    method: "GET",
                    host: words.host,
                    target: words.target.as_bytes(),
                    headers: &headers,
                    body: &[],
                };
                let actions = catalog
                    .decode(&raw)
                    .unwrap_or_else(|error| panic!("{}: {error}", words.target));
                assert!(actions.list.iter().all(|action| action.kind().is_read()));
                let rule = catalog.endpoint(actions.endpoint).unwrap();
                // Bybit has one call for one order and for many, and another for those that are done.
                let fits = rule.answer == *answer
                    || matches!(
                        (rule.answer, *answer),
                        (Answer::OpenOrders | Answer::Orders, Answer::Order)
                    );
                if let Question::Order { done: true, .. } = question {
                    let apart = words.target.starts_with("/v5/order/history?");
                    assert_eq!(apart, dialect.venue() == "bybit", "{}", words.target);
                }
                assert!(fits, "{}", words.target);
                let service = catalog.service_of(rule).unwrap();
                assert_eq!(service.venue(), dialect.venue());
                asked += 1;
            }
        }
    }
    assert!(asked >= 76, "{asked}");
}
