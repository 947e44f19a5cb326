"""What the commands have in common that ask a running node: where it is, and how the answer is wanted."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import trio
from cyclopts import Parameter

from replica.errors import ConfigError
from replica.runtime.client import Client, open_client

DEFAULT_AT = "127.0.0.1:7101"
At = Annotated[str, Parameter(name="--at", env_var="REPLICA_AT", help="host:port of a running zone or site")]
Json = Annotated[
    Path | None,
    Parameter(name="--json", allow_leading_hyphen=True, help="write the whole answer there as JSON (- for stdout)"),
]
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def ask(at: str, question: Callable[[Client], Coroutine[Any, Any, Any]]) -> Any:
    """Ask the node at `at`. Raises whatever it answers with (replica/errors.py)."""

    async def asking() -> Any:
        async with open_client(at) as client:
            return await question(client)

    return trio.run(asking)


def seconds(text: str, where: str) -> int:
    """`90s`, `10m`, `4h`, `2d` as seconds. Raises ConfigError, naming `where`."""
    number, unit = text[:-1], text[-1:]
    if not number.isdigit() or unit not in UNITS_S or not int(number):
        raise ConfigError(where, f"{text!r} is no time: 90s, 10m, 4h or 2d")
    return int(number) * UNITS_S[unit]


def moment_ms(text: str, where: str) -> int:
    """A moment as ms since 1970: `2026-11-27T03:00:00+01:00`, or `2h` for two hours ago; 0 for nothing. Raises
    ConfigError."""
    if not text:
        return 0
    if text[-1:] in UNITS_S and text[:-1].isdigit():
        return int((datetime.now(UTC) - timedelta(seconds=seconds(text, where))).timestamp() * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as problem:
        raise ConfigError(
            where, f"{text!r} is neither a moment (2026-11-27T03:00:00+01:00) nor a time (2h)"
        ) from problem
    if moment.tzinfo is None:
        raise ConfigError(where, f"{text!r} does not say its offset: 2026-11-27T03:00:00+01:00")
    return int(moment.timestamp() * 1000)
