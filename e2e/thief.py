"""What a thief tries who sits on the strategy's host: the virtual key, its secret, and the program's own libraries.

usage: thief.py URL KEY SECRET EXCHANGE_URL FOREIGN_ORDER RATE. Prints one line of JSON for each attempt:
{"step": …, "raised": class of the exception or null, "message": …}.
FOREIGN_ORDER is the id of another strategy's order; RATE how many messages a second the mandate grants.
"""

import hashlib
import hmac
import http.client
import json
import sys
import time
import urllib.parse

import ccxt
from ccxt_program import exchange
from python_binance_program import client

URL, KEY, SECRET, EXCHANGE, FOREIGN, RATE = sys.argv[1:7]


def attempt(step, act):
    try:
        answer = act()
        line = {"step": step, "raised": None, "message": json.dumps(answer, default=str)[:200]}
    except Exception as error:  # whatever the libraries raise is what is shown
        text = str(error)
        line = {"step": step, "raised": f"{type(error).__module__.split('.')[0]}.{type(error).__name__}", "message": text[:400]}
    print(json.dumps(line, ensure_ascii=False), flush=True)


def signed(host, method, path, fields):
    """One request by hand, for what must be sent twice byte by byte."""
    query = urllib.parse.urlencode(fields)
    query += "&signature=" + hmac.new(SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()
    return host, method, path + "?" + query


def send(host, method, target):
    address = urllib.parse.urlsplit(host)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    connection.request(method, target, headers={"X-MBX-APIKEY": KEY})
    answer = connection.getresponse()
    return answer.status, answer.getheader("x-portcullis-refusal"), answer.read().decode()


def main():
    binance = exchange()
    binance.load_markets()
    other = client()
    last = binance.fetch_ticker("BTC/USDT")["last"]

    def price(part):
        return binance.price_to_precision("BTC/USDT", last * part)

    attempt("withdraw", lambda: binance.withdraw("USDT", 500, "TThiefThiefThiefThiefThiefThiefThie", params={"network": "TRX"}))
    attempt("withdraw (python-binance)", lambda: other.withdraw(coin="USDT", address="TThiefThiefThiefThiefThiefThiefThie", amount=500, network="TRX"))
    attempt("transfer to another wallet", lambda: binance.transfer("USDT", 500, "spot", "future"))
    attempt("transfer to a sub-account", lambda: other.make_subaccount_universal_transfer(fromAccountType="SPOT", toAccountType="SPOT", asset="USDT", amount=500, toEmail="thief@example.com"))
    attempt("convert", lambda: other.convert_request_quote(fromAsset="USDT", toAsset="XMR", fromAmount="500"))
    attempt("borrow", lambda: binance.borrow_cross_margin("USDT", 5000))
    attempt("make an API key", lambda: binance.sapi_post_broker_subaccountapi({"subAccountId": "1", "canTrade": "true"}))
    attempt("open the account's stream", lambda: other.stream_get_listen_key())
    attempt("a market off the mandate", lambda: binance.create_order("SOL/USDT", "limit", "buy", 1, 100))
    attempt("an order over the value limit", lambda: binance.create_order("BTC/USDT", "limit", "buy", 0.5, price(0.999)))
    attempt("a price far from the market", lambda: binance.create_order("BTC/USDT", "limit", "buy", 0.001, price(1.3)))
    attempt("sell far below the market", lambda: other.order_limit_sell(symbol="BTCUSDT", quantity="0.001", price=price(0.7)))
    attempt("somebody else's order cancelled", lambda: binance.cancel_order(FOREIGN, "ETH/USDT"))

    def replayed():
        fields = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001",
                  "price": price(0.97), "timestamp": int(time.time() * 1000)}
        request = signed(URL, "POST", "/api/v3/order", fields)
        first = send(*request)
        if first[0] != 200:
            raise RuntimeError(f"the program's own order was refused: {first}")
        order = json.loads(first[2])["orderId"]
        second = send(*request)
        binance.cancel_order(str(order), "BTC/USDT")
        # Shown as CCXT shows it.
        binance.handle_errors(second[0], "", "", "POST", {}, second[2], json.loads(second[2]), {}, "")
        binance.handle_http_status_code(second[0], "", URL, "POST", second[2])
        return second

    attempt("a replay of the program's own order", replayed)

    def burst():
        for _ in range(int(RATE) * 3):
            binance.create_order("BTC/USDT", "limit", "buy", 0.001, price(0.96), {"timeInForce": "IOC"})
        return "no refusal"

    binance.enableRateLimit = False
    attempt("a burst over the message rate", burst)

    def straight():
        direct = exchange(EXCHANGE)
        direct.verify = False  # a thief does not care whose certificate it is
        return direct.fetch_balance()

    attempt("the virtual key straight at the exchange", straight)


if __name__ == "__main__":
    main()
