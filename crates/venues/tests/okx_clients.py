"""What CCXT and python-okx make of each refusal of the gate.

Reads the rows (name, status, code, body, CCXT's exception) as JSON from standard input; answers them from a local server, to both
libraries; exits 1 and says so if CCXT raises something else, if python-okx does not hand on the code and the reason, or if
either sends a request twice.
"""
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import ccxt

try:
    from okx.Account import AccountAPI
    from okx.Trade import TradeAPI
except ImportError:
    TradeAPI = None

rows = json.load(sys.stdin)
answer = {}
seen = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
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
key = ("c0ffee00-0000-4000-8000-00000000beef", "A" * 32, "pc-pass-1")

exchange = ccxt.okx({"apiKey": key[0], "secret": key[1], "password": key[2], "enableRateLimit": False})
exchange.urls["api"] = {"rest": url}
order = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "1", "px": "1"}
calls = [
    ("ccxt", lambda: exchange.private_post_trade_batch_orders([dict(order)])),
    ("ccxt", lambda: exchange.private_post_trade_order(dict(order))),
    ("ccxt", lambda: exchange.private_post_trade_cancel_order({"instId": "BTC-USDT", "ordId": "1"})),
    ("ccxt", lambda: exchange.private_get_account_balance()),
]
if TradeAPI:
    trade = TradeAPI(*key, flag="0", domain=url)
    account = AccountAPI(*key, flag="0", domain=url)
    calls += [
        ("python-okx", lambda: trade.place_order(**order)),
        ("python-okx", lambda: trade.place_multiple_orders([order])),
        ("python-okx", lambda: account.get_account_balance()),
    ]

wrong = []
for row in rows:
    answer.update(row)
    for library, call in calls:
        seen.clear()
        raised, said, handed = "nothing", "", None
        try:
            handed = call()
        except ccxt.BaseError as error:
            raised, said = type(error).__name__, str(error)
        if library == "ccxt":
            if raised != row["ccxt"]:
                wrong.append(f"{row['name']}: ccxt raises {raised}, not {row['ccxt']}: {said}")
            if "Portcullis" not in said:
                wrong.append(f"{row['name']}: ccxt does not show the reason: {said}")
        else:
            one = handed["data"][0] if handed["data"] else {}
            code = one.get("sCode", handed["code"])
            if handed["code"] == "0" or code != str(row["code"]):
                wrong.append(f"{row['name']}: python-okx hands on code {code}, not {row['code']}")
            if not one.get("sMsg", handed["msg"]).startswith("Portcullis: "):
                wrong.append(f"{row['name']}: python-okx does not show the reason: {handed}")
        if len(seen) != 1:
            wrong.append(f"{row['name']}: {library} sent {len(seen)} requests")
library = "and python-okx" if TradeAPI else "alone: python-okx is not installed"
print("\n".join(wrong) if wrong else f"{len(rows)} classes, ccxt {ccxt.__version__} {library}: as the table says")
sys.exit(1 if wrong else 0)
