"""What one copy of the data would answer. A model is asked about the operations of one key.

A model makes a `Machine` out of a key's operations. The machine has seen them all beforehand, so it may refuse early
what a later read contradicts anyway; what it must not do is refuse an order that a plain copy would allow.

* `register`: write(v) → anything, read() → v, cas((old, new)) → True or False. Begins as None.
* `notes`: the notes of a case, append only. append(x) → anything, read() → all of them, in order.
* `bag`: the same where the order of what is shown is not the order of writing. add(x) → anything, read() → all of it.
* `counter`: add(n) → anything, read() → the sum. Begins at 0.

A model of one's own needs the two methods of `Machine` and the sets below, and an entry in `MODELS`.

Leaves out: operations on several keys at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from chaos.history.operations import Operation


class BadHistory(Exception):
    """A history that cannot be checked: the text says which operation or line, and why."""


class Refused:
    """The answer of a machine to an operation that is not possible in this state."""


REFUSED = Refused()


class Machine(Protocol):
    """One copy of one key. States are values; nothing is remembered between two calls."""

    initial: Hashable

    def step(self, state: Hashable, operation: Operation) -> Hashable | Refused:
        """The state after the operation, REFUSED where it could not have been answered so. Of an operation whose
        outcome is unknown no answer is asked: it is never refused for it."""

    def only_looks(self, operation: Operation) -> bool:
        """Whether it has an answer and changes nothing, in any state that allows that answer. The search takes such an
        operation as soon as it may, and never comes back to that decision."""

    def may_matter(self, operation: Operation) -> bool:
        """Whether an operation of unknown outcome could explain anything. One that cannot is left out: it is as good
        as never done."""


Model = Callable[[Sequence[Operation]], Machine]


class Register:
    """One value: written, read, and compared-and-set."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.initial: Hashable = None
        known = [one for one in operations if one.is_known]
        self._seen = {one.result for one in known if one.what == "read"}
        hits = [one for one in operations if one.what == "cas" and (not one.is_known or _hit(one))]
        self._seen |= {_pair(one)[0] for one in hits}
        self._refused_cas = any(one.what == "cas" and not _hit(one) for one in known)

    def step(self, state: Hashable, operation: Operation) -> Hashable | Refused:
        match operation.what:
            case "write":
                return operation.value
            case "read":
                return state if operation.result == state or not operation.is_known else REFUSED
            case "cas":
                return self._cas(state, operation)
            case _:
                raise _no_such(operation, "write, read or cas")

    def _cas(self, state: Hashable, operation: Operation) -> Hashable | Refused:
        old, new = _pair(operation)
        if operation.is_known and _hit(operation) is not (state == old):
            return REFUSED
        return new if state == old else state

    def only_looks(self, operation: Operation) -> bool:
        return operation.is_known and (operation.what == "read" or (operation.what == "cas" and not _hit(operation)))

    def may_matter(self, operation: Operation) -> bool:
        """A value that nobody saw explains nothing, unless a comparison failed because of it."""
        match operation.what:
            case "read":
                return False
            case "write":
                return self._refused_cas or operation.value in self._seen
            case "cas":
                return self._refused_cas or _pair(operation)[1] in self._seen
            case _:
                raise _no_such(operation, "write, read or cas")


class Notes:
    """A list that only grows, as the notes of a case do.

    All that can ever be right is a prefix of the longest list anybody read, so a state is a place in that list: worked
    example, longest read (a, b, c): after a and b the state is 2, and the only append that may come next is c. Beyond
    its end nobody looked, so what is appended there, in which order ever, is one state, `BEYOND`.
    """

    BEYOND = -1

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.initial: Hashable = 0
        reads = [_items(one) for one in operations if one.is_known and one.what == "read"]
        self._longest = max(reads, key=len, default=())
        self._may_matter = set(self._longest)

    def step(self, state: Hashable, operation: Operation) -> Hashable | Refused:
        assert isinstance(state, int), f"a state of notes is a place, not {state!r}"
        match operation.what:
            case "append":
                return self._append(state, operation.value)
            case "read" if not operation.is_known:
                return state
            case "read":
                found = _items(operation)
                return state if len(found) == state and found == self._longest[: len(found)] else REFUSED
            case _:
                raise _no_such(operation, "append or read")

    def _append(self, place: int, value: Hashable) -> int | Refused:
        if place in (self.BEYOND, len(self._longest)):
            return self.BEYOND
        return place + 1 if self._longest[place] == value else REFUSED

    def only_looks(self, operation: Operation) -> bool:
        return operation.is_known and operation.what == "read"

    def may_matter(self, operation: Operation) -> bool:
        """An append that no read shows came after all of them, or never."""
        if operation.what not in ("append", "read"):
            raise _no_such(operation, "append or read")
        return operation.what == "append" and operation.value in self._may_matter


class Bag:
    """A set that only grows.

    Of two reads one must have seen all that the other saw: else no order explains both. So the reads form a chain, and
    what may come next is what misses for the next read of the chain. What no read ever showed came after all of them.
    Worked example, reads {a} and {a, b, c}: after a, c and b may come in either order, and nothing else.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.initial: Hashable = frozenset()
        reads = {frozenset(_items(one)) for one in operations if one.is_known and one.what == "read"}
        self._chain = sorted(reads, key=len)
        self._may_matter = frozenset[Hashable]().union(*self._chain)
        self._beyond = frozenset([*self._may_matter, *(one.value for one in operations if one.what == "add"), self])
        """Past what anybody saw: one state, whatever is in it, and no read is like it."""

    def step(self, state: Hashable, operation: Operation) -> Hashable | Refused:
        assert isinstance(state, frozenset), f"a state of a bag is a set, not {state!r}"
        match operation.what:
            case "add":
                return self._add(state, operation.value)
            case "read" if not operation.is_known:
                return state
            case "read":
                found = _items(operation)
                return state if len(found) == len(state) and frozenset(found) == state else REFUSED
            case _:
                raise _no_such(operation, "add or read")

    def _add(self, state: frozenset[Hashable], value: Hashable) -> frozenset[Hashable] | Refused:
        if value in state:
            return state
        following = next((read for read in self._chain if len(read) > len(state)), None)
        if following is None:
            return self._beyond
        return state | {value} if value in following else REFUSED

    def only_looks(self, operation: Operation) -> bool:
        return operation.is_known and operation.what == "read"

    def may_matter(self, operation: Operation) -> bool:
        """What no read shows was added after all of them, or never."""
        if operation.what not in ("add", "read"):
            raise _no_such(operation, "add or read")
        return operation.what == "add" and operation.value in self._may_matter


class Counter:
    """A sum."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.initial: Hashable = 0

    def step(self, state: Hashable, operation: Operation) -> Hashable | Refused:
        assert isinstance(state, int), f"a state of a counter is a number, not {state!r}"
        match operation.what:
            case "add":
                return state + _number(operation)
            case "read":
                return state if operation.result == state or not operation.is_known else REFUSED
            case _:
                raise _no_such(operation, "add or read")

    def only_looks(self, operation: Operation) -> bool:
        return operation.is_known and operation.what == "read"

    def may_matter(self, operation: Operation) -> bool:
        if operation.what not in ("add", "read"):
            raise _no_such(operation, "add or read")
        return operation.what == "add" and _number(operation) != 0


MODELS: dict[str, Model] = {"register": Register, "notes": Notes, "bag": Bag, "counter": Counter}


def _pair(operation: Operation) -> tuple[Hashable, Hashable]:
    if not isinstance(operation.value, tuple) or len(operation.value) != 2:
        raise BadHistory(f"a cas has the value [old, new], not {operation.value!r}: {operation}")
    return operation.value


def _hit(operation: Operation) -> bool:
    if not isinstance(operation.result, bool):
        raise BadHistory(f"a cas answers with true or false, not {operation.result!r}: {operation}")
    return operation.result


def _items(operation: Operation) -> tuple[Hashable, ...]:
    if not isinstance(operation.result, tuple):
        raise BadHistory(f"a read of notes answers with a list, not {operation.result!r}: {operation}")
    return operation.result


def _number(operation: Operation) -> int:
    if not isinstance(operation.value, int):
        raise BadHistory(f"a counter adds a whole number, not {operation.value!r}: {operation}")
    return operation.value


def _no_such(operation: Operation, known: str) -> BadHistory:
    return BadHistory(f"this model knows {known}, not {operation.what!r}: {operation}")
