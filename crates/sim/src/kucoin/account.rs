//! Balances, transfers, withdrawals, the key.

use super::{Asked, Done, decimal, denied, flag, parameter, refuse, shown};
use crate::decimal::{D, text};
use crate::exchange::FEES;
use crate::keys::Right;
use crate::refusal::Refusal;
use crate::venue::{Venue, remember};
use serde_json::{Value, json};

/// The wallet of what is not traded with.
const MAIN: &str = "MAIN";

pub(super) fn answer(venue: &mut Venue, path: &str, asked: &Asked<'_>) -> Done {
    let account = asked.account()?;
    match path {
        "/api/v1/hf/accounts/opened" => Ok(json!(true)),
        "/api/ua/v1/account/mode" => Ok(json!({"selfAccountMode": "CLASSIC"})),
        "/api/v1/user/api-key" => key(venue, asked),
        "/api/v1/accounts" => Ok(balances(venue, account, asked)),
        "/api/v3/accounts/universal-transfer" => transfer(venue, account, asked),
        "/api/v3/withdrawals" => withdraw(venue, account, asked),
        _ => Err(refuse(500_000, "Internal Server Error")),
    }
}

fn key(venue: &Venue, asked: &Asked<'_>) -> Done {
    let (account, name) = asked
        .owner
        .ok_or_else(|| denied(400_003, "KC-API-KEY not exists"))?;
    let known = venue.keys.find(name);
    let has = |right: Right| known.is_some_and(|key| key.rights.has(right));
    let permissions = [
        (Right::Read, "General"),
        (Right::Trade, "Spot"),
        (Right::UniversalTransfer, "FlexTransfers"),
        (Right::Withdraw, "Withdrawal"),
    ];
    let permissions: Vec<&str> = permissions
        .into_iter()
        .filter(|(right, _)| has(*right))
        .map(|(_, name)| name)
        .collect();
    let owner = &venue.exchange.accounts[account];
    Ok(json!({
        "uid": owner.uid, "subName": null, "remark": known.map(|key| key.duty.clone()), "apiKey": name, "apiVersion": 3,
        "permission": permissions.join(","), "isMaster": owner.parent.is_none(), "createdAt": 1_729_577_515_473_u64,
        "ipWhitelist": known.map(|key| key.ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
    }))
}

fn balances(venue: &Venue, account: usize, asked: &Asked<'_>) -> Value {
    let owner = &venue.exchange.accounts[account];
    let wanted = asked.text("type");
    // The wallet that is traded with has an older name too, by which CCXT asks.
    let trade = match wanted {
        Some("trade_hf") => "trade_hf",
        _ => "trade",
    };
    let mut all = Vec::new();
    for (at, name) in venue.exchange.assets.iter().enumerate() {
        if asked.text("currency").is_some_and(|wanted| wanted != name) {
            continue;
        }
        let main = held(venue, account, MAIN, at);
        let spot = owner.spot[at];
        for (kind, free, locked) in [("main", main, 0), (trade, spot.free, spot.locked)] {
            if free + locked == 0 || wanted.is_some_and(|wanted| wanted != kind) {
                continue;
            }
            all.push(json!({
                "id": format!("{:024x}", (1_u128 << 90) + ((account * 1000 + at) as u128)), "currency": name, "type": kind,
                "balance": shown(free + locked), "available": shown(free), "holds": shown(locked),
            }));
        }
    }
    all.into()
}

fn asset(venue: &Venue, asked: &Asked<'_>) -> Result<usize, Refusal> {
    let name = asked.text("currency").unwrap_or("");
    let found = venue.exchange.assets.iter().position(|a| a == name);
    found.ok_or_else(|| parameter("currency"))
}

fn held(venue: &Venue, account: usize, wallet: &str, asset: usize) -> D {
    let account = &venue.exchange.accounts[account];
    match wallet {
        "TRADE" => account.spot[asset].free,
        _ => {
            let key = (wallet.to_owned(), asset);
            account.wallets.get(&key).copied().unwrap_or(0)
        }
    }
}

fn add(venue: &mut Venue, account: usize, wallet: &str, asset: usize, amount: D) {
    if wallet == "TRADE" {
        venue.exchange.give(account, asset, amount);
        return;
    }
    let wallets = &mut venue.exchange.accounts[account].wallets;
    *wallets.entry((wallet.to_owned(), asset)).or_default() += amount;
}

fn amount(asked: &Asked<'_>) -> Result<D, Refusal> {
    let amount = decimal(&asked.fields, "amount").filter(|a| *a > 0);
    amount.ok_or_else(|| parameter("amount"))
}

fn poor() -> Refusal {
    refuse(230_003, "Balance insufficient!")
}

fn transfer(venue: &mut Venue, caller: usize, asked: &Asked<'_>) -> Done {
    let (asset, amount) = (asset(venue, asked)?, amount(asked)?);
    let wallet = |name: &str| asked.text(name).unwrap_or("").to_owned();
    let (from_wallet, to_wallet) = (wallet("fromAccountType"), wallet("toAccountType"));
    let user = |name: &'static str| {
        let uid = asked.text(name).and_then(|uid| uid.parse().ok());
        let known = uid.and_then(|uid| venue.by_uid(uid));
        let own = known.filter(|a| venue.exchange.accounts[*a].parent == Some(caller));
        own.ok_or_else(|| parameter(name))
    };
    let (from, to) = match asked.text("type") {
        Some("INTERNAL") if from_wallet != to_wallet => (caller, caller),
        Some("PARENT_TO_SUB") => (caller, user("toUserId")?),
        Some("SUB_TO_PARENT") => (user("fromUserId")?, caller),
        _ => return Err(parameter("type")),
    };
    if held(venue, from, &from_wallet, asset) < amount {
        return Err(poor());
    }
    add(venue, from, &from_wallet, asset, -amount);
    add(venue, to, &to_wallet, asset, amount);
    let id = venue.v5.number().to_string();
    let name = |at: usize| venue.exchange.accounts[at].name.clone();
    let detail = json!({
        "transId": id, "coin": asked.text("currency"), "amount": text(amount), "from": name(from), "to": name(to),
        "fromWallet": from_wallet, "toWallet": to_wallet,
    });
    venue.effect("transfer", caller, detail);
    Ok(json!({"orderId": id}))
}

/// To a chain, or to another user of the venue, who has it at once. It leaves the main account.
fn withdraw(venue: &mut Venue, account: usize, asked: &Asked<'_>) -> Done {
    let (asset, amount) = (asset(venue, asked)?, amount(asked)?);
    let address = asked.text("toAddress").unwrap_or("").to_owned();
    if flag(&asked.fields, "isInner") {
        return Err(parameter("isInner"));
    }
    let inside = match asked.text("withdrawType") {
        Some("ADDRESS") => None,
        Some("UID") => {
            let known = address.parse().ok().and_then(|uid| venue.by_uid(uid));
            Some(known.ok_or_else(|| parameter("toAddress"))?)
        }
        _ => return Err(parameter("withdrawType")),
    };
    if held(venue, account, MAIN, asset) < amount {
        return Err(poor());
    }
    add(venue, account, MAIN, asset, -amount);
    match inside {
        Some(to) => add(venue, to, MAIN, asset, amount),
        // It has left: what nobody at the venue has any more stands under the venue's own account.
        None => add(venue, FEES, "withdrawn", asset, amount),
    }
    let id = venue.v5.number().to_string();
    let detail = json!({
        "id": id, "coin": asked.text("currency"), "network": asked.text("chain"), "address": address, "memo": asked.text("memo"),
        "amount": text(amount), "account": venue.exchange.accounts[account].name,
        "to": inside.map(|to| venue.exchange.accounts[to].name.clone()), "time": asked.now.to_string(),
    });
    remember(&mut venue.withdrawals, detail.clone());
    venue.effect("withdraw", account, detail);
    Ok(json!({"withdrawalId": id}))
}
