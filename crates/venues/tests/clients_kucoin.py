"""What CCXT raises for each refusal of the gate in KuCoin's words.

Reads the rows (name, status, code, body, CCXT's exception) as JSON from standard input; answers them from a local server; exits 1
and says so if it raises something else, hides the reason, or sends a request twice.
"""
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import ccxt

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

    do_GET = do_POST = do_DELETE = reply

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"

exchange = ccxt.kucoin({"apiKey": "a" * 24, "secret": "b" * 36, "password": "c"})
exchange.urls["api"] = dict.fromkeys(exchange.urls["api"], url)
order = {"symbol": "BTC-USDT", "side": "buy", "type": "market", "size": "1", "clientOid": "a"}

wrong = []
for row in rows:
    answer.update(row)
    for call in (
        lambda: exchange.private_post_hf_orders(dict(order)),
        lambda: exchange.private_get_accounts({}),
        lambda: exchange.private_delete_hf_orders_cancelall({}),
    ):
        seen.clear()
        try:
            call()
            raised = "nothing"
        except ccxt.BaseError as error:
            raised = type(error).__name__
            if "Portcullis" not in str(error):
                wrong.append(f"{row['name']}: the reason is not shown: {error}")
        if raised != row["ccxt"]:
            wrong.append(f"{row['name']}: raises {raised}, not {row['ccxt']}")
        if len(seen) != 1:
            wrong.append(f"{row['name']}: {len(seen)} requests were sent")
print("\n".join(wrong) if wrong else f"{len(rows)} classes, ccxt {ccxt.__version__}: as the table says")
sys.exit(1 if wrong else 0)
