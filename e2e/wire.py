"""Binance's dialect by hand over kept-alive plain HTTP: for load, and for what no client library would send."""

import hashlib
import hmac
import json
import socket
import threading
import time
import urllib.parse


class Closed(Exception):
    """The connection ended before a whole answer came."""


class Unanswered(Closed):
    """Nobody answered in time: what no program should ever see."""


class Answer:
    """Status, headers (names in lower case) and body of one answer."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)

    @property
    def refusal(self):
        """The gate's own code, if the gate refused."""
        return self.headers.get("x-portcullis-refusal")

    def __repr__(self):
        return f"Answer({self.status}, {self.refusal}, {self.body[:200]!r})"


class Client:
    """One virtual key over one connection, made again when it has ended."""

    def __init__(self, url, key, secret, timeout=15.0):
        parts = urllib.parse.urlsplit(url)
        self.address = (parts.hostname, parts.port)
        self.key = key
        self.secret = secret
        self.timeout = timeout
        self.socket = None
        self.rest = b""

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket = None
        self.rest = b""

    def sign(self, query):
        return hmac.new(self.secret.encode(), query.encode(), hashlib.sha256).hexdigest()

    def query(self, fields):
        """`fields` signed now; `timestamp` may be given."""
        fields = dict(fields)
        fields.setdefault("timestamp", int(time.time() * 1000))
        text = urllib.parse.urlencode(fields)
        return f"{text}&signature={self.sign(text)}"

    def raw(self, request):
        """Sends bytes as they are, and reads one answer."""
        try:
            if self.socket is None:
                self.socket = socket.create_connection(self.address, self.timeout)
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.sendall(request)
            return self.read()
        except TimeoutError as error:
            self.close()
            raise Unanswered(f"no answer within {self.timeout} s") from error
        except (OSError, Closed) as error:
            self.close()
            raise Closed(str(error)) from error

    def read(self):
        while b"\r\n\r\n" not in self.rest:
            self.more()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                while b"\r\n" not in self.rest:
                    self.more()
                size, _, self.rest = self.rest.partition(b"\r\n")
                size = int(size.split(b";")[0], 16)
                while len(self.rest) < size + 2:
                    self.more()
                body += self.rest[:size]
                self.rest = self.rest[size + 2 :]
                if size == 0:
                    break
        else:
            size = int(headers.get("content-length", "0"))
            while len(self.rest) < size:
                self.more()
            body, self.rest = self.rest[:size], self.rest[size:]
        if headers.get("connection", "").lower() == "close":
            self.socket.close()
            self.socket = None
            self.rest = b""
        return Answer(status, headers, body)

    def more(self):
        got = self.socket.recv(65536)
        if not got:
            raise Closed("the connection ended")
        self.rest += got

    def call(self, method, path, fields=None, signed=True):
        """One call as python-binance makes it: GET and DELETE in the query, POST and PUT in the body."""
        query = self.query(fields or {}) if signed else urllib.parse.urlencode(fields or {})
        head = f"Host: api.binance.com\r\nX-MBX-APIKEY: {self.key}\r\n"
        if method in ("POST", "PUT"):
            text = (
                f"{method} {path} HTTP/1.1\r\n{head}Content-Type: application/x-www-form-urlencoded\r\n"
                f"Content-Length: {len(query)}\r\n\r\n{query}"
            )
        else:
            target = f"{path}?{query}" if query else path
            text = f"{method} {target} HTTP/1.1\r\n{head}\r\n"
        return self.raw(text.encode())

    def order(self, symbol, side, quantity, price, **more):
        fields = {"symbol": symbol, "side": side, "type": "LIMIT", "timeInForce": "GTC", "quantity": quantity, "price": price}
        fields.update(more)
        return self.call("POST", "/api/v3/order", fields)


class Load:
    """Threads that send orders and cancels until told to stop. What each request was answered is kept by client order id,
    and how long the slowest answer took."""

    def __init__(self, url, keys, symbol, price, threads=8, quantity="0.001", tag="l", cancel_every=3, pause=0.0):
        self.stopped = threading.Event()
        self.answers = {}
        self.refusals = {}
        self.slowest = (0.0, None, None)
        self.lock = threading.Lock()
        self.threads = [
            threading.Thread(target=self.work, args=(url, *keys[n % len(keys)], symbol, price, quantity, f"{tag}{n}", cancel_every, pause), daemon=True)
            for n in range(threads)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)

    def work(self, url, key, secret, symbol, price, quantity, tag, cancel_every, pause):
        client = Client(url, key, secret)
        number = 0
        while not self.stopped.is_set():
            number += 1
            name = f"{tag}-{number}"
            begun = time.monotonic()
            try:
                if number % cancel_every == 0:
                    answer = client.call("DELETE", "/api/v3/order", {"symbol": symbol, "origClientOrderId": f"{tag}-{number - 1}"})
                    name = f"{name}-cancel"
                else:
                    answer = client.order(symbol, "BUY", quantity, price, newClientOrderId=name)
                said = (answer.status, answer.refusal)
            except Unanswered:
                said = ("unanswered", None)
            except Closed:
                said = ("closed", None)
                time.sleep(0.01)
            took = time.monotonic() - begun
            with self.lock:
                self.slowest = max(self.slowest, (took, name, said), key=lambda slow: slow[0])
                self.answers[name] = said
                self.refusals[said] = self.refusals.get(said, 0) + 1
            if pause or said[0] != 200:
                time.sleep(max(pause, 0.002))
