"""A trading program as its author wrote it for Binance: python-binance, with another base URL and key.

usage: python_binance_program.py URL KEY SECRET. Prints one line of JSON for each answer: {"step": …, "answer": …}.
"""

import json
import sys

from binance.client import Client

URL, KEY, SECRET = sys.argv[1:4]


def client(url=URL, key=KEY, secret=SECRET):
    """The official way to another host: the class's URLs."""
    Client.API_URL = f"{url}/api"
    Client.MARGIN_API_URL = f"{url}/sapi"
    return Client(key, secret)


def say(step, answer):
    print(json.dumps({"step": step, "answer": answer}, ensure_ascii=False), flush=True)


def main():
    binance = client()
    info = binance.get_symbol_info("ETHUSDT")
    tick = next(f["tickSize"] for f in info["filters"] if f["filterType"] == "PRICE_FILTER")
    say("market", f"ETHUSDT is {info['status']}, tick {tick}")
    account = binance.get_account()
    say("balance", {b["asset"]: b["free"] for b in account["balances"] if b["asset"] in ("USDT", "ETH")})
    last = float(binance.get_symbol_ticker(symbol="ETHUSDT")["price"])
    digits = len(tick.rstrip("0").partition(".")[2])

    def price(part):
        return f"{last * part:.{digits}f}"

    order = binance.order_limit_buy(symbol="ETHUSDT", quantity="0.02", price=price(0.99))
    say("limit order", f"{order['side']} {order['origQty']} at {order['price']}: {order['status']}, id {order['orderId']}")
    market = binance.order_market_buy(symbol="ETHUSDT", quantity="0.01")
    say("market order", f"{market['side']} {market['executedQty']} for {market['cummulativeQuoteQty']}: {market['status']}")
    replaced = binance.cancel_replace_order(
        symbol="ETHUSDT",
        side="BUY",
        type="LIMIT",
        cancelReplaceMode="STOP_ON_FAILURE",
        timeInForce="GTC",
        quantity="0.02",
        price=price(0.985),
        cancelOrderId=order["orderId"],
    )
    new = replaced["newOrderResponse"]
    say("cancel-replace", f"{replaced['cancelResult']}, {replaced['newOrderResult']}: now at {new['price']}, id {new['orderId']}")
    oco = binance.create_oco_order(
        symbol="ETHUSDT",
        side="SELL",
        quantity="0.01",
        aboveType="LIMIT_MAKER",
        abovePrice=price(1.02),
        belowType="STOP_LOSS_LIMIT",
        belowStopPrice=price(0.98),
        belowPrice=price(0.979),
        belowTimeInForce="GTC",
    )
    say("OCO", f"list {oco['orderListId']}: {oco['listOrderStatus']}")
    say("open orders", [o["orderId"] for o in binance.get_open_orders(symbol="ETHUSDT")])
    for one in oco["orders"][:1]:
        binance.cancel_order(symbol="ETHUSDT", orderId=one["orderId"])
    say("cancel", binance.cancel_order(symbol="ETHUSDT", orderId=new["orderId"])["status"])
    say("open orders", [o["orderId"] for o in binance.get_open_orders(symbol="ETHUSDT")])
    trades = binance.get_my_trades(symbol="ETHUSDT")
    say("trades", [f"{'buy' if t['isBuyer'] else 'sell'} {t['qty']} at {t['price']}" for t in trades[-3:]])


if __name__ == "__main__":
    main()
