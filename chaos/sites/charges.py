"""Who is in charge, told a second time: from the agreed take-overs and hand-backs alone, plainly, one after the other.

Rule 13 of docs/offline.md, as a person would tell it. All of a Samu's work goes to whoever takes it over, but for cases
the Samu has opened since; chosen cases go alone; who hands all back hands back what is its own to hand.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

FIRST_EPOCH = 1


@dataclass(frozen=True, slots=True)
class Turn:
    """One agreed take-over (`holder` is another site), hand-back (`by` gives it back to the Samu) or end of a take-over
    (`by` had it). `cases`: None for all of the work. `until_ms`: when it ends by itself; 0: not."""

    index: int
    name: str
    by: str
    holder: str
    cases: tuple[str, ...] | None = None
    until_ms: int = 0


@dataclass(slots=True)
class Opened:
    """A case or resource: whose it is, who named it first, and where. `owned_since`: its owner's last change."""

    owner: str
    opened_by: str
    opened_index: int
    owned_since: int = 0


@dataclass(slots=True)
class Samu:
    turns: list[Turn] = field(default_factory=list)
    holders: list[tuple[int, str]] = field(default_factory=list)
    """(index, who holds the whole from there on)."""
    muddled: bool = False
    """Two turns were agreed in one entry: which came first the state does not tell."""


class Charges:
    """`turn` for each one agreed, in the order of the log."""

    def __init__(self) -> None:
        self._of: dict[str, Samu] = {}

    def turn(self, samu: str, turn: Turn, *, told_apart: bool = True) -> None:
        """`told_apart`: the state tells it from another one in the same entry."""
        known = self._of.setdefault(samu, Samu())
        known.muddled = known.muddled or (not told_apart and any(one.index == turn.index for one in known.turns))
        known.turns.append(turn)
        whole = turn.holder if turn.cases is None else self.holder(samu)
        known.holders.append((turn.index, whole))

    def epoch(self, samu: str, index: int | None = None) -> int:
        """Raised by each turn. `index`: as of that entry."""
        known = self._of.get(samu)
        if known is None:
            return FIRST_EPOCH
        count = len(known.holders)
        if index is not None:
            count = bisect_right(known.holders, index, key=lambda one: one[0])
        return FIRST_EPOCH + count

    def holder(self, samu: str, index: int | None = None) -> str:
        """Of the Samu's work as a whole."""
        known = self._of.get(samu)
        turned = self.epoch(samu, index) - FIRST_EPOCH
        return samu if known is None or not turned else known.holders[turned - 1][1]

    def is_muddled(self, samu: str, *indexes: int) -> bool:
        """Whether the entries alone do not tell whose a case of this Samu is that was opened, or given to it, there."""
        known = self._of.get(samu)
        return known is not None and (known.muddled or any(one.index in indexes for one in known.turns))

    def raised(self, samu: str, epoch: int) -> Turn | None:
        """The turn that began this epoch."""
        known = self._of.get(samu)
        number = epoch - FIRST_EPOCH - 1
        return known.turns[number] if known is not None and 0 <= number < len(known.turns) else None

    def of(self, subject: str, opened: Opened) -> tuple[str, Turn | None]:
        """Who is in charge of one case or resource now, and by which turn; None: it was always the Samu's own."""
        samu, by = opened.owner, None
        holder = samu
        known = self._of.get(samu)
        for turn in known.turns if known is not None else ():
            if turn.cases is not None:
                concerned = subject in turn.cases and turn.index > opened.owned_since
            elif turn.holder == samu:
                concerned = holder == turn.by
            else:
                concerned = not (opened.opened_by == samu and opened.opened_index > turn.index)
            if concerned:
                holder, by = turn.holder, turn
        return holder, by
