"""What the world writes down beside everything that happens, from what it saw itself: who issued what, knowing what,
and which disk holds it. The checks compare the nodes' own words with these papers and never ask the nodes for them.

An act goes by its *name*, a word of its own in the operation's `author`: an operation that is drained under another id
(rule 8) keeps it, and two ids of one name are one act.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replica.cases.commands import Payload
from replica.cases.operations import Operation

ACT = "act-"
"""How the names of people's acts begin."""


@dataclass(frozen=True, slots=True, eq=False)
class Life:
    """One opening of one disk. `known`: the names of all that was ever journalled on it before."""

    host: str
    known: frozenset[str]


@dataclass(slots=True, eq=False)
class Issued:
    """An act as its author meant it."""

    name: str
    site: str
    life: Life
    at: int
    """The how-manyth of its life."""
    seen: int
    """The agreed index its author had before the eyes."""
    payload: Payload
    case: str
    text: str = ""
    """Of a note, and nowhere else; two acts with one caller's key have one text."""
    again: bool = False
    """Handed in before under the same key: it may be the first one's that takes effect."""
    turned_away: bool = False
    """Told to be surely not done."""
    receipted: bool = False

    def knew(self, other: Issued, index: int) -> bool:
        """Whether its author truly knew of `other`, agreed at `index`."""
        if index <= self.seen or other.name in self.life.known:
            return True
        return other.life is self.life and other.at < self.at


@dataclass(slots=True)
class Drawer:
    """What one disk is known to hold. It goes with the disk: copied with a backup, gone with an emptied one."""

    names: set[str] = field(default_factory=set)
    """Of all that was ever journalled here."""
    held: dict[tuple[bytes, int], str] = field(default_factory=dict)
    """(incarnation, number) → name, of the records that are not trimmed; openings are nobody's act."""
    tops: dict[bytes, int] = field(default_factory=dict)
    """Incarnation → its highest number here, openings among them."""
    opens: set[str] = field(default_factory=set)
    """Cases that were opened from here: their opening is kept beside what was written to them."""
    promised: dict[str, set[str]] = field(default_factory=dict)
    """Case → the texts of notes that somebody has a receipt for from here."""
    levels: dict[tuple[str, str], Issued] = field(default_factory=dict)
    """(case, field) → the last priority or care level that somebody has a receipt for from here."""

    def copy(self) -> Drawer:
        promised = {case: set(texts) for case, texts in self.promised.items()}
        return Drawer(set(self.names), dict(self.held), dict(self.tops), set(self.opens), promised, dict(self.levels))


def name_of(operation: Operation) -> str:
    """An act's own name; of an operation that no person made, what a drain leaves as it is."""
    if operation.author.startswith(ACT):
        return operation.author
    return f"{operation.id.site} {operation.author} {operation.clock.wall_ms}.{operation.clock.counter}"
