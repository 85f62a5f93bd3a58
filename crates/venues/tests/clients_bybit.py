"""What CCXT and pybit raise for each refusal of the gate in Bybit's words.

Reads the rows (name, status, code, body, CCXT's exception) as JSON from standard input; answers them from a local server, to both
libraries; exits 1 and says so if a library raises something else, hides the reason, or sends a request twice.
"""
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import ccxt
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP

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

    do_GET = do_POST = reply

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"

exchange = ccxt.bybit({"apiKey": "a" * 64, "secret": "b" * 64})
exchange.urls["api"] = {name: url for name in exchange.urls["api"]}
session = HTTP(api_key="a" * 64, api_secret="b" * 64)
session.endpoint = url
order = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "1"}

wrong = []
for row in rows:
    answer.update(row)
    # pybit reads the body of nothing but 200.
    pybit = f"InvalidRequestError({row['code']})" if row["status"] == 200 else f"FailedRequestError({row['status']})"
    for library, call in (
        ("ccxt", lambda: exchange.private_post_v5_order_create(dict(order))),
        ("ccxt", lambda: exchange.private_get_v5_account_wallet_balance({"accountType": "UNIFIED"})),
        ("pybit", lambda: session.place_order(**order)),
        ("pybit", lambda: session.get_wallet_balance(accountType="UNIFIED")),
    ):
        seen.clear()
        try:
            call()
            raised = "nothing"
        except ccxt.BaseError as error:
            raised = type(error).__name__
            if "Portcullis" not in str(error):
                wrong.append(f"{row['name']}: ccxt does not show the reason: {error}")
        except InvalidRequestError as error:
            raised = f"InvalidRequestError({error.status_code})"
            if not error.message.startswith("Portcullis: "):
                wrong.append(f"{row['name']}: pybit does not show the reason: {error}")
        except FailedRequestError as error:
            raised = f"FailedRequestError({error.status_code})"
        expected = row["ccxt"] if library == "ccxt" else pybit
        if raised != expected:
            wrong.append(f"{row['name']}: {library} raises {raised}, not {expected}")
        if len(seen) != 1:
            wrong.append(f"{row['name']}: {library} sent {len(seen)} requests")
print("\n".join(wrong) if wrong else f"{len(rows)} classes, ccxt {ccxt.__version__}: as the table says")
sys.exit(1 if wrong else 0)
