"""OKX with its own community library, python-okx, and CCXT Pro, unmodified, through the gate, over REST and by WebSocket: orders of
every kind, reads, streams, and what a thief tries."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
import unittest

import ccxt.pro
import okx.Account
import okx.Funding
import okx.MarketData
import okx.PublicData
import okx.Trade
import pipes
import places
import websockets
from gate import MANDATES, Gate
from okx.websocket.WsPrivateAsync import WsPrivateAsync
from okx.websocket.WsPublicAsync import WsPublicAsync

GATE = None
HOST, STREAM = "www.okx.com", "ws.okx.com"
SPOT, SWAP = "BTC-USDT", "BTC-USDT-SWAP"


def setUpModule():
    global GATE
    own = [(name, account) for name, account in places.STRATEGIES if account == "okx"]
    GATE = Gate(mandates=MANDATES + places.MANDATES, strategies=("maker", *own), hosts=places.HOSTS, others=("okx",), streams=(("okx", STREAM),))
    GATE.start()
    time.sleep(1)  # a login's time is in whole seconds, and one from before the gate's start is refused


def tearDownModule():
    GATE.stop()


def api(kind, strategy="okx"):
    """One of the library's classes: only URL and key differ, and the passphrase may be any text."""
    key, secret = GATE.keys[strategy]
    return kind(key, secret, "portcullis", flag="0", domain=GATE.listeners[HOST], debug=False)


def public(kind):
    return kind(flag="0", domain=GATE.listeners[HOST], debug=False)


def stream(place):
    return f"{GATE.listeners[STREAM].replace('http://', 'ws://')}/ws/v5/{place}"


class PythonOkx(unittest.TestCase):
    def setUp(self):
        self.trade, self.account = api(okx.Trade.TradeAPI), api(okx.Account.AccountAPI)

    def price(self, instrument, part):
        last = public(okx.MarketData.MarketAPI).get_ticker(instId=instrument)["data"][0]["last"]
        return f"{float(last) * part:.1f}"

    def done(self, answer):
        """All went well, in the library's own words."""
        self.assertEqual(answer["code"], "0", answer)
        for one in answer["data"]:
            if isinstance(one, dict):
                self.assertEqual(one.get("sCode", "0"), "0", answer)
        return answer["data"]

    def limit(self, part=0.97, **more):
        return {"instId": SPOT, "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.005", "px": self.price(SPOT, part), **more}

    def test_public_data(self):
        [one] = self.done(public(okx.PublicData.PublicAPI).get_instruments(instType="SPOT", instId=SPOT))
        self.assertEqual(one["instId"], SPOT)
        self.assertTrue(self.done(public(okx.PublicData.PublicAPI).get_mark_price(instType="SWAP", instId=SWAP))[0]["markPx"])
        self.assertTrue(self.done(public(okx.PublicData.PublicAPI).get_funding_rate(instId=SWAP))[0]["fundingRate"])
        data = public(okx.MarketData.MarketAPI)
        self.assertTrue(self.done(data.get_orderbook(instId=SPOT, sz="5"))[0]["bids"])
        self.assertEqual(len(self.done(data.get_candlesticks(instId=SPOT, bar="1m", limit="10"))), 10)

    def test_an_order_goes_round(self):
        [placed] = self.done(self.trade.place_order(**self.limit(clOrdId="py1")))
        [found] = self.done(self.trade.get_order(instId=SPOT, clOrdId="py1"))
        self.assertEqual((found["ordId"], found["state"]), (placed["ordId"], "live"))
        self.assertIn(placed["ordId"], [o["ordId"] for o in self.done(self.trade.get_order_list(instType="SPOT"))])
        # What lessens it passes; what widens it goes by another order.
        self.done(self.trade.amend_order(instId=SPOT, ordId=placed["ordId"], newSz="0.004"))
        self.assertEqual(self.done(self.trade.get_order(instId=SPOT, ordId=placed["ordId"]))[0]["sz"], "0.004")
        self.done(self.trade.cancel_order(instId=SPOT, ordId=placed["ordId"]))
        self.assertEqual(self.done(self.trade.get_order(instId=SPOT, clOrdId="py1"))[0]["state"], "canceled")

    def test_several_orders(self):
        placed = self.done(self.trade.place_multiple_orders([self.limit(clOrdId="py2"), self.limit(0.96, clOrdId="py3")]))
        self.assertEqual([one["clOrdId"] for one in placed], ["py2", "py3"])
        self.done(self.trade.cancel_multiple_orders([{"instId": SPOT, "ordId": one["ordId"]} for one in placed]))

    def test_fills_and_reads(self):
        [bought] = self.done(self.trade.place_order(instId=SPOT, tdMode="cash", side="buy", ordType="market", sz="0.002", tgtCcy="base_ccy"))
        self.assertEqual(self.done(self.trade.get_order(instId=SPOT, ordId=bought["ordId"]))[0]["state"], "filled")
        self.assertIn(bought["ordId"], [f["ordId"] for f in self.done(self.trade.get_fills(instType="SPOT"))])
        self.assertTrue(self.done(self.account.get_account_balance(ccy="BTC"))[0]["details"])
        self.assertIn("trade", self.done(self.account.get_account_config())[0]["perm"] + ",trade")
        self.assertTrue(self.done(self.trade.get_orders_history(instType="SPOT")))

    def test_exits_wait_and_are_cancelled(self):
        [placed] = self.done(self.trade.place_algo_order(
            instId=SPOT, tdMode="cash", side="sell", ordType="conditional", sz="0.001", algoClOrdId="exit1",
            slTriggerPx=self.price(SPOT, 0.96), slOrdPx="-1"))
        [waits] = self.done(self.trade.order_algos_list(ordType="conditional"))
        self.assertEqual(waits["algoId"], placed["algoId"])
        self.done(self.trade.cancel_algo_order([{"instId": SPOT, "algoId": placed["algoId"]}]))
        self.assertEqual(self.done(self.trade.order_algos_list(ordType="conditional")), [])

    def test_swaps(self):
        self.done(self.trade.place_order(instId=SWAP, tdMode="cross", side="buy", ordType="market", sz="1"))
        [held] = self.done(self.account.get_positions(instType="SWAP", instId=SWAP))
        self.assertEqual(held["pos"], "1")
        self.done(self.trade.place_order(instId=SWAP, tdMode="cross", side="sell", ordType="market", sz="1", reduceOnly="true"))
        self.assertEqual(self.done(self.account.get_positions(instType="SWAP", instId=SWAP)), [])

    def test_a_wrong_secret_is_no_key(self):
        key, _ = GATE.keys["okx"]
        wrong = okx.Trade.TradeAPI(key, "x" * 40, "portcullis", flag="0", domain=GATE.listeners[HOST], debug=False)
        self.assertEqual(wrong.get_order_list()["code"], "50113")
        demo = okx.Trade.TradeAPI(*GATE.keys["okx"], "portcullis", flag="1", domain=GATE.listeners[HOST], debug=False)
        self.assertNotEqual(demo.get_order_list()["code"], "0")


class AThief(unittest.TestCase):
    """The host of a small program is somebody else's: they have its key, and the library."""

    def changes(self):
        return sum(1 for r in GATE.venue.requests(other="okx") if r["key"] and r["method"] != "GET")

    def refused(self, answer):
        self.assertNotEqual(answer["code"], "0", answer)
        said = answer["msg"] or answer["data"][0]["sMsg"]
        self.assertIn("Portcullis", said)

    def test_moves_no_value(self):
        before, thief = self.changes(), api(okx.Funding.FundingAPI, "okx-taker")
        uid = str(next(a["uid"] for a in GATE.venue.others["okx"]["accounts"] if a["name"] == "thief"))
        address = "0x" + "ab" * 20
        for name, answer in (
            ("on chain", lambda: thief.withdrawal(ccy="USDT", amt="10", dest="4", toAddr=address, chain="USDT-ERC20")),
            ("to another user", lambda: thief.withdrawal(ccy="USDT", amt="10", dest="3", toAddr=uid)),
            ("to a telephone", lambda: thief.withdrawal(ccy="USDT", amt="10", dest="3", toAddr="15550001111", areaCode="1")),
            ("to the funding wallet", lambda: thief.funds_transfer(ccy="USDT", amt="10", from_="18", to="6")),
            ("to a sub-account", lambda: thief.funds_transfer(ccy="USDT", amt="10", from_="6", to="6", type="1", subAcct="other")),
            ("by another coin", lambda: thief.convert_dust_assets(ccy=["BTC"])),
        ):
            with self.subTest(name):
                self.refused(answer())
        self.assertEqual(self.changes(), before)
        self.assertEqual(GATE.venue.ask("/withdrawals", other="okx"), [])
        self.assertEqual(GATE.venue.ask("/effects", other="okx"), [])

    def test_trades_within_the_mandate_alone(self):
        before, thief, account = self.changes(), api(okx.Trade.TradeAPI, "okx-taker"), api(okx.Account.AccountAPI, "okx-taker")
        last = float(public(okx.MarketData.MarketAPI).get_ticker(instId=SPOT)["data"][0]["last"])
        one = {"instId": SPOT, "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.001", "px": f"{last * 0.99:.1f}"}
        for name, answer in (
            ("value", lambda: thief.place_order(**{**one, "sz": "1"})),
            ("one of several", lambda: thief.place_multiple_orders([one, {**one, "sz": "1"}])),
            ("price", lambda: thief.place_order(**{**one, "px": f"{last * 1.3:.1f}"})),
            ("another market", lambda: thief.place_order(**{**one, "instId": "ETH-USDT", "px": "50"})),
            ("leverage", lambda: account.set_leverage(lever="50", mgnMode="cross", instId=SWAP)),
            ("mode", lambda: account.set_position_mode(posMode="long_short_mode")),
        ):
            with self.subTest(name):
                self.refused(answer())
        self.assertEqual(self.changes(), before)

    def test_touches_no_order_of_others(self):
        own = api(okx.Trade.TradeAPI)
        last = float(public(okx.MarketData.MarketAPI).get_ticker(instId=SPOT)["data"][0]["last"])
        placed = own.place_order(instId=SPOT, tdMode="cash", side="buy", ordType="limit", sz="0.002", px=f"{last * 0.97:.1f}")["data"][0]
        thief = api(okx.Trade.TradeAPI, "okx-taker")
        self.refused(thief.cancel_order(instId=SPOT, ordId=placed["ordId"]))
        self.refused(thief.amend_order(instId=SPOT, ordId=placed["ordId"], newSz="0.001"))
        self.assertEqual(own.get_order(instId=SPOT, ordId=placed["ordId"])["data"][0]["state"], "live")
        self.assertEqual(own.cancel_order(instId=SPOT, ordId=placed["ordId"])["code"], "0")


class Plain:
    """In place of the library's `WebSocketFactory`, which always speaks TLS: the test's listener is plain on loopback."""

    def __init__(self, url):
        self.url, self.websocket = url, None

    async def connect(self):
        self.websocket = await websockets.connect(self.url)
        return self.websocket

    async def close(self):
        await self.websocket.close()


class Heard:
    """What the library's callback was given."""

    def __init__(self):
        self.all, self.more = [], asyncio.Event()

    def __call__(self, text):
        self.all.append(json.loads(text))
        self.more.set()

    async def first(self, fits, seconds=20):
        """The first message that fits, once it is there."""
        end = time.monotonic() + seconds
        while True:
            self.more.clear()
            for message in self.all:
                if fits(message):
                    return message
            left = end - time.monotonic()
            if left < 0:
                raise AssertionError(f"not heard among {self.all[-5:]}")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.more.wait(), left)

    async def answer(self, to):
        return await self.first(lambda m: m.get("id") == to and "op" in m)

    async def row(self, channel, **wanted):
        def fits(message):
            rows = message.get("data", ()) if message.get("arg", {}).get("channel") == channel else ()
            return any(all(row.get(n) == v for n, v in wanted.items()) for row in rows)

        return await self.first(fits)


def last(instrument):
    return float(public(okx.MarketData.MarketAPI).get_ticker(instId=instrument)["data"][0]["last"])


class Frames(unittest.IsolatedAsyncioTestCase):
    """python-okx's WebSockets: all but how it connects is the library's."""

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # no word about slow steps

    async def opened(self, made):
        made.factory = Plain(made.url)
        reading = await made.start()
        self.addCleanup(reading.cancel)
        self.addAsyncCleanup(made.factory.close)
        return made

    async def private(self, strategy="okx"):
        key, secret = GATE.keys[strategy]
        return await self.opened(WsPrivateAsync(key, "portcullis", secret, stream("private")))

    async def done(self, heard, to):
        told = await heard.answer(to)
        self.assertEqual((told["code"], [d["sCode"] for d in told["data"]]), ("0", ["0"] * len(told["data"])), told)
        return told["data"]

    async def test_orders_by_frame_and_the_accounts_stream(self):
        heard, made = Heard(), await self.private()
        await made.subscribe([{"channel": "orders", "instType": "ANY"}, {"channel": "positions", "instType": "ANY"}, {"channel": "account"}], heard, id="s")
        await heard.first(lambda m: m.get("event") == "subscribe")
        one = {"instId": SPOT, "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.005", "px": f"{last(SPOT) * 0.97:.1f}"}
        await made.place_order([one], id="o1")
        [placed] = await self.done(heard, "o1")
        await heard.row("orders", ordId=placed["ordId"], state="live")
        named = {"instId": SPOT, "ordId": placed["ordId"]}
        await made.amend_order([{**named, "newSz": "0.004"}], id="o2")
        await self.done(heard, "o2")
        await heard.row("orders", ordId=placed["ordId"], sz="0.004")
        await made.cancel_order([named], id="o3")
        await self.done(heard, "o3")
        await heard.row("orders", ordId=placed["ordId"], state="canceled")
        await made.batch_orders([{**one, "clOrdId": f"batch{n}"} for n in range(2)], id="o4")
        several = await self.done(heard, "o4")
        await made.batch_amend_orders([{"instId": SPOT, "ordId": o["ordId"], "newSz": "0.004"} for o in several], id="o5")
        await self.done(heard, "o5")
        await made.batch_cancel_orders([{"instId": SPOT, "ordId": o["ordId"]} for o in several], id="o6")
        await self.done(heard, "o6")
        await made.place_order([{"instId": SWAP, "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "1"}], id="o7")
        [bought] = await self.done(heard, "o7")
        await heard.row("orders", ordId=bought["ordId"], state="filled")
        await heard.row("positions", instId=SWAP, pos="1")
        await made.place_order([{"instId": SWAP, "tdMode": "cross", "side": "sell", "ordType": "market", "sz": "1", "reduceOnly": True}], id="o8")
        await self.done(heard, "o8")
        # Each frame is an entry, and its order is known as one over REST is.
        GATE.settle()
        self.assertIn(placed["ordId"], str(GATE.log()))
        self.assertIn("verified", GATE.cli("log", "verify", text=True))

    async def test_what_the_mandate_does_not_allow_goes_nowhere(self):
        heard, made = Heard(), await self.private("okx-taker")
        await made.subscribe([{"channel": "orders", "instType": "ANY"}], heard, id="s")
        await heard.first(lambda m: m.get("event") == "subscribe")
        orders = [r for r in GATE.venue.requests(other="okx") if r["path"].startswith("/api/v5/trade/")]
        at = last(SPOT)
        one = {"instId": SPOT, "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.001", "px": f"{at * 0.99:.1f}"}
        for to, args in (
            ("value", [{**one, "sz": "1"}]),
            ("price", [{**one, "px": f"{at * 1.3:.1f}"}]),
            ("field", [{**one, "unknown": "1"}]),
            ("market", [{**one, "instId": "ETH-USDT", "px": "50"}]),
        ):
            with self.subTest(to):
                await made.place_order(args, id=to)
                self.not_done(await heard.first(lambda m, to=to: m.get("id") == to))
        with self.subTest("one of several"):
            await made.batch_orders([one, {**one, "sz": "1"}], id="several")
            self.not_done(await heard.first(lambda m: m.get("id") == "several"))
        GATE.cli("halt", "--level", "cancel-only", "--reason", "test")
        try:
            await made.place_order([one], id="halted")
            self.not_done(await heard.first(lambda m: m.get("id") == "halted"))
        finally:
            GATE.cli("resume", "--reason", "test")
        after = [r for r in GATE.venue.requests(other="okx") if r["path"].startswith("/api/v5/trade/")]
        self.assertEqual([r for r in after if r["method"] != "GET"], [r for r in orders if r["method"] != "GET"])

    def not_done(self, told):
        self.assertNotEqual(told["code"], "0", told)
        self.assertIn("Portcullis", str(told))

    async def test_public_streams(self):
        heard, made = Heard(), await self.opened(WsPublicAsync(stream("public")))
        wanted = [(channel, instrument) for channel in ("books", "tickers", "trades") for instrument in (SPOT, SWAP)]
        await made.subscribe([{"channel": c, "instId": i} for c, i in wanted], heard)
        for channel, instrument in wanted[:4]:
            await heard.first(lambda m, c=channel, i=instrument: m.get("arg") == {"channel": c, "instId": i} and "data" in m)

    async def test_an_account_that_permits_no_sessions_has_none(self):
        GATE.cli("account", "add", "quiet", "--venue", "okx")
        issued = GATE.cli("strategy", "add", "quiet", "--account", "quiet", "--sources", "127.0.0.1/32")["virtual_key"]
        GATE.mandate("quiet")
        made = pro({"apiKey": issued["api_key"], "secret": issued["secret"]})
        self.addAsyncCleanup(made.close)
        with self.assertRaises(ccxt.AuthenticationError) as raised:
            await asyncio.wait_for(made.watch_orders(), 20)
        self.assertIn("hosts.toml", str(raised.exception))


class Ends(pipes.Ends, unittest.TestCase):
    account, route = "okx", "/api/v5/trade/order"

    @classmethod
    def setUpClass(cls):
        cls.gate = GATE
        cls.at = f"{last(SPOT) * 0.95:.1f}"

    def log_on(self, key, secret):
        now = str(int(time.time()))
        signature = base64.b64encode(hmac.new(secret.encode(), f"{now}GET/users/self/verify".encode(), hashlib.sha256).digest()).decode()
        arg = {"apiKey": key, "passphrase": "portcullis", "timestamp": now, "sign": signature}
        made = pipes.Session(stream("private"), {"op": "login", "args": [arg]})
        told = made.next()
        self.assertEqual((told["event"], told["code"]), ("login", "0"), told)
        made.socket.send("ping")
        self.assertEqual(made.socket.recv(), "pong")
        return made

    def order(self, name):
        order = {"instId": SPOT, "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.001", "px": self.at, "clOrdId": name}
        return {"id": name, "op": "order", "args": [order]}

    def is_answer(self, message):
        return message.get("op") == "order"

    def went(self, message):
        return message["code"] == "0" and message["data"][0]["sCode"] == "0"

    def test_two_log_on_within_a_second(self):
        time.sleep(1 - time.time() % 1)
        for session in [self.log_on(*self.gate.keys["okx"]) for _ in range(2)]:
            self.addCleanup(session.socket.close)
            self.goes(session)

    def test_a_frame_that_was_sent_goes_no_second_time(self):
        session, name = self.opened(), self.fresh()
        session.send(self.order(name))
        self.assertTrue(self.went(session.next(self.is_answer)))
        for other in (session, self.opened()):
            other.send(self.order(name))
            self.assertIn("seen before", str(other.next(self.is_answer)))
        self.assertEqual(len(self.taken(name)), 1)

    def names(self, name):
        return [o for o in api(okx.Trade.TradeAPI).get_order_list(instType="SPOT")["data"] if o["clOrdId"] == name]


def pro(settings):
    """CCXT Pro as its users make it; URLs and key differ."""
    urls = {"rest": GATE.listeners[HOST], "ws": stream("").rstrip("/")}
    made = ccxt.pro.okx({**settings, "password": "portcullis", "urls": {"api": urls}, "options": {"fetchMarkets": {"types": ["spot", "swap"]}}})
    made.has["fetchCurrencies"] = False
    return made


class CcxtPro(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)

    async def test_watches_what_it_trades(self):
        key, secret = GATE.keys["okx"]
        made = pro({"apiKey": key, "secret": secret})
        self.addAsyncCleanup(made.close)
        await made.load_markets()
        for market, amount in (("BTC/USDT", 0.002), ("BTC/USDT:USDT", 1)):
            with self.subTest(market):
                book = await asyncio.wait_for(made.watch_order_book(market), 20)
                self.assertTrue(book["bids"] and book["asks"])
                watching = asyncio.ensure_future(made.watch_orders(market))
                await asyncio.sleep(2)  # subscribed, before there is something to see
                at = float(made.price_to_precision(market, book["bids"][0][0] * 0.97))
                order = await asyncio.wait_for(made.create_order_ws(market, "limit", "buy", amount, at), 20)
                seen = await asyncio.wait_for(watching, 20)
                self.assertIn(order["id"], [o["id"] for o in seen])
                await asyncio.wait_for(made.cancel_order_ws(order["id"], market), 20)
                with self.assertRaises(ccxt.ExchangeError) as raised:
                    await asyncio.wait_for(made.create_order_ws(market, "limit", "buy", amount, float(made.price_to_precision(market, at * 1.4))), 20)
                self.assertIn("Portcullis", str(raised.exception))


if __name__ == "__main__":
    unittest.main()
