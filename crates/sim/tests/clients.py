"""Unmodified CCXT and python-binance trade on the simulated venue. Arguments: the line that portcullis-sim printed."""

import json
import os
import sys

ready = json.loads(sys.argv[1])
os.environ["REQUESTS_CA_BUNDLE"] = ready["ca"]

import ccxt  # noqa: E402
import requests  # noqa: E402
from binance.client import Client  # noqa: E402
from binance.exceptions import BinanceAPIException  # noqa: E402

accounts = {account["name"]: account for account in ready["accounts"]}
URL, CONTROL = ready["url"], ready["control"]


def key(account, duty, scheme="hmac"):
    return next(k for k in accounts[account]["keys"] if k["duty"] == duty and k["scheme"] == scheme)


def through_ccxt(k):
    secret = k.get("secret") or open(k["file"]).read()
    client = ccxt.binance({
        "apiKey": k["key"], "secret": secret, "requests_trust_env": True,
        "options": {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchMargins": False},
    })
    for name, url in list(client.urls["api"].items()):
        if isinstance(url, str):
            client.urls["api"][name] = url.replace("https://api.binance.com", URL)
    return client


def through_python_binance(k):
    kwargs = {"api_secret": k["secret"]} if "secret" in k else {"private_key": open(k["file"]).read()}
    client = Client(k["key"], ping=False, **kwargs)
    client.API_URL, client.MARGIN_API_URL = URL + "/api", URL + "/sapi"
    return client


def control(path, body=None):
    answer = requests.get(CONTROL + path) if body is None else requests.post(CONTROL + path, data=json.dumps(body))
    assert answer.ok, answer.text
    return answer.json()


def raises(kind, call, *words):
    try:
        got = call()
    except kind as error:
        for word in words:
            assert word in str(error), f"{word} is not in {error}"
        return
    raise AssertionError(f"no {kind}, but {got}")


def ccxt_trades():
    ex = through_ccxt(key("firm", "all"))
    markets = ex.load_markets()
    btc = markets["BTC/USDT"]
    assert btc["precision"] == {"amount": 0.00001, "price": 0.01, "base": 1e-8, "quote": 1e-8}, btc["precision"]
    assert "币安人生/USDT" in markets
    assert ex.fetch_time() > 1.7e12
    assert ex.fetch_balance()["BTC"]["total"] == 20
    assert len(ex.fetch_currencies()) > 5
    order = ex.create_order("BTC/USDT", "limit", "buy", 0.01, 60000)
    assert (order["status"], order["remaining"]) == ("open", 0.01)
    assert [o["id"] for o in ex.fetch_open_orders("BTC/USDT")] == [order["id"]]
    edited = ex.edit_order(order["id"], "BTC/USDT", "limit", "buy", 0.02, 59000)
    assert (edited["status"], edited["price"], edited["amount"]) == ("open", 59000, 0.02)
    assert ex.fetch_order(order["id"], "BTC/USDT")["status"] == "canceled"
    assert ex.cancel_order(edited["id"], "BTC/USDT")["status"] == "canceled"
    bought = ex.create_order("BTC/USDT", "market", "buy", 0.01)
    assert bought["status"] == "closed" and bought["fee"]["currency"] == "BTC" and bought["trades"], bought
    spent = ex.create_market_buy_order_with_cost("ETH/USDT", 500)
    assert 490 < spent["cost"] <= 500
    stop = ex.create_order("BTC/USDT", "limit", "sell", 0.01, 50000, {"stopPrice": 51000})
    assert stop["info"]["type"] == "STOP_LOSS_LIMIT"
    post_only = ex.create_order("BTC/USDT", "limit", "sell", 0.01, 90000, {"postOnly": True})
    assert post_only["info"]["type"] == "LIMIT_MAKER"
    ioc = ex.create_order("BTC/USDT", "limit", "buy", 0.01, 60000, {"timeInForce": "IOC"})
    assert ioc["status"] == "expired", ioc
    assert ex.create_order("BTC/USDT", "limit", "buy", 0.01, 60000, {"test": True}) is not None
    assert len(ex.cancel_all_orders("BTC/USDT")) == 2
    assert [t["order"] for t in ex.fetch_my_trades("BTC/USDT")] == [bought["id"]]
    assert len(ex.fetch_orders("BTC/USDT")) == 6, len(ex.fetch_orders("BTC/USDT"))
    odd = ex.create_order("币安人生/USDT", "market", "buy", 100)
    assert odd["status"] == "closed"
    book = ex.fetch_order_book("BTC/USDT")
    assert book["bids"][0][0] < book["asks"][0][0]
    assert ex.fetch_ticker("BTC/USDT")["last"] and ex.fetch_tickers() and ex.fetch_bids_asks() and ex.fetch_last_prices()
    assert len(ex.fetch_ohlcv("BTC/USDT", "1h", limit=10)) == 10 and ex.fetch_trades("BTC/USDT")
    assert ex.fetch_trading_fees()["BTC/USDT"]["taker"] == 0.001
    raises(ccxt.InsufficientFunds, lambda: ex.create_order("BTC/USDT", "limit", "buy", 100, 60000))
    raises(ccxt.OrderNotFound, lambda: ex.cancel_order("999999", "BTC/USDT"), "-2011")
    raises(ccxt.OrderNotFound, lambda: ex.fetch_order("999999", "BTC/USDT"))
    raises(ccxt.OrderImmediatelyFillable, lambda: ex.create_order("BTC/USDT", "limit", "buy", 0.01, 70000, {"postOnly": True}))
    raises(ccxt.BadRequest, lambda: ex.create_order("BTC/USDT", "limit", "buy", 0.00001, 60000), "NOTIONAL")
    raises(ccxt.BadSymbol, lambda: ex.public_get_ticker_price({"symbol": "NOPE"}))


def every_scheme_and_right():
    for scheme in ["ed25519", "rsa"]:
        assert through_ccxt(key("firm", "all", scheme)).fetch_balance()["BTC"]["total"] > 1
        client = through_python_binance(key("firm", "trade", scheme))
        order = client.order_limit_buy(symbol="BTCUSDT", quantity="0.01", price="60000.00")
        assert client.cancel_order(symbol="BTCUSDT", orderId=order["orderId"])["status"] == "CANCELED"
    # CCXT raises the venue's -2015 as what it stands for.
    read, trade = through_ccxt(key("firm", "read")), through_ccxt(key("firm", "trade"))
    raises(ccxt.AuthenticationError, lambda: read.create_order("BTC/USDT", "market", "buy", 0.01), "-2015")
    raises(ccxt.AuthenticationError, lambda: trade.withdraw("USDT", 10, "0xaaaa"), "-2015")
    raises(ccxt.AuthenticationError, lambda: trade.transfer("USDT", 10, "spot", "funding"), "-2015")
    raises(ccxt.AuthenticationError, lambda: trade.sapi_post_margin_borrow_repay(
        {"asset": "USDT", "amount": "10", "isIsolated": "FALSE", "type": "BORROW"}), "-2015")
    raises(ccxt.AuthenticationError, lambda: trade.sapi_post_sub_account_virtualsubaccount({"subAccountString": "x"}), "-2015")
    # A key that does not exist, a wrong secret, somebody else's order.
    raises(ccxt.AuthenticationError, lambda: through_ccxt({"key": "A" * 64, "secret": "x"}).fetch_balance(), "-2015")
    raises(ccxt.AuthenticationError, lambda: through_ccxt({"key": trade.apiKey, "secret": "x"}).fetch_balance(), "-1022")
    order = trade.create_order("BTC/USDT", "limit", "buy", 0.01, 60000)
    thief = through_ccxt(key("thief", "trade"))
    raises(ccxt.OrderNotFound, lambda: thief.cancel_order(order["id"], "BTC/USDT"))
    [bid] = [o for o in control("/orders?account=stranger") if o["clientOrderId"] == "stranger-bid"]
    raises(ccxt.OrderNotFound, lambda: thief.cancel_order(str(bid["orderId"]), "BTC/USDT"))
    # The address rule of a key.
    control("/keys", {"key": trade.apiKey, "ips": ["192.0.2.1"]})
    # CCXT takes a -2015 after a call that passed for the venue protecting itself.
    raises(ccxt.DDoSProtection, lambda: trade.fetch_balance(), "-2015")
    control("/keys", {"key": trade.apiKey, "ips": ["127.0.0.1"]})
    assert trade.cancel_order(order["id"], "BTC/USDT")["status"] == "canceled"


def python_binance_trades():
    client = through_python_binance(key("thief", "all"))
    assert client.get_account()["canTrade"] and client.get_exchange_info()["symbols"]
    assert client.get_symbol_info("BTCUSDT")["filters"][0]["filterType"] == "PRICE_FILTER"
    assert client.order_market_sell(symbol="BTCUSDT", quantity="0.01")["fills"]
    assert client.order_market_buy(symbol="币安人生USDT", quantity="100")["status"] == "FILLED"
    assert client.create_test_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01") == {}
    oco = client.create_oco_order(
        symbol="BTCUSDT", side="SELL", quantity="0.01", aboveType="LIMIT_MAKER", abovePrice="80000",
        belowType="STOP_LOSS_LIMIT", belowStopPrice="50000", belowPrice="49900", belowTimeInForce="GTC")
    assert (oco["listOrderStatus"], len(oco["orderReports"])) == ("EXECUTING", 2)
    assert len(client.get_open_oco_orders()) == 1 and len(client.get_open_orders(symbol="BTCUSDT")) == 2
    gone = client.cancel_order(symbol="BTCUSDT", orderId=oco["orders"][0]["orderId"])
    assert gone["listOrderStatus"] == "ALL_DONE" and client.get_open_orders() == []
    first = client.order_limit_sell(symbol="BTCUSDT", quantity="0.01", price="80000", newClientOrderId="first-1")
    second = client.cancel_replace_order(
        symbol="BTCUSDT", side="SELL", type="LIMIT", timeInForce="GTC", quantity="0.01", price="81000",
        cancelReplaceMode="STOP_ON_FAILURE", cancelOrigClientOrderId="first-1")
    assert second["cancelResult"] == "SUCCESS" and second["cancelResponse"]["orderId"] == first["orderId"]
    raises(BinanceAPIException, lambda: client.cancel_replace_order(
        symbol="BTCUSDT", side="SELL", type="LIMIT", timeInForce="GTC", quantity="0.01", price="81000",
        cancelReplaceMode="STOP_ON_FAILURE", cancelOrigClientOrderId="first-1"), "-2022")
    raises(BinanceAPIException, lambda: client.cancel_replace_order(
        symbol="BTCUSDT", side="SELL", type="LIMIT", timeInForce="GTC", quantity="0.01", price="81000",
        cancelReplaceMode="ALLOW_FAILURE", cancelOrigClientOrderId="first-1"), "-2021")
    assert len(client.get_open_orders(symbol="BTCUSDT")) == 2
    client._delete("openOrders", True, data={"symbol": "BTCUSDT"})
    assert client.get_my_trades(symbol="BTCUSDT") and client.get_all_orders(symbol="BTCUSDT")
    assert client.get_order_book(symbol="BTCUSDT")["bids"] and client.get_klines(symbol="BTCUSDT", interval="1m")
    assert client.get_avg_price(symbol="BTCUSDT") and client.get_symbol_ticker(symbol="BTCUSDT")
    listen = client._request_margin_api("post", "userDataStream", False, data={})
    assert listen["listenKey"]


def value_moves():
    client = through_ccxt(key("firm", "all"))
    before = control("/balances?account=firm")["spot"]["USDT"]["free"]
    sent = client.withdraw("USDT", 12.5, "TXYZ000000000000000000000000000000", params={"network": "TRX"})
    assert sent["id"]
    [left] = [w for w in control("/withdrawals") if w["id"] == sent["id"]]
    assert (left["address"], left["asked"]) == ("TXYZ000000000000000000000000000000", "12.50000000")
    after = control("/balances?account=firm")["spot"]["USDT"]["free"]
    assert abs(float(before) - float(after) - 12.5) < 1e-6
    assert client.fetch_withdrawals("USDT")[0]["id"] == sent["id"]
    assert client.fetch_deposit_address("BTC")["address"]
    client.transfer("USDT", 10, "spot", "funding")
    assert control("/balances?account=firm")["wallets"]["FUNDING"]["USDT"] == "10.00000000"
    quote = client.fetch_convert_quote("USDT", "BTC", 1000)
    client.create_convert_trade(quote["id"], "USDT", "BTC", 1000)
    client.sapi_post_margin_borrow_repay({"asset": "USDT", "amount": "10", "isIsolated": "FALSE", "type": "BORROW"})
    assert control("/balances?account=firm")["debts"]["USDT"] == "10.00000000"
    client.sapi_post_simple_earn_flexible_subscribe({"productId": "USDT001", "amount": "5"})
    assert control("/balances?account=firm")["wallets"]["SIMPLE-EARN"]["USDT"] == "5.00000000"
    sub = client.sapi_post_sub_account_virtualsubaccount({"subAccountString": "desk1"})["email"]
    client.sapi_post_sub_account_universaltransfer({
        "toEmail": sub, "fromAccountType": "SPOT", "toAccountType": "SPOT", "asset": "USDT", "amount": "7"})
    assert control("/balances?account=" + sub)["spot"]["USDT"]["free"] == "7.00000000"
    raises(ccxt.BadRequest, lambda: client.withdraw("USDT", 1e9, "0xaaaa"), "-4026")
    kinds = {effect["kind"] for effect in control("/effects")}
    assert {"withdraw", "transfer", "convert", "margin", "sub-account", "sub-account transfer"} <= kinds, kinds


def faults_and_limits():
    client = through_python_binance(key("firm", "trade"))
    place = lambda name: client.order_limit_buy(symbol="BTCUSDT", quantity="0.01", price="60000", newClientOrderId=name)
    known = lambda name: any(o["clientOrderId"] == name for o in client.get_open_orders(symbol="BTCUSDT"))
    for act, reached in [("error-before", False), ("error-after", True), ("drop-before", False), ("drop-after", True)]:
        control("/faults", {"act": act, "path": "/api/v3/order", "method": "POST", "count": 1})
        raises((BinanceAPIException, requests.exceptions.ConnectionError), lambda: place(act))
        assert known(act) == reached, act
    logged = [r for r in control("/requests?path=/api/v3/order&limit=10000")["requests"] if r["client_order_id"] == "drop-after"]
    assert [(r["status"], r["fault"], r["accepted"]) for r in logged] == [(200, "drop-after", True)]
    control("/faults", {"act": "hang-after", "path": "/api/v3/order", "method": "POST", "count": 1})
    client.REQUEST_TIMEOUT = 10
    raises(requests.exceptions.ReadTimeout, lambda: client._post("order", True, data=dict(
        symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01", price="60000",
        newClientOrderId="hang", requests_params={"timeout": 0.5})))
    assert known("hang")
    control("/weight", {"used": 6000})
    raises(BinanceAPIException, lambda: client.get_account(), "-1003")
    for _ in range(20):
        try:
            client.get_account()
        except BinanceAPIException as error:
            last = error
    assert last.status_code == 418 and int(last.response.headers["Retry-After"]) > 60
    counts = control("/counts")
    assert counts["answered_429"] >= 1 and counts["answered_418"] >= 1, counts
    control("/forgive", {})
    assert client.get_account()
    control("/limits", {"orders_per_10s": 3})
    raises(BinanceAPIException, lambda: [place(f"many-{i}") for i in range(4)], "-1015")
    control("/limits", {"orders_per_10s": 100})


for step in [ccxt_trades, every_scheme_and_right, python_binance_trades, value_moves, faults_and_limits]:
    step()
    print(step.__name__, "done")
    control("/forgive", {})
