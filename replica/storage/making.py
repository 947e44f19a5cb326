"""Making a new store: in a corner of its folder (`.new`), whole and with its identity, and then moved into place.

The log is moved first. So an environment that is in its place is complete, and a crash leaves one of three things: a
corner to be thrown away (neither is in place), a corner with the state still to be moved, or an empty corner. Nothing
that is in place is ever deleted here.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from replica.errors import StoreError
from replica.storage.environment import MAIN, Environment
from replica.storage.folder import sync_folder
from replica.storage.identity import IDENTITY_KEY, Identity, check_same_node, encode_identity
from replica.storage.layout import (
    INITIAL,
    LOG_NAME,
    NEW_NAME,
    STATE_NAME,
    TABLES,
    Sizes,
    peek_environment_identity,
    state_folders,
)

if TYPE_CHECKING:
    from replica.storage.environment import Transaction


def make_folder(folder: Path) -> None:
    """Make the data folder where it is missing, in a parent that is there. Raises `StoreError`."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    except OSError as problem:
        raise StoreError(f"{folder}: cannot be made: {problem.strerror}") from problem
    sync_folder(folder.parent)


def finish_creation(folder: Path, identity: Identity, sizes: Sizes) -> None:
    """Make what is missing, or go on where a crash interrupted the making. Raises `StoreError`."""
    log, state, new = folder / LOG_NAME, folder / STATE_NAME, folder / NEW_NAME
    try:
        if not log.exists() and not state_folders(folder):
            shutil.rmtree(new, ignore_errors=True)
            _make_environments(new, identity, sizes)
            _move(new / LOG_NAME, log)
            _move(new / STATE_NAME, state)
        elif not state.exists() and (new / STATE_NAME).exists():
            check_same_node(peek_environment_identity(log, live=False), identity, str(log))
            _move(new / STATE_NAME, state)
        if log.exists() and new.is_dir() and not any(new.iterdir()):
            new.rmdir()
            sync_folder(folder)
    except OSError as problem:
        raise StoreError(f"{folder}: a store cannot be made here: {problem}") from problem


def _make_environments(new: Path, identity: Identity, sizes: Sizes) -> None:
    new.mkdir(mode=0o700)
    for name, tables in TABLES.items():
        folder = new / name
        folder.mkdir(mode=0o700)
        env = Environment(
            folder, tables, read_only=False, lock=True, create=True, map_size=sizes.map_size, map_limit=sizes.map_limit
        )
        try:
            _write_first(env, {IDENTITY_KEY: encode_identity(identity), **INITIAL[name]()})
        finally:
            env.close()
        sync_folder(folder)
    sync_folder(new)


def _write_first(env: Environment, records: Mapping[bytes, bytes]) -> None:
    def work(txn: Transaction) -> None:
        for key in sorted(records):
            txn.put(key, records[key], db=env.database(MAIN))

    env.write(work, lambda _: None)


def _move(old: Path, new: Path) -> None:
    old.rename(new)
    sync_folder(new.parent)
