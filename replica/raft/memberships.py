"""Memberships along the log: which one holds at which index, and how one is written into an entry.

"A server always uses the latest configuration in its log, regardless of whether the entry is committed" (dissertation
4.1). So the membership in force is the last of those the log has; where entries are cut off, theirs go with them, and
the one before holds again. That is all a rollback of a membership change is.

    index      1      5        9        12          a leader appended 9 (joint) and 12 (new) and died; another
    entry      base   +4       4 for 3  4, not 3    leader's log ends at 8: 9 and 12 are cut off, and what was
                                                    appended at 5 holds again

An entry's bytes are JSON: there are few of them, and whoever looks at a log in trouble can read them.

Leaves out: whether a change makes sense (membership.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from replica.raft.quorum import voters
from replica.raft.types import Index, Membership, NodeId

NO_INDEX: Index = 0
"""Of the membership a log begins with: it is in the configuration, not in an entry."""

_SETS = ("voters", "outgoing", "learners", "incoming", "leaving")


def encode_membership(membership: Membership) -> bytes:
    """The bytes of an entry of kind MEMBERSHIP: the same for the same membership, on every node."""
    value: dict[str, object] = {name: sorted(getattr(membership, name)) for name in _SETS}
    value["directory"] = membership.directory.hex()
    value["priority"] = [list(pair) for pair in membership.priority]
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def decode_membership(data: bytes) -> Membership:
    """A membership out of an entry. Raises ValueError with what is wrong: the log then holds what no leader wrote."""
    try:
        value = json.loads(data)
        if not isinstance(value, dict) or set(value) != {*_SETS, "directory", "priority"}:
            raise ValueError(f"a membership entry with other fields than it has: {data[:200]!r}")
        sets = {name: frozenset(_node(item) for item in value[name]) for name in _SETS}
        priority = tuple((_node(node), _rank(rank)) for node, rank in value["priority"])
        return Membership(**sets, directory=bytes.fromhex(value["directory"]), priority=priority)
    except (TypeError, RecursionError) as problem:
        raise ValueError(f"a membership entry with a field of another kind: {data[:200]!r}") from problem


def _node(value: object) -> NodeId:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{value!r} is no node of the log")
    return value


def _rank(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is no priority")
    return value


class Memberships:
    """The memberships of one log, oldest first; the first one may lie before the log's beginning."""

    __slots__ = ("_known",)

    def __init__(self, base: Membership, entries: Sequence[tuple[Index, bytes]]) -> None:
        self._known: list[tuple[Index, Membership]] = [(NO_INDEX, base)]
        for index, data in entries:
            if index == NO_INDEX:
                self.replace(index, data)
            else:
                self.add(index, decode_membership(data))

    @property
    def latest(self) -> Membership:
        return self._known[-1][1]

    @property
    def latest_index(self) -> Index:
        """Where the latest stands in the log; NO_INDEX for the one of the configuration."""
        return self._known[-1][0]

    def at(self, index: Index) -> tuple[Index, Membership]:
        """The one in force at `index`, with the index it stands at."""
        return next(known for known in reversed(self._known) if known[0] <= index)

    def may_elect(self, node: NodeId, commit_index: Index) -> bool:
        """Whether `node` may call an election: it votes in either half of the latest membership, or did in the one
        before while it does not know the latest to be committed.

        "A server that is not part of its own latest configuration should still start new elections, as it might still
        be needed until the Cnew entry is committed" (4.2.2): its log may be the only one that has the entry, and then
        nobody else can win against it. Its own vote counts only where it is a voter.
        """
        if node in voters(self.latest):
            return True
        return self.latest_index > commit_index and node in voters(self.at(self.latest_index - 1)[1])

    def add(self, index: Index, membership: Membership) -> None:
        """An entry was appended."""
        assert index > self.latest_index, f"membership at {index} after one at {self.latest_index}"
        self._known.append((index, membership))

    def cut(self, index: Index) -> bool:
        """The log lost its entries from `index` on; whether another membership holds now."""
        before = len(self._known)
        while self._known[-1][0] >= index and len(self._known) > 1:
            self._known.pop()
        return len(self._known) < before

    def forget_before(self, index: Index) -> None:
        """Up to `index` all is committed: what held before the one in force there can never hold again."""
        while len(self._known) > 1 and self._known[1][0] <= index:
            del self._known[0]

    def replace(self, index: Index, data: bytes) -> None:
        """A snapshot took the place of the log: this membership holds, whatever was known before."""
        base = self._known[0][1]
        self._known = [(index, decode_membership(data))] if data else [(NO_INDEX, base)]
