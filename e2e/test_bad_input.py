"""docs/spec/bad-input.md, row by row, against the real programs: a clear refusal, no crash, nothing at the venue."""

import pathlib
import re
import time
import unittest
import urllib.parse

from gate import Gate
from wire import Client, Closed

DOCUMENT = pathlib.Path(__file__).parent.parent / "docs/spec/bad-input.md"
ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001"}
#: Nothing of these reaches the venue, so each must be refused before a byte is sent: by ingress (no code), or by the signer.


def now():
    return int(time.time() * 1000)


class Case:
    """One row: what is sent, and what must come back."""

    def __init__(self, name, status, code, send):
        self.name = name
        self.status = status
        self.code = code
        self.send = send


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
    """10 MB, of which the gate must not take more than its bound."""
    try:
        return client.raw(
            b"POST /api/v3/order HTTP/1.1\r\nHost: api.binance.com\r\nContent-Length: 10485760\r\n\r\n" + b"a" * 65536
        )
    except Closed:
        return None


CASES = [
    # the signature
    Case("no signature", 400, "signature-missing", lambda c: form(c, encoded(c))),
    Case("a wrong signature", 400, "bad-signature", lambda c: form(c, encoded(c) + "&signature=" + "0" * 64)),
    Case("a signature over other bytes", 400, "bad-signature", lambda c: form(c, encoded(c) + "&signature=" + c.sign("x"))),
    Case("a signature that is no signature", 400, None, lambda c: form(c, encoded(c) + "&signature=zz")),
    Case("two signatures", 400, None, lambda c: signed(c, encoded(c) + "&signature=" + "0" * 64)),
    # the key
    Case("no key", 401, None, lambda c: (lambda t: form(c, f"{t}&signature={c.sign(t)}", key=""))(encoded(c))),
    Case("an unknown key", 401, "unknown-key", lambda c: (lambda t: form(c, f"{t}&signature={c.sign(t)}", key="k" * 64))(encoded(c))),
    Case("two keys", 400, None, lambda c: (lambda t: form(c, f"{t}&signature={c.sign(t)}", headers=f"X-MBX-APIKEY: {c.key}\r\n"))(encoded(c))),
    # the time
    Case("no timestamp", 400, None, lambda c: signed(c, urllib.parse.urlencode({**ORDER, "price": c.price}))),
    Case("a stale timestamp", 400, "timestamp", lambda c: signed(c, encoded(c, timestamp=now() - 60_000))),
    Case("a future timestamp", 400, "timestamp", lambda c: signed(c, encoded(c, timestamp=now() + 60_000))),
    Case("two timestamps", 400, "field-repeated", lambda c: signed(c, encoded(c) + f"&timestamp={now()}")),
    Case("a timestamp in words", 400, None, lambda c: signed(c, encoded(c, timestamp="now"))),
    Case("a receive window beyond the venue's", 400, None, lambda c: signed(c, encoded(c, recvWindow="70000"))),
    Case("a replay", 400, None, replay),
    # the endpoint and its fields
    Case("an unknown path", 403, "unknown-endpoint", lambda c: (lambda t: form(c, f"{t}&signature={c.sign(t)}", path="/api/v3/nothing"))(encoded(c))),
    Case("an unknown method", None, None, lambda c: (lambda t: form(c, f"{t}&signature={c.sign(t)}", method="PATCH"))(encoded(c))),
    Case("a path in another spelling", 403, "unknown-endpoint", lambda c: (lambda t: form(c, f"{t}&signature={c.sign(t)}", path="/api/v3/%6frder"))(encoded(c))),
    Case("a path with dots", 403, None, lambda c: (lambda t: form(c, f"{t}&signature={c.sign(t)}", path="/api/v3/x/../order"))(encoded(c))),
    Case("an unknown parameter", 400, "field-unknown", lambda c: signed(c, encoded(c, sneaky="1"))),
    Case("a repeated parameter", 400, "field-repeated", lambda c: signed(c, encoded(c) + "&quantity=5")),
    Case("a parameter split over query and body", 400, "field-repeated", lambda c: (lambda t: form(c, f"{t}&signature={c.sign('quantity=5' + t)}", path="/api/v3/order?quantity=5"))(encoded(c))),
    Case("a parameter in other case", 400, None, lambda c: signed(c, encoded(c, Quantity="5"))),
    Case("an empty value", 400, None, lambda c: signed(c, encoded(c, price=""))),
    # percent-encoding
    Case("an encoded name", 400, None, lambda c: signed(c, encoded(c).replace("quantity=", "%71uantity="))),
    Case("an encoded separator in a value", 400, None, lambda c: signed(c, encoded(c).replace("symbol=BTCUSDT", "symbol=BTCUSDT%26quantity%3D5"))),
    Case("a broken escape", 400, None, lambda c: signed(c, encoded(c).replace("side=BUY", "side=BU%5"))),
    Case("an escape of an overlong form", 400, None, lambda c: signed(c, encoded(c).replace("side=BUY", "side=%c1%82UY"))),
    Case("an encoded zero byte", 400, None, lambda c: signed(c, encoded(c).replace("side=BUY", "side=BUY%00"))),
    Case("a doubled escape", 400, None, lambda c: signed(c, encoded(c).replace("side=BUY", "side=%2542UY"))),
    Case("a raw semicolon", 400, None, lambda c: signed(c, encoded(c).replace("side=BUY", "side=BUY;quantity=5"))),
    # numbers
    Case("an exponent", 400, "field-number", number("quantity", "1e-3")),
    Case("a sign", 400, "field-number", number("quantity", "+0.001")),
    Case("a minus", 400, "field-number", number("quantity", "-0.001")),
    Case("leading zeros", 400, "field-number", number("quantity", "00.001")),
    Case("too many digits", 400, "field-number", number("quantity", "0.0010000000000000000001")),
    Case("more than fits", 400, "field-number", number("quantity", "9" * 40)),
    Case("NaN", 400, "field-number", number("quantity", "NaN")),
    Case("infinity", 400, "field-number", number("price", "inf")),
    Case("a comma", 400, "field-number", number("quantity", "0,001")),
    Case("digits of another script", 400, "field-number", number("quantity", "\u0661")),
    Case("hexadecimal", 400, "field-number", number("quantity", "0x1")),
    Case("zero", 400, None, number("quantity", "0")),
    # JSON
    Case("duplicate JSON keys in a body", 400, None, lambda c: c.raw(
        (lambda t: f"POST /api/v3/order HTTP/1.1\r\nHost: api.binance.com\r\nX-MBX-APIKEY: {c.key}\r\nContent-Type: application/json\r\n"
         f"Content-Length: {len(t)}\r\n\r\n{t}")('{"symbol":"BTCUSDT","symbol":"ETHUSDT"}').encode())),
    # HTTP
    Case("an empty body", 400, None, lambda c: form(c, "")),
    Case("a body of 10 MB", 413, None, big),
    Case("two lengths", 400, None, lambda c: head(c, f"POST /api/v3/order HTTP/1.1\nHost: api.binance.com\nX-MBX-APIKEY: {c.key}\nContent-Length: 3\nContent-Length: 4\n\nabcd")),
    Case("a length with a sign", 400, None, lambda c: head(c, f"POST /api/v3/order HTTP/1.1\nHost: api.binance.com\nContent-Length: +3\n\nabc")),
    Case("a chunked body", None, None, lambda c: head(c, "POST /api/v3/order HTTP/1.1\nHost: api.binance.com\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n")),
    Case("chunked and a length", 400, None, lambda c: head(c, "POST /api/v3/order HTTP/1.1\nHost: api.binance.com\nTransfer-Encoding: chunked\nContent-Length: 3\n\nabc")),
    Case("a bare line feed", 400, None, lambda c: c.raw(b"GET /api/v3/account HTTP/1.1\nHost: api.binance.com\n\n")),
    Case("a folded header", 400, None, lambda c: head(c, "GET /api/v3/account HTTP/1.1\nHost: api.binance.com\nX-A: b\n c\n\n")),
    Case("two hosts", 400, None, lambda c: head(c, "GET /api/v3/account HTTP/1.1\nHost: api.binance.com\nHost: b\n\n")),
    Case("a head of 20 kB", 431, None, lambda c: head(c, f"GET /api/v3/account HTTP/1.1\nHost: api.binance.com\nX-A: {'a' * 20_000}\n\n")),
    Case("no HTTP at all", 400, None, lambda c: c.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")),
    Case("an upgrade to another protocol", 400, None, lambda c: head(c, "PRI * HTTP/2.0\n\nSM\n\n")),
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
        rows = re.findall(r"^\| ([^|]+?) \|", DOCUMENT.read_text(encoding="utf-8"), re.M)
        rooms = self.gate.pids()
        for case in CASES:
            with self.subTest(case.name):
                self.assertIn(case.name, rows, "the document has no row for it")
                client = self.client()
                before = self.gate.venue.signed_count()
                try:
                    answer = case.send(client)
                except Closed as error:
                    self.fail(f"the connection ended without a word: {error}")
                if answer is not None:
                    if case.status is not None:
                        self.assertEqual(answer.status, case.status, answer)
                    self.assertGreaterEqual(answer.status, 400, answer)
                    if case.code is not None:
                        self.assertEqual(answer.refusal, case.code, answer)
                    self.assertTrue(answer.body, "a refusal says why")
                self.assertEqual(self.gate.venue.signed_count(), before, "something reached the venue")
                client.close()
        self.assertEqual(self.gate.pids(), rooms, "a room ended")
        good = self.client().order("BTCUSDT", "BUY", "0.001", self.client().price)
        self.assertEqual(good.status, 200, good)


if __name__ == "__main__":
    unittest.main()
