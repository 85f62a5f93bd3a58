"""A venue that is gone, slow, or bans; answers lost after acceptance; an egress that hangs. The program is unmodified CCXT or
python-binance: each exception is one that tells it what to do.
"""

import os
import signal
import socket
import threading
import time
import unittest

from client_programs import ccxt_options
from gate import Gate
from wire import Client

SYMBOL = "BTC/USDT"


class Way:
    """What lies between the gate and the venue: bytes pass both ways until it is shut; then nobody listens there."""

    def __init__(self, to):
        self.to = (to.rpartition(":")[0], int(to.rpartition(":")[2]))
        self.listener = None
        self.port = 0
        self.connections = set()
        self.open()
        self.port = self.listener.getsockname()[1]

    @property
    def address(self, venue="binance"):
        return f"127.0.0.1:{self.port}"

    def open(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def shut(self):
        # A blocked accept holds the socket: shutting it down wakes it.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for one in list(self.connections):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(self.to)
            self.connections |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    def pump(self, one, other):
        try:
            while part := one.recv(65536):
                other.sendall(part)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.connections.discard(one)
        one.close()


class GateOverWay(Gate):
    def address(self, venue="binance"):
        if not hasattr(self, "way"):
            self.way = Way(super().address(venue))
        return self.way.address


def ccxt_client(gate, strategy, timeout_s=10):
    import ccxt

    options, urls = ccxt_options(gate.url, *gate.keys[strategy])
    binance = ccxt.binance({**options, "timeout": timeout_s * 1000})
    binance.urls["api"] = urls
    binance.load_markets()
    return binance


def python_binance_client(gate, strategy):
    from binance.client import Client as PythonBinance

    PythonBinance.API_URL = f"{gate.url}/api"
    return PythonBinance(*gate.keys[strategy], ping=False)


class Faults(unittest.TestCase):
    """Every test leaves the venue as it found it, so that one gate serves all."""

    @classmethod
    def setUpClass(cls):
        cls.gate = GateOverWay(venue=("--still",))
        cls.gate.start()
        cls.addClassCleanup(cls.gate.stop)
        cls.ccxt = ccxt_client(cls.gate, "maker")

    def setUp(self):
        self.addCleanup(self.gate.venue.no_faults)
        self.low = float(self.gate.price("BTCUSDT", 0.98))
        self.name = self.id().rpartition(".")[2].replace("_", "-")[-18:].strip("-")

    def limit(self, name, client=None):
        return (client or self.ccxt).create_order(SYMBOL, "limit", "buy", 0.001, self.low, {"newClientOrderId": name})

    def at_venue(self, name):
        """Requests for an order of this name that reached the venue and were taken."""
        return [r for r in self.gate.venue.requests(method="POST", path="/api/v3/order") if r["client_order_id"] == name]

    def open_orders(self):
        return self.gate.cli("status")["signer"]["open_orders"]

    def passes_within(self, seconds, act):
        end = time.monotonic() + seconds
        while True:
            try:
                return act()
            except Exception:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def eventually(self, seconds, holds):
        end = time.monotonic() + seconds
        while not holds():
            self.assertLess(time.monotonic(), end, "it did not come to that in time")
            time.sleep(0.05)

    def test_venue_gone(self):
        import ccxt
        from binance.exceptions import BinanceAPIException

        resting = self.limit(f"{self.name}-0")
        before = self.open_orders()
        self.gate.way.shut()
        try:
            begun = time.monotonic()
            with self.assertRaises(ccxt.ExchangeNotAvailable) as raised:
                self.limit(f"{self.name}-1")
            self.assertIn("not sent", str(raised.exception))
            with self.assertRaises(ccxt.ExchangeNotAvailable):
                self.ccxt.cancel_order(resting["id"], SYMBOL)
            with self.assertRaises(ccxt.ExchangeNotAvailable):
                self.ccxt.fetch_ticker(SYMBOL)
            with self.assertRaises(BinanceAPIException) as raised:
                python_binance_client(self.gate, "taker").order_limit_buy(symbol="BTCUSDT", quantity="0.001", price=str(self.low))
            self.assertEqual((raised.exception.status_code, raised.exception.code), (503, 0))
            self.assertIn("not sent", raised.exception.message)
            self.assertLess(time.monotonic() - begun, 2.0, "a program waits for nobody who is not there")
            # What was not sent is not held against its strategy.
            self.eventually(3, lambda: self.open_orders() == before)
        finally:
            self.gate.way.open()
        self.passes_within(3, lambda: self.limit(f"{self.name}-2"))
        self.assertEqual(self.ccxt.cancel_order(resting["id"], SYMBOL)["status"], "canceled")
        self.assertEqual(self.at_venue(f"{self.name}-1"), [])

    def test_venue_slow(self):
        import ccxt

        self.gate.venue.fault("delay", method="POST", path="/api/v3/order", account="firm", ms=1500)
        took = {}

        def slow():
            begun = time.monotonic()
            order = self.limit(f"{self.name}-0")
            took.update(seconds=time.monotonic() - begun, status=order["status"])

        thread = threading.Thread(target=slow)
        thread.start()
        # Another strategy, and this one's own other calls, do not wait behind it.
        other = self.gate.client("taker")
        slowest = 0.0
        while thread.is_alive():
            begun = time.monotonic()
            self.assertEqual(other.call("GET", "/api/v3/openOrders", {"symbol": "BTCUSDT"}).status, 200)
            slowest = max(slowest, time.monotonic() - begun)
            # Well within the message rate of its mandate.
            time.sleep(0.2)
        thread.join()
        self.assertEqual(took["status"], "open")
        self.assertGreater(took["seconds"], 1.4)
        self.assertLess(slowest, 0.7)
        # A program that does not wait so long gets its own library's word, and asks.
        hasty = ccxt_client(self.gate, "maker", timeout_s=1)
        with self.assertRaises(ccxt.RequestTimeout):
            self.limit(f"{self.name}-1", hasty)
        found = self.passes_within(5, lambda: self.ccxt.fetch_order(None, SYMBOL, {"origClientOrderId": f"{self.name}-1"}))
        self.assertEqual(found["status"], "open")
        self.assertEqual(len(self.at_venue(f"{self.name}-1")), 1)

    def lost(self, act, **more):
        """An order whose answer is lost. Gives its name."""
        import ccxt

        name = f"{self.name}-{act}"
        self.gate.venue.fault(act, method="POST", path="/api/v3/order", account="firm", count=1, **more)
        with self.assertRaises(ccxt.RequestTimeout) as raised:
            self.limit(name)
        self.assertIn("may have reached the exchange", str(raised.exception))
        self.assertEqual(len(self.at_venue(name)), 1)
        return name

    def test_answer_lost_after_acceptance(self):
        for act in ("drop-after", "cut-after"):
            with self.subTest(act):
                before = self.open_orders()
                name = self.lost(act)
                # The order stands, and is the strategy's own: it can be read and cancelled by the name it was given.
                self.eventually(10, lambda before=before: self.open_orders() == before + 1)
                self.assertEqual(self.ccxt.fetch_order(None, SYMBOL, {"origClientOrderId": name})["status"], "open")
                self.assertEqual(self.ccxt.cancel_order(None, SYMBOL, {"origClientOrderId": name})["status"], "canceled")
                self.eventually(10, lambda before=before: self.open_orders() == before)

    def test_request_lost_before_acceptance(self):
        before = self.open_orders()
        name = self.lost("drop-before")
        # Nobody knows until the gate has asked; then its reservation ends.
        self.eventually(10, lambda: self.open_orders() == before)
        self.assertEqual([r["accepted"] for r in self.at_venue(name)], [False])

    def test_a_repeat_is_no_second_order(self):
        client = self.gate.client("maker")
        self.gate.venue.fault("drop-after", method="POST", path="/api/v3/order", account="firm", count=1)
        fields = {
            "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001", "price": f"{self.low:.2f}",
            "newClientOrderId": self.name, "recvWindow": "20000",
        }
        query = client.query(fields)
        request = (
            f"POST /api/v3/order HTTP/1.1\r\nHost: api.binance.com\r\nX-MBX-APIKEY: {client.key}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(query)}\r\n\r\n{query}"
        ).encode()
        first = client.raw(request)
        self.assertEqual((first.status, first.json()["code"]), (504, -1007))
        for _ in range(3):
            again = client.raw(request)
            self.assertEqual((again.status, again.json()["code"], again.refusal), (504, -1007, "repeated"))
            time.sleep(0.5)
        self.assertEqual(len(self.at_venue(self.name)), 1)

    def test_venue_fails_after_acceptance(self):
        import ccxt

        before = self.open_orders()
        self.gate.venue.fault("error-after", method="POST", path="/api/v3/order", account="firm", status=503, count=1)
        with self.assertRaises(ccxt.RequestTimeout):  # the venue's own words for it: -1007
            self.limit(self.name)
        # Its status proves nothing: the order counts as open until the gate has asked, and then because it is.
        self.eventually(10, lambda: self.open_orders() == before + 1)
        time.sleep(1.5)
        self.assertEqual(self.open_orders(), before + 1)
        self.assertEqual(self.ccxt.cancel_order(None, SYMBOL, {"origClientOrderId": self.name})["status"], "canceled")

    def test_an_egress_that_hangs_sends_nothing_late(self):
        pid = self.gate.pids()["egress"]
        os.kill(pid, signal.SIGSTOP)
        try:
            said = {}
            client = self.gate.client("maker")
            thread = threading.Thread(target=lambda: said.update(answer=client.order("BTCUSDT", "BUY", "0.001", f"{self.low:.2f}", newClientOrderId=self.name)))
            thread.start()
            time.sleep(1.5)
        finally:
            os.kill(pid, signal.SIGCONT)
        thread.join(10)
        self.assertEqual(said["answer"].status, 503, said)
        self.assertIn(b"not sent: too_late", said["answer"].body)
        self.assertEqual(self.at_venue(self.name), [])
        self.passes_within(3, lambda: self.limit(f"{self.name}-2"))


class Bans(unittest.TestCase):
    def setUp(self):
        self.gate = Gate(venue=("--still",))
        self.gate.start()
        self.addCleanup(self.gate.stop)
        self.ccxt = ccxt_client(self.gate, "maker")
        self.low = float(self.gate.price("BTCUSDT", 0.98))

    def test_bans_and_limits(self):
        import ccxt
        from binance.exceptions import BinanceAPIException

        # Somebody else at this address has used nearly all of its weight: reads are shed, another strategy's cancels pass.
        resting = [self.ccxt.create_order(SYMBOL, "limit", "buy", 0.001, self.low) for _ in range(3)]
        self.gate.venue.ask("/weight", {"ip": "127.0.0.1", "used": 570_000})
        taker = python_binance_client(self.gate, "taker")
        with self.assertRaises(BinanceAPIException) as raised:
            for _ in range(50):
                taker.get_orderbook_tickers()
        self.assertEqual((raised.exception.status_code, raised.exception.code), (400, -1015))
        self.assertEqual(self.ccxt.cancel_order(resting[0]["id"], SYMBOL)["status"], "canceled")
        counts = self.gate.venue.counts()
        self.assertEqual((counts["answered_429"], counts["answered_418"]), (0, 0))

        # A ban. Who meets it gets the venue's own answer; from then on nothing goes out until the venue's time is over.
        self.gate.venue.ask("/forgive", {})
        self.gate.venue.ask("/ban", {"ip": "127.0.0.1", "seconds": 4})
        banned = time.monotonic()
        with self.assertRaises((ccxt.DDoSProtection, ccxt.RateLimitExceeded)):
            self.ccxt.cancel_order(resting[1]["id"], SYMBOL)
        reached = len(self.gate.venue.requests())
        for act in (
            lambda: self.ccxt.cancel_order(resting[1]["id"], SYMBOL),
            lambda: self.ccxt.create_order(SYMBOL, "limit", "buy", 0.001, self.low),
            lambda: self.ccxt.fetch_balance(),
        ):
            with self.assertRaises(ccxt.RateLimitExceeded) as raised:
                act()
            self.assertIn("venue_asked_to_wait", str(raised.exception))
        with self.assertRaises(BinanceAPIException) as raised:
            taker.get_account()
        self.assertEqual((raised.exception.status_code, raised.exception.code), (400, -1015))
        self.assertLess(time.monotonic() - banned, 3, "too slow to prove anything")
        self.assertEqual(len(self.gate.venue.requests()), reached, "something went out during a ban")
        alarms = [e for e in self.gate.lines if e.get("event") == "venue-asked-to-wait"]
        self.assertTrue(alarms and alarms[0]["alert"] and alarms[0]["status"] == 418, alarms)
        while True:
            try:
                self.assertEqual(self.ccxt.cancel_order(resting[1]["id"], SYMBOL)["status"], "canceled")
                break
            except ccxt.RateLimitExceeded:
                self.assertLess(time.monotonic() - banned, 10)
                time.sleep(0.1)
        self.assertGreater(time.monotonic() - banned, 3.5, "sooner than the venue said")
        self.assertEqual(self.gate.venue.counts()["answered_418"], 1, "a ban is met once")

        # Over the limit at once: 429, and the gate stops before it becomes a ban.
        self.gate.venue.ask("/forgive", {})
        self.gate.venue.ask("/weight", {"ip": "127.0.0.1", "used": 700_000})
        client = Client(self.gate.url, *self.gate.keys["maker"])
        said = [client.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": resting[2]["id"]}).status for _ in range(30)]
        self.assertIn(429, [said[0], *said])
        self.assertLessEqual(said.count(429), 1, said)
        counts = self.gate.venue.counts()
        self.assertEqual(counts["answered_418"], 1, "the gate went on into a ban")


if __name__ == "__main__":
    unittest.main()
