"""The same suite for every venue and client through the gate: unmodified CCXT (Python, Python on an event loop, JavaScript) trades,
a thief with the program's host gets nothing, a halt holds."""

import unittest

import ccxt
import places
from gate import MANDATES, Gate
from venue_programs import CLIENTS

GATE = None


def setUpModule():
    global GATE
    GATE = Gate(mandates=MANDATES + places.MANDATES, strategies=("maker", *places.STRATEGIES), hosts=places.HOSTS, others=places.OTHERS)
    GATE.start()


def tearDownModule():
    GATE.stop()


class Everywhere:
    """What holds everywhere. A subclass says where, and with which client."""

    place = client = None

    @property
    def gate(self):
        return GATE

    def setUp(self):
        self.strategy, name, self.host, self.made, self.symbol, self.other, self.record = self.place
        self.amount = places.AMOUNTS.get(name, 0.005)

    def program(self, end=""):
        """CCXT as its users make it; only the URL and the key differ."""
        program = self.client(self.made.name, self.made.settings(GATE.listeners[self.host], *self.gate.keys[self.strategy + end]))
        self.addCleanup(program.close)
        return program

    def price(self, program, part):
        return float(program.price_to_precision(self.symbol, program.fetch_ticker(self.symbol)["last"] * part))

    def test_orders_go_round(self):
        program = self.program()
        self.assertIn(self.symbol, program.load_markets())
        self.assertTrue(program.fetch_balance()["total"])
        order = program.create_order(self.symbol, "limit", "buy", self.amount, self.price(program, 0.97))
        self.assertIn(order["id"], [o["id"] for o in program.fetch_open_orders(self.symbol)])
        program.cancel_order(order["id"], self.symbol)
        self.assertNotIn(order["id"], [o["id"] for o in program.fetch_open_orders(self.symbol)])
        bought = self.buy(program)
        trades = [t for t in program.fetch_my_trades(self.symbol) if t["order"] == bought["id"]]
        self.assertTrue(trades)
        entries = [e for e in self.gate.log() if "PlaceOrder" in str(e) and "pproved" in str(e)]
        self.assertTrue(entries)
        self.gate.settle()
        self.assertIn("verified", self.gate.cli("log", "verify", text=True))

    def buy(self, program):
        return program.create_order(self.symbol, "market", "buy", self.amount)

    def test_a_thief_gets_nothing(self):
        thief = self.program("-taker")
        thief.load_markets()
        before = self.changes()
        price = self.price(thief, 0.99)
        # CCXT for JavaScript wants a fee named at OKX.
        chain = {"network": "ERC20"} | ({"fee": "0"} if self.made.name == "okx" else {})
        # And KuCoin's leverage is that of borrowing.
        mode = {"marginMode": "cross"} if self.made.name == "kucoin" else {}
        for name, act, kinds in (
            ("withdraw", lambda: thief.withdraw("USDT", 100, "0x" + "ab" * 20, params=chain), ccxt.PermissionDenied),
            ("value", lambda: thief.create_order(self.symbol, "limit", "buy", self.amount * 10, price), ccxt.InvalidOrder),
            ("price", lambda: thief.create_order(self.symbol, "limit", "buy", self.amount / 5, self.price(thief, 1.3)), ccxt.InvalidOrder),
            ("market", lambda: thief.create_order(self.other, "limit", "buy", 1, 50), (ccxt.BadSymbol, ccxt.InvalidOrder)),
            ("leverage", lambda: thief.set_leverage(20, self.symbol, mode), (ccxt.PermissionDenied, ccxt.BadRequest, ccxt.NotSupported)),
        ):
            with self.subTest(name), self.assertRaises(kinds) as raised:
                act()
            with self.subTest(name + " is the gate's no"):
                if not isinstance(raised.exception, ccxt.NotSupported):
                    self.assertIn("Portcullis", str(raised.exception))
        self.assertEqual(self.changes(), before)

    def changes(self):
        """Requests at the venue that change something."""
        return sum(1 for r in self.gate.venue.requests(other=self.record) if r["key"] and r["method"] != "GET")

    def test_halts(self):
        program = self.program()
        program.load_markets()
        price = self.price(program, 0.97)
        order = program.create_order(self.symbol, "limit", "buy", self.amount, price)
        self.gate.cli("halt", "--level", "cancel-only", "--reason", "test")
        try:
            with self.assertRaises(ccxt.ExchangeNotAvailable):
                program.create_order(self.symbol, "limit", "buy", self.amount, price)
            program.cancel_order(order["id"], self.symbol)
        finally:
            self.gate.cli("resume", "--reason", "test")
        order = program.create_order(self.symbol, "limit", "buy", self.amount, price)
        program.cancel_order(order["id"], self.symbol)


#: Every client at every place: one class each, `PythonBinance`, `AsyncBinance`, `JavaScriptBinance` …
for client in CLIENTS:
    for place in (places.SPOT, *places.PLACES):
        name = client.__name__ + "".join(word for word in place[1].title() if word.isalnum())
        globals()[name] = type(name, (Everywhere, unittest.TestCase), {"client": client, "place": place, "__module__": __name__})


if __name__ == "__main__":
    unittest.main()
