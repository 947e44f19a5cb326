"""Recording a history, reading it back, and `python -m chaos history`."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.__main__ import main
from chaos.history.models import BadHistory
from chaos.history.operations import Operation, frozen
from chaos.history.record import Recorder, read, read_files

HEADER = '{"history": 1, "model": "register"}\n'
INVOKE = '{"at": 5, "type": "invoke", "token": 1, "process": "p", "key": "k", "what": "read"}\n'


def recording(model: str = "register") -> tuple[Recorder, list[str]]:
    """A recorder on a clock that counts, and its lines."""
    lines: list[str] = []
    ticks = count(10, 10)
    return Recorder(lines.append, model, clock=lambda: next(ticks)), lines


def test_what_is_recorded_is_read_back() -> None:
    """An answer, a sure failure, an unknown outcome, and one whose caller never told."""
    recorder, lines = recording()
    tokens = [recorder.invoke(f"p{number}", "k", "write", number) for number in range(4)]
    recorder.ok(tokens[0], [1, {"b": 2, "a": [3]}])
    recorder.fail(tokens[1])
    recorder.unknown(tokens[2])
    recorded = read(lines)
    assert recorded.operations == [
        Operation("p0", "k", "write", 0, 10, 50, (1, (("a", (3,)), ("b", 2)))),
        Operation("p2", "k", "write", 2, 30),
        Operation("p3", "k", "write", 3, 40),
    ]
    assert (recorded.model, recorded.failed, recorded.torn) == ("register", 1, 0)


def test_only_a_newline_ends_a_line(tmp_path: Path) -> None:
    """A note may hold whatever some people call a line's end."""
    with (tmp_path / "h").open("w", encoding="utf-8") as file:
        Recorder(file.write).invoke("p", "k", "write", "a\u2028b\x85c\r\nd")
    (operation,) = read_files([tmp_path / "h"]).operations
    assert operation.value == "a\u2028b\x85c\r\nd"


def test_an_outcome_is_told_once() -> None:
    """Twice, or for a token nobody has, is the caller's mistake."""
    recorder, _ = recording()
    token = recorder.invoke("p", "k", "read")
    recorder.ok(token, 1)
    with pytest.raises(BadHistory, match="told already"):
        recorder.unknown(token)
    with pytest.raises(BadHistory, match="never invoked"):
        recorder.ok(99)


def test_a_line_cut_off_by_the_death_of_its_process_is_left_out() -> None:
    """Then the outcome it would have told is unknown."""
    recorder, lines = recording()
    recorder.ok(recorder.invoke("p", "k", "write", 1))
    recorded = read([*lines[:-1], lines[-1].removesuffix("}\n")])
    assert recorded.torn == 1
    assert [one.is_known for one in recorded.operations] == [False]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("nonsense\n", "line 1: not JSON"),
        ("[1]\n", "line 1: an object is wanted"),
        ('{"history": 9}\n', "line 1: format 9, this release reads 1"),
        (HEADER + INVOKE + INVOKE, "line 3: token 1 was invoked before"),
        (INVOKE.replace('"p"', "7"), "line 1: process must be str, not 7"),
        (INVOKE.replace("5", "true", 1), "line 1: at must be int, not True"),
        ('{"at": 9, "type": "ok", "token": 1}\n', "line 1: token 1 was never invoked"),
        (INVOKE + '{"at": 9, "type": "dance", "token": 1}\n', "line 2: the type is invoke, ok, fail, unknown"),
        (INVOKE + '{"at": 4, "type": "ok", "token": 1}\n', "line 2: token 1 was answered at 4, before"),
        (INVOKE + '{"at": 9, "type": "ok", "token": 1}\n' * 2, "line 3: the outcome of token 1 was told before"),
    ],
)
def test_a_bad_line_is_named_with_what_is_wrong(lines: str, problem: str) -> None:
    """File, line, and the reason."""
    with pytest.raises(BadHistory, match=problem):
        read(lines.splitlines(keepends=True))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, json_values)
def test_any_json_value_survives_the_file(asked: object, answered: object) -> None:
    """As the value a checker can compare."""
    recorder, lines = recording()
    recorder.ok(recorder.invoke("p", "k", "write", asked), answered)
    (operation,) = read(lines).operations
    assert (operation.value, operation.result) == (frozen(asked), frozen(answered))
    hash(operation)


def write(path: Path, *answers: object, model: str = "register") -> Path:
    """A file in which p writes 1 and 2, then reads these answers one after the other."""
    with path.open("w") as file:
        ticks = count(10, 10)
        recorder = Recorder(file.write, model, clock=lambda: next(ticks))
        for number in (1, 2):
            recorder.ok(recorder.invoke("p", "k", "write", number))
        for answer in answers:
            recorder.ok(recorder.invoke("p", "k", "read"), answer)
    return path


def test_the_command_accepts_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 0, and how much was checked."""
    assert main(["history", str(write(tmp_path / "h", 2, 2))]) == 0
    assert "4 operations, 1 keys" in capsys.readouterr().out


def test_the_command_refuses_a_bad_file_with_a_table_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 1; the JSON holds the whole prefix."""
    report = tmp_path / "report.json"
    assert main(["history", str(write(tmp_path / "h", 2, 1, 2)), "--json", str(report)]) == 1
    printed = capsys.readouterr().out
    assert 'key "k": not linearizable from this answer on: p read → 1' in printed
    found = json.loads(report.read_text())
    assert (found["ok"], found["verdict"], found["undecided"]) == (False, "not linearizable", [])
    assert found["failures"][0]["culprit"]["result"] == 1
    assert len(found["failures"][0]["prefix"]) == 4


def test_the_command_says_undecided_where_it_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 3: a bad history, but that was not found out."""
    assert main(["history", str(write(tmp_path / "h", 2, 1)), "--steps", "2", "--json", "-"]) == 3
    assert json.loads(capsys.readouterr().out)["undecided"] == ["k"]


def test_two_files_are_one_history(tmp_path: Path) -> None:
    """What is right in each may be wrong together; tokens are each file's own."""
    one, other = write(tmp_path / "one", 2), write(tmp_path / "other", 2)
    stale = other.read_text().replace('"result": 2', '"result": 1').replace('"at": ', '"at": 10')
    other.write_text(stale)
    assert len(read_files([one, other]).operations) == 6
    assert main(["history", str(one)]) == 0
    assert main(["history", str(one), str(other)]) == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (HEADER.replace("register", "dream") + INVOKE, "the file names the model 'dream'"),
        (INVOKE, "the file names no model; --model is one of register, notes, bag, counter"),
        (HEADER + INVOKE.replace("read", "append"), "this model knows write, read or cas, not 'append'"),
    ],
)
def test_the_command_ends_with_2_where_nothing_could_be_checked(
    content: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says why."""
    path = tmp_path / "h"
    path.write_text(content)
    assert main(["history", str(path)]) == 2
    assert problem in capsys.readouterr().err


def test_a_file_that_is_no_text_or_not_there_or_of_another_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Clear words, no stack."""
    (tmp_path / "h").write_bytes(b"\xff\n")
    assert main(["history", str(tmp_path / "h")]) == 2
    assert main(["history", str(tmp_path / "none")]) == 2
    one, other = write(tmp_path / "one"), write(tmp_path / "other", model="notes")
    assert main(["history", str(one), str(other)]) == 2
    said = capsys.readouterr().err
    assert "not UTF-8" in said
    assert "none" in said
    assert "its model is 'notes'" in said
