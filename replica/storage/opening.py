"""Looking at a store before it is opened: everything that can be checked without writing, and what a crash left over.

Left out: making a store (making.py), bringing an old one to our format (upgrading.py).
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from replica.errors import StoreError
from replica.storage.folder import DATA_NAME, LOCK_NAME, check_data_file, check_whole, sync_folder
from replica.storage.identity import Identity, check_same_node, check_same_store
from replica.storage.layout import (
    LOG_NAME,
    PREPARED_MARK,
    STATE_NAME,
    Found,
    peek_environment_identity,
    peek_state_name,
    state_folders,
)


def look_before_locking(folder: Path, identity: Identity, *, create: bool) -> None:
    """Taking the lock makes its file. Where there is none yet, nobody is at it, and we may look first."""
    if (folder / LOCK_NAME).exists():
        return
    if (folder / LOG_NAME).exists() or state_folders(folder):
        inspect(folder, identity, writing=True, live=False)
    elif not create:
        raise StoreError(f"{folder}: holds no store ({LOG_NAME} and {STATE_NAME} are missing)")


def inspect(folder: Path, expected: Identity | None, *, writing: bool, live: bool) -> Found:
    """Check everything that can be checked without writing. Raises `StoreError`, `StoreDamaged`."""
    log = _inspect_one(folder / LOG_NAME, expected, writing=writing, live=live)
    state_name = peek_state_name(folder, live=live)
    try:
        state = _inspect_one(folder / state_name, expected, writing=writing, live=live)
    except StoreError:
        if live and peek_state_name(folder, live=live) != state_name:  # a snapshot was installed while we looked
            return inspect(folder, expected, writing=writing, live=live)
        raise
    check_same_store(log, state, str(folder))
    return Found(log, state, state_name)


def _inspect_one(environment: Path, expected: Identity | None, *, writing: bool, live: bool) -> Identity:
    check_data_file(environment, writing=writing)
    check_whole(environment, writing=writing, at_rest=not live)
    found = peek_environment_identity(environment, live=live)
    if expected is not None:
        check_same_node(found, expected, str(environment))
    return found


def remove_leftovers(folder: Path, state_name: str) -> None:
    """Delete the states that are not `state_name` and that only a crash has left: prepared ones, and the one before.

    A folder that we did not prepare (somebody's copy beside the state) is left alone.
    """
    for name in state_folders(folder):
        path = folder / name
        ours = name == STATE_NAME or (path / PREPARED_MARK).exists() or (path.is_dir() and not any(path.iterdir()))
        if name != state_name and ours:
            remove_state(path)


def remove_state(path: Path) -> None:
    """Delete a state's folder, its mark last, so that what a crash leaves of it is still known as a leftover."""
    with suppress(OSError):  # a leftover that stays costs room and nothing else; the next opening tries again
        for each in sorted(path.iterdir(), key=lambda each: (each.name == PREPARED_MARK, each.name != DATA_NAME)):
            each.unlink()
    with suppress(OSError):
        path.rmdir()
        sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Delete a folder of ours with all that is in it. What stays is tried again at the next opening."""
    shutil.rmtree(path, ignore_errors=True)
