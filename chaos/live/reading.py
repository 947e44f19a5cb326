"""What callers of real processes wrote and read, as a history that one copy of the cases must be able to explain.

Writes are notes; a linearizable read shows which notes a case has (chaos/history, the model `bag`). A note that was
only journalled may take effect at any time later; one that was agreed has taken it.

Leaves out: local and session reads, which claim less.
"""

from __future__ import annotations

import time
from typing import Any, Final

from chaos.history.check import check
from chaos.history.models import Bag
from chaos.history.operations import Operation
from replica.demo.caller import Caller
from replica.demo.ledger import Held

READ_BUDGET_MS: Final = 1000


class History:
    """What callers asked and were answered, while it happens."""

    def __init__(self) -> None:
        self._operations: list[Operation] = []
        self._checked: list[str] | None = None
        self.reads = 0
        self.refused = 0

    async def ask(self, node: Caller, who: str, case: str) -> None:
        """A linearizable read of a case at a node, into the history."""
        began = time.monotonic_ns()
        found = await node.read(
            lambda client: client.show_case(case, consistency="linearizable", budget_ms=READ_BUDGET_MS)
        )
        self._read(who, case, began, found)

    def wrote(self, who: str, case: str, note: str, began: int, held: Held) -> None:
        """A note was handed in. Journalled, it takes effect later; agreed, it has."""
        if not held.receipts:
            return  # refused: surely not done
        ended = time.monotonic_ns() if held.agreed else None
        self._operations.append(Operation(who, case, "add", note, began, ended))

    def _read(self, who: str, case: str, began: int, found: dict[str, Any] | None) -> None:
        """A read was answered, or refused: then it was surely not done."""
        if found is None:
            self.refused += 1
            return
        self.reads += 1
        notes = tuple(sorted(one["key"] for one in found["case"].get("elements", ()) if one["field"] == "medical_note"))
        self._operations.append(Operation(who, case, "read", None, began, time.monotonic_ns(), notes))

    def problems(self) -> list[str]:
        """Why no one copy could have given these answers; empty where one could."""
        if self._checked is None:
            checked = check(self._operations, Bag)
            self._checked = [f"not linearizable: {failure.culprit}" for failure in checked.failures]
            self._checked += [f"linearizability of {key} is undecided" for key in checked.undecided]
        return self._checked
