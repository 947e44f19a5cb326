"""`replica sheet` and `replica resume-paper` as a person types them, on real stores and real sites."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cyclopts
import pytest
import trio

import replica
from replica.admin.paper_command import enter, resume_paper
from replica.admin.sheet_command import sheet
from replica.cases import keys
from replica.errors import ConfigError, InvalidMessage
from replica.runtime.client import open_client
from replica.runtime.sheet_keeper import Plan as SheetPlan
from replica.runtime.sheet_keeper import SheetKeeper, of_site
from replica.runtime.site import SiteNode
from tests.runtime.nodes import CASE, CASE_ID, SAMU, Nodes, Plan, cluster, until, until_mode
from tests.sheet.printed import case_of, sheet_of
from tests.sheet.stores import HEART, Left, damage, killed

VLM = "fr.health.samu440.resource.VLM1"
VEHICLE = f"""{{"resourcesInfo": {{"caseId": "{CASE_ID}", "resource": [{{"datetime": "2026-01-05T10:05:00+01:00",
"resourceId": "{VLM}", "orgId": "{SAMU}", "vehicleType": "SMUR.VLM",
"state": [{{"datetime": "2026-01-05T10:05:00+01:00", "status": "DECLENCHE"}}]}}]}}}}""".encode()


def run(command: Callable[..., Any], *arguments: str) -> Any:
    """The command as it will be registered, with the arguments of a person."""
    app = cyclopts.App(result_action="return_value")
    app.default(command)
    return app(list(arguments), exit_on_error=False)


# --- sheet ---


@pytest.fixture
def left(tmp_path: Path) -> Left:
    return killed(tmp_path / "site")


def test_the_sheet_is_printed_or_written_by_the_ending_of_its_name(
    left: Left, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(sheet, "--data", str(left.folder), "--language", "en", "--time-zone", "UTC")
    shown = capsys.readouterr().out
    assert shown.startswith("Sheet of fr.health.samu350")
    run(sheet, "--data", str(left.folder), "--out", str(tmp_path / "s.html"))
    run(sheet, "--data", str(left.folder), "--out", str(tmp_path / "s.txt"), "--language", "fr")
    assert (tmp_path / "s.html").read_text().startswith('<!doctype html>\n<html lang="fr">')
    assert (tmp_path / "s.txt").read_text().startswith("Feuille de fr.health.samu350")


def test_a_store_damaged_in_part_still_exits_well_and_says_so(
    left: Left, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(left, keys.head("case", HEART))
    run(sheet, "--data", str(left.folder), "--out", str(tmp_path / "s.txt"))
    assert "NOT EVERYTHING COULD BE READ" in capsys.readouterr().err


def test_a_time_zone_or_a_place_to_write_that_is_none_is_wrong_input(left: Left, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--time-zone"):
        run(sheet, "--data", str(left.folder), "--time-zone", "Europe/Rennes")
    with pytest.raises(ConfigError, match="cannot be written"):
        run(sheet, "--data", str(left.folder), "--out", str(tmp_path / "gone" / "s.txt"))


@pytest.mark.processes
async def test_a_running_site_is_read_beside_and_its_own_keeper_writes_the_same(tmp_path: Path) -> None:
    """The store's lock is the site's; LMDB lets others read. What is not flushed yet, only the site itself knows."""
    async with cluster(Plan(tmp_path)) as (_, site):
        await site.submit_message(CASE, budget_ms=5000)
        await site.submit_message(VEHICLE, budget_ms=5000)
        await until(lambda: site.status()["flushed_index"] == site.status()["applied_index"])
        # LMDB opens a store once in a process, so who reads beside the site is another one, as a person's command is.
        beside = await trio.run_process(
            [sys.executable, "-c", BESIDE, str(tmp_path / SAMU)], capture_stdout=True, check=True
        )
        shown = beside.stdout.decode()
        assert "read from disk beside a running process" in shown
        assert CASE_ID in shown
        assert "NOT EVERYTHING" not in shown
        node = site._running.node
        assert isinstance(node, SiteNode)
        kept = SheetKeeper(SheetPlan(tmp_path / "sheet.txt", 30, "en", "UTC"), of_site(node), node.log)
        made = await kept.write()
        assert (made.facts.mode, made.facts.undecided) == ("connected", 0)
        own = (tmp_path / "sheet.txt").read_text()
        assert own[own.index("OPEN CASES") :] == shown[shown.index("OPEN CASES") :]


BESIDE = """\
import sys
from pathlib import Path
from replica.admin.sheet_command import sheet
sheet(data=Path(sys.argv[1]), language="en", time_zone="UTC")
"""
SITE = """\
import sys, trio
from pathlib import Path
import replica
from tests.runtime.nodes import CASE, CASE_ID, Plan, SAMU
async def main() -> None:
    plan = Plan(Path(sys.argv[1]))
    async with replica.open_site(plan.site()) as site:
        (receipt,) = await site.submit_message(CASE, budget_ms=500)
        await site.submit(replica.AddNote(CASE_ID, "n", "seen by nobody else"), author="Dr Martin", budget_ms=500)
        print("done", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


@pytest.mark.processes
def test_a_site_that_was_never_connected_and_is_killed_leaves_what_it_did(tmp_path: Path) -> None:
    """A real process, SIGKILL, and the store alone: every act that had its receipt is on the sheet, and marked."""
    process = subprocess.Popen(
        [sys.executable, "-c", SITE, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        assert b"done\n" in iter(process.stdout.readline, b"")
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    made = sheet_of(tmp_path / SAMU)
    case = case_of(made, CASE_ID)
    assert (made.facts.undecided, made.facts.confirmed_ms) == (2, None)
    assert case.tentative
    assert [(note.said.value, note.said.author, note.said.tentative) for note in case.notes] == [
        ("seen by nobody else", "Dr Martin", True)
    ]


# --- resume-paper ---


def ago(minutes: float) -> str:
    """A time as a person writes it on a form."""
    at = datetime.now(timezone(timedelta(hours=1))) - timedelta(minutes=minutes)
    return at.isoformat(timespec="seconds")


def form(*acts: str) -> str:
    return "\n".join(['form = "f1"', *(f"[[act]]\n{one}" for one in acts)])


def act(minutes: float, what: str, **more: str) -> str:
    given = "\n".join(f'{name} = "{text}"' for name, text in more.items())
    return f'time = {ago(minutes)}\nauthor = "Dr Martin"\nwhat = "{what}"\n{given}'


def whole_night() -> str:
    return form(
        act(50, "new-case", case="P0305", value="Homme 58 ans, douleur thoracique", address="14 rue X", priority="P1"),
        act(40, "priority", case="P0305", value="P0"),
        act(39, "engage", case="P0305", resource=VLM),
        act(30, "status", resource=VLM, case="P0305", value="ARRIVEE"),
        act(20, "note", case=CASE_ID, value="laissé sur place"),
        act(10, "close", case=CASE_ID),
    )


async def entered(at: str, text: str, **more: Any) -> list[tuple[str, str, str]]:
    """(act, receipt, verdict) of each operation."""
    async with open_client(at) as client:
        done = await enter(client, text.encode(), "", 31, 10_000, **{"dry_run": False, **more})
    return [(one.entry.act.what, one.state, one.verdict) for one in done]


@pytest.mark.processes
async def test_a_form_entered_twice_takes_effect_once(tmp_path: Path) -> None:
    """Each act with its own time and author, in the case it was written for; the second time every verdict is
    `duplicate`, and nothing has changed."""
    async with cluster(Plan(tmp_path)) as (_, site):
        for message in (CASE, VEHICLE):
            await site.submit_message(message, budget_ms=5000)
        text = whole_night()
        first = await entered(site.address, text)
        assert [state for _, state, _ in first] == ["agreed"] * 7
        assert {verdict for _, _, verdict in first} <= {"applied", "merged"}
        paper = site.read_case(f"{SAMU}.P0305").value
        assert paper is not None
        assert (paper.value("priority"), paper.owner, paper.status) == ("P0", SAMU, "ACTIF")
        acts = json.dumps([one.value.act_ms for one in paper.elements if one.field == "medical_note"])
        wanted = datetime.fromisoformat(text.split("time = ")[1].split("\n")[0])
        assert acts == f"[{round(wanted.timestamp() * 1000)}]"
        assert [one.resource for one in paper.engagements] == [VLM]
        closed = site.read_case(CASE_ID).value
        assert closed is not None
        assert not closed.open
        again = await entered(site.address, text)
        assert [verdict for _, _, verdict in again] == ["duplicate"] * 7
        after = site.read_case(f"{SAMU}.P0305").value
        assert after is not None
        assert (after.fields, after.elements, after.engagements) == (paper.fields, paper.elements, paper.engagements)


@pytest.mark.processes
async def test_a_form_entered_twice_while_cut_off_takes_effect_once_when_the_line_is_back(tmp_path: Path) -> None:
    """Journalled both times; the gate knows the keys."""
    async with trio.open_nursery() as nursery:
        nodes, plan = Nodes(nursery), Plan(tmp_path)
        await nodes.start(replica.open_zone(plan.zone(1), found=True))
        site = await nodes.start(replica.open_site(plan.site()))
        await until_mode(site, "connected")
        await site.submit_message(CASE, budget_ms=5000)
        await nodes.stop("zone-1")
        await until_mode(site, "cut-off")
        text = form(act(20, "note", case=CASE_ID, value="seen"), act(10, "priority", case=CASE_ID, value="P0"))
        for _ in range(2):
            async with open_client(site.address) as client:
                done = await enter(client, text.encode(), "", 31, 500, dry_run=False)
            assert {one.state for one in done} == {"journalled"}
        await nodes.start(replica.open_zone(plan.zone(1)))
        await until(lambda: site.status()["undecided"] == 0)
        case = site.read_case(CASE_ID).value
        assert case is not None
        assert [one.value.value for one in case.elements if one.field == "medical_note"] != []
        assert len([one for one in case.elements if one.field == "medical_note"]) == 1
        assert case.value("priority") == "P0"
        nursery.cancel_scope.cancel()


@pytest.mark.processes
async def test_a_wrong_form_enters_nothing_and_names_every_place(tmp_path: Path) -> None:
    """Also what only the site can tell: a case or a resource that was copied wrongly."""
    async with cluster(Plan(tmp_path)) as (_, site):
        await site.submit_message(CASE, budget_ms=5000)
        index = site.status()["applied_index"]
        text = form(
            act(20, "note", case=CASE_ID, value="seen"),
            act(19, "note", case=f"{SAMU}.T7", value="seen"),
            act(18, "engage", case=CASE_ID, resource=VLM),
            act(17, "status", resource=VLM, value="PEC"),
        )
        with pytest.raises(InvalidMessage) as refused:
            await entered(site.address, text)
        places = [f"{place.path}: {place.problem}" for place in refused.value.places]
        assert [place.partition(": ")[0] for place in places] == ["line 8", "line 14", "line 20", "line 20"]
        assert "'fr.health.samu440.T7' is not known at this site" in places[0]
        assert site.status()["applied_index"] == index


@pytest.mark.processes
async def test_a_dry_run_checks_everything_and_enters_nothing(tmp_path: Path) -> None:
    async with cluster(Plan(tmp_path)) as (_, site):
        for message in (CASE, VEHICLE):
            await site.submit_message(message, budget_ms=5000)
        index = site.status()["applied_index"]
        assert {state for _, state, _ in await entered(site.address, whole_night(), dry_run=True)} == {"would-be"}
        assert site.status()["applied_index"] == index


@pytest.mark.processes
async def test_a_later_decision_is_not_undone_by_paper(tmp_path: Path) -> None:
    """P0 was set after the paper's P3: the paper comes in as a note, and P0 holds without a conflict."""
    async with cluster(Plan(tmp_path)) as (_, site):
        await site.submit_message(CASE, budget_ms=5000)
        await site.submit(replica.ChangePriority(CASE_ID, "P0"), author="Dr Petit", budget_ms=5000)
        assert await entered(site.address, form(act(20, "priority", case=CASE_ID, value="P3"))) == [
            ("priority", "agreed", "applied")
        ]
        case = site.read_case(CASE_ID).value
        assert case is not None
        assert (case.value("priority"), case.conflicts) == ("P0", ())
        (note,) = [one.value for one in case.elements if one.field == "medical_note"]
        assert "priority P3. Not applied: priority P0 is later" in note.value
        assert note.author == "Dr Martin"


@pytest.mark.processes
async def test_the_command_prints_a_line_for_each_act_and_its_exit_code_says_whether_all_is_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    async with cluster(Plan(tmp_path)) as (_, site):
        await site.submit_message(CASE, budget_ms=5000)
        paper = tmp_path / "form.toml"
        paper.write_text(form(act(20, "note", case=CASE_ID, value="seen"), act(10, "close", case=CASE_ID)))
        arguments = (str(paper), "--at", site.address, "--budget-ms", "5000")
        code = await trio.to_thread.run_sync(lambda: run(resume_paper, *arguments))
        shown = capsys.readouterr().out
        assert code == 0
        rows = [line.split() for line in shown.split("\n") if "Dr Martin" in line]
        assert [(row[0], row[-1]) for row in rows] == [("2", "applied"), ("8", "applied")]
        answer = tmp_path / "answer.json"
        await trio.to_thread.run_sync(lambda: run(resume_paper, *arguments, "--json", str(answer)))
        assert [one["verdict"] for one in json.loads(answer.read_bytes())] == ["duplicate", "duplicate"]


def test_the_example_is_printed_in_either_language(capsys: pytest.CaptureFixture[str]) -> None:
    run(resume_paper, "--example", "--language", "fr")
    assert "[[ligne]]" in capsys.readouterr().out
    run(resume_paper, "--example")
    assert "[[act]]" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="FORM: is missing"):
        run(resume_paper)
