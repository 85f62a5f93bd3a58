"""Unmodified CCXT and python-okx trade on the simulated OKX."""

import json
import os
import sys
import urllib.request

said = json.loads(sys.argv[1])
os.environ["SSL_CERT_FILE"] = said["ca"]

import ccxt  # noqa: E402
import okx.Account  # noqa: E402
import okx.Funding  # noqa: E402
import okx.MarketData  # noqa: E402
import okx.PublicData  # noqa: E402
import okx.Trade  # noqa: E402


def control(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(said["control"] + path, data=data), timeout=30) as answer:
        return json.loads(answer.read())


def key(account, duty):
    return next(k for a in said["accounts"] if a["name"] == account for k in a["keys"] if k["duty"] == duty)


def through_ccxt(own):
    return ccxt.okx({
        "apiKey": own["key"], "secret": own["secret"], "password": own["passphrase"], "validateServerSsl": said["ca"],
        "urls": {"api": {"rest": said["url"]}},
    })


def through_okx(api, own):
    return api(own["key"], own["secret"], own["passphrase"], flag="0", domain=said["url"])


def raises(kinds, act, text):
    try:
        act()
    except kinds as error:
        assert text in str(error), f"{text} is not in {error!r}"
        return error
    raise AssertionError(f"did not raise {kinds}")


def ccxt_spot():
    client = through_ccxt(key("firm", "all"))
    client.load_markets()
    assert client.markets["BTC/USDT"]["precision"]["amount"] == 0.00001
    assert client.fetch_time() > 1.7e12
    assert client.fetch_balance()["USDT"]["free"] > 0
    assert client.fetch_ticker("BTC/USDT")["bid"] > 0
    assert client.fetch_order_book("BTC/USDT", 5)["bids"]
    assert len(client.fetch_ohlcv("BTC/USDT", "1m", limit=10)) == 10
    assert client.fetch_trades("BTC/USDT") is not None
    bought = client.create_order("BTC/USDT", "market", "buy", 0.01)
    done = client.fetch_order(bought["id"], "BTC/USDT")
    assert (done["status"], done["side"], done["filled"]) == ("closed", "buy", 0.01), done
    assert done["fee"]["currency"] == "BTC"
    rests = client.create_order("BTC/USDT", "limit", "buy", 0.01, 60000, {"clientOrderId": "my1"})
    [open_order] = client.fetch_open_orders("BTC/USDT")
    assert (open_order["id"], open_order["clientOrderId"]) == (rests["id"], "my1")
    client.edit_order(rests["id"], "BTC/USDT", "limit", "buy", 0.02, 61000)
    [changed] = client.fetch_open_orders("BTC/USDT")
    assert (changed["id"], changed["price"], changed["amount"]) == (rests["id"], 61000, 0.02)
    raises(ccxt.InvalidOrder, lambda: client.create_order("BTC/USDT", "limit", "buy", 0.01, 60000, {"clientOrderId": "my1"}), "51016")
    client.cancel_order(rests["id"], "BTC/USDT")
    raises(ccxt.OrderNotFound, lambda: client.cancel_order(rests["id"], "BTC/USDT"), "51400")
    raises(ccxt.OrderNotFound, lambda: client.fetch_order("123", "BTC/USDT"), "51603")
    raises(ccxt.InsufficientFunds, lambda: client.create_order("BTC/USDT", "limit", "buy", 30, 60000), "51008")
    several = client.create_orders([
        {"symbol": "BTC/USDT", "type": "limit", "side": side, "amount": 0.01, "price": price}
        for side, price in [("buy", 50000), ("sell", 80000)]])
    assert len(several) == 2 and all(o["id"] for o in several)
    client.cancel_orders([o["id"] for o in several], "BTC/USDT")
    assert client.fetch_open_orders() == []
    assert client.fetch_my_trades("BTC/USDT")[0]["order"] == bought["id"]
    taken = client.create_order("BTC/USDT", "limit", "buy", 0.01, 70000, {"postOnly": True})
    assert client.fetch_order(taken["id"], "BTC/USDT")["status"] == "canceled"
    assert taken["id"] in [o["id"] for o in client.fetch_canceled_orders("BTC/USDT")]
    stop = client.create_order("BTC/USDT", "market", "sell", 0.01, None, {"stopLossPrice": 50000})
    waiting = client.fetch_open_orders("BTC/USDT", params={"trigger": True, "ordType": "conditional"})
    assert [o["id"] for o in waiting] == [stop["id"]], waiting
    client.cancel_order(stop["id"], "BTC/USDT", {"trigger": True})
    assert client.fetch_trading_fee("BTC/USDT")["taker"] == 0.001


def ccxt_exits():
    client = through_ccxt(key("firm", "trade"))
    client.load_markets()
    order = client.create_order("ETH/USDT", "limit", "buy", 1, 3400, {
        "takeProfit": {"triggerPrice": 4000, "type": "market"}, "stopLoss": {"triggerPrice": 3000, "type": "market"}})
    assert [o["id"] for o in client.fetch_open_orders("ETH/USDT")] == [order["id"]]
    [entry] = [o for o in control("/orders?account=firm") if o["symbol"] == "ETH-USDT" and o["status"] == "NEW"]
    control("/hit", {"account": "firm", "symbol": "ETH-USDT", "orderId": entry["orderId"]})
    assert client.fetch_order(order["id"], "ETH/USDT")["status"] == "closed"
    control("/price", {"symbol": "ETH-USDT", "price": "2990"})
    sold = client.fetch_my_trades("ETH/USDT")[-1]
    assert sold["side"] == "sell", sold
    control("/price", {"symbol": "ETH-USDT", "price": "3500"})


def python_okx():
    own = key("firm", "trade")
    trade = through_okx(okx.Trade.TradeAPI, own)
    placed = trade.place_order(instId="BTC-USDT", tdMode="cash", side="buy", ordType="limit", sz="0.01", px="60000", clOrdId="py1")
    assert (placed["code"], placed["data"][0]["sCode"]) == ("0", "0"), placed
    number = placed["data"][0]["ordId"]
    assert trade.get_order(instId="BTC-USDT", clOrdId="py1")["data"][0]["ordId"] == number
    assert [o["ordId"] for o in trade.get_order_list(instType="SPOT")["data"]] == [number]
    assert trade.amend_order(instId="BTC-USDT", ordId=number, newSz="0.005")["code"] == "0"
    assert trade.get_order(instId="BTC-USDT", ordId=number)["data"][0]["sz"] == "0.005"
    assert trade.cancel_order(instId="BTC-USDT", clOrdId="py1")["code"] == "0"
    again = trade.cancel_order(instId="BTC-USDT", clOrdId="py1")
    assert (again["code"], again["data"][0]["sCode"]) == ("1", "51400"), again
    one = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.01", "px": "50000"}
    several = trade.place_multiple_orders([one, {**one, "sz": "0.000001"}])
    assert (several["code"], [d["sCode"] for d in several["data"]]) == ("2", ["0", "51121"]), several
    assert trade.cancel_multiple_orders([{"instId": "BTC-USDT", "ordId": several["data"][0]["ordId"]}])["code"] == "0"
    pair = trade.place_algo_order(instId="BTC-USDT", tdMode="cash", side="sell", ordType="oco", sz="0.01", tpTriggerPx="80000",
                                  tpOrdPx="-1", slTriggerPx="50000", slOrdPx="-1", algoClOrdId="pair1")
    assert pair["code"] == "0", pair
    [waits] = trade.order_algos_list(ordType="oco")["data"]
    assert (waits["algoId"], waits["tpTriggerPx"], waits["slTriggerPx"]) == (pair["data"][0]["algoId"], "80000", "50000"), waits
    assert trade.cancel_algo_order([{"instId": "BTC-USDT", "algoId": waits["algoId"]}])["code"] == "0"
    assert trade.order_algos_list(ordType="oco")["data"] == []
    account = through_okx(okx.Account.AccountAPI, own)
    assert account.get_account_balance(ccy="BTC")["data"][0]["details"][0]["ccy"] == "BTC"
    config = account.get_account_config()["data"][0]
    assert (config["perm"], config["ip"]) == ("read_only,trade", ""), config
    public = okx.PublicData.PublicAPI(flag="0", domain=said["url"])
    assert public.get_instruments(instType="SPOT", instId="BTC-USDT")["data"][0]["tickSz"] == "0.01"
    data = okx.MarketData.MarketAPI(flag="0", domain=said["url"])
    assert data.get_ticker(instId="BTC-USDT")["data"][0]["last"]
    assert trade.get_fills(instType="SPOT")["code"] == "0"


def rights():
    one = dict(instId="BTC-USDT", tdMode="cash", side="buy", ordType="limit", sz="0.01", px="60000")
    read = through_okx(okx.Trade.TradeAPI, key("firm", "read"))
    assert read.place_order(**one)["code"] == "50120"
    own = key("firm", "trade")
    for wrong, code in [({"secret": "x" * 36}, "50113"), ({"passphrase": "other"}, "50105"), ({"key": "nobody"}, "50111")]:
        assert through_okx(okx.Trade.TradeAPI, {**own, **wrong}).place_order(**one)["code"] == code, wrong
    demo = okx.Trade.TradeAPI(own["key"], own["secret"], own["passphrase"], flag="1", domain=said["url"])
    assert demo.place_order(**one)["code"] == "50101"
    control("/keys", {"key": own["key"], "ips": ["192.0.2.7"]})
    assert through_okx(okx.Trade.TradeAPI, own).place_order(**one)["code"] == "50110"
    control("/keys", {"key": own["key"], "ips": []})
    funding = through_okx(okx.Funding.FundingAPI, own)
    assert funding.withdrawal(ccy="USDT", amt="1", dest="4", toAddr="0xabc", chain="USDT-USDT")["code"] == "50120"
    raises(ccxt.AuthenticationError, through_ccxt({**own, "secret": "x" * 36}).fetch_balance, "50113")


def value_moves():
    client = through_ccxt(key("firm", "move"))
    client.load_markets()
    client.transfer("USDT", 100, "trading", "funding")
    assert control("/balances?account=firm")["wallets"]["FUNDING"]["USDT"] == "100.00000000"
    sent = client.withdraw("USDT", 12.5, "0xabc", params={"network": "USDT", "fee": 0})
    [left] = [w for w in control("/withdrawals") if w["id"] == sent["id"]]
    assert (left["address"], left["asked"], left["dest"]) == ("0xabc", "12.50000000", "4"), left
    assert client.fetch_deposit_address("USDT", {"network": "USDT"})["address"]
    funding = through_okx(okx.Funding.FundingAPI, key("firm", "move"))
    # To another user of the venue: it is there at once.
    thief = next(a["uid"] for a in said["accounts"] if a["name"] == "thief")
    inside = funding.withdrawal(ccy="USDT", amt="20", dest="3", toAddr=str(thief))
    assert inside["code"] == "0", inside
    assert control("/balances?account=thief")["wallets"]["FUNDING"]["USDT"] == "20.00000000"
    kinds = {effect["kind"] for effect in control("/effects")}
    assert {"withdraw", "transfer"} <= kinds, kinds


def faults_and_limits():
    client = through_ccxt(key("stranger", "trade"))
    client.load_markets()
    place = lambda name: client.create_order("BTC/USDT", "limit", "buy", 0.01, 60000, {"clientOrderId": name})
    known = lambda name: client.fetch_order(None, "BTC/USDT", {"clientOrderId": name})["status"] == "open"
    for act, reached in [("error-before", False), ("error-after", True), ("drop-before", False), ("drop-after", True)]:
        name = act.replace("-", "")
        control("/faults", {"act": act, "path": "/api/v5/trade/batch-orders", "count": 1})
        raises(ccxt.NetworkError, lambda: place(name), "")
        if reached:
            assert known(name)
        else:
            raises(ccxt.OrderNotFound, lambda: known(name), "51603")
    logged = [r for r in control("/requests?path=/api/v5/trade&limit=10000")["requests"] if r["client_order_id"] == "dropafter"]
    assert (logged[0]["status"], logged[0]["fault"], logged[0]["accepted"]) == (200, "drop-after", True)
    fast = through_ccxt(key("stranger", "trade"))
    fast.enableRateLimit = False
    raises(ccxt.RateLimitExceeded, lambda: [fast.private_get_account_config() for _ in range(20)], "50011")


def swaps():
    client = through_ccxt(key("firm", "trade"))
    client.load_markets()
    symbol = "BTC/USDT:USDT"
    assert (client.markets[symbol]["contractSize"], client.markets["BTC/USD:BTC"]["contractSize"]) == (0.01, 100)
    assert client.fetch_ticker(symbol)["bid"] and client.fetch_order_book(symbol, 5)["asks"] and client.fetch_ohlcv(symbol, "1m", limit=5)
    assert client.fetch_funding_rate(symbol)["fundingRate"]
    client.set_leverage(10, symbol, {"marginMode": "cross"})
    before = client.fetch_balance()["USDT"]["total"]
    opened = client.create_order(symbol, "market", "buy", 1)
    done = client.fetch_order(opened["id"], symbol)
    assert (done["status"], done["filled"]) == ("closed", 1), done
    [position] = client.fetch_positions([symbol])
    assert (position["side"], position["contracts"], position["leverage"]) == ("long", 1, 10), position
    rests = client.create_order(symbol, "limit", "sell", 1, 67000, {"reduceOnly": True, "clientOrderId": "exit1"})
    [open_order] = client.fetch_open_orders(symbol)
    assert (open_order["id"], open_order["reduceOnly"], open_order["clientOrderId"]) == (rests["id"], True, "exit1")
    client.edit_order(rests["id"], symbol, "limit", "sell", 1, 67100)
    assert client.fetch_open_orders(symbol)[0]["price"] == 67100
    client.cancel_order(rests["id"], symbol)
    raises(ccxt.OrderNotFound, lambda: client.cancel_order(rests["id"], symbol), "51400")
    raises(ccxt.InsufficientFunds, lambda: client.create_order(symbol, "limit", "buy", 50000, 63000), "51008")
    client.close_position(symbol, params={"marginMode": "cross"})
    assert client.fetch_positions([symbol]) == []
    assert [t["side"] for t in client.fetch_my_trades(symbol)][-1] == "sell"
    attached = client.create_order(symbol, "market", "buy", 1, None, {"stopLoss": {"triggerPrice": 60000, "type": "market"}})
    assert client.fetch_order(attached["id"], symbol)["status"] == "closed"
    control("/price", {"symbol": "BTC-USDT", "price": "59900"})
    assert client.fetch_positions([symbol]) == []
    control("/price", {"symbol": "BTC-USDT", "price": "65000"})
    assert client.fetch_balance()["USDT"]["total"] < before - 40
    account = through_okx(okx.Account.AccountAPI, key("firm", "trade"))
    assert account.set_position_mode(posMode="long_short_mode")["code"] == "0"
    trade = through_okx(okx.Trade.TradeAPI, key("firm", "trade"))
    one = dict(instId="BTC-USD-SWAP", tdMode="cross", ordType="market", sz="1")
    short = trade.place_order(side="sell", posSide="short", **one)
    assert short["code"] == "0", short
    [held] = account.get_positions(instType="SWAP")["data"]
    assert (held["posSide"], held["pos"]) == ("short", "1"), held
    assert trade.place_order(side="buy", posSide="net", **one)["data"][0]["sCode"] == "51000"
    assert trade.close_positions(instId="BTC-USD-SWAP", mgnMode="cross", posSide="short")["code"] == "0"
    assert account.set_position_mode(posMode="net_mode")["code"] == "0"


for step in [ccxt_spot, ccxt_exits, swaps, python_okx, rights, value_moves, faults_and_limits]:
    step()
    print(step.__name__, "done", flush=True)
