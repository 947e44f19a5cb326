"""A node as a program meets it: opened, asked, cut off, closed and opened again."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import replica
from replica.cases.verdicts import VerdictKind
from tests.runtime.nodes import CASE, CASE_ID, SAMU, Nodes, Plan, cluster, until, until_applied, until_mode

pytestmark = pytest.mark.processes


async def test_a_connected_site_gets_agreed_receipts_and_reads_its_own_writes(tmp_path: Path) -> None:
    """What was agreed is in the local copy when the receipt is given."""
    async with cluster(Plan(tmp_path)) as (_, site):
        (opened,) = await site.submit_message(CASE, budget_ms=5000)
        assert isinstance(opened, replica.Agreed)
        changed = await site.submit(replica.ChangePriority(CASE_ID, "P0"), author="Dr Martin", budget_ms=5000)
        assert isinstance(changed, replica.Agreed)
        assert changed.verdict.kind is VerdictKind.APPLIED
        read = site.read_case(CASE_ID)
        assert read.value is not None
        assert read.value.value("priority") == "P0"
        assert read.freshness.mode.value == "connected"
        assert read.freshness.undecided == 0


async def test_every_zone_and_the_site_hold_the_same_digest(tmp_path: Path) -> None:
    """Three voters and a site apply one log."""
    async with cluster(Plan(tmp_path, zones=3)) as (zones, site):
        await site.submit_message(CASE, budget_ms=5000)
        await until_applied(zones, site.status()["applied_index"])
        digests = {node._service.json_digest() for node in [*zones, site]}
        assert len(digests) == 1


async def test_a_site_without_any_zone_journals_and_says_so(tmp_path: Path) -> None:
    """A call-taker is never refused because a cable is cut, and is told which of the two receipts it is."""
    async with replica.open_site(Plan(tmp_path).site()) as site:
        (receipt,) = await site.submit_message(CASE, budget_ms=250)
        assert isinstance(receipt, replica.Journalled)
        read = site.read_case(CASE_ID)
        assert read.value is not None
        assert read.value.tentative
        assert read.freshness.mode.value == "cut-off"
        assert read.freshness.undecided >= 1


async def test_what_was_journalled_cut_off_gets_its_verdict_after_a_restart(tmp_path: Path) -> None:
    """The journal outlives the process; back in reach of a quorum, every operation gets one verdict."""
    plan = Plan(tmp_path)
    async with replica.open_site(plan.site()) as site:
        (receipt,) = await site.submit_message(CASE, budget_ms=250)
        assert site.outcome(receipt.operation).state == "journalled"
    async with replica.open_zone(plan.zone(), found=True), replica.open_site(plan.site()) as site:
        with trio.fail_after(20):
            index, verdict = await site.verdict(receipt.operation)
        assert index > 0
        assert verdict.kind is VerdictKind.APPLIED
    async with replica.open_site(plan.site()) as site:
        assert site.outcome(receipt.operation).state == "agreed"


async def test_a_command_that_needs_the_others_is_refused_at_once_while_cut_off(tmp_path: Path) -> None:
    """A transfer cannot be decided alone: surely not done, before any journal, with the reason."""
    plan = Plan(tmp_path)
    async with replica.open_zone(plan.zone(), found=True):
        async with replica.open_site(plan.site()) as site:
            await until_mode(site, "connected")
            await site.submit_message(CASE, budget_ms=5000)
    async with replica.open_site(plan.site()) as site:
        await until(lambda: site.status()["journal_length"] == 1)  # its opening
        with pytest.raises(replica.NotPermitted, match="quorum"):
            await site.submit(replica.TransferCase(CASE_ID, "fr.health.samu690"))
        assert site.status()["journal_length"] == 1


async def test_the_callers_own_key_makes_a_repetition_harmless(tmp_path: Path) -> None:
    """The same key handed in twice takes effect once."""
    async with cluster(Plan(tmp_path)) as (_, site):
        await site.submit_message(CASE, budget_ms=5000)
        note = replica.AddNote(CASE_ID, f"{SAMU}.medicalNote.1", "pâle, consciente")
        first = await site.submit(note, key="call-17", budget_ms=5000)
        second = await site.submit(note, key="call-17", budget_ms=5000)
        assert isinstance(first, replica.Agreed)
        assert isinstance(second, replica.Agreed)
        assert (first.verdict.kind, second.verdict.kind) == (VerdictKind.APPLIED, VerdictKind.DUPLICATE)


async def test_changes_tell_what_was_agreed_entry_by_entry(tmp_path: Path) -> None:
    """A program follows the cases it shows without asking again and again."""
    async with cluster(Plan(tmp_path)) as (_, site):
        since = site.status()["applied_index"]
        (receipt,) = await site.submit_message(CASE, budget_ms=5000)
        async for change in site.changes(since):
            if any(one.id == receipt.operation for one in change.decided):
                assert ("case", CASE_ID) in change.subjects
                break


async def test_a_cancelled_submit_tears_nothing(tmp_path: Path) -> None:
    """Who stops waiting does not stop the work: the operation still gets its verdict."""
    async with cluster(Plan(tmp_path)) as (_, site):
        await site.submit_message(CASE, budget_ms=5000)
        with trio.move_on_after(0.0001) as waited:
            await site.submit(replica.ChangePriority(CASE_ID, "P1"), budget_ms=5000)
        if waited.cancelled_caught:
            with trio.fail_after(5):
                while True:
                    read = site.read_case(CASE_ID)
                    if read.value is not None and read.value.value("priority") == "P1" and not read.freshness.undecided:
                        break
                    await trio.sleep(0.01)


async def test_a_zones_own_caller_gets_agreed_or_an_unknown_outcome_never_journalled(tmp_path: Path) -> None:
    """A zone has no journal to promise anything by."""
    plan = Plan(tmp_path, zones=3)
    async with cluster(plan) as (zones, site):
        await site.submit_message(CASE, budget_ms=5000)
        await until_applied(zones, site.status()["applied_index"])
        receipt = await zones[1].submit(replica.AddNote(CASE_ID, f"{SAMU}.medicalNote.9", "du PC"), budget_ms=5000)
        assert isinstance(receipt, replica.Agreed)
    async with replica.open_zone(plan.zone(1)) as alone:
        with pytest.raises(replica.OutcomeUnknown):
            await alone.submit(replica.AddNote(CASE_ID, f"{SAMU}.medicalNote.10", "seul"), budget_ms=200)


async def test_an_empty_store_under_a_known_identity_does_not_vote(tmp_path: Path) -> None:
    """D10: a lost vote is a broken promise; said in status."""
    async with replica.open_zone(Plan(tmp_path).zone(), found=False) as zone:
        await trio.sleep(1.0)
        status = zone.status()
        assert status["raft"]["votes"] is False
        assert status["raft"]["term"] == 0


async def test_a_zone_that_lost_its_store_is_rebuilt_and_readmitted(tmp_path: Path) -> None:
    """With every other voter answering, the leader shows that no forgotten promise matters: the node votes again."""
    plan = Plan(tmp_path, zones=3)
    async with cluster(plan) as (_, site):
        await site.submit_message(CASE, budget_ms=5000)
    for file in sorted((tmp_path / "zone-3").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (tmp_path / "zone-3").rmdir()
    async with cluster(plan, found=False) as (zones, site):
        with trio.fail_after(20):
            await until(lambda: bool(zones[2].status()["raft"]["votes"]))
        read = zones[2].read_case(CASE_ID)
        assert read.value is not None


async def test_a_store_is_opened_once(tmp_path: Path) -> None:
    """A second opener is told who holds it, and writes nothing."""
    plan = Plan(tmp_path)
    async with replica.open_zone(plan.zone(), found=True):
        with pytest.raises(replica.StoreError, match="zone-1"):
            async with replica.open_zone(plan.zone()):
                pass


async def test_another_clusters_store_is_refused(tmp_path: Path) -> None:
    """The identity in the store is compared before anything is started."""
    plan = Plan(tmp_path)
    async with replica.open_zone(plan.zone(), found=True):
        pass
    with pytest.raises(replica.StoreError, match="other"):
        async with replica.open_zone(plan.zone(cluster="other")):
            pass


async def test_what_cannot_be_encoded_is_refused_before_it_has_a_number(tmp_path: Path) -> None:
    """A lone surrogate, a text of megabytes: an error that says where, and the site goes on."""
    async with cluster(Plan(tmp_path)) as (_, site):
        await site.submit_message(CASE, budget_ms=5000)
        for text in ("\ud800", "x" * (2 << 20)):
            with pytest.raises(replica.InvalidMessage):
                await site.submit(replica.AddNote(CASE_ID, f"{SAMU}.medicalNote.7", text), budget_ms=5000)
        receipt = await site.submit(replica.AddNote(CASE_ID, f"{SAMU}.medicalNote.8", "bien"), budget_ms=5000)
        assert isinstance(receipt, replica.Agreed)


async def test_a_caller_who_waits_when_the_node_closes_is_told_that_the_outcome_is_unknown(tmp_path: Path) -> None:
    """The operation has a number and may be on disk: neither silence nor "surely not done" would be true."""
    told: list[BaseException] = []
    async with trio.open_nursery() as nursery:
        nodes = Nodes(nursery)
        zone = await nodes.start(replica.open_zone(Plan(tmp_path, zones=3).zone(), found=True))

        async def ask() -> None:
            try:
                await zone.submit_message(CASE, budget_ms=60_000)
            except replica.ReplicaError as problem:
                told.append(problem)

        with trio.fail_after(10):
            nursery.start_soon(ask)
            await trio.sleep(0.1)
            await nodes.stop("zone-1")
            await until(lambda: bool(told))
        nursery.cancel_scope.cancel()
    assert [type(problem) for problem in told] == [replica.OutcomeUnknown]
