"""Every call of a client library, one JSON line each. usage: client_calls.py LIBRARY URL KEY SECRET

CCXT's calls are listed with the parameters that programs use. The methods of the others are found in the library itself and
filled from its own signatures and documentation: once with what they must have, once with all that they may have.
A line is `{"call", "ms"}` with the `shape` of the answer, or the `error` that the library raised, its `code` and `message`.
"""

import inspect
import json
import re
import sys
import time

SYMBOL = "BTCUSDT"
#: Not parameters of the call, or misspelled in a library's documentation (`fromID`).
NO_PARAMETERS = {"fromID", "self", "params", "data", "kwargs", "version", "recvWindow", "recv_window", "timestamp", "signature"}


def now():
    return int(time.time() * 1000)


#: A sensible value by the parameter's name at the venue; None leaves it out.
VALUES = {
    "symbol": SYMBOL, "symbols": ["BTCUSDT", "ETHUSDT"], "asset": "USDT", "assets": "USDT,BTC", "coin": "USDT", "side": "SELL", "type": "LIMIT",
    "timeInForce": "GTC", "quantity": "0.001", "quoteOrderQty": None, "icebergQty": None, "trailingDelta": None, "amount": "10", "address": "0x1111111111111111",
    "network": "ETH", "addressTag": "123", "name": "my wallet", "orderId": 1, "origClientOrderId": "abc-1", "newClientOrderId": None, "newOrderRespType": "FULL",
    "startTime": lambda: now() - 86_400_000, "endTime": now, "startTimestamp": lambda: now() - 86_400_000, "endTimestamp": now, "beginTime": lambda: now() - 86_400_000,
    "limit": 10, "fromId": 1, "cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrderId": 1, "interval": "1h", "orderListId": 1, "isIsolated": "TRUE",
    "sideEffectType": "NO_SIDE_EFFECT", "current": 1, "size": 10, "page": 1, "rows": 10, "offset": 0, "email": "a@b.co", "fromEmail": "a@b.co", "toEmail": "c@d.co",
    "fromAccountType": "SPOT", "toAccountType": "SPOT", "fromAsset": "USDT", "toAsset": "BTC", "fromAmount": "10", "toAmount": None, "walletType": "SPOT",
    "quoteId": "12415572564", "productId": "BTC001", "accountType": "SPOT", "needBtcValuation": "true", "spotBNBBurn": "true", "interestBNBBurn": "true",
    "transFrom": "SPOT", "transTo": "ISOLATED_MARGIN", "strategyId": 1, "strategyType": 1_000_000, "selfTradePreventionMode": "NONE", "ipAddress": "1.2.3.4",
    "transactionType": "0", "computeCommissionRates": "true", "omitZeroBalances": "true", "windowSize": "1d", "limitClientOrderId": None, "stopClientOrderId": None,
    "limitIcebergQty": None, "stopIcebergQty": None, "listClientOrderId": None, "cancelOrigClientOrderId": None, "includeSource": "true", "status": 1,
}


def value(name, kind=""):
    """A value for a parameter by its name, or else by the words about its type."""
    if name in VALUES:
        known = VALUES[name]
        return known() if callable(known) else known
    kind = str(kind).lower()
    if "time" in name.lower() and ("int" in kind or not kind):
        return now()
    if "decimal" in kind or "float" in kind:
        return 1.5
    if "int" in kind or "long" in kind:
        return 1
    if "bool" in kind:
        return True
    return "1" if name.lower().endswith("id") else "abc"


def shape(thing, depth=0):
    """What an answer looks like, without its figures: an empty list is any list, nothing is anything."""
    if isinstance(thing, dict):
        return {str(k): shape(v, depth + 1) for k, v in thing.items()} if depth < 3 and len(thing) <= 60 else "object"
    if isinstance(thing, (list, tuple)):
        return [shape(thing[0], depth + 1)] if thing else []
    if isinstance(thing, bool) or thing is None:
        return str(type(thing).__name__)
    return "number" if isinstance(thing, (int, float)) else "text"


def camel(name):
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


class Calls:
    """Makes calls and prints what came of each."""

    def __call__(self, name, call):
        begun = time.monotonic()
        line = {"call": name}
        got = None
        try:
            got = call()
            line["shape"] = shape(got)
        except Exception as error:  # whatever a library raises is the result
            line |= {"error": type(error).__name__, "message": str(error)[:400]}
            code = re.search(r"(?:code\"?\s*[=:]\s*|\()(-?\d{1,6})\b", str(error)) or re.search(r"(-\d{4})\b", str(error))
            code = getattr(error, "error_code", None) or (code and int(code[1]))
            line["code"] = code
        line["ms"] = round((time.monotonic() - begun) * 1000)
        print(json.dumps(line), flush=True)
        return got


def ccxt(url, key, secret):
    import ccxt as library

    def make(**options):
        made = library.binance({"apiKey": key, "secret": secret, "enableRateLimit": False, "requests_trust_env": True, "options": {"fetchMarkets": {"types": ["spot"]}, **options}})
        made.urls["api"] = {n: v.replace("https://api.binance.com", url) if isinstance(v, str) else v for n, v in made.urls["api"].items()}
        return made

    b, call, pair = make(warnOnFetchOpenOrdersWithoutSymbol=False), Calls(), "BTC/USDT"
    call("loadMarkets", b.load_markets)
    last = b.fetch_ticker(pair)["last"]

    def price(part):
        return float(b.price_to_precision(pair, last * part))

    since = b.milliseconds() - 3_600_000
    for name, arguments in [
        ("fetch_status", ()), ("fetch_time", ()), ("fetch_currencies", ()), ("fetch_markets", ()), ("fetch_ticker", (pair,)), ("fetch_tickers", ()),
        ("fetch_tickers", ([pair, "ETH/USDT"],)), ("fetch_bids_asks", ()), ("fetch_last_prices", ()), ("fetch_order_book", (pair, 5)), ("fetch_order_book", (pair, 5000)),
        ("fetch_trades", (pair,)), ("fetch_trades", (pair, since, 10)), ("fetch_trades", (pair, None, 10, {"fetchTradesMethod": "publicGetHistoricalTrades"})),
        ("fetch_ohlcv", (pair, "1m")), ("fetch_ohlcv", (pair, "1h", since, 10)), ("fetch_ohlcv", (pair, "1d", None, 5, {"until": b.milliseconds()})),
        ("fetch_balance", ()), ("fetch_balance", ({"type": "funding"},)), ("fetch_balance", ({"marginMode": "isolated"},)),
        ("fetch_trading_fee", (pair,)), ("fetch_trading_fees", ()), ("fetch_transaction_fees", ()), ("fetch_deposit_withdraw_fees", (["USDT"],)),
        ("fetch_deposit_address", ("USDT",)), ("fetch_deposit_address", ("USDT", {"network": "TRC20"})), ("fetch_deposits", ()), ("fetch_deposits", ("USDT", since, 10)),
        ("fetch_deposits", ("EUR", None, 10, {"fiat": True})), ("fetch_withdrawals", ()), ("fetch_withdrawals", ("USDT", since, 10, {"until": b.milliseconds()})),
        ("fetch_transfers", ("USDT", since, 10)), ("fetch_my_dust_trades", ()), ("fetch_convert_currencies", ()), ("fetch_convert_quote", ("USDT", "BTC", 100)),
        ("create_convert_trade", ("1234567890", "USDT", "BTC", 100)), ("fetch_convert_trade_history", (None, since, 10)), ("fetch_cross_borrow_rate", ("USDT",)),
        ("fetch_isolated_borrow_rates", ()), ("fetch_borrow_interest", ("USDT",)), ("transfer", ("USDT", 10, "spot", "future")), ("transfer", ("USDT", 10, "spot", pair)),
        ("withdraw", ("USDT", 10, "0x1111111111111111111111111111111111111111", None, {"network": "ERC20"})),
        ("withdraw", ("XRP", 10, "rEb8TK3gBgk5auZkwc6sHnwrGVJH8DuaLh", "108618262")), ("borrow_cross_margin", ("USDT", 10)), ("repay_isolated_margin", (pair, "USDT", 10)),
        ("create_gift_code", ("USDT", 10)),
    ]:
        words = [" and ".join(a) if isinstance(a, (dict, list)) else a for a in arguments if a and not isinstance(a, int) and not str(a).isdigit()]
        call(" ".join([name, *words]), lambda name=name, a=arguments: getattr(b, name)(*a))

    def order(label, *arguments):
        made = call(f"create_order {label}", lambda: b.create_order(*arguments))
        if made and made.get("id") and made.get("status") in ("open", None) and not arguments[-1] == {"test": True}:
            call(f"cancel_order {label}", lambda: b.cancel_order(made["id"], arguments[0]))

    limit, sell, market = ("limit", "buy", 0.001, price(0.98)), ("limit", "sell", 0.001, price(0.97)), ("market", "sell", 0.001, None)
    order("limit", pair, *limit, {})
    order("text", pair, "LIMIT", "BUY", "0.001", str(price(0.98)), {})
    order("market", pair, "market", "buy", 0.001)
    order("market with price", pair, "market", "buy", 0.001, last)
    order("cost", pair, "market", "buy", 0, None, {"cost": 50})
    order("quoteOrderQty", pair, "market", "sell", 0, None, {"quoteOrderQty": 50})
    for more in [
        {"timeInForce": "GTC"}, {"timeInForce": "IOC"}, {"timeInForce": "FOK"}, {"timeInForce": "PO"}, {"timeInForce": "GTD"}, {"postOnly": True}, {"postOnly": False},
        {"reduceOnly": True}, {"clientOrderId": "mine-1"}, {"clientOrderId": "a b"}, {"newOrderRespType": "ACK"}, {"selfTradePreventionMode": "EXPIRE_MAKER"},
        {"strategyId": 1}, {"icebergQty": 0.0005}, {"sor": True}, {"test": True}, {"recvWindow": 60000}, {"marginMode": "cross"}, {"foo": "bar"},
    ]:
        order(f"limit {more}", pair, *limit, more)
    for kind, more in [
        (sell, {"stopPrice": price(0.98)}), (sell, {"triggerPrice": price(0.98)}), (sell, {"stopLossPrice": price(0.98)}), (market, {"stopLossPrice": price(0.98)}),
        (("limit", "sell", 0.001, price(1.03)), {"takeProfitPrice": price(1.02)}), (market, {"takeProfitPrice": price(1.02)}), (market, {"trailingPercent": 1}),
        (("STOP_LOSS_LIMIT", "sell", 0.001, price(0.97)), {"stopPrice": price(0.98)}), (("TAKE_PROFIT", "sell", 0.001, None), {"stopPrice": price(1.02)}),
        (("STOP_LOSS_LIMIT", "sell", 0.001, price(0.97)), {"trailingDelta": 100}), (("LIMIT_MAKER", "buy", 0.001, price(0.98)), {}), (("stop_limit", "sell", 0.001, price(0.97)), {}),
    ]:
        order(f"{kind[0]} {', '.join(more)}", pair, *kind, more)
    call("create_orders", lambda: b.create_orders([{"symbol": pair, "type": "limit", "side": "buy", "amount": 0.001, "price": price(0.98)}] * 2))
    made = call("create_order to edit", lambda: b.create_order(pair, *limit))
    if made:
        made = call("edit_order", lambda: b.edit_order(made["id"], pair, "limit", "buy", 0.001, price(0.97))) or made
        made = call("edit_order clientOrderId", lambda: b.edit_order(made["id"], pair, "limit", "buy", 0.001, price(0.97), {"clientOrderId": f"e{now()}"})) or made
        call("fetch_order", lambda: b.fetch_order(made["id"], pair))
        call("fetch_order_trades", lambda: b.fetch_order_trades(made["id"], pair))
        call("cancel_order by client id", lambda: b.cancel_order(None, pair, {"clientOrderId": made["clientOrderId"]}))
        call("cancel_order again", lambda: b.cancel_order(made["id"], pair))
    call("fetch_order unknown", lambda: b.fetch_order("99999999", pair))
    for name, arguments in [
        ("fetch_orders", (pair,)), ("fetch_orders", (pair, since, 5)), ("fetch_orders", ()), ("fetch_open_orders", (pair,)), ("fetch_open_orders", ()),
        ("fetch_closed_orders", (pair, None, 5)), ("fetch_canceled_orders", (pair,)), ("fetch_my_trades", (pair,)), ("fetch_my_trades", (pair, since, 5)),
        ("fetch_my_trades", (pair, since, 5, {"until": b.milliseconds()})), ("fetch_my_trades", (pair, None, None, {"fromId": 1})),
        ("cancel_orders", (["1"], pair)), ("cancel_all_orders", ()), ("create_market_buy_order_with_cost", (pair, 50)),
    ]:
        call(f"{name} with {len(arguments)}: {sorted(arguments[-1]) if arguments and isinstance(arguments[-1], dict) else ''}", lambda name=name, a=arguments: getattr(b, name)(*a))
    for label, options in [
        ("adjustForTimeDifference", {"adjustForTimeDifference": True}), ("recvWindow", {"recvWindow": 60000}), ("defaultTimeInForce", {"defaultTimeInForce": "IOC"}),
        ("quoteOrderQty off", {"quoteOrderQty": False}), ("newOrderRespType", {"newOrderRespType": {"limit": "FULL", "market": "ACK"}}),
    ]:
        other = make(**options)
        call(f"option {label}", lambda other=other: (other.load_markets() and None, other.create_order(pair, *limit)["id"], other.create_order(pair, "market", "buy", 0.001)["id"]))
    for o in b.fetch_open_orders(pair):
        try:
            b.cancel_order(o["id"], pair)
        except library.BaseError:
            pass  # another program's


def variants(call, name, function, must, may):
    call(f"{name}", lambda: function(**must))
    if may:
        call(f"{name} with all", lambda: function(**must, **may))


def filled(names):
    found = {n: value(camel(n), k) for n, k in names.items() if n not in NO_PARAMETERS}
    return {n: v for n, v in found.items() if v is not None}


def python_binance(url, key, secret):
    from binance.client import Client

    Client.API_URL, Client.MARGIN_API_URL = f"{url}/api", f"{url}/sapi"
    b, call = Client(key, secret, requests_params={"timeout": 30}), Calls()
    others = re.compile(r"^(_|futures_|options_|papi_|ws_|close_connection|convert_to_dict|encode_uri|get_products|aggregate_trade_iter|get_historical_klines|ping$|.*_us$)")
    for name in sorted(n for n in dir(Client) if not others.match(n) and callable(getattr(Client, n))):
        function = getattr(Client, name)
        text, must, may = function.__doc__ or "", {}, {}
        for about in re.finditer(r":param (\w+):\s*([^\n]*)", text):
            kind = re.search(rf":type {about[1]}:\s*([^\n]*)", text)
            (must if "required" in about[2].lower() else may)[about[1]] = kind[1] if kind else ""
        for p in inspect.signature(function).parameters.values():
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.default is p.empty:
                may.pop(p.name, None)
                must.setdefault(p.name, "")
        variants(call, name, getattr(b, name), filled(must), filled(may))


def connector(url, key, secret):
    from binance.spot import Spot

    b, call = Spot(key, secret, base_url=url, timeout=30), Calls()
    for name, function in inspect.getmembers(b, inspect.ismethod):
        if name.startswith("_") or name in ("limit_request", "query", "send_request", "sign_request", "limited_encoded_sign_request"):
            continue
        must = {p.name: "" for p in inspect.signature(function).parameters.values() if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        words = (function.__doc__ or "").partition("Keyword Args")[2]
        may = {m[1]: m[2] for m in re.finditer(r"^\s+(\w+) \((.*?)\):", words, re.MULTILINE) if m[1] not in must}
        variants(call, name, function, filled(must), filled(may))


def official_sdk(url, key, secret):
    import enum
    import typing

    from binance_sdk_spot.spot import ConfigurationRestAPI, Spot

    b, call = Spot(config_rest_api=ConfigurationRestAPI(api_key=key, api_secret=secret, base_path=url, retries=0, timeout=30_000)).rest_api, Calls()
    for name, function in inspect.getmembers(b, inspect.ismethod):
        if name.startswith("_") or name in ("send_request", "send_signed_request"):
            continue
        hints, must, may = typing.get_type_hints(function), {}, {}
        for p in inspect.signature(function).parameters.values():
            kinds = typing.get_args(hints.get(p.name)) or (hints.get(p.name),)
            words = [k for k in kinds if inspect.isclass(k) and issubclass(k, enum.Enum)]
            given = value(camel(p.name), kinds)
            if p.name in NO_PARAMETERS or given is None or "IcebergQty" in camel(p.name) or "Peg" in camel(p.name) or "ClientOrderId" in camel(p.name):
                continue
            plain = next((k for k in kinds if k in (int, float, bool)), None)
            if words:
                given = next(iter(words[0]))
            elif plain and not isinstance(given, (bool, plain)):
                given = plain(float(given)) if plain is not bool else True
            optional = "Optional" in str(p.annotation) or (type(None) in kinds and p.default is not p.empty and "Union" not in str(p.annotation))
            (may if optional else must)[p.name] = given
        variants(call, name, lambda function=function, **kw: plain_answer(function(**kw).data()), must, may)


def plain_answer(data):
    if isinstance(data, list):
        return [plain_answer(one) for one in data]
    return data.to_dict() if hasattr(data, "to_dict") else data


if __name__ == "__main__":
    {f.__name__: f for f in (ccxt, python_binance, connector, official_sdk)}[sys.argv[1]](*sys.argv[2:])
