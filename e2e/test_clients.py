"""Unmodified client libraries through the gate, with each scheme that they can sign: HMAC-SHA256, Ed25519, RSA."""

import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

from gate import Gate

HERE = pathlib.Path(__file__).parent
#: The official connector wants a module name that python-binance has too, so it lives in a folder of its own.
CONNECTOR = os.environ.get("PORTCULLIS_CONNECTOR_PYTHON", sys.executable)
PYTHON = {"connector": CONNECTOR}


#: How a refusal of the gate is called, by its code (docs/spec/refusals.md).
REFUSED = {
    -2015: "not permitted", -2010: "order limit", -1121: "unknown market", -2011: "unknown order", -1130: "bad request", -1015: "rate limited",
    -1022: "bad signature", -2014: "unauthenticated", -1021: "bad time", 0: "not available", -1007: "status unknown",
}
#: What a policy, a mandate or the catalog refuses by design.
BY_DESIGN = {"not permitted", "order limit", "unknown market", "unknown order"}
#: The values that the test makes up are checked by the gate, and by the simulator not always.
MADE_UP = re.compile(r"field `\w+`: `.*` is (not one of|neither|no |not between)|none of .* is sent|field `\w+` is missing|exclude each other")
TABLE = HERE.parent / "docs/spec/clients.md"
#: What stands above it on the page is written by hand.
TABLE_HEAD = """\
| library | calls | same answer | same refusal | by design | held back | unsigned | in other words | slow | other |
|---|---|---|---|---|---|---|---|---|---|
"""


def alike(one, other):
    """Answers of one form: figures, empty lists and what is absent aside."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return not one or not other or type(one[0]) is type(other[0])
    return one == other or "NoneType" in (one, other)


class Breadth(unittest.TestCase):
    """Every call of a library: the same as straight at the exchange, or refused by design with a message that says so."""

    @classmethod
    def setUpClass(cls):
        cls.gate = Gate()
        cls.gate.start()
        cls.rows = []

    @classmethod
    def tearDownClass(cls):
        cls.gate.stop()
        if os.environ.get("UPDATE"):
            above = TABLE.read_text(encoding="utf-8").partition(TABLE_HEAD)[0]
            TABLE.write_text(above + TABLE_HEAD + "".join(f"| {' | '.join(map(str, row))} |\n" for row in sorted(cls.rows)), encoding="utf-8")

    def run_calls(self, library, url, key, secret):
        command = [PYTHON.get(library, sys.executable), HERE / "client_calls.py", library, url, key, secret]
        trust = {"REQUESTS_CA_BUNDLE": self.gate.venue.ca_file, "SSL_CERT_FILE": self.gate.venue.ca_file}
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False, env=os.environ | trust)
        self.assertEqual(done.returncode, 0, f"{library}: {done.stderr[-1500:]}")
        return {line["call"]: line for line in map(json.loads, done.stdout.splitlines())}

    def test_ccxt(self):
        self.compare("ccxt", "ccxt")

    def test_python_binance(self):
        self.compare("python_binance", "python-binance")

    def test_connector(self):
        self.compare("connector", "binance-connector")

    def test_official_sdk(self):
        self.compare("official_sdk", "binance-sdk-spot")

    def compare(self, library, name):
        key = self.gate.venue.key("all")
        straight = self.run_calls(library, self.gate.venue.url, key["key"], key["secret"])
        # What the first run left open would fill the exchange's own limits.
        for symbol in ("BTCUSDT", "ETHUSDT"):
            self.gate.venue.cancel_all(key, symbol)
        through = self.run_calls(library, self.gate.url, *self.gate.keys["maker"])
        counts = dict.fromkeys(("same answer", "same refusal", "by design", "held back", "unsigned", "in other words", "slow", "other"), 0)
        wrong = []
        for call, gate in through.items():
            direct = straight.get(call, {"error": "not made"})
            kind = self.kind(call, gate, direct)
            if kind not in counts:
                wrong.append(f"{call}: {kind}\n    gate   {json.dumps(gate)[:300]}\n    direct {json.dumps(direct)[:300]}")
                kind = "other"
            counts[kind] += 1
            counts["slow"] += gate["ms"] > max(5000, 3 * direct.get("ms", 0))
        self.assertGreater(len(through), 60, name)
        self.assertLess(counts["held back"], 12, name)
        self.rows.append([name, len(through), *counts.values()])
        self.assertFalse(wrong, f"{name}: {len(wrong)} of {len(through)}\n" + "\n".join(wrong))

    @staticmethod
    def kind(call, gate, direct):
        if "error" not in gate:
            if "error" in direct:
                return "same answer"  # written more strictly, or the account is another
            return "same answer" if alike(gate["shape"], direct["shape"]) else "answers differ"
        if "Portcullis" not in gate["message"]:
            return "same refusal" if "error" in direct and gate["error"] == direct["error"] else "refusals differ"
        refused = "not permitted" if "no operation privilege" in gate["message"] else REFUSED.get(gate["code"])
        if refused in BY_DESIGN:
            return "by design"
        if refused == "rate limited" and "keeps the venue's rate limits" in gate["message"]:
            return "held back"
        if refused == "bad signature" and "no signature" in gate["message"]:
            return "unsigned"
        if refused == "bad request" and ("error" in direct or MADE_UP.search(gate["message"])):
            return "in other words"
        return f"refused as {refused}"


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gate = Gate()
        cls.gate.start()

    @classmethod
    def tearDownClass(cls):
        cls.gate.stop()

    def run_one(self, library, key, secret, private=None):
        command = [PYTHON.get(library, sys.executable), HERE / "client_programs.py", library, self.gate.url, key, secret or "unused"]
        done = subprocess.run([*map(str, command), *([str(private)] if private else [])], capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, f"{library}: {done.stderr[-1500:]}")
        return json.loads(done.stdout)

    def test_each_library_with_hmac(self):
        for library in ("ccxt_sync", "ccxt_async", "python_binance", "python_binance_async", "official_sdk", "connector"):
            with self.subTest(library):
                self.assertGreaterEqual(len(self.run_one(library, *self.gate.keys["maker"])), 2)

    def test_programs_keys_of_each_scheme(self):
        for scheme, kind in (("ed25519", ["-algorithm", "ed25519"]), ("rsa", ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])):
            private = self.gate.folder / f"{scheme}.pem"
            public = self.gate.folder / f"{scheme}.pub.pem"
            subprocess.run(["openssl", "genpkey", *kind, "-out", private], check=True, capture_output=True)
            subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
            issued = self.gate.cli("strategy", "add", f"with-{scheme}", "--account", "main", "--sources", "127.0.0.1/32", "--scheme", scheme, "--public-key", str(public))
            self.gate.mandate(f"with-{scheme}")
            for library in ("python_binance", "official_sdk", "connector"):
                with self.subTest(f"{library} with {scheme}"):
                    self.run_one(library, issued["virtual_key"]["api_key"], None, private)

    def test_the_venues_key_of_each_scheme(self):
        """The firm's own key may have another scheme than the program's: any combination."""
        for scheme in ("ed25519", "rsa"):
            with self.subTest(scheme):
                account = f"with-{scheme}"
                self.gate.cli("account", "add", account, "--venue", "binance")
                for duty in ("read", "trade"):
                    key = self.gate.venue.key(duty, scheme)
                    self.gate.cli(
                        "account", "key", "add", account, "--duty", duty, "--scheme", scheme, "--api-key", key["key"],
                        input=pathlib.Path(key["file"]).read_text(encoding="utf-8"),
                    )
                issued = self.gate.cli("strategy", "add", f"signed-{scheme}", "--account", account, "--sources", "127.0.0.1/32")
                self.gate.mandate(f"signed-{scheme}")
                self.run_one("python_binance", issued["virtual_key"]["api_key"], issued["virtual_key"]["secret"])


if __name__ == "__main__":
    unittest.main()
