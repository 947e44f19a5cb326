"""Stores as killed sites leave them: the project's own stories agreed up to a point, and journalled beyond it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from replica.cases.commands import AddNote, ChangePriority, Payload, Report
from replica.cases.operations import Operation
from replica.demo.messages import find, order_of
from replica.hubsante.decode import read
from replica.raft.types import HardState
from replica.runtime.site import ZONE_MS
from replica.storage import Identity, open_store
from replica.storage.records import Kind, seal
from replica.wire.operation_codec import encode_operation
from tests.cases.world import NOON, Site, World

SAMU = "fr.health.samu350"
OTHER = "fr.health.samu220"
HEART = "fr.health.samu350.DRFR153502601300412"
"""The case of the first story; its owner is the killed site."""
ME = Identity("samu-bretagne", SAMU, "site", "5" * 32)
ZONE = Identity("samu-bretagne", "zone-1", "zone", "6" * 32)
CUT_AT = 8
"""Messages of the stories up to this number are agreed, the next three are journalled only."""
CONFIRMED_MS = NOON + 60_000
NOW_MS = NOON + 3_660_000


@dataclass
class Left:
    """What a killed site left: `undecided` of its operations have no verdict."""

    folder: Path
    world: World
    undecided: int


def reports(first: int, last: int) -> list[tuple[Report, int]]:
    """What the stories' messages of these numbers report, with the time of the act."""
    found = []
    for message in find(None):
        if first <= order_of(message.name)[0] <= last:
            contents = read(message.data, default_sender=SAMU).contents
            found += [(one.outcome, one.act_ms) for one in contents if isinstance(one.outcome, Report)]
    return found


def killed(folder: Path, name: Identity = ME) -> Left:
    """The store of a site that played the stories, was cut off, went on, and was killed. In conflict: the priority of
    `HEART`, which the other site changed without having seen this one's. `name`: whose store; a zone's has no
    journal."""
    world = World()
    site, other = world.open(SAMU, 1), world.open(OTHER, 2)
    mine: list[Operation] = [site.numbered(0, world.log[0].operations[0].payload)]
    for report, act_ms in reports(1, CUT_AT):
        mine.append(_agreed(world, site, report, act_ms))
    other.cut()
    mine.append(_agreed(world, site, ChangePriority(HEART, "P0"), NOON))
    other.do(ChangePriority(HEART, "P1"), NOON + 1000)
    site.cut()
    last: list[tuple[Payload, int]] = [(report, act_ms) for report, act_ms in reports(CUT_AT + 1, CUT_AT + 3)]
    last.append((AddNote(HEART, f"{SAMU}.medicalNote.n1", "Ligne coupée, on continue à la main <b>&"), NOON + 5000))
    undecided = [site.operation(payload, act_ms) for payload, act_ms in last]
    write(folder, world, mine + undecided if name is ME else [], name)
    return Left(folder, world, len(undecided))


def _agreed(world: World, site: Site, payload: Payload, act_ms: int) -> Operation:
    operation = site.operation(payload, act_ms)
    world.agree(operation)
    return operation


def write(folder: Path, world: World, journal: list[Operation], name: Identity = ME) -> None:
    """Put state and journal on disk as a running site does."""
    records = {key: value for key, value in world.records.changes.items() if value is not None}
    with open_store(folder, name, create=True, map_size=1 << 26) as store:
        store.log.save(HardState(), ())
        store.state.replace_all(records, (world.index, 1), {ZONE_MS: CONFIRMED_MS.to_bytes(8, "big")})
        if journal:
            store.journal.append([(one.id.incarnation, one.id.seq, encode_operation(one)) for one in journal])


def damage(left: Left, key: bytes) -> None:
    """One bit of this record of the state is wrong, in every copy that the file has (LMDB keeps old pages)."""
    record = left.world.records.get(key)
    assert record is not None, f"{key!r} is not in the state"
    flip(left.folder / "state" / "data.mdb", seal(Kind.STATE, key, record))


def flip(data: Path, sealed: bytes) -> None:
    """One bit wrong in every copy of these bytes in the file."""
    image = bytearray(data.read_bytes())
    place = image.find(sealed)
    assert place >= 0, f"not in {data}"
    while place >= 0:
        image[place + len(sealed) - 1] ^= 4
        place = image.find(sealed, place + 1)
    data.write_bytes(image)


def without(folder: Path, name: str) -> None:
    """One of the store's two environments is gone."""
    shutil.rmtree(folder / name)
