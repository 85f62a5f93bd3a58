"""20,000 quotes of a two-sided quoter that polls nothing: never refused for a fill that the venue would report.

PORTCULLIS_QUOTES sets how many; the default is what `./test` runs.
"""

import contextlib
import os
import threading
import time
import unittest

from gate import MANDATES, Failed, Gate
from wire import Client

QUOTES = int(os.environ.get("PORTCULLIS_QUOTES", "20000"))
#: A mandate for what may fill between two looks of the gate at the venue (a second), and not much more: without the fills,
#: open orders and positions would add up and refuse within the first few thousand quotes. The position leaves room for what
#: the quoter really comes to hold (0.7 of a bitcoin short was seen), which would be refused with good reason.
TIGHT = MANDATES.replace('open_orders = "5000"\nposition = "200000"', 'open_orders = "600"\nposition = "150000"').replace("2000/1s", "100000/1s").replace("1000/1s", "100000/1s")


class Quotes(unittest.TestCase):
    def test_a_quoter_that_polls_nothing_is_never_refused_for_its_fills(self):
        gate = Gate(mandates=TIGHT, venue=("--still",))
        gate.start()
        self.addCleanup(gate.stop)
        stopped = threading.Event()

        live = []

        def holds():
            return sum(map(float, gate.venue.balances()["spot"]["BTC"].values()))

        def counterparty():
            # Somebody takes what rests, so that fills come without the quoter asking: on the side that brings it back to
            # what it began with. A position that is really there would be refused with good reason.
            begun_with = holds()
            while not stopped.is_set():
                wanted = "SELL" if holds() > begun_with else "BUY"
                for number, side in list(live):
                    if side == wanted:
                        with contextlib.suppress(Failed):  # cancelled or filled meanwhile
                            gate.venue.ask("/hit", {"account": "firm", "symbol": "BTCUSDT", "orderId": number})
                stopped.wait(0.02)

        thread = threading.Thread(target=counterparty, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 10)
        self.addCleanup(stopped.set)
        client = Client(gate.url, *gate.keys["maker"])
        refused = {}
        sent = 0
        paced = 0
        begun = time.monotonic()
        while sent < QUOTES:
            for side, part in (("BUY", 0.9999), ("SELL", 1.0001)):
                answer = client.order("BTCUSDT", side, "0.001", gate.price("BTCUSDT", part), newClientOrderId=f"q{sent}")
                sent += 1
                if answer.refusal and b"rate limits" in answer.body:
                    paced += 1  # the venue's limits are no matter of fills: a program waits and goes on
                    time.sleep(0.05)
                elif answer.refusal:
                    refused.setdefault(answer.refusal, answer.body[:300])
                elif answer.status == 200:
                    live.append((answer.json()["orderId"], side))
            # A thousand quotes a second at most: more would meet the venue's own limits first.
            time.sleep(max(0.0, begun + sent / 1000 - time.monotonic()))
            while len(live) > 8:
                cancelled = client.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": live.pop(0)[0]})
                # An order that filled meanwhile is no longer there, as the venue would say too.
                if cancelled.refusal and cancelled.refusal != "not-your-order" and b"rate limits" not in cancelled.body:
                    refused.setdefault(cancelled.refusal, cancelled.body[:300])
        self.maxDiff = None
        self.assertEqual(refused, {})
        self.assertLess(paced, QUOTES // 20)
        trades = gate.client("maker").call("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT", "limit": 1000}).json()
        self.assertGreater(len(trades), QUOTES // 100, "hardly anything was filled: this proves nothing")
        print(f"\n{sent} quotes, at least {len(trades)} fills, none refused for them; {paced} told to wait by the venue's rate limits")


if __name__ == "__main__":
    unittest.main()
