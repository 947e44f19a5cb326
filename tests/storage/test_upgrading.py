"""A store of format 1 opens, is converted by its owner, and is only read by a reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Any

import pytest

from replica.errors import StoreError
from replica.raft.types import Entry, EntryKind, HardState
from replica.storage import FORMAT_VERSION, Install, LmdbStore, open_store, peek_identity, upgrading
from replica.storage.changed import CHANGED, REACH_KEY
from replica.storage.environment import MAIN, Environment
from replica.storage.identity import IDENTITY_KEY, encode_identity
from replica.storage.log import ENTRIES, FLOOR_KEY
from replica.storage.memberships import MEMBERSHIPS
from replica.storage.records import Kind, encode_pair, number_key, seal

from .battery import LIFE_1, ME, UNLIMITED, entries, names

if TYPE_CHECKING:
    from replica.storage.environment import Transaction

LAST = 2500
_ENTRY_1 = Struct(">QB")
LOG = [*entries(1, 9), Entry(10, 1, EntryKind.MEMBERSHIP, b"a b c"), *entries(11, LAST)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stopped node's store as release 1 wrote it: entries 6.. after a compaction, a journal, a state as of 20."""
    path = tmp_path / "zone-a"
    with open_store(path, ME, create=True) as made:
        made.log.save(HardState(3, 2), LOG, 20)
        made.log.compact(5)
        made.journal.append([(LIFE_1, 0, b"open")])
        made.state.flush({b"a": b"1"}, (20, 1), {b"clock": b"7"})
    _write(path / "log", (ENTRIES, MEMBERSHIPS), _log_of_format_1)
    _write(path / "state", (CHANGED,), _state_of_format_1)
    return path


def _write(folder: Path, tables: tuple[bytes, ...], work: Any) -> None:
    env = Environment(folder, tables, read_only=False, lock=True, create=False, map_size=1 << 30, map_limit=0)
    env.write(lambda txn: work(txn, env), lambda _: None)
    env.close()


def _log_of_format_1(txn: Transaction, env: Environment) -> None:
    for entry in LOG[5:]:
        key = number_key(entry.index)
        txn.put(
            key, seal(Kind.ENTRY, key, _ENTRY_1.pack(entry.term, entry.kind) + entry.data), db=env.database(ENTRIES)
        )
    txn.put(FLOOR_KEY, encode_pair(Kind.FLOOR, FLOOR_KEY, (5, 1)), db=env.database(MAIN))
    txn.drop(env.database(MEMBERSHIPS), delete=True)
    txn.put(IDENTITY_KEY, encode_identity(replace(ME, format_version=1)), db=env.database(MAIN))


def _state_of_format_1(txn: Transaction, env: Environment) -> None:
    txn.delete(REACH_KEY, db=env.database(MAIN))
    txn.drop(env.database(CHANGED), delete=True)
    txn.put(IDENTITY_KEY, encode_identity(replace(ME, format_version=1)), db=env.database(MAIN))


def check_whole(store: LmdbStore) -> None:
    """Everything that format 1 had."""
    assert store.log.entries(6, LAST, UNLIMITED) == tuple(LOG[5:])
    assert (store.log.first_index(), store.log.last_index(), store.log.term(5)) == (6, LAST, 1)
    assert (store.log.hard_state(), store.log.commit_hint()) == (HardState(3, 2), 20)
    assert names(store.journal.read()) == [(LIFE_1, 0, b"open")]
    assert (store.state.applied(), store.state.get(b"a"), store.state.local_get(b"clock")) == ((20, 1), b"1", b"7")


def check_converted(store: LmdbStore) -> None:
    """And everything that format 2 adds."""
    check_whole(store)
    assert store.identity == ME
    sizes = [len(each.data) for each in LOG]
    assert store.log.payload_bytes == sum(sizes[5:])
    assert store.log.first_within(sum(sizes[1999:])) == 2000
    assert store.log.memberships() == ((10, b"a b c"),)
    assert (store.state.changed_since(19), store.state.changed_since(20)) == (None, frozenset())


def test_an_old_store_is_converted_by_its_owner(folder: Path) -> None:
    """Once: the next opening finds it as it should be. From then on it is like any other."""
    assert peek_identity(folder).format_version == 1
    for _ in range(2):
        with open_store(folder, ME, create=False) as found:
            check_converted(found)
    assert peek_identity(folder).format_version == FORMAT_VERSION
    with open_store(folder, ME, create=True) as found:
        found.log.save(None, entries(LAST + 1, LAST + 1))
        found.state.flush({b"b": b"2"}, (30, 1))
        assert found.state.changed_since(20) == frozenset({b"b"})
        found.snapshots.prepare_changed("next", {}, (LAST, 1), {})
        found.commit_log([Install("next", LAST, 1, (10, b"a b c"))])
    with open_store(folder, ME, create=False) as found:
        assert (found.state.applied(), found.log.memberships()) == ((LAST, 1), ((10, b"a b c"),))


def test_an_old_store_is_read_as_it_is(folder: Path) -> None:
    """Without a byte written, by a reader: what format 1 did not keep is not known."""
    before = [(path, path.lstat().st_mtime_ns) for path in sorted(folder.rglob("*"))]
    with open_store(folder, ME, create=False, read_only=True) as found:
        check_whole(found)
        assert found.identity.format_version == 1
        assert (found.log.memberships(), found.log.payload_bytes, found.state.changed_since(20)) == ((), 0, None)
        assert found.log.first_within(0) == 6
    assert [(path, path.lstat().st_mtime_ns) for path in sorted(folder.rglob("*"))] == before


class PowerCut(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", ["_convert_some", "_finish_log", "_rename", "_upgrade_state"])
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_while_a_store_is_converted_is_gone_on_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    """At every call of every step, before and after its effect: readable meanwhile, and whole in the end."""
    real = getattr(upgrading, step)
    for cut in range(1, 10):
        calls = [0]

        def once(*arguments: Any, calls: list[int] = calls, cut: int = cut) -> Any:
            calls[0] += 1
            if calls[0] == cut and not after:
                raise PowerCut
            result = real(*arguments)
            if calls[0] == cut:
                raise PowerCut
            return result

        with monkeypatch.context() as patch:
            patch.setattr(upgrading, step, once)
            try:
                open_store(folder, ME, create=False).close()
            except PowerCut:
                with open_store(folder, ME, create=False, read_only=True) as found:
                    check_whole(found)
    with open_store(folder, ME, create=False) as found:
        check_converted(found)


def test_a_store_of_a_newer_format_is_refused(folder: Path) -> None:
    """As this one is by release 1: it would let the new tables go stale."""
    newer = encode_identity(replace(ME, format_version=FORMAT_VERSION + 1))
    _write(folder / "log", (), lambda txn, env: txn.put(IDENTITY_KEY, newer, db=env.database(MAIN)))
    with pytest.raises(StoreError, match=f"has format version {FORMAT_VERSION + 1}"):
        open_store(folder, ME, create=False)
