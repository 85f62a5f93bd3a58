//! The calls beside spot trading, read from `sapi.txt`.

use crate::endpoints::{Endpoint, Kind, Param, Security, Weight};
use crate::keys::Right;
use std::sync::LazyLock;

/// All calls under `/sapi`. What is not named among their parameters is ignored there, as at the real venue.
pub static SAPI: LazyLock<Vec<Endpoint>> =
    LazyLock::new(|| include_str!("sapi.txt").lines().filter_map(line).collect());

fn line(line: &'static str) -> Option<Endpoint> {
    let mut words = line.split(' ');
    let security = match words.next()? {
        "public" => Security::Public,
        "key" => Security::KeyOnly,
        "read" => Security::Signed(Right::Read),
        "trade" => Security::Signed(Right::Trade),
        "margin" => Security::Signed(Right::Margin),
        "withdraw" => Security::Signed(Right::Withdraw),
        "universal" => Security::Signed(Right::UniversalTransfer),
        "internal" => Security::Signed(Right::InternalTransfer),
        "invest" => Security::Signed(Right::Invest),
        "admin" => Security::Signed(Right::Admin),
        _ => return None,
    };
    let weight = words.next()?;
    let weight = match weight.strip_suffix('u') {
        Some(number) => Weight::Account(number.parse().ok()?),
        None => Weight::Flat(weight.parse().ok()?),
    };
    let (method, path) = (words.next()?, words.next()?);
    let params: Option<Vec<Param>> = words
        .map(|word| {
            let (name, kind) = word.split_once(':')?;
            let must = kind.ends_with('!');
            let kind = match kind.trim_end_matches('!') {
                "text" => Kind::Text,
                "decimal" => Kind::Decimal,
                "long" => Kind::Long,
                _ => return None,
            };
            Some(Param { name, kind, must })
        })
        .collect();
    // Made once and kept for the life of the program, as the other table is.
    let params: &'static [Param] = Vec::leak(params?);
    Some(Endpoint {
        method,
        path,
        security,
        weight,
        orders: 0,
        minute_orders: 0,
        params: Vec::leak(vec![params]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_call() {
        let lines = include_str!("sapi.txt")
            .lines()
            .filter(|l| !l.starts_with('#') && !l.is_empty());
        let mut count = 0;
        for text in lines {
            assert!(line(text).is_some(), "{text}");
            count += 1;
        }
        assert_eq!(SAPI.len(), count);
        assert!(count > 150, "{count}");
    }
}
