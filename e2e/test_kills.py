"""`kill -9` of each room at random moments under load, and each room restarted in order: every request that reached the
venue is in the log, none twice, and the fold from the first entry equals the state.

PORTCULLIS_KILLS and PORTCULLIS_RESTARTS set how many; the defaults are what `./test` runs.
"""

import os
import random
import signal
import time
import unittest

from gate import Gate
from wire import Client, Closed, Load

KILLS = int(os.environ.get("PORTCULLIS_KILLS", "204"))
RESTARTS = int(os.environ.get("PORTCULLIS_RESTARTS", "51"))
ROOMS = ("ingress", "signer", "egress")


class Kills(unittest.TestCase):
    def setUp(self):
        self.gate = Gate(venue=("--still", "--log-requests", "2000000"))
        self.gate.start()

    def tearDown(self):
        self.gate.stop()

    def serves(self, seconds=10):
        """Waits until an order passes again; the time that took."""
        begun = time.monotonic()
        client = Client(self.gate.url, *self.gate.keys["maker"], timeout=3)
        last = None
        while time.monotonic() - begun < seconds:
            try:
                last = client.call("GET", "/api/v3/openOrders", {"symbol": "BTCUSDT"})
                if last.status == 200:
                    client.close()
                    return time.monotonic() - begun
            except Closed as error:
                last = error
            time.sleep(0.02)
        said = [line for line in self.gate.lines if line.get("event") != "refused"][-12:]
        self.fail(f"the gate does not serve again: {last}; {said}")

    def compare(self, load):
        """The venue's record against the log."""
        self.gate.settle()
        entries = self.gate.log()
        approved = {}
        for entry in entries:
            if entry["what"] != "approved":
                continue
            for action in entry["regulator"]["actions"]:
                name = action.get("client_order_id")
                if action["kind"] == "PlaceOrder" and name:
                    self.assertNotIn(name, approved, "approved twice")
                    approved[name] = entry["entry"]
        arrived = [r for r in self.gate.venue.requests() if r["method"] == "POST" and r["path"] == "/api/v3/order"]
        names = [r["client_order_id"] for r in arrived]
        self.assertEqual(len(names), len(set(names)), "an order reached the venue twice")
        missing = [name for name in names if name not in approved]
        self.assertEqual(missing, [], "an order at the venue has no entry")
        # What a program was told was accepted did arrive, and what was told as not sent did not.
        told = {name: said for name, said in load.answers.items() if not name.endswith("-cancel")}
        at_venue = set(names)
        for name, (status, _refusal) in told.items():
            if status == 200:
                self.assertIn(name, at_venue, "accepted, and the venue never saw it")
            if status == 503:
                self.assertNotIn(name, at_venue, "told as not sent, and the venue saw it")
        self.assertGreater(len(at_venue), 100, "the load was no load")
        verified = self.gate.cli("log", "verify", str(self.gate.site / "log"))
        self.assertTrue(verified["verified"], verified)
        return len(at_venue)

    def state_is_the_fold(self):
        """The state that the running signer has is the one that a fold of the whole log gives."""
        fold = self.gate.cli("log", "fold")
        self.assertTrue(fold["same"], fold)

    def test_kill_9_at_random_moments(self):
        rng = random.Random(20261125)
        longest = 0.0
        with Load(self.gate.url, list(self.gate.keys.values()), "BTCUSDT", self.gate.price("BTCUSDT", 0.98), threads=4, tag="k", cancel_every=2, pause=0.003) as load:
            for number in range(KILLS):
                room = ROOMS[number % 3]
                time.sleep(rng.uniform(0.05, 0.4))
                os.kill(self.gate.pids()[room], signal.SIGKILL)
                longest = max(longest, self.serves())
        count = self.compare(load)
        self.state_is_the_fold()
        print(f"\n{KILLS} kills survived, {count} orders at the venue, longest gap {longest:.2f} s, answers {load.refusals}")

    def test_each_room_restarted_in_order(self):
        longest = 0.0
        with Load(self.gate.url, list(self.gate.keys.values()), "BTCUSDT", self.gate.price("BTCUSDT", 0.98), threads=4, tag="r", cancel_every=2, pause=0.003) as load:
            for number in range(RESTARTS):
                self.gate.cli("restart", ROOMS[number % 3])
                longest = max(longest, self.serves())
                time.sleep(0.1)
        count = self.compare(load)
        self.state_is_the_fold()
        print(f"\n{RESTARTS} restarts, {count} orders at the venue, longest gap {longest:.2f} s, answers {load.refusals}")


if __name__ == "__main__":
    unittest.main()
