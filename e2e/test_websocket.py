"""Unmodified WebSocket clients through the gate: CCXT Pro and python-binance place, find and cancel orders as they would at Binance."""

import hashlib
import hmac
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest
import urllib.request

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect

from gate import Gate

HERE = pathlib.Path(__file__).parent


class WebSocket(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gate = Gate(venue=("--still",))
        cls.gate.start()

    @classmethod
    def tearDownClass(cls):
        cls.gate.stop()

    def steps(self, library, listener):
        socket = listener.replace("http", "ws", 1) + "/ws-api/v3"
        price = self.gate.price("BTCUSDT", 0.98)
        command = [sys.executable, HERE / "websocket_programs.py", library, self.gate.url, *self.gate.keys["maker"], price, socket]
        trust = {"REQUESTS_CA_BUNDLE": self.gate.venue.ca_file, "SSL_CERT_FILE": self.gate.venue.ca_file}
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120, check=False, env=os.environ | trust)
        self.assertEqual(done.returncode, 0, f"{library}: {done.stdout[-600:]} {done.stderr[-3000:]}")
        return {line["step"]: line["answer"] for line in map(json.loads, done.stdout.splitlines())}

    def both(self, library, listener, opened, cancelled):
        before = self.gate.venue.requests()
        steps = self.steps(library, listener)
        number = steps["place"]["id"]
        self.assertEqual(steps["place"], {"status": opened, "id": number})
        self.assertEqual(steps["query"], {"status": opened, "id": number})
        self.assertEqual(steps["open"], [number])
        self.assertEqual(steps["cancel"], {"status": cancelled, "id": number})
        # What reached the exchange was signed with the firm's own keys, each by its duty.
        new = [r for r in self.gate.venue.requests()[len(before):] if r["method"] in ("POST", "DELETE") and r["path"] == "/api/v3/order"]
        self.assertEqual([(r["method"], r["status"]) for r in new], [("POST", 200), ("DELETE", 200)])
        return steps

    def test_ccxt_pro(self):
        # The listener of the REST API has the WebSocket's path too.
        steps = self.both("ccxt", self.gate.url, "open", "canceled")
        # 0.9 of a bitcoin is far above what the maker's mandate lets one order be worth.
        self.assertEqual(steps["too large"], "InvalidOrder")

    def test_ccxt_pro_sees_its_own_fills(self):
        steps = self.steps("ccxt-watch", self.gate.url)
        self.assertEqual(steps["filled"]["seen"], "closed")
        # The signer was told by the stream too.
        with urllib.request.urlopen(self.gate.metrics_url, timeout=10) as page:
            told = re.search(r"^portcullis_signer_events_total (\d+)", page.read().decode(), re.MULTILINE)
        self.assertGreater(int(told[1]), 0)

    def test_python_binance(self):
        steps = self.both("python-binance", self.gate.listeners["ws-api.binance.com"], "NEW", "CANCELED")
        self.assertEqual(steps["public"], 5)
        self.assertEqual(steps["too large"], -2010)


class Ends(unittest.TestCase):
    """What ends a WebSocket, and what becomes of what was under way on it."""

    @classmethod
    def setUpClass(cls):
        cls.gate = Gate(venue=("--still",))
        cls.gate.start()

    @classmethod
    def tearDownClass(cls):
        cls.gate.stop()

    def setUp(self):
        self.number = 0

    def open(self):
        url = self.gate.listeners["ws-api.binance.com"].replace("http", "ws", 1) + "/ws-api/v3"
        socket = connect(url, compression=None)
        self.addCleanup(socket.close)
        return socket

    def call(self, socket, method, strategy="maker", **params):
        """One signed frame and its answer; events of streams are passed over."""
        self.number += 1
        key, secret = self.gate.keys[strategy]
        params |= {"apiKey": key, "timestamp": int(time.time() * 1000)}
        text = "&".join(f"{name}={value}" for name, value in sorted(params.items()))
        params["signature"] = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            answer = json.loads(socket.recv(timeout=20))
            if "event" not in answer:
                self.assertEqual(answer["id"], self.number)
                return answer

    def place(self, socket, name, strategy="maker"):
        price = self.gate.price("BTCUSDT", 0.98)
        return self.call(socket, "order.place", strategy, symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC",
                         quantity="0.001", price=price, newClientOrderId=name)

    def arrived(self, name):
        return sum(1 for r in self.gate.venue.requests() if r.get("client_order_id") == name and r["method"] == "POST")

    def closed(self, socket):
        """The code of the close that comes."""
        try:
            while True:
                socket.recv(timeout=20)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None

    def again(self, name, strategy="maker", seconds=20):
        """A new connection places an order once the gate serves it."""
        end = time.monotonic() + seconds
        while True:
            number = f"{name}-{int((end - time.monotonic()) * 1000)}"
            try:
                socket = self.open()
                answer = self.place(socket, number, strategy)
            except (OSError, WebSocketException) as error:
                answer = error
            if isinstance(answer, dict) and answer["status"] == 200:
                self.assertEqual(self.arrived(number), 1)
                return
            self.assertLess(time.monotonic(), end, answer)
            time.sleep(0.1)

    def subscribed(self, strategy="maker"):
        socket = self.open()
        self.assertEqual(self.call(socket, "userDataStream.subscribe.signature", strategy)["status"], 200)
        return socket

    def events(self):
        with urllib.request.urlopen(self.gate.metrics_url, timeout=10) as page:
            return int(re.search(r"^portcullis_signer_events_total (\d+)", page.read().decode(), re.MULTILINE)[1])

    def test_the_gate_hears_of_fills_of_orders_that_nobody_asks_for(self):
        # A program that only has REST: nobody but the gate listens to the account.
        client, price = self.gate.client("maker"), self.gate.price("BTCUSDT", 0.98)
        end = time.monotonic() + 60
        while True:
            heard = self.events()
            self.assertEqual(client.order("BTCUSDT", "BUY", "0.001", price).status, 200)
            time.sleep(0.5)
            if self.events() > heard:
                return
            # After a stream has ended the gate waits for half a minute.
            self.assertLess(time.monotonic(), end, "the gate heard of none")

    def test_the_venue_drops_its_connection_with_an_order_on_it(self):
        socket = self.open()
        self.assertEqual(self.place(socket, "before-drop")["status"], 200)
        self.gate.venue.fault("drop-after", method="POST", path="/api/v3/order", count=1)
        self.addCleanup(self.gate.venue.no_faults)
        answer = self.place(socket, "dropped")
        self.assertEqual((answer["status"], answer["error"]["code"]), (504, -1007), answer)
        # The program's own connection goes on; its order is there, and once.
        found = self.call(socket, "order.status", symbol="BTCUSDT", origClientOrderId="dropped")
        self.assertEqual(found["result"]["status"], "NEW", found)
        time.sleep(1)
        self.assertEqual(self.arrived("dropped"), 1)

    def test_a_killed_room_ends_streams_and_nothing_is_sent_twice(self):
        for room in ("egress", "signer", "ingress"):
            with self.subTest(room):
                socket = self.subscribed()
                self.assertEqual(self.place(socket, f"{room}-before")["status"], 200)
                os.kill(self.gate.pids()[room], signal.SIGKILL)
                # As the venue would: going away. A room that is killed says nothing.
                self.assertEqual(self.closed(socket), None if room == "ingress" else 1001)
                self.again(f"{room}-after")
                self.assertEqual(self.arrived(f"{room}-before"), 1)
                # Streams can be had again, and tell.
                socket = self.subscribed()
                self.place(socket, f"{room}-told")
                self.assertEqual(json.loads(socket.recv(timeout=20))["event"]["e"], "executionReport")

    def test_a_halt_of_level_lock_ends_connections_and_lets_nobody_on(self):
        socket, other = self.subscribed(), self.subscribed("taker")
        self.gate.cli("halt", "--level", "lock", "--strategy", "maker", "--reason", "test")
        self.assertEqual(self.closed(socket), 1008)
        answer = self.place(self.open(), "locked")
        self.assertEqual(answer["status"], 503, answer)
        # Others go on.
        self.assertEqual(self.place(other, "not-locked", "taker")["status"], 200)
        self.gate.cli("resume", "--strategy", "maker", "--reason", "test")
        self.assertEqual(self.place(self.open(), "unlocked")["status"], 200)
        self.assertEqual((self.arrived("locked"), self.arrived("unlocked")), (0, 1))

    def test_a_revoked_key_loses_its_connections(self):
        issued = self.gate.cli("strategy", "add", "leaving", "--account", "main", "--sources", "127.0.0.1/32")
        self.gate.keys["leaving"] = (issued["virtual_key"]["api_key"], issued["virtual_key"]["secret"])
        self.gate.mandate("leaving")
        socket, other = self.subscribed("leaving"), self.subscribed()
        self.gate.cli("strategy", "revoke", "leaving")
        self.assertEqual(self.closed(socket), 1008)
        answer = self.place(self.open(), "revoked", "leaving")
        self.assertEqual(answer["status"], 401, answer)
        self.assertEqual(self.place(other, "not-revoked")["status"], 200)
        self.assertEqual(self.arrived("revoked"), 0)


class Pipes(unittest.TestCase):
    """Market streams: each program's WebSocket has one of its own at the exchange."""

    @classmethod
    def setUpClass(cls):
        cls.gate = Gate(hosts=("stream.binance.com", "fstream.binance.com"))
        cls.gate.start()

    @classmethod
    def tearDownClass(cls):
        cls.gate.stop()

    def url(self, host="stream.binance.com"):
        return self.gate.listeners[host].replace("http", "ws", 1)

    def open(self, target="/ws", host="stream.binance.com"):
        socket = connect(self.url(host) + target, compression=None)
        self.addCleanup(socket.close)
        return socket

    def say(self, socket, method, *params):
        socket.send(json.dumps({"method": method, "params": params, "id": 7}))
        while True:
            said = json.loads(socket.recv(timeout=20))
            if "id" in said:
                return said

    def test_names_in_the_address_and_in_frames(self):
        socket = self.open("/stream?streams=btcusdt@trade/ethusdt@depth@100ms")
        seen = set()
        while len(seen) < 2:
            seen.add(json.loads(socket.recv(timeout=20))["stream"])
        self.assertEqual(seen, {"btcusdt@trade", "ethusdt@depth@100ms"})
        self.assertEqual(self.say(socket, "SUBSCRIBE", "btcusdt@bookTicker"), {"result": None, "id": 7})
        self.assertEqual(set(self.say(socket, "LIST_SUBSCRIPTIONS")["result"]), seen | {"btcusdt@bookTicker"})
        self.assertEqual(self.say(socket, "UNSUBSCRIBE", *seen)["result"], None)
        self.assertEqual(self.say(socket, "LIST_SUBSCRIPTIONS")["result"], ["btcusdt@bookTicker"])
        self.assertEqual(self.say(socket, "GET_PROPERTY", "combined")["result"], True)

    def test_what_could_be_an_accounts_stream_is_refused(self):
        key = "a1B2" * 16
        for target in (f"/ws/{key}", f"/stream?streams=btcusdt@trade/{key}"):
            with self.assertRaises(InvalidStatus) as refused:
                self.open(target)
            self.assertEqual(refused.exception.response.status_code, 400)
        socket = self.open()
        self.assertIn("no public stream", self.say(socket, "SUBSCRIBE", key)["error"]["msg"])
        self.assertEqual(self.say(socket, "LIST_SUBSCRIPTIONS")["result"], [])

    def test_futures(self):
        socket = self.open("/ws/btcusdt@markPrice@1s", "fstream.binance.com")
        self.assertEqual(json.loads(socket.recv(timeout=20))["e"], "markPriceUpdate")

    def test_a_killed_room_ends_them_and_they_can_be_opened_again(self):
        for room in ("egress", "signer", "ingress"):
            with self.subTest(room):
                socket = self.open("/ws/btcusdt@trade")
                socket.recv(timeout=20)
                os.kill(self.gate.pids()[room], signal.SIGKILL)
                with self.assertRaises(ConnectionClosed) as closed:
                    while True:
                        socket.recv(timeout=20)
                code = closed.exception.rcvd.code if closed.exception.rcvd else None
                self.assertEqual(code, None if room == "ingress" else 1001)
                end = time.monotonic() + 20
                while True:
                    try:
                        self.open("/ws/btcusdt@trade").recv(timeout=5)
                        break
                    except (OSError, WebSocketException):
                        self.assertLess(time.monotonic(), end, room)
                        time.sleep(0.1)

    def test_programs(self):
        for library in ("ccxt-public", "python-binance-public"):
            with self.subTest(library):
                command = [sys.executable, HERE / "websocket_programs.py", library, self.gate.url, *self.gate.keys["maker"], "0", self.url()]
                done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120, check=False)
                self.assertEqual(done.returncode, 0, f"{library}: {done.stdout[-600:]} {done.stderr[-3000:]}")
                steps = {line["step"]: line["answer"] for line in map(json.loads, done.stdout.splitlines())}
                self.assertGreater(steps["book"]["bid"], 0)
                self.assertGreater(steps["book"]["ask"], steps["book"]["bid"])
                self.assertGreater(steps["trade"], 0)


if __name__ == "__main__":
    unittest.main()
