//! The specification says what the code does: numbers, names and codes stand in the pages as they stand here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state what must hold"
)]

use portcullis_model::action::{
    Action, ActionKind, ClientOrderId, Duty, MarketKind, Movement, Scheme, SettingKind, Side,
    Symbol,
};
use portcullis_model::entry::{Body, What};
use portcullis_model::halt::{By, Halt, Level, Scope};
use portcullis_model::id::{AccountId, EntryId, KeyId, Name, StrategyId, Timestamp, VirtualKeyId};
use portcullis_model::mandate::Mandates;
use portcullis_model::number::{Amount, Price, Quantity, Value};
use portcullis_model::refusal::{Class, Refusal, Rule};
use portcullis_model::report::OrderStatus;
use portcullis_model::state::{Effect, OpenOrder, OrderNumber};
use std::fmt::Write as _;

fn page(name: &str) -> String {
    let path = format!("{}/../../docs/spec/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// The cells of each row of the tables in a text.
fn rows(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| {
            let inside = line.strip_prefix('|').unwrap().strip_suffix('|').unwrap();
            inside
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect()
}

#[test]
fn every_kind_of_entry_stands_in_the_page() {
    let rows = rows(&page("entry.md"));
    for what in What::ALL {
        let (number, name) = ((what as u8).to_string(), format!("`{}`", what.name()));
        assert!(
            rows.iter().any(|row| row[0] == number && row[1] == name),
            "{number} {name}"
        );
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// One of each, in the order of their numbers. The match stops compiling when there is a new one.
fn effects() -> Vec<Effect> {
    let number = OrderNumber {
        entry: EntryId(1),
        leg: 0,
    };
    let order = OpenOrder {
        strategy: StrategyId(2),
        account: AccountId(1),
        symbol: "BTCUSDT".into(),
        side: Side::Buy,
        quantity: Quantity(1),
        client_order_id: None,
        list_client_order_id: None,
        order_id: None,
        list_id: None,
        executed: Quantity::ZERO,
        executed_quote: Amount::ZERO,
        status: OrderStatus::Unknown,
        alternative: false,
        base: None,
        quote: None,
        price: None,
        market: MarketKind::Spot,
        position_side: None,
        contract: None,
        settle: None,
        reduces: false,
        algo: false,
        became: None,
        most: None,
    };
    let halt = Halt {
        scope: Scope::Firm,
        level: Level::Freeze,
        since: Timestamp(1),
        reason: String::new(),
        by: By::Rule("r".to_owned()),
    };
    let strategy = StrategyId(2);
    let account = AccountId(1);
    let all = vec![
        Effect::SiteCreated { name: name("s") },
        Effect::AccountAdded {
            name: name("a"),
            venue: name("binance"),
        },
        Effect::KeyAdded {
            account,
            duty: Duty::Read,
            scheme: Scheme::Ed25519,
            api_key: String::new(),
            sealed: String::new(),
        },
        Effect::KeyRemoved { key: KeyId(1) },
        Effect::StrategyAdded {
            name: name("s"),
            desk: None,
            observe: false,
        },
        Effect::StrategyMode {
            strategy,
            observe: true,
        },
        Effect::StrategyRevoked { strategy },
        Effect::VirtualKeyIssued {
            strategy,
            account,
            scheme: Scheme::HmacSha256,
            api_key: String::new(),
            public_key: Vec::new().into(),
            expires: Timestamp(9),
            sources: Vec::new(),
            canary: false,
        },
        Effect::VirtualKeyRevoked {
            id: VirtualKeyId(3),
        },
        Effect::Released {
            hash: vec![0; 32].into(),
        },
        Effect::Halted(halt),
        Effect::Resumed {
            scope: Scope::Firm,
            level: None,
        },
        Effect::Spent {
            strategy,
            account,
            tats: [0; 4],
            reserved: false,
            weight: 1,
            turnover: Value(1),
            repeats: Vec::new(),
        },
        Effect::Reserved { leg: 0, order },
        Effect::Progress {
            order: number,
            executed: Quantity(1),
            quote: Amount(1),
            order_id: None,
            list_id: None,
            status: OrderStatus::Open,
            quantity: None,
            became: None,
        },
        Effect::Price {
            symbol: "BTCUSDT".into(),
            price: Price(1),
            market: MarketKind::Spot,
            venue: None,
        },
        Effect::Day { day: 1 },
        Effect::Counted { order: number },
        Effect::Renamed {
            order: number,
            client_order_id: ClientOrderId::from("b"),
        },
        Effect::Seen { mark: [7; 16] },
        Effect::Jumped { by_us: None },
        Effect::Traded {
            order: number,
            trade: 1.into(),
            quantity: Quantity(1),
            quote: Amount(1),
            fee: Amount(1),
            fee_asset: "BNB".into(),
        },
        Effect::Rearmed { scope: Scope::Firm },
        Effect::Amending {
            leg: 0,
            order: number,
            quantity: Quantity(2),
            price: Some(Price(1)),
        },
        Effect::Amended {
            by: number,
            order: number,
            quantity: Quantity(2),
            price: Some(Price(1)),
        },
    ];
    for effect in &all {
        match effect {
            Effect::SiteCreated { .. }
            | Effect::AccountAdded { .. }
            | Effect::KeyAdded { .. }
            | Effect::KeyRemoved { .. }
            | Effect::StrategyAdded { .. }
            | Effect::StrategyMode { .. }
            | Effect::StrategyRevoked { .. }
            | Effect::VirtualKeyIssued { .. }
            | Effect::VirtualKeyRevoked { .. }
            | Effect::Released { .. }
            | Effect::Halted(_)
            | Effect::Resumed { .. }
            | Effect::Spent { .. }
            | Effect::Reserved { .. }
            | Effect::Progress { .. }
            | Effect::Price { .. }
            | Effect::Day { .. }
            | Effect::Counted { .. }
            | Effect::Renamed { .. }
            | Effect::Seen { .. }
            | Effect::Jumped { .. }
            | Effect::Traded { .. }
            | Effect::Rearmed { .. }
            | Effect::Amending { .. }
            | Effect::Amended { .. } => {}
        }
    }
    all
}

#[test]
fn every_effect_stands_in_the_page_under_its_number_with_its_fields() {
    let rows = rows(&page("entry.md"));
    for (number, effect) in (0u64..).zip(effects()) {
        let bytes = minicbor::to_vec(&effect).unwrap();
        let mut decoder = minicbor::Decoder::new(&bytes);
        assert_eq!(decoder.array().unwrap(), Some(2), "{effect:?}");
        assert_eq!(decoder.u64().unwrap(), number, "{effect:?}");
        let json = serde_json::to_value(&effect).unwrap();
        let word = format!("`{}`", json["effect"].as_str().unwrap());
        let row = rows
            .iter()
            .find(|row| row[0] == number.to_string() && row[1] == word)
            .unwrap_or_else(|| panic!("{number} {word}"));
        // What a halt holds stands inside it.
        if word == "`halted`" {
            continue;
        }
        let named: Vec<&str> = row[2]
            .split(", ")
            .filter_map(|field| field.split([' ', '?']).next())
            .collect();
        for field in json.as_object().unwrap().keys() {
            assert!(
                field == "effect" || named.contains(&field.as_str()),
                "{word} {field}"
            );
        }
    }
}

#[test]
fn the_example_is_the_entry_that_the_page_says() {
    let mut body = Body::new(What::Day, Timestamp(1_790_000_000_000_000));
    body.private.effects = vec![Effect::Day { day: 20_717 }];
    let mut entry = body.to_entry();
    entry.header.term = 1;
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, b| {
            let _ = write!(text, "{b:02x}");
            text
        })
    };
    let page: String = page("entry.md").split_whitespace().collect();
    let whole = hex(&entry.encode_whole().unwrap());
    let leaf = hex(&entry.leaf(EntryId(5), &[0; 32]));
    assert!(
        page.contains(&format!("entry{whole}leaf{leaf}")),
        "entry {whole}\nleaf {leaf}"
    );
}

/// One of each, in the order of their numbers. The match stops compiling when there is a new one.
fn refusals() -> Vec<Refusal> {
    let rule = || Rule("firm".to_owned());
    let symbol = || Symbol::from("BTCUSDT");
    let kind = ActionKind::PlaceOrder;
    let (price, quantity, value) = (Price(1), Quantity(2), Value(3));
    let (limit, asked, per_us) = (1, 2, 3);
    let all = vec![
        Refusal::Halted {
            scope: Scope::Firm,
            level: Level::Lock,
            since: Timestamp(1),
        },
        Refusal::NoPermit { kind },
        Refusal::Forbidden {
            kind,
            policy: "p".to_owned(),
        },
        Refusal::UnknownMarket { symbol: symbol() },
        Refusal::MarketNotMandated {
            rule: rule(),
            symbol: symbol(),
        },
        Refusal::PriceBelowFloor {
            rule: rule(),
            limit: price,
            asked: price,
        },
        Refusal::PriceAboveCeiling {
            rule: rule(),
            limit: price,
            asked: price,
        },
        Refusal::QuantityAboveCap {
            rule: rule(),
            limit: quantity,
            asked: quantity,
        },
        Refusal::OrderValueAboveLimit {
            rule: rule(),
            limit: value,
            asked: value,
        },
        Refusal::PriceOutsideTolerance {
            rule: rule(),
            limit: price,
            asked: price,
            reference: price,
        },
        Refusal::NoFreshPrice { symbol: symbol() },
        Refusal::SizeUnknown { symbol: symbol() },
        Refusal::MessageRate {
            rule: rule(),
            limit,
            per_us,
        },
        Refusal::Repeated {
            rule: rule(),
            limit,
            per_us,
        },
        Refusal::TurnoverAboveLimit {
            rule: rule(),
            limit: value,
            used: value,
            asked: value,
        },
        Refusal::OpenOrdersAboveLimit {
            rule: rule(),
            limit,
            asked,
        },
        Refusal::PositionAboveLimit {
            rule: rule(),
            limit: value,
            asked: value,
        },
        Refusal::LossAboveLimit {
            rule: rule(),
            limit: value,
            lost: value,
        },
        Refusal::VenueWeightAboveLimit {
            rule: rule(),
            limit,
            asked,
        },
        Refusal::ValueOut { kind },
        Refusal::NotYourOrder { symbol: symbol() },
        Refusal::CancelAllOnSharedAccount,
        Refusal::NoKey { duty: Duty::Trade },
        Refusal::LogSpace,
        Refusal::LogBehind { unsynced_us: 1 },
        Refusal::Overflow,
        Refusal::NoRelease,
        Refusal::StrategyRevoked,
        Refusal::ClientIdTaken {
            id: ClientOrderId::from("a"),
        },
        Refusal::OneKeyForAll,
        Refusal::SettingNotMandated {
            rule: rule(),
            setting: SettingKind::Leverage,
            limit: "10".to_owned(),
            asked: "20".to_owned(),
        },
        Refusal::DeadManOfGate,
    ];
    for refusal in &all {
        match refusal {
            Refusal::Halted { .. }
            | Refusal::NoPermit { .. }
            | Refusal::Forbidden { .. }
            | Refusal::UnknownMarket { .. }
            | Refusal::MarketNotMandated { .. }
            | Refusal::PriceBelowFloor { .. }
            | Refusal::PriceAboveCeiling { .. }
            | Refusal::QuantityAboveCap { .. }
            | Refusal::OrderValueAboveLimit { .. }
            | Refusal::PriceOutsideTolerance { .. }
            | Refusal::NoFreshPrice { .. }
            | Refusal::SizeUnknown { .. }
            | Refusal::MessageRate { .. }
            | Refusal::Repeated { .. }
            | Refusal::TurnoverAboveLimit { .. }
            | Refusal::OpenOrdersAboveLimit { .. }
            | Refusal::PositionAboveLimit { .. }
            | Refusal::LossAboveLimit { .. }
            | Refusal::VenueWeightAboveLimit { .. }
            | Refusal::ValueOut { .. }
            | Refusal::NotYourOrder { .. }
            | Refusal::CancelAllOnSharedAccount
            | Refusal::NoKey { .. }
            | Refusal::LogSpace
            | Refusal::LogBehind { .. }
            | Refusal::Overflow
            | Refusal::NoRelease
            | Refusal::StrategyRevoked
            | Refusal::ClientIdTaken { .. }
            | Refusal::OneKeyForAll
            | Refusal::SettingNotMandated { .. }
            | Refusal::DeadManOfGate => {}
        }
    }
    all
}

#[test]
fn every_refusal_stands_in_the_page_with_its_number_class_and_figures() {
    let page = page("refusals.md");
    let (_, decided) = page.split_once("## What was decided").unwrap();
    let (decided, _) = decided.split_once("\n## ").unwrap();
    let rows = rows(decided);
    let all = refusals();
    for (number, refusal) in all.iter().enumerate() {
        let json = serde_json::to_value(refusal).unwrap();
        assert_eq!(json["refusal"], refusal.code(), "one name everywhere");
        let bytes = minicbor::to_vec(refusal).unwrap();
        let mut decoder = minicbor::Decoder::new(&bytes);
        assert_eq!(decoder.array().unwrap(), Some(2), "{refusal:?}");
        assert_eq!(decoder.u64().unwrap(), number as u64, "{refusal:?}");
        let code = format!("`{}`", refusal.code());
        let row = rows
            .iter()
            .find(|row| row[1] == code)
            .unwrap_or_else(|| panic!("{number} {code}"));
        assert_eq!(row[0], number.to_string(), "{code}");
        assert_eq!(row[2], format!("{:?}", refusal.class()), "{code}");
        for field in json.as_object().unwrap().keys() {
            let named = row[3].split(", ").any(|named| named == field);
            assert!(field == "refusal" || named, "{code} {field}");
        }
        // A limit is never taken for a failed log-in.
        let taken = matches!(refusal.class(), Class::OrderLimit | Class::RateLimited);
        assert!(!code.contains("-above-") || taken, "{refusal:?}");
        let words = refusal.to_string();
        assert!(!words.is_empty() && !words.ends_with('.'), "{words}");
    }
    assert_eq!(rows.len(), all.len() + 2, "no row without a refusal");
}

#[test]
fn every_number_of_a_mandate_stands_in_the_page_and_its_example_loads() {
    let page = page("mandate.md");
    let (_, after) = page.split_once("```toml\n").unwrap();
    let (example, _) = after.split_once("```").unwrap();
    let mandates = Mandates::parse(example).unwrap();
    assert_eq!(mandates.unlimited(), ["turnover_7d", "turnover_30d"]);
    // The reader names its keys when it refuses another one.
    let error = Mandates::parse("[firm]\nnonsense = \"1\"")
        .unwrap_err()
        .to_string();
    let (_, expected) = error.split_once("expected one of").unwrap();
    let keys: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    assert!(keys.len() >= 15, "{keys:?}");
    for key in keys {
        let stands = page.contains(&format!("`{key}`")) || key == "markets";
        assert!(stands, "{key}");
    }
    for refusal in refusals() {
        let of_a_number = format!("{refusal:?}").contains("Rule(");
        let stands = page.contains(&format!("`{}`", refusal.code()));
        assert!(!of_a_number || stands, "{}", refusal.code());
    }
}

#[test]
fn what_moves_value_is_listed() {
    let page = page("mandate.md");
    let (_, section) = page.split_once("## Value that moves").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let movement = Movement::default;
    for action in [
        Action::Convert(movement()),
        Action::Borrow(movement()),
        Action::Repay(movement()),
        Action::Invest(movement()),
        Action::TransferInside(movement()),
        Action::TransferOwn(movement()),
        Action::TransferOut(movement()),
        Action::Withdraw(movement()),
        Action::Rfq(movement()),
    ] {
        let word = format!("`{}`", action.kind());
        assert!(section.contains(&word), "{word}");
    }
}
