"""What the state machine made of the recorded logs once, it makes of them now (recorded.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from replica.cases import digest, queries
from replica.cases.act import Act
from replica.cases.commands import AskHandBack, EndTakeOver, Payload
from replica.cases.fields import Rule
from replica.cases.level1 import LEVEL_1, decide
from replica.cases.level2 import COMPLETED, LEVEL_2
from replica.cases.machine import RULES
from replica.cases.merge import Outcome, Siblings, replaced
from replica.cases.operations import Operation
from replica.cases.rules import Rules
from replica.cases.state import Held
from replica.cases.verdicts import Verdict, VerdictKind
from replica.wire import decode_batch
from tests.cases.record import NAMES, of_the_demo, record
from tests.cases.recorded import FOLDER, BadRecording, Differs, Recording, read, replayed, written

FILES = sorted(FOLDER.glob("*.log"))


@cache
def recordings(name: str) -> tuple[Recording, ...]:
    return tuple(read(FOLDER / name))


@pytest.mark.parametrize("name", [path.name for path in FILES])
def test_every_verdict_and_every_digest_is_the_recorded_one(name: str) -> None:
    """At every entry of every log; and at its end the digests kept are those of the records."""
    assert recordings(name)
    for recording in recordings(name):
        records = replayed(recording)
        assert queries.digests(records) == digest.recomputed(records)


def operations_of(level: int) -> Iterator[Operation]:
    for path in FILES:
        for recording in recordings(path.name):
            for _, _, data in recording.entries:
                batch = decode_batch(data)
                if batch.level == level:
                    yield from batch.operations


def words_of(level: int) -> set[str]:
    """Every word of every verdict on entries of a level: kinds and rules."""
    found: set[str] = set()
    for path in FILES:
        for recording in recordings(path.name):
            for (_, _, data), said in zip(recording.entries, recording.said, strict=True):
                if decode_batch(data).level == level:
                    found.update(word for line in said for word in line.split('"'))
    return found


def test_the_recordings_cover_every_command_under_every_level() -> None:
    """A command that no recording holds could be applied otherwise tomorrow, and nobody would know."""
    for level in (1, 2, 3):
        said = {type(operation.payload) for operation in operations_of(level)}
        later = {AskHandBack, EndTakeOver} if level < 3 else set()
        assert said >= set(get_args(Payload)) - later, f"level {level}"


def test_the_recordings_cover_every_rule_and_every_verdict_under_every_level() -> None:
    """Rules that settle without a word (union by its owner) have their place in the digest."""
    for level in (1, 2, 3):
        words = words_of(level)
        assert {kind.value for kind in VerdictKind} <= words, f"level {level}"
        assert {rule.value for rule in Rule} <= words, f"level {level}"
    assert COMPLETED in words_of(2)
    assert COMPLETED not in words_of(1)


def test_there_is_a_log_in_which_the_level_rises_while_entries_of_the_old_one_follow() -> None:
    """1, then 2, with entries of level 1 after the raise."""
    for recording in recordings("histories-1-to-2.log"):
        levels = [decode_batch(data).level for _, _, data in recording.entries]
        assert set(levels) == {1, 2}
        told = [" ".join(said) for said in recording.said]
        (raising,) = [place for place, text in enumerate(told) if f"operator/{'09' * 16}/1" in text]
        assert levels[raising + 1] == 1


def test_every_recording_that_can_be_made_was_made() -> None:
    assert {path.stem for path in FILES} == set(NAMES)


# --- the checks can fail ---


def latest_in_the_log(seen: Siblings, unseen: Siblings, new: Held) -> Outcome:
    """A lie: what comes last in the log holds, whatever the clocks say."""
    return replaced((*seen, *unseen), new)


def more_generous(act: Act) -> Verdict:
    """A lie: what is refused was applied."""
    verdict = decide(act)
    return Verdict(VerdictKind.APPLIED) if verdict.kind is VerdictKind.REFUSED else verdict


def is_found(known: Mapping[int, Rules], recording: Recording) -> bool:
    """Whether a release with these rules is told that it does something else to the log."""
    try:
        replayed(recording, known)
    except Differs:
        return True
    return False


@pytest.mark.parametrize(
    "broken",
    [
        Rules(1, decide, {("case", "origin"): latest_in_the_log}),
        Rules(1, more_generous),
        Rules(1, decide, LEVEL_2.merges),
    ],
    ids=["another merge", "another verdict", "level 2 under the name of 1"],
)
def test_a_rule_of_level_1_changed_in_place_is_found(broken: Rules) -> None:
    """One field of one rule, one word of a verdict, or the next level's rules put into this one."""
    logs = [one for path in FILES for one in recordings(path.name)]
    assert sum(is_found({**RULES, 1: broken}, recording) for recording in logs) > 0


def test_a_rule_of_level_2_changed_in_place_is_found() -> None:
    logs = recordings("histories-1-to-2.log")
    assert sum(is_found({1: LEVEL_1, 2: Rules(2, decide)}, recording) for recording in logs) > 0


def test_a_rule_of_level_3_changed_in_place_is_found() -> None:
    """Take-over and hand-back by the rules of level 2."""
    logs = recordings("returning-3.log")
    assert sum(is_found({**RULES, 3: Rules(3, decide, LEVEL_2.merges)}, recording) for recording in logs) > 0


@pytest.mark.parametrize("what", ["digest", "verdict", "one too many"])
def test_a_recording_that_was_changed_is_found_at_its_entry(what: str, tmp_path: Path) -> None:
    """Nobody makes a test green by the file."""
    lines = list(written(*next(of_the_demo())))
    at = next(place for place, line in enumerate(lines) if line.startswith("verdict") and "/5" in line)
    if what == "digest":
        at = next(place for place, line in enumerate(lines) if place > at and line.startswith("digest"))
        lines[at] = lines[at][:-1] + ("0" if lines[at][-1] != "0" else "1")
    elif what == "verdict":
        lines[at] = lines[at].replace("applied", "merged") if "applied" in lines[at] else lines[at] + " "
    else:
        lines.insert(at, 'held ["x/00/1","gap"]')
    path = tmp_path / "changed.log"
    path.write_text("\n".join(lines), encoding="ascii")
    (recording,) = read(path)
    with pytest.raises(Differs, match="the demo's stories, entry"):
        replayed(recording)


@pytest.mark.parametrize("text", ["entry 1 1 1 2 5", "digest 1 00", "log x\ndigest 1 00", "log x\nsomething"])
def test_a_line_that_no_recording_has_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.log"
    path.write_text(text, encoding="ascii")
    with pytest.raises(BadRecording, match=r"odd.log:\d"):
        read(path)


def test_a_recording_is_made_once_and_never_written_over(tmp_path: Path) -> None:
    """What is not as it was is a new recording, under a new name."""
    path = record("generations-1", tmp_path)
    made = path.read_bytes()
    for recording in read(path):
        replayed(recording)
    with pytest.raises(FileExistsError):
        record("generations-1", tmp_path)
    assert path.read_bytes() == made
