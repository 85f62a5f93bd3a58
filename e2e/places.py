"""Where a site trades: Binance spot and, beside it, USD-M futures, Bybit, OKX, KuCoin; each with CCXT as its users make it."""

import ccxt

#: Hosts of Binance beside spot, and exchanges beside it: for `gate.Gate`.
HOSTS = ("fapi.binance.com",)
OTHERS = ("bybit", "okx", "kucoin")
#: Strategies, each with the account that its key is for; what ends in `-taker` sits on a thief's host.
STRATEGIES = tuple((name + end, account) for name, account in (("spot", "main"), ("futures", "main"), ("bybit", "bybit"), ("okx", "okx"), ("kucoin", "kucoin")) for end in ("", "-taker"))
#: Their part of the mandates.
MANDATES = """
[firm.markets."usd_futures:BTCUSDT"]
floor = "10000"
ceiling = "500000"

[firm.markets."okx/BTC-USDT"]
floor = "10000"
ceiling = "500000"

[firm.markets."kucoin/BTC-USDT"]
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


class Exchange:
    """One of CCXT's exchanges as its users make it; only URLs and key differ, by configuration alone, which is the same in each language."""

    def __init__(self, name, official, **settings):
        self.name, self.official, self.more = name, official, settings

    def settings(self, url, key, secret):
        urls = {n: self.moved(v, url) for n, v in getattr(ccxt, self.name)().urls["api"].items() if isinstance(v, str)}
        return {"apiKey": key, "secret": secret, "urls": {"api": urls}, **self.more}

    def moved(self, text, url):
        for official in self.official:
            text = text.replace(official, url)
        return text

    def __call__(self, url, key, secret):
        return getattr(ccxt, self.name)(self.settings(url, key, secret))


SPOT_EXCHANGE = Exchange("binance", ("https://api.binance.com",), options={"fetchMarkets": {"types": ["spot"]}})
FUTURES_EXCHANGE = Exchange(
    "binanceusdm", ("https://fapi.binance.com", "https://api.binance.com"), options={"fetchMarkets": {"types": ["linear"]}, "fetchCurrencies": False}
)
BYBIT_EXCHANGE = Exchange(
    "bybit", ("https://api.{hostname}",), options={"fetchMarkets": {"types": ["spot", "linear"]}, "defaultType": "spot"}, has={"fetchCurrencies": False}
)
OKX_EXCHANGE = Exchange(
    "okx", ("https://{hostname}",), password="portcullis", options={"fetchMarkets": {"types": ["spot", "swap"]}}, has={"fetchCurrencies": False}
)
KUCOIN_EXCHANGE = Exchange(
    "kucoin", ("https://api.kucoin.com",), password="portcullis", options={"fetchMarkets": {"types": ["spot"]}}, has={"fetchCurrencies": False}
)

#: Strategy, what people call the place, host, how its program is made, market, another market, whose record.
SPOT = ("spot", "Binance", "api.binance.com", SPOT_EXCHANGE, "BTC/USDT", "BNB/USDT", None)
PLACES = (
    ("futures", "Binance USD-M futures", "fapi.binance.com", FUTURES_EXCHANGE, "BTC/USDT:USDT", "ETH/USDT:USDT", None),
    ("bybit", "Bybit", "api.bybit.com", BYBIT_EXCHANGE, "BTC/USDT", "ETH/USDT", "bybit"),
    ("okx", "OKX", "www.okx.com", OKX_EXCHANGE, "BTC/USDT", "ETH/USDT", "okx"),
    ("bybit", "Bybit, linear", "api.bybit.com", BYBIT_EXCHANGE, "BTC/USDT:USDT", "ETH/USDT:USDT", "bybit"),
    ("okx", "OKX, swaps", "www.okx.com", OKX_EXCHANGE, "BTC/USDT:USDT", "ETH/USDT:USDT", "okx"),
    ("kucoin", "KuCoin", "api.kucoin.com", KUCOIN_EXCHANGE, "BTC/USDT", "ETH/USDT", "kucoin"),
)
#: Of the market's unit, where 0.005 is not right: contracts of a hundredth of a bitcoin at OKX.
AMOUNTS = {"OKX, swaps": 5}
