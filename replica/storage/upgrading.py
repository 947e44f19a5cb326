"""Stores of an older format are brought to ours when their owner opens them. Whoever only reads reads them as they are.

Format 1 (release 1) → 2: entries say how many bytes of data the log has up to them, memberships and changed keys have
their tables. The identity is rewritten last, in the transaction that makes the environment whole, the log's before the
state's; after a crash in between all of it is done again, with the same result.

An older release refuses what was converted: it would let the new tables go stale, and take another state than the
one named. Left out: the way back.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from replica.raft.types import Entry, Index
from replica.storage import memberships
from replica.storage.changed import REACH_KEY, initial_reach
from replica.storage.environment import MAIN, Environment
from replica.storage.identity import FORMAT_VERSION, IDENTITY_KEY, Identity, encode_identity
from replica.storage.layout import LOG_NAME, STATE_NAME, TABLES, Found, Sizes
from replica.storage.log import ENTRIES, FLOOR_KEY
from replica.storage.memberships import MEMBERSHIPS
from replica.storage.records import (
    Kind,
    decode_entry,
    decode_floor,
    decode_pair,
    encode_entry,
    encode_floor,
    key_number,
    number_key,
)
from replica.storage.state import APPLIED_KEY

if TYPE_CHECKING:
    from replica.storage.environment import Database, Transaction

ENTRIES_PER_STEP = 1000


def upgrade(folder: Path, found: Found, sizes: Sizes) -> Found:
    """Convert what is of an older format. What is in the folder afterwards. Raises `StoreDamaged`, `StorageFull`."""
    log, state = found.log, found.state
    if log.format_version < FORMAT_VERSION:
        log = _upgrade_log(folder / LOG_NAME, log, sizes)
    if state.format_version < FORMAT_VERSION:
        state = _upgrade_state(folder / found.state_name, state, sizes)
    return replace(found, log=log, state=state)


def _upgrade_log(folder: Path, identity: Identity, sizes: Sizes) -> Identity:
    env = _open_whole(folder, LOG_NAME, sizes)
    try:
        floor = decode_floor(FLOOR_KEY, env.fixed(FLOOR_KEY))
        reached = (floor[0], floor[2])
        while (further := _convert_some(env, *reached)) != reached:
            reached = further
        env.write(lambda txn: _finish_log(txn, env, floor), lambda _: None)
        return _rename(env, identity)
    finally:
        env.close()


def _convert_some(env: Environment, after: Index, end_bytes: int) -> tuple[Index, int]:
    """Convert the next entries behind `after`, in a transaction of their own. The last one reached, its `end_bytes`."""
    table, kept = env.database(ENTRIES), env.database(MEMBERSHIPS)
    done: list[tuple[Index, int]] = []

    def work(txn: Transaction) -> tuple[Index, int]:
        reached, total = after, end_bytes
        for entry in _next_entries(txn, table, after):
            reached, total = entry.index, total + len(entry.data)
            txn.put(number_key(reached), encode_entry(entry, total), db=table)
            memberships.append(txn, kept, [entry])
        return reached, total

    env.write(work, done.append)
    return done[0]


def _next_entries(txn: Transaction, table: Database, after: Index) -> list[Entry]:
    found: list[Entry] = []
    cursor = txn.cursor(table)
    if cursor.set_range(number_key(after + 1)):
        for key, sealed in cursor:
            found.append(decode_entry(key_number(key), sealed))
            if len(found) == ENTRIES_PER_STEP:
                break
    return found


def _finish_log(txn: Transaction, env: Environment, floor: tuple[int, int, int]) -> None:
    txn.put(FLOOR_KEY, encode_floor(FLOOR_KEY, floor), db=env.database(MAIN))


def _upgrade_state(folder: Path, identity: Identity, sizes: Sizes) -> Identity:
    env = _open_whole(folder, STATE_NAME, sizes)
    try:
        index, _ = decode_pair(Kind.APPLIED, APPLIED_KEY, env.fixed(APPLIED_KEY), "applied index and term")
        env.write(lambda txn: txn.put(REACH_KEY, initial_reach(index), db=env.database(MAIN)), lambda _: None)
        return _rename(env, identity)
    finally:
        env.close()


def _rename(env: Environment, identity: Identity) -> Identity:
    """From here on the environment is of our format."""
    ours = replace(identity, format_version=FORMAT_VERSION)
    env.write(lambda txn: txn.put(IDENTITY_KEY, encode_identity(ours), db=env.database(MAIN)), lambda _: None)
    return ours


def _open_whole(folder: Path, kind: str, sizes: Sizes) -> Environment:
    """With the tables that are missing made, empty."""
    return Environment(
        folder, TABLES[kind], read_only=False, lock=True, create=True, map_size=sizes.map_size,
        map_limit=sizes.map_limit,
    )  # fmt: skip
