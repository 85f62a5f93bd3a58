"""Bybit through the gate with pybit, the venue's own client: unmodified, over REST."""

import time
import unittest

import places
from gate import MANDATES, Gate
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP

GATE = None
#: Codes after which pybit repeats a request by itself.
REPEATED = {10002, 10006, 30034, 30035, 130035, 130150}


def setUpModule():
    global GATE
    strategies = tuple(s for s in places.STRATEGIES if s[1] == "bybit")
    GATE = Gate(mandates=MANDATES + places.MANDATES, strategies=("maker", *strategies), hosts=places.HOSTS, others=places.OTHERS)
    GATE.start()


def tearDownModule():
    GATE.stop()


def http(strategy="bybit"):
    """As its users make it; the URL is an attribute."""
    key, secret = GATE.keys[strategy]
    made = HTTP(api_key=key, api_secret=secret)
    made.endpoint = GATE.listeners["api.bybit.com"]
    return made


def price(session, category, part):
    """The last price times `part`, on the market's tick."""
    market = {"category": category, "symbol": "BTCUSDT"}
    tick = float(session.get_instruments_info(**market)["result"]["list"][0]["priceFilter"]["tickSize"])
    last = float(session.get_tickers(**market)["result"]["list"][0]["lastPrice"])
    return f"{round(last * part / tick) * tick:.2f}"


def changes():
    """Requests at the venue that change something."""
    return [r for r in GATE.venue.requests(other="bybit") if r["key"] and r["method"] != "GET"]


class Rest(unittest.TestCase):
    def setUp(self):
        self.session = http()

    def open_ids(self, category):
        return [o["orderId"] for o in self.session.get_open_orders(category=category, symbol="BTCUSDT")["result"]["list"]]

    def test_orders(self):
        for category in ("spot", "linear"):
            with self.subTest(category):
                market = {"category": category, "symbol": "BTCUSDT"}
                placed = self.session.place_order(
                    **market, side="Buy", orderType="Limit", qty="0.005", price=price(self.session, category, 0.97), orderLinkId=f"mine-{category}",
                )
                order = placed["result"]["orderId"]
                self.assertIn(order, self.open_ids(category))
                self.session.amend_order(**market, orderId=order, qty="0.004")
                found = self.session.get_open_orders(**market, orderId=order)["result"]["list"][0]
                self.assertEqual(found["qty"], "0.004")
                self.session.cancel_order(**market, orderLinkId=f"mine-{category}")
                self.assertNotIn(order, self.open_ids(category))
                history = self.session.get_order_history(**market, orderId=order)["result"]["list"]
                self.assertEqual(history[0]["orderStatus"], "Cancelled")

    def test_batches(self):
        for category in ("spot", "linear"):
            with self.subTest(category):
                at = price(self.session, category, 0.96)
                orders = [
                    {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.005", "price": at, "orderLinkId": f"batch-{category}-{n}"} for n in range(3)
                ]
                placed = self.session.place_batch_order(category=category, request=orders)
                self.assertEqual([c["code"] for c in placed["retExtInfo"]["list"]], [0, 0, 0])
                ids = [o["orderId"] for o in placed["result"]["list"]]
                amended = [{"symbol": "BTCUSDT", "orderId": i, "qty": "0.004"} for i in ids]
                self.session.amend_batch_order(category=category, request=amended)
                self.assertLessEqual(set(ids), set(self.open_ids(category)))
                self.session.cancel_batch_order(category=category, request=[{"symbol": "BTCUSDT", "orderId": i} for i in ids])
                self.assertFalse(set(ids) & set(self.open_ids(category)))

    def test_a_position_its_exits_and_its_end(self):
        market = {"category": "linear", "symbol": "BTCUSDT"}
        opened = self.session.place_order(**market, side="Buy", orderType="Market", qty="0.005")["result"]["orderId"]
        position = self.session.get_positions(**market)["result"]["list"][0]
        self.assertEqual((position["side"], position["size"]), ("Buy", "0.005"))
        fills = self.session.get_executions(**market, orderId=opened)["result"]["list"]
        self.assertEqual(sum(float(f["execQty"]) for f in fills), 0.005)
        self.session.set_trading_stop(
            **market, tpslMode="Full", positionIdx=0,
            takeProfit=price(self.session, "linear", 1.03), stopLoss=price(self.session, "linear", 0.97),
        )
        position = self.session.get_positions(**market)["result"]["list"][0]
        self.assertTrue(position["takeProfit"] and position["stopLoss"])
        self.session.place_order(**market, side="Sell", orderType="Market", qty="0.005", reduceOnly=True)
        position = self.session.get_positions(**market)["result"]["list"][0]
        self.assertEqual(float(position["size"] or 0), 0)

    def test_reads(self):
        self.assertTrue(self.session.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]["coin"])
        self.assertTrue(self.session.get_orderbook(category="linear", symbol="BTCUSDT")["result"]["b"])
        self.assertTrue(self.session.get_kline(category="spot", symbol="BTCUSDT", interval="1")["result"]["list"])
        self.assertTrue(self.session.get_api_key_information()["result"])

    def test_refusals_are_raised_at_once_and_nothing_leaves(self):
        thief = http("bybit-taker")
        spot = {"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit"}
        at = price(thief, "spot", 0.99)
        before = len(changes())
        address = {"coin": "USDT", "chain": "ETH", "address": "0x" + "ab" * 20, "amount": "100", "timestamp": int(time.time() * 1000), "accountType": "FUND"}
        for name, act, code in (
            ("value", lambda: thief.place_order(**spot, qty="0.05", price=at), 170_210),
            ("price", lambda: thief.place_order(**spot, qty="0.001", price=price(thief, "spot", 1.3)), 170_210),
            ("market", lambda: thief.place_order(**{**spot, "symbol": "SOLUSDT"}, qty="1", price="50"), 10_001),
            ("withdraw", lambda: thief.withdraw(**address), 10_024),
            ("key", lambda: thief.delete_master_api_key(), 10_024),
            ("leverage", lambda: thief.set_leverage(category="linear", symbol="BTCUSDT", buyLeverage="20", sellLeverage="20"), 10_024),
            ("unknown order", lambda: thief.cancel_order(category="spot", symbol="BTCUSDT", orderId="1700000000000000001"), 110_001),
        ):
            with self.subTest(name):
                begun = time.monotonic()
                with self.assertRaises(InvalidRequestError) as raised:
                    act()
                self.assertIn("Portcullis", str(raised.exception))
                self.assertEqual(raised.exception.status_code, code)
                self.assertNotIn(code, REPEATED)
                self.assertLess(time.monotonic() - begun, 2, "pybit waits three seconds before it repeats")
        self.assertEqual(len(changes()), before)

    def test_a_halt(self):
        GATE.cli("halt", "--level", "cancel-only", "--reason", "test")
        try:
            begun = time.monotonic()
            with self.assertRaises(FailedRequestError) as raised:
                self.session.place_order(category="spot", symbol="BTCUSDT", side="Buy", orderType="Market", qty="50")
            self.assertEqual(raised.exception.status_code, 503)
            self.assertLess(time.monotonic() - begun, 2)
        finally:
            GATE.cli("resume", "--reason", "test")


if __name__ == "__main__":
    unittest.main()
