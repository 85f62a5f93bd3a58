"""Bybit through the gate with pybit, the venue's own client, and CCXT Pro: unmodified, over REST and by WebSocket."""

import asyncio
import contextlib
import hashlib
import hmac
import threading
import time
import unittest

import ccxt.pro
import pipes
import places
import pybit._websocket_trading
import pybit.unified_trading
from gate import MANDATES, Gate
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP, WebSocket, WebSocketTrading

GATE = None
STREAM = "stream.bybit.com"
#: Codes after which pybit repeats a request by itself.
REPEATED = {10002, 10006, 30034, 30035, 130035, 130150}


def setUpModule():
    global GATE
    strategies = tuple(s for s in places.STRATEGIES if s[1] == "bybit")
    GATE = Gate(mandates=MANDATES + places.MANDATES, strategies=("maker", *strategies), hosts=places.HOSTS, others=places.OTHERS, streams=(("bybit", STREAM),))
    GATE.start()
    # pybit has no setting for these: constants of its modules.
    url = stream()
    pybit._websocket_trading.TRADE_WSS = f"{url}/v5/trade"
    pybit.unified_trading.PRIVATE_WSS = f"{url}/v5/private"
    pybit.unified_trading.PUBLIC_WSS = url + "/v5/public/{CHANNEL_TYPE}"


def tearDownModule():
    GATE.stop()


def http(strategy="bybit"):
    """As its users make it; the URL is an attribute."""
    key, secret = GATE.keys[strategy]
    made = HTTP(api_key=key, api_secret=secret)
    made.endpoint = GATE.listeners["api.bybit.com"]
    return made


def stream():
    return GATE.listeners[STREAM].replace("http://", "ws://")


class Heard:
    """What a program's callbacks were given."""

    def __init__(self):
        self.all = []
        self.more = threading.Condition()

    def __call__(self, message):
        with self.more:
            self.all.append(message)
            self.more.notify_all()

    def first(self, fits, seconds=20):
        """The first message that fits, once it is there."""
        found = []

        def there():
            found[:] = [m for m in self.all if fits(m)][:1]
            return found

        with self.more:
            if not self.more.wait_for(there, seconds):
                raise AssertionError(f"not heard among {self.all[-5:]}")
        return found[0]


@contextlib.contextmanager
def opened(made):
    try:
        yield made
    finally:
        made.exit()


def trading(strategy="bybit"):
    key, secret = GATE.keys[strategy]
    # The venue looks at a logon's expiry alone; ten seconds ahead the gate takes it at once after its own start too.
    return opened(WebSocketTrading(testnet=False, api_key=key, api_secret=secret, private_auth_expire=10))


def call(act, **fields):
    """One request by frame, and its answer, good or bad."""
    heard = Heard()
    act(heard, error_callback=heard, **fields)
    return heard.first(lambda _: True)


def refused(act, **fields):
    """The same of what changes nothing, up to three times: pybit notes whom to call after it has sent, and drops an answer that
    is there before; the gate's own no can be."""
    for last in (False, False, True):
        heard = Heard()
        act(heard, error_callback=heard, **fields)
        try:
            return heard.first(lambda _: True, 20 if last else 3)
        except AssertionError:
            if last:
                raise


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


class Frames(unittest.TestCase):
    """pybit's WebSockets."""

    def setUp(self):
        self.session = http()

    def test_orders_by_frame_and_the_accounts_stream(self):
        key, secret = GATE.keys["bybit"]
        market = {"category": "linear", "symbol": "BTCUSDT"}
        heard = Heard()

        def rows(topic, **wanted):
            def fits(message):
                return message["topic"] == topic and any(all(row[n] == v for n, v in wanted.items()) for row in message["data"])

            return heard.first(fits)

        private = WebSocket(testnet=False, channel_type="private", api_key=key, api_secret=secret, private_auth_expire=10)
        with opened(private), trading() as trade:
            for subscribe in (private.order_stream, private.execution_stream, private.position_stream, private.wallet_stream):
                subscribe(heard)
            time.sleep(1)  # subscribed, before there is something to hear
            at = price(self.session, "linear", 0.97)
            placed = call(trade.place_order, **market, side="Buy", orderType="Limit", qty="0.005", price=at, orderLinkId="framed")
            self.assertEqual(placed["retCode"], 0, placed)
            order = placed["data"]["orderId"]
            rows("order", orderId=order, orderStatus="New")
            self.assertEqual(call(trade.amend_order, **market, orderId=order, qty="0.004")["retCode"], 0)
            rows("order", orderId=order, qty="0.004")
            self.assertEqual(call(trade.cancel_order, **market, orderId=order)["retCode"], 0)
            rows("order", orderId=order, orderStatus="Cancelled")
            bought = call(trade.place_order, **market, side="Buy", orderType="Market", qty="0.005")["data"]["orderId"]
            rows("execution", orderId=bought)
            rows("position", side="Buy")
            rows("wallet", accountType="UNIFIED")
            sold = call(trade.place_order, **market, side="Sell", orderType="Market", qty="0.005", reduceOnly=True)
            self.assertEqual(sold["retCode"], 0, sold)
            orders = [{"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.005", "price": at} for _ in range(2)]
            batch = call(trade.place_batch_order, category="linear", request=orders)
            self.assertEqual([c["code"] for c in batch["retExtInfo"]["list"]], [0, 0], batch)
            ids = [{"symbol": "BTCUSDT", "orderId": o["orderId"]} for o in batch["data"]["list"]]
            self.assertEqual(call(trade.cancel_batch_order, category="linear", request=ids)["retCode"], 0)
        # Each frame is an entry, and its order is known as one over REST is.
        GATE.settle()
        entries = str(GATE.log())
        self.assertIn(order, entries)
        self.assertIn("verified", GATE.cli("log", "verify", text=True))

    def test_what_the_mandate_does_not_allow_goes_nowhere(self):
        before = len(changes())
        market = {"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit"}
        with trading("bybit-taker") as trade:
            for name, fields, code in (
                ("value", {**market, "qty": "0.05", "price": price(self.session, "spot", 0.99)}, 170_210),
                ("price", {**market, "qty": "0.001", "price": price(self.session, "spot", 1.3)}, 170_210),
                ("field", {**market, "qty": "0.001", "price": "60000", "unknown": "1"}, 10_001),
            ):
                with self.subTest(name):
                    told = refused(trade.place_order, **fields)
                    self.assertEqual(told["retCode"], code, told)
                    self.assertIn("Portcullis", told["retMsg"])
            GATE.cli("halt", "--level", "cancel-only", "--reason", "test")
            try:
                told = refused(trade.place_order, **market, qty="0.001", price="60000")
                self.assertNotEqual(told["retCode"], 0)
            finally:
                GATE.cli("resume", "--reason", "test")
        self.assertEqual(len(changes()), before)

    def test_an_account_that_permits_no_sessions_has_none(self):
        GATE.cli("account", "add", "quiet", "--venue", "bybit")
        issued = GATE.cli("strategy", "add", "quiet", "--account", "quiet", "--sources", "127.0.0.1/32")["virtual_key"]
        GATE.mandate("quiet")
        told = asyncio.run(self.logs_on(issued["api_key"], issued["secret"]))
        self.assertIn("hosts.toml", told)

    async def logs_on(self, key, secret):
        made = pro({"apiKey": key, "secret": secret})
        try:
            await made.load_markets()
            await asyncio.wait_for(made.create_order_ws("BTC/USDT", "limit", "buy", 0.001, 60000), 20)
        except ccxt.BaseError as error:
            return str(error)
        finally:
            await made.close()
        return "logged on"

    def test_public_streams(self):
        for kind in ("spot", "linear"):
            heard = Heard()
            with self.subTest(kind), opened(WebSocket(testnet=False, channel_type=kind)) as made:
                made.orderbook_stream(50, "BTCUSDT", heard)
                made.ticker_stream("BTCUSDT", heard)
                made.kline_stream(1, "BTCUSDT", heard)
                for topic in ("orderbook.50.BTCUSDT", "tickers.BTCUSDT", "kline.1.BTCUSDT"):
                    heard.first(lambda m, topic=topic: m["topic"] == topic)


class Ends(pipes.Ends, unittest.TestCase):
    account, route = "bybit", "/v5/order/create"

    @classmethod
    def setUpClass(cls):
        cls.gate = GATE
        cls.at = price(http(), "spot", 0.95)

    def log_on(self, key, secret):
        until = int(time.time() * 1000) + 10_000
        signature = hmac.new(secret.encode(), f"GET/realtime{until}".encode(), hashlib.sha256).hexdigest()
        made = pipes.Session(f"{stream()}/v5/trade", {"op": "auth", "args": [key, until, signature]})
        told = made.next()
        self.assertEqual((told["op"], told["retCode"]), ("auth", 0), told)
        return made

    def order(self, name):
        order = {"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.001", "price": self.at, "orderLinkId": name}
        return {"op": "order.create", "reqId": name, "header": {"X-BAPI-TIMESTAMP": str(int(time.time() * 1000))}, "args": [order]}

    def is_answer(self, message):
        return message["op"] == "order.create"

    def went(self, message):
        return message["retCode"] == 0

    def names(self, name):
        return http().get_open_orders(category="spot", symbol="BTCUSDT", orderLinkId=name)["result"]["list"]


def pro(settings):
    """CCXT Pro as its users make it; URLs and key differ."""
    url, socket = GATE.listeners["api.bybit.com"], stream()
    made = ccxt.pro.bybit({**settings, "options": {"fetchMarkets": {"types": ["spot", "linear"]}, "defaultType": "spot"}})
    own = made.urls["api"]["ws"]
    made.urls["api"] = {name: value if name == "ws" else url for name, value in made.urls["api"].items()}
    made.urls["api"]["ws"] = {
        "public": {kind: f"{socket}/v5/public/{kind}" for kind in own["public"]},
        "private": {"spot": {"unified": f"{socket}/v5/private"}, "contract": f"{socket}/v5/private", "trade": f"{socket}/v5/trade"},
    }
    made.has["fetchCurrencies"] = False
    return made


class CcxtPro(unittest.TestCase):
    def test_watches_what_it_trades(self):
        asyncio.run(self.trades())

    async def trades(self):
        key, secret = GATE.keys["bybit"]
        made = pro({"apiKey": key, "secret": secret})
        try:
            await made.load_markets()
            book = await asyncio.wait_for(made.watch_order_book("BTC/USDT"), 20)
            self.assertTrue(book["bids"] and book["asks"])
            watching = asyncio.ensure_future(made.watch_orders("BTC/USDT"))
            await asyncio.sleep(2)  # subscribed, before there is something to see
            at = float(made.price_to_precision("BTC/USDT", book["bids"][0][0] * 0.97))
            order = await asyncio.wait_for(made.create_order_ws("BTC/USDT", "limit", "buy", 0.002, at), 20)
            seen = await asyncio.wait_for(watching, 20)
            self.assertIn(order["id"], [o["id"] for o in seen])
            await asyncio.wait_for(made.cancel_order_ws(order["id"], "BTC/USDT"), 20)
            with self.assertRaises(ccxt.InvalidOrder):
                await asyncio.wait_for(made.create_order_ws("BTC/USDT", "limit", "buy", 0.002, at * 1.4), 20)
        finally:
            await made.close()


if __name__ == "__main__":
    unittest.main()
