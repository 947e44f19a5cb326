"""What is wrong with a folder is found before anything is written, and said with what and where (D6)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from replica.errors import StoreDamaged, StoreError
from replica.storage import FORMAT_VERSION, Identity, LmdbStore, making, open_store, peek_identity
from replica.storage.environment import MAIN, Environment
from replica.storage.identity import IDENTITY_KEY, encode_identity

from .battery import LIFE_1, ME, UNLIMITED, entries

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stopped node's store with something of everything in it."""
    path = tmp_path / "zone-a"
    with open_store(path, ME, create=True, map_size=1 << 20) as made:
        made.log.save(None, entries(1, 20))
        made.journal.append([(LIFE_1, 0, b"open")])
        made.state.flush({b"case/%d" % number: b"x" * 300 for number in range(50)}, (20, 1), {})
    return path


def contents(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything that writing would change: names, modes, times, bytes."""
    found = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_mtime_ns, path.read_bytes() if path.is_file() else b"")
    return found


@pytest.fixture
def refused(folder: Path) -> Callable[..., StoreError]:
    """Open, expect a `StoreError`, and that nothing at all was written, with `create` and without, to read or write."""

    def check(text: str, identity: Identity = ME, *, for_reading: bool = True) -> StoreError:
        before = contents(folder.parent)
        ways: list[dict[str, Any]] = [
            {"create": False},
            {"create": True},
            *([{"create": False, "read_only": True}] if for_reading else []),
        ]
        for way in ways:
            with pytest.raises(StoreError) as caught:
                open_store(folder, identity, **way)
            assert text in str(caught.value)
            assert str(folder) in str(caught.value)
            assert contents(folder.parent) == before
        return caught.value

    return check


Refused = Callable[..., StoreError]


# --- not there, not a store ---


def test_a_missing_folder_is_not_made_unless_asked(tmp_path: Path) -> None:
    """A node whose disk is not mounted must not start with nothing."""
    with pytest.raises(StoreError, match=r"zone-a: is missing"):
        open_store(tmp_path / "zone-a", ME, create=False)
    with pytest.raises(StoreError, match=r"zone-a: is missing"):
        open_store(tmp_path / "zone-a", ME, create=False, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_the_parent_of_a_new_store_must_be_there(tmp_path: Path) -> None:
    """An unmounted disk is not a new one."""
    with pytest.raises(StoreError, match=r"mount/zone-a: cannot be made: No such file"):
        open_store(tmp_path / "mount" / "zone-a", ME, create=True)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_holds_no_store(tmp_path: Path) -> None:
    """And gets no lock file by being looked at."""
    with pytest.raises(StoreError, match="holds no store"):
        open_store(tmp_path, ME, create=False)
    with pytest.raises(StoreError, match=r"log: is missing"):
        open_store(tmp_path, ME, create=False, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    """Even when a store is to be made."""
    (tmp_path / "zone-a").write_text("hello")
    for create in (False, True):
        with pytest.raises(StoreError, match="zone-a: is not a directory"):
            open_store(tmp_path / "zone-a", ME, create=create)
    assert (tmp_path / "zone-a").read_text() == "hello"


@pytest.mark.parametrize("name", ["log", "state"])
def test_half_a_store_is_not_made_whole(folder: Path, refused: Refused, name: str) -> None:
    """A store that lost one environment has lost data. It is not quietly given an empty one."""
    shutil.rmtree(folder / name)
    refused(f"{name}: is missing")


@pytest.mark.parametrize("name", ["log", "state"])
def test_a_missing_data_file_is_said(folder: Path, refused: Refused, name: str) -> None:
    """With its path."""
    (folder / name / "data.mdb").unlink()
    refused(f"{name}/data.mdb: is missing")


@pytest.mark.parametrize("name", ["log", "state"])
def test_an_empty_data_file_is_said(folder: Path, refused: Refused, name: str) -> None:
    """Zero bytes: what a crash of another program, or a bad copy, leaves."""
    (folder / name / "data.mdb").write_bytes(b"")
    refused(f"{name}/data.mdb: is empty (zero bytes)")


@pytest.mark.parametrize("kept", [1, 100, 4096, 4200, 8192, 10000, 16384, -4096, -1])
def test_a_file_that_was_cut_short_is_said(folder: Path, refused: Refused, kept: int) -> None:
    """LMDB would map it, and die at the first missing page."""
    data = folder / "state" / "data.mdb"
    os.truncate(data, kept if kept > 0 else data.stat().st_size + kept)
    refused("state/data.mdb: is cut short at")


def test_a_strange_file_is_said(folder: Path, refused: Refused) -> None:
    """Long enough, and not LMDB's."""
    (folder / "log" / "data.mdb").write_bytes(b"hello" * 10000)
    refused("log/data.mdb: is not an LMDB file")


def test_a_lost_tail_of_free_pages_is_no_damage(tmp_path: Path) -> None:
    """The newest commit may end in pages that are free; only pages in use must be there."""
    with open_store(tmp_path / "a", ME, create=True) as made:
        made.state.flush({b"%d" % number: b"x" * 3000 for number in range(20)}, (1, 1), {})
        made.state.flush({b"%d" % number: None for number in range(20)}, (2, 1), {})
        made.state.flush({b"only": b"one"}, (3, 1), {})
        made.state.flush({b"only": b"two"}, (4, 1), {})
    data = tmp_path / "a" / "state" / "data.mdb"
    os.truncate(data, data.stat().st_size - 4096)
    with open_store(tmp_path / "a", ME, create=False) as found:
        assert list(found.state.scan(b"")) == [(b"only", b"two")]


# --- somebody else's ---


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (replace(ME, cluster_id="exercise"), "cluster 'exercise'"),
        (replace(ME, node_id="zone-b"), "zone 'zone-b'"),
        (replace(ME, role="site"), "site 'zone-a'"),
    ],
)
def test_a_store_of_another_is_refused_and_both_are_named(refused: Refused, other: Identity, named: str) -> None:
    """Another cluster, another node, another role."""
    problem = str(refused("belongs to zone 'zone-a' of cluster 'lifeline', not to", other))
    assert named in problem


def test_the_store_id_is_the_recorded_one(folder: Path) -> None:
    """The caller hands in a new one each time; it counts at creation only."""
    with open_store(folder, ME.with_store_id("f" * 32), create=True) as found:
        assert found.identity == ME


def test_a_newer_format_is_refused(folder: Path, refused: Refused) -> None:
    """With the version found and the one that is known, whatever else the record says."""
    env = Environment(folder / "log", (), read_only=False, lock=True, create=False, map_size=1 << 20, map_limit=0)
    newer = encode_identity(replace(ME, format_version=FORMAT_VERSION + 1))
    env.write(lambda txn: txn.put(IDENTITY_KEY, newer, db=env.database(MAIN)), lambda _: None)
    env.close()
    refused(f"has format version {FORMAT_VERSION + 1}, this release reads up to {FORMAT_VERSION}")


def test_a_store_without_identity_is_refused(folder: Path, refused: Refused) -> None:
    """An LMDB environment of some other program."""
    env = Environment(folder / "log", (), read_only=False, lock=True, create=False, map_size=1 << 20, map_limit=0)
    env.write(lambda txn: txn.delete(IDENTITY_KEY, db=env.database(MAIN)), lambda _: None)
    env.close()
    refused("carries no identity")


def test_log_and_state_of_two_stores_do_not_go_together(folder: Path, refused: Refused, tmp_path: Path) -> None:
    """A state from a backup beside a newer log of the same node would replay what it must not."""
    open_store(tmp_path / "backup", ME.with_store_id("b" * 32), create=True).close()
    shutil.rmtree(folder / "state")
    (tmp_path / "backup" / "state").rename(folder / "state")
    problem = str(refused("log and state are from different stores"))
    assert "0" * 32 in problem
    assert "b" * 32 in problem


# --- permissions ---


def test_a_folder_of_another_user_is_refused(folder: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files made by the wrong user would shut the right one out later. Reading is allowed to whoever may read."""
    me = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: me + 1)
    refused(f"is owned by user {me}, this process runs as user {me + 1}", for_reading=False)
    open_store(folder, ME, create=False, read_only=True).close()


@pytest.mark.skipif(IS_ROOT, reason="the permission bits do not bind root; the next test covers it")
@pytest.mark.parametrize(
    ("mode", "text", "for_reading"), [(0o000, "may not be read", True), (0o400, "is read-only", False)]
)
def test_permission_bits_are_obeyed(folder: Path, refused: Refused, mode: int, text: str, for_reading: bool) -> None:
    """An unreadable file, a read-only file."""
    (folder / "state" / "data.mdb").chmod(mode)
    refused(text, for_reading=for_reading)


@pytest.mark.parametrize(
    ("forbidden", "text", "for_reading"),
    [(os.R_OK, "may not be read by user", True), (os.W_OK, "is read-only", False)],
)
def test_what_the_system_forbids_is_said(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, forbidden: int, text: str, for_reading: bool
) -> None:
    """As the kernel answers for a data file that this user may not read, or not write (also on a read-only disk)."""

    def access(path: Path, mode: int) -> bool:
        return not (Path(path).name == "data.mdb" and mode == forbidden)

    monkeypatch.setattr("os.access", access)
    refused(text, for_reading=for_reading)


# --- twice ---


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another Python process with the names this file uses."""
    prelude = (
        "import sys, time, os\n"
        "from pathlib import Path\n"
        "from replica.storage import *\n"
        "from replica.raft.types import *\n"
        f"ME = Identity({ME.cluster_id!r}, {ME.node_id!r}, {ME.role!r}, {ME.store_id!r})\n"
        "def say(*words): print(*words, flush=True)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", prelude + code, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def other_owner(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the store open, and saves entries 21.. one by one when told to."""
    process = child(
        "with open_store(Path(sys.argv[1]), ME, create=False, map_size=1 << 20) as store:\n"
        "    say('open')\n"
        "    for line in sys.stdin:\n"
        "        first = store.log.last_index() + 1\n"
        "        indexes = range(first, first + int(line))\n"
        "        new = [Entry(index, 1, EntryKind.DATA, b'%d in 1' % index) for index in indexes]\n"
        "        store.log.save(None, new)\n"
        "        say('saved')\n",
        folder,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "open\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_second_opener_in_this_process_is_refused(folder: Path) -> None:
    """With the path and the process that has it: ourselves."""
    with open_store(folder, ME, create=False):
        for create in (False, True):
            with pytest.raises(StoreError, match=f"zone-a: is in use by process {os.getpid()}"):
                open_store(folder, ME, create=create)
    open_store(folder, ME, create=False).close()


@pytest.mark.processes
def test_a_second_process_is_refused_until_the_first_is_gone(folder: Path, other_owner: subprocess.Popen[str]) -> None:
    """However the first one goes: the kernel frees the lock of a killed process."""
    with pytest.raises(StoreError, match=f"zone-a: is in use by process {other_owner.pid}"):
        open_store(folder, ME, create=False)
    other_owner.kill()
    other_owner.wait()
    with open_store(folder, ME, create=False) as found:
        assert found.log.last_index() == 20


# --- reading without writing ---


def test_reading_a_stopped_store_writes_nothing(folder: Path) -> None:
    """No byte, no time, no lock file."""
    before = contents(folder)
    with open_store(folder, ME, create=False, read_only=True) as found:
        assert found.log.entries(1, 20, UNLIMITED) == tuple(entries(1, 20))
        assert found.state.applied() == (20, 1)
        assert found.journal.latest_incarnation() == (LIFE_1, 0)
        with pytest.raises(StoreError, match="was opened for reading only"):
            found.log.save(None, entries(21, 21))
        with pytest.raises(StoreError, match="was opened for reading only"):
            found.state.flush({}, (21, 1), {})
    assert peek_identity(folder) == ME
    assert contents(folder) == before


def test_a_copy_without_lock_files_can_be_read_and_owned(folder: Path, tmp_path: Path) -> None:
    """A backup is two data files."""
    for name in ("log", "state"):
        (tmp_path / "copy" / name).mkdir(parents=True)
        shutil.copy(folder / name / "data.mdb", tmp_path / "copy" / name)
    before = contents(tmp_path / "copy")
    with open_store(tmp_path / "copy", ME, create=False, read_only=True) as found:
        assert found.log.last_index() == 20
    assert contents(tmp_path / "copy") == before
    with pytest.raises(StoreError, match="not to zone 'zone-b'"):
        open_store(tmp_path / "copy", replace(ME, node_id="zone-b"), create=False)
    assert contents(tmp_path / "copy") == before
    open_store(tmp_path / "copy", ME, create=False).close()


def test_a_node_cannot_start_while_its_store_is_read(folder: Path) -> None:
    """The reader has no place in LMDB's table of readers, so its pages must not be used again."""
    with open_store(folder, ME, create=False, read_only=True):
        with pytest.raises(StoreError, match="is in use by a process that reads it"):
            open_store(folder, ME, create=False)
    open_store(folder, ME, create=False).close()


@pytest.mark.processes
def test_the_store_of_a_running_node_can_be_read(folder: Path, other_owner: subprocess.Popen[str]) -> None:
    """Safely, through LMDB's table of readers, and always the newest commit, also when the map has grown."""
    assert other_owner.stdin is not None
    assert other_owner.stdout is not None
    assert peek_identity(folder) == ME
    with open_store(folder, ME, create=False, read_only=True, map_size=1 << 20) as found:
        assert found.log.entries(1, 20, UNLIMITED) == tuple(entries(1, 20))
        other_owner.stdin.write("50000\n")
        other_owner.stdin.flush()
        assert other_owner.stdout.readline() == "saved\n"
        assert found.state.applied() == (20, 1)
        assert found.log.term(20) == 1
    with open_store(folder, ME, create=False, read_only=True, map_size=1 << 20) as found:
        assert found.log.last_index() == 50020


READ_ONLY_DISK = """
set -e
mount -t tmpfs tmpfs "$2"
cp -r "$3" "$2/store"
mount -o remount,ro "$2"
exec "$0" -c "$1" "$2/store"
"""


@pytest.mark.processes
@pytest.mark.skipif(not IS_ROOT or shutil.which("unshare") is None, reason="mounts a file system of its own")
def test_a_read_only_disk_can_be_read_and_refuses_an_owner(folder: Path, tmp_path: Path) -> None:
    """Really mounted read-only."""
    (tmp_path / "disk").mkdir()
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from replica.errors import StoreError\n"
        "from replica.storage import open_store, peek_identity\n"
        "path = Path(sys.argv[1])\n"
        "identity = peek_identity(path)\n"
        "with open_store(path, identity, create=False, read_only=True) as store:\n"
        "    print(store.log.last_index(), store.state.applied())\n"
        "try:\n"
        "    open_store(path, identity, create=False)\n"
        "except StoreError as problem:\n"
        "    print(problem)\n"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", READ_ONLY_DISK, sys.executable, code, str(tmp_path / "disk"), str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "mount" in done.stderr:
        pytest.skip("no permission to mount here")
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["20 (20, 1)", f"{tmp_path / 'disk' / 'store'}: is read-only"]


# --- a crash while the store is made ---


class PowerCut(BaseException):
    """The process ends here."""


STEPS = ["_make_environments", "Environment", "_write_first", "sync_folder", "_move"]


def cut_at(monkeypatch: pytest.MonkeyPatch, name: str, call: int, *, after: bool) -> list[int]:
    """Let the `call`-th call of a step of creation be the last thing this process does, before or after its effect."""
    calls = [0]
    real = getattr(making, name)

    def step(*arguments: object, **options: object) -> object:
        calls[0] += 1
        if calls[0] == call and not after:
            raise PowerCut
        result = real(*arguments, **options)
        if calls[0] == call:
            raise PowerCut
        return result

    monkeypatch.setattr(making, name, step)
    return calls


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", STEPS)
def test_a_crash_while_a_store_is_made_is_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, after: bool
) -> None:
    """Cut at every call of every step, then opened again: whole, fresh, one store id, nothing left over."""
    cuts = 0
    for call in range(1, 20):
        path = tmp_path / str(call)
        with monkeypatch.context() as patch:
            calls = cut_at(patch, name, call, after=after)
            try:
                open_store(path, ME, create=True).close()
            except PowerCut:
                cuts += 1
        if calls[0] < call:
            break
        with open_store(path, ME.with_store_id("9" * 32), create=True) as found:
            assert found.fresh
            assert found.identity.store_id in ("0" * 32, "9" * 32)
            found.log.save(None, entries(1, 1))
        assert sorted(each.name for each in path.iterdir()) == ["LOCK", "log", "state"]
        with open_store(path, ME, create=True) as found:
            assert found.log.last_index() == 1
    assert cuts >= 1


def test_the_making_of_another_nodes_store_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where only a move is left to do."""
    path = tmp_path / "zone-a"
    with monkeypatch.context() as patch:
        cut_at(patch, "_move", 2, after=False)
        with pytest.raises(PowerCut):
            open_store(path, ME, create=True)
    before = contents(path)
    with pytest.raises(StoreError, match="not to zone 'zone-b'"):
        open_store(path, replace(ME, node_id="zone-b"), create=True)
    with pytest.raises(StoreError, match=r"state: is missing"):
        open_store(path, ME, create=False)
    assert contents(path) == before


def test_a_failed_opening_frees_the_lock(folder: Path) -> None:
    """So the next attempt meets the real problem again, and not a lock."""
    with pytest.raises(StoreError, match="not to zone 'zone-b'"):
        open_store(folder, replace(ME, node_id="zone-b"), create=False)
    opened: LmdbStore = open_store(folder, ME, create=False)
    opened.close()


def test_a_damaged_structure_is_found_before_it_is_trusted(folder: Path, refused: Refused) -> None:
    """A page that points nowhere would take the process down with it."""
    data = folder / "state" / "data.mdb"
    image = bytearray(data.read_bytes())
    for page in range(2, len(image) // 4096):
        image[page * 4096 + 10] ^= 0xFF
    data.write_bytes(image)
    assert isinstance(refused("its structure is damaged", for_reading=False), StoreDamaged)


@pytest.mark.parametrize("page", [0, 1])
def test_a_transaction_number_out_of_turn_is_found(folder: Path, refused: Refused, page: int) -> None:
    """LMDB would take the older of its two heads for the newest, and the last commit would be gone without a word."""
    data = folder / "log" / "data.mdb"
    image = bytearray(data.read_bytes())
    image[page * 4096 + 144] ^= 0x40
    data.write_bytes(image)
    assert isinstance(refused("out of turn"), StoreDamaged)
