"""`./demo --keep` as others use it: what its last line says is enough to trade through the gate and at the exchange, what it
shows can be pasted, and an interrupt leaves nothing running.
"""

import hashlib
import hmac
import json
import pathlib
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import unittest
import urllib.parse
import urllib.request

from client_programs import ccxt_options
from gate import BIN, ROOT

HERE = pathlib.Path(__file__).parent
#: `./demo` builds what is released; other programs are shown as they are.
COMMAND = [str(ROOT / "demo")] if BIN == ROOT / "target/release" else [sys.executable, str(HERE / "demo.py")]


def below(pid):
    """All descendants of a process."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *below(int(child))]
    return found


def runs(pid):
    try:
        return "State:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


class Demo(unittest.TestCase):
    def begin(self, *options):
        self.demo = subprocess.Popen(
            [*COMMAND, "--keep", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            # Whoever is started in the background of a shell ignores interrupts, and so would what it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.addCleanup(self.finish)
        # It says much on the other pipe, which must not be what it waits for.
        self.said = []
        threading.Thread(target=lambda: self.said.extend(self.demo.stderr), daemon=True).start()

    def finish(self):
        self.demo.terminate()
        try:
            self.demo.wait(40)
        except subprocess.TimeoutExpired:
            self.demo.kill()
            self.demo.wait()
        self.demo.stdout.close()

    def end(self):
        """Interrupts it; nothing of it is left."""
        pids = below(self.demo.pid)
        self.assertGreaterEqual(len(pids), 5, "three rooms, who started them, and the exchange")
        self.demo.send_signal(signal.SIGINT)
        self.assertEqual(self.demo.wait(30), 0)
        left = [pid for pid in pids if runs(pid)]
        self.assertEqual(left, [])

    def test_its_last_line_is_enough_for_other_programs(self):
        self.begin("--json")
        line = self.demo.stdout.readline()
        try:
            told = json.loads(line)
        except ValueError:
            self.fail(f"{line!r} {''.join(self.said)[-3000:]}")
        hosts = ["api.binance.com", "ws-api.binance.com", "fapi.binance.com", "api.bybit.com", "www.okx.com", "api.kucoin.com"]
        self.assertEqual(list(told["listeners"]), hosts)
        self.assertEqual(set(told["venues"]), {"binance", "bybit", "okx", "kucoin"})
        self.assertTrue((pathlib.Path(told["site"]) / "site.toml").is_file())
        self.assertEqual({s["account"] for s in told["strategies"]}, {"main", "bybit", "okx", "kucoin"})
        maker = next(s for s in told["strategies"] if s["name"] == "maker")

        import ccxt

        options, urls = ccxt_options(told["listeners"]["api.binance.com"], maker["virtual_key"], maker["secret"])
        program = ccxt.binance(options)
        program.urls["api"] = urls
        last = program.fetch_ticker("BTC/USDT")["last"]
        order = program.create_order("BTC/USDT", "limit", "buy", 0.001, round(last * 0.99, 2))
        self.assertEqual(order["status"], "open")
        self.assertEqual(program.cancel_order(order["id"], "BTC/USDT")["status"], "canceled")

        # Directly at the exchange, as somebody else.
        venue = told["venue"]
        accounts = {account["name"]: account["keys"] for account in venue["accounts"]}
        key = next(k for k in accounts["stranger"] if k["duty"] == "all" or k["duty"] == "trade")
        trust = ssl.create_default_context(cafile=venue["ca"])
        fields = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.001", "timestamp": int(time.time() * 1000)}
        query = urllib.parse.urlencode(fields)
        signature = hmac.new(key["secret"].encode(), query.encode(), hashlib.sha256).hexdigest()
        request = urllib.request.Request(
            f"{venue['url']}/api/v3/order", data=f"{query}&signature={signature}".encode(), headers={"X-MBX-APIKEY": key["key"]}, method="POST"
        )
        with urllib.request.urlopen(request, context=trust, timeout=20) as answer:
            self.assertEqual(json.loads(answer.read())["status"], "FILLED")
        duties = {k["duty"] for k in accounts["firm"]}
        self.assertLessEqual({"read", "trade", "move", "admin", "all"}, duties)
        site = pathlib.Path(told["site"])
        self.end()
        self.assertEqual(self.demo.stdout.read(), "", "that line is its last")
        self.assertFalse(site.exists())

    def test_what_it_shows_can_be_pasted(self):
        self.begin()
        text = ""
        while "To paste:" not in text or "create_order" not in text:
            line = self.demo.stdout.readline()
            if not line:
                self.fail(text[-3000:] + "".join(self.said)[-2000:])
            text += line
        told = re.search(r"The gate stands at (http://127\.0\.0\.1:\d+), the exchange at (https://127\.0\.0\.1:\d+);", text)
        self.assertTrue(told, text[-1500:])
        snippet = text.partition("To paste:\n\n")[2]
        self.assertIn(told[1], snippet)
        done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("'status': 'open'", done.stdout)
        self.end()


if __name__ == "__main__":
    unittest.main()
