"""A store that is damaged in part: what cannot be read is said at the top, in both languages, and the rest stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from replica.cases import keys
from replica.cases.records import Layer, Overlay
from replica.errors import StoreDamaged, StoreError
from replica.sheet.tolerant import tolerant
from replica.storage.records import Kind, seal
from tests.sheet.printed import case_of, flat, printed, sheet_of
from tests.sheet.stores import HEART, SAMU, Left, damage, killed, without

ALARM = "WARNING: NOT EVERYTHING COULD BE READ"
ALARME = "ATTENTION : TOUT N'A PAS PU ÊTRE LU"


@pytest.fixture
def left(tmp_path: Path) -> Left:
    return killed(tmp_path / "site")


def part(left: Left, begins: bytes) -> bytes:
    """The key of a record of `HEART` that begins so."""
    found = [key for key, _ in left.world.records.scan(keys.parts("case", HEART) + begins)]
    assert found, f"no record begins with {begins!r}"
    return found[0]


def top(text: str) -> str:
    """What stands above everything else on page 1."""
    return flat(text.split("Feuille de", 2)[1].replace("!!", ""))


def test_a_sound_store_raises_no_alarm(left: Left) -> None:
    """Else nobody would look at it any more."""
    sheet = sheet_of(left.folder)
    assert sheet.troubles == ()
    assert ALARM not in printed(sheet)


@pytest.mark.parametrize(
    ("begins", "word"), [(b"flocation", "place"), (b"umedical_note", "a note"), (b"m", "an engaged resource")]
)
def test_one_damaged_record_of_a_case_is_named_and_the_case_stands(left: Left, begins: bytes, word: str) -> None:
    """The case keeps its place, its priority and all that is not in that record."""
    whole = case_of(sheet_of(left.folder), HEART)
    damage(left, part(left, begins))
    sheet = sheet_of(left.folder)
    case = case_of(sheet, HEART)
    assert case.priority == whole.priority
    assert case.patients == whole.patients
    assert (case.lines == whole.lines) is (word != "place")
    text = flat(printed(sheet))
    assert f"UNREADABLE in this case: {word}" in text
    shown = top(printed(sheet, "fr"))
    assert ALARME in shown
    assert ALARM in shown
    assert shown.index(ALARME) < shown.index(ALARM)


def test_every_note_but_the_damaged_one_is_printed(left: Left) -> None:
    """Those behind it in the file, too."""
    whole = case_of(sheet_of(left.folder), HEART).notes
    damage(left, part(left, b"umedical_note"))
    kept = case_of(sheet_of(left.folder), HEART).notes
    assert len(kept) == len(whole) - 1
    assert set(kept) < set(whole)


def test_a_case_whose_head_is_damaged_is_printed_from_its_parts(left: Left) -> None:
    """Its owner and status are in its fields as well; it is not lost between the other cases."""
    whole = sheet_of(left.folder)
    damage(left, keys.head("case", HEART))
    sheet = sheet_of(left.folder)
    assert [one.id for one in sheet.cases] == [one.id for one in whole.cases]
    case = case_of(sheet, HEART)
    assert (case.owner, case.status) == (SAMU, "ACTIF")
    assert case.lines == case_of(whole, HEART).lines
    assert "head" in case.unreadable


def test_an_undecided_act_on_a_damaged_case_is_printed_as_it_was_journalled(left: Left) -> None:
    """The view cannot show it in its case; on paper it may not be missing."""
    damage(left, keys.head("case", HEART))
    sheet = sheet_of(left.folder)
    assert "Ligne coupée" in " ".join(act.value for act in sheet.acts)
    assert "ACTS WITHOUT VERDICT, NOT IN PLACE" in printed(sheet)


@pytest.mark.parametrize("how", ["gone", "empty", "cut", "noise"])
def test_the_log_and_its_journal_lost_leaves_the_state(left: Left, how: str) -> None:
    """The newest log damaged: the agreed cases are printed, and it is said that this site's own last acts are not."""
    lose(left.folder, "log", how)
    sheet = sheet_of(left.folder)
    assert case_of(sheet, HEART).notes
    assert sheet.facts.whose == SAMU
    assert (sheet.facts.undecided, sheet.facts.index) == (None, left.world.index)
    text = flat(printed(sheet, "fr"))
    assert "Le journal de ce site est illisible" in text
    assert "This site's journal cannot be read" in text
    assert "inconnu : journal illisible" in text


@pytest.mark.parametrize("how", ["gone", "empty", "cut", "noise"])
def test_the_state_lost_leaves_the_acts_of_the_journal(left: Left, how: str) -> None:
    """What this site did and nobody else may know of is on paper, act by act."""
    lose(left.folder, "state", how)
    sheet = sheet_of(left.folder)
    assert sheet.cases == ()
    assert any("Ligne coupée" in act.value for act in sheet.acts)
    assert "The state cannot be read" in flat(printed(sheet))


def test_both_lost_is_an_error(left: Left) -> None:
    lose(left.folder, "log", "noise")
    lose(left.folder, "state", "empty")
    with pytest.raises(StoreError, match="nothing can be read"):
        sheet_of(left.folder)


def lose(folder: Path, name: str, how: str) -> None:
    data = folder / name / "data.mdb"
    if how == "gone":
        without(folder, name)
    elif how == "empty":
        data.write_bytes(b"")
    elif how == "cut":
        data.write_bytes(data.read_bytes()[:5000])
    else:
        data.write_bytes(bytes(range(256)) * (data.stat().st_size // 256))


def test_one_damaged_journal_record_is_named_and_the_others_are_shown(left: Left) -> None:
    """The last one is the note; the one before it is another act."""
    whole = sheet_of(left.folder)
    data = left.folder / "log" / "data.mdb"
    image = bytearray(data.read_bytes())
    place = image.find("Ligne coupée".encode())
    assert place >= 0
    while place >= 0:
        image[place] ^= 4
        place = image.find("Ligne coupée".encode(), place + 1)
    data.write_bytes(image)
    sheet = sheet_of(left.folder)
    assert [one.what for one in sheet.troubles] == ["journal-record"]
    assert sheet.facts.undecided == (whole.facts.undecided or 0) - 1
    assert not any("coupée" in note.said.value for note in case_of(sheet, HEART).notes)


def test_nothing_is_written_into_a_store_that_is_read(left: Left) -> None:
    """A damaged store is evidence, and the next reader finds it as it was."""
    damage(left, keys.head("case", HEART))
    before = {path: path.read_bytes() for path in sorted(left.folder.rglob("*")) if path.is_file()}
    sheet_of(left.folder)
    assert {path: path.read_bytes() for path in sorted(left.folder.rglob("*")) if path.is_file()} == before


class Sick:
    """Records some of which raise when they are read, in scans as in look-ups, as the disk's do."""

    def __init__(self, records: dict[bytes, bytes], bad: set[bytes]) -> None:
        self.records = records
        self.bad = bad

    def get(self, key: bytes) -> bytes | None:
        if key in self.bad:
            raise StoreDamaged(f"state record {key!r}", "its checksum does not match its bytes")
        return self.records.get(key)

    def scan(self, prefix: bytes):  # type: ignore[no-untyped-def]  # as Records has it
        for key in sorted(self.records):
            if key.startswith(prefix):
                found = self.get(key)
                assert found is not None
                yield key, found


@pytest.mark.parametrize("bad", [{b"u1"}, {b"u5"}, {b"u9"}, {b"u1", b"u2"}, {b"u3", b"u9", b"u1"}, {b"u55"}])
def test_a_scan_goes_on_behind_what_is_damaged_whatever_it_is(bad: set[bytes]) -> None:
    """The first, the last, neighbours, several: all others come, once, and in order; each bad one is told."""
    records = {b"u%d" % number: b"." for number in (*range(1, 10), 55)}
    told: set[bytes | None] = set()
    reader = tolerant(Sick(records, bad), lambda key, damaged: told.add(key))
    assert [key for key, _ in reader.scan(b"u")] == sorted(records.keys() - bad)
    assert told == bad


def test_a_newer_record_above_a_damaged_one_is_what_counts() -> None:
    """A layer above has it sound; and what that layer has just before the damaged one is not skipped."""
    below = Sick({b"u1": b"old", b"u5": b"old"}, {b"u5"})
    above = Layer({b"u4": b"new", b"u6": b"new"})

    class Merged:
        """A state that merges its layers in itself, as a running site's does."""

        def get(self, key: bytes) -> bytes | None:
            return Overlay(below, above).get(key)

        def scan(self, prefix: bytes):  # type: ignore[no-untyped-def]  # as Records has it
            return Overlay(below, above).scan(prefix)

    reader = tolerant(Merged(), lambda key, damaged: None)
    assert [key for key, _ in reader.scan(b"u")] == [b"u1", b"u4", b"u6"]
    covered = tolerant(Overlay(below, Layer({b"u5": b"new"})), lambda key, damaged: None)
    assert dict(covered.scan(b"u")) == {b"u1": b"old", b"u5": b"new"}


def test_the_damage_of_these_tests_is_found_by_its_checksum(left: Left) -> None:
    """The tests flip a bit that the store notices: else they would show nothing."""
    key = keys.head("case", HEART)
    record = left.world.records.get(key)
    assert record is not None
    damage(left, key)
    assert seal(Kind.STATE, key, record) not in (left.folder / "state" / "data.mdb").read_bytes()
