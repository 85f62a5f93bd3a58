"""NautilusTrader watches a market of Binance's USD-M futures through the gate: its own example, only its configuration says where the
venue is. Its execution client needs a listen key, which the gate does not pass.
"""

import os
import pathlib
import re
import subprocess
import unittest

from gate import Gate

HERE = pathlib.Path(__file__).parent
PYTHON = os.environ.get("PORTCULLIS_NAUTILUS_PYTHON", "python3")
REST, STREAMS = "fapi.binance.com", "fstream.binance.com"
SECONDS = 15


class Nautilus(unittest.TestCase):
    def test_it_watches_a_market(self):
        # This version cannot read a market that takes orders of retail price improvement.
        gate = Gate(strategies=("maker",), hosts=(REST, STREAMS), venue=("--without-rpi",))
        self.addCleanup(gate.stop)
        gate.start()
        urls = gate.listeners[REST], gate.listeners[STREAMS].replace("http", "ws", 1)
        command = [PYTHON, HERE / "nautilus_program.py", *urls, *gate.keys["maker"], str(SECONDS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 60, check=False)
        said = done.stdout + done.stderr
        self.assertEqual(done.returncode, 0, said[-4000:])
        self.assertEqual([line for line in said.splitlines() if "[ERROR]" in line or "Traceback" in line], [])
        self.assertIn("OrderBook snapshot rebuild for BTCUSDT-PERP.BINANCE completed", said, said[-4000:])
        # The book is kept from a snapshot over REST and what changes by WebSocket; trades and quotes are streams of their own.
        self.assertGreater(said.count("SubscribeStrategy: OrderBook L2_MBP"), 1, said[-4000:])
        quotes = re.findall(r"SubscribeStrategy: BTCUSDT-PERP\.BINANCE,[\d.]+,[\d.]+,[\d.]+,[\d.]+,\d+", said)
        trades = re.findall(r"SubscribeStrategy: BTCUSDT-PERP\.BINANCE,[\d.]+,[\d.]+,(BUYER|SELLER),", said)
        self.assertGreater(len(quotes), 5, said[-4000:])
        self.assertGreater(len(trades), 5, said[-4000:])


if __name__ == "__main__":
    unittest.main()
