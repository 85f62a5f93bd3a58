"""Who may speak at all: keys that were revoked, have expired, come from elsewhere, or are nobody's; and clients that are slow."""

import socket
import threading
import time
import unittest

from gate import Gate
from wire import Client, Closed

IDLE = 10_000


class Access(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gate = Gate(venue=("--still",))
        cls.gate.start()

    @classmethod
    def tearDownClass(cls):
        cls.gate.stop()

    def issue(self, name, *more):
        issued = self.gate.cli("strategy", "add", name, "--account", "main", *more)["virtual_key"]
        return issued, Client(self.gate.url, issued["api_key"], issued["secret"])

    def refused(self, client, status, code):
        before = self.gate.venue.signed_count()
        answer = client.order("BTCUSDT", "BUY", "0.001", self.gate.price("BTCUSDT", 0.99))
        self.assertEqual((answer.status, answer.refusal), (status, code), answer)
        self.assertEqual(self.gate.venue.signed_count(), before)
        client.close()

    def test_a_revoked_key_is_refused_at_once_and_its_connection_closed(self):
        issued, client = self.issue("revoked", "--sources", "127.0.0.1/32")
        self.assertEqual(client.call("GET", "/api/v3/account").status, 200)
        self.gate.cli("strategy", "revoke", "revoked")
        time.sleep(0.2)
        with self.assertRaises(Closed):
            client.call("GET", "/api/v3/account")
        self.refused(client, 401, "revoked")

    def test_an_expired_key_is_refused(self):
        _, client = self.issue("expiring", "--expires", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3)))
        self.assertEqual(client.call("GET", "/api/v3/account").status, 200)
        time.sleep(3.1)
        client.close()
        self.refused(client, 401, "expired")

    def test_a_key_from_elsewhere_is_refused(self):
        _, client = self.issue("elsewhere", "--sources", "10.0.0.0/8")
        self.refused(client, 403, "wrong-source")

    def test_a_key_with_another_secret_is_refused(self):
        issued, _ = self.issue("other-secret")
        self.refused(Client(self.gate.url, issued["api_key"], self.gate.keys["maker"][1]), 400, "signature-wrong")

    def test_a_canary_alarms_and_is_refused(self):
        _, client = self.issue("left-in-a-repository", "--canary")
        self.refused(client, 401, "unknown-key")
        time.sleep(0.3)
        alarms = [e for e in self.gate.lines if e.get("event") == "canary"]
        self.assertEqual(len(alarms), 1, self.gate.lines[-5:])
        self.assertTrue(alarms[0]["alert"])

    def test_slow_senders_wait_behind_nobody_and_are_cut_off(self):
        address = Client(self.gate.url, "k", "s").address
        slow = [socket.create_connection(address) for _ in range(100)]
        for one in slow:
            one.sendall(b"POST /api/v3/order HTTP/1.1\r\nHost: api.binance.com\r\nContent-Le")
        client = self.gate.client("maker")
        times = []
        for _ in range(100):
            begun = time.monotonic()
            self.assertEqual(client.call("GET", "/api/v3/openOrders", {"symbol": "BTCUSDT"}).status, 200)
            times.append(time.monotonic() - begun)
        client.close()
        self.assertLess(sorted(times)[50], 0.05)
        slow[0].settimeout(20)
        self.assertIn(slow[0].recv(4096)[:12], (b"", b"HTTP/1.1 408"))
        for one in slow:
            one.close()

    def test_ten_thousand_idle_connections_cost_nobody_anything(self):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, IDLE + 500), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        count = min(IDLE, min(hard, IDLE + 500) - 500)
        address = Client(self.gate.url, "k", "s").address
        idle = []
        try:
            for number in range(count):
                # Several addresses of the loopback network: one has too few ports for so many.
                one = socket.socket()
                one.bind((f"127.0.0.{1 + number // 4000}", 0))
                one.connect(address)
                idle.append(one)
            client = self.gate.client("maker")
            begun = time.monotonic()
            for _ in range(200):
                self.assertEqual(client.call("GET", "/api/v3/openOrders", {"symbol": "BTCUSDT"}).status, 200)
            took = (time.monotonic() - begun) / 200
            client.close()
            pid = self.gate.pids()["ingress"]
            with open(f"/proc/{pid}/status", encoding="ascii") as status:
                resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
            print(f"\n{count} idle connections: a read took {took * 1000:.2f} ms, ingress holds {resident // 1024} MiB")
            self.assertLess(took, 0.05)
        finally:
            for one in idle:
                one.close()

    def test_a_slow_reader_of_a_large_answer_slows_nobody(self):
        big = Client(self.gate.url, *self.gate.keys["maker"])
        big.socket = socket.socket()
        big.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        big.socket.connect(big.address)
        # Answers one after the other on one connection, more than sockets and windows hold.
        for _ in range(40):
            big.socket.sendall(b"GET /api/v3/exchangeInfo HTTP/1.1\r\nHost: api.binance.com\r\n\r\n")
        done = threading.Event()
        times = []

        def others():
            client = self.gate.client("taker")
            while not done.is_set():
                begun = time.monotonic()
                self.gate_status = client.call("GET", "/api/v3/openOrders", {"symbol": "BTCUSDT"}).status
                times.append(time.monotonic() - begun)
                time.sleep(0.05)
            client.close()

        thread = threading.Thread(target=others)
        thread.start()
        got = 0
        big.socket.settimeout(5)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            got += len(big.socket.recv(512))
            time.sleep(0.02)
        done.set()
        thread.join()
        big.close()
        self.assertGreater(got, 1_000)
        self.assertLess(max(times), 1.0)


if __name__ == "__main__":
    unittest.main()
