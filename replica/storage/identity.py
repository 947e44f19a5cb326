"""Whose store this is: a record in each environment that a wrong opener runs into.

A data folder mounted under the wrong node would lend its votes and its numbers to a stranger. So each environment says
which cluster, node and role it belongs to, and both carry the same random store id, so that a log is never paired with
another store's state.

The record is JSON behind a checksum, in every format version: a release that knows nothing else of a newer format can
still say so. Left out: secrets. An identity protects from mistakes, not from people.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from replica.errors import StoreDamaged, StoreError
from replica.storage.records import Kind, seal, unseal

FORMAT_VERSION = 2
"""Of the layout of both environments. Higher numbers are refused, lower ones are converted (upgrading.py)."""

IDENTITY_KEY = b"@identity"

ROLES = ("zone", "site")


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose store it is. `store_id` is 32 hexadecimal digits made by the caller, used when the store is created."""

    cluster_id: str
    node_id: str
    role: str
    store_id: str
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        assert self.role in ROLES, f"role {self.role!r}, expected one of {ROLES}"

    def __str__(self) -> str:
        return f"{self.role} {self.node_id!r} of cluster {self.cluster_id!r}"

    def with_store_id(self, store_id: str) -> Identity:
        """The same node with another store."""
        return replace(self, store_id=store_id)


def encode_identity(identity: Identity) -> bytes:
    """The sealed record."""
    return seal(Kind.IDENTITY, IDENTITY_KEY, json.dumps(asdict(identity), sort_keys=True).encode())


def decode_identity(sealed: bytes | None, where: str) -> Identity:
    """Read the record of the environment at `where`.

    Raises `StoreError` where there is none or its format is newer than ours, `StoreDamaged` where its checksum fails.
    """
    if sealed is None:
        raise StoreError(f"{where}: carries no identity, so it is not a store of this program")
    fields = json.loads(unseal(Kind.IDENTITY, IDENTITY_KEY, sealed, f"identity of {where}"))
    version = fields.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise StoreError(
            f"{where}: has format version {version}, this release reads up to {FORMAT_VERSION}: use a newer release"
        )
    try:
        return Identity(**fields)
    except (TypeError, AssertionError) as problem:
        raise StoreDamaged(f"identity of {where}", str(problem)) from problem


def check_same_node(found: Identity, expected: Identity, where: str) -> None:
    """Raise `StoreError` naming both where the store belongs to somebody else. The store id is not compared."""
    if (found.cluster_id, found.node_id, found.role) != (expected.cluster_id, expected.node_id, expected.role):
        raise StoreError(f"{where}: belongs to {found}, not to {expected}")


def check_same_store(log: Identity, state: Identity, where: str) -> None:
    """Raise `StoreError` where the two environments of one folder come from different stores.

    Their formats may differ: an upgrade converts one after the other.
    """
    if replace(log, format_version=FORMAT_VERSION) != replace(state, format_version=FORMAT_VERSION):
        raise StoreError(
            f"{where}: log and state are from different stores:"
            f" log of {log} with store id {log.store_id}, state of {state} with store id {state.store_id}"
        )
