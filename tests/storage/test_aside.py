"""A damaged store is set aside, whole; what stands beside it stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from replica.errors import StoreError
from replica.raft.types import HardState
from replica.storage import Identity, open_store, set_aside

ME = Identity("demo", "zone-a", "zone", "0" * 32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    with open_store(path, ME, create=True) as made:
        made.log.save(HardState(3, 2), ())
        made.state.flush({b"case/1": b"<case>"}, (0, 0), {})
    (path / "config.toml").write_text("mine")
    return path


def test_all_of_a_store_is_moved_and_nothing_else(folder: Path) -> None:
    """The folder is found empty afterwards, the store opens where it lies, and a file that is not ours stays."""
    aside = set_aside(folder)
    assert aside == folder / "damaged-1"
    assert (folder / "config.toml").read_text() == "mine"
    with open_store(aside, ME, create=False) as kept:
        assert kept.log.hard_state() == HardState(3, 2)
        assert kept.state.get(b"case/1") == b"<case>"
    with open_store(folder, ME, create=True) as anew:
        assert anew.fresh


def test_a_move_that_was_cut_short_is_ended_by_the_next(folder: Path) -> None:
    """The log goes last, so what is left is never taken for an empty store."""
    (folder / "damaged-1").mkdir()
    (folder / "state").rename(folder / "damaged-1" / "state")
    with pytest.raises(StoreError):
        open_store(folder, ME, create=True)
    assert set_aside(folder) == folder / "damaged-2"
    with open_store(folder, ME, create=True) as anew:
        assert anew.fresh


def test_a_disk_that_damages_one_store_after_the_other_is_not_given_another(folder: Path) -> None:
    """Three lie aside: the fourth stays where it is, and a person is asked."""
    for _ in range(3):
        set_aside(folder)
        with open_store(folder, ME, create=True):
            pass
    with pytest.raises(StoreError, match="look at the disk"):
        set_aside(folder)
    with open_store(folder, ME, create=False) as there:
        assert there.identity.node_id == "zone-a"


def test_the_store_of_a_living_owner_is_left_alone(folder: Path) -> None:
    """It says who has it."""
    with open_store(folder, ME, create=False), pytest.raises(StoreError, match="in use by"):
        set_aside(folder)
    assert not (folder / "damaged-1" / "log").exists()
