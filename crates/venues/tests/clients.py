"""What CCXT and python-binance raise for each refusal of the gate.

Reads the rows (name, status, code, body, CCXT's exception) as JSON from standard input; answers them from a local server, to both
libraries; exits 1 and says so if a library raises something else, or sends a request twice.
"""
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import ccxt
from binance.client import Client
from binance.exceptions import BinanceAPIException

rows = json.load(sys.stdin)
answer = {}
seen = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self):
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        seen.append(self.path)
        body = answer["body"].encode()
        self.send_response(answer["status"])
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = do_PUT = reply

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"

exchange = ccxt.binance({"apiKey": "a" * 64, "secret": "b" * 64, "options": {"fetchCurrencies": False}})
paths = {"public": "/api/v3", "private": "/api/v3", "v1": "/api/v1", "fapiPrivate": "/fapi/v1", "dapiPrivate": "/dapi/v1"}
exchange.urls["api"] = {name: url + paths.get(name, "/sapi/v1") for name in exchange.urls["api"]}
client = Client("a" * 64, "b" * 64, ping=False)
client.API_URL = url + "/api"
client.FUTURES_URL = url + "/fapi"
client.FUTURES_COIN_URL = url + "/dapi"

wrong = []
# The second round is after a success: CCXT then takes some codes for a ban.
for authenticated in (False, True):
    exchange.options["hasAlreadyAuthenticatedSuccessfully"] = authenticated
    for row in rows:
        answer.update(row)
        for library, call in (
            ("ccxt", lambda: exchange.private_post_order({"symbol": "BTCUSDT"})),
            ("ccxt", lambda: exchange.private_get_account()),
            ("python-binance", lambda: client.create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity=1)),
            ("python-binance", lambda: client.get_account()),
            ("ccxt", lambda: exchange.fapiprivate_post_order({"symbol": "BTCUSDT"})),
            ("ccxt", lambda: exchange.dapiprivate_post_batchorders({"batchOrders": [{"symbol": "BTCUSD_PERP"}]})),
            ("python-binance", lambda: client.futures_create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity=1)),
            ("python-binance", lambda: client.futures_coin_create_order(symbol="BTCUSD_PERP", side="BUY", type="MARKET", quantity=1)),
        ):
            seen.clear()
            try:
                call()
                raised = "nothing"
            except ccxt.BaseError as error:
                raised = type(error).__name__
                if "Portcullis" not in str(error):
                    wrong.append(f"{row['name']}: ccxt does not show the reason: {error}")
            except BinanceAPIException as error:
                raised = f"BinanceAPIException({error.code})"
                if not str(error.message).startswith("Portcullis: "):
                    wrong.append(f"{row['name']}: python-binance does not show the reason: {error}")
            expected = row["ccxt"] if library == "ccxt" else f"BinanceAPIException({row['code']})"
            if raised != expected:
                wrong.append(f"{row['name']}: {library} raises {raised}, not {expected}")
            if len(seen) != 1:
                wrong.append(f"{row['name']}: {library} sent {len(seen)} requests")
# The tables for the venue's own URLs give the same.
for own in ("https://api.binance.com/api/v3/order", "https://fapi.binance.com/fapi/v1/order", "https://dapi.binance.com/dapi/v1/order"):
    for row in rows:
        try:
            exchange.handle_errors(row["status"], "", own, "POST", {}, row["body"], json.loads(row["body"]), {}, None)
            exchange.handle_http_status_code(row["status"], "", own, "POST", row["body"])
            raised = "nothing"
        except ccxt.BaseError as error:
            raised = type(error).__name__
        if raised != row["ccxt"]:
            wrong.append(f"{row['name']}: ccxt raises {raised} for {own}, not {row['ccxt']}")
print("\n".join(wrong) if wrong else f"{len(rows)} classes, ccxt {ccxt.__version__}: as the table says")
sys.exit(1 if wrong else 0)
