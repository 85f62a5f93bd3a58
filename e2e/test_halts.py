"""Halts under full load: nothing that the level refuses is signed after the halt's entry, and nothing reaches the venue
after the moment that `halt` printed.

PORTCULLIS_HALTS sets how many repetitions; the default is what `./test` runs.
"""

import os
import time
import unittest

from gate import Gate
from wire import Client, Load

HALTS = int(os.environ.get("PORTCULLIS_HALTS", "100"))


class Halts(unittest.TestCase):
    def test_nothing_passes_a_halt_under_load(self):
        gate = Gate(venue=("--still",))
        gate.start()
        self.addCleanup(gate.stop)
        moments = []
        with Load(gate.url, list(gate.keys.values()), "BTCUSDT", gate.price("BTCUSDT", 0.98), threads=6, tag="h", cancel_every=2) as load:
            for number in range(HALTS):
                time.sleep(0.05 + number % 7 / 100)
                halted = gate.cli("halt", "--level", "cancel-only", "--reason", f"rehearsal {number}")
                returned = time.time()
                time.sleep(0.05)
                resumed = gate.cli("resume", "--reason", f"rehearsal {number}")
                moments.append((halted, returned, resumed))
        gate.settle()
        entries = gate.log()
        by_number = {entry["entry"]: entry for entry in entries}
        placed = [e for e in entries if e["what"] == "approved" and any(a["kind"] == "PlaceOrder" for a in e["regulator"]["actions"])]
        arrived = {r["client_order_id"]: r["time_us"] for r in gate.venue.requests() if r["method"] == "POST" and r["path"] == "/api/v3/order"}
        listed = 0
        for halted, _returned, resumed in moments:
            begin, end = halted["entry"], resumed["entry"]
            self.assertTrue(halted["confirmed"], halted)
            self.assertEqual(by_number[begin]["what"], "command")
            between = [e["entry"] for e in placed if begin < e["entry"] < end]
            self.assertEqual(between, [], "an order was approved between the halt and its end")
            listed += len(halted["discarded"]) + len(halted["under_way"]) + len(halted["done"])
            # egress is honest here, so the earlier of the two moments must hold.
            none_after = halted["none_after_as_told"]
            self.assertLessEqual(none_after, halted["none_after"])
            resumed_at = by_number[end]["at"]
            for entry in placed:
                if entry["entry"] > begin:
                    break
                for action in entry["regulator"]["actions"]:
                    at = arrived.get(action.get("client_order_id"))
                    if at is not None and none_after < at < resumed_at:
                        self.fail(f"entry {entry['entry']} reached the venue {at - none_after} us after the moment printed")
            for number in halted["discarded"]:
                for action in by_number[number]["regulator"]["actions"]:
                    self.assertNotIn(action.get("client_order_id"), arrived, "discarded, and the venue saw it")
        passed = sum(count for said, count in load.refusals.items() if said[0] == 200)
        self.assertGreater(passed, HALTS, f"the load was no load: {load.refusals}")
        print(f"\n{HALTS} halts, {listed} requests named as on their way, {passed} requests passed, answers {load.refusals}")

    def test_levels_refuse_what_the_table_says(self):
        gate = Gate(venue=("--still",))
        gate.start()
        self.addCleanup(gate.stop)
        client = Client(gate.url, *gate.keys["maker"])
        low = gate.price("BTCUSDT", 0.98)
        bought = client.call("POST", "/api/v3/order", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.002"})
        self.assertEqual(bought.status, 200, bought)
        resting = client.order("BTCUSDT", "BUY", "0.001", low).json()["orderId"]
        table = {
            # level: (an order that adds, one that reduces, a read, a cancel)
            "freeze": (200, 200, 200, 200),
            "reduce-only": (503, 200, 200, 200),
            "cancel-only": (503, 503, 200, 200),
            "lock": (503, 503, 503, 503),
        }
        for level, expected in table.items():
            with self.subTest(level):
                gate.cli("halt", "--level", level, "--reason", "table")
                client.close()
                got = (
                    client.order("BTCUSDT", "BUY", "0.001", low).status,
                    client.call("POST", "/api/v3/order", {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.0005"}).status,
                    client.call("GET", "/api/v3/account").status,
                    client.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": resting}).status,
                )
                gate.cli("resume", "--reason", "table")
                self.assertEqual(got, expected)
                client.close()
                resting = client.order("BTCUSDT", "BUY", "0.001", low).json()["orderId"]


if __name__ == "__main__":
    unittest.main()
