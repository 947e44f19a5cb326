"""What the callers hold: every receipt they were given, and how long they had to wait. Nothing else is believed.

`lost` and `duplicated` are found by laying this beside the stores (audit.py), so the ledger is kept on the callers'
side alone, from what came over their own connections.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replica.errors import InvalidMessage
from replica.wire.client import Receipt


@dataclass(slots=True)
class Held:
    """One thing somebody handed in, until an answer came, and the answer.

    `key` is the caller's idempotency key, the same at every try. `text`: words that only this operation wrote, to be
    found again in the stores; empty where there are none.
    """

    key: str
    site: str
    what: str
    text: str = ""
    receipts: tuple[Receipt, ...] = ()
    tries: int = 0
    waited_ms: float = 0.0
    """The longest single wait for an answer, whatever it was: a receipt, a refusal, or a broken line."""
    asked_at: float = 0.0
    """`trio.current_time()` of the first try."""
    answered_at: float = 0.0
    invalid: InvalidMessage | None = None
    not_permitted: str = ""

    @property
    def agreed(self) -> bool:
        """Whether its first answer was that the quorum has it."""
        return bool(self.receipts) and all(receipt.state == "agreed" for receipt in self.receipts)


@dataclass(slots=True)
class Ledger:
    """Everything handed in during one run, in order."""

    held: list[Held] = field(default_factory=list)

    def open(self, held: Held) -> Held:
        self.held.append(held)
        return held

    def receipts(self) -> list[tuple[Held, Receipt]]:
        """Every receipt with what it is for. One operation each, unless something was counted twice."""
        return [(held, receipt) for held in self.held for receipt in held.receipts]

    def operations(self) -> set[str]:
        return {receipt.operation for _, receipt in self.receipts()}

    def count(self, state: str) -> int:
        """How many receipts said so."""
        return sum(receipt.state == state for _, receipt in self.receipts())

    def longest_wait_ms(self) -> float:
        return max((held.waited_ms for held in self.held), default=0.0)
