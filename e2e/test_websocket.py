"""Unmodified WebSocket clients through the gate: CCXT Pro and python-binance place, find and cancel orders as they would at Binance."""

import json
import os
import pathlib
import re
import subprocess
import sys
import unittest
import urllib.request

from gate import Gate

HERE = pathlib.Path(__file__).parent


class WebSocket(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gate = Gate(venue=("--still",))
        cls.gate.start()

    @classmethod
    def tearDownClass(cls):
        cls.gate.stop()

    def steps(self, library, listener):
        socket = listener.replace("http", "ws", 1) + "/ws-api/v3"
        price = self.gate.price("BTCUSDT", 0.98)
        command = [sys.executable, HERE / "websocket_programs.py", library, self.gate.url, *self.gate.keys["maker"], price, socket]
        trust = {"REQUESTS_CA_BUNDLE": self.gate.venue.ca_file, "SSL_CERT_FILE": self.gate.venue.ca_file}
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120, check=False, env=os.environ | trust)
        self.assertEqual(done.returncode, 0, f"{library}: {done.stdout[-600:]} {done.stderr[-3000:]}")
        return {line["step"]: line["answer"] for line in map(json.loads, done.stdout.splitlines())}

    def both(self, library, listener, opened, cancelled):
        before = self.gate.venue.requests()
        steps = self.steps(library, listener)
        number = steps["place"]["id"]
        self.assertEqual(steps["place"], {"status": opened, "id": number})
        self.assertEqual(steps["query"], {"status": opened, "id": number})
        self.assertEqual(steps["open"], [number])
        self.assertEqual(steps["cancel"], {"status": cancelled, "id": number})
        # What reached the exchange was signed with the firm's own keys, each by its duty.
        new = [r for r in self.gate.venue.requests()[len(before):] if r["method"] in ("POST", "DELETE") and r["path"] == "/api/v3/order"]
        self.assertEqual([(r["method"], r["status"]) for r in new], [("POST", 200), ("DELETE", 200)])
        return steps

    def test_ccxt_pro(self):
        # The listener of the REST API has the WebSocket's path too.
        steps = self.both("ccxt", self.gate.url, "open", "canceled")
        # 0.9 of a bitcoin is far above what the maker's mandate lets one order be worth.
        self.assertEqual(steps["too large"], "InvalidOrder")

    def test_ccxt_pro_sees_its_own_fills(self):
        steps = self.steps("ccxt-watch", self.gate.url)
        self.assertEqual(steps["filled"]["seen"], "closed")
        # The signer was told by the stream too.
        with urllib.request.urlopen(self.gate.metrics_url, timeout=10) as page:
            told = re.search(r"^portcullis_signer_events_total (\d+)", page.read().decode(), re.MULTILINE)
        self.assertGreater(int(told[1]), 0)

    def test_python_binance(self):
        steps = self.both("python-binance", self.gate.listeners["ws-api.binance.com"], "NEW", "CANCELED")
        self.assertEqual(steps["public"], 5)
        self.assertEqual(steps["too large"], -2010)


if __name__ == "__main__":
    unittest.main()
