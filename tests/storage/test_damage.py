"""One flipped bit in any record is found before the record is used, and named (D5)."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from replica.errors import StoreDamaged, StoreError
from replica.raft.types import Entry, EntryKind, HardState, Index
from replica.storage import LmdbStore, Store, open_store
from replica.storage.records import (
    Kind,
    decode_entry,
    encode_entry,
    encode_hard_state,
    is_sound,
    number_key,
    seal,
    unseal,
)

from .battery import LIFE_1, LIFE_2, ME, UNLIMITED, entries, entry


def flip(folder: Path, environment: str, marker: bytes, offset: int = 0) -> None:
    """Flip one bit of every copy of `marker` in the file, `offset` bytes from its beginning (LMDB keeps old pages)."""
    data = folder / environment / "data.mdb"
    image = bytearray(data.read_bytes())
    place = image.find(marker)
    assert place >= 0, f"{marker!r} is not in {data}"
    while place >= 0:
        image[place + offset] ^= 0x04
        place = image.find(marker, place + 1)
    data.write_bytes(image)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    with open_store(path, ME, create=True) as made:
        made.log.save(HardState(3, 2), [entry(index, 3, b"<entry %d>" % index) for index in range(1, 11)], 4)
        made.log.compact(2)
        made.journal.append([(LIFE_1, seq, b"<record %d>" % seq) for seq in range(5)])
        made.state.flush(
            {b"case/%d" % number: b"<case %d>" % number for number in range(5)}, (4, 3), {b"l": b"<local>"}
        )
    return path


@pytest.fixture
def reopen(folder: Path) -> Iterator[Callable[[], LmdbStore]]:
    opened: list[LmdbStore] = []

    def go() -> LmdbStore:
        opened.append(open_store(folder, ME, create=False))
        return opened[-1]

    yield go
    for each in opened:
        each.close()


Reopen = Callable[[], LmdbStore]


@pytest.mark.parametrize("offset", [0, 5, -1, -8, -9, -10, -17, -18, -25])
def test_an_entry_is_found_damaged(folder: Path, reopen: Reopen, offset: int) -> None:
    """In its data, kind, term or checksum; by each way of reading it; its neighbours are read."""
    flip(folder, "log", b"<entry 5>", offset)
    log = reopen().log
    for read in (lambda: log.term(5), lambda: log.entries(5, 5, 0), lambda: log.entries(3, 9, UNLIMITED)):
        with pytest.raises(StoreDamaged, match=r"log entry \(5, \d+\): its checksum does not match"):
            read()
    assert [each.index for each in log.entries(6, 10, UNLIMITED)] == [6, 7, 8, 9, 10]
    assert log.term(4) == 3


def test_a_damaged_entry_is_named_by_index_and_term(folder: Path, reopen: Reopen) -> None:
    """What an operator and the log of another node call it."""
    flip(folder, "log", b"<entry 5>")
    with pytest.raises(StoreDamaged) as caught:
        reopen().log.term(5)
    assert caught.value.record == "log entry (5, 3)"


def test_sound_entries_in_the_wrong_place_are_found(folder: Path, reopen: Reopen) -> None:
    """A page written to another page's address: every byte is as it was written, but not where."""
    data = folder / "log" / "data.mdb"
    one, two = (encode_entry(entry(index, 3, b"<entry %d>" % index), 9 * index) for index in (5, 6))
    data.write_bytes(data.read_bytes().replace(one, b"!" * len(one)).replace(two, one).replace(b"!" * len(one), two))
    log = reopen().log
    for index in (5, 6):
        with pytest.raises(StoreDamaged, match=rf"log entry \({index}, 3\)"):
            log.term(index)


def test_a_damaged_entry_is_not_compacted_away_unseen(folder: Path, reopen: Reopen) -> None:
    """The term kept as the log's floor comes from it."""
    flip(folder, "log", b"<entry 5>")
    log = reopen().log
    with pytest.raises(StoreDamaged, match="log entry"):
        log.compact(5)
    assert log.first_index() == 3


def test_a_missing_entry_is_found_at_opening(folder: Path) -> None:
    """The count of entries must fit their range."""
    with open_store(folder, ME, create=False) as opened:
        env = opened._log_env
        env.write(lambda txn: txn.delete(number_key(5), db=env.database(b"entries")), lambda _: None)
    with pytest.raises(StoreDamaged, match=r"log entries 3\.\.10: 7 are held"):
        open_store(folder, ME, create=False)


def test_a_floor_that_does_not_fit_is_found_at_opening(folder: Path) -> None:
    """The oldest entries are gone, and nobody compacted them."""
    with open_store(folder, ME, create=False) as opened:
        env = opened._log_env
        env.write(lambda txn: txn.delete(number_key(3), db=env.database(b"entries")), lambda _: None)
    with pytest.raises(StoreDamaged, match=r"log entries 4\.\.10: 7 are held, and the first should be 3"):
        open_store(folder, ME, create=False)


@pytest.mark.parametrize("offset", [0, 15, 23, 24])
def test_term_and_vote_are_found_damaged(folder: Path, reopen: Reopen, offset: int) -> None:
    """A forgotten vote is a broken promise, so a doubtful one is not guessed."""
    flip(folder, "log", encode_hard_state(b"@hard state", HardState(3, 2)), offset)
    log = reopen().log
    with pytest.raises(StoreDamaged, match="hard state"):
        log.hard_state()
    assert log.term(5) == 3


def test_a_damaged_floor_is_found_at_opening(folder: Path) -> None:
    """Without it nobody knows where the log begins."""
    flip(folder, "log", seal(Kind.FLOOR, b"@floor", b"".join(number_key(number) for number in (2, 3, 18))), 15)
    with pytest.raises(StoreDamaged, match="log floor"):
        open_store(folder, ME, create=False)


@pytest.mark.parametrize("offset", [0, 3, -1, -2, -8, -20, -32])
def test_a_journal_record_is_damaged_and_named_and_the_rest_is_read(folder: Path, reopen: Reopen, offset: int) -> None:
    """Also where the bytes that name it are the damaged ones: the table of places knows whose it is."""
    flip(folder, "log", b"<record 2>", offset)
    journal = reopen().journal
    found = journal.read()
    assert [(record.incarnation, record.seq, record.damaged) for record in found] == [
        (LIFE_1, seq, seq == 2) for seq in range(5)
    ]
    assert [record.payload for record in found] == [b"<record 0>", b"<record 1>", b"", b"<record 3>", b"<record 4>"]


def test_a_journal_record_under_a_damaged_key_is_named(folder: Path, reopen: Reopen) -> None:
    """Its place still says whose it was, and where."""
    sealed = seal(Kind.JOURNAL, number_key(5), LIFE_1 + (4).to_bytes(8, "big") + b"<record 4>")
    flip(folder, "log", number_key(5) + sealed)
    journal = reopen().journal
    assert [(record.position, record.seq, record.damaged) for record in journal.read()] == [
        (seq + 1, seq, seq == 4) for seq in range(5)
    ]
    assert [record.seq for record in journal.read(3, 1)] == [3]
    journal.replace(LIFE_1, 4, b"tombstone")
    journal.append([(LIFE_1, 5, b"<record 5>")])
    assert [record.payload for record in journal.read(4)] == [b"tombstone", b"<record 5>"]
    journal.trim([(LIFE_1, 4)])
    assert [record.seq for record in journal.read()] == [5]


def test_a_journal_can_be_saved_from_a_store_that_is_refused(folder: Path) -> None:
    """A key is out of order, to which the walk of the pages objects. Reading still names it and gives the rest."""
    sealed = seal(Kind.JOURNAL, number_key(5), LIFE_1 + (4).to_bytes(8, "big") + b"<record 4>")
    flip(folder, "log", number_key(5) + sealed, 7)
    with pytest.raises(StoreDamaged, match="its structure is damaged"):
        open_store(folder, ME, create=False)
    with open_store(folder, ME, create=False, read_only=True) as found:
        assert [(record.seq, record.payload, record.damaged) for record in found.journal.read()] == [
            *((seq, b"<record %d>" % seq, False) for seq in range(4)),
            (4, b"", True),
        ]


def test_a_damaged_journal_record_can_be_replaced_and_trimmed(folder: Path, reopen: Reopen) -> None:
    """It is submitted as a tombstone, and goes as the others do."""
    flip(folder, "log", b"<record 2>")
    journal = reopen().journal
    journal.replace(LIFE_1, 2, b"tombstone")
    assert journal.read(2, 1)[0].payload == b"tombstone"
    assert not any(record.damaged for record in journal.read())
    journal.trim([(LIFE_1, 4)])
    assert (journal.length, journal.payload_bytes) == (0, 0)


def test_a_damaged_place_is_named(folder: Path, reopen: Reopen) -> None:
    """It would otherwise lead the trimming to another record."""
    place = LIFE_1 + (2).to_bytes(8, "big")
    flip(folder, "log", seal(Kind.JOURNAL_PLACE, place, number_key(3)), 15)
    journal = reopen().journal
    with pytest.raises(StoreDamaged, match=f"place of \\({LIFE_1.hex()}, 2\\)"):
        journal.trim([(LIFE_1, 4)])
    assert [record.seq for record in journal.read()] == [0, 1, 2, 3, 4]


def test_a_damaged_counter_stops_the_journalling_and_not_the_reading(folder: Path, reopen: Reopen) -> None:
    """A number might be used twice. What is journalled can still be saved."""
    flip(folder, "log", b"@incarnation " + LIFE_1, 13 + 16 + 20)
    journal = reopen().journal
    for use in (
        lambda: journal.last_seq(LIFE_1),
        journal.latest_incarnation,
        lambda: journal.append([(LIFE_2, 0, b"")]),
    ):
        with pytest.raises(StoreDamaged, match=f"journal counter of incarnation {LIFE_1.hex()}"):
            use()
    assert [record.payload for record in journal.read()] == [b"<record %d>" % seq for seq in range(5)]


def test_a_state_record_is_found_damaged(folder: Path, reopen: Reopen) -> None:
    """By its key, however it is read; the others are read."""
    flip(folder, "state", b"<case 3>")
    state = reopen().state
    with pytest.raises(StoreDamaged, match="state record b'case/3'"):
        state.get(b"case/3")
    with pytest.raises(StoreDamaged, match="state record b'case/3'"):
        list(state.scan(b"case/"))
    assert state.get(b"case/2") == b"<case 2>"


def test_a_damaged_key_is_found(folder: Path, reopen: Reopen) -> None:
    """The key is summed with its value, so a record cannot move to another name."""
    flip(folder, "state", b"case/4", 5)  # 4 becomes 0: now there are two of them, out of order
    with pytest.raises(StoreDamaged):
        list(reopen().state.scan(b""))


def test_a_local_value_and_the_applied_index_are_found_damaged(folder: Path, reopen: Reopen) -> None:
    """Each by its name."""
    flip(folder, "state", b"<local>")
    flip(folder, "state", seal(Kind.APPLIED, b"@applied", number_key(4) + number_key(3)), 15)
    state = reopen().state
    with pytest.raises(StoreDamaged, match="local value b'l'"):
        state.local_get(b"l")
    with pytest.raises(StoreDamaged, match="applied index and term"):
        state.applied()


def test_a_damaged_identity_is_found_at_opening(folder: Path) -> None:
    """With the environment it is of."""
    flip(folder, "state", b'"node_id": "zone-a"', 13)
    with pytest.raises(StoreDamaged, match=r"identity of .*/state: its checksum"):
        open_store(folder, ME, create=False)


def test_every_bit_of_a_record_is_summed() -> None:
    """Flip each bit of a sealed entry, of its key and of its kind: never sound."""
    whole = encode_entry(entry(7, 3, b"data"), 28)
    assert is_sound(Kind.ENTRY, number_key(7), whole)
    for place in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(StoreDamaged):
            decode_entry(7, bytes(damaged))
    with pytest.raises(StoreDamaged):
        decode_entry(6, whole)
    with pytest.raises(StoreDamaged):
        unseal(Kind.JOURNAL, number_key(7), whole, "an entry as a journal record")
    with pytest.raises(StoreDamaged):
        unseal(Kind.ENTRY, number_key(7), whole[:5], "too short for a checksum")


def readings(store: Store) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every single thing that can be read."""
    log, journal, state = store.log, store.journal, store.state

    def one(index: Index) -> Callable[[], object]:
        return lambda: log.entries(index, index, 0)

    yield "ends", lambda: (log.first_index(), log.last_index(), log.term(log.first_index() - 1))
    yield from ((f"entry {index}", one(index)) for index in range(3, 11))
    yield "hard state", log.hard_state
    yield "commit", log.commit_hint
    yield "memberships", log.memberships
    yield "changed", lambda: state.changed_since(0)
    yield "incarnations", journal.incarnations
    yield "journal", lambda: [record for record in journal.read() if not record.damaged]
    yield "state", lambda: list(state.scan(b""))
    yield "local", lambda: list(state.local_scan(b""))
    yield "applied", state.applied
    yield "identity", lambda: store.identity


def test_no_flipped_bit_anywhere_in_the_files_gives_a_wrong_answer(folder: Path, tmp_path: Path) -> None:
    """Two hundred bits, also in what LMDB itself writes: an error, or the truth; never a crash, never a guess."""
    with open_store(folder, ME, create=False) as opened:
        truth = {name: read() for name, read in readings(opened)}
    dice = random.Random(1)
    found = 0
    for turn in range(200):
        copy = tmp_path / f"copy {turn}"
        shutil.copytree(folder, copy)
        data = copy / dice.choice(["log", "state"]) / "data.mdb"
        image = bytearray(data.read_bytes())
        in_use = [place for place, byte in enumerate(image) if byte]
        image[dice.choice(in_use)] ^= 1 << dice.randrange(8)
        data.write_bytes(image)
        try:
            opened = open_store(copy, ME, create=False)
        except StoreError:
            found += 1
            continue
        with opened:
            for name, read in readings(opened):
                found += agrees(read, truth[name]) is False
        shutil.rmtree(copy)
    assert found >= 50


def agrees(read: Callable[[], object], truth: object) -> bool:
    """Whether it is read as it was; False where the damage was noticed; an assertion where it was not."""
    try:
        now = read()
    except StoreDamaged:
        return False
    if isinstance(now, list) and isinstance(truth, list) and len(now) < len(truth):
        assert [each for each in truth if each in now] == now  # a damaged journal record was left out
        return False
    assert now == truth
    return True


def test_compacted_entries_do_not_come_back(folder: Path, reopen: Reopen) -> None:
    """The fixture's own claim: what is held is 3..10."""
    log = reopen().log
    assert (log.first_index(), log.last_index()) == (3, 10)
    assert entries(1, 1)[0].index < log.first_index()


def test_a_membership_is_found_damaged(folder: Path, reopen: Reopen) -> None:
    """By its index; its entry, and the others, are read."""
    with open_store(folder, ME, create=False) as made:
        made.log.save(None, [Entry(11, 3, EntryKind.MEMBERSHIP, b"<a b c>")])
    key = number_key(11)
    flip(folder, "log", key + seal(Kind.MEMBERSHIP, key, b"<a b c>"), 20)
    log = reopen().log
    with pytest.raises(StoreDamaged, match="membership 11: its checksum"):
        log.memberships()
    assert log.entries(11, 11, 0)[0].data == b"<a b c>"


def test_a_damaged_record_of_changes_is_found(folder: Path, reopen: Reopen) -> None:
    """Keys that are missing from it would never reach the one who asks."""
    flip(folder, "state", b"\x00\x06case/1\x00\x06case/2", 4)
    with pytest.raises(StoreDamaged, match="changed keys 0"):
        reopen().state.changed_since(0)


def test_a_damaged_reach_of_the_changes_is_found(folder: Path, reopen: Reopen) -> None:
    """Nobody would know from where on they are whole."""
    held = 16 + 5 * (2 + 6)
    flip(folder, "state", seal(Kind.REACH, b"@changed", number_key(0) + number_key(held)), 12)
    with pytest.raises(StoreDamaged, match="reach of the changed keys"):
        reopen().state.changed_since(4)


def test_a_damaged_last_entry_does_not_hide_the_rest(folder: Path, reopen: Reopen) -> None:
    """The opening reads its place in the count of bytes, and can do without."""
    flip(folder, "log", b"<entry 10>")
    store = reopen()
    with pytest.raises(StoreDamaged, match=r"log entry \(10, 3\)"):
        store.log.term(10)
    assert store.log.term(9) == 3
    assert len(store.journal.read()) == 5
