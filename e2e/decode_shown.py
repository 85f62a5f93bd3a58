"""Feeds requests as they stood on the wire to `portcullis decode` and checks each answer."""

import base64
import json
import subprocess
import sys

PROGRAM, CAPTURES = sys.argv[1:]
failed = 0


def decode(raw):
    done = subprocess.run([PROGRAM, "decode", "--venue", "binance", "--json"], input=raw, capture_output=True, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}


def request(method, target, body="", key="k" * 64):
    head = [f"{method} {target} HTTP/1.1", "Host: api.binance.com", f"X-MBX-APIKEY: {key}"]
    if body:
        head += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


def show(label, code, answer, expected):
    global failed
    if code == 0:
        said = " + ".join(
            " ".join(str(a[k]) for k in ("kind", "side", "type", "symbol", "quantity", "price", "asset", "amount") if k in a)
            for a in answer["actions"]
        )
    else:
        said = f"refused: {answer.get('refusal', {}).get('message', 'no answer')}"
    right = code == 0 if expected is None else code == 1 and answer["refusal"]["code"] == expected
    failed += not right
    print(f"  {'ok ' if right else 'NOT'} {label:<44} {said}")


print("\nWhat unmodified clients send")
for capture in json.load(open(CAPTURES, encoding="utf-8")):
    head = [f"{capture['method']} {capture['target']} HTTP/1.1"] + [f"{n}: {v}" for n, v in capture["headers"]]
    raw = ("\r\n".join(head) + "\r\n\r\n").encode() + base64.b64decode(capture["body_b64"])
    show(f"{capture['client'].split()[0]}: {capture['label']}", *decode(raw), None)

ORDER = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=60000&timestamp=1790000000123&signature=" + "0" * 64
print("\nWhat is not understood is not signed")
for label, raw, expected in [
    ("a field that nobody reviewed", request("POST", "/api/v3/order", ORDER + "&sneaky=1"), "field-unknown"),
    ("a field twice", request("POST", "/api/v3/order", ORDER + "&quantity=2"), "field-repeated"),
    ("a field split over query and body", request("POST", "/api/v3/order?quantity=2", ORDER), "field-repeated"),
    ("a number with an exponent", request("POST", "/api/v3/order", ORDER.replace("quantity=1", "quantity=1e3")), "field-number"),
    ("a number with a sign", request("POST", "/api/v3/order", ORDER.replace("quantity=1", "quantity=%2B1")), "field-number"),
    ("an endpoint that is not in the catalog", request("POST", "/api/v3/secret", ORDER), "unknown-endpoint"),
    ("a bare line feed", request("POST", "/api/v3/order", ORDER).replace(b"\r\nHost", b"\nHost"), "http"),
]:
    show(label, *decode(raw), expected)

print(f"\n{'everything as described' if not failed else f'{failed} not as described'}")
sys.exit(1 if failed else 0)
