"""docs/spec/bad-input.md, row by row, against the real programs: a clear refusal, no crash, nothing at the venue."""

import pathlib
import re
import time
import unittest
import urllib.parse

from gate import Gate
from wire import Client

DOCUMENT = pathlib.Path(__file__).parent.parent / "docs/spec/bad-input.md"
ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001"}
#: Nothing of these reaches the venue, so each must be refused before a byte is sent: by ingress (no code), or by the signer.


def now():
    return int(time.time() * 1000)


def order(client, **more):
    return {**ORDER, "price": client.price, "timestamp": now(), **more}


def form(client, text, key=None, headers="", method="POST", path="/api/v3/order"):
    key = client.key if key is None else key
    key = f"X-MBX-APIKEY: {key}\r\n" if key else ""
    return client.raw(
        f"{method} {path} HTTP/1.1\r\nHost: api.binance.com\r\n{key}{headers}"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(text.encode())}\r\n\r\n{text}".encode()
    )


def signed(client, text):
    return form(client, f"{text}&signature={client.sign(text)}")


def encoded(client, **more):
    return urllib.parse.urlencode(order(client, **more))


def head(client, text):
    """Bytes of a head, as they are."""
    return client.raw(text.replace("\n", "\r\n").encode("latin-1"))


def number(name, value, code="field-number"):
    return lambda client: signed(client, encoded(client, **{name: value}))


def replay(client):
    text = encoded(client, symbol="SOLUSDT")  # off the mandate: the first is refused, and so is its repetition
    first = signed(client, text)
    again = signed(client, text)
    assert first.status == again.status, (first, again)
    return again


def big(client):
    """10 MB, of which the gate takes no more than its bound before it answers."""
    return client.raw(b"POST /api/v3/order HTTP/1.1\r\nHost: api.binance.com\r\nContent-Length: 10485760\r\n\r\n" + b"a" * 65536)


CASES = [
    # the signature
    ("no signature", lambda c: form(c, encoded(c))),
    ("a wrong signature", lambda c: form(c, encoded(c) + "&signature=" + "0" * 64)),
    ("a signature over other bytes", lambda c: form(c, encoded(c) + "&signature=" + c.sign("x"))),
    ("a signature that is no signature", lambda c: form(c, encoded(c) + "&signature=zz")),
    ("two signatures", lambda c: signed(c, encoded(c) + "&signature=" + "0" * 64)),
    # the key
    ("no key", lambda c: (lambda t: form(c, f"{t}&signature={c.sign(t)}", key=""))(encoded(c))),
    ("an unknown key", lambda c: (lambda t: form(c, f"{t}&signature={c.sign(t)}", key="k" * 64))(encoded(c))),
    ("two keys", lambda c: (lambda t: form(c, f"{t}&signature={c.sign(t)}", headers=f"X-MBX-APIKEY: {c.key}\r\n"))(encoded(c))),
    # the time
    ("no timestamp", lambda c: signed(c, urllib.parse.urlencode({**ORDER, "price": c.price}))),
    ("a stale timestamp", lambda c: signed(c, encoded(c, timestamp=now() - 60_000))),
    ("a future timestamp", lambda c: signed(c, encoded(c, timestamp=now() + 60_000))),
    ("two timestamps", lambda c: signed(c, encoded(c) + f"&timestamp={now()}")),
    ("a timestamp in words", lambda c: signed(c, encoded(c, timestamp="now"))),
    ("a receive window beyond the venue's", lambda c: signed(c, encoded(c, recvWindow="70000"))),
    ("a replay", replay),
    # the endpoint and its fields
    ("an unknown path", lambda c: (lambda t: form(c, f"{t}&signature={c.sign(t)}", path="/api/v3/nothing"))(encoded(c))),
    ("an unknown method", lambda c: (lambda t: form(c, f"{t}&signature={c.sign(t)}", method="PATCH"))(encoded(c))),
    ("a path in another spelling", lambda c: (lambda t: form(c, f"{t}&signature={c.sign(t)}", path="/api/v3/%6frder"))(encoded(c))),
    ("a path with dots", lambda c: (lambda t: form(c, f"{t}&signature={c.sign(t)}", path="/api/v3/x/../order"))(encoded(c))),
    ("an unknown parameter", lambda c: signed(c, encoded(c, sneaky="1"))),
    ("a repeated parameter", lambda c: signed(c, encoded(c) + "&quantity=5")),
    ("a parameter split over query and body", lambda c: (lambda t: form(c, f"{t}&signature={c.sign('quantity=5' + t)}", path="/api/v3/order?quantity=5"))(encoded(c))),
    ("a parameter in other case", lambda c: signed(c, encoded(c, Quantity="5"))),
    ("an empty value", lambda c: signed(c, encoded(c, price=""))),
    # percent-encoding
    ("an encoded name", lambda c: signed(c, encoded(c).replace("quantity=", "%71uantity="))),
    ("an encoded separator in a value", lambda c: signed(c, encoded(c).replace("symbol=BTCUSDT", "symbol=BTCUSDT%26quantity%3D5"))),
    ("a broken escape", lambda c: signed(c, encoded(c).replace("side=BUY", "side=BU%5"))),
    ("an escape of an overlong form", lambda c: signed(c, encoded(c).replace("side=BUY", "side=%c1%82UY"))),
    ("an encoded zero byte", lambda c: signed(c, encoded(c).replace("side=BUY", "side=BUY%00"))),
    ("a doubled escape", lambda c: signed(c, encoded(c).replace("side=BUY", "side=%2542UY"))),
    ("a raw semicolon", lambda c: signed(c, encoded(c).replace("side=BUY", "side=BUY;quantity=5"))),
    # numbers
    ("an exponent", number("quantity", "1e-3")),
    ("a sign", number("quantity", "+0.001")),
    ("a minus", number("quantity", "-0.001")),
    ("leading zeros", number("quantity", "00.001")),
    ("too many digits", number("quantity", "0.0010000000000000000001")),
    ("more than fits", number("quantity", "9" * 40)),
    ("NaN", number("quantity", "NaN")),
    ("infinity", number("price", "inf")),
    ("a comma", number("quantity", "0,001")),
    ("digits of another script", number("quantity", "\u0661")),
    ("hexadecimal", number("quantity", "0x1")),
    ("zero", number("quantity", "0")),
    # JSON
    ("duplicate JSON keys in a body", lambda c: c.raw(
        (lambda t: f"POST /api/v3/order HTTP/1.1\r\nHost: api.binance.com\r\nX-MBX-APIKEY: {c.key}\r\nContent-Type: application/json\r\n"
         f"Content-Length: {len(t)}\r\n\r\n{t}")('{"symbol":"BTCUSDT","symbol":"ETHUSDT"}').encode())),
    # HTTP
    ("an empty body", lambda c: form(c, "")),
    ("a body of 10 MB", big),
    ("two lengths", lambda c: head(c, f"POST /api/v3/order HTTP/1.1\nHost: api.binance.com\nX-MBX-APIKEY: {c.key}\nContent-Length: 3\nContent-Length: 4\n\nabcd")),
    ("a length with a sign", lambda c: head(c, f"POST /api/v3/order HTTP/1.1\nHost: api.binance.com\nContent-Length: +3\n\nabc")),
    ("a chunked body", lambda c: head(c, "POST /api/v3/order HTTP/1.1\nHost: api.binance.com\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n")),
    ("chunked and a length", lambda c: head(c, "POST /api/v3/order HTTP/1.1\nHost: api.binance.com\nTransfer-Encoding: chunked\nContent-Length: 3\n\nabc")),
    ("a bare line feed", lambda c: c.raw(b"GET /api/v3/account HTTP/1.1\nHost: api.binance.com\n\n")),
    ("a folded header", lambda c: head(c, "GET /api/v3/account HTTP/1.1\nHost: api.binance.com\nX-A: b\n c\n\n")),
    ("two hosts", lambda c: head(c, "GET /api/v3/account HTTP/1.1\nHost: api.binance.com\nHost: b\n\n")),
    ("a head of 20 kB", lambda c: head(c, f"GET /api/v3/account HTTP/1.1\nHost: api.binance.com\nX-A: {'a' * 20_000}\n\n")),
    ("no HTTP at all", lambda c: c.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")),
    ("an upgrade to another protocol", lambda c: head(c, "PRI * HTTP/2.0\n\nSM\n\n")),
]


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gate = Gate(venue=("--still",))
        cls.gate.start()

    @classmethod
    def tearDownClass(cls):
        cls.gate.stop()

    def client(self, name="maker"):
        client = Client(self.gate.url, *self.gate.keys[name])
        client.price = self.gate.price("BTCUSDT", 0.99)
        return client

    def test_every_row_of_the_document_is_refused_and_reaches_nobody(self):
        rows = {name: (int(status), code) for name, status, code in re.findall(r"^\| ([^|]+?) \| (\d+) \| `([^`]+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.M)}
        self.assertEqual(sorted(rows), sorted(name for name, _ in CASES), "the document's rows are not the cases")
        rooms = self.gate.pids()
        for name, send in CASES:
            with self.subTest(name):
                client = self.client()
                self.addCleanup(client.close)
                before = self.gate.venue.signed_count()
                answer = send(client)
                self.assertIn("Portcullis: ", answer.json()["msg"])
                self.assertEqual((answer.status, answer.refusal), rows[name], answer)
                self.assertEqual(self.gate.venue.signed_count(), before, "something reached the venue")
                client.close()
        self.assertEqual(self.gate.pids(), rooms, "a room ended")
        client = self.client()
        self.addCleanup(client.close)
        good = client.order("BTCUSDT", "BUY", "0.001", client.price)
        self.assertEqual(good.status, 200, good)


if __name__ == "__main__":
    unittest.main()
