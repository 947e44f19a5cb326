"""A state with damaged records, read all the same: what can be read is read, what cannot is named.

Everywhere else a damaged record raises to whoever asks (docs/offline.md, "A damaged record"). On paper the rest of the
case is worth more than a refusal. So a damaged record counts as absent here and its key is noted, and whoever prints
says so. Only a *head* has a stand-in, made of the subject's own parts: without one the whole case would be missing.

A scan that has met damage cannot be gone on with: it is begun anew behind the damaged key, prefix by prefix. That is
some thousands of empty look-ups, which is a tenth of a second for each damaged record, and none while all is sound.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

import msgspec

from replica.cases import keys
from replica.cases.fields import FIELDS
from replica.cases.operations import OperationId
from replica.cases.records import Overlay, Records
from replica.cases.state import GROUP, SLOT, Head, Mark
from replica.errors import StoreDamaged

OnDamage = Callable[[bytes | None, StoreDamaged], None]
"""Told the key, or None where it is not a record but the structure of the file that is damaged."""

_PREFIX = "state record "
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_NOBODY = Mark(OperationId("", bytes(16), 0), 0)


def tolerant(records: Records, on_damage: OnDamage) -> Records:
    """`records`, leaving out what is damaged. Layers above stay what they are: what is damaged is below them."""
    if isinstance(records, Overlay):
        return Overlay(tolerant(records.base, on_damage), records.changes)
    return _Tolerant(records, on_damage)


class _Tolerant:
    def __init__(self, base: Records, on_damage: OnDamage) -> None:
        self._base = base
        self._on_damage = on_damage

    def get(self, key: bytes) -> bytes | None:
        try:
            return self._base.get(key)
        except StoreDamaged as damaged:
            self._on_damage(key, damaged)
            return self._stand_in(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        last: bytes | None = None
        try:
            for key, value in self._base.scan(prefix):
                last = key
                yield key, value
        except StoreDamaged as damaged:
            bad = damaged_key(damaged)
            self._on_damage(bad, damaged)
        else:
            return
        if bad is not None and bad.startswith(prefix):
            yield from self._around(prefix, bad, last)
        elif last is not None:
            for further in behind(last, prefix):
                yield from self.scan(further)

    def _around(self, prefix: bytes, bad: bytes, last: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """What a scan of `prefix` has not given yet, `last` being what it gave last: there may be newer records of a
        layer above between that and the damaged one."""
        for lower in before(bad, prefix):
            for key, value in self.scan(lower):
                if last is None or key > last:
                    yield key, value
        held = self.get(bad)
        if held is not None:
            yield bad, held
        for further in behind(bad, prefix):
            yield from self.scan(further)

    def _stand_in(self, key: bytes) -> bytes | None:
        """A head in place of one that cannot be read; None for what is no head, or whose name is hashed in its key."""
        name = subject_of(key)
        if name is None or key[:1] not in keys.HEADS.values():
            return None
        kind, subject = name
        owner = self._value(kind, subject, "organisation" if kind == "resource" else "owner")
        status = self._value(kind, subject, "status", owner) if kind == "case" else ""
        return _encode(Head(kind, subject, owner, _NOBODY, 0, _NOBODY, owner, status))

    def _value(self, kind: str, subject: str, field: str, key: str = "") -> str:
        rule = FIELDS[kind].get(field)
        raw = None if rule is None else self.get(keys.group(keys.parts(kind, subject), rule.group, ""))
        if raw is None or rule is None:
            return ""
        found = GROUP.decode(raw).get(f"{field}\0{key}" if rule.keyed else field)
        siblings = () if found is None else SLOT.decode(found).siblings
        return siblings[0].value if siblings else ""


def damaged_key(damaged: StoreDamaged) -> bytes | None:
    """The key of a damaged record of the state; None where something else is damaged."""
    if not damaged.record.startswith(_PREFIX):
        return None
    try:
        key = ast.literal_eval(damaged.record.removeprefix(_PREFIX))
    except (ValueError, SyntaxError):
        return None
    return key if isinstance(key, bytes) else None


def subject_of(key: bytes) -> tuple[str, str] | None:
    """(kind, id) of the case, resource or request a record belongs to; None for any other record, and where the name
    in the key is a hash."""
    kind = keys.KINDS.get(key[0]) if key else None
    name = key[1:].partition(b"\0")[0]
    if kind is None or name[:1] == b"#":
        return None
    return kind, name.decode("utf-8", "replace")


def before(key: bytes, prefix: bytes) -> Iterator[bytes]:
    """Prefixes that cover every key that begins with `prefix` and comes before `key`, in order; but for those that are
    a beginning of `key` itself, of which the state has none."""
    for at in range(len(prefix), len(key)):
        yield from (key[:at] + bytes((byte,)) for byte in range(key[at]))


def behind(key: bytes, prefix: bytes) -> Iterator[bytes]:
    """Prefixes that together cover every key that begins with `prefix` and comes after `key`, in order."""
    yield from (key + bytes((byte,)) for byte in range(256))
    for at in range(len(key) - 1, len(prefix) - 1, -1):
        yield from (key[:at] + bytes((byte,)) for byte in range(key[at] + 1, 256))
