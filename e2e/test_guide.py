"""`docs/ops/first-bot.md` as it stands, followed by somebody who types what it says, against the simulated venue: its commands,
its mandate, its program. And what `market fetch` believes: the release's roots and pins, and nobody else.
"""

import base64
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from gate import BIN, ROOT, Venue

GUIDE = (ROOT / "docs/ops/first-bot.md").read_text()


def blocks(language=""):
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.S | re.M)


class Guide(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-guide-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.venue = Venue(self.folder / "venue", "--still")
        self.addCleanup(self.venue.stop)
        self.environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PORTCULLIS_SITE": str(self.folder / "site")}
        self.der = base64.b64decode(
            "".join(line for line in pathlib.Path(self.venue.ca_file).read_text().splitlines() if "-----" not in line)
        )

    def type(self, command, input=None, code=0):
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environment, input=input, capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.returncode, code, f"{command}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def venue_is_simulated(self, roots=None, pins=()):
        """The one thing that the guide does not say: where the exchange is. By name, so that somebody has to look it up."""
        hosts = self.folder / "site/release/hosts.toml"
        text = f"""[[host]]
venue = "binance"
name = "api.binance.com"
address = "localhost:{self.venue.said['address'].split(':')[1]}"
public_roots = false
roots = ["{(roots or self.der).hex()}"]
pins = {json.dumps(list(pins))}
weight_per_minute = 6000
orders_per_10s = 100
"""
        hosts.write_text(text)

    def lines(self, beginning):
        return [line for block in blocks() for line in block.splitlines() if line.startswith(beginning)]

    def make(self):
        self.type(self.lines("portcullis init")[0])
        self.venue_is_simulated()
        settings = self.folder / "site/site.toml"
        settings.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", settings.read_text()))

    def test_the_guide_as_it_stands(self):
        self.make()
        for line in self.lines("portcullis account"):
            for duty in ("read", "trade"):
                key = self.venue.key(duty)
                line = line.replace(f"YOUR_{duty.upper()}_KEY", key["key"])
                if key["key"] in line:
                    self.type(line, input=key["secret"])
                    break
            else:
                self.type(line)
        said = self.type(self.lines("portcullis strategy add")[0])
        key, secret = (re.search(rf"{word}\s+([A-Za-z0-9]{{64}})", said)[1] for word in ("api key", "secret"))
        self.type(self.lines("portcullis market fetch")[0])
        mandate = next(block for block in blocks() if block.startswith("[firm.markets"))
        with (self.folder / "site/release/mandates.toml").open("a") as mandates:
            mandates.write(mandate)
        for line in [*self.lines("portcullis policy"), *self.lines("portcullis exposure")]:
            self.type(line)
        ready = self.folder / "ready"
        self.type("portcullis up --ready-fd 3 3>ready >lines 2>errors & echo $! >pid; for n in $(seq 200); do [ -s ready ] && break; sleep 0.05; done; [ -s ready ]")
        pid = (self.folder / "pid").read_text().strip()
        self.addCleanup(subprocess.run, ["kill", pid], check=False, stderr=subprocess.DEVNULL)
        url = json.loads(ready.read_text())["listeners"][0]["url"]
        program = "\n".join(blocks("python"))
        for old, new in (("THE VIRTUAL KEY", key), ("ITS SECRET", secret), ("http://127.0.0.1:7001", url)):
            self.assertIn(old, program)
            program = program.replace(old, new)
        for _ in range(40):
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
            # Until the gate knows a price it refuses what would increase risk.
            if "no fresh reference price" not in done.stderr:
                break
        self.assertEqual(done.returncode, 0, done.stderr)
        balance, placed, refused = done.stdout.splitlines()
        self.assertIn("'total'", balance)
        self.assertRegex(placed, r"^\d+ open$")
        self.assertRegex(refused, r"^InvalidOrder .*quantity above cap of firm: asked 0.5, cap 0.01 \(entry \d+\)")
        entry = re.search(r"entry (\d+)", refused)[1]
        self.assertIn("quantity above cap of firm", self.type(f"portcullis explain {entry}"))
        for line in ("portcullis status", *self.lines("portcullis halt"), *self.lines("portcullis resume"), *self.lines("portcullis strategy revoke")):
            self.type(line)
        self.assertTrue(json.loads(self.type("portcullis log verify --json"))["verified"])

    def test_market_facts_come_from_whom_the_release_believes(self):
        self.make()
        fetch = "portcullis market fetch binance --dry-run"
        self.type(fetch)
        # Another authority's certificate, as DER of the same form: the simulator of another folder has its own.
        other = Venue(self.folder / "other", "--still")
        self.addCleanup(other.stop)
        der = base64.b64decode("".join(line for line in pathlib.Path(other.ca_file).read_text().splitlines() if "-----" not in line))
        self.venue_is_simulated(roots=der)
        self.assertIn("certificate", self.type(fetch, code=2))
        host, port = self.venue.said["address"].split(":")
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", "api.binance.com"], input="", capture_output=True, text=True, timeout=20
        ).stdout
        public = subprocess.run(["openssl", "x509", "-pubkey", "-noout"], input=shown, capture_output=True, text=True, check=True).stdout
        spki = base64.b64decode("".join(line for line in public.splitlines() if "-----" not in line))
        self.venue_is_simulated(pins=[hashlib.sha256(spki).hexdigest()])
        self.type(fetch)
        self.venue_is_simulated(pins=["00" * 32])
        self.assertIn("none of those that the release pins", self.type(fetch, code=2))


if __name__ == "__main__":
    unittest.main()
