"""NautilusTrader's own example that watches a market, on Binance's USD-M futures. Only its configuration says where the venue is.

usage: nautilus_program.py HTTP-URL WEBSOCKET-URL KEY SECRET SECONDS. Prints its own log; ends after so many seconds, as on Ctrl-C.
"""

import asyncio
import sys

from nautilus_trader.adapters.binance import BINANCE, BinanceAccountType, BinanceDataClientConfig, BinanceLiveDataClientFactory
from nautilus_trader.config import InstrumentProviderConfig, LoggingConfig, TradingNodeConfig
from nautilus_trader.examples.strategies.subscribe import SubscribeStrategy, SubscribeStrategyConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import BookType
from nautilus_trader.model.identifiers import InstrumentId, TraderId

INSTRUMENT = InstrumentId.from_str("BTCUSDT-PERP.BINANCE")


def node(http, websocket, key, secret):
    venue = BinanceDataClientConfig(
        api_key=key, api_secret=secret, account_type=BinanceAccountType.USDT_FUTURES, base_url_http=http, base_url_ws=websocket,
        instrument_provider=InstrumentProviderConfig(load_ids=frozenset({INSTRUMENT})),
    )
    made = TradingNode(
        config=TradingNodeConfig(
            trader_id=TraderId("WATCH-001"), logging=LoggingConfig(log_level="INFO", log_colors=False), data_clients={BINANCE: venue},
            timeout_connection=30.0, timeout_disconnection=10.0, timeout_post_stop=2.0,
        )
    )
    watched = SubscribeStrategyConfig(instrument_id=INSTRUMENT, book_type=BookType.L2_MBP, trade_ticks=True, quote_ticks=True)
    made.trader.add_strategy(SubscribeStrategy(watched))
    made.add_data_client_factory(BINANCE, BinanceLiveDataClientFactory)
    made.build()
    return made


def main():
    *where, seconds = sys.argv[1:]
    made = node(*where)

    async def run():
        running = asyncio.ensure_future(made.run_async())
        await asyncio.wait({running}, timeout=float(seconds))
        await made.stop_async()
        await running

    try:
        made.get_event_loop().run_until_complete(run())
    finally:
        made.dispose()


if __name__ == "__main__":
    main()
