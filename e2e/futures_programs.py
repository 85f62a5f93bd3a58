"""A trading program as its author wrote it for the WebSocket APIs of Binance's futures, with other URLs and another key.

usage: futures_programs.py ccxt|python-binance REST-URLS-JSON KEY SECRET PRICE WEBSOCKET-URL linear|inverse. Prints one line of JSON for each answer.
"""

import asyncio
import json
import sys


def say(step, answer):
    print(json.dumps({"step": step, "answer": answer}, ensure_ascii=False), flush=True)


async def ccxt_pro(places, key, secret, price, socket, kind):
    import ccxt.pro

    options = {"fetchCurrencies": False, "defaultType": "swap", "fetchMarkets": {"types": ["linear", "inverse"]}}
    made = ccxt.pro.binance({"apiKey": key, "secret": secret, "options": options})

    def through(url):
        for host, listener in places.items():
            url = url.replace(f"https://{host}", listener)
        return url

    made.urls["api"] = {name: through(url) if isinstance(url, str) else url for name, url in made.urls["api"].items()}
    made.urls["api"]["ws"] = {**made.urls["api"]["ws"], "ws-api": {kind: socket}}
    symbol, one, more = ("BTC/USDT:USDT", 0.01, 0.011) if kind == "linear" else ("BTC/USD:BTC", 1, 2)

    def told(order):
        return {"id": order["id"], "amount": order["amount"]}

    try:
        await made.load_markets()
        order = await made.create_order_ws(symbol, "limit", "buy", one, price)
        say("place", told(order))
        say("amend", told(await made.edit_order_ws(order["id"], symbol, "limit", "buy", more, price)))
        say("query", told(await made.fetch_order_ws(order["id"], symbol)))
        say("cancel", told(await made.cancel_order_ws(order["id"], symbol)))
        try:
            await made.create_order_ws(symbol, "limit", "buy", one * 900, price)
            say("too large", "passed")
        except ccxt.pro.BaseError as error:
            say("too large", type(error).__name__)
    finally:
        await made.close()


async def python_binance(places, key, secret, price, socket, kind):
    from binance import AsyncClient
    from binance.exceptions import BinanceAPIException

    AsyncClient.WS_FUTURES_URL = socket
    client = AsyncClient(key, secret)
    of = {"symbol": "BTCUSDT", "side": "BUY", "price": str(price)}

    def told(order):
        return {"id": order["orderId"], "amount": float(order["origQty"])}

    try:
        order = await client.ws_futures_create_order(**of, type="LIMIT", timeInForce="GTC", quantity="0.01")
        say("place", told(order))
        number = {"orderId": order["orderId"]}
        say("amend", told(await client.ws_futures_edit_order(**of, **number, quantity="0.011")))
        say("query", told(await client.ws_futures_get_order(symbol="BTCUSDT", **number)))
        say("cancel", told(await client.ws_futures_cancel_order(symbol="BTCUSDT", **number)))
        try:
            await client.ws_futures_create_order(**of, type="LIMIT", timeInForce="GTC", quantity="9")
            say("too large", "passed")
        except BinanceAPIException as error:
            say("too large", error.code)
    finally:
        await client.close_connection()


PROGRAMS = {"ccxt": ccxt_pro, "python-binance": python_binance}

if __name__ == "__main__":
    name, urls, api_key, api_secret, at, websocket, market = sys.argv[1:]
    asyncio.run(PROGRAMS[name](json.loads(urls), api_key, api_secret, float(at), websocket, market))
