"""The mutants: each still applies, the machinery notices what it must, and a survivor is never passed over."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.__main__ import main
from chaos.mutants.catalogue import MUTANTS
from chaos.mutants.command import SOURCES, all_checks, run_mutants
from chaos.mutants.mutant import Mutant, NamedTests, NoLongerApplies, Scenarios, Seeds, as_json, from_json
from chaos.mutants.report import Report, page
from chaos.mutants.workshop import CannotRun, Caught, ask, copy

# ---- the catalogue


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_applies_exactly_once_and_changes_something(mutant: Mutant) -> None:
    """When this fails the program has moved on: rewrite the lie, so that it is told again."""
    mutant.must_apply(SOURCES)
    assert mutant.new != mutant.old
    assert mutant.sentence.endswith(".")
    assert mutant.checks


def test_there_are_enough_mutants_and_no_two_of_one_name() -> None:
    """At least 25."""
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) >= 25
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_is_held_against_exists(mutant: Mutant) -> None:
    """A check that was renamed would fail in the baseline; here it is found in a moment."""
    for check in mutant.checks:
        match check:
            case Scenarios(names=names):
                missing = [name for name in names if not (SOURCES / f"tests/raft/scenarios/{name}.txt").is_file()]
                assert missing == []
            case NamedTests(ids=ids):
                for test in ids:
                    file, _, name = test.partition("::")
                    assert f"def {name}" in (SOURCES / file).read_text(encoding="utf-8"), test
            case Seeds(seeds=seeds):
                assert seeds >= 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a = 1\n", "has 0 times what it replaces"), ("return 2\nreturn 2\n", "has 2 times"), (None, "there is no")],
)
def test_a_mutant_that_no_longer_applies_is_an_error_and_changes_nothing(
    text: str | None, problem: str, tmp_path: Path
) -> None:
    """Not found, found twice, or no such file: never a silent pass."""
    if text is not None:
        (tmp_path / "file.py").write_text(text)
    with pytest.raises(NoLongerApplies, match=problem):
        LIE_LIKE.lie_in(tmp_path)
    assert text is None or (tmp_path / "file.py").read_text() == text


# ---- a program of one line, with one check of each kind

PROGRAM = "def double(number):\n    return 2 * number\n"
SCENARIO = """\
class BadScenario(Exception):
    pass


def run(text):
    from replica.program import double
    first = text.splitlines()[0]
    if double(1) > 3:
        raise BadScenario("too much")
    return f"{first}\\n{double(4)}\\n"
"""
WORLD = """\
import json
from pathlib import Path


def main(words):
    options = dict(zip(words[1::2], words[2::2], strict=True))
    from replica.program import double
    start, count = int(options["--start"]), int(options["--seeds"])
    failures = [{"seed": s, "invariant": "Sum", "text": "differs"} for s in range(start, start + count)
                if s >= 12 and double(s) != s + s]
    Path(options["--json"]).write_text(json.dumps({"failures": failures}))
    return 0
"""
PYPROJECT = '[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\npythonpath = ["."]\n'

LIE = Mutant("lie", "A lie.", "replica/program.py", "return 2 * number", "return 3 * number", ())
LIE_LIKE = replace(LIE, file="file.py", old="return 2")
SCENARIOS, TESTS = Scenarios(("four",)), NamedTests(("tests/test_program.py::test_two",))
SEEDS, FEW_SEEDS = Seeds(30), Seeds(11)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A project small enough that a mutant takes a moment."""
    root = tmp_path / "sources"
    for folder in ("replica", "chaos", "tests/raft/scenarios"):
        (root / folder).mkdir(parents=True)
    shutil.copytree(SOURCES / "chaos/mutants", root / "chaos/mutants", ignore=shutil.ignore_patterns("__pycache__"))
    files = {
        "pyproject.toml": PYPROJECT,
        "replica/__init__.py": "",
        "replica/program.py": PROGRAM,
        "chaos/__init__.py": "",
        "chaos/__main__.py": WORLD,
        "tests/raft/scenario.py": SCENARIO,
        "tests/raft/scenarios/four.txt": "# four\n8\n",
        "tests/test_program.py": "from replica.program import double\n\n\ndef test_two():\n    assert double(1) == 2\n",
    }
    for name, text in files.items():
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("mutant", "by", "seeds"),
    [
        (replace(LIE, checks=(SCENARIOS,)), "scenario four", None),
        (replace(LIE, new="return 4 * number", checks=(SCENARIOS,)), "scenario four", None),
        (replace(LIE, checks=(TESTS,)), "test test_two", None),
        (replace(LIE, checks=(SEEDS,)), "core world: Sum", 12),
        (replace(LIE, checks=(FEW_SEEDS, TESTS)), "test test_two", 11),
        (replace(LIE, new="return number + number", checks=(SCENARIOS, TESTS, SEEDS)), None, 30),
        (replace(LIE, new="return (", checks=(SEEDS,)), "does not run", None),
    ],
    ids=["recording differs", "scenario raises", "test", "seeds", "second check", "nobody", "no program"],
)
def test_a_mutant_is_caught_by_the_first_check_that_fails(
    mutant: Mutant, by: str | None, seeds: int | None, sources: Path
) -> None:
    """Who caught it, and after how many seeds; a lie that is none is caught by nobody."""
    report = run_mutants([mutant], sources)
    ((_, caught),) = report.results
    assert (caught.by, caught.seeds) == (by, seeds)
    assert report.ok == (by is not None)
    assert report.survived == ([] if by else ["lie"])
    assert (sources / "replica/program.py").read_text() == PROGRAM


def test_a_mutant_that_hangs_is_caught(sources: Path) -> None:
    """Seven seconds of patience here, minutes in earnest."""
    program = sources / "replica/program.py"
    program.write_text(PROGRAM.replace("    return", "    while True: pass\n    return"))
    caught = ask(sources, [SEEDS], timeout_s=2)
    assert caught.by == "does not end"


def test_a_program_that_does_not_pass_as_it_is_shows_nothing(sources: Path) -> None:
    """The baseline comes first, and no mutant is run where it fails."""
    (sources / "replica/program.py").write_text(PROGRAM + "\n\nassert double(2) == 4\n")
    run_mutants([replace(LIE, checks=(TESTS,))], sources)
    (sources / "tests/test_program.py").write_text("def test_two():\n    assert False\n")
    with pytest.raises(CannotRun, match="the copy as it is does not pass"):
        run_mutants([replace(LIE, checks=(TESTS,))], sources)


def test_a_check_that_does_not_exist_is_an_error_and_no_catch(sources: Path) -> None:
    """Else every mutant would be caught by a name that was misspelt."""
    with pytest.raises(CannotRun):
        run_mutants([replace(LIE, checks=(NamedTests(("tests/test_program.py::test_gone",)),))], sources)
    with pytest.raises(CannotRun):
        run_mutants([replace(LIE, checks=(Scenarios(("gone",)),))], sources)


def test_a_copy_takes_no_caches_with_it(sources: Path, tmp_path: Path) -> None:
    """They could hold the code as it was."""
    (sources / "replica/__pycache__").mkdir()
    copy(sources, tmp_path / "copy")
    assert not (tmp_path / "copy/replica/__pycache__").exists()
    assert (tmp_path / "copy/replica/program.py").read_text() == PROGRAM


# ---- checks and reports


def test_a_check_comes_out_of_json_as_it_went_in() -> None:
    """It travels to another process."""
    for check in (Scenarios(("a", "b")), TESTS, Seeds(5, "figure-8", "node", 300)):
        assert from_json(json.loads(json.dumps(as_json(check)))) == check
    with pytest.raises(ValueError, match="no check"):
        from_json({"kind": "prayer"})


def test_the_baseline_asks_every_check_once_as_hard_as_any_mutant_does() -> None:
    """Tests of a file together, of the same seeds the greatest number."""
    more = NamedTests(("tests/test_program.py::test_three", "tests/other.py"))
    mutants = [replace(LIE, checks=(SCENARIOS, TESTS, FEW_SEEDS)), replace(LIE, checks=(SEEDS, more, Seeds(3, "calm")))]
    assert all_checks(mutants) == [
        SCENARIOS,
        NamedTests(("tests/other.py",)),
        NamedTests(("tests/test_program.py::test_three", "tests/test_program.py::test_two")),
        SEEDS,
        Seeds(3, "calm"),
    ]
    assert all_checks([*mutants, replace(LIE, checks=(Scenarios(),))])[0] == Scenarios(())


def test_the_report_counts_who_caught_what_and_names_who_survived() -> None:
    """And the page is made from it alone."""
    report = Report({"checks": 3, "seeds": 60})
    report.results = [
        (LIE, Caught("scenario four", "a | b", None, 1.25)),
        (replace(LIE, name="other"), Caught("core world: VoteOnce", "", 7, 2.0)),
        (replace(LIE, name="third", sentence="Says a | b."), Caught(None, "", 60, 3.0)),
    ]
    found = report.as_json()
    assert (found["mutants"], found["caught"], found["survived"], found["ok"]) == (3, 2, ["third"], False)
    assert found["by"] == {"core world: VoteOnce": 1, "scenario": 1}
    text = page(json.loads(json.dumps(found)))
    assert "2 of 3 were caught; survived: third." in text
    assert "| other | A lie. | `replica/program.py` | core world: VoteOnce | 7 |" in text
    assert "| third | Says a \\| b. | `replica/program.py` | nobody | 60 |" in text


def test_the_page_of_the_documentation_is_made_from_its_json_and_has_every_mutant() -> None:
    """After a change of the catalogue: python -m chaos mutants --json docs/mutants.json, and --docs."""
    recorded = json.loads((SOURCES / "docs/mutants.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in recorded["table"]] == [mutant.name for mutant in MUTANTS]
    assert recorded["survived"] == []
    assert (SOURCES / "docs/mutants.md").read_text(encoding="utf-8") == page(recorded)


def test_the_command_lists_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without running anything."""
    assert main(["mutants", "--list"]) == 0
    assert f"{MUTANTS[0].name}: {MUTANTS[0].sentence}" in capsys.readouterr().out
    assert main(["mutants", "--docs", str(tmp_path / "mutants.md")]) == 2
    assert "no page could be made" in capsys.readouterr().err
    report = Report({"checks": 1, "seeds": 0}, [(LIE, Caught("test x", "", None, 1.0))])
    (tmp_path / "mutants.json").write_text(json.dumps(report.as_json()))
    assert main(["mutants", "--docs", str(tmp_path / "mutants.md")]) == 0
    assert "| lie | A lie." in (tmp_path / "mutants.md").read_text()


def test_a_mutant_nobody_knows_is_a_wrong_command_line() -> None:
    """argparse says which there are."""
    with pytest.raises(SystemExit):
        main(["mutants", "--only", "kindness"])
