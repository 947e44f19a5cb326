"""What the journal has let go of and still remembers, on the disk."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import lmdb
import pytest

from replica.storage import LmdbStore, open_store

from .battery import LIFE_1, ME, names
from .test_damage import flip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A journal of six records, of which four are past."""
    path = tmp_path / "store"
    with open_store(path, ME, create=True) as made:
        made.journal.append([(LIFE_1, seq, b"<record %d>" % seq) for seq in range(6)])
        made.journal.trim([(LIFE_1, 1)], at_ms=1000)
        made.journal.trim([(LIFE_1, 3)], at_ms=2000)
    return path


def past(store: LmdbStore) -> list[int]:
    return [record.seq for record in store.journal.read_past()]


def forget_table(folder: Path) -> None:
    """As a release made the store that knows of no past."""
    with closing(lmdb.open(str(folder / "log"), max_dbs=8)) as env, env.begin(write=True) as txn:
        txn.drop(env.open_db(b"journal past", txn=txn, create=False))
        txn.delete(b"@journal past")


def test_a_store_of_a_release_without_a_past_has_none_and_gets_one(folder: Path) -> None:
    """Read as it is, made where it is missing when it is written; its format is the same."""
    forget_table(folder)
    with open_store(folder, ME, create=False, read_only=True) as read:
        assert (read.journal.read_past(), read.journal.past_length, read.journal.length) == ([], 0, 2)
    with open_store(folder, ME, create=False) as store:
        assert past(store) == []
        store.journal.trim([(LIFE_1, 4)], at_ms=3000)
        assert past(store) == [4]
    with open_store(folder, ME, create=False, read_only=True) as read:
        assert names(read.journal.read_past()) == [(LIFE_1, 4, b"<record 4>")]


def test_a_damaged_record_of_the_past_is_passed_over_and_forgotten_first(folder: Path) -> None:
    """It cannot be offered again; the others can."""
    flip(folder, "log", b"<record 2>")
    with open_store(folder, ME, create=False) as store:
        assert past(store) == [0, 1, 3]
        assert store.journal.past_length == 4
        store.journal.forget(1001, 1 << 20)
        assert (past(store), store.journal.past_length) == ([3], 1)


def test_a_record_that_was_damaged_in_the_journal_is_not_remembered(folder: Path) -> None:
    flip(folder, "log", b"<record 4>")
    with open_store(folder, ME, create=False) as store:
        store.journal.trim([(LIFE_1, 5)], at_ms=3000)
        assert past(store) == [0, 1, 2, 3, 5]
        assert store.journal.length == 0


def test_where_its_sum_is_damaged_it_is_counted_anew(folder: Path) -> None:
    with open_store(folder, ME, create=False) as store:
        env = store._log_env
        env.write(lambda txn: txn.put(b"@journal past", b"nonsense", db=env.database(b"")), lambda _: None)
    with open_store(folder, ME, create=False) as store:
        assert (store.journal.past_length, store.journal.past_bytes) == (4, 40)
