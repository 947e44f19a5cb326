"""A node as a process of its own: it says when it is ready, and leaves cleanly when told to."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from replica.api import Node


async def serve(name: str, open_node: Callable[[], AbstractAsyncContextManager[Node]]) -> None:
    """Serve until SIGTERM or SIGINT; a second SIGINT ends the process at once.

    Prints one line of JSON on standard output once the node serves: {"ready": name, "listen": "host:port"}.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            served = trio.CancelScope()

            async def listen_for_signals() -> None:
                heard = 0
                async for number in signals:
                    heard += number == signal.SIGINT
                    if heard > 1:
                        os._exit(130)
                    served.cancel()

            nursery.start_soon(listen_for_signals)
            with served:
                async with open_node() as node:
                    print(json.dumps({"ready": name, "listen": node.address}), flush=True)
                    await trio.sleep_forever()
            nursery.cancel_scope.cancel()
