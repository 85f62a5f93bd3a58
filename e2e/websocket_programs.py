"""A trading program as its author wrote it for Binance's WebSocket API, with another URL and key.

usage: websocket_programs.py ccxt|ccxt-watch|ccxt-public|python-binance|python-binance-public URL KEY SECRET PRICE WEBSOCKET-URL. Prints one line of JSON for each answer.
"""

import asyncio
import json
import sys


def say(step, answer):
    print(json.dumps({"step": step, "answer": answer}, ensure_ascii=False), flush=True)


async def ccxt_pro(url, key, secret, price, socket):
    import ccxt.pro

    made = ccxt.pro.binance({"apiKey": key, "secret": secret, "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False}})
    made.urls["api"] = {
        name: value.replace("https://api.binance.com", url) if isinstance(value, str) else value for name, value in made.urls["api"].items()
    }
    made.urls["api"]["ws"] = {**made.urls["api"]["ws"], "ws-api": {"spot": socket}}
    try:
        await made.load_markets()
        order = await made.create_order_ws("BTC/USDT", "limit", "buy", 0.002, price)
        say("place", {"status": order["status"], "id": order["id"]})
        found = await made.fetch_order_ws(order["id"], "BTC/USDT")
        say("query", {"status": found["status"], "id": found["id"]})
        opened = await made.fetch_open_orders_ws("BTC/USDT")
        say("open", [o["id"] for o in opened])
        gone = await made.cancel_order_ws(order["id"], "BTC/USDT")
        say("cancel", {"status": gone["status"], "id": gone["id"]})
        try:
            await made.create_order_ws("BTC/USDT", "limit", "buy", 0.9, price)
            say("too large", "passed")
        except ccxt.pro.BaseError as error:
            say("too large", type(error).__name__)
    finally:
        await made.close()


async def ccxt_watch(url, key, secret, price, socket):
    """Sees its own orders come and fill, without asking."""
    import ccxt.pro

    made = ccxt.pro.binance({"apiKey": key, "secret": secret, "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False}})
    made.urls["api"] = {
        name: value.replace("https://api.binance.com", url) if isinstance(value, str) else value for name, value in made.urls["api"].items()
    }
    made.urls["api"]["ws"] = {**made.urls["api"]["ws"], "ws-api": {"spot": socket}}
    made.options["watchOrders"] = {"fetchPositionsSnapshot": False}
    try:
        await made.load_markets()
        watching = asyncio.ensure_future(made.watch_orders("BTC/USDT"))
        await asyncio.sleep(1.5)  # subscribed, before there is something to see
        order = await made.create_order_ws("BTC/USDT", "market", "buy", 0.001)
        seen = {}
        while seen.get(order["id"]) != "closed":
            for one in await asyncio.wait_for(watching, 20):
                seen[one["id"]] = one["status"]
            watching = asyncio.ensure_future(made.watch_orders("BTC/USDT"))
        watching.cancel()
        say("filled", {"id": order["id"], "seen": seen[order["id"]]})
    finally:
        await made.close()


async def python_binance(url, key, secret, price, socket):
    from binance import AsyncClient
    from binance.exceptions import BinanceAPIException

    AsyncClient.WS_API_URL = socket
    client = AsyncClient(key, secret)
    client.API_URL = url + "/api"
    try:
        order = await client.ws_create_order(symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.002", price=str(price))
        say("place", {"status": order["status"], "id": str(order["orderId"])})
        found = await client.ws_get_order(symbol="BTCUSDT", orderId=order["orderId"])
        say("query", {"status": found["status"], "id": str(found["orderId"])})
        opened = await client.ws_get_open_orders(symbol="BTCUSDT")
        say("open", [str(o["orderId"]) for o in opened])
        book = await client.ws_get_order_book(symbol="BTCUSDT", limit=5)
        say("public", len(book["bids"]))
        gone = await client.ws_cancel_order(symbol="BTCUSDT", orderId=order["orderId"])
        say("cancel", {"status": gone["status"], "id": str(gone["orderId"])})
        try:
            await client.ws_create_order(symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.9", price=str(price))
            say("too large", "passed")
        except BinanceAPIException as error:
            say("too large", error.code)
    finally:
        await client.close_connection()


async def ccxt_public(url, key, secret, price, socket):
    """Reads a book and trades as they come."""
    import ccxt.pro

    made = ccxt.pro.binance({"options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False}})
    made.urls["api"] = {
        name: value.replace("https://api.binance.com", url) if isinstance(value, str) else value for name, value in made.urls["api"].items()
    }
    made.urls["api"]["ws"] = {**made.urls["api"]["ws"], "spot": socket + "/ws"}
    try:
        await made.load_markets()
        book = await asyncio.wait_for(made.watch_order_book("BTC/USDT"), 30)
        say("book", {"bid": book["bids"][0][0], "ask": book["asks"][0][0]})
        trades = await asyncio.wait_for(made.watch_trades("BTC/USDT"), 30)
        say("trade", trades[-1]["price"])
    finally:
        await made.close()


async def python_binance_public(url, key, secret, price, socket):
    from binance import AsyncClient, BinanceSocketManager

    client = AsyncClient()
    client.API_URL = url + "/api"
    manager = BinanceSocketManager(client)
    manager.STREAM_URL = socket + "/"
    BinanceSocketManager.STREAM_URL = socket + "/"
    try:
        async with manager.depth_socket("BTCUSDT", depth="5") as stream:
            book = await asyncio.wait_for(stream.recv(), 30)
        say("book", {"bid": float(book["bids"][0][0]), "ask": float(book["asks"][0][0])})
        async with manager.trade_socket("BTCUSDT") as stream:
            trade = await asyncio.wait_for(stream.recv(), 30)
        say("trade", float(trade["p"]))
    finally:
        await client.close_connection()


def main():
    library, url, key, secret, price, socket = sys.argv[1:7]
    program = {"ccxt": ccxt_pro, "ccxt-watch": ccxt_watch, "ccxt-public": ccxt_public,
               "python-binance": python_binance, "python-binance-public": python_binance_public}[library]
    asyncio.run(program(url, key, secret, float(price), socket))


if __name__ == "__main__":
    main()
