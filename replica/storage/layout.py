"""Where everything lies in a node's data folder, and which tables each environment has.

    DIR/LOCK                held by the owner (folder.py)
    DIR/log/                the log environment: log, journal, and the name of the state's folder
    DIR/state/              the state environment of a store that never installed a snapshot
    DIR/state.NAME/         a state prepared from snapshot NAME: the one in use, if the log environment names it
    DIR/snapshots/NAME/     a snapshot of ours: its data file and its manifest
    DIR/receiving/NAME/     a snapshot on its way in: its chunks so far and its manifest
    DIR/.new/               both environments, while the store is made

The name of the state's folder is a record of the log environment, so that one transaction changes it and resets the
log. Where there is no such record the folder is `state`.

Left out: what the tables hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from replica.storage import journal, log, past, state
from replica.storage.changed import CHANGED
from replica.storage.environment import MAIN, Environment
from replica.storage.identity import IDENTITY_KEY, Identity, decode_identity
from replica.storage.memberships import MEMBERSHIPS
from replica.storage.snapshot_contract import OnStep

LOG_NAME = "log"
STATE_NAME = "state"
NEW_NAME = ".new"
SNAPSHOTS_NAME = "snapshots"
RECEIVING_NAME = "receiving"
UNFINISHED = ".new"
"""What the name of a folder ends in while it is being made."""
PREPARED_MARK = "prepared"
"""A file in every state folder that was prepared from a snapshot: what has none is never deleted as a leftover."""

MAP_SIZE = 64 << 30
"""Address space, not disk: the file grows as it is written."""
MAP_LIMIT = 1 << 40

INITIAL = {
    LOG_NAME: lambda: log.initial_log_records() | journal.initial_journal_records(),
    STATE_NAME: state.initial_state_records,
}
TABLES = {
    LOG_NAME: (log.ENTRIES, journal.RECORDS, journal.PLACES, MEMBERSHIPS),
    STATE_NAME: (state.RECORDS, state.LOCAL, CHANGED),
}
TABLES_1 = {
    LOG_NAME: (log.ENTRIES, journal.RECORDS, journal.PLACES),
    STATE_NAME: (state.RECORDS, state.LOCAL),
}
"""Of format 1: neither memberships nor changed keys were kept."""


LATER = {LOG_NAME: (past.PAST,), STATE_NAME: ()}
"""Tables that came without a new format: an older release goes on without looking at them, and they stay true."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the opener asked for, and the hook of its tests."""

    map_size: int
    map_limit: int
    chunk_bytes: int
    changed_bytes: int
    on_step: OnStep


@dataclass(frozen=True, slots=True)
class Found:
    """What looking at a folder has found, environment by environment."""

    log: Identity
    state: Identity
    state_name: str
    """The folder of the state in use."""


def open_environment(
    folder: Path, kind: str, sizes: Sizes, *, version: int, read_only: bool, lock: bool
) -> Environment:  # fmt: skip
    """Open an environment that is in its place with all tables of its format."""
    tables: Sequence[bytes] = (TABLES_1 if version == 1 else TABLES)[kind]
    return Environment(
        folder, tables, read_only=read_only, lock=lock, create=False, map_size=sizes.map_size,
        map_limit=sizes.map_limit, later=LATER[kind],
    )  # fmt: skip


def peek(folder: Path, key: bytes, *, live: bool) -> bytes | None:
    """One record of the main database of the environment in `folder`, which nobody has open unless `live`."""
    env = Environment(folder, (), read_only=True, lock=live, create=False, map_size=MAP_SIZE, map_limit=MAP_SIZE)
    try:
        return env.get(env.database(MAIN), key)
    finally:
        env.close()


def peek_environment_identity(folder: Path, *, live: bool) -> Identity:
    """The identity recorded in one environment. Raises as `decode_identity` does."""
    return decode_identity(peek(folder, IDENTITY_KEY, live=live), str(folder))


def peek_state_name(folder: Path, *, live: bool) -> str:
    """The folder of the state in use, as the log environment names it. Raises `StoreDamaged`."""
    sealed = peek(folder / LOG_NAME, log.POINTER_KEY, live=live)
    return STATE_NAME if sealed is None else log.decode_pointer(sealed)


def state_folders(folder: Path) -> list[str]:
    """The names of everything that is, was or should have become a state."""
    return sorted(
        each.name for each in folder.iterdir() if each.name == STATE_NAME or each.name.startswith(f"{STATE_NAME}.")
    )
