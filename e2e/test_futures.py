"""USD-M and COIN-M futures through the gate: unmodified python-binance and CCXT place, cancel and reduce; what is not theirs is refused.
"""

import json
import pathlib
import subprocess
import sys
import time
import unittest

import ccxt
from binance.client import Client
from binance.exceptions import BinanceAPIException

from gate import MANDATES, Gate

HERE = pathlib.Path(__file__).parent

USDM, COINM = "fapi.binance.com", "dapi.binance.com"
WS_USDM, WS_COINM = "ws-fapi.binance.com", "ws-dapi.binance.com"
FUTURES = MANDATES.replace("# A market maker", """[firm.markets."usd_futures:*"]
floor = "500"
ceiling = "500000"
quantity = "20"

[firm.markets."coin_futures:BTC*"]
floor = "10000"
ceiling = "500000"
quantity = "500"

# A market maker""")


class Futures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gate = Gate(mandates=FUTURES, hosts=(USDM, COINM, WS_USDM, WS_COINM))
        cls.gate.start()

    @classmethod
    def tearDownClass(cls):
        cls.gate.stop()

    def refused(self, label, code, words, call):
        with self.assertRaises(BinanceAPIException, msg=label) as raised:
            call()
        self.assertEqual(raised.exception.code, code, label)
        self.assertIn(words, raised.exception.message, label)

    def rests(self, place):
        """The gate has a mark price a moment after it began."""
        end = time.monotonic() + 20
        while True:
            try:
                return place()
            except (BinanceAPIException, ccxt.InvalidOrder):
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def test_python_binance_trades(self):
        gate = self.gate
        client = Client(*gate.keys["maker"], ping=False)
        client.FUTURES_URL, client.FUTURES_COIN_URL = gate.listeners[USDM] + "/fapi", gate.listeners[COINM] + "/dapi"
        mark = float(client.futures_mark_price(symbol="BTCUSDT")["markPrice"])
        low, eth = f"{mark * 0.95:.1f}", float(client.futures_mark_price(symbol="ETHUSDT")["markPrice"])
        btc = {"symbol": "BTCUSDT", "quantity": "0.01"}
        resting = {**btc, "side": "BUY", "type": "LIMIT", "price": low}
        first = self.rests(lambda: client.futures_create_order(**resting, timeInForce="GTC"))
        self.assertTrue(first["status"] == "NEW", "a limit order rests")
        maker = client.futures_create_order(**resting, timeInForce="GTX")
        self.assertTrue(maker["status"] == "NEW", "a post-only order rests")
        amended = client.futures_modify_order(symbol="BTCUSDT", side="BUY", orderId=maker["orderId"], quantity="0.015", price=f"{mark * 0.96:.1f}")
        self.assertTrue((float(amended["origQty"]), amended["orderId"]) == (0.015, maker["orderId"]), "an order is amended: larger, and at another price")
        self.refused("an amendment above its value", -2010, "order value",
                     lambda: client.futures_modify_order(symbol="BTCUSDT", side="BUY", orderId=maker["orderId"], quantity="1", price=low))
        self.refused("an amendment of another's order", -2011, "not known to be",
                     lambda: client.futures_modify_order(symbol="BTCUSDT", side="BUY", orderId=1, quantity="0.01", price=low))
        self.assertTrue({o["orderId"] for o in client.futures_get_open_orders(symbol="BTCUSDT")} == {first["orderId"], maker["orderId"]}, "open orders are read")
        self.assertTrue(client.futures_cancel_order(symbol="BTCUSDT", orderId=first["orderId"])["status"] == "CANCELED", "one is cancelled")
        bought = client.futures_create_order(**btc, side="BUY", type="MARKET", newOrderRespType="RESULT")
        self.assertTrue(bought["status"] == "FILLED", "a market order fills")
        stop = client.futures_create_order(symbol="BTCUSDT", side="SELL", type="STOP_MARKET", stopPrice=low, closePosition="true")
        trail = client.futures_create_order(**btc, side="SELL", type="TRAILING_STOP_MARKET", callbackRate="1", reduceOnly="true")
        waiting = {o["algoId"] for o in client.futures_get_open_algo_orders(symbol="BTCUSDT")}
        self.assertTrue(waiting == {stop["algoId"], trail["algoId"]}, "conditional orders wait")
        client.futures_cancel_order(algoId=stop["algoId"])
        client.futures_cancel_order(clientAlgoId=trail["clientAlgoId"])
        self.assertTrue(client.futures_get_open_algo_orders(symbol="BTCUSDT") == [], "they are cancelled by number and by name, their market not said")
        batch = client.futures_place_batch_order(batchOrders=[
            {**resting, "timeInForce": "GTC"},
            {"symbol": "ETHUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": f"{eth * 1.04:.2f}", "reduceOnly": "true"},
        ])
        self.assertTrue(batch[0].get("status") == "NEW" and batch[1].get("code") == -2022, "a batch has an outcome for each")
        ids = [o["orderId"] for o in client.futures_get_open_orders(symbol="BTCUSDT")]
        cancelled = client.futures_cancel_orders(symbol="BTCUSDT", orderidlist=ids)
        self.assertTrue(len(ids) == 2 and all(o["status"] == "CANCELED" for o in cancelled), "a list of ids is cancelled")
        sold = client.futures_create_order(**btc, side="SELL", type="MARKET", reduceOnly="true", newOrderRespType="RESULT")
        self.assertTrue(sold["status"] == "FILLED", "the position is reduced")
        self.assertTrue(all(float(p["positionAmt"]) == 0 for p in client.futures_position_information(symbol="BTCUSDT")), "and gone")
        self.assertTrue(len(client.futures_account_trades(symbol="BTCUSDT")) >= 2, "own trades are read")
        coin = client.futures_coin_create_order(symbol="BTCUSD_PERP", side="BUY", type="MARKET", quantity="1")
        self.assertTrue(coin["status"] in ("NEW", "FILLED"), "contracts of COIN-M are bought")
        self.assertTrue(any(float(p["positionAmt"]) == 1 for p in client.futures_coin_position_information(pair="BTCUSD")), "and read")

        self.refused("an order above its value", -2010, "order value", lambda: client.futures_create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="1"))
        self.refused("another's order", -2011, "not known to be", lambda: client.futures_cancel_order(symbol="BTCUSDT", orderId=1))
        self.refused("a leverage that no mandate names", -2015, "", lambda: client.futures_change_leverage(symbol="BTCUSDT", leverage=50))
        self.refused("a countdown", -2015, "gate's own", lambda: client.futures_countdown_cancel_all(symbol="BTCUSDT", countdownTime=60000))
        self.refused("a stream key", -2015, "is not passed", client.futures_stream_get_listen_key)

    def test_ccxt_trades(self):
        gate = self.gate
        key, secret = gate.keys["maker"]
        options = {"fetchCurrencies": False, "defaultType": "swap", "fetchMarkets": {"types": ["linear", "inverse"]}}
        exchange = ccxt.binance({"apiKey": key, "secret": secret, "options": options})

        def through(url):
            for host in (USDM, COINM):
                url = url.replace(f"https://{host}", gate.listeners[host])
            return url

        exchange.urls["api"] = {name: through(url) for name, url in exchange.urls["api"].items()}
        exchange.load_markets()
        btc = "BTC/USDT:USDT"
        low = float(exchange.price_to_precision(btc, float(exchange.fetch_ticker(btc)["last"]) * 0.95))
        one = self.rests(lambda: exchange.create_order(btc, "limit", "buy", 0.01, low))
        self.assertTrue(one["status"] == "open", "CCXT: a limit order")
        moved = exchange.edit_order(one["id"], btc, "limit", "buy", 0.011, low)
        self.assertTrue(moved["id"] == one["id"] and moved["amount"] == 0.011, "CCXT: an order is amended")
        two = exchange.create_orders([{"symbol": btc, "type": "limit", "side": "buy", "amount": 0.01, "price": low, "params": {"postOnly": True}}])
        self.assertTrue(two[0]["status"] == "open", "CCXT: a batch")
        stop = exchange.create_order(btc, "market", "buy", 0.01, None, {"takeProfitPrice": low})
        self.assertTrue(exchange.fetch_open_orders(btc, None, None, {"trigger": True})[0]["id"] == stop["id"], "CCXT: a conditional order")
        exchange.cancel_order(stop["id"], btc, {"trigger": True})
        exchange.cancel_orders([one["id"], two[0]["id"]], btc)
        self.assertTrue(exchange.fetch_open_orders(btc) == [] and exchange.fetch_open_orders(btc, None, None, {"trigger": True}) == [], "CCXT: all is cancelled")
        with self.assertRaises(ccxt.PermissionDenied, msg="CCXT: cancel-all on a shared account"):
            exchange.cancel_all_orders(btc)
        self.assertTrue(exchange.fetch_balance()["USDT"]["total"] > 0 and isinstance(exchange.fetch_my_trades(btc), list), "CCXT: balance and trades")

    def test_websocket_orders(self):
        """Orders by the WebSocket APIs of futures: placed, amended, found, cancelled by CCXT Pro and python-binance."""
        for library in ("ccxt", "python-binance"):
            for kind, host in (("linear", WS_USDM), ("inverse", WS_COINM)):
                if library == "python-binance" and kind == "inverse":
                    continue  # It has no WebSocket API for COIN-M.
                with self.subTest(library=library, kind=kind):
                    mark = self.mark()
                    places = {name: self.gate.listeners[name] for name in (USDM, COINM)}
                    socket = self.gate.listeners[host].replace("http", "ws", 1) + ("/ws-fapi/v1" if kind == "linear" else "/ws-dapi/v1")
                    command = [sys.executable, HERE / "futures_programs.py", library, json.dumps(places), *self.gate.keys["maker"], f"{mark * 0.96:.1f}", socket, kind]
                    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120, check=False)
                    self.assertEqual(done.returncode, 0, f"{library}: {done.stdout[-600:]} {done.stderr[-3000:]}")
                    steps = {line["step"]: line["answer"] for line in map(json.loads, done.stdout.splitlines())}
                    number = steps["place"]["id"]
                    self.assertEqual([steps[step]["id"] for step in ("amend", "query", "cancel")], [number] * 3)
                    self.assertEqual(steps["amend"]["amount"], 2 if kind == "inverse" else 0.011)
                    self.assertIn(steps["too large"], ("InvalidOrder", -2010))

    def mark(self):
        client = Client(*self.gate.keys["maker"], ping=False)
        client.FUTURES_URL = self.gate.listeners[USDM] + "/fapi"
        return float(client.futures_mark_price(symbol="BTCUSDT")["markPrice"])


if __name__ == "__main__":
    unittest.main()
