"""A site as an operator makes it, on loopback, with a simulated Binance behind it: for the demonstration and the tests.

Everything goes through the programs' command lines. What is started here is ended here, by its own handle.
"""

import base64
import decimal
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from wire import Client

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("PORTCULLIS_BIN", ROOT / "target/release"))
#: Messages a second that the small strategy may send.
MESSAGE_RATE = 20

MANDATES = """\
[firm]
order_value = "unlimited"
price_tolerance = "10%"
price_age = "10s"
message_rate = "unlimited"
reserved_message_rate = "unlimited"
repeat = "unlimited"
turnover_1h = "unlimited"
turnover_1d = "unlimited"
turnover_7d = "unlimited"
turnover_30d = "unlimited"
open_orders = "unlimited"
position = "unlimited"
loss = "unlimited"
venue_weight = "unlimited"

[firm.markets."BTCUSDT"]
floor = "10000"
ceiling = "500000"
quantity = "1"

[firm.markets."ETHUSDT"]
floor = "500"
ceiling = "50000"
quantity = "20"

# A market maker: many small quotes.
[strategy.maker]
order_value = "1000"
message_rate = "2000/1s"
reserved_message_rate = "1000/1s"
open_orders = "5000"
position = "200000"

# A small program, whose host the thief sits on.
[strategy.taker]
order_value = "500"
price_tolerance = "5%"
message_rate = "{rate}/1s"
reserved_message_rate = "10/1s"
repeat = "200/1s"
turnover_1h = "20000"
turnover_1d = "50000"
open_orders = "50"
position = "5000"
loss = "500"
venue_weight = "3000"
"""


def program(name):
    path = BIN / name
    if not path.exists():
        raise SystemExit(f"error: {path} is not built\nhint: ./demo and ./test build it; PORTCULLIS_BIN names another folder")
    return str(path)


class Failed(Exception):
    """A command of the operator did not do what it should."""


class Venue:
    """The simulated Binance, as a process of its own, and other exchanges beside it. Its limits are those of a large market maker."""

    LIMITS = ("--weight-per-minute", "600000", "--orders-per-10s", "100000", "--open-orders", "20000",
              "--futures-weight-per-minute", "600000", "--futures-orders-per-10s", "100000")

    def __init__(self, folder, *arguments, others=()):
        self.folder = folder
        if others:
            arguments = ("--venue", ",".join(("binance", *others)), "--limits-times", "100", *arguments)
        self.process = subprocess.Popen(
            [program("portcullis-sim"), "--folder", str(folder), "--json", "--end-with-stdin", *self.LIMITS, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        line = self.process.stdout.readline()
        if not line:
            raise Failed("the simulated exchange did not start")
        self.said = json.loads(line)
        #: What the others said, by their names.
        self.others = {other: json.loads(self.process.stdout.readline()) for other in others}
        self.url = self.said["url"]
        self.ca_file = self.said["ca"]
        self.control = self.said["control"]
        self.trust = ssl.create_default_context(cafile=self.ca_file)
        self.last = {}

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, path, body=None, method=None, other=None):
        """The simulator's control page; the exchange itself has none. `other`: another exchange's."""
        data = None if body is None else json.dumps(body).encode()
        control = self.others[other]["control"] if other else self.control
        request = urllib.request.Request(control + path, data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise Failed(f"{path}: {error.read().decode()}") from error

    def key(self, duty, scheme="hmac", other=None):
        """The firm's real key of one duty and scheme."""
        for account in (self.others[other] if other else self.said)["accounts"]:
            for key in account["keys"]:
                if account["name"] == "firm" and key["duty"] == duty and key["scheme"].startswith(scheme):
                    return key
        raise Failed(f"the simulated firm has no {scheme} key to {duty}")

    def public(self, path):
        """Public data straight from the exchange."""
        with urllib.request.urlopen(self.url + path, context=self.trust, timeout=30) as answer:
            return json.loads(answer.read())

    def price(self, symbol, part):
        """The last price times `part`, on the market's tick; looked up at most each two seconds."""
        known, at, tick = self.last.get(symbol, (None, 0.0, None))
        if tick is None:
            filters = self.public(f"/api/v3/exchangeInfo?symbol={symbol}")["symbols"][0]["filters"]
            tick = decimal.Decimal(next(f["tickSize"] for f in filters if f["filterType"] == "PRICE_FILTER")).normalize()
        if time.monotonic() - at > 2:
            known = decimal.Decimal(self.public(f"/api/v3/ticker/price?symbol={symbol}")["price"])
            self.last[symbol] = (known, time.monotonic(), tick)
        return format((known * decimal.Decimal(str(part)) / tick).quantize(decimal.Decimal(1)) * tick, "f")

    def requests(self, other=None, **query):
        """Every request that reached the exchange, in order."""
        found, after = [], 0
        while True:
            more = urllib.parse.urlencode({"after": after, "limit": 10_000, **query})
            part = self.ask(f"/requests?{more}", other=other)["requests"]
            found += part
            if len(part) < 10_000:
                return found
            after = part[-1]["number"]

    def signed_count(self):
        """Requests with a key so far that are not the gate's own reads."""
        return sum(1 for r in self.requests() if r["key"] and r["method"] != "GET")

    def balances(self, account="firm"):
        return self.ask(f"/balances?account={account}")

    def withdrawals(self):
        return self.ask("/withdrawals")

    def counts(self):
        return self.ask("/counts")

    def fault(self, act, **more):
        self.ask("/faults", {"act": act, **more})

    def no_faults(self):
        self.ask("/faults", method="DELETE")

    def cancel_all(self, key, symbol):
        """The account's open orders of a market, with a real key straight at the exchange."""
        straight = Client(self.url, key["key"], key["secret"])
        query = straight.query({"symbol": symbol})
        request = urllib.request.Request(f"{self.url}/api/v3/openOrders?{query}", method="DELETE", headers={"X-MBX-APIKEY": key["key"]})
        try:
            urllib.request.urlopen(request, context=self.trust, timeout=30).close()
        except urllib.error.HTTPError as error:
            error.close()  # none were open

    def trade(self, symbol, side, quantity):
        """A stranger's market order, which fills whatever rests on the other side."""
        return self.ask("/order", {"account": "stranger", "symbol": symbol, "side": side, "type": "MARKET", "quantity": quantity})


class Gate:
    """One site and its exchange, from `init` to `stop`. `hosts`: hosts of Binance beside spot. `others`: other exchanges; the firm
    has an account of the same name at each. `streams`: pairs of one of those and a host where its programs open WebSockets, and may
    log on. `strategies`: names, or pairs of name and account."""

    def __init__(self, say=None, mandates=MANDATES, strategies=("maker", "taker"), up=(), venue=(), keys=("read", "trade"), hosts=(), others=(), streams=()):
        self.say = say
        self.hosts = hosts
        self.others = others
        self.streams = streams
        self.mandates = mandates.replace("{rate}", str(MESSAGE_RATE))
        self.strategies = strategies
        self.up_arguments = up
        self.venue_arguments = venue
        self.duties = keys
        self.message_rate = MESSAGE_RATE
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-"))
        self.site = self.folder / "site"
        self.keys = {}
        self.accounts = {}
        self.process = None
        self.venue = None
        self.lines = []

    # one step a line, as an operator would type it

    def start(self):
        try:
            self.venue = Venue(self.folder / "venue", *self.venue_arguments, others=self.others)
            self.tell("a simulated Binance over TLS", self.venue.url)
            for other, said in self.venue.others.items():
                self.tell(f"a simulated {other.title()} over TLS", said["url"])
            self.make()
            self.up()
        except BaseException:
            self.stop()
            raise

    def make(self):
        made = self.cli("init", "--name", "demo", "--credential", str(self.folder / "demo.credential"))
        self.tell("portcullis init", f"{self.site}, opened by {made['opened_by']}")
        # The WebSocket API is a host of its own, and here the same simulator.
        hosts = [part for host in ("api.binance.com", "ws-api.binance.com", *self.hosts) for part in ("--host", host)]
        self.cli("account", "add", "main", "--venue", "binance", *hosts)
        for other in self.others:
            first = self.venue.others[other]["host"]
            streams = [host for of, host in self.streams if of == other]
            hosts = [part for host in (first, *streams) for part in ("--host", host)]
            self.cli("account", "add", other, "--venue", other, *hosts, *(["--sessions"] if streams else []))
        self.edit("site.toml", r'bind = "127.0.0.1:\d+"', 'bind = "127.0.0.1:0"')
        hosts = self.site / "release/hosts.toml"
        der = base64.b64decode("".join(l for l in pathlib.Path(self.venue.ca_file).read_text().splitlines() if "-----" not in l))
        blocks = hosts.read_text().split("[[host]]")
        for at, block in enumerate(blocks[1:], 1):
            address = self.address(re.search(r'venue = "(\w+)"', block)[1])
            block = block.replace("public_roots = true", f'address = "{address}"\nroots = ["{der.hex()}"]\npublic_roots = false')
            block = re.sub(r"weight_per_minute = \d+", "weight_per_minute = 600000", block)
            blocks[at] = re.sub(r"orders_per_10s = \d+", "orders_per_10s = 100000", block)
        hosts.write_text("[[host]]".join(blocks))
        for account in ("main", *self.others):
            for duty in self.duties:
                key = self.venue.key(duty, other=account if account in self.others else None)
                # OKX: the secret, then the passphrase.
                secret = "\n".join(filter(None, (key["secret"], key.get("passphrase"))))
                self.cli("account", "key", "add", account, "--duty", duty, "--scheme", "hmac", "--api-key", key["key"], input=secret)
        self.tell("portcullis account key add", f"keys by duty, sealed: {', '.join(self.duties)}")
        for venue in ("binance", *self.others):
            fetched = self.cli("market", "fetch", venue)
            self.tell(f"portcullis market fetch {venue}", f"{fetched['markets']} markets")
        for strategy in self.strategies:
            name, account = (strategy, "main") if isinstance(strategy, str) else strategy
            issued = self.cli("strategy", "add", name, "--account", account, "--sources", "127.0.0.1/32")
            self.keys[name] = (issued["virtual_key"]["api_key"], issued["virtual_key"]["secret"])
            self.accounts[name] = account
        self.tell("portcullis strategy add", f"{', '.join(self.keys)}: a mandate and a virtual key each")
        (self.site / "release/mandates.toml").write_text(self.mandates)
        self.cli("policy", "check")
        applied = self.cli("policy", "apply")
        self.tell("portcullis policy apply", f"release {applied['hash'][:16]}…, entry {applied['entry']}")

    def address(self, venue="binance"):
        """Where the gate finds a venue."""
        url = self.venue.others[venue]["url"] if venue in self.venue.others else self.venue.url
        return url.removeprefix("https://")

    def up(self):
        begun = time.monotonic()
        self.process = subprocess.Popen(
            [program("portcullis"), "--site", str(self.site), "up", "--json", *self.up_arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        self.lines = []
        ready = threading.Event()
        self.ready = None

        def read():
            for line in self.process.stdout:
                try:
                    event = json.loads(line)
                except ValueError:
                    event = {"text": line}
                self.lines.append(event)
                if event.get("event") == "ready" and event.get("room") == "up":
                    self.ready = event
                    ready.set()
            ready.set()

        def errors():
            for line in self.process.stderr:
                self.lines.append({"stderr": line.rstrip()})

        threading.Thread(target=read, daemon=True).start()
        threading.Thread(target=errors, daemon=True).start()
        if not ready.wait(60) or self.ready is None:
            raise Failed(f"`portcullis up` did not get ready: {self.lines[-8:]}")
        self.listeners = {listener["host"]: listener["url"] for listener in self.ready["listeners"]}
        self.url = self.listeners["api.binance.com"]
        self.metrics_url = self.ready.get("metrics")
        self.serves()
        self.tell("portcullis up", f"three rooms behind {self.url}, {time.monotonic() - begun:.1f} s after the start")

    def serves(self, seconds=20):
        """Waits until the gate knows prices and the venue's clock: an order that tests passes."""
        end = time.monotonic() + seconds
        client = self.client("maker") if "maker" in self.keys else None
        answer = None
        while client and time.monotonic() < end:
            fields = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001", "price": self.price("BTCUSDT", 0.99)}
            answer = client.call("POST", "/api/v3/order/test", fields)
            if answer.status == 200:
                return
            time.sleep(0.05)
        if client:
            raise Failed(f"the gate does not serve: {answer}")

    def down(self):
        """Ends the gate; the venue stays."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def stop(self):
        self.down()
        if self.venue:
            self.venue.stop()
            self.venue = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def tell(self, label, text):
        if self.say:
            self.say.line(label, text)

    def edit(self, name, pattern, new):
        path = self.site / name
        path.write_text(re.sub(pattern, new, path.read_text()))

    def cli(self, *arguments, check=True, text=False, input=None):
        """One command of the operator; its JSON, or with `text` what a person reads."""
        command = [program("portcullis"), "--site", str(self.site), *arguments]
        if not text:
            command.append("--json")
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, input=input, check=False)
        if check and done.returncode != 0:
            raise Failed(f"`portcullis {' '.join(arguments)}` ended with {done.returncode}: {done.stdout} {done.stderr}")
        if text:
            return done.stdout
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def mandate(self, name):
        """Gives a new strategy the maker's numbers."""
        path = self.site / "release/mandates.toml"
        numbers = self.mandates.partition("[strategy.maker]")[2].partition("\n\n")[0]
        path.write_text(path.read_text() + f"\n[strategy.{name}]{numbers}\n")
        self.cli("policy", "apply")

    def client(self, strategy):
        return Client(self.url, *self.keys[strategy])

    def price(self, symbol, part):
        """The simulator's price times `part`, on the market's tick."""
        return self.venue.price(symbol, part)

    def pids(self):
        return {room["room"]: room["pid"] for room in self.cli("status")["up"]["rooms"]}

    def settle(self, seconds=5):
        """Waits until nothing is under way."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.cli("status")["signer"]["under_way"] == 0:
                break
            time.sleep(0.1)
        time.sleep(1.2)  # a checkpoint over what was written last

    def log(self):
        """Every entry, decoded."""
        done = subprocess.run([program("portcullis"), "--site", str(self.site), "log", "show", "--json"], capture_output=True, text=True, timeout=120, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def description(self):
        """What `./demo --keep --json` prints."""
        return {
            "site": str(self.site),
            "programs": str(BIN),
            "listeners": self.listeners,
            "metrics": self.metrics_url,
            "strategies": [
                {"name": name, "virtual_key": key, "secret": secret, "account": self.accounts[name]} for name, (key, secret) in self.keys.items()
            ],
            "venue": self.venue.said,
            "venues": {"binance": self.venue.said, **self.venue.others},
        }
