"""20,000 quotes of a two-sided quoter that polls nothing: never refused for a fill that the venue would report.

PORTCULLIS_QUOTES sets how many; the default is what `./test` runs.
"""

import os
import threading
import time
import unittest

from gate import MANDATES, Gate
from wire import Client

QUOTES = int(os.environ.get("PORTCULLIS_QUOTES", "20000"))
#: A mandate for what may fill between two looks of the gate at the venue (a second), and no more: without the fills, open
#: orders and positions would add up and refuse within the first few thousand quotes.
TIGHT = MANDATES.replace('open_orders = "5000"\nposition = "200000"', 'open_orders = "600"\nposition = "60000"').replace("2000/1s", "100000/1s").replace("1000/1s", "100000/1s")


class Quotes(unittest.TestCase):
    def test_a_quoter_that_polls_nothing_is_never_refused_for_its_fills(self):
        gate = Gate(mandates=TIGHT, venue=("--still",))
        gate.start()
        self.addCleanup(gate.stop)
        stopped = threading.Event()

        def counterparty():
            # Somebody hits what rests, on both sides in turn, so that fills come without the quoter asking.
            side = 0
            while not stopped.is_set():
                gate.venue.trade("BTCUSDT", "SELL" if side % 2 else "BUY", "0.004")
                side += 1
                stopped.wait(0.02)

        thread = threading.Thread(target=counterparty, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 10)
        self.addCleanup(stopped.set)
        client = Client(gate.url, *gate.keys["maker"])
        refused = {}
        live = []
        sent = 0
        paced = 0
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
                    live.append(answer.json()["orderId"])
            time.sleep(0.001)  # some thousand quotes a second: more would meet the venue's own limits first
            while len(live) > 8:
                cancelled = client.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": live.pop(0)})
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
