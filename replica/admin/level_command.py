"""`replica raise-level`: the rules of a newer release, for the whole cluster and for good."""

from __future__ import annotations

import getpass
from typing import Any

from replica.admin import show
from replica.admin.reach import DEFAULT_AT, At, Json, ask
from replica.cases.commands import RaiseLevel
from replica.cases.levels import HIGHEST_LEVEL
from replica.errors import NotPermitted
from replica.runtime.client import Client

BUDGET_MS = 5000


def raise_level(to: int = HIGHEST_LEVEL, *, at: At = DEFAULT_AT, json: Json = None) -> None:
    """Raise the cluster's feature level, step by step, once every zone speaks it: at any zone (--at). There is no way
    back, and no zone of an older release joins afterwards.

    Parameters
    ----------
    to:
        The level; by default the highest that this release has.
    """

    async def climb(client: Client) -> list[Any]:
        receipts = []
        for level in range(int((await client.status())["feature_level"]) + 1, to + 1):
            receipts.append(await client.submit(RaiseLevel(level), BUDGET_MS, author=getpass.getuser()))
            verdict = receipts[-1].verdict
            if verdict is not None and verdict.kind.value == "refused":
                raise NotPermitted(verdict.reason)
        return receipts

    receipts = ask(at, climb)
    show.write(json, show.receipts(receipts), show.receipt_values(receipts))
