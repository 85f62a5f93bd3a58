"""Unmodified CCXT and pybit trade on the simulated Bybit."""

import json
import sys
import urllib.request
import uuid

import ccxt
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP

said = json.loads(sys.argv[1])


def control(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(said["control"] + path, data=data), timeout=30) as answer:
        return json.loads(answer.read())


def key(account, duty, scheme="hmac"):
    keys = next(a for a in said["accounts"] if a["name"] == account)["keys"]
    return next(k for k in keys if k["duty"] == duty and k["scheme"] == scheme)


def uid(account):
    return next(a for a in said["accounts"] if a["name"] == account)["uid"]


def through_ccxt(own):
    client = ccxt.bybit({
        "apiKey": own["key"], "secret": own["secret"], "validateServerSsl": said["ca"],
        "urls": {"api": {part: said["url"] for part in ("spot", "futures", "v2", "public", "private")}},
        "options": {"defaultType": "spot"},
    })
    client.verify = said["ca"]
    return client


def through_pybit(own):
    secret = own.get("secret")
    if secret is None:
        with open(own["file"], encoding="ascii") as file:
            secret = file.read()
    client = HTTP(api_key=own["key"], api_secret=secret, rsa_authentication="file" in own, max_retries=1)
    client.endpoint = said["url"]
    client.client.verify = said["ca"]
    return client


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
    assert client.fetch_balance()["USDT"]["free"] > 0
    assert client.fetch_ticker("BTC/USDT")["bid"] > 0
    assert client.fetch_order_book("BTC/USDT", 5)["bids"]
    assert len(client.fetch_ohlcv("BTC/USDT", "1m", limit=10)) == 10
    assert client.fetch_trades("BTC/USDT") is not None
    bought = client.create_order("BTC/USDT", "market", "buy", 0.01, 66000)
    done = client.fetch_order(bought["id"], "BTC/USDT", params={"acknowledged": True})
    assert (done["status"], done["side"]) == ("closed", "buy") and done["filled"] > 0.009, done
    rests = client.create_order("BTC/USDT", "limit", "buy", 0.01, 60000, {"clientOrderId": "my-1"})
    [open_order] = client.fetch_open_orders("BTC/USDT")
    assert (open_order["id"], open_order["clientOrderId"]) == (rests["id"], "my-1")
    client.edit_order(rests["id"], "BTC/USDT", "limit", "buy", 0.02, 61000)
    [changed] = client.fetch_open_orders("BTC/USDT")
    assert (changed["id"], changed["price"], changed["amount"]) == (rests["id"], 61000, 0.02)
    raises(ccxt.InvalidOrder, lambda: client.create_order("BTC/USDT", "limit", "buy", 0.01, 60000, {"clientOrderId": "my-1"}), "170141")
    client.cancel_order(rests["id"], "BTC/USDT")
    raises(ccxt.OrderNotFound, lambda: client.cancel_order(rests["id"], "BTC/USDT"), "170213")
    raises(ccxt.InsufficientFunds, lambda: client.create_order("BTC/USDT", "limit", "buy", 30, 60000), "170131")
    several = client.create_orders([
        {"symbol": "BTC/USDT", "type": "limit", "side": side, "amount": 0.01, "price": price}
        for side, price in [("buy", 50000), ("sell", 80000)]])
    assert len(several) == 2 and all(o["id"] for o in several)
    client.cancel_orders([o["id"] for o in several], "BTC/USDT")
    assert client.fetch_open_orders("BTC/USDT") == []
    client.create_order("ETH/USDT", "limit", "sell", 1, 5000)
    client.cancel_all_orders("ETH/USDT")
    assert client.fetch_open_orders() == []
    assert client.fetch_my_trades("BTC/USDT")[0]["order"] == bought["id"]
    taken = client.create_order("BTC/USDT", "limit", "buy", 0.01, 70000, {"postOnly": True})
    assert client.fetch_order(taken["id"], "BTC/USDT", params={"acknowledged": True})["status"] == "canceled"
    assert client.fetch_trading_fee("BTC/USDT")["taker"] == 0.001


def ccxt_exits():
    client = through_ccxt(key("firm", "trade"))
    client.load_markets()
    order = client.create_order("ETH/USDT", "limit", "buy", 1, 3400, {
        "takeProfit": {"triggerPrice": 4000}, "stopLoss": {"triggerPrice": 3000}})
    control("/hit", {"account": "firm", "symbol": "ETHUSDT", "clientOrderId": client.fetch_open_orders("ETH/USDT")[0]["clientOrderId"]})
    waiting = client.fetch_open_orders("ETH/USDT")
    assert sorted(o["triggerPrice"] for o in waiting) == [3000, 4000], waiting
    control("/price", {"symbol": "ETHUSDT", "price": "4010"})
    assert client.fetch_open_orders("ETH/USDT") == []
    assert client.fetch_my_trades("ETH/USDT")[-1]["side"] == "sell"
    control("/price", {"symbol": "ETHUSDT", "price": "3500"})
    assert client.fetch_order(order["id"], "ETH/USDT", params={"acknowledged": True})["status"] == "closed"


def pybit_trades():
    for scheme in ("hmac", "rsa"):
        client = through_pybit(key("firm", "trade", scheme))
        placed = client.place_order(category="spot", symbol="BTCUSDT", side="Buy", orderType="Limit", qty="0.01", price="60000",
                                    timeInForce="GTC", orderLinkId=f"py-{scheme}")["result"]
        assert placed["orderLinkId"] == f"py-{scheme}"
        found = client.get_open_orders(category="spot", symbol="BTCUSDT")["result"]["list"]
        assert [o["orderId"] for o in found] == [placed["orderId"]]
        client.amend_order(category="spot", symbol="BTCUSDT", orderId=placed["orderId"], qty="0.005")
        assert client.get_open_orders(category="spot", orderId=placed["orderId"])["result"]["list"][0]["qty"] == "0.005"
        client.cancel_order(category="spot", symbol="BTCUSDT", orderLinkId=f"py-{scheme}")
        [gone] = client.get_order_history(category="spot", orderLinkId=f"py-{scheme}")["result"]["list"]
        assert gone["orderStatus"] == "Cancelled"
    batch = client.place_batch_order(category="spot", request=[
        {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "60000", "timeInForce": "GTC"},
        {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "60000.001", "timeInForce": "GTC"}])
    assert [i["code"] for i in batch["retExtInfo"]["list"]] == [0, 170134], batch
    client.cancel_all_orders(category="spot")
    assert client.get_open_orders(category="spot")["result"]["list"] == []
    stop = client.place_order(category="spot", symbol="BTCUSDT", side="Sell", orderType="Market", qty="0.01",
                              triggerPrice="55000", orderFilter="StopOrder")["result"]["orderId"]
    [waits] = client.get_open_orders(category="spot", orderFilter="StopOrder")["result"]["list"]
    assert (waits["orderId"], waits["orderStatus"], waits["triggerPrice"]) == (stop, "Untriggered", "55000")
    client.cancel_order(category="spot", symbol="BTCUSDT", orderId=stop, orderFilter="StopOrder")
    client.place_order(category="spot", symbol="BTCUSDT", side="Buy", orderType="Market", qty="100", marketUnit="quoteCoin")
    assert client.get_executions(category="spot", symbol="BTCUSDT")["result"]["list"][0]["orderType"] == "Market"
    assert client.get_wallet_balance(accountType="UNIFIED", coin="BTC")["result"]["list"][0]["coin"][0]["coin"] == "BTC"
    assert client.get_server_time()["result"]["timeSecond"]
    assert client.get_account_info()["result"]["unifiedMarginStatus"] == 6
    assert client.get_fee_rates(category="spot", symbol="BTCUSDT")["result"]["list"][0]["takerFeeRate"] == "0.001"
    raises(InvalidRequestError, lambda: client.place_order(category="spot", symbol="BTCUSDT", side="Buy", orderType="Limit",
                                                           qty="0.01", price="60000", whatever="1"), "10001")


def rights():
    read = through_pybit(key("firm", "read"))
    assert read.get_api_key_information()["result"]["readOnly"] == 1
    order = dict(category="spot", symbol="BTCUSDT", side="Buy", orderType="Limit", qty="0.01", price="60000")
    raises(InvalidRequestError, lambda: read.place_order(**order), "10005")
    trade = through_pybit(key("firm", "trade"))
    raises(InvalidRequestError, lambda: trade.withdraw(
        coin="USDT", chain="ETH", address="0xabc", amount="10", timestamp=0, accountType="FUND"), "10005")
    raises(InvalidRequestError, lambda: trade.modify_master_api_key(readOnly=0), "10005")
    assert trade.get_api_key_information()["result"]["permissions"]["Spot"] == ["SpotTrade"]
    wrong = through_pybit({**key("firm", "trade"), "secret": "x" * 36})
    raises(InvalidRequestError, wrong.get_account_info, "10004")
    unknown = through_pybit({"key": "nobody", "secret": "x" * 36})
    raises((InvalidRequestError, FailedRequestError), unknown.get_account_info, "10003")
    control("/keys", {"key": key("firm", "trade")["key"], "ips": ["192.0.2.7"]})
    raises(InvalidRequestError, trade.get_account_info, "10010")
    control("/keys", {"key": key("firm", "trade")["key"], "ips": []})


def value_moves():
    client = through_ccxt(key("firm", "move"))
    client.load_markets()
    client.transfer("USDT", 100, "unified", "funding")
    assert control("/balances?account=firm")["wallets"]["FUND"]["USDT"] == "100.00000000"
    sent = client.withdraw("USDT", 12.5, "0xabc", params={"network": "ETH"})
    [left] = [w for w in control("/withdrawals") if w["id"] == sent["id"]]
    assert (left["address"], left["asked"]) == ("0xabc", "12.50000000"), left
    assert client.fetch_deposit_address("USDT", {"network": "USDT"})["address"]
    moves = through_pybit(key("firm", "move"))
    # To another member by number: it is there at once.
    moves.withdraw(coin="USDT", address=str(uid("thief")), amount="20", timestamp=client.milliseconds(), forceChain=2, accountType="FUND")
    assert control("/balances?account=thief")["wallets"]["FUND"]["USDT"] == "20.00000000"
    admin = through_pybit(key("firm", "all"))
    sub = admin.create_sub_uid(username="desk1", memberType=1)["result"]["uid"]
    moves.create_universal_transfer(transferId=str(uuid.uuid4()), coin="USDT", amount="5", fromMemberId=uid("firm"), toMemberId=int(sub),
                                    fromAccountType="FUND", toAccountType="UNIFIED")
    assert control("/balances?account=desk1")["spot"]["USDT"]["free"] == "5.00000000"
    raises(InvalidRequestError, lambda: moves.create_universal_transfer(
        transferId=str(uuid.uuid4()), coin="USDT", amount="5", fromMemberId=uid("firm"), toMemberId=uid("thief"),
        fromAccountType="FUND", toAccountType="UNIFIED"), "131224")
    # A key that may move value changes itself, and ends itself.
    assert moves.get_api_key_information()["result"]["permissions"]["Spot"] == []
    changed = moves.modify_master_api_key(readOnly=0, permissions={"Spot": ["SpotTrade"], "Wallet": ["AccountTransfer"]})["result"]
    assert changed["permissions"]["Spot"] == ["SpotTrade"]
    moves.place_order(category="spot", symbol="BTCUSDT", side="Buy", orderType="Limit", qty="0.01", price="50000", orderLinkId="by-moves")
    moves.cancel_all_orders(category="spot")
    moves.delete_master_api_key()
    raises((InvalidRequestError, FailedRequestError), moves.get_api_key_information, "10003")
    kinds = {effect["kind"] for effect in control("/effects")}
    assert {"withdraw", "transfer", "sub-account", "key changed", "key deleted"} <= kinds, kinds


def faults_and_limits():
    client = through_pybit(key("stranger", "trade"))
    place = lambda name: client.place_order(category="spot", symbol="BTCUSDT", side="Buy", orderType="Limit", qty="0.01", price="60000",
                                            orderLinkId=name)
    known = lambda name: bool(client.get_open_orders(category="spot", orderLinkId=name)["result"]["list"])
    for act, reached in [("error-before", False), ("error-after", True), ("drop-before", False), ("drop-after", True)]:
        control("/faults", {"act": act, "path": "/v5/order/create", "count": 1})
        raises(Exception, lambda: place(act), "")
        assert known(act) == reached, act
    logged = [r for r in control("/requests?path=/v5/order/create&limit=10000")["requests"] if r["client_order_id"] == "drop-after"]
    assert [(r["status"], r["fault"], r["accepted"]) for r in logged] == [(200, "drop-after", True)]
    client.cancel_all_orders(category="spot")
    fast = through_ccxt(key("stranger", "trade"))
    fast.enableRateLimit = False
    raises(ccxt.RateLimitExceeded, lambda: [fast.private_get_v5_account_fee_rate({"category": "spot"}) for _ in range(20)], "10006")


def contracts():
    client = through_ccxt(key("firm", "trade"))
    client.load_markets()
    symbol = "BTC/USDT:USDT"
    assert client.markets[symbol]["linear"] and client.markets["BTC/USD:BTC"]["inverse"]
    assert client.fetch_ticker(symbol)["bid"] and client.fetch_order_book(symbol, 5)["asks"] and client.fetch_ohlcv(symbol, "1m", limit=5)
    assert client.fetch_funding_rate(symbol)["fundingRate"]
    client.set_leverage(10, symbol)
    before = client.fetch_balance({"type": "unified"})["USDT"]["total"]
    opened = client.create_order(symbol, "market", "buy", 0.01)
    done = client.fetch_order(opened["id"], symbol, params={"acknowledged": True})
    assert (done["status"], done["filled"]) == ("closed", 0.01), done
    [position] = client.fetch_positions([symbol])
    assert (position["side"], position["contracts"], position["leverage"]) == ("long", 0.01, 10), position
    rests = client.create_order(symbol, "limit", "sell", 0.01, 67000, {"reduceOnly": True, "clientOrderId": "exit-1"})
    [open_order] = client.fetch_open_orders(symbol)
    assert (open_order["id"], open_order["reduceOnly"], open_order["clientOrderId"]) == (rests["id"], True, "exit-1")
    client.edit_order(rests["id"], symbol, "limit", "sell", 0.01, 67100)
    assert client.fetch_open_orders(symbol)[0]["price"] == 67100
    client.cancel_order(rests["id"], symbol)
    raises(ccxt.OrderNotFound, lambda: client.cancel_order(rests["id"], symbol), "110001")
    through = through_pybit(key("firm", "trade"))
    through.set_trading_stop(category="linear", symbol="BTCUSDT", tpslMode="Full", positionIdx=0, takeProfit="70000", stopLoss="60000")
    held = through.get_positions(category="linear", symbol="BTCUSDT")["result"]["list"][0]
    assert (held["takeProfit"], held["stopLoss"]) == ("70000", "60000"), held
    control("/price", {"symbol": "BTCUSDT", "price": "59900"})
    assert client.fetch_positions([symbol]) == [] or client.fetch_positions([symbol])[0]["contracts"] in (0, None)
    control("/price", {"symbol": "BTCUSDT", "price": "65000"})
    assert client.fetch_balance({"type": "unified"})["USDT"]["total"] < before - 40
    assert [t["side"] for t in client.fetch_my_trades(symbol)][-1] == "sell"
    raises(ccxt.InsufficientFunds, lambda: client.create_order(symbol, "limit", "buy", 500, 63000), "110007")
    raises(InvalidRequestError, lambda: through.set_trading_stop(
        category="linear", symbol="BTCUSDT", tpslMode="Full", positionIdx=0, takeProfit="70000"), "zero position")
    raises(InvalidRequestError, lambda: through.set_leverage(category="linear", symbol="BTCUSDT", buyLeverage="10", sellLeverage="10"), "110043")
    inverse = through.place_order(category="inverse", symbol="BTCUSD", side="Sell", orderType="Market", qty="100")["result"]["orderId"]
    assert through.get_executions(category="inverse", orderId=inverse)["result"]["list"][0]["execQty"] == "100"
    through.place_order(category="inverse", symbol="BTCUSD", side="Buy", orderType="Market", qty="0", reduceOnly=True, closeOnTrigger=True)
    assert through.get_positions(category="inverse", symbol="BTCUSD")["result"]["list"][0]["size"] == "0"


for step in [ccxt_spot, ccxt_exits, contracts, pybit_trades, rights, value_moves, faults_and_limits]:
    step()
    print(step.__name__, "done", flush=True)
