"""A damaged store is set aside, whole, beside where it was: nothing of it is used again, and nothing is deleted.

    DIR/log, DIR/state*, DIR/snapshots, DIR/receiving   →   DIR/damaged-1/...

An operator looks at it, or deletes it. Whoever opens DIR next finds it empty.

Left out: who may begin anew on an empty store, and what it owes the others then (admin/serve.py, raft/rebuild.py).
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

from replica.errors import StoreError
from replica.storage.folder import lock_as_owner, sync_folder
from replica.storage.layout import LOG_NAME, NEW_NAME, RECEIVING_NAME, SNAPSHOTS_NAME, state_folders

MOST_ASIDE = 3
"""A disk that damages more stores than that is not worth another."""


def set_aside(folder: Path) -> Path:
    """Move the store in `folder` aside: where it lies now. A crash in the middle leaves what the next call moves too.

    Raises StoreError where its owner lives, where so many lie aside already, or where the folder cannot be written.
    """
    aside = next(path for number in count(1) if not (path := folder / f"damaged-{number}").exists())
    if int(aside.name.rpartition("-")[2]) > MOST_ASIDE:
        raise StoreError(f"{folder}: {MOST_ASIDE} damaged stores lie there already: look at the disk, then delete them")
    lock = lock_as_owner(folder)
    try:
        aside.mkdir(mode=0o700)
        # The log last: as long as it is there, the folder is not taken for an empty one.
        for name in (*state_folders(folder), SNAPSHOTS_NAME, RECEIVING_NAME, NEW_NAME, LOG_NAME):
            if (folder / name).exists():
                (folder / name).rename(aside / name)
        sync_folder(aside)
        sync_folder(folder)
    except OSError as problem:
        raise StoreError(f"{folder}: cannot be set aside: {problem.strerror}") from problem
    finally:
        lock.release()
    return aside
