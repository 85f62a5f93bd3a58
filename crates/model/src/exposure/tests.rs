use super::*;
use crate::action::ActionKind;
use crate::release::{Authority, Files, Judgement};
use crate::table;

const FIRM: &str = r#"
[firm]
order_value = "50000"
price_tolerance = "5%"
price_age = "10s"
message_rate = "50/1s"
reserved_message_rate = "20/1s"
repeat = "20/1s"
turnover_1h = "100000"
turnover_1d = "1000000"
turnover_7d = "unlimited"
turnover_30d = "unlimited"
open_orders = "200"
position = "50000"
loss = "10000"
venue_weight = "3000"
[firm.markets."BTC*"]
floor = "1000"
ceiling = "500000"
"#;

struct All;
impl Authority for All {
    fn judge(&self, _: StrategyId, _: ActionKind, _: AccountId, _: &table::Facts<'_>) -> Judgement {
        Judgement::NoPermit
    }
}

fn release(mandates: &str, values: &str) -> Release {
    let market = |base: &str, quote: &str| {
        format!(r#"{{"symbol":"{base}{quote}","base":"{base}","quote":"{quote}"}}"#)
    };
    let markets = [
        market("BTC", "USDT"),
        market("BTC", "USDC"),
        market("ETH", "USDT"),
    ]
    .join(",");
    let files: Files = [
        ("authority.cedar", String::new()),
        ("mandates.toml", mandates.to_owned()),
        (
            "values.toml",
            format!("currency = \"USD\"\nequal = [\"USDT\", \"USDC\"]\n{values}"),
        ),
        ("hosts.toml", String::new()),
        ("markets/binance.json", format!("[{markets}]")),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into();
    Release::load(&files, Box::new(All)).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// `desk` and `accounts`: names with blanks between.
fn of(extra: &str, desk: &str, accounts: &str, observe: bool) -> Exposure {
    let release = release(&format!("{FIRM}{extra}"), "fee = \"0.1%\"\n");
    let accounts: Vec<Name> = accounts.split(' ').map(name).collect();
    let desk = name(desk);
    let who = Who {
        strategy: &name("quoter"),
        desk: Some(&desk),
        accounts: &accounts,
        observe,
        unpriced: false,
    };
    exposure(&release, &who)
}

/// `1h 150000 7650 | …`: window, turnover, pay away.
fn say(exposure: &Exposure) -> String {
    let windows: Vec<String> = exposure
        .windows
        .iter()
        .map(|w| format!("{} {} {}", w.window, w.turnover, w.pay_away))
        .collect();
    format!("{} | market {}", windows.join(" | "), exposure.market)
}

#[test]
fn pay_away_is_turnover_and_what_may_be_reduced_times_error_and_fee() {
    let found = of("", "none", "main", false);
    // One base asset in two markets. 5% and 0.1% of 100,000 and the 50,000 that may be sold after it.
    assert_eq!(
        say(&found),
        "1h 150000 7650 | 1d 1050000 53550 | 7d 8050000 410550 | 30d 31050000 1583550 | market 50000"
    );
    assert_eq!((found.bases, found.price_error_ppm), (1, 50_000));
    assert_eq!(found.widest_market, Some("BTCUSDC".into()));
    assert_eq!(found.unpriced, Bound::At(Value::ZERO));
}

#[test]
fn the_tightest_level_and_the_tightest_window_hold() {
    let found = of(
        "[strategy.quoter]\nturnover_1h = \"1000\"\nposition = \"0\"\n",
        "none",
        "main",
        false,
    );
    assert_eq!(
        say(&found),
        "1h 1000 51 | 1d 25000 1275 | 7d 169000 8619 | 30d 721000 36771 | market 0"
    );
    let found = of(
        "[desk.mm]\nposition = \"10\"\n[desk.other]\nposition = \"1\"\n",
        "mm",
        "main",
        false,
    );
    assert_eq!(found.market.to_string(), "10");
    let found = of(
        "[account.main]\nturnover_1h = \"7\"\nposition = \"0\"\n",
        "mm",
        "main",
        false,
    );
    assert_eq!(found.windows[0].turnover.to_string(), "7");
}

#[test]
fn each_account_adds_its_own_room() {
    let own = "[strategy.quoter]\nposition = \"0\"\n[account.main]\nturnover_1h = \"7\"\n";
    let second = "[account.second]\nturnover_1h = \"8\"\n";
    let found = of(&format!("{own}{second}"), "mm", "main second", false);
    assert_eq!(found.windows[0].turnover.to_string(), "15");
    let found = of(own, "mm", "main second", false);
    assert_eq!(found.windows[0].turnover.to_string(), "100000");
}

#[test]
fn floor_and_ceiling_bound_the_error_where_the_tolerance_does_not() {
    for (tolerance, floor, ceiling, expected) in [
        ("5%", "1000", "500000", 50_000),
        ("unlimited", "90000", "100000", 100_001),
        ("unlimited", "100000", "100000", 0),
        ("unlimited", "1", "500000", 999_999),
        ("0.5%", "90000", "100000", 5_000),
    ] {
        let text = FIRM.replace("\"5%\"", &format!("\"{tolerance}\"")).replace(
            "\"1000\"\nceiling = \"500000\"",
            &format!("\"{floor}\"\nceiling = \"{ceiling}\""),
        );
        let strategy = name("quoter");
        let who = Who {
            strategy: &strategy,
            desk: None,
            accounts: &[],
            observe: false,
            unpriced: true,
        };
        let found = exposure(&release(&text, ""), &who);
        assert_eq!(
            found.price_error_ppm, expected,
            "{tolerance} {floor} {ceiling}"
        );
        assert_eq!((found.fee_ppm, found.unpriced), (None, Bound::Unbounded));
    }
    assert_eq!(percent(50_001), "5.0001%");
}

#[test]
fn what_has_no_bound_says_so() {
    let all = say(&of("", "mm", "main", true));
    assert_eq!(
        all,
        "1h unbounded unbounded | 1d unbounded unbounded | 7d unbounded unbounded | 30d unbounded unbounded | market unbounded"
    );
    let text = FIRM.replace("position = \"50000\"", "position = \"unlimited\"");
    let strategy = name("quoter");
    let who = Who {
        strategy: &strategy,
        desk: None,
        accounts: &[],
        observe: false,
        unpriced: false,
    };
    let found = exposure(&release(&text, ""), &who);
    assert_eq!(found.market, Bound::Unbounded);
    assert_eq!(found.windows[0].pay_away, Bound::Unbounded);
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["windows"][0]["pay_away"], "unbounded");
    // A mandate that names no market of the release lets nothing be traded.
    let text = text.replace("BTC*", "XRP*");
    assert_eq!(
        exposure(&release(&text, ""), &who).market,
        Bound::At(Value::ZERO)
    );
}

#[test]
fn a_fee_that_cannot_be_read_says_what_to_write() {
    let files: Files = [
        ("authority.cedar", String::new()),
        ("mandates.toml", FIRM.to_owned()),
        (
            "values.toml",
            "currency = \"USD\"\nfee = \"0.001\"".to_owned(),
        ),
        ("hosts.toml", String::new()),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into();
    let error = Release::load(&files, Box::new(All))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("values.toml: `fee` = \"0.001\"") && error.contains("5%"),
        "{error}"
    );
}
