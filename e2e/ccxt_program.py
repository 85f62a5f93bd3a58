"""A trading program as its author wrote it for Binance: CCXT, with another base URL and key.

usage: ccxt_program.py URL KEY SECRET. Prints one line of JSON for each answer: {"step": …, "answer": …}.
"""

import json
import sys

import ccxt

URL, KEY, SECRET = sys.argv[1:4]


def exchange(url=URL, key=KEY, secret=SECRET):
    """Binance spot, as CCXT makes it; only the host of each URL and the key differ."""
    made = ccxt.binance({"apiKey": key, "secret": secret, "options": {"fetchMarkets": {"types": ["spot"]}}})
    made.urls["api"] = {
        name: value.replace("https://api.binance.com", url) if isinstance(value, str) else value
        for name, value in made.urls["api"].items()
    }
    return made


def say(step, answer):
    print(json.dumps({"step": step, "answer": answer}, ensure_ascii=False), flush=True)


def main():
    binance = exchange()
    markets = binance.load_markets()
    say("markets", f"{len(markets)} markets, {', '.join(sorted(markets)[:4])} …")
    balance = binance.fetch_balance()
    say("balance", {a: balance["free"][a] for a in ("USDT", "BTC", "ETH") if a in balance["free"]})
    last = binance.fetch_ticker("BTC/USDT")["last"]

    def price(part):
        return binance.price_to_precision("BTC/USDT", last * part)

    order = binance.create_order("BTC/USDT", "limit", "buy", 0.002, price(0.99))
    say("limit order", f"{order['side']} {order['amount']} at {order['price']}: {order['status']}, id {order['id']}")
    market = binance.create_order("BTC/USDT", "market", "buy", 0.001)
    say("market order", f"{market['side']} {market['filled']} for {market['cost']}: {market['status']}")
    edited = binance.edit_order(order["id"], "BTC/USDT", "limit", "buy", 0.002, price(0.985))
    say("cancel-replace", f"now at {edited['price']}, id {edited['id']}")
    opened = binance.fetch_open_orders("BTC/USDT")
    say("open orders", [o["id"] for o in opened])
    oco = binance.private_post_orderlist_oco(
        {
            "symbol": "BTCUSDT",
            "side": "SELL",
            "quantity": "0.001",
            "aboveType": "LIMIT_MAKER",
            "abovePrice": price(1.02),
            "belowType": "STOP_LOSS_LIMIT",
            "belowStopPrice": price(0.98),
            "belowPrice": price(0.979),
            "belowTimeInForce": "GTC",
        }
    )
    say("OCO", f"list {oco['orderListId']}, {len(oco['orders'])} orders: {oco['listOrderStatus']}")
    gone = binance.private_delete_orderlist({"symbol": "BTCUSDT", "orderListId": oco["orderListId"]})
    say("cancel the list", gone["listOrderStatus"])
    cancelled = binance.cancel_order(edited["id"], "BTC/USDT")
    say("cancel", cancelled["status"])
    say("open orders", [o["id"] for o in binance.fetch_open_orders("BTC/USDT")])
    trades = binance.fetch_my_trades("BTC/USDT")
    say("trades", [f"{t['side']} {t['amount']} at {t['price']}" for t in trades[-3:]])


if __name__ == "__main__":
    main()
