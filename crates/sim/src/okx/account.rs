//! Balances, transfers, withdrawals, settings.

use super::{Asked, Done, contracts, decimal, parameter, refuse, shown, trades};
use crate::decimal::{D, ONE, mul, text};
use crate::exchange::{COMMISSION, FEES};
use crate::keys::Right;
use crate::refusal::Refusal;
use crate::venue::{Venue, remember};
use serde_json::{Value, json};

/// The wallet of what is not traded with.
const FUNDING: &str = "FUNDING";

pub(super) fn answer(venue: &mut Venue, path: &str, asked: &Asked<'_>) -> Done {
    let account = asked.account()?;
    for service in crate::v5::perps::SERVICES {
        venue.futures.house(service).open_account(account);
    }
    match path {
        "/api/v5/account/balance" => Ok(vec![balance(venue, account, asked)]),
        "/api/v5/account/config" => config(venue, asked),
        "/api/v5/account/positions" => Ok(contracts::positions(venue, account, asked)),
        "/api/v5/account/trade-fee" => {
            let rate = format!("-{}", shown(COMMISSION));
            Ok(vec![json!({
                "category": "1", "delivery": "", "exercise": "", "instType": asked.text("instType"), "level": "Lv1", "maker": rate, "makerU": "",
                "makerUSDC": rate, "taker": rate, "takerU": "", "takerUSDC": rate, "ruleType": "normal", "ts": asked.now.to_string(),
            })])
        }
        "/api/v5/account/leverage-info" => contracts::leverage(venue, account, asked, false),
        "/api/v5/account/set-leverage" => contracts::leverage(venue, account, asked, true),
        "/api/v5/account/set-position-mode" => {
            let hedge = asked.text("posMode") == Some("long_short_mode");
            contracts::set_mode(venue, account, hedge)?;
            Ok(vec![json!({"posMode": asked.text("posMode")})])
        }
        "/api/v5/asset/currencies" => Ok(currencies(venue, asked)),
        "/api/v5/asset/balances" => {
            let wanted = list(asked);
            let all = venue.exchange.assets.iter().enumerate();
            Ok(all
                .filter(|(_, name)| wanted.is_empty() || wanted.contains(name))
                .map(|(i, name)| (name, held(venue, account, "6", i)))
                .filter(|(_, amount)| *amount > 0)
                .map(|(name, amount)| json!({"ccy": name, "bal": shown(amount), "frozenBal": "0", "availBal": shown(amount)}))
                .collect())
        }
        "/api/v5/asset/deposit-address" => {
            let coin = asked.text("ccy").unwrap_or("");
            asset(venue, coin)?;
            let uid = venue.exchange.accounts[account].uid;
            Ok(vec![json!({
                "addr": format!("sim-{}-{uid}", coin.to_ascii_lowercase()), "tag": "", "memo": "", "pmtId": "", "ccy": coin, "to": "6",
                "chain": format!("{coin}-{coin}"), "ctAddr": "", "selected": true, "verifiedName": "",
            })])
        }
        "/api/v5/asset/transfer" => transfer(venue, account, asked),
        "/api/v5/asset/withdrawal" => withdraw(venue, account, asked),
        "/api/v5/asset/withdrawal-history" => {
            let name = venue.exchange.accounts[account].name.clone();
            Ok(venue
                .withdrawals
                .iter()
                .rev()
                .filter(|w| w["account"] == name)
                .filter(|w| asked.text("ccy").is_none_or(|c| w["coin"] == c))
                .filter(|w| asked.text("wdId").is_none_or(|id| w["id"] == id))
                .map(|w| {
                    json!({
                        "ccy": w["coin"], "chain": w["network"], "nonTradableAsset": false, "amt": w["amount"], "ts": w["time"], "from": "", "to": w["address"],
                        "areaCodeFrom": "", "areaCodeTo": "", "tag": "", "pmtId": "", "memo": "", "addrEx": null, "txId": w["id"], "fee": w["fee"],
                        "feeCcy": w["coin"], "state": "2", "clientId": w["clientId"], "wdId": w["id"], "note": "",
                    })
                })
                .collect())
        }
        _ => Err(refuse(50026, "System error. Try again later.")),
    }
}

fn list(asked: &Asked<'_>) -> Vec<String> {
    let text = asked.text("ccy").unwrap_or("");
    text.split(',')
        .filter(|t| !t.is_empty())
        .map(str::to_owned)
        .collect()
}

fn asset(venue: &Venue, coin: &str) -> Result<usize, Refusal> {
    venue
        .exchange
        .asset(coin)
        .ok_or_else(|| refuse(51012, "Token does not exist."))
}

fn dollars(venue: &Venue, asset: usize) -> D {
    let name = &venue.exchange.assets[asset];
    venue
        .exchange
        .market(&format!("{name}-USDT"))
        .map_or(ONE, |m| venue.exchange.markets[m].last)
}

pub(super) fn balance(venue: &Venue, account: usize, asked: &Asked<'_>) -> Value {
    let wanted = list(asked);
    let now = asked.now.to_string();
    let (mut total, mut frozen, mut details) = (0, 0, Vec::new());
    let mut profit = 0;
    for index in 0..venue.exchange.assets.len() {
        let name = &venue.exchange.assets[index];
        let worth = venue.worth(account, index);
        let whole = worth.wallet();
        let equity = whole + worth.profit;
        let held = whole - worth.free;
        let price = dollars(venue, index);
        total += mul(equity, price);
        frozen += mul(worth.locked + worth.orders, price);
        profit += mul(worth.profit, price);
        if whole == 0 || !wanted.is_empty() && !wanted.contains(name) {
            continue;
        }
        details.push(json!({
            "ccy": name, "eq": shown(equity), "cashBal": shown(whole), "uTime": now, "isoEq": "0", "availEq": shown(worth.free),
            "disEq": shown(mul(whole, price)), "fixedBal": "0", "availBal": shown(worth.free), "frozenBal": shown(held),
            "ordFrozen": shown(worth.locked + worth.orders), "liab": "", "upl": shown(worth.profit), "uplLiab": "", "crossLiab": "", "isoLiab": "", "mgnRatio": "", "interest": "",
            "twap": "0", "maxLoan": "", "eqUsd": shown(mul(whole, price)), "notionalLever": "0", "stgyEq": "0", "isoUpl": "0", "imr": "0", "mmr": "0",
            "spotInUseAmt": "", "borrowFroz": "", "rewardBal": "0",
        }));
    }
    json!({
        "uTime": now, "totalEq": shown(total), "isoEq": "0", "adjEq": "", "availEq": "", "ordFroz": shown(frozen), "imr": "", "mmr": "", "borrowFroz": "",
        "mgnRatio": "", "notionalUsd": "", "upl": shown(profit), "details": details,
    })
}

fn config(venue: &Venue, asked: &Asked<'_>) -> Done {
    let (account, text) = asked
        .owner
        .ok_or_else(|| refuse(50111, "Invalid OK-ACCESS-KEY"))?;
    let key = venue
        .keys
        .find(text)
        .ok_or_else(|| refuse(50111, "Invalid OK-ACCESS-KEY"))?;
    let mut perm = vec!["read_only"];
    if trades(key) {
        perm.push("trade");
    }
    if key.rights.has(Right::Withdraw) {
        perm.push("withdraw");
    }
    let ips: Vec<String> = key.ips.iter().map(ToString::to_string).collect();
    let hedge = venue.futures.houses[0].accounts[account].hedge;
    let owner = &venue.exchange.accounts[account];
    let main = owner
        .parent
        .map_or(owner.uid, |p| venue.exchange.accounts[p].uid);
    Ok(vec![json!({
        "uid": owner.uid.to_string(), "mainUid": main.to_string(), "acctLv": "2", "acctStpMode": "cancel_maker", "posMode": if hedge { "long_short_mode" } else { "net_mode" }, "autoLoan": false,
        "greeksType": "PA", "level": "Lv1", "levelTmp": "", "ctIsoMode": "automatic", "mgnIsoMode": "automatic", "spotOffsetType": "",
        "roleType": "0", "traderInsts": [], "spotRoleType": "0", "spotTraderInsts": [], "opAuth": "0", "kycLv": "3", "label": key.duty,
        "ip": ips.join(","), "perm": perm.join(","), "liquidationGear": "-1", "enableSpotBorrow": false, "spotBorrowAutoRepay": false,
        "type": if owner.parent.is_some() { "1" } else { "0" }, "settleCcy": "USDT", "settleCcyList": ["USDT"],
    })])
}

fn currencies(venue: &Venue, asked: &Asked<'_>) -> Vec<Value> {
    let wanted = list(asked);
    venue
        .exchange
        .assets
        .iter()
        .filter(|name| wanted.is_empty() || wanted.contains(name))
        .map(|name| {
            json!({
                "ccy": name, "name": name, "chain": format!("{name}-{name}"), "canDep": true, "canWd": true, "canInternal": true, "minDep": "0.0002",
                "minWd": "0.0002", "maxWd": "1000000", "wdTickSz": "8", "wdQuota": "10000000", "usedWdQuota": "0", "fee": "0", "minFee": "0", "maxFee": "0",
                "mainNet": true, "needTag": false, "minDepArrivalConfirm": "1", "minWdUnlockConfirm": "1", "depQuotaFixed": "", "usedDepQuotaFixed": "",
                "depQuoteDailyLayer2": "", "ctAddr": "", "logoLink": "", "burningFeeRate": "",
            })
        })
        .collect()
}

/// What a wallet has: `6` is funding, `18` trading.
fn held(venue: &Venue, account: usize, wallet: &str, asset: usize) -> D {
    let account = &venue.exchange.accounts[account];
    if wallet == "6" {
        let key = (FUNDING.to_owned(), asset);
        account.wallets.get(&key).copied().unwrap_or(0)
    } else {
        account.spot[asset].free
    }
}

fn add(venue: &mut Venue, account: usize, wallet: &str, asset: usize, amount: D) {
    if wallet == "18" {
        venue.exchange.give(account, asset, amount);
    } else {
        let name = if wallet == "6" { FUNDING } else { wallet };
        let key = (name.to_owned(), asset);
        *venue.exchange.accounts[account]
            .wallets
            .entry(key)
            .or_default() += amount;
    }
}

fn positive(asked: &Asked<'_>, name: &str) -> Result<D, Refusal> {
    decimal(&asked.fields, name)
        .filter(|a| *a > 0)
        .ok_or_else(|| parameter(name))
}

fn transfer(venue: &mut Venue, caller: usize, asked: &Asked<'_>) -> Done {
    let coin = asked.text("ccy").unwrap_or("").to_owned();
    let asset = asset(venue, &coin)?;
    let amount = positive(asked, "amt")?;
    let (from_wallet, to_wallet) = (
        asked.text("from").unwrap_or("").to_owned(),
        asked.text("to").unwrap_or("").to_owned(),
    );
    let sub = asked.text("subAcct").and_then(|name| {
        let mut all = venue.exchange.accounts.iter();
        all.position(|a| a.name == name && a.parent == Some(caller))
    });
    let (from, to) = match asked.text("type").unwrap_or("0") {
        "0" if asked.text("subAcct").is_none() && from_wallet != to_wallet => (caller, caller),
        "1" => (caller, sub.ok_or_else(|| parameter("subAcct"))?),
        "2" => (sub.ok_or_else(|| parameter("subAcct"))?, caller),
        "3" => (
            caller,
            venue.exchange.accounts[caller]
                .parent
                .ok_or_else(|| parameter("type"))?,
        ),
        _ => return Err(parameter("type")),
    };
    if held(venue, from, &from_wallet, asset) < amount {
        return Err(refuse(58350, "Insufficient balance."));
    }
    add(venue, from, &from_wallet, asset, -amount);
    add(venue, to, &to_wallet, asset, amount);
    let id = venue.v5.number().to_string();
    let name = |venue: &Venue, a: usize| venue.exchange.accounts[a].name.clone();
    let detail = json!({
        "transId": id, "coin": coin, "amount": text(amount), "from": name(venue, from), "to": name(venue, to), "fromWallet": from_wallet,
        "toWallet": to_wallet,
    });
    venue.effect("transfer", caller, detail);
    Ok(vec![json!({
        "transId": id, "ccy": coin, "clientId": asked.text("clientId").unwrap_or(""), "from": from_wallet, "amt": shown(amount), "to": to_wallet,
    })])
}

/// To a chain (`dest` 4), or to another user of the venue (`dest` 3), who has it at once.
fn withdraw(venue: &mut Venue, account: usize, asked: &Asked<'_>) -> Done {
    let coin = asked.text("ccy").unwrap_or("").to_owned();
    let asset = asset(venue, &coin)?;
    let amount = positive(asked, "amt")?;
    let address = asked.text("toAddr").unwrap_or("").to_owned();
    let client = asked.text("clientId").unwrap_or("").to_owned();
    let fee = decimal(&asked.fields, "fee").unwrap_or(0);
    let inside = match asked.text("dest") {
        Some("3") => {
            if asked.text("chain").is_some() {
                return Err(parameter("chain"));
            }
            let uid = address.parse().ok().and_then(|uid| venue.by_uid(uid));
            let named = venue
                .exchange
                .accounts
                .iter()
                .position(|a| a.name == address);
            let to = uid.or(named.filter(|a| *a > crate::exchange::CROWD));
            Some(to.ok_or_else(|| {
                refuse(
                    58207,
                    "Withdrawal address is not allowlisted for verification exemption",
                )
            })?)
        }
        _ => None,
    };
    let chain = asked.text("chain").unwrap_or("").to_owned();
    if inside.is_none() && !chain.is_empty() && !chain.starts_with(&format!("{coin}-")) {
        return Err(parameter("chain"));
    }
    if !client.is_empty() && venue.withdrawals.iter().any(|w| w["clientId"] == client) {
        return Err(refuse(58370, "The client ID exists."));
    }
    if held(venue, account, "6", asset) < amount + fee {
        return Err(refuse(58350, "Insufficient balance."));
    }
    add(venue, account, "6", asset, -amount - fee);
    match inside {
        Some(to) => add(venue, to, "6", asset, amount),
        // It has left: what nobody at the venue has any more stands under the venue's own account.
        None => add(venue, FEES, "withdrawn", asset, amount),
    }
    venue.exchange.give(FEES, asset, fee);
    let id = venue.v5.number().to_string();
    let detail = json!({
        "id": id, "coin": coin, "network": chain, "address": address, "amount": text(amount), "asked": text(amount), "fee": text(fee),
        "account": venue.exchange.accounts[account].name, "clientId": client, "dest": asked.text("dest"),
        "to": inside.map(|to| venue.exchange.accounts[to].name.clone()), "time": asked.now.to_string(),
    });
    remember(&mut venue.withdrawals, detail.clone());
    venue.effect("withdraw", account, detail);
    Ok(vec![
        json!({"amt": shown(amount), "wdId": id, "ccy": coin, "clientId": client, "chain": chain}),
    ])
}
