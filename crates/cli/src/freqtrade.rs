//! `strategy add --from-freqtrade`: what a Freqtrade configuration says of a bot, as a mandate and as the file that sends it
//! through the gate (`freqtrade trade -c config.json -c portcullis-NAME.json`; later files win, key by key).
//!
//! Source: Freqtrade, "Configuration" and "Exchange-specific notes" (`exchange.ccxt_config`); CCXT's `urls.api` by exchange.

use crate::fail::Fail;
use crate::site::{self, Site};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A configuration at most.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Room above the stake for rounding to the market's step, and for a price that moved in between.
const ROOM_PERCENT: u128 = 110;

#[derive(Debug, Deserialize)]
struct Config {
    exchange: Exchange,
    stake_currency: String,
    stake_amount: Value,
    #[serde(default)]
    max_open_trades: Value,
    #[serde(default)]
    trading_mode: Option<String>,
    #[serde(default)]
    margin_mode: Option<String>,
    #[serde(default)]
    position_adjustment_enable: bool,
    #[serde(default)]
    pairlists: Vec<Pairlist>,
}

#[derive(Debug, Deserialize)]
struct Exchange {
    name: String,
    #[serde(default)]
    pair_whitelist: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Pairlist {
    method: String,
}

/// A bot as its configuration has it.
#[derive(Debug)]
pub struct Bot {
    config: Config,
    pub venue: &'static str,
    is_futures: bool,
}

impl Bot {
    pub fn read(file: &Path) -> Result<Self, Fail> {
        let text = site::read_text(file, CONFIG_BYTES_MAX)?;
        Self::parse(&text).map_err(|why| {
            Fail::refused(format!("{}: {why}", file.display()))
                .hint("it is read as plain JSON: take comments and trailing commas out; `freqtrade show-config` prints it so")
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Config = serde_json::from_str(text).map_err(|why| why.to_string())?;
        let is_futures = match config.trading_mode.as_deref() {
            None | Some("spot") => false,
            Some("futures") => true,
            Some(other) => return Err(format!("trading_mode `{other}` is not known here")),
        };
        let venue = match config.exchange.name.as_str() {
            "binance" | "binanceusdm" => "binance",
            "bybit" => "bybit",
            "okx" | "myokx" => "okx",
            other => return Err(format!("exchange `{other}` has no catalog here")),
        };
        Ok(Self {
            config,
            venue,
            is_futures,
        })
    }

    /// The venue host that it trades on.
    #[must_use]
    pub fn host(&self) -> &'static str {
        match (self.venue, self.is_futures) {
            ("binance", true) => "fapi.binance.com",
            ("binance", false) => "api.binance.com",
            ("bybit", _) => "api.bybit.com",
            _ => "www.okx.com",
        }
    }

    /// Its markets as a mandate names them: the listed ones, or every one quoted in its stake currency if a plugin chooses.
    fn markets(&self) -> Result<BTreeSet<String>, Fail> {
        let kind = if self.is_futures { "usd_futures:" } else { "" };
        let chooses = self
            .config
            .pairlists
            .iter()
            .any(|list| list.method != "StaticPairList" && !list.method.ends_with("Filter"));
        let mut pairs = self.config.exchange.pair_whitelist.clone();
        if chooses || pairs.is_empty() {
            pairs.push(format!(".*/{}", self.config.stake_currency));
        }
        pairs
            .iter()
            .map(|pair| {
                let symbol = self.symbol(pair).ok_or_else(|| {
                    Fail::refused(format!("pair `{pair}` cannot be written as a pattern"))
                        .hint("use whole pairs, or `.*` for any run of characters, in exchange.pair_whitelist")
                })?;
                Ok(format!("{kind}{symbol}"))
            })
            .collect()
    }

    /// `BTC/USDT`, `BTC/USDT:USDT` or `.*/USDT` in the venue's words.
    fn symbol(&self, pair: &str) -> Option<String> {
        let (base, rest) = pair.split_once('/')?;
        let quote = rest.split_once(':').map_or(rest, |(quote, _)| quote);
        let part = |text: &str| -> Option<String> {
            let text = text.replace(".*", "*");
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '*';
            (!text.is_empty() && text.chars().all(plain)).then_some(text)
        };
        let (base, quote) = (part(base)?, part(quote)?);
        Some(match (self.venue, self.is_futures) {
            ("okx", true) => format!("{base}-{quote}-SWAP"),
            ("okx", false) => format!("{base}-{quote}"),
            _ => format!("{base}{quote}"),
        })
    }

    /// The stake in millionths, if it is a number.
    fn stake(&self) -> Option<u128> {
        let text = match &self.config.stake_amount {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => return None,
        };
        let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
        let digits = |t: &str| t.len() <= 12 && t.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(decimals) {
            return None;
        }
        let micros = format!("{decimals:0<6}").get(..6)?.parse::<u128>().ok()?;
        Some(whole.parse::<u128>().ok()? * 1_000_000 + micros).filter(|stake| *stake > 0)
    }

    fn trades(&self) -> Option<u64> {
        self.config
            .max_open_trades
            .as_u64()
            .filter(|trades| (1..=1_000).contains(trades))
    }

    /// The margin mode of its futures in the venue's words.
    fn margin_mode(&self) -> Option<&'static str> {
        Some(match (self.venue, self.config.margin_mode.as_deref()?) {
            ("binance", "isolated") => "ISOLATED",
            ("binance", "cross") => "CROSSED",
            ("bybit", "isolated") => "ISOLATED_MARGIN",
            ("bybit", "cross") => "REGULAR_MARGIN",
            ("okx", "isolated") => "isolated",
            ("okx", "cross") => "cross",
            _ => return None,
        })
    }

    /// The section of `mandates.toml`. What the configuration leaves open is the firm's to say.
    pub fn mandate(&self, strategy: &str) -> Result<String, Fail> {
        let mut text = format!("\n# From a Freqtrade configuration.\n[strategy.{strategy}]\n");
        match self.stake() {
            Some(stake) => {
                let value = amount(stake * ROOM_PERCENT / 100);
                let _ = writeln!(
                    text,
                    "order_value = \"{value}\" # stake_amount {} {}, and a tenth",
                    self.config.stake_amount, self.config.stake_currency
                );
                if !self.config.position_adjustment_enable && !self.is_futures {
                    let _ = writeln!(text, "position = \"{value}\" # one trade a pair");
                }
            }
            None => text.push_str("# stake_amount is no figure: order_value is the firm's\n"),
        }
        match self.trades() {
            // An entry or an exit, a stop at the venue, and one that is being replaced.
            Some(trades) => {
                let _ = writeln!(
                    text,
                    "open_orders = \"{}\" # three for each of {trades} trades",
                    trades * 3
                );
            }
            None => text.push_str("# max_open_trades is no figure: open_orders is the firm's\n"),
        }
        if self.is_futures {
            // A strategy may ask for more, which is in no configuration.
            text.push_str("leverage = \"1\" # as the strategy's leverage(); order_value is stake times that\n");
            if let Some(mode) = self.margin_mode() {
                let _ = writeln!(text, "margin_mode = [\"{mode}\"]");
            }
            if self.venue == "bybit" {
                text.push_str("position_mode = \"yes\" # it asks for one-way at its start\n");
            }
        }
        for market in self.markets()? {
            let _ = writeln!(text, "\n[strategy.{strategy}.markets.\"{market}\"]");
        }
        Ok(text)
    }

    /// What Freqtrade reads after its own configuration.
    pub fn overrides(&self, url: &str, api_key: &str, secret: &str) -> Value {
        let api = match (self.venue, self.is_futures) {
            ("binance", true) => json!({
                "fapiPublic": format!("{url}/fapi/v1"), "fapiPublicV2": format!("{url}/fapi/v2"),
                "fapiPublicV3": format!("{url}/fapi/v3"), "fapiPrivate": format!("{url}/fapi/v1"),
                "fapiPrivateV2": format!("{url}/fapi/v2"), "fapiPrivateV3": format!("{url}/fapi/v3"),
                "fapiData": format!("{url}/futures/data"),
            }),
            ("binance", false) => json!({
                "public": format!("{url}/api/v3"), "private": format!("{url}/api/v3"),
                "v1": format!("{url}/api/v1"), "sapi": format!("{url}/sapi/v1"),
                "sapiV2": format!("{url}/sapi/v2"), "sapiV3": format!("{url}/sapi/v3"),
                "sapiV4": format!("{url}/sapi/v4"),
            }),
            ("bybit", _) => json!({
                "spot": url, "futures": url, "v2": url, "public": url, "private": url,
            }),
            _ => json!({ "rest": url }),
        };
        let types = match (self.venue, self.is_futures) {
            ("okx", true) => "swap",
            (_, true) => "linear",
            (_, false) => "spot",
        };
        // Without these CCXT asks hosts that this bot does not need.
        let mut options = json!({ "fetchMarkets": { "types": [types] } });
        if self.venue == "binance" && self.is_futures {
            options["fetchCurrencies"] = json!(false);
        }
        let ccxt = json!({ "urls": { "api": api }, "options": options });
        let mut exchange = json!({
            "key": api_key, "secret": secret, "ccxt_config": ccxt,
            // Its streams are the venue's own: not through this gate.
            "enable_ws": false,
        });
        if self.venue == "okx" {
            // The venue's clients want one; the gate takes any.
            exchange["password"] = json!("portcullis");
        }
        json!({ "exchange": exchange })
    }
}

/// Millionths as a decimal.
fn amount(micros: u128) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Where programs of a host knock.
pub fn url(site: &Site, venue: &str, host: &str) -> Result<String, Fail> {
    let listener = site
        .settings
        .listener
        .iter()
        .find(|l| l.venue == venue && l.host == host)
        .ok_or_else(|| {
            Fail::refused(format!("site.toml has no listener for `{host}`")).hint(format!(
                "`portcullis account add NAME --venue {venue} --host {host}` adds one"
            ))
        })?;
    if listener.bind.port() == 0 {
        return Err(
            Fail::refused(format!("the listener for `{host}` takes any free port"))
                .hint("give it a port in site.toml, so that the bot finds it again"),
        );
    }
    let scheme = if listener.tls_chain.is_some() {
        "https"
    } else {
        "http"
    };
    Ok(format!("{scheme}://{}", listener.bind))
}

/// Where the file goes: beside the configuration.
pub fn place(config: &Path, strategy: &str) -> PathBuf {
    config.with_file_name(format!("portcullis-{strategy}.json"))
}

/// Writes a new file that its owner alone reads: it holds the virtual key's secret.
pub fn write(place: &Path, value: &Value) -> Result<(), Fail> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(place)
        .and_then(|mut file| writeln!(file, "{value:#}"))
        .map_err(|why| Fail::at(place, &why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(text: &str) -> Bot {
        Bot::parse(text).unwrap()
    }

    #[test]
    fn a_spot_bot_of_listed_pairs() {
        let bot = bot(
            r#"{"exchange":{"name":"binance","pair_whitelist":["BTC/USDT","ETH/USDT"],"key":"x"},
                "stake_currency":"USDT","stake_amount":100.5,"max_open_trades":3,
                "pairlists":[{"method":"StaticPairList"},{"method":"SpreadFilter"}]}"#,
        );
        let text = bot.mandate("my-bot").unwrap();
        assert!(text.contains("order_value = \"110.55\""), "{text}");
        assert!(text.contains("position = \"110.55\""), "{text}");
        assert!(text.contains("open_orders = \"9\""), "{text}");
        assert!(
            text.contains("[strategy.my-bot.markets.\"BTCUSDT\"]"),
            "{text}"
        );
        assert!(!text.contains('*'), "{text}");
        let value = bot.overrides("http://127.0.0.1:7001", "K", "S");
        assert_eq!(
            value["exchange"]["ccxt_config"]["urls"]["api"]["private"],
            "http://127.0.0.1:7001/api/v3"
        );
        assert_eq!((bot.venue, bot.host()), ("binance", "api.binance.com"));
    }

    #[test]
    fn pairs_that_a_plugin_chooses_become_a_pattern() {
        for (exchange, mode, pattern) in [
            ("binance", "spot", "*USDT"),
            ("binance", "futures", "usd_futures:*USDT"),
            ("bybit", "futures", "usd_futures:*USDT"),
            ("okx", "spot", "*-USDT"),
            ("okx", "futures", "usd_futures:*-USDT-SWAP"),
        ] {
            let bot = bot(&format!(
                r#"{{"exchange":{{"name":"{exchange}"}},"stake_currency":"USDT","stake_amount":"unlimited",
                    "max_open_trades":-1,"trading_mode":"{mode}","pairlists":[{{"method":"VolumePairList"}}]}}"#
            ));
            let text = bot.mandate("b").unwrap();
            assert!(
                text.contains(&format!("[strategy.b.markets.\"{pattern}\"]")),
                "{text}"
            );
            assert!(!text.contains("order_value ="), "{text}");
            assert_eq!(text.contains("leverage = "), mode == "futures", "{text}");
        }
    }

    #[test]
    fn what_futures_set_is_mandated() {
        for (exchange, mode, words) in [
            ("binance", "isolated", "ISOLATED"),
            ("binance", "cross", "CROSSED"),
            ("bybit", "isolated", "ISOLATED_MARGIN"),
            ("okx", "isolated", "isolated"),
        ] {
            let bot = bot(&format!(
                r#"{{"exchange":{{"name":"{exchange}"}},"stake_currency":"USDT","stake_amount":100,
                    "trading_mode":"futures","margin_mode":"{mode}"}}"#
            ));
            let text = bot.mandate("b").unwrap();
            assert!(
                text.contains(&format!("margin_mode = [\"{words}\"]")),
                "{text}"
            );
            assert!(text.contains("leverage = \"1\""), "{text}");
            assert_eq!(
                text.contains("position_mode"),
                exchange == "bybit",
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "{}",
            "// c\n{}",
            r#"{"exchange":{"name":"mtgox"},"stake_currency":"USDT","stake_amount":1}"#,
            r#"{"exchange":{"name":"okx"},"stake_currency":"USDT","stake_amount":1,"trading_mode":"margin"}"#,
        ] {
            assert!(Bot::parse(text).is_err(), "{text}");
        }
        let bot = bot(
            r#"{"exchange":{"name":"binance","pair_whitelist":["(BTC|ETH)/USDT"]},"stake_currency":"USDT","stake_amount":1}"#,
        );
        assert!(bot.mandate("b").is_err());
        for amount in ["0", "-5", "\"\"", "null"] {
            let text = format!(
                r#"{{"exchange":{{"name":"binance"}},"stake_currency":"USDT","stake_amount":{amount}}}"#
            );
            assert_eq!(Bot::parse(&text).map(|b| b.stake()), Ok(None), "{amount}");
        }
    }
}
