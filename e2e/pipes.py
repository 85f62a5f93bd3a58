"""How a WebSocket ends on which a program has logged on, wherever the gate signs that logon anew: for the tests of each such venue."""

import json
import os
import signal
import time

import websocket


class Session:
    """A program's WebSocket, logged on."""

    def __init__(self, url, logon):
        self.socket = websocket.create_connection(url, timeout=20)
        self.said = []
        self.send(logon)

    def send(self, frame):
        self.socket.send(json.dumps(frame))

    def next(self, fits=lambda _: True):
        """The next message that fits."""
        while True:
            kind, data = self.socket.recv_data()
            if kind != websocket.ABNF.OPCODE_TEXT:
                raise ConnectionError(f"closed after {self.said[-3:]}")
            self.said.append(json.loads(data))
            if fits(self.said[-1]):
                return self.said[-1]

    def ended(self, seconds=10):
        """Whether the other side ends it, and soon."""
        self.socket.settimeout(seconds)
        try:
            while True:
                self.next()
        except websocket.WebSocketTimeoutException:
            return False
        except (ConnectionError, websocket.WebSocketException):
            return True


class Ends:
    """Mixed into a test case that has `gate`, `account` (also the venue's name), `route` (an order's, at the simulator), and:
    `log_on(key, secret)`: a session whose logon was taken; `order(name)`: a frame; `is_answer(message)`; `went(message)`; `names(name)`:
    the account's orders of that name over REST."""

    def opened(self, strategy=None):
        """A session on which orders go."""
        session = self.log_on(*self.gate.keys[strategy or self.account])
        self.addCleanup(session.socket.close)
        self.goes(session)
        return session

    def goes(self, session):
        session.send(self.order(self.fresh()))
        self.assertTrue(self.went(session.next(self.is_answer)), session.said)

    def fresh(self):
        return f"ends{time.time_ns()}"

    def taken(self, name):
        return [r for r in self.gate.venue.requests(other=self.account) if r["client_order_id"] == name]

    def test_a_revoked_keys_session_ends(self):
        name = f"leaver-{self.account}"
        issued = self.gate.cli("strategy", "add", name, "--account", self.account, "--sources", "127.0.0.1/32")["virtual_key"]
        self.gate.keys[name] = issued["api_key"], issued["secret"]
        self.gate.mandate(name)
        leaver, other = self.opened(name), self.opened()
        self.gate.cli("strategy", "revoke", name)
        self.assertTrue(leaver.ended())
        self.goes(other)

    def test_a_locked_accounts_session_ends_and_no_other_begins(self):
        session = self.opened()
        self.gate.cli("halt", "--account", self.account, "--level", "lock", "--reason", "test")
        try:
            self.assertTrue(session.ended())
            with self.assertRaises(Exception):
                self.opened()
        finally:
            self.gate.cli("resume", "--account", self.account, "--reason", "test")
        self.goes(self.opened())

    def test_another_release_ends_it(self):
        session = self.opened()
        self.gate.mandate(self.fresh())
        self.assertTrue(session.ended())
        self.goes(self.opened())

    def test_a_killed_egress_ends_it(self):
        session = self.opened()
        killed = self.gate.pids()["egress"]
        os.kill(killed, signal.SIGKILL)
        self.assertTrue(session.ended())
        end = time.monotonic() + 20
        while True:
            try:
                self.goes(self.opened())
                break
            except Exception:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)
        self.assertNotEqual(self.gate.pids()["egress"], killed)

    def test_a_connection_that_the_venue_drops_ends_it_and_nothing_is_sent_twice(self):
        self.addCleanup(self.gate.venue.ask, "/faults", None, "DELETE", self.account)
        for act, is_there in (("drop-after", True), ("drop-before", False)):
            with self.subTest(act):
                session, name = self.opened(), self.fresh()
                self.gate.venue.ask("/faults", {"act": act, "path": self.route, "count": 1}, other=self.account)
                session.send(self.order(name))
                self.assertTrue(session.ended())
                told = session.said[-1]
                self.assertIn("it may have reached the exchange", str(told))
                self.assertFalse(self.went(told))
                self.gate.settle(20)
                self.assertEqual(len(self.taken(name)), 1, "sent once")
                self.assertEqual(len(self.names(name)), int(is_there))
                # The gate asked for it by itself, and the next session goes on.
                self.assertEqual(self.gate.cli("status")["signer"]["under_way"], 0)
                self.goes(self.opened())
