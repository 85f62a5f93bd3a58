//! `/sapi`: what moves value beside trading, and what clients ask besides.
//!
//! Withdrawals, transfers, conversions, loans, earn, sub-accounts and keys really change balances and keys, and each leaves
//! an effect that the control API lists. The rest of what changes something is done in a general way: asset and amount are
//! taken from the parameters and moved between the spot wallet and one named after the call.

use crate::api::owner;
use crate::decimal::{D, d, div, mul, parse, text};
use crate::exchange::{FEES, MAKERS};
use crate::futures::Service;
use crate::keys::{Right, base64, hex};
use crate::refusal::Refusal;
use crate::strict::Understood;
use crate::venue::{REMEMBERED_MAX, Venue, remember};
use serde_json::{Value, json};

type Done = Result<Value, Refusal>;

/// Does what an accepted request asks.
///
/// # Errors
/// The venue's refusal.
pub fn answer(venue: &mut Venue, asked: &Understood) -> Result<String, Refusal> {
    let value: Value = match (asked.method, asked.path) {
        ("GET", "/sapi/v1/system/status") => json!({"status": 0, "msg": "normal"}),
        (
            "POST",
            "/sapi/v1/capital/withdraw/apply"
            | "/sapi/v1/localentity/withdraw/apply"
            | "/sapi/v1/localentity/broker/withdraw/apply",
        ) => withdraw(venue, asked)?,
        ("POST", "/sapi/v1/asset/transfer") => transfer(venue, asked)?,
        (
            "POST",
            "/sapi/v1/sub-account/futures/transfer" | "/sapi/v1/sub-account/margin/transfer",
        ) => within_sub_account(venue, asked)?,
        ("POST", "/sapi/v1/convert/getQuote") => quote(venue, asked)?,
        ("POST", "/sapi/v1/convert/acceptQuote") => accept_quote(venue, asked)?,
        (
            "POST",
            "/sapi/v1/margin/borrow-repay" | "/sapi/v1/margin/loan" | "/sapi/v1/margin/repay",
        ) => borrow(venue, asked)?,
        (_, path)
            if path.starts_with("/sapi/v1/margin/order")
                || path == "/sapi/v1/margin/openOrders" && asked.method == "DELETE" =>
        {
            return Err(Refusal::new(-3003, "Margin account does not exist."));
        }
        ("POST", "/sapi/v1/sub-account/virtualSubAccount" | "/sapi/v1/broker/subAccount") => {
            sub_account(venue, asked)?
        }
        (
            "POST",
            "/sapi/v1/sub-account/universalTransfer"
            | "/sapi/v1/broker/transfer"
            | "/sapi/v1/broker/universalTransfer"
            | "/sapi/v1/sub-account/transfer/subToSub"
            | "/sapi/v1/sub-account/transfer/subToMaster"
            | "/sapi/v1/sub-account/futures/internalTransfer"
            | "/sapi/v1/managed-subaccount/deposit",
        ) => to_sub_account(venue, asked)?,
        (
            "POST",
            "/sapi/v1/sub-account/subAccountApi"
            | "/sapi/v1/broker/subAccountApi"
            | "/sapi/v1/margin/apiKey",
        ) => new_key(venue, asked)?,
        ("DELETE", "/sapi/v1/sub-account/subAccountApi" | "/sapi/v1/broker/subAccountApi") => {
            revoke_key(venue, asked)?
        }
        ("POST" | "PUT" | "DELETE", path)
            if path.ends_with("userDataStream")
                || path.ends_with("isolated") && path.contains("userDataStream")
                || path.ends_with("listen-key")
                || path.ends_with("listenKey")
                || path.ends_with("userListenToken") =>
        {
            stream(venue, asked)?
        }
        ("GET", _)
        | (
            "POST",
            "/sapi/v1/asset/get-funding-asset"
            | "/sapi/v3/asset/getUserAsset"
            | "/sapi/v1/asset/dust-btc"
            | "/sapi/v1/asset/dust-convert/query-convertible-assets",
        ) => read(venue, asked)?,
        _ => general(venue, asked)?,
    };
    Ok(value.to_string())
}

fn asset(venue: &Venue, name: &str) -> Result<usize, Refusal> {
    venue.exchange.asset(name).ok_or_else(|| {
        Refusal::new(
            -1102,
            "Mandatory parameter 'asset' was not sent, was empty/null, or malformed.",
        )
    })
}

fn amount(asked: &Understood) -> Result<D, Refusal> {
    match asked.get("amount").map(parse) {
        Some(Ok(amount)) if amount > 0 => Ok(amount),
        _ => Err(Refusal::new(
            -1102,
            "Mandatory parameter 'amount' was not sent, was empty/null, or malformed.",
        )),
    }
}

/// Takes from what is free on the spot wallet.
fn take(
    venue: &mut Venue,
    account: usize,
    asset: usize,
    amount: D,
    poor: Refusal,
) -> Result<(), Refusal> {
    if venue.exchange.accounts[account].spot[asset].free < amount {
        return Err(poor);
    }
    venue.exchange.give(account, asset, -amount);
    Ok(())
}

fn wallet<'v>(venue: &'v mut Venue, account: usize, name: &str, asset: usize) -> &'v mut D {
    venue.exchange.accounts[account]
        .wallets
        .entry((name.to_owned(), asset))
        .or_default()
}

/// An id in 32 hex digits, as withdrawals have.
fn long_id(venue: &mut Venue) -> String {
    let number = venue.exchange.make_id();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, number.as_bytes());
    hex(digest.as_ref().get(..16).unwrap_or(&[]))
}

/// A number as transfers have.
fn short_id(venue: &mut Venue) -> u64 {
    let id = venue.exchange.make_id();
    id.trim_start_matches("sim").parse::<u64>().unwrap_or(0) + 10_000_000_000
}

/// Where an account's deposits of a coin arrive.
#[must_use]
pub fn deposit_address(account: usize, coin: &str) -> String {
    let text = format!("{account} {coin}");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    format!("0x{}", hex(digest.as_ref().get(..20).unwrap_or(&[])))
}

/// Networks of an asset; the first is the default.
fn networks(asset: &str) -> &'static [&'static str] {
    match asset {
        "BTC" => &["BTC", "BSC"],
        "ETH" => &["ETH", "BSC", "ARBITRUM"],
        "USDT" | "USDC" => &["ETH", "TRX", "BSC", "SOL"],
        "SOL" => &["SOL"],
        "XRP" => &["XRP", "BSC"],
        "LTC" => &["LTC"],
        "DOGE" => &["DOGE"],
        _ => &["BSC"],
    }
}

const WITHDRAW_FEE: &str = "0.0001";

fn withdraw(venue: &mut Venue, asked: &Understood) -> Done {
    let account = owner(venue, asked)?;
    let coin = asked.get("coin").unwrap_or("");
    let asset = venue
        .exchange
        .asset(coin)
        .ok_or_else(|| Refusal::new(-4018, "We don't have this asset."))?;
    let network = match asked.get("network") {
        None => networks(coin)[0],
        Some(name) => networks(coin).iter().find(|n| **n == name).ok_or_else(|| {
            Refusal::new(
                -4003,
                "The current currency does not support withdrawals on this network.",
            )
        })?,
    };
    let address = asked.get("address").unwrap_or("");
    if address.len() > 256
        || !address
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-:.".contains(&b))
    {
        return Err(Refusal::new(-4007, "The withdrawal address is invalid."));
    }
    let owned = &venue.exchange.accounts[account];
    let listed = |entry: &Value| entry["coin"] == coin && entry["address"] == address;
    if owned.whitelist && !owned.addresses.iter().any(listed) {
        return Err(Refusal::new(
            -4035,
            "This address is not on the whitelist. Please join and try again.",
        ));
    }
    let amount = amount(asked)?;
    if amount < d("0.0002") {
        return Err(Refusal::new(
            -4028,
            "The amount of the withdrawal must be greater than the minimum withdrawal amount.",
        ));
    }
    if let Some(id) = asked.get("withdrawOrderId")
        && venue.withdrawals.iter().any(|w| w["withdrawOrderId"] == id)
    {
        return Err(Refusal::new(
            -4015,
            "The withdrawOrderId is already in use.",
        ));
    }
    take(
        venue,
        account,
        asset,
        amount,
        Refusal::new(-4026, "User has insufficient balance"),
    )?;
    // It has left: what nobody at the venue has any more stands under the venue's own account.
    *wallet(venue, FEES, "withdrawn", asset) += amount;
    let id = long_id(venue);
    let fee = d(WITHDRAW_FEE);
    let detail = json!({
        "id": id, "amount": text(amount - fee), "transactionFee": text(fee), "coin": coin, "status": 6, "address": address,
        "addressTag": asked.get("addressTag").unwrap_or(""), "txId": format!("0x{id}{id}"), "applyTime": stamp(venue.exchange.now),
        "network": network, "transferType": 0, "withdrawOrderId": asked.get("withdrawOrderId").unwrap_or(""), "info": "",
        "confirmNo": 12, "walletType": asked.long("walletType").unwrap_or(0), "txKey": "", "completeTime": stamp(venue.exchange.now),
        "account": venue.exchange.accounts[account].name, "asked": text(amount),
    });
    remember(&mut venue.withdrawals, detail.clone());
    venue.effect("withdraw", account, detail);
    Ok(json!({"id": id}))
}

/// `2026-11-25 09:30:00`, in UTC.
#[must_use]
pub fn stamp(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date from days since 1970 (Howard Hinnant's algorithm).
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// The wallets of one account that transfers know.
const WALLETS: [&str; 8] = [
    "MAIN",
    "FUNDING",
    "UMFUTURE",
    "CMFUTURE",
    "MARGIN",
    "OPTION",
    "ISOLATED_MARGIN",
    "PORTFOLIO_MARGIN",
];

/// Takes from a wallet by its name in transfers.
fn take_from(
    venue: &mut Venue,
    account: usize,
    name: &str,
    asset: usize,
    amount: D,
    poor: Refusal,
) -> Result<(), Refusal> {
    if name == "MAIN" {
        return take(venue, account, asset, amount, poor);
    }
    if let Some(service) = Service::of_wallet(name) {
        let done = venue.futures.house(service).pay_out(account, asset, amount);
        return done
            .map_err(|_| Refusal::new(-5013, "Asset transfer failed: insufficient balance"));
    }
    let held = wallet(venue, account, name, asset);
    if *held < amount {
        return Err(poor);
    }
    *held -= amount;
    Ok(())
}

fn give_to(venue: &mut Venue, account: usize, name: &str, asset: usize, amount: D) {
    if name == "MAIN" {
        venue.exchange.give(account, asset, amount);
    } else if let Some(service) = Service::of_wallet(name) {
        venue.futures.house(service).pay_in(account, asset, amount);
    } else {
        *wallet(venue, account, name, asset) += amount;
    }
}

/// The wallets that a transfer between accounts names: from, to.
fn wallets_between(asked: &Understood) -> Result<[&'static str; 2], Refusal> {
    let futures = |kind: Option<u64>| match kind {
        Some(1) => Ok("UMFUTURE"),
        Some(2) => Ok("CMFUTURE"),
        _ => Err(Refusal::mandatory("futuresType")),
    };
    if asked.path.ends_with("/futures/internalTransfer") {
        let one = futures(asked.long("futuresType"))?;
        return Ok([one, one]);
    }
    let named = |name: &str| match asked.get(name) {
        None | Some("SPOT") => Ok("MAIN"),
        Some("USDT_FUTURE") => Ok("UMFUTURE"),
        Some("COIN_FUTURE") => Ok("CMFUTURE"),
        Some("MARGIN") => Ok("MARGIN"),
        Some("ISOLATED_MARGIN") => Ok("ISOLATED_MARGIN"),
        Some(_) => Err(Refusal::mandatory(name)),
    };
    Ok([named("fromAccountType")?, named("toAccountType")?])
}

/// Between the wallets of one sub-account.
fn within_sub_account(venue: &mut Venue, asked: &Understood) -> Done {
    let account = owner(venue, asked)?;
    let (asset, amount) = (
        asset(venue, asked.get("asset").unwrap_or(""))?,
        amount(asked)?,
    );
    let name = asked.get("email").unwrap_or("");
    let of = venue
        .exchange
        .accounts
        .iter()
        .position(|a| a.name == name && a.parent == Some(account))
        .ok_or_else(|| Refusal::new(-12_022, "The sub-account does not exist."))?;
    let [from, to] = match (
        asked.path.ends_with("/futures/transfer"),
        asked.long("type"),
    ) {
        (true, Some(1)) => ["MAIN", "UMFUTURE"],
        (true, Some(2)) => ["UMFUTURE", "MAIN"],
        (true, Some(3)) => ["MAIN", "CMFUTURE"],
        (true, Some(4)) => ["CMFUTURE", "MAIN"],
        (false, Some(1)) => ["MAIN", "MARGIN"],
        (false, Some(2)) => ["MARGIN", "MAIN"],
        _ => return Err(Refusal::mandatory("type")),
    };
    let poor = Refusal::new(-12_023, "Insufficient balance.");
    take_from(venue, of, from, asset, amount, poor)?;
    give_to(venue, of, to, asset, amount);
    let id = short_id(venue);
    let detail = json!({"tranId": id, "asset": asked.get("asset"), "amount": text(amount), "email": name, "from": from, "to": to});
    venue.effect("sub-account transfer", account, detail);
    Ok(json!({"txnId": id.to_string()}))
}

fn transfer(venue: &mut Venue, asked: &Understood) -> Done {
    let account = owner(venue, asked)?;
    let (asset, amount) = (
        asset(venue, asked.get("asset").unwrap_or(""))?,
        amount(asked)?,
    );
    let kind = asked.get("type").unwrap_or("");
    let pair = WALLETS.iter().find_map(|from| {
        let to = kind.strip_prefix(from)?.strip_prefix('_')?;
        (WALLETS.contains(&to) && to != *from).then_some((*from, to.to_owned()))
    });
    let (from, to) = pair.ok_or_else(|| Refusal::mandatory("type"))?;
    let poor = Refusal::new(-9000, "user have no avail amount");
    take_from(venue, account, from, asset, amount, poor)?;
    give_to(venue, account, &to, asset, amount);
    let id = short_id(venue);
    let detail = json!({"asset": asked.get("asset"), "amount": text(amount), "type": kind, "status": "CONFIRMED", "tranId": id, "timestamp": venue.exchange.now});
    venue.effect("transfer", account, detail);
    Ok(json!({"tranId": id}))
}

/// What an asset is worth in USDT: by its market, or through BTC.
fn worth(venue: &Venue, name: &str) -> Option<D> {
    if name == "USDT" {
        return Some(crate::decimal::ONE);
    }
    let last = |symbol: &str| {
        venue
            .exchange
            .market(symbol)
            .ok()
            .map(|m| venue.exchange.markets[m].last)
    };
    last(&format!("{name}USDT"))
        .or_else(|| Some(mul(last(&format!("{name}BTC"))?, last("BTCUSDT")?)))
}

fn quote(venue: &mut Venue, asked: &Understood) -> Done {
    let account = owner(venue, asked)?;
    let (from, to) = (
        asked.get("fromAsset").unwrap_or(""),
        asked.get("toAsset").unwrap_or(""),
    );
    let bad = || Refusal::new(345_122, "Invalid quote pair.");
    let (from_asset, to_asset) = (
        venue.exchange.asset(from).ok_or_else(bad)?,
        venue.exchange.asset(to).ok_or_else(bad)?,
    );
    let (from_worth, to_worth) = (
        worth(venue, from).ok_or_else(bad)?,
        worth(venue, to).ok_or_else(bad)?,
    );
    if from == to || to_worth == 0 {
        return Err(bad());
    }
    let ratio = div(from_worth, to_worth);
    let (from_amount, to_amount) = match (asked.decimal("fromAmount"), asked.decimal("toAmount")) {
        (Some(from), None) => (from, mul(from, ratio)),
        (None, Some(to)) => (div(to, ratio), to),
        _ => return Err(Refusal::either("fromAmount", "toAmount")),
    };
    if from_amount <= 0 || to_amount <= 0 {
        return Err(Refusal::new(345_103, "The amount is below the minimum."));
    }
    // An answer without an id, as the venue gives where the balance does not cover it.
    let enough = venue.exchange.accounts[account].spot[from_asset].free >= from_amount;
    let mut value = json!({
        "ratio": text(ratio), "inverseRatio": text(div(crate::decimal::ONE, ratio)), "validTimestamp": venue.exchange.now + 10_000,
        "toAmount": text(to_amount), "fromAmount": text(from_amount),
    });
    let now = venue.exchange.now;
    venue.quotes.retain(|_, quote| quote.5 >= now);
    if enough && venue.quotes.len() < REMEMBERED_MAX {
        let id = long_id(venue);
        value["quoteId"] = json!(id);
        venue.quotes.insert(
            id,
            (
                account,
                from_asset,
                from_amount,
                to_asset,
                to_amount,
                now + 10_000,
            ),
        );
    }
    Ok(value)
}

fn accept_quote(venue: &mut Venue, asked: &Understood) -> Done {
    let account = owner(venue, asked)?;
    let id = asked.get("quoteId").unwrap_or("");
    let gone = || Refusal::new(345_239, "The quote has expired.");
    let (whose, from, from_amount, to, to_amount, until) =
        venue.quotes.get(id).copied().ok_or_else(gone)?;
    if whose != account || until < venue.exchange.now {
        return Err(gone());
    }
    take(
        venue,
        account,
        from,
        from_amount,
        Refusal::new(345_161, "Insufficient balance."),
    )?;
    venue.quotes.remove(id);
    venue.exchange.give(MAKERS, from, from_amount);
    venue.exchange.give(MAKERS, to, -to_amount);
    venue.exchange.give(account, to, to_amount);
    let detail = json!({
        "quoteId": id, "orderId": short_id(venue).to_string(), "orderStatus": "SUCCESS",
        "fromAsset": venue.exchange.assets[from], "fromAmount": text(from_amount),
        "toAsset": venue.exchange.assets[to], "toAmount": text(to_amount), "createTime": venue.exchange.now,
    });
    venue.effect("convert", account, detail.clone());
    Ok(
        json!({"orderId": detail["orderId"], "createTime": venue.exchange.now, "orderStatus": "PROCESS"}),
    )
}

fn borrow(venue: &mut Venue, asked: &Understood) -> Done {
    let account = owner(venue, asked)?;
    let (asset, amount) = (
        asset(venue, asked.get("asset").unwrap_or(""))?,
        amount(asked)?,
    );
    let word = match asked.path {
        "/sapi/v1/margin/loan" => "BORROW",
        "/sapi/v1/margin/repay" => "REPAY",
        _ => asked.get("type").unwrap_or(""),
    };
    match word {
        "BORROW" => {
            venue.exchange.give(MAKERS, asset, -amount);
            *wallet(venue, account, "MARGIN", asset) += amount;
            *venue.exchange.accounts[account]
                .debts
                .entry(asset)
                .or_default() += amount;
        }
        "REPAY" => {
            let debt = venue.exchange.accounts[account]
                .debts
                .get(&asset)
                .copied()
                .unwrap_or(0);
            let held = wallet(venue, account, "MARGIN", asset);
            if debt < amount || *held < amount {
                return Err(Refusal::new(-3015, "Repay amount exceeds borrow amount."));
            }
            *held -= amount;
            venue.exchange.give(MAKERS, asset, amount);
            *venue.exchange.accounts[account]
                .debts
                .entry(asset)
                .or_default() -= amount;
        }
        _ => return Err(Refusal::mandatory("type")),
    }
    let id = short_id(venue);
    let detail =
        json!({"type": word, "asset": asked.get("asset"), "amount": text(amount), "tranId": id});
    venue.effect("margin", account, detail);
    Ok(json!({"tranId": id}))
}

fn sub_account(venue: &mut Venue, asked: &Understood) -> Done {
    let account = owner(venue, asked)?;
    let label = asked
        .get("subAccountString")
        .or(asked.get("tag"))
        .unwrap_or("sub");
    if label.is_empty() || label.len() > 20 || !label.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Refusal::mandatory("subAccountString"));
    }
    let email = format!("{label}_virtual@{}email.com", venue.exchange.accounts.len());
    let sub = venue.exchange.open_account(&email);
    venue.exchange.accounts[sub].parent = Some(account);
    venue.effect("sub-account", account, json!({"email": email}));
    Ok(json!({"email": email, "subaccountId": email, "tag": label}))
}

fn to_sub_account(venue: &mut Venue, asked: &Understood) -> Done {
    let account = owner(venue, asked)?;
    let (asset, amount) = (
        asset(venue, asked.get("asset").unwrap_or(""))?,
        amount(asked)?,
    );
    let find = |name: Option<&str>| match name {
        None => Ok(account),
        Some(name) => venue
            .exchange
            .accounts
            .iter()
            .position(|a| a.name == name && a.parent == Some(account))
            .ok_or_else(|| Refusal::new(-12_022, "The sub-account does not exist.")),
    };
    let [from_wallet, to_wallet] = wallets_between(asked)?;
    let from = find(asked.get("fromEmail").or(asked.get("fromId")))?;
    let to = if asked.path.ends_with("/subToMaster") {
        venue.exchange.accounts[account]
            .parent
            .ok_or_else(|| Refusal::new(-12_022, "The sub-account does not exist."))?
    } else {
        find(asked.get("toEmail").or(asked.get("toId")))?
    };
    if from == to && from_wallet == to_wallet {
        return Err(Refusal::either("fromEmail", "toEmail"));
    }
    let poor = Refusal::new(-12_023, "Insufficient balance.");
    take_from(venue, from, from_wallet, asset, amount, poor)?;
    give_to(venue, to, to_wallet, asset, amount);
    let id = short_id(venue);
    let detail = json!({
        "tranId": id, "asset": asked.get("asset"), "amount": text(amount),
        "from": venue.exchange.accounts[from].name, "to": venue.exchange.accounts[to].name,
    });
    venue.effect("sub-account transfer", account, detail);
    Ok(
        json!({"tranId": id, "txnId": id.to_string(), "clientTranId": asked.get("clientTranId").unwrap_or("")}),
    )
}

fn new_key(venue: &mut Venue, asked: &Understood) -> Done {
    let account = owner(venue, asked)?;
    let name = asked.get("email").or(asked.get("subAccountId"));
    let of = match name {
        None => account,
        Some(name) => venue
            .exchange
            .accounts
            .iter()
            .position(|a| a.name == name && a.parent == Some(account))
            .ok_or_else(|| Refusal::new(-12_022, "The sub-account does not exist."))?,
    };
    let handed = venue.hand_hmac(of, "trade");
    venue.effect(
        "new key",
        account,
        json!({"account": venue.exchange.accounts[of].name, "key": handed.key}),
    );
    Ok(json!({
        "subaccountId": name, "email": name, "apiKey": handed.key, "secretKey": handed.secret, "apiName": asked.get("apiName"),
        "canTrade": true, "marginTrade": false, "futuresTrade": false,
    }))
}

fn revoke_key(venue: &mut Venue, asked: &Understood) -> Done {
    let account = owner(venue, asked)?;
    let text = asked.get("subAccountApiKey").unwrap_or("");
    let name = asked
        .get("email")
        .or(asked.get("subAccountId"))
        .unwrap_or("");
    let known = venue.keys.find(text).is_some_and(|key| {
        let of = &venue.exchange.accounts[key.account];
        of.name == name && of.parent == Some(account)
    });
    if !known {
        return Err(Refusal::new(-12_015, "The API key does not exist."));
    }
    if let Some(key) = venue.keys.change(text) {
        key.revoked = true;
    }
    venue.effect("revoked key", account, json!({"key": text}));
    Ok(json!({}))
}

/// Makes, renews or ends a listen key.
///
/// # Errors
/// The venue's refusal.
pub fn stream(venue: &mut Venue, asked: &Understood) -> Done {
    let account = owner(venue, asked)?;
    let missing = || Refusal::new(-1125, "This listenKey does not exist.");
    match asked.method {
        "POST" => {
            if venue.listen_keys.len() >= REMEMBERED_MAX {
                return Err(Refusal::new(-1034, "Too many listen keys."));
            }
            let id = long_id(venue);
            let key = base64(format!("{id}{id}").as_bytes())
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .take(60)
                .collect::<String>();
            venue.listen_keys.insert(key.clone(), account);
            venue.effect("listen key", account, json!({"path": asked.path}));
            if asked.path.ends_with("userListenToken") {
                return Ok(json!({"token": key, "expirationTime": venue.exchange.now + 3_600_000}));
            }
            Ok(json!({"listenKey": key}))
        }
        "PUT" => match venue.listen_keys.get(asked.get("listenKey").unwrap_or("")) {
            Some(owner) if *owner == account => Ok(json!({})),
            _ => Err(missing()),
        },
        _ => {
            let key = asked.get("listenKey").unwrap_or("");
            if venue.listen_keys.get(key) != Some(&account) {
                return Err(missing());
            }
            venue.listen_keys.remove(key);
            Ok(json!({}))
        }
    }
}

/// What else changes something: asset and amount move between the spot wallet and one named after the call.
fn general(venue: &mut Venue, asked: &Understood) -> Done {
    let account = owner(venue, asked)?;
    let first = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| asked.get(name))
            .map(str::to_owned)
    };
    let amount = first(&[
        "amount",
        "depositAmount",
        "loanAmount",
        "repayAmount",
        "quoteQty",
        "cost",
        "underlyingAssetAmount",
        "tokenizedAssetAmount",
        "baseTokenAmount",
        "adjustmentAmount",
        "baseAmount",
        "quoteAmount",
    ])
    .and_then(|text| parse(&text).ok());
    let name = first(&[
        "asset",
        "coin",
        "token",
        "loanCoin",
        "currency",
        "quoteAsset",
        "baseToken",
        "baseAsset",
    ])
    .or_else(|| {
        let path = asked.path;
        let of_path = [
            ("eth-staking", "ETH"),
            ("sol-staking", "SOL"),
            ("bnb-transfer", "BNB"),
            ("bfusd", "USDT"),
            ("rwusd", "USDT"),
        ];
        of_path
            .iter()
            .find(|(part, _)| path.contains(part))
            .map(|(_, asset)| (*asset).to_owned())
            .or_else(|| {
                first(&["productId", "projectId", "positionId"])
                    .map(|id| id.trim_end_matches(|c: char| !c.is_alphabetic()).to_owned())
            })
    });
    let family = asked
        .path
        .split('/')
        .nth(3)
        .unwrap_or("other")
        .to_uppercase();
    let asset = name.as_deref().and_then(|name| venue.exchange.asset(name));
    let id = short_id(venue);
    if let (Some(asset), Some(amount)) = (asset, amount)
        && amount > 0
    {
        let back = ["redeem", "withdraw", "repay"]
            .iter()
            .any(|word| asked.path.contains(word))
            && !asked.path.contains("loan/");
        let lent = asked.path.ends_with("borrow");
        if lent {
            venue.exchange.give(MAKERS, asset, -amount);
            venue.exchange.give(account, asset, amount);
            *venue.exchange.accounts[account]
                .debts
                .entry(asset)
                .or_default() += amount;
        } else if back {
            let held = wallet(venue, account, &family, asset);
            if *held < amount {
                return Err(Refusal::new(-6_005, "Insufficient balance."));
            }
            *held -= amount;
            venue.exchange.give(account, asset, amount);
        } else {
            take(
                venue,
                account,
                asset,
                amount,
                Refusal::new(-6_005, "Insufficient balance."),
            )?;
            *wallet(venue, account, &family, asset) += amount;
        }
    }
    let kind = format!("{} {}", asked.method, asked.path);
    let params: serde_json::Map<String, Value> = asked
        .params
        .iter()
        .map(|(k, v)| (k.clone(), json!(v)))
        .collect();
    venue.effect(&kind, account, Value::Object(params));
    Ok(
        json!({"success": true, "tranId": id, "purchaseId": id, "code": "000000", "data": {"referenceNo": id.to_string()}}),
    )
}

fn read(venue: &mut Venue, asked: &Understood) -> Done {
    let names: Vec<String> = venue.exchange.assets.clone();
    let effects = |venue: &Venue, account: usize, kind: &str| -> Vec<Value> {
        let name = &venue.exchange.accounts[account].name;
        venue
            .effects
            .iter()
            .rev()
            .filter(|e| e["kind"] == kind && e["account"] == **name)
            .map(|e| e["detail"].clone())
            .collect()
    };
    let account = match asked.endpoint().map(|e| e.security) {
        Some(crate::endpoints::Security::Public) => FEES,
        _ => owner(venue, asked)?,
    };
    let zero = text(0);
    Ok(match asked.path {
        "/sapi/v1/capital/config/getall" => names
            .iter()
            .enumerate()
            .map(|(i, name)| {
                let balance = venue.exchange.accounts[account].spot[i];
                let list: Vec<Value> = networks(name)
                    .iter()
                    .enumerate()
                    .map(|(n, network)| {
                        json!({
                            "network": network, "coin": name, "withdrawIntegerMultiple": "0.00000001", "isDefault": n == 0,
                            "depositEnable": true, "withdrawEnable": true, "depositDesc": "", "withdrawDesc": "", "specialTips": "",
                            "name": network, "resetAddressStatus": false, "addressRegex": "^[0-9A-Za-z]+$", "memoRegex": "",
                            "withdrawFee": WITHDRAW_FEE, "withdrawMin": "0.0002", "withdrawMax": "10000000", "minConfirm": 1,
                            "unLockConfirm": 0, "sameAddress": false, "estimatedArrivalTime": 1, "busy": false,
                        })
                    })
                    .collect();
                json!({
                    "coin": name, "depositAllEnable": true, "withdrawAllEnable": true, "name": name, "free": text(balance.free),
                    "locked": text(balance.locked), "freeze": zero, "withdrawing": zero, "ipoing": zero, "ipoable": zero,
                    "storage": zero, "isLegalMoney": false, "trading": true, "networkList": list,
                })
            })
            .collect(),
        "/sapi/v1/capital/withdraw/history" => {
            let name = venue.exchange.accounts[account].name.clone();
            let fits = |w: &&Value| {
                w["account"] == *name
                    && asked.get("coin").is_none_or(|c| w["coin"] == c)
                    && asked.get("withdrawOrderId").is_none_or(|i| w["withdrawOrderId"] == i)
            };
            venue
                .withdrawals
                .iter()
                .rev()
                .filter(fits)
                .map(|w| {
                    let mut w = w.clone();
                    if let Some(map) = w.as_object_mut() {
                        map.remove("account");
                        map.remove("asked");
                    }
                    w
                })
                .collect()
        }
        "/sapi/v1/capital/deposit/hisrec" => {
            let found = effects(venue, account, "deposit");
            found
                .into_iter()
.filter(|e| asked.get("coin").is_none_or(|coin| e["asset"] == coin))
                .map(|e| {
                    json!({"id": e["txId"], "amount": e["amount"], "coin": e["asset"], "network": e["network"], "status": 1, "address": e["address"], "addressTag": "",
                           "txId": e["txId"], "insertTime": e["insertTime"], "transferType": 0, "confirmTimes": "12/12", "unlockConfirm": 12, "walletType": 0})
                })
                .collect()
        }
        "/sapi/v1/capital/deposit/address" | "/sapi/v1/capital/deposit/address/list" => {
            let coin = asked.get("coin").unwrap_or("");
            venue.exchange.asset(coin).ok_or_else(|| Refusal::new(-4018, "We don't have this asset."))?;
            let address = deposit_address(account, coin);
            let one = json!({"address": address, "coin": coin, "tag": "", "url": "", "isDefault": 1});
            if asked.path.ends_with("list") { json!([one]) } else { one }
        }
        "/sapi/v1/capital/withdraw/address/list" => json!(venue.exchange.accounts[account].addresses),
        "/sapi/v1/asset/transfer" => {
            let kind = asked.get("type").unwrap_or("");
            let rows: Vec<Value> = effects(venue, account, "transfer").into_iter().filter(|e| e["type"] == kind).collect();
            json!({"total": rows.len(), "rows": rows})
        }
        "/sapi/v1/account/apiRestrictions" => {
            let key = asked.key.as_deref().and_then(|text| venue.keys.find(text)).ok_or_else(Refusal::key)?;
            let has = |right| key.rights.has(right);
            json!({
                "ipRestrict": !key.ips.is_empty(), "createTime": venue.exchange.now, "enableReading": has(Right::Read),
                "enableSpotAndMarginTrading": has(Right::Trade), "enableWithdrawals": has(Right::Withdraw),
                "enableInternalTransfer": has(Right::InternalTransfer), "permitsUniversalTransfer": has(Right::UniversalTransfer),
                "enableMargin": has(Right::Margin), "enableFutures": has(Right::Futures), "enableVanillaOptions": false,
                "enablePortfolioMarginTrading": false, "enableFixApiTrade": false, "enableFixReadOnly": false,
                "tradingAuthorityExpirationTime": 0,
            })
        }
        "/sapi/v1/account/status" => json!({"data": "Normal"}),
        "/sapi/v1/account/apiTradingStatus" => json!({"data": {
            "isLocked": false, "plannedRecoverTime": 0, "triggerCondition": {"GCR": 150, "IFER": 150, "UFR": 300}, "updateTime": 0,
        }}),
        "/sapi/v1/account/info" => json!({"vipLevel": 0, "isMarginEnabled": false, "isFutureEnabled": false, "isOptionsEnabled": false,
            "isPortfolioMarginRetailEnabled": false}),
        "/sapi/v1/asset/tradeFee" => venue
            .exchange
            .markets
            .iter()
            .filter(|m| asked.get("symbol").is_none_or(|s| m.symbol.name == s))
            .map(|m| json!({"symbol": m.symbol.name, "makerCommission": "0.001", "takerCommission": "0.001"}))
            .collect(),
        "/sapi/v1/asset/wallet/balance" => ["Spot", "Funding", "Cross Margin", "Isolated Margin", "USDⓈ-M Futures", "COIN-M Futures", "Earn", "Options"]
            .iter()
            .map(|name| json!({"activate": true, "balance": zero, "walletName": name}))
            .collect(),
        "/sapi/v1/asset/assetDetail" => {
            let mut map = serde_json::Map::new();
            for name in &names {
                map.insert(name.clone(), json!({"minWithdrawAmount": "0.0002", "depositStatus": true, "withdrawFee": WITHDRAW_FEE, "withdrawStatus": true}));
            }
            Value::Object(map)
        }
        "/sapi/v1/asset/dribblet" => json!({"total": 0, "userAssetDribblets": []}),
        "/sapi/v1/asset/assetDividend" => json!({"rows": [], "total": 0}),
        "/sapi/v3/asset/getUserAsset" => venue.exchange.accounts[account]
            .spot
            .iter()
            .enumerate()
            .filter(|(i, b)| b.free + b.locked != 0 && asked.get("asset").is_none_or(|a| names[*i] == a))
            .map(|(i, b)| json!({"asset": names[i], "free": text(b.free), "locked": text(b.locked), "freeze": zero, "withdrawing": zero, "ipoable": zero, "btcValuation": zero}))
            .collect(),
        "/sapi/v1/asset/get-funding-asset" => venue.exchange.accounts[account]
            .wallets
            .iter()
            .filter(|((wallet, _), amount)| wallet == "FUNDING" && **amount != 0)
            .map(|((_, asset), amount)| json!({"asset": names[*asset], "free": text(*amount), "locked": zero, "freeze": zero, "withdrawing": zero, "btcValuation": zero}))
            .collect(),
        "/sapi/v1/convert/tradeFlow" => {
            let list = effects(venue, account, "convert");
            json!({"list": list, "startTime": asked.long("startTime"), "endTime": asked.long("endTime"), "limit": 100, "moreData": false})
        }
        "/sapi/v1/convert/orderStatus" => effects(venue, account, "convert")
            .into_iter()
            .find(|e| asked.get("quoteId").is_some_and(|q| e["quoteId"] == q) || asked.get("orderId").is_some_and(|o| e["orderId"] == o))
            .ok_or_else(|| Refusal::new(345_239, "The order does not exist."))?,
        "/sapi/v1/convert/assetInfo" => names.iter().map(|n| json!({"asset": n, "fraction": 8})).collect(),
        "/sapi/v1/margin/account" => {
            let debts = &venue.exchange.accounts[account].debts;
            let wallets = &venue.exchange.accounts[account].wallets;
            let assets: Vec<Value> = names
                .iter()
                .enumerate()
                .map(|(i, name)| {
                    let free = wallets.get(&("MARGIN".to_owned(), i)).copied().unwrap_or(0);
                    let borrowed = debts.get(&i).copied().unwrap_or(0);
                    json!({"asset": name, "borrowed": text(borrowed), "free": text(free), "interest": zero, "locked": zero, "netAsset": text(free - borrowed)})
                })
                .collect();
            json!({"created": true, "borrowEnabled": true, "marginLevel": "999.00000000", "collateralMarginLevel": "999.00000000", "totalAssetOfBtc": zero,
                   "totalLiabilityOfBtc": zero, "totalNetAssetOfBtc": zero, "totalCollateralValueInUSDT": zero, "tradeEnabled": true, "transferInEnabled": true,
                   "transferOutEnabled": true, "accountType": "MARGIN_1", "userAssets": assets})
        }
        "/sapi/v1/margin/borrow-repay" => {
            let kind = asked.get("type").unwrap_or("");
            let rows: Vec<Value> = effects(venue, account, "margin").into_iter().filter(|e| e["type"] == kind).collect();
            json!({"rows": rows, "total": rows.len()})
        }
        "/sapi/v1/margin/maxBorrowable" => json!({"amount": text(d("1000000")), "borrowLimit": text(d("1000000"))}),
        "/sapi/v1/margin/isolated/account" => json!({"assets": [], "totalAssetOfBtc": zero, "totalLiabilityOfBtc": zero, "totalNetAssetOfBtc": zero}),
        "/sapi/v1/margin/allAssets" => names
            .iter()
            .map(|n| json!({"assetFullName": n, "assetName": n, "isBorrowable": true, "isMortgageable": true, "userMinBorrow": zero, "userMinRepay": zero}))
            .collect(),
        "/sapi/v1/simple-earn/flexible/list" | "/sapi/v1/simple-earn/locked/list" => {
            let rows: Vec<Value> = names
                .iter()
                .filter(|n| asked.get("asset").is_none_or(|a| *n == a))
                .map(|n| json!({"asset": n, "latestAnnualPercentageRate": "0.01", "canPurchase": true, "canRedeem": true, "isSoldOut": false, "hot": false,
                                "minPurchaseAmount": "0.00000001", "productId": format!("{n}001"), "subscriptionStartTime": 0, "status": "PURCHASING"}))
                .collect();
            json!({"rows": rows, "total": rows.len()})
        }
        "/sapi/v1/simple-earn/flexible/position" | "/sapi/v1/simple-earn/locked/position" => {
            let rows: Vec<Value> = venue.exchange.accounts[account]
                .wallets
                .iter()
                .filter(|((wallet, _), amount)| wallet == "SIMPLE-EARN" && **amount != 0)
                .map(|((_, asset), amount)| json!({"asset": names[*asset], "totalAmount": text(*amount), "productId": format!("{}001", names[*asset]), "canRedeem": true}))
                .collect();
            json!({"rows": rows, "total": rows.len()})
        }
        "/sapi/v1/simple-earn/account" => json!({"totalAmountInBTC": zero, "totalAmountInUSDT": zero, "totalFlexibleAmountInBTC": zero,
            "totalFlexibleAmountInUSDT": zero, "totalLockedInBTC": zero, "totalLockedInUSDT": zero}),
        "/sapi/v1/sub-account/list" => {
            let subs: Vec<Value> = venue
                .exchange
                .accounts
                .iter()
                .filter(|a| a.parent == Some(account))
                .map(|a| json!({"subUserId": a.uid, "email": a.name, "remark": "", "isFreeze": false, "createTime": 0, "isManagedSubAccount": false, "isAssetManagementSubAccount": false}))
                .collect();
            json!({"subAccounts": subs})
        }
        "/sapi/v4/sub-account/assets" => {
            let email = asked.get("email").unwrap_or("");
            let sub = venue
                .exchange
                .accounts
                .iter()
                .find(|a| a.name == email && a.parent == Some(account))
                .ok_or_else(|| Refusal::new(-12_022, "The sub-account does not exist."))?;
            let balances: Vec<Value> = sub
                .spot
                .iter()
                .enumerate()
                .map(|(i, b)| json!({"asset": names[i], "free": text(b.free), "locked": text(b.locked)}))
                .collect();
            json!({"balances": balances})
        }
        "/sapi/v1/sub-account/universalTransfer" => {
            let rows = effects(venue, account, "sub-account transfer");
            json!({"result": rows, "totalCount": rows.len()})
        }
        "/sapi/v1/sub-account/subAccountApi/ipRestriction" => json!({"ipRestrict": "false", "ipList": [], "updateTime": 0, "apiKey": asked.get("subAccountApiKey")}),
        "/sapi/v1/bnbBurn" => json!({"spotBNBBurn": false, "interestBNBBurn": false}),
        "/sapi/v1/asset/dust-btc" | "/sapi/v1/asset/dust-convert/query-convertible-assets" => {
            json!({"details": [], "totalTransferBtc": zero, "totalTransferBNB": zero, "dribbletPercentage": "0.02"})
        }
        // Lists that are empty here: margin pairs and orders, delistings, conversions' pairs.
        _ => json!([]),
    })
}

#[cfg(test)]
mod tests {
    use super::stamp;

    #[test]
    fn dates() {
        assert_eq!(stamp(0), "1970-01-01 00:00:00");
        assert_eq!(stamp(1_790_000_000_123), "2026-09-21 14:13:20");
        assert_eq!(stamp(1_709_164_800_000), "2024-02-29 00:00:00");
    }
}
