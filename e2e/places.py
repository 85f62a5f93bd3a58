"""Where else a site trades: Binance's USD-M futures, Bybit, OKX; each with CCXT as its users make it."""

import ccxt

#: Hosts of Binance beside spot, and exchanges beside it: for `gate.Gate`.
HOSTS = ("fapi.binance.com",)
OTHERS = ("bybit", "okx")
#: Strategies, each with the account that its key is for; what ends in `-taker` sits on a thief's host.
STRATEGIES = tuple((name + end, account) for name, account in (("futures", "main"), ("bybit", "bybit"), ("okx", "okx")) for end in ("", "-taker"))
#: Their part of the mandates.
MANDATES = """
[firm.markets."usd_futures:BTCUSDT"]
floor = "10000"
ceiling = "500000"

[firm.markets."okx/BTC-USDT"]
floor = "10000"
ceiling = "500000"

[firm.markets."okx/usd_futures:BTC-USDT-SWAP"]
floor = "10000"
ceiling = "500000"
""" + "".join(
    f"""
[strategy.{name}]
order_value = "500"
price_tolerance = "5%"
position = "5000"
"""
    for name, _ in STRATEGIES
    if name.endswith("-taker")
)


def futures(url, settings):
    made = ccxt.binanceusdm({**settings, "options": {"fetchMarkets": {"types": ["linear"]}, "fetchCurrencies": False}})
    made.urls["api"] = {
        name: value.replace("https://fapi.binance.com", url).replace("https://api.binance.com", url) if isinstance(value, str) else value
        for name, value in made.urls["api"].items()
    }
    return made


def bybit(url, settings):
    made = ccxt.bybit({**settings, "options": {"fetchMarkets": {"types": ["spot", "linear"]}, "defaultType": "spot"}})
    made.urls["api"] = dict.fromkeys(made.urls["api"], url)
    made.has["fetchCurrencies"] = False
    return made


def okx(url, settings):
    made = ccxt.okx({**settings, "password": "portcullis", "options": {"fetchMarkets": {"types": ["spot", "swap"]}}})
    made.urls["api"] = {"rest": url}
    made.has["fetchCurrencies"] = False
    return made


#: Strategy, what people call the place, host, how its program is made, market, another market, whose record.
PLACES = (
    ("futures", "Binance USD-M futures", "fapi.binance.com", futures, "BTC/USDT:USDT", "ETH/USDT:USDT", None),
    ("bybit", "Bybit", "api.bybit.com", bybit, "BTC/USDT", "ETH/USDT", "bybit"),
    ("okx", "OKX", "www.okx.com", okx, "BTC/USDT", "ETH/USDT", "okx"),
    ("bybit", "Bybit, linear", "api.bybit.com", bybit, "BTC/USDT:USDT", "ETH/USDT:USDT", "bybit"),
    ("okx", "OKX, swaps", "www.okx.com", okx, "BTC/USDT:USDT", "ETH/USDT:USDT", "okx"),
)
#: Of the market's unit, where 0.005 is not right: contracts of a hundredth of a bitcoin at OKX.
AMOUNTS = {"OKX, swaps": 5}
