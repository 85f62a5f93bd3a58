"""Unmodified client libraries through the gate, with each scheme that they can sign: HMAC-SHA256, Ed25519, RSA."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

from gate import Gate

HERE = pathlib.Path(__file__).parent
#: The official connector wants a module name that python-binance has too, so it lives in a folder of its own.
CONNECTOR = os.environ.get("PORTCULLIS_CONNECTOR_PYTHON", sys.executable)
PYTHON = {"connector": CONNECTOR}


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
