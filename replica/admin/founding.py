"""Founding a cluster anew out of one store, on the day when its quorum is gone for good.

Two of three zones are lost, not down: no quorum will ever be again, and nothing is agreed any more. One stopped store
becomes the whole of the cluster. What only the lost ones held is lost with them; so of several that are left take the
one with the highest (last term, last index), as `replica status --data` shows them. That is Raft's own order of logs
(dissertation 3.6.1): the highest has every agreed entry that any of the others has. The index alone does not say it: a
long log whose end is of an older term may lack what was agreed since.

    the state           everything this log holds is applied, committed or not: as much is kept as there is
    the index           goes up by 2^40: no site can be ahead of it, so each takes the new state, whole
    the term            one more than any here
    who votes           this zone alone; all others are retired, their numbers never given again
    the generation      one more: in the handshake the cluster is `name@2` now, and a lost zone that comes back after
                        all is refused by everybody, and refuses

Who did it and when stands in the directory, in the log, for ever. Done again after a crash in the middle, it goes on.

The state counts it, too (cases/generations.py): as an entry of its own, at the new index, applied by the rules of the
level in force. So whoever takes the new state sees in it, without asking anybody, that a history was given up, up to
which entry both are the same for certain (what this zone knew to be committed), and where the new one begins. A site
that is ahead offers again what it had agreed beyond (offline/ahead.py).

Leaves out: asking whether it is meant (cli.py).
"""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from replica.cases import queries
from replica.cases.generations import operations
from replica.cases.machine import apply
from replica.cases.operations import Batch
from replica.cases.records import Overlay
from replica.cases.verdicts import VerdictKind
from replica.config import ZoneConfig
from replica.errors import StoreError
from replica.raft.memberships import decode_membership, encode_membership
from replica.raft.types import NOBODY, Entry, EntryKind, HardState, Membership
from replica.runtime.belonging import directory_of, generation_of
from replica.runtime.directory import Directory, Founding
from replica.runtime.state import State
from replica.storage import LogReset, LogSave, Store, open_store, peek_identity
from replica.wire.handshake import cluster_name
from replica.wire.operation_codec import decode_batch

JUMP = 1 << 40
"""More entries than any site can be ahead, also of a store that comes from an old backup: at a thousand a second, 35
years."""
READ_BYTES = 16 << 20


def found_anew(config: ZoneConfig, by: str, at_ms: int) -> Founding:
    """Make the stopped store of this zone the whole of a new generation of its cluster; what was written about it.

    Raises StoreError where the store is in use, missing or of another node; nothing was written then.
    """
    data = Path(config.zone.data)
    identity = peek_identity(data)
    if (identity.cluster_id, identity.node_id) != (config.cluster.id, config.zone.name):
        raise StoreError(f"{data}: belongs to {identity}, not to {config.zone.name} of {config.cluster.id}")
    with open_store(data, identity, create=False, map_size=config.limits.map_size_gib << 30) as store:
        if store.fresh:
            raise StoreError(f"{data}: is empty, there is nothing to found a cluster on")
        return _found(config, store, by, at_ms)


def _found(config: ZoneConfig, store: Store, by: str, at_ms: int) -> Founding:
    state = State(store.state)
    generation = generation_of(config, store.log) + 1
    agreed, again = max(store.log.commit_hint(), state.index), state.index > store.log.last_index()
    for entry in _unapplied(store, state.index):
        _apply(state, entry)
    hard = store.log.hard_state()
    index = max(state.index, store.log.last_index()) + JUMP
    term = max(hard.term, state.term) + 1
    founding = Founding(generation, at_ms, by, config.zone.name)
    membership = _alone(config, store, founding)
    # The state first: a crash in between leaves a state ahead of its log, which no zone starts with, and which this
    # takes for what it is when it is done again.
    counted = () if again else _counted(config, state, founding, agreed, (index, term))
    store.state.replace_all(dict(Overlay(state, dict(counted)).scan(b"")), (index, term))
    store.commit_log(
        [
            LogReset(index, term, (index, encode_membership(membership))),
            LogSave(HardState(term, NOBODY, rebuilding=False)),
        ]
    )
    return founding


def _unapplied(store: Store, applied: int) -> list[Entry]:
    entries: list[Entry] = []
    last = store.log.last_index()
    while applied + len(entries) < last:
        entries += store.log.entries(applied + len(entries) + 1, last, READ_BYTES)
    return entries


def _apply(state: State, entry: Entry) -> None:
    changes: tuple[tuple[bytes, bytes | None], ...] = ()
    if entry.kind is EntryKind.DATA:
        changes = apply(state, decode_batch(entry.data), entry.index, entry.term).changes
    state.advance(changes, entry.index, entry.term)


def _counted(
    config: ZoneConfig, state: State, founding: Founding, agreed: int, at: tuple[int, int]
) -> tuple[tuple[bytes, bytes | None], ...]:
    """What changes in the state so that it counts the founding, as entry `at`. `agreed`: the last entry of it that was
    agreed for certain."""
    before, after = (cluster_name(config.cluster.id, founding.generation - back) for back in (1, 0))
    made = operations(
        state, config.zone.name, secrets.token_bytes(16), founding.by, founding.at_ms, before, agreed, after
    )
    effects = apply(state, Batch(founding.at_ms, queries.feature_level(state), made), *at)
    kinds = [decided.verdict.kind for decided in effects.decided]
    assert kinds == [VerdictKind.APPLIED, VerdictKind.APPLIED], f"the founding was not counted: {effects.decided}"
    return effects.changes


def _alone(config: ZoneConfig, store: Store, founding: Founding) -> Membership:
    memberships = store.log.memberships()
    before = decode_membership(memberships[-1][1]) if memberships else Membership(frozenset())
    directory = directory_of(before, config)
    zones = tuple(msgspec.structs.replace(zone, retired=zone.number != config.zone.number) for zone in directory.zones)
    directory = Directory(zones, founding.generation, (*directory.foundings, founding))
    return Membership(frozenset({config.zone.number}), directory=directory.encode(), priority=directory.priorities())
