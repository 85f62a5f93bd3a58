"""While one strategy and a stranger poll flat out, another's cancels pass, and the venue never answers 418. When it does, the
gate keeps to it, whatever of the gate is killed meanwhile."""

import os
import signal
import threading
import time
import unittest

from gate import Gate
from wire import Client, Closed

SECONDS = 75


class NoBan(unittest.TestCase):
    def test_cancels_pass_while_others_poll_flat_out(self):
        gate = Gate()
        gate.start()
        self.addCleanup(gate.stop)
        stopped = threading.Event()
        counts = {"polls": 0, "shed": 0}

        def poll(key, secret, path, fields, signed):
            client = Client(gate.url, key, secret)
            while not stopped.is_set():
                try:
                    answer = client.call("GET", path, fields, signed=signed)
                    counts["polls"] += 1
                    counts["shed"] += answer.status != 200
                except Closed:
                    time.sleep(0.01)

        key, secret = gate.keys["taker"]
        pollers = [("k" * 64, "none", "/api/v3/depth", {"symbol": "BTCUSDT", "limit": 5000}, False)] * 2
        pollers += [(key, secret, "/api/v3/openOrders", {}, True), (key, secret, "/api/v3/allOrders", {"symbol": "BTCUSDT"}, True)]
        threads = [threading.Thread(target=poll, args=args, daemon=True) for args in pollers]
        for thread in threads:
            thread.start()
        self.addCleanup(lambda: [t.join(10) for t in threads])
        self.addCleanup(stopped.set)
        client = Client(gate.url, *gate.keys["maker"])
        cancels, longest = 0, 0.0
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            placed = client.order("BTCUSDT", "BUY", "0.001", gate.price("BTCUSDT", 0.98))
            self.assertEqual(placed.status, 200, placed)
            begun = time.monotonic()
            answer = client.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": placed.json()["orderId"]})
            longest = max(longest, time.monotonic() - begun)
            self.assertEqual(answer.status, 200, answer)
            cancels += 1
            time.sleep(0.25)
        counted = gate.venue.counts()
        self.assertEqual(counted["answered_418"], 0, counted)
        self.assertGreater(counts["shed"], 0, "the polling never met a bound: this proves nothing")
        print(f"\n{cancels} cancels passed, the slowest in {longest * 1000:.0f} ms, beside {counts['polls']} polls of which {counts['shed']} were shed; venue {counted}")

    def test_a_ban_outlives_egress_and_up(self):
        gate = Gate()
        gate.start()
        self.addCleanup(gate.stop)
        seconds = 20
        price = gate.price("BTCUSDT", 0.99)
        gate.price = lambda *_: price  # asked for at the venue, from our own address
        gate.venue.ask("/ban", {"ip": "127.0.0.1", "seconds": seconds})
        begun = time.monotonic()

        def told():
            return gate.venue.counts()["answered_418"]

        def asks(count):
            client = Client(gate.url, *gate.keys["maker"])
            for _ in range(count):
                try:
                    client.call("GET", "/api/v3/openOrders", {})
                except Closed:
                    client = Client(gate.url, *gate.keys["maker"])
                time.sleep(0.02)

        while told() == 0:
            asks(1)
        time.sleep(0.5)  # what was under way at that moment meets the ban, too
        first = told()
        os.kill(gate.pids()["egress"], signal.SIGKILL)
        asks(100)
        self.assertEqual(told(), first, "a new egress went on")
        gate.process.kill()
        gate.process.wait()
        self.assertLess(time.monotonic() - begun, seconds - 2, "too slow to show anything")
        gate.up()  # and waits until a request passes
        self.assertGreaterEqual(time.monotonic() - begun, seconds - 0.5)
        self.assertEqual(told(), first, "after a start of everything")


if __name__ == "__main__":
    unittest.main()
