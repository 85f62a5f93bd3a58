"""The demonstration: a simulated Binance, a gate in front of it, real client libraries through it, a thief, a halt, and
the log's proof. Exits 0 only if every step was as described. `./demo` runs it.
"""

import argparse
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import places
from gate import MANDATES, Gate, program

HERE = pathlib.Path(__file__).parent


class Shown:
    """What a person sees, and whether all of it was as described."""

    def __init__(self, quiet):
        self.wrong = []
        self.out = sys.stderr if quiet else sys.stdout

    def title(self, text):
        print(f"\n\033[1m{text}\033[0m" if self.out.isatty() else f"\n{text}", file=self.out, flush=True)

    def line(self, label, text, right=True):
        mark = "ok " if right else "NOT"
        print(f"  {mark} {label:<44} {text}", file=self.out, flush=True)
        if not right:
            self.wrong.append(label)

    def text(self, text):
        for line in text.rstrip().splitlines():
            print(f"      {line}", file=self.out, flush=True)


def run_program(shown, gate, name, strategy, more=(), before=()):
    """One client program to its end; gives its lines. `more` and `before`: arguments beside URL, key and secret."""
    key, secret = gate.keys[strategy]
    done = subprocess.run(
        [sys.executable, HERE / f"{name}.py", *before, gate.url, key, secret, *map(str, more)],
        capture_output=True, text=True, timeout=100, check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0:
        shown.line(name, (done.stderr.strip().splitlines() or ["no answer"])[-1][:300], False)
    return lines


def clients(shown, gate):
    for name, strategy, steps in (("ccxt_program", "maker", 11), ("python_binance_program", "taker", 10)):
        shown.title(f"An unmodified {'CCXT' if strategy == 'maker' else 'python-binance'} program, with another URL and key")
        lines = run_program(shown, gate, name, strategy)
        for line in lines:
            shown.line(line["step"], line["answer"])
        if len(lines) != steps:
            shown.line("every step", f"{len(lines)} of {steps} answered", False)


#: What the thief tries, the exceptions that say no, and whether the log has an entry for it.
THIEF = {
    "withdraw": (("ccxt.PermissionDenied",), True),
    "withdraw (python-binance)": (("binance.BinanceAPIException",), True),
    "transfer to another wallet": (("ccxt.PermissionDenied",), True),
    "transfer to a sub-account": (("binance.BinanceAPIException",), True),
    "convert": (("binance.BinanceAPIException",), True),
    "borrow": (("ccxt.PermissionDenied",), True),
    "make an API key": (("ccxt.PermissionDenied",), True),
    "open the account's stream": (("binance.BinanceAPIException",), False),
    "a market off the mandate": (("ccxt.BadSymbol",), True),
    "an order over the value limit": (("ccxt.InvalidOrder",), True),
    "a price far from the market": (("ccxt.InvalidOrder",), True),
    "sell far below the market": (("binance.BinanceAPIException",), True),
    "somebody else's order cancelled": (("ccxt.OrderNotFound",), True),
    "a replay of the program's own order": (("ccxt.RequestTimeout",), False),
    "a burst over the message rate": (("ccxt.RateLimitExceeded",), True),
    "the virtual key straight at the exchange": (("ccxt.AuthenticationError", "ccxt.PermissionDenied"), False),
}


def entry_of(message):
    """The number after `entry` in a refusal's text."""
    _, found, rest = message.partition("(entry ")
    number = rest.partition(")")[0]
    return int(number) if found and number.isdigit() else None


def elsewhere(shown, gate):
    """An order at each of the other places, and by WebSocket."""
    shown.title("The same gate before futures and other exchanges: CCXT there")
    for strategy, name, host, made, symbol, _, _ in places.PLACES:
        try:
            client = made(gate.listeners[host], *gate.keys[strategy])
            last = client.fetch_ticker(symbol)["last"]
            order = client.create_order(symbol, "limit", "buy", places.AMOUNTS.get(name, 0.005), float(client.price_to_precision(symbol, last * 0.97)))
            is_open = order["id"] in [o["id"] for o in client.fetch_open_orders(symbol)]
            client.cancel_order(order["id"], symbol)
            shown.line(name, f"{symbol} order {order['id']} placed, {'open' if is_open else 'NOT open'}, cancelled", is_open)
        except Exception as error:  # whatever the library raises is shown
            shown.line(name, f"{type(error).__name__}: {error}"[:300], False)
    shown.title("By WebSocket: CCXT Pro")
    socket = gate.listeners["ws-api.binance.com"].replace("http", "ws", 1) + "/ws-api/v3"
    lines = run_program(shown, gate, "websocket_programs", "maker", (gate.price("BTCUSDT", 0.98), socket), before=("ccxt",))
    for line in lines:
        answer = line["answer"]
        shown.line(line["step"], answer if isinstance(answer, str) else json.dumps(answer))
    if len(lines) != 5:
        shown.line("every step", f"{len(lines)} of 5 answered", False)


def thief(shown, gate):
    shown.title("What a thief gets who sits on the strategy's host")
    foreign = gate.client("maker").order("ETHUSDT", "BUY", "0.01", gate.price("ETHUSDT", 0.98)).json()
    before = gate.venue.balances()
    lines = run_program(shown, gate, "thief", "taker", (gate.venue.url, foreign["orderId"], gate.message_rate))
    seen = {}
    for line in lines:
        step, message = line["step"], line["message"]
        raised, wants_entry = THIEF[step]
        entry = entry_of(message)
        seen[step] = entry
        right = line["raised"] in raised and (entry is not None or not wants_entry)
        said = (message.partition("Portcullis: ")[2] or message).strip('"}')
        shown.line(step, f"{line['raised']}: {said[:150]}", right)
    for step in THIEF:
        if step not in seen:
            shown.line(step, "was not tried", False)
    after = gate.venue.balances()
    left = gate.venue.withdrawals() or [w for w in ("wallets", "debts") if before[w] != after[w]]
    shown.line("what left the account", f"{left}" if left else "nothing", not left)
    still = gate.client("maker").call("GET", "/api/v3/order", {"symbol": "ETHUSDT", "orderId": foreign["orderId"]}).json()
    shown.line("the other strategy's order", still.get("status"), still.get("status") == "NEW")
    gate.client("maker").call("DELETE", "/api/v3/order", {"symbol": "ETHUSDT", "orderId": foreign["orderId"]})
    return seen


def halts(shown, gate):
    shown.title("A halt, and what still passes")
    time.sleep(1.1)  # the message rate of the burst has passed
    client = gate.client("maker")
    low = gate.price("BTCUSDT", 0.98)
    resting = client.order("BTCUSDT", "BUY", "0.001", low).json()
    halted = gate.cli("halt", "--level", "cancel-only", "--reason", "demonstration")
    shown.line("portcullis halt --level cancel-only", f"entry {halted['entry']}; on their way: {len(halted['under_way'])}")
    answer = client.order("BTCUSDT", "BUY", "0.001", low)
    shown.line("the next order", f"{answer.status} {answer.refusal}", answer.status == 503)
    answer = client.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": resting["orderId"]})
    shown.line("a cancel", answer.json().get("status"), answer.status == 200)
    gate.cli("resume", "--reason", "demonstration")
    answer = client.call("POST", "/api/v3/order", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.002"})
    shown.line("portcullis resume, then an order", f"{answer.status} {answer.json().get('status')}", answer.status == 200)
    gate.cli("halt", "--level", "reduce-only", "--reason", "demonstration")
    answer = client.order("BTCUSDT", "BUY", "0.001", low)
    shown.line("at reduce-only, an order that increases", f"{answer.status} {answer.refusal}", answer.status == 503)
    answer = client.call("POST", "/api/v3/order", {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.001"})
    shown.line("at reduce-only, an order that reduces", f"{answer.status} {answer.json().get('status')}", answer.status == 200)
    gate.cli("resume", "--reason", "demonstration")


def proof(shown, gate, refused):
    shown.title("The log")
    gate.settle()
    log = gate.site / "log"
    verified = gate.cli("log", "verify", str(log))
    shown.line("portcullis log verify", f"{verified['entries']} entries, {verified['signed']} of them signed", verified["verified"])
    copy = gate.folder / "log-copy"
    shutil.copytree(log, copy)
    victim = refused["an order over the value limit"]
    segment = sorted(copy.glob("segments/*.seg"))[0]
    bytes_ = bytearray(segment.read_bytes())
    at = 0
    for _ in range(victim):
        at += 16 + int.from_bytes(bytes_[at : at + 4], "big")
    bytes_[at + 40] ^= 1
    segment.write_bytes(bytes_)
    damaged = gate.cli("log", "verify", str(copy), check=False)
    named = str(victim) in damaged.get("damage", "")
    shown.line("the same with one byte of a copy flipped", damaged.get("damage"), damaged.get("verified") is False and named)
    shown.line("portcullis explain", f"entry {victim}")
    shown.text(gate.cli("explain", str(victim), text=True))


def cost(shown, gate):
    shown.title("What the gate costs on this machine (nginx as a plain pass-through beside it, everything on one core)")
    done = subprocess.run([program("portcullis-bench"), "--rounds", "1", "--seconds", "0.4", "--pinned-only"], capture_output=True, text=True, timeout=110, check=False)
    shown.text(done.stdout)
    shown.line("measured", "one short round; `portcullis bench` takes five long ones" if done.returncode == 0 else done.stderr.strip()[-300:], done.returncode == 0)


def pasted(gate):
    key, secret = gate.keys["maker"]
    return f"""import ccxt
binance = ccxt.binance({{"apiKey": "{key}", "secret": "{secret}", "options": {{"fetchMarkets": {{"types": ["spot"]}}}}}})
binance.urls["api"] = {{k: v.replace("https://api.binance.com", "{gate.url}") if isinstance(v, str) else v for k, v in binance.urls["api"].items()}}
print(binance.fetch_balance()["free"])
print(binance.create_order("BTC/USDT", "limit", "buy", 0.001, binance.price_to_precision("BTC/USDT", binance.fetch_ticker("BTC/USDT")["last"] * 0.99)))
"""


def main():
    parser = argparse.ArgumentParser(prog="./demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the gate and the simulated exchange running until interrupted")
    parser.add_argument("--json", action="store_true", help="with --keep: the last line is one object with URLs and keys")
    options = parser.parse_args()
    shown = Shown(options.json)
    begun = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    gate = Gate(
        say=shown, mandates=MANDATES + places.MANDATES, strategies=("maker", "taker", *places.STRATEGIES), hosts=places.HOSTS, others=places.OTHERS
    )
    try:
        gate.start()
        clients(shown, gate)
        elsewhere(shown, gate)
        refused = thief(shown, gate)
        halts(shown, gate)
        proof(shown, gate, refused)
        if not options.keep:
            cost(shown, gate)
        shown.title(f"{'Everything was as described' if not shown.wrong else f'NOT as described: {shown.wrong}'}, in {time.monotonic() - begun:.0f} s")
        if options.keep and not shown.wrong:
            if options.json:
                print(json.dumps(gate.description()), flush=True)
            else:
                print(f"\nThe gate stands at {gate.url}, the exchange at {gate.venue.url}; ^C ends both. To paste:\n\n{pasted(gate)}", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        gate.stop()
    return 1 if shown.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
