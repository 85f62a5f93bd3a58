//! The calls of futures, read from `calls.txt`.

use crate::endpoints::{Endpoint, Kind, Param, Security, Weight};
use crate::keys::Right;
use std::sync::LazyLock;

/// All calls under `/fapi` and `/dapi`.
pub static CALLS: LazyLock<Vec<Endpoint>> =
    LazyLock::new(|| include_str!("calls.txt").lines().filter_map(line).collect());

/// The call that places one order, whose parameters those of a batch are.
#[must_use]
pub fn call(method: &str, path: &str) -> Option<&'static Endpoint> {
    crate::endpoints::at(path)?
        .iter()
        .copied()
        .find(|e| e.method == method)
}

fn line(line: &'static str) -> Option<Endpoint> {
    let mut words = line.split(' ');
    let security = match words.next()? {
        "public" => Security::Public,
        "key" => Security::KeyOnly,
        "read" => Security::Signed(Right::Read),
        "futures" => Security::Signed(Right::Futures),
        _ => return None,
    };
    let weight = match words.next()? {
        "depth" => Weight::FuturesDepth,
        "klines" => Weight::Klines,
        word => match word.split_once('/') {
            Some((with, without)) => Weight::Symbol(with.parse().ok()?, without.parse().ok()?),
            None => Weight::Flat(word.parse().ok()?),
        },
    };
    let (orders, minute_orders) = words.next()?.split_once('.')?;
    let (method, path) = (words.next()?, words.next()?);
    let params: Option<Vec<Param>> = words
        .map(|word| {
            let (name, kind) = word.split_once(':')?;
            let must = kind.ends_with('!');
            let kind = match kind.trim_end_matches('!') {
                "symbol" => Kind::Symbol,
                "text" => Kind::Text,
                "decimal" => Kind::Decimal,
                "long" => Kind::Long,
                "int" => Kind::Int,
                "bool" => Kind::Bool,
                "id" => Kind::LongClientId,
                "side" => Kind::Side,
                "interval" => Kind::Interval,
                words => {
                    let words: &'static [&'static str] = Vec::leak(words.split('|').collect());
                    match name {
                        "type" if words.contains(&"STOP") => {
                            Kind::Coded(words, -1116, "Invalid orderType.")
                        }
                        "type" => Kind::Coded(
                            words,
                            -1130,
                            "Data sent for parameter 'type' is not valid.",
                        ),
                        "timeInForce" => Kind::Coded(words, -1115, "Invalid timeInForce."),
                        "positionSide" => Kind::Coded(words, -4060, "Invalid position side."),
                        "newOrderRespType" => {
                            Kind::Coded(words, -1136, "Invalid newOrderRespType.")
                        }
                        "workingType" => {
                            Kind::Coded(words, -4031, "Invalid parameter working type")
                        }
                        "priceMatch" => Kind::Coded(words, -5037, "Invalid price match"),
                        "selfTradePreventionMode" => {
                            Kind::Coded(words, -5039, "Invalid self trade prevention mode")
                        }
                        "contractType" => Kind::Coded(words, -4104, "Invalid contract type"),
                        _ => Kind::Words(words),
                    }
                }
            };
            Some(Param { name, kind, must })
        })
        .collect();
    // Made once and kept for the life of the program, as the other tables are.
    let params: &'static [Param] = Vec::leak(params?);
    Some(Endpoint {
        method,
        path,
        security,
        weight,
        orders: orders.parse().ok()?,
        minute_orders: minute_orders.parse().ok()?,
        params: Vec::leak(vec![params]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_call() {
        let lines = include_str!("calls.txt")
            .lines()
            .filter(|l| !l.starts_with('#') && !l.is_empty());
        let mut count = 0;
        for text in lines {
            // What changes something needs the right, but listen keys, which need a key alone.
            let fits = line(text).is_some_and(|call| {
                call.method == "GET"
                    || call.security == Security::Signed(Right::Futures)
                    || call.path.ends_with("/listenKey")
            });
            assert!(fits, "{text}");
            count += 1;
        }
        assert_eq!(CALLS.len(), count);
        assert!(count > 120, "{count}");
    }
}
