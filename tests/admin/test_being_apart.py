"""The commands for a night apart: who is in charge, what became of what was done, what waits for a person, drills."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import trio

import replica
from replica.admin import why
from replica.admin.reach import moment_ms, seconds
from replica.cases.commands import ChangePriority
from replica.errors import ConfigError
from replica.runtime.client import open_client
from tests.runtime.nodes import CASE, CASE_ID, SAMU, Plan, cluster, raised, until, until_mode
from tests.test_cli import run, run_beside

OTHER = "fr.health.samu690"


async def ask(*arguments: str, code: int = 0) -> str:
    """What a command prints, beside running nodes."""
    done = await run_beside(*arguments)
    assert done.returncode == code, done.stderr.decode()
    return (done.stdout if code == 0 else done.stderr).decode()


async def ask_json(*arguments: str) -> Any:
    return json.loads(await ask(*arguments, "--json", "-"))


def test_the_table_of_authority_is_printed_without_any_node() -> None:
    """An operator asks it before anything else works."""
    done = run("authority", "--json", "-")
    table = json.loads(done.stdout)
    assert table["transfer-case"]["owner here, cut off"] == "refused: needs the others"
    assert table["add-note"]["owner elsewhere, cut off"] == "allowed as a note"
    assert "take-over" in run("authority").stdout.decode()


@pytest.mark.processes
async def test_a_samu_is_taken_over_and_gets_its_work_back_by_command(tmp_path: Path) -> None:
    """Refused while it is heard, unless forced; on record with who and why; handed back once it was asked for."""
    plan = Plan(tmp_path)
    async with cluster(plan) as (zones, site):
        await raised(zones[0])
        await site.submit_message(CASE)
        async with replica.open_site(plan.site(OTHER)) as other:
            await until_mode(other, "connected")
            at, its = ("--at", other.address), ("--at", site.address)
            taking = ("takeover", SAMU, "--by", OTHER, "--reason", "no answer", *at)
            await until(lambda: bool(other.charges(OTHER).value))
            heard = ""
            with trio.fail_after(30):
                while "is heard" not in heard:
                    heard = await ask(*taking, code=1)
            await ask(*taking, "--force", "--automatic")
            await until(lambda: site.charges(SAMU).value[0].holder == SAMU)
            changes = (await ask_json("charges", SAMU, *its))["changes"]
            assert [one["holder"] for one in changes] == [OTHER, SAMU]
            assert changes[0]["reason"] == "no answer"
            assert "no answer" in " ".join((await ask("charges", SAMU, *its)).split())
            assert "is in charge" in await ask("handback", SAMU, "--reason", "?", "--now", *at, code=1)


@pytest.mark.processes
async def test_verdicts_are_asked_for_by_kind_case_and_time(tmp_path: Path) -> None:
    """As a table, as JSON and as CSV; and in sentences, in two languages."""
    async with cluster(Plan(tmp_path)) as (zones, site):
        (created,) = await site.submit_message(CASE)
        receipt = await site.submit(ChangePriority(CASE_ID, "P0"), author="Dr Martin")
        at = ("--at", site.address)
        await until(lambda: len(site.verdicts().value.verdicts) >= 2)
        answer = await ask_json("verdicts", *at)
        mine = [one for one in answer["verdicts"] if one["author"] == "Dr Martin"]
        assert [(one["act"], one["kind"], one["subject"]) for one in mine] == [("change-priority", "applied", CASE_ID)]
        assert answer["whole"]
        assert (await ask_json("verdicts", "--kind", "refused", *at))["verdicts"] == []
        assert (await ask_json("verdicts", "--since", "2020-01-01T00:00:00+01:00", *at))["verdicts"]
        assert (await ask_json("verdicts", "--since", "2099-01-01T00:00:00+01:00", *at))["verdicts"] == []
        rows = list(csv.DictReader(io.StringIO(await ask("verdicts", "--csv", "-", *at))))
        assert {row["operation"] for row in rows} >= {str(receipt.operation), str(created.operation)}
        assert "Martin" in await ask("verdicts", *at)
        told = await ask("why", str(receipt.operation), *at)
        assert "Dr Martin did change-priority" in told
        assert "Dr Martin a fait change-priority" in await ask("why", str(receipt.operation), "--language", "fr", *at)
        told = await ask("why", CASE_ID, *at)
        assert "priority is P0: said by Dr Martin" in told
        assert "Before: P2" in told
        assert "never heard of" in await ask("why", f"{SAMU}/{'00' * 16}/7", *at)
        assert not (await ask_json("verdicts", "--site", SAMU, "--at", zones[0].address))["whole"]


@pytest.mark.processes
async def test_a_conflict_is_listed_shown_and_decided(tmp_path: Path) -> None:
    """Two priorities said apart: a zone's caller says one while the site, in a drill, says another."""
    async with cluster(Plan(tmp_path)) as (zones, site), open_client(site.address) as operator:
        await site.submit_message(CASE)
        at = ("--at", site.address)
        assert "no conflict is open" in await ask("conflicts", "list", *at)
        await operator.drill(60_000)
        await site.submit(ChangePriority(CASE_ID, "P1"), author="Dr Martin")
        await zones[0].submit(ChangePriority(CASE_ID, "P0"), author="Dr Durand", budget_ms=5000)
        since = site.freshness().index
        await operator.drill(0)
        await until(lambda: bool(site.conflicts().value))
        with trio.fail_after(10):
            async for change in site.changes(since):
                if change.conflicts:
                    break
        assert change.conflicts == (("case", CASE_ID, "priority", ""),)
        (conflict,) = (await ask_json("conflicts", "list", *at))["conflicts"]
        assert [value["value"] for value in conflict["values"]] == ["P0", "P1"]
        assert "Durand" in await ask("conflicts", "list", *at)
        assert "holds" in await ask("conflicts", "show", CASE_ID, "priority", *at)
        told = await ask("why", CASE_ID, *at)
        assert "In conflict with P1" in told
        await ask("conflicts", "decide", CASE_ID, "priority", "P1", "--author", "Dr Martin", *at)
        assert site.conflicts().value == ()
        assert "there is none" in await ask("conflicts", "show", CASE_ID, "priority", *at, code=2)


@pytest.mark.processes
async def test_a_drill_by_command_prints_its_report(tmp_path: Path) -> None:
    """It watches until the time is over."""
    async with cluster(Plan(tmp_path)) as (_, site):
        report = await ask_json("drill", "cut", "--for", "1s", "--at", site.address)
        assert report["why_ended"] == "its time was over"
        assert report["lasted_ms"] >= 1000


def test_times_are_read_with_their_unit_and_moments_with_their_offset() -> None:
    """And nothing is guessed."""
    assert [seconds(text, "--for") for text in ("90s", "10m", "4h", "2d")] == [90, 600, 14_400, 172_800]
    assert moment_ms("", "--since") == 0
    assert moment_ms("1970-01-01T01:00:01+01:00", "--since") == 1000
    for text in ("10", "m", "0s", "-1s", "ten minutes"):
        with pytest.raises(ConfigError):
            seconds(text, "--for")
    for text in ("2026-01-01T00:00:00", "yesterday"):
        with pytest.raises(ConfigError):
            moment_ms(text, "--since")


def test_every_sentence_is_there_in_both_languages() -> None:
    """With the same facts in it."""
    for table in (why.WORDS, why.KINDS):
        for word, said in table.items():
            assert set(said) == {"fr", "en"}, word
            facts = [sorted(part.partition("}")[0] for part in text.split("{")[1:]) for text in said.values()]
            assert facts[0] == facts[1], word
