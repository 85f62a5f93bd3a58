"""Freqtrade in live mode through the gate for candles of a minute (as many as PORTCULLIS_CANDLES says), with a stock configuration and the override that `strategy add
--from-freqtrade` wrote: on Binance spot and on Bybit's futures. A pair list plugin chooses the pairs.

Freqtrade, the gate and the exchange are as they are and have one clock, which runs fast while Freqtrade sleeps (`fast_clock.py`).
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import time
import unittest

from fast_clock import FastClock
from gate import MANDATES, Gate

FREQTRADE = os.environ.get("PORTCULLIS_FREQTRADE", "freqtrade")
#: Enters whenever it may and leaves after five minutes, long and short in turn where it can; writes down each candle that it was given.
STRATEGY = """
import pathlib

from freqtrade.strategy import IStrategy

class InAndOut(IStrategy):
    timeframe = "1m"
    minimal_roi = {"0": 10}
    stoploss = -0.5
    startup_candle_count = 5
    can_short = IS_FUTURES

    def populate_indicators(self, dataframe, metadata):
        with (pathlib.Path(self.config["user_data_dir"]) / "candles").open("a") as file:
            print(metadata["pair"], int(dataframe["date"].iloc[-1].timestamp()), file=file)
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        is_short = self.can_short & (dataframe["date"].dt.minute % 20 >= 10)
        dataframe["enter_short"], dataframe["enter_long"] = is_short.astype(int), (~is_short).astype(int)
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        return dataframe

    def leverage(self, pair, **kwargs):
        return 2.0

    def custom_exit(self, pair, trade, current_time, current_rate, current_profit, **kwargs):
        return "age" if (current_time - trade.open_date_utc).total_seconds() > 300 else None
"""
CONFIG = {
    "exchange": {"key": "", "secret": "", "pair_whitelist": [], "pair_blacklist": ["BNB/.*"]},
    "stake_currency": "USDT",
    "stake_amount": 100,
    "max_open_trades": 3,
    "dry_run": False,
    "entry_pricing": {"price_side": "other", "use_order_book": False},
    "exit_pricing": {"price_side": "other", "use_order_book": False},
    "pairlists": [{"method": "VolumePairList", "number_assets": 3, "sort_key": "quoteVolume", "refresh_period": 1800}],
    "initial_state": "running",
    "internals": {"process_throttle_secs": 20},
}
SPOT = {"trading_mode": "spot"}
FUTURES = {"trading_mode": "futures", "margin_mode": "isolated"}
FIRM = MANDATES.replace("# A market maker", """[firm.markets."*USDT"]
floor = "0.00000001"
ceiling = "500000"

[firm.markets."bybit/usd_futures:*USDT"]
floor = "0.00000001"
ceiling = "500000"

# A market maker""")
#: Candles that are waited for, one a minute; how long at most in seconds of ours; how fast the clock is while the bot sleeps.
CANDLES = int(os.environ.get("PORTCULLIS_CANDLES", "30"))
SECONDS = 1200
PACE = 100


class Freqtrade(unittest.TestCase):
    def test_spot(self):
        self.live("binance", SPOT)

    def test_bybit_futures(self):
        self.live("bybit", FUTURES)

    def live(self, venue, mode):
        gate = Gate(mandates=FIRM, strategies=("maker",), others=() if venue == "binance" else (venue,))
        clock = self.enterContext(FastClock(gate.folder, PACE))
        gate.start()
        self.addCleanup(gate.stop)
        folder = gate.folder / "user_data"
        (folder / "strategies").mkdir(parents=True)
        (folder / "strategies/in_and_out.py").write_text(STRATEGY.replace("IS_FUTURES", str(mode is FUTURES)))
        config = folder / "config.json"
        config.write_text(json.dumps(CONFIG | mode | {"exchange": CONFIG["exchange"] | {"name": venue}}))
        # The test's gate took any port; the override wants one that stays.
        host = {"binance": "api.binance.com", "bybit": "api.bybit.com"}[venue]
        settings, port = gate.site / "site.toml", re.search(r":(\d+)$", gate.listeners[host])[1]
        blocks = settings.read_text().split("[[listener]]")
        settings.write_text("[[listener]]".join(b.replace("127.0.0.1:0", f"127.0.0.1:{port}") if f'"{host}"' in b else b for b in blocks))
        override = gate.cli("strategy", "add", "bot", "--from-freqtrade", str(config))["override"]
        self.assertEqual(pathlib.Path(override).stat().st_mode & 0o777, 0o600)
        if mode is FUTURES:
            self.settings(gate)
        gate.cli("policy", "apply")
        log, begun = gate.folder / "freqtrade.log", time.monotonic()
        with log.open("w") as out:
            bot = subprocess.Popen(
                [FREQTRADE, "trade", "--userdir", str(folder), "-c", str(config), "-c", override, "--strategy", "InAndOut", "--db-url", "sqlite://"],
                stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=os.environ | clock.sleeper(),
            )
        try:
            candles = {}
            while time.monotonic() - begun < SECONDS and bot.poll() is None and len(candles) <= CANDLES:
                time.sleep(2)
                candles = self.candles(folder)
        finally:
            bot.send_signal(signal.SIGINT)
            try:
                bot.wait(30)
            except subprocess.TimeoutExpired:
                bot.kill()
                bot.wait()
        said = log.read_text()
        print(f"{len(candles)} candles in {time.monotonic() - begun:.0f} s, orders {self.orders(gate)}")
        self.assertGreater(len(candles), CANDLES, said[-3000:])
        # None was left out.
        times = sorted(candles)
        self.assertEqual(times, list(range(times[0], times[-1] + 60, 60)))
        done = self.orders(gate)
        # A trade lasts five minutes and a little, three at once.
        self.assertGreaterEqual(done["sell"], CANDLES // 5, said[-3000:])
        self.assertGreaterEqual(done["buy"], CANDLES // 5)
        refused = [e["text"] for e in gate.log() if e["what"] == "refused" and e["who"] == "bot"]
        self.assertEqual(refused, [], refused[:3])
        wrong = [line for line in said.splitlines() if re.search(r" - (ERROR|CRITICAL) - |Traceback", line)]
        self.assertEqual(wrong, [])
        self.assertIn("verified", gate.cli("log", "verify", text=True))

    @staticmethod
    def settings(gate):
        """What an operator adds for a strategy of Freqtrade's that has leverage: how much, and that it may set it."""
        mandates, authority = gate.site / "release/mandates.toml", gate.site / "release/authority.cedar"
        text = mandates.read_text()
        text = text.replace('order_value = "110"', 'order_value = "220"').replace('leverage = "1"', 'leverage = "2"')
        mandates.write_text(text)
        rule = '@id("bot-settings") permit (principal == Strategy::"bot", action == Action::"Configure", resource is Account)'
        authority.write_text(authority.read_text() + rule + "\nwhen { principal.accounts.contains(resource) };\n")

    @staticmethod
    def candles(folder):
        """Pairs by the candle that they were looked at with."""
        found = {}
        file = folder / "candles"
        for line in file.read_text().splitlines() if file.exists() else ():
            pair, at = line.rsplit(" ", 1)
            found.setdefault(int(at), set()).add(pair)
        return found

    @staticmethod
    def orders(gate):
        """Orders of the bot that the gate approved, by side."""
        texts = [e["text"] for e in gate.log() if e["what"] == "approved" and e["who"] == "bot"]
        return {side: sum(1 for text in texts if text.startswith(side + " ")) for side in ("buy", "sell")}


if __name__ == "__main__":
    unittest.main()
