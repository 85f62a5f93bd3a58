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
#: A room is back and every request in flight is answered within a second; half of one more for a machine under load.
GAP_MAX = float(os.environ.get("PORTCULLIS_GAP", "1.5"))


class Gaps:
    """How long nothing passed after each kill, and what the one who asked was told meanwhile."""

    def __init__(self):
        self.all = []

    def add(self, room, seconds, meanwhile):
        self.all.append((seconds, room, meanwhile))

    def longest(self):
        return max(self.all)[0]

    def __str__(self):
        lines = []
        for room in ROOMS:
            of = sorted(seconds for seconds, which, _ in self.all if which == room)
            lines.append(f"  {room}: median {of[len(of) // 2]:.2f} s, longest {of[-1]:.2f} s")
        seconds, room, meanwhile = max(self.all)
        return "gaps:\n" + "\n".join(lines) + f"\n  the longest, {room}: {meanwhile[:4]} … {meanwhile[-4:]}"


class Kills(unittest.TestCase):
    def setUp(self):
        self.gate = Gate(venue=("--still", "--log-requests", "2000000"))
        self.gate.start()

    def tearDown(self):
        self.gate.stop()

    def serves(self, seconds=10):
        """Waits until a request passes again; how long that took, and what came meanwhile."""
        begun = time.monotonic()
        client = Client(self.gate.url, *self.gate.keys["maker"], timeout=3)
        last, meanwhile = None, []
        while time.monotonic() - begun < seconds:
            asked = time.monotonic()
            try:
                last = client.call("GET", "/api/v3/openOrders", {"symbol": "BTCUSDT"})
                said = last.status
            except Closed as error:
                last = said = error
            now = time.monotonic()
            if said == 200:
                client.close()
                return now - begun, meanwhile
            meanwhile.append(f"{said} in {now - asked:.3f} s")
            time.sleep(0.005)
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
        self.assertNotIn(("unanswered", None), load.refusals, "a program waited for a room that was gone")
        self.assertLess(load.slowest[0], GAP_MAX, load.slowest)
        verified = self.gate.cli("log", "verify", str(self.gate.site / "log"))
        self.assertTrue(verified["verified"], verified)
        return len(at_venue)

    def state_is_the_fold(self):
        """The state that the running signer has is the one that a fold of the whole log gives."""
        fold = self.gate.cli("log", "fold")
        self.assertTrue(fold["same"], fold)

    def test_kill_9_at_random_moments(self):
        rng = random.Random(20261125)
        gaps = Gaps()
        with Load(self.gate.url, list(self.gate.keys.values()), "BTCUSDT", self.gate.price("BTCUSDT", 0.98), threads=4, tag="k", cancel_every=2, pause=0.003) as load:
            for number in range(KILLS):
                room = ROOMS[number % 3]
                time.sleep(rng.uniform(0.05, 0.4))
                os.kill(self.gate.pids()[room], signal.SIGKILL)
                gaps.add(room, *self.serves())
        count = self.compare(load)
        self.state_is_the_fold()
        print(f"\n{KILLS} kills survived, {count} orders at the venue, slowest answer {load.slowest}, answers {load.refusals}\n{gaps}")
        self.assertLess(gaps.longest(), GAP_MAX, gaps)

    def test_each_room_restarted_in_order(self):
        gaps = Gaps()
        with Load(self.gate.url, list(self.gate.keys.values()), "BTCUSDT", self.gate.price("BTCUSDT", 0.98), threads=4, tag="r", cancel_every=2, pause=0.003) as load:
            for number in range(RESTARTS):
                begun = time.monotonic()
                self.gate.cli("restart", ROOMS[number % 3])
                _, meanwhile = self.serves()
                gaps.add(ROOMS[number % 3], time.monotonic() - begun, meanwhile)
                time.sleep(0.1)
        count = self.compare(load)
        self.state_is_the_fold()
        print(f"\n{RESTARTS} restarts, {count} orders at the venue, slowest answer {load.slowest}, answers {load.refusals}\n{gaps}")
        self.assertLess(gaps.longest(), GAP_MAX, gaps)


if __name__ == "__main__":
    unittest.main()
