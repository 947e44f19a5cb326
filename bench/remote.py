"""Thin clients of one node in a process of their own: `python -m bench.remote ADDRESS …`, started by the bench.

As a hub process that speaks to a zone over TCP: one connection per caller up to MOST_CONNECTIONS, which callers beyond
share. Writes what it measured as JSON on standard output, and nothing else there.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import AsyncExitStack
from typing import Final

import msgspec
import trio

from bench.callers import CLIENT, Window, drive, word_of
from bench.work import case_id, command
from replica.admin.serve import seldom_pause
from replica.runtime.client import open_client

MOST_CONNECTIONS: Final = 100
BUDGET_MS: Final = 5000
AUTHOR: Final = "bench"


class Orders(msgspec.Struct, frozen=True):
    """What the process is to do, as one argument of JSON. `first`: the number of the first operation, since no two of
    a case may have the same. `pids`: the processes whose CPU is measured in the same window."""

    address: str
    callers: int
    seconds: float
    samu: str
    cases: int
    text_bytes: int
    first: int
    pids: dict[str, int]


async def measured(orders: Orders) -> Window:
    """What these callers get, from a process of their own. Raises subprocess.CalledProcessError where it fails."""
    arguments = (sys.executable, "-m", "bench.remote", msgspec.json.encode(orders).decode())
    ended = await trio.run_process(arguments, capture_stdout=True)
    return msgspec.json.decode(ended.stdout, type=Window)


async def run(orders: Orders) -> Window:
    """The callers themselves, in this process."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(open_client(orders.address))
            for _ in range(min(orders.callers, MOST_CONNECTIONS))
        ]
        seldom_pause()

        async def act(number: int) -> str:
            # The number's own half is its case's turn, so that each case gets both kinds of operation.
            case = case_id(orders.samu, number // 2 % orders.cases)
            client = clients[number % len(clients)]
            return word_of(await client.submit(command(case, number, orders.text_bytes), BUDGET_MS, author=AUTHOR))

        pids = {**orders.pids, CLIENT: os.getpid()}
        return await drive(orders.callers, act, orders.seconds, pids, first=orders.first)


def main() -> int:
    """One window, by the orders of the only argument."""
    parser = argparse.ArgumentParser(prog="python -m bench.remote", description=__doc__)
    parser.add_argument("orders", help="JSON; see Orders")
    orders = msgspec.json.decode(parser.parse_args().orders, type=Orders)
    sys.stdout.buffer.write(msgspec.json.encode(trio.run(run, orders)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
