"""One trading day in the words of each client library. usage: client_programs.py LIBRARY URL KEY SECRET [PRIVATE_KEY_FILE]

Every function does the same with its own library: account, limit order, the order read back, cancel, market order, trades,
open orders. It prints one line of JSON, the names of the steps that were answered, and raises what the library raises.
"""

import asyncio
import json
import pathlib
import sys


def prices(last):
    return round(last * 0.99, 2)


def ccxt_options(url, key, secret, private=None):
    import ccxt

    made = {"apiKey": key, "secret": private or secret, "options": {"fetchMarkets": {"types": ["spot"]}}}
    return made, {n: v.replace("https://api.binance.com", url) if isinstance(v, str) else v for n, v in ccxt.binance().urls["api"].items()}


def ccxt_sync(url, key, secret, private=None):
    import ccxt

    options, urls = ccxt_options(url, key, secret, private)
    binance = ccxt.binance(options)
    binance.urls["api"] = urls
    binance.load_markets()
    yield "account", binance.fetch_balance()["USDT"]["free"] > 0
    low = prices(binance.fetch_ticker("BTC/USDT")["last"])
    order = binance.create_order("BTC/USDT", "limit", "buy", 0.001, low)
    yield "limit", order["status"] == "open"
    yield "read", binance.fetch_order(order["id"], "BTC/USDT")["id"] == order["id"]
    yield "cancel", binance.cancel_order(order["id"], "BTC/USDT")["status"] == "canceled"
    yield "market", binance.create_order("BTC/USDT", "market", "buy", 0.001)["filled"] == 0.001
    yield "market by cost", binance.create_market_buy_order_with_cost("BTC/USDT", 50)["status"] == "closed"
    stop = binance.create_order("BTC/USDT", "limit", "sell", 0.001, low, {"stopLossPrice": low})
    yield "stop", binance.cancel_order(stop["id"], "BTC/USDT")["status"] == "canceled"
    yield "trades", len(binance.fetch_my_trades("BTC/USDT")) > 0
    yield "orders", len(binance.fetch_orders("BTC/USDT")) > 0
    yield "open orders", isinstance(binance.fetch_open_orders("BTC/USDT"), list)
    yield "book", len(binance.fetch_order_book("BTC/USDT")["bids"]) > 0
    yield "candles", len(binance.fetch_ohlcv("BTC/USDT", "1m", limit=5)) > 0


def ccxt_async(url, key, secret, private=None):
    import ccxt.async_support as ccxt

    options, urls = ccxt_options(url, key, secret, private)

    async def run():
        binance = ccxt.binance(options)
        binance.urls["api"] = urls
        try:
            done = []
            await binance.load_markets()
            balance, ticker, book = await asyncio.gather(
                binance.fetch_balance(), binance.fetch_ticker("ETH/USDT"), binance.fetch_order_book("ETH/USDT")
            )
            done.append(("account", balance["USDT"]["free"] > 0 and len(book["asks"]) > 0))
            low = prices(ticker["last"])
            orders = await asyncio.gather(*(binance.create_order("ETH/USDT", "limit", "buy", 0.01, low) for _ in range(5)))
            done.append(("five at once", len({o["id"] for o in orders}) == 5))
            edited = await binance.edit_order(orders[0]["id"], "ETH/USDT", "limit", "buy", 0.01, prices(low))
            done.append(("edit", edited["id"] != orders[0]["id"]))
            cancelled = await asyncio.gather(*(binance.cancel_order(o["id"], "ETH/USDT") for o in [edited, *orders[1:]]))
            done.append(("cancel", all(o["status"] == "canceled" for o in cancelled)))
            return done
        finally:
            await binance.close()

    yield from asyncio.run(run())


def python_binance(url, key, secret, private=None):
    from binance.client import Client

    Client.API_URL = f"{url}/api"
    Client.MARGIN_API_URL = f"{url}/sapi"
    binance = Client(key, None if private else secret, private_key=pathlib.Path(private) if private else None)
    yield "account", binance.get_account()["canTrade"]
    low = f"{prices(float(binance.get_symbol_ticker(symbol='BTCUSDT')['price'])):.2f}"
    order = binance.create_order(symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.001", price=low)
    yield "limit", order["status"] == "NEW"
    yield "test", binance.create_test_order(symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.001", price=low) == {}
    yield "read", binance.get_order(symbol="BTCUSDT", orderId=order["orderId"])["status"] == "NEW"
    yield "cancel", binance.cancel_order(symbol="BTCUSDT", orderId=order["orderId"])["status"] == "CANCELED"
    yield "market", binance.order_market_buy(symbol="BTCUSDT", quoteOrderQty="50")["status"] == "FILLED"
    yield "trades", len(binance.get_my_trades(symbol="BTCUSDT")) > 0
    yield "open orders", isinstance(binance.get_open_orders(), list)
    yield "balance", float(binance.get_asset_balance(asset="USDT")["free"]) > 0


def python_binance_async(url, key, secret, private=None):
    from binance import AsyncClient

    async def run():
        AsyncClient.API_URL = f"{url}/api"
        AsyncClient.MARGIN_API_URL = f"{url}/sapi"
        binance = await AsyncClient.create(key, None if private else secret, private_key=pathlib.Path(private) if private else None)
        try:
            ticker = await binance.get_symbol_ticker(symbol="ETHUSDT")
            low = f"{prices(float(ticker['price'])):.2f}"
            order = await binance.order_limit_buy(symbol="ETHUSDT", quantity="0.01", price=low)
            gone = await binance.cancel_order(symbol="ETHUSDT", orderId=order["orderId"])
            return [("limit", order["status"] == "NEW"), ("cancel", gone["status"] == "CANCELED")]
        finally:
            await binance.close_connection()

    yield from asyncio.run(run())


def official_sdk(url, key, secret, private=None):
    from binance_sdk_spot.rest_api.models import NewOrderSideEnum, NewOrderTimeInForceEnum, NewOrderTypeEnum
    from binance_sdk_spot.spot import ConfigurationRestAPI, Spot

    pem = open(private, encoding="utf-8").read() if private else None
    rest = Spot(config_rest_api=ConfigurationRestAPI(api_key=key, api_secret=None if private else secret, base_path=url, private_key=pem, retries=0)).rest_api
    yield "account", rest.get_account().data().can_trade
    yield "exchange info", len(rest.exchange_info(symbol="BTCUSDT").data().symbols) == 1
    answer = rest.ticker_price(symbol="BTCUSDT").data()
    low = prices(float((getattr(answer, "actual_instance", None) or answer).price))
    order = rest.new_order(
        symbol="BTCUSDT", side=NewOrderSideEnum["BUY"], type=NewOrderTypeEnum["LIMIT"],
        time_in_force=NewOrderTimeInForceEnum["GTC"], quantity=0.001, price=low,
    ).data()
    yield "limit", order.status == "NEW"
    yield "read", rest.get_order(symbol="BTCUSDT", order_id=order.order_id).data().order_id == order.order_id
    yield "cancel", rest.delete_order(symbol="BTCUSDT", order_id=order.order_id).data().status == "CANCELED"
    market = rest.new_order(symbol="BTCUSDT", side=NewOrderSideEnum["BUY"], type=NewOrderTypeEnum["MARKET"], quantity=0.001).data()
    yield "market", market.status == "FILLED"
    yield "trades", len(rest.my_trades(symbol="BTCUSDT").data()) > 0


def connector(url, key, secret, private=None):
    from binance.spot import Spot

    pem = open(private, encoding="utf-8").read() if private else None
    binance = Spot(key, None if private else secret, base_url=url, private_key=pem)
    yield "account", binance.account()["canTrade"]
    low = prices(float(binance.ticker_price("BTCUSDT")["price"]))
    order = binance.new_order("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity=0.001, price=low)
    yield "limit", order["status"] == "NEW"
    replaced = binance.cancel_and_replace(
        "BTCUSDT", "BUY", "LIMIT", "STOP_ON_FAILURE", timeInForce="GTC", quantity=0.001, price=prices(low), cancelOrderId=order["orderId"]
    )
    yield "cancel-replace", replaced["newOrderResult"] == "SUCCESS"
    gone = binance.cancel_order("BTCUSDT", orderId=replaced["newOrderResponse"]["orderId"])
    yield "cancel", gone["status"] == "CANCELED"
    yield "trades", isinstance(binance.my_trades("BTCUSDT"), list)


LIBRARIES = {
    f.__name__: f for f in (ccxt_sync, ccxt_async, python_binance, python_binance_async, official_sdk, connector)
}


def main():
    library, *arguments = sys.argv[1:]
    done = []
    for step, right in LIBRARIES[library](*arguments):
        if not right:
            raise SystemExit(f"{library}: {step}: not what it should be")
        done.append(step)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
