"""OKX with its own community library, python-okx, unmodified, through the gate: orders of every kind, reads, and what a thief tries."""

import unittest

import okx.Account
import okx.Funding
import okx.MarketData
import okx.PublicData
import okx.Trade
import places
from gate import MANDATES, Gate

GATE = None
HOST = "www.okx.com"
SPOT, SWAP = "BTC-USDT", "BTC-USDT-SWAP"


def setUpModule():
    global GATE
    own = [(name, account) for name, account in places.STRATEGIES if account == "okx"]
    GATE = Gate(mandates=MANDATES + places.MANDATES, strategies=("maker", *own), hosts=places.HOSTS, others=("okx",))
    GATE.start()


def tearDownModule():
    GATE.stop()


def api(kind, strategy="okx"):
    """One of the library's classes: only URL and key differ, and the passphrase may be any text."""
    key, secret = GATE.keys[strategy]
    return kind(key, secret, "portcullis", flag="0", domain=GATE.listeners[HOST], debug=False)


def public(kind):
    return kind(flag="0", domain=GATE.listeners[HOST], debug=False)


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


if __name__ == "__main__":
    unittest.main()
