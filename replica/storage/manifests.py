"""A manifest as a file beside the bytes it describes, and what an error of such a file means.

The file is written last and durably, so a folder that has a sound one is whole. It is JSON behind a checksum, as the
identity is. A manifest that is damaged is treated as absent: what it described was a copy, and another can be made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from replica.errors import StorageFailed, StorageFull, StoreDamaged
from replica.storage.environment import FULL
from replica.storage.folder import sync_folder
from replica.storage.records import Kind, seal, unseal
from replica.storage.snapshot_contract import Manifest, check_manifest

MANIFEST_NAME = "manifest"


@contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Give an error of the disk its name: `StorageFull`, or `StorageFailed` (an fsync is never tried again)."""
    try:
        yield
    except OSError as problem:
        if problem.errno in FULL:
            raise StorageFull(f"{where}: the disk is full: {problem}") from problem
        raise StorageFailed(f"{where}: cannot be written, what is on the disk is unknown: {problem}") from problem


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it durably, under its name only when it is whole. Raises `OSError`."""
    new = folder / f"{MANIFEST_NAME}.new"
    new.write_bytes(seal(Kind.MANIFEST, manifest.name.encode(), _encode(manifest)))
    sync_file(new)
    new.rename(folder / MANIFEST_NAME)
    sync_folder(folder)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder that has the name of its snapshot; None where there is no sound one."""
    try:
        sealed = (folder / MANIFEST_NAME).read_bytes()
        manifest = _decode(unseal(Kind.MANIFEST, folder.name.encode(), sealed, f"manifest {folder.name}"))
        check_manifest(manifest)
    except (OSError, StoreDamaged, ValueError, KeyError, TypeError):
        return None
    return manifest


def _encode(manifest: Manifest) -> bytes:
    return json.dumps(
        {
            "name": manifest.name,
            "index": manifest.index,
            "term": manifest.term,
            "membership": [manifest.membership[0], manifest.membership[1].hex()],
            "digest": manifest.digest.hex(),
            "size": manifest.size,
            "chunk_bytes": manifest.chunk_bytes,
            "chunks": [each.hex() for each in manifest.chunks],
        },
        sort_keys=True,
    ).encode()


def _decode(body: bytes) -> Manifest:
    fields = json.loads(body)
    return Manifest(
        name=fields["name"],
        index=fields["index"],
        term=fields["term"],
        membership=(fields["membership"][0], bytes.fromhex(fields["membership"][1])),
        digest=bytes.fromhex(fields["digest"]),
        size=fields["size"],
        chunk_bytes=fields["chunk_bytes"],
        chunks=tuple(bytes.fromhex(each) for each in fields["chunks"]),
    )
