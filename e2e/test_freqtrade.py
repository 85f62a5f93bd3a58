"""Freqtrade in live mode through the gate, with a stock configuration and the override that `strategy add --from-freqtrade` wrote."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time
import unittest

from gate import Gate

FREQTRADE = os.environ.get("PORTCULLIS_FREQTRADE", "freqtrade")
#: Enters whenever it may and leaves after half a minute, so that a short run has whole trades.
STRATEGY = """
from freqtrade.strategy import IStrategy

class InAndOut(IStrategy):
    timeframe = "1m"
    minimal_roi = {"0": 10}
    stoploss = -0.5
    startup_candle_count = 5

    def populate_indicators(self, dataframe, metadata):
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe["enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        return dataframe

    def custom_exit(self, pair, trade, current_time, current_rate, current_profit, **kwargs):
        return "age" if (current_time - trade.open_date_utc).total_seconds() > 30 else None
"""
CONFIG = {
    "exchange": {"name": "binance", "key": "", "secret": "", "pair_whitelist": ["BTC/USDT", "ETH/USDT"], "pair_blacklist": []},
    "stake_currency": "USDT",
    "stake_amount": 100,
    "max_open_trades": 2,
    "dry_run": False,
    "trading_mode": "spot",
    "entry_pricing": {"price_side": "other", "use_order_book": False},
    "exit_pricing": {"price_side": "other", "use_order_book": False},
    "pairlists": [{"method": "StaticPairList"}],
    "initial_state": "running",
    "internals": {"process_throttle_secs": 2},
}
#: Whole trades, of both pairs, that are waited for; and how long at most.
TRADES = 4
SECONDS = 240


class Freqtrade(unittest.TestCase):
    def test_a_live_bot(self):
        gate = Gate()
        gate.start()
        self.addCleanup(gate.stop)
        folder = gate.folder / "user_data"
        (folder / "strategies").mkdir(parents=True)
        (folder / "strategies/in_and_out.py").write_text(STRATEGY)
        config = folder / "config.json"
        config.write_text(json.dumps(CONFIG))
        # The test's gate took any port; the override wants one that stays.
        port = re.search(r":(\d+)$", gate.url)[1]
        settings = gate.site / "site.toml"
        settings.write_text(settings.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}", 1))
        override = gate.cli("strategy", "add", "bot", "--from-freqtrade", str(config))["override"]
        self.assertEqual(pathlib.Path(override).stat().st_mode & 0o777, 0o600)
        gate.cli("policy", "apply")
        log = gate.folder / "freqtrade.log"
        bot = subprocess.Popen(
            [FREQTRADE, "trade", "--userdir", str(folder), "-c", str(config), "-c", override, "--strategy", "InAndOut", "--db-url", "sqlite://"],
            stdout=log.open("w"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )
        try:
            end = time.monotonic() + SECONDS
            done = {"buy": 0, "sell": 0}
            while time.monotonic() < end and bot.poll() is None and done["sell"] < TRADES:
                time.sleep(5)
                done = self.orders(gate)
        finally:
            bot.send_signal(signal.SIGINT)
            try:
                bot.wait(30)
            except subprocess.TimeoutExpired:
                bot.kill()
                bot.wait()
        said = log.read_text()
        self.assertGreaterEqual(done["sell"], TRADES, said[-3000:])
        self.assertGreaterEqual(done["buy"], done["sell"])
        refused = [e["text"] for e in gate.log() if e["what"] == "refused" and e["who"] == "bot"]
        self.assertEqual(refused, [])
        wrong = [line for line in said.splitlines() if re.search(r" - (ERROR|CRITICAL) - |Traceback", line)]
        self.assertEqual(wrong, [])
        self.assertIn("verified", gate.cli("log", "verify", text=True))

    @staticmethod
    def orders(gate):
        """Orders of the bot that the gate approved, by side."""
        texts = [e["text"] for e in gate.log() if e["what"] == "approved" and e["who"] == "bot"]
        return {side: sum(1 for text in texts if text.startswith(side + " ")) for side in ("buy", "sell")}


if __name__ == "__main__":
    unittest.main()
