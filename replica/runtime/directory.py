"""The directory: the name, the address and the priority of every zone the cluster ever had, agreed like all else.

The core counts votes by number and does not care who is where. So the directory is bytes to it, and travels in the
same entries as the membership (raft/membership.py): who knows who votes knows also where they are. It is JSON, for
whoever looks at a log in trouble.

A zone that was removed stays listed, as retired: neither its number nor its name is ever given again, since a
promise it made under that number may lie in somebody's log. At most 127 numbers means at most 127 lines.

    Directory().with_zone(Listed(4, "zone-d", "10.0.0.4:7001")).without("zone-a").encode()

Leaves out: who votes (the membership around it).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from replica.config import ZonePeer
from replica.errors import NotPermitted

MOST_NUMBER = 127


class Listed(Struct, frozen=True):
    """One zone. `retired`: it was removed, or is being. `replaces`: the number of the zone that goes when this one
    comes, 0 for none: whoever leads then must know whom to keep if this one is withdrawn before it came."""

    number: int
    name: str
    address: str
    priority: int = 0
    retired: bool = False
    replaces: int = 0


class Founding(Struct, frozen=True):
    """When a cluster was founded anew out of one store (`replica member force-new-cluster`), and by whom."""

    generation: int
    at_ms: int
    by: str
    zone: str


class Directory(Struct, frozen=True):
    """Every zone there ever was, by number. `generation` counts how often the cluster was founded anew."""

    zones: tuple[Listed, ...] = ()
    generation: int = 1
    foundings: tuple[Founding, ...] = ()

    @staticmethod
    def of(peers: Iterable[ZonePeer]) -> Directory:
        """What a configuration says: the directory of a cluster whose membership never changed."""
        return Directory(_ordered(Listed(peer.number, peer.name, peer.address, peer.priority) for peer in peers))

    @staticmethod
    def decode(data: bytes) -> Directory:
        """Out of a membership entry; empty for one that has none. Raises msgspec.ValidationError: no zone wrote it."""
        return msgspec.json.decode(data, type=Directory) if data else Directory()

    def encode(self) -> bytes:
        """The bytes for a membership entry: the same for the same directory."""
        return msgspec.json.encode(self)

    def numbered(self, number: int) -> Listed | None:
        """The zone of that number, retired or not."""
        return next((zone for zone in self.zones if zone.number == number), None)

    def named(self, name: str) -> Listed | None:
        """The zone of that name, retired or not."""
        return next((zone for zone in self.zones if zone.name == name), None)

    def with_zone(self, new: Listed) -> Directory:
        """With a zone more. Raises NotPermitted for a number or a name that was ever used, or no number."""
        if not 1 <= new.number <= MOST_NUMBER:
            raise NotPermitted(f"{new.number} is not a zone's number: 1 to {MOST_NUMBER}")
        for zone in self.zones:
            if zone.number == new.number:
                raise NotPermitted(f"number {new.number} was given to {zone.name} and is never given again")
            if zone.name == new.name:
                raise NotPermitted(f"the name {new.name} was given to number {zone.number} and is never given again")
        return msgspec.structs.replace(self, zones=_ordered((*self.zones, new)))

    def without(self, name: str) -> Directory:
        """With that zone retired. Raises NotPermitted where there is none of that name, or it is retired already."""
        found = self.named(name)
        if found is None or found.retired:
            here = ", ".join(zone.name for zone in self.zones if not zone.retired)
            raise NotPermitted(f"{name} is no zone of this cluster; there are {here}")
        return self._changed(found, retired=True)

    def reinstated(self, number: int) -> Directory:
        """With that zone not retired after all: it never went."""
        return self._changed(self.numbered(number), retired=False)

    def coming_for(self, name: str, old: int) -> Directory:
        """With the zone of that name coming in the place of number `old`."""
        return self._changed(self.named(name), replaces=old)

    def _changed(self, zone: Listed | None, **fields: int) -> Directory:
        assert zone is not None, f"a zone that is not listed is to have {fields}"
        others = (one for one in self.zones if one is not zone)
        return msgspec.structs.replace(self, zones=_ordered((*others, msgspec.structs.replace(zone, **fields))))

    def priorities(self) -> tuple[tuple[int, int], ...]:
        """As a membership carries them."""
        return tuple((zone.number, zone.priority) for zone in self.zones if not zone.retired)


def _ordered(zones: Iterable[Listed]) -> tuple[Listed, ...]:
    return tuple(sorted(zones, key=lambda zone: zone.number))
