//! Balances, transfers, withdrawals, and the key itself.

use super::contracts;
use super::{Asked, Done, params, refuse, shown};
use crate::decimal::{D, ONE, mul, text};
use crate::exchange::{COMMISSION, FEES};
use crate::keys::{Material, Right, Rights};
use crate::refusal::Refusal;
use crate::venue::{Venue, remember};
use serde_json::{Value, json};

pub(super) fn answer(venue: &mut Venue, path: &str, asked: &Asked<'_>) -> Done {
    let account = asked.account()?;
    match path {
        "/v5/account/wallet-balance" => wallet(venue, account, asked),
        "/v5/account/fee-rate" => fees(venue, asked),
        "/v5/account/info" => Ok(json!({
            "unifiedMarginStatus": 6, "marginMode": contracts::margin_mode(venue, account), "isMasterTrader": false, "spotHedgingStatus": "OFF",
            "updatedTime": venue.exchange.accounts[account].updated.to_string(), "dcpStatus": "OFF", "timeWindow": 0, "smpGroup": 0,
        })),
        "/v5/account/set-margin-mode" => contracts::set_margin_mode(venue, account, asked),
        "/v5/asset/coin/query-info" => coins(venue, asked),
        "/v5/asset/transfer/query-account-coins-balance" => balances(venue, account, asked),
        "/v5/asset/deposit/query-address" => {
            let coin = asked.text("coin").unwrap_or("");
            asset(venue, coin)?;
            let uid = venue.exchange.accounts[account].uid;
            Ok(json!({"coin": coin, "chains": [{
                "chainType": coin, "addressDeposit": format!("sim-{}-{uid}", coin.to_ascii_lowercase()), "tagDeposit": "", "chain": coin,
                "batchReleaseLimit": "-1", "contractAddress": "",
            }]}))
        }
        "/v5/asset/transfer/inter-transfer" => {
            let member = venue.exchange.accounts[account].uid;
            transfer(venue, account, asked, member, member)
        }
        "/v5/asset/transfer/universal-transfer" => {
            let (from, to) = (
                asked.int("fromMemberId").unwrap_or(0),
                asked.int("toMemberId").unwrap_or(0),
            );
            if from == to {
                return Err(refuse(131200, "The accounts are the same."));
            }
            transfer(venue, account, asked, from, to)
        }
        "/v5/asset/withdraw/create" => withdraw(venue, account, asked),
        "/v5/asset/withdraw/cancel" => Err(refuse(131001, "The withdrawal has left.")),
        "/v5/asset/withdraw/query-record" => {
            let name = venue.exchange.accounts[account].name.clone();
            let rows: Vec<Value> = venue
                .withdrawals
                .iter()
                .rev()
                .filter(|w| w["account"] == name)
                .filter(|w| asked.text("withdrawID").is_none_or(|id| w["id"] == id))
                .filter(|w| asked.text("coin").is_none_or(|coin| w["coin"] == coin))
                .map(|w| {
                    json!({
                        "withdrawId": w["id"], "txID": w["id"], "withdrawType": w["internal"], "coin": w["coin"], "chain": w["network"],
                        "amount": w["amount"], "withdrawFee": "0", "status": "success", "toAddress": w["address"], "tag": w["addressTag"],
                        "createTime": w["time"], "updateTime": w["time"],
                    })
                })
                .collect();
            let (rows, cursor) = super::page(asked, rows, 50, 50)?;
            Ok(json!({"rows": rows, "nextPageCursor": cursor}))
        }
        "/v5/user/query-api" => key_info(venue, asked),
        "/v5/user/query-sub-members" => {
            let subs: Vec<Value> = venue
                .exchange
                .accounts
                .iter()
                .filter(|a| a.parent == Some(account))
                .map(|a| json!({"uid": a.uid.to_string(), "username": a.name, "memberType": 1, "status": 1, "remark": "", "accountMode": 5}))
                .collect();
            Ok(json!({"subMembers": subs}))
        }
        "/v5/user/create-sub-member" => {
            let name = asked.text("username").unwrap_or("").to_owned();
            if venue.exchange.accounts.iter().any(|a| a.name == name) {
                return Err(params("username"));
            }
            let sub = venue.exchange.open_account(&name);
            venue.exchange.accounts[sub].parent = Some(account);
            let uid = venue.exchange.accounts[sub].uid;
            venue.effect(
                "sub-account",
                account,
                json!({"username": name, "uid": uid}),
            );
            Ok(
                json!({"uid": uid.to_string(), "username": name, "memberType": 1, "status": 1, "remark": ""}),
            )
        }
        "/v5/user/update-api" => update_key(venue, account, asked),
        "/v5/user/delete-api" => {
            let key = editable(venue, asked)?.to_owned();
            if let Some(key) = venue.keys.change(&key) {
                key.revoked = true;
            }
            venue.effect("key deleted", account, json!({"key": key}));
            Ok(json!({}))
        }
        _ => Err(refuse(10016, "Server error.")),
    }
}

fn asset(venue: &Venue, coin: &str) -> Result<usize, Refusal> {
    venue
        .exchange
        .asset(coin)
        .ok_or_else(|| refuse(131002, "Invalid coin."))
}

/// What one of an asset is worth in dollars.
pub(super) fn dollars(venue: &Venue, asset: usize) -> D {
    let name = &venue.exchange.assets[asset];
    venue
        .exchange
        .market(&format!("{name}USDT"))
        .map_or(ONE, |m| venue.exchange.markets[m].last)
}

pub(super) fn wallet(venue: &Venue, account: usize, asked: &Asked<'_>) -> Done {
    let wanted: Option<Vec<&str>> = asked.text("coin").map(|t| t.split(',').collect());
    let mut list = Vec::new();
    let (mut total, mut free_total) = (0, 0);
    let (mut profit, mut initial, mut maintenance) = (0, 0, 0);
    for index in 0..venue.exchange.assets.len() {
        let name = venue.exchange.assets[index].as_str();
        let worth = venue.worth(account, index);
        let (whole, equity) = (worth.wallet(), worth.wallet() + worth.profit);
        let price = dollars(venue, index);
        total += mul(whole, price);
        free_total += mul(worth.free, price);
        profit += mul(worth.profit, price);
        initial += mul(worth.positions + worth.orders, price);
        maintenance += mul(worth.maintenance, price);
        let named = wanted.as_ref().is_some_and(|w| w.contains(&name));
        if !named && (wanted.is_some() || whole == 0) {
            continue;
        }
        list.push(json!({
            "coin": name, "equity": shown(equity), "usdValue": shown(mul(equity, price)), "walletBalance": shown(whole), "locked": shown(worth.locked),
            "spotHedgingQty": "0", "borrowAmount": "0", "accruedInterest": "0", "totalOrderIM": shown(worth.orders),
            "totalPositionIM": shown(worth.positions), "totalPositionMM": shown(worth.maintenance), "unrealisedPnl": shown(worth.profit),
            "cumRealisedPnl": "0", "bonus": "0", "marginCollateral": true, "collateralSwitch": true, "colRes": "0", "spotBorrow": "0",
            "free": "", "availableToWithdraw": "", "availableToBorrow": "",
        }));
    }
    Ok(json!({"list": [{
        "accountType": "UNIFIED", "accountLTV": "0", "accountIMRate": "0", "accountMMRate": "0", "accountIMRateByMp": "0",
        "accountMMRateByMp": "0", "totalInitialMarginByMp": "0", "totalMaintenanceMarginByMp": "0",
        "totalEquity": shown(total + profit), "totalWalletBalance": shown(total), "totalMarginBalance": shown(total + profit),
        "totalAvailableBalance": shown(free_total), "totalPerpUPL": shown(profit),
        "totalInitialMargin": shown(initial), "totalMaintenanceMargin": shown(maintenance),
        "coin": list,
    }]}))
}

fn fees(venue: &Venue, asked: &Asked<'_>) -> Done {
    let category = asked.text("category").unwrap_or("");
    let named = asked.text("symbol");
    let list: Vec<Value> = if category == "spot" {
        let rate = shown(COMMISSION);
        let markets = venue.exchange.markets.iter();
        markets
            .filter(|m| named.is_none_or(|n| m.symbol.name == n))
            .map(|m| json!({"symbol": m.symbol.name, "takerFeeRate": rate, "makerFeeRate": rate}))
            .collect()
    } else {
        super::contracts::fees(venue, category, named)
    };
    if named.is_some() && list.is_empty() {
        return Err(refuse(10001, "params error: symbol invalid"));
    }
    Ok(json!({"category": category, "list": list}))
}

fn coins(venue: &Venue, asked: &Asked<'_>) -> Done {
    let wanted = asked.text("coin");
    let rows: Vec<Value> = venue
        .exchange
        .assets
        .iter()
        .filter(|name| wanted.is_none_or(|w| w == *name))
        .map(|name| {
            json!({"name": name, "coin": name, "remainAmount": "100000000", "chains": [{
                "chainType": name, "confirmation": "1", "withdrawFee": "0", "depositMin": "0", "withdrawMin": "0.0002", "chain": name,
                "chainDeposit": "1", "chainWithdraw": "1", "minAccuracy": "8", "withdrawPercentageFee": "0", "contractAddress": "",
                "safeConfirmNumber": "1",
            }]})
        })
        .collect();
    Ok(json!({"rows": rows}))
}

fn held(venue: &Venue, account: usize, wallet: &str, asset: usize) -> D {
    let account = &venue.exchange.accounts[account];
    if wallet == "FUND" {
        let key = ("FUND".to_owned(), asset);
        account.wallets.get(&key).copied().unwrap_or(0)
    } else {
        account.spot[asset].free
    }
}

fn balances(venue: &Venue, account: usize, asked: &Asked<'_>) -> Done {
    let kind = asked.text("accountType").unwrap_or("");
    let wanted: Option<Vec<&str>> = asked.text("coin").map(|t| t.split(',').collect());
    let list: Vec<Value> = venue
        .exchange
        .assets
        .iter()
        .enumerate()
        .filter(|(_, name)| wanted.as_ref().is_none_or(|w| w.contains(&name.as_str())))
        .map(|(index, name)| {
            let amount = held(venue, account, kind, index);
            json!({"coin": name, "walletBalance": shown(amount), "transferBalance": shown(amount), "bonus": "0"})
        })
        .filter(|v| wanted.is_some() || v["walletBalance"] != "0")
        .collect();
    let uid = venue.exchange.accounts[account].uid;
    Ok(json!({"accountType": kind, "memberId": uid.to_string(), "balance": list}))
}

/// Adds to a wallet, or takes from it, without asking.
fn add(venue: &mut Venue, account: usize, wallet: &str, asset: usize, amount: D) {
    if wallet == "UNIFIED" || wallet == "UTA" {
        venue.exchange.give(account, asset, amount);
    } else {
        let key = (wallet.to_owned(), asset);
        *venue.exchange.accounts[account]
            .wallets
            .entry(key)
            .or_default() += amount;
    }
}

fn uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| {
            if matches!(i, 8 | 13 | 18 | 23) {
                b == b'-'
            } else {
                b.is_ascii_hexdigit()
            }
        })
}

/// The group of an account: it and its sub-accounts.
fn parent(venue: &Venue, account: usize) -> usize {
    venue.exchange.accounts[account].parent.unwrap_or(account)
}

fn transfer(venue: &mut Venue, caller: usize, asked: &Asked<'_>, from: u64, to: u64) -> Done {
    let id = asked.text("transferId").unwrap_or("").to_owned();
    let coin = asked.text("coin").unwrap_or("").to_owned();
    let (from_wallet, to_wallet) = (
        asked.text("fromAccountType").unwrap_or("").to_owned(),
        asked.text("toAccountType").unwrap_or("").to_owned(),
    );
    if !uuid(&id) {
        return Err(params("transferId"));
    }
    if venue
        .effects
        .iter()
        .any(|e| e["kind"] == "transfer" && e["detail"]["transferId"] == id)
    {
        return Err(refuse(131214, "The transfer id exists."));
    }
    if from == to && from_wallet == to_wallet {
        return Err(params("toAccountType"));
    }
    let asset = asset(venue, &coin)?;
    let amount = super::decimal(&asked.fields, "amount")
        .filter(|a| *a > 0)
        .ok_or_else(|| params("amount"))?;
    let group = parent(venue, caller);
    let member = |uid| {
        venue
            .by_uid(uid)
            .filter(|a| parent(venue, *a) == group)
            .ok_or_else(|| refuse(131224, "The member is not of this account."))
    };
    let (from, to) = (member(from)?, member(to)?);
    // A sub-account's key moves its own to the main account only.
    if caller != group && (from != caller || to != group && to != caller) {
        return Err(refuse(131224, "The member is not of this account."));
    }
    if held(venue, from, &from_wallet, asset) < amount {
        return Err(refuse(131212, "Insufficient balance."));
    }
    add(venue, from, &from_wallet, asset, -amount);
    add(venue, to, &to_wallet, asset, amount);
    let name = |venue: &Venue, a: usize| venue.exchange.accounts[a].name.clone();
    let detail = json!({
        "transferId": id, "coin": coin, "amount": text(amount), "from": name(venue, from), "to": name(venue, to),
        "fromAccountType": from_wallet, "toAccountType": to_wallet,
    });
    venue.effect("transfer", caller, detail);
    Ok(json!({"transferId": id, "status": "SUCCESS"}))
}

fn withdraw(venue: &mut Venue, account: usize, asked: &Asked<'_>) -> Done {
    let coin = asked.text("coin").unwrap_or("").to_owned();
    let asset = asset(venue, &coin)?;
    let amount = super::decimal(&asked.fields, "amount")
        .filter(|a| *a > 0)
        .ok_or_else(|| params("amount"))?;
    let chain = asked.text("chain").unwrap_or("").to_owned();
    let address = asked.text("address").unwrap_or("").to_owned();
    let request = asked.text("requestId").unwrap_or("").to_owned();
    let by_uid = match asked.int("forceChain").unwrap_or(0) {
        0 | 1 if chain.is_empty() => return Err(params("chain")),
        0 | 1 => None,
        2 => Some(
            address
                .parse::<u64>()
                .ok()
                .and_then(|uid| venue.by_uid(uid))
                .ok_or_else(|| refuse(131002, "Withdraw address is not a member."))?,
        ),
        _ => return Err(params("forceChain")),
    };
    if asked
        .int("timestamp")
        .is_none_or(|t| t.abs_diff(asked.now) > 30_000)
    {
        return Err(params("timestamp"));
    }
    if asked.int("feeType").unwrap_or(0) > 1 {
        return Err(params("feeType"));
    }
    if !request.is_empty() && venue.withdrawals.iter().any(|w| w["requestId"] == request) {
        return Err(refuse(131075, "The request id exists."));
    }
    let wallet = asked.text("accountType").unwrap_or("").to_owned();
    if held(venue, account, &wallet, asset) < amount {
        return Err(refuse(131212, "Insufficient balance."));
    }
    add(venue, account, &wallet, asset, -amount);
    match by_uid {
        Some(to) => add(venue, to, "FUND", asset, amount),
        // It has left: what nobody at the venue has any more stands under the venue's own account.
        None => add(venue, FEES, "withdrawn", asset, amount),
    }
    let id = venue.v5.number().to_string();
    let detail = json!({
        "id": id, "coin": coin, "network": chain, "address": address, "addressTag": asked.text("tag").unwrap_or(""), "amount": text(amount),
        "asked": text(amount), "account": venue.exchange.accounts[account].name, "requestId": request, "internal": u8::from(by_uid.is_some()),
        "to": by_uid.map(|to| venue.exchange.accounts[to].name.clone()), "time": asked.now.to_string(), "accountType": wallet,
    });
    remember(&mut venue.withdrawals, detail.clone());
    venue.effect("withdraw", account, detail);
    Ok(json!({"id": id}))
}

/// A key's rights, under the names of the venue's permissions.
const PERMISSIONS: &[(&str, &str, Right)] = &[
    ("Spot", "SpotTrade", Right::Trade),
    ("ContractTrade", "Order", Right::Trade),
    ("ContractTrade", "Position", Right::Trade),
    ("Derivatives", "DerivativesTrade", Right::Trade),
    ("Exchange", "ExchangeHistory", Right::Invest),
    ("Earn", "Earn", Right::Invest),
    ("Wallet", "AccountTransfer", Right::UniversalTransfer),
    ("Wallet", "SubMemberTransfer", Right::InternalTransfer),
    ("Wallet", "Withdraw", Right::Withdraw),
];

fn permissions(rights: Rights) -> Value {
    let mut all = json!({
        "ContractTrade": [], "Spot": [], "Wallet": [], "Options": [], "Derivatives": [], "CopyTrading": [], "BlockTrade": [],
        "Exchange": [], "NFT": [], "Affiliate": [], "Earn": [],
    });
    for (group, name, right) in PERMISSIONS {
        if rights.has(*right)
            && let Some(list) = all[*group].as_array_mut()
        {
            list.push(json!(name));
        }
    }
    all
}

fn writes(rights: Rights) -> bool {
    PERMISSIONS.iter().any(|(_, _, right)| rights.has(*right)) || rights.has(Right::Admin)
}

fn key_info(venue: &Venue, asked: &Asked<'_>) -> Done {
    let (account, text) = asked.owner.ok_or_else(super::no_key)?;
    let key = venue.keys.find(text).ok_or_else(super::no_key)?;
    let rsa = matches!(key.material, Material::Rsa(_));
    let ips: Vec<String> = if key.ips.is_empty() {
        vec!["*".to_owned()]
    } else {
        key.ips.iter().map(ToString::to_string).collect()
    };
    let owner = &venue.exchange.accounts[account];
    let parent = owner.parent.map_or(0, |p| venue.exchange.accounts[p].uid);
    Ok(json!({
        "id": key.number.to_string(), "note": key.duty, "apiKey": text, "readOnly": u8::from(!writes(key.rights)), "secret": "",
        "permissions": permissions(key.rights), "ips": ips, "type": if rsa { 2 } else { 1 }, "deadlineDay": if key.ips.is_empty() { 90 } else { -2 },
        "expiredAt": "1970-01-01T00:00:00Z", "createdAt": "2026-01-01T00:00:00Z", "unified": 0, "uta": 1, "userID": owner.uid, "inviterID": 0,
        "vipLevel": "No VIP", "mktMakerLevel": "0", "affiliateID": 0, "rsaPublicKey": "", "isMaster": owner.parent.is_none(),
        "parentUid": parent.to_string(), "kycLevel": "LEVEL_1", "kycRegion": "", "userIDInt64": owner.uid.to_string(),
    }))
}

/// A key that may change itself: one that may move value.
fn editable<'a>(venue: &Venue, asked: &'a Asked<'_>) -> Result<&'a str, Refusal> {
    let (account, text) = asked.owner.ok_or_else(super::no_key)?;
    let moves = [
        Right::UniversalTransfer,
        Right::InternalTransfer,
        Right::Withdraw,
    ];
    if venue.exchange.accounts[account].parent.is_some()
        || !moves.iter().any(|r| venue.may(text, *r))
    {
        return Err(refuse(
            10005,
            "Permission denied, please check your API key permissions.",
        ));
    }
    Ok(text)
}

/// A key changes itself: what it may do, and from where.
fn update_key(venue: &mut Venue, account: usize, asked: &Asked<'_>) -> Done {
    let text = editable(venue, asked)?.to_owned();
    let ips = match asked.text("ips") {
        None => None,
        Some("*") => Some(Vec::new()),
        Some(list) => {
            let parsed: Result<Vec<_>, _> = list.split(',').map(str::parse).collect();
            Some(parsed.map_err(|_| params("ips"))?)
        }
    };
    let mut rights = None;
    if let Some(wanted) = asked.fields.get("permissions").and_then(Value::as_object) {
        let mut all = vec![Right::Read];
        for (group, names) in wanted {
            for name in names.as_array().into_iter().flatten() {
                // The right to withdraw is not given in this way.
                let known = PERMISSIONS
                    .iter()
                    .filter(|(g, n, r)| g == group && name == n && *r != Right::Withdraw);
                let mut known = known.peekable();
                if known.peek().is_none() {
                    return Err(params(group));
                }
                all.extend(known.map(|(_, _, right)| *right));
            }
        }
        rights = Some(all);
    }
    match asked.int("readOnly") {
        None | Some(0) => {}
        Some(1) => rights = Some(vec![Right::Read]),
        _ => return Err(params("readOnly")),
    }
    let key = venue.keys.change(&text).ok_or_else(super::no_key)?;
    if let Some(ips) = ips {
        key.ips = ips;
    }
    if let Some(rights) = rights {
        key.rights = Rights::of(&rights);
    }
    let (number, note, rights) = (key.number.to_string(), key.duty.clone(), key.rights);
    let ips: Vec<String> = key.ips.iter().map(ToString::to_string).collect();
    let changed = json!({
        "id": number, "note": note, "apiKey": text, "readOnly": u8::from(!writes(rights)), "secret": "", "permissions": permissions(rights), "ips": ips,
    });
    venue.effect("key changed", account, changed.clone());
    Ok(changed)
}
