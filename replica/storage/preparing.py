"""Making a state beside the one in use: from the chunks of a snapshot, or from our own state and what changed since.

It is built under a name that nothing points to, rewritten to be ours, read once from end to end, and given its name
only then. So a folder `state.NAME` is whole, durable and checked; everything else is a leftover.

    state.NAME.new/  prepared      the mark: made by us, may be deleted
                     data.mdb      the copy → identity, local table, changed keys, applied index: one transaction
    state.NAME/                    the same, after every record was read

Left out: the swap itself (store.py), which is one record of the log environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from replica.errors import StoreDamaged, StoreError
from replica.raft.types import Index, Term
from replica.storage import changed
from replica.storage.environment import MAIN, Environment
from replica.storage.folder import DATA_NAME, check_whole, sync_folder
from replica.storage.identity import FORMAT_VERSION, IDENTITY_KEY, Identity, decode_identity, encode_identity
from replica.storage.layout import PREPARED_MARK, STATE_NAME, UNFINISHED, Sizes, open_environment
from replica.storage.log import state_folder_of
from replica.storage.manifests import disk_errors, sync_file
from replica.storage.opening import remove_state
from replica.storage.receiving import LmdbReceiving
from replica.storage.records import Kind
from replica.storage.snapshot_contract import Digest, Step
from replica.storage.state import APPLIED_KEY, LmdbState, change, decode_applied, put_applied, tables_of

if TYPE_CHECKING:
    from replica.storage.environment import Transaction

Fill = Callable[[Path], None]
"""Puts a data file into an empty folder."""


class Preparing:
    """One state being made, in the data folder `folder` of `identity`."""

    def __init__(self, folder: Path, identity: Identity, sizes: Sizes, name: str) -> None:
        self._folder = folder
        self._identity = identity
        self._sizes = sizes
        self._name = name
        self._final = folder / state_folder_of(name)
        self._new = folder / f"{state_folder_of(name)}{UNFINISHED}"

    def make(
        self, fill: Fill, changes: Mapping[bytes, bytes | None] | None, applied: tuple[Index, Term],
        local: Mapping[bytes, bytes], total: Digest | None, digest: bytes,
    ) -> None:  # fmt: skip
        """Fill, rewrite, check, and give it its name. What raises leaves nothing behind.

        Without `changes` (None) the records have to be as of `applied` already.
        """
        for leftover in (self._new, self._final):
            if leftover.exists():
                remove_state(leftover)
        try:
            with disk_errors(self._new):
                self._sizes.on_step(Step.PREPARE_COPY)
                self._new.mkdir(mode=0o700)
                (self._new / PREPARED_MARK).touch(mode=0o600)
                fill(self._new)
                sync_file(self._new / DATA_NAME)
            self._sizes.on_step(Step.PREPARE_REWRITE)
            self._rewrite(changes, applied, local)
            self._sizes.on_step(Step.PREPARE_CHECK)
            self._check(applied, total, digest)
            self._sizes.on_step(Step.PREPARE_NAME)
            with disk_errors(self._new):
                sync_folder(self._new)
                self._new.rename(self._final)
                sync_folder(self._folder)
        except BaseException:
            remove_state(self._new)
            raise

    def _rewrite(
        self, changes: Mapping[bytes, bytes | None] | None, applied: tuple[Index, Term], local: Mapping[bytes, bytes]
    ) -> None:
        """One transaction: whoever finds our identity in it finds all of it."""
        check_whole(self._new, writing=True, at_rest=True)
        with closing(self._open(read_only=False)) as env:
            self._check_origin(env)
            tables = tables_of(env)

            def work(txn: Transaction) -> None:
                txn.put(IDENTITY_KEY, encode_identity(self._identity), db=tables.main)
                txn.drop(tables.local, delete=False)
                change(txn, tables, Kind.LOCAL, local)
                if changes is not None:
                    change(txn, tables, Kind.STATE, changes)
                    put_applied(txn, tables, applied)
                assert tables.changed is not None, "a prepared state has all its tables"
                changed.begin_anew(txn, tables.main, tables.changed, applied[0])

            env.write(work, lambda _: None)

    def _check_origin(self, env: Environment) -> None:
        sender = decode_identity(env.get(env.database(MAIN), IDENTITY_KEY), str(self._new))
        if sender.cluster_id != self._identity.cluster_id:
            raise StoreError(f"snapshot {self._name}: is of {sender}, not of cluster {self._identity.cluster_id!r}")

    def _check(self, applied: tuple[Index, Term], total: Digest | None, digest: bytes) -> None:
        """Read every record of it, as it is on the disk now."""
        with closing(self._open(read_only=True)) as env:
            state = LmdbState(env, lambda jobs: jobs, 0)
            if state.applied() != applied:
                raise StoreDamaged(f"snapshot {self._name}", f"is as of {state.applied()}, not {applied}")
            records = state.scan(b"")
            found = digest if total is None else total(records)
            for _ in records:  # without a digest to make, or where that did not read to the end
                pass
        if found != digest:
            raise StoreDamaged(f"snapshot {self._name}", f"its digest is {found.hex()}, not {digest.hex()}")

    def _open(self, *, read_only: bool) -> Environment:
        return open_environment(
            self._new, STATE_NAME, self._sizes, version=FORMAT_VERSION, read_only=read_only, lock=not read_only
        )


def from_chunks(receiving: LmdbReceiving) -> Fill:
    """A data file out of the chunks of a complete snapshot, each hashed once more on its way."""

    def fill(folder: Path) -> None:
        with (folder / DATA_NAME).open("xb") as file:
            for chunk in range(len(receiving.manifest.chunks)):
                file.write(receiving.read(chunk))

    return fill


def open_prepared(
    folder: Path, identity: Identity, sizes: Sizes, name: str, applied: tuple[Index, Term]
) -> Environment:
    """Open the state prepared as `name`, to be installed. Raises `StoreError`, `StoreDamaged` where it does not fit."""
    path = folder / state_folder_of(name)
    if not path.is_dir():
        raise StoreError(f"{path}: no state was prepared under this name")
    env = open_environment(path, STATE_NAME, sizes, version=FORMAT_VERSION, read_only=False, lock=True)
    try:
        found = decode_identity(env.get(env.database(MAIN), IDENTITY_KEY), str(path))
        if found != identity:
            raise StoreError(f"{path}: belongs to {found}, not to {identity}")
        as_of = decode_applied(env.fixed(APPLIED_KEY))
        if as_of != applied:
            raise StoreDamaged(str(path), f"is as of {as_of}, to be installed as of {applied}")
    except BaseException:
        env.close()
        raise
    return env
