"""How much a reading command asks for: `replica show --consistency`, of a running node and of a stopped one."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import replica
from tests.admin.typed import answer_beside, typed, typed_beside
from tests.runtime.nodes import CASE, CASE_ID, SAMU, Nodes, Plan, cluster, until, until_mode

READS = (("case", CASE_ID), ("resource", "r"), ("cases",), ("resources",))


@pytest.mark.parametrize("consistency", ["session", "linearizable"])
@pytest.mark.parametrize("read", READS)
def test_a_stopped_node_is_read_locally_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], read: tuple[str, ...], consistency: str
) -> None:
    """One store cannot say what others have agreed; it is not even opened."""
    done = typed(capsys, "show", *read, "--data", str(tmp_path / "gone"), "--consistency", consistency)
    assert done.code == 2
    assert done.err.startswith(f"--consistency: {consistency} needs a running node (--at)")


def test_another_word_or_a_budget_that_is_none_is_refused_with_what_is_allowed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = typed(capsys, "show", "cases", "--consistency", "eventual")
    assert done.code == 2
    assert "linearizable" in done.err
    assert typed(capsys, "show", "cases", "--budget-ms", "-1").code == 2


@pytest.mark.processes
@pytest.mark.parametrize("consistency", ["local", "session", "linearizable"])
async def test_a_running_node_is_read_with_the_consistency_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], consistency: str
) -> None:
    """A quiet cluster gives all of them the same answer."""
    wanted = ("--consistency", consistency, "--budget-ms", "5000")
    file = tmp_path / "answer.json"
    async with cluster(Plan(tmp_path)) as (zones, site):
        await site.submit_message(CASE, budget_ms=5000)
        for node in (zones[0], site):
            one = await answer_beside(capsys, file, "show", "case", CASE_ID, "--at", node.address, *wanted)
            assert one["case"]["id"] == CASE_ID
            several = await answer_beside(capsys, file, "show", "cases", "--at", node.address, *wanted)
            assert [case["id"] for case in several] == [CASE_ID]
            assert await answer_beside(capsys, file, "show", "resources", "--at", node.address, *wanted) == []


@pytest.mark.processes
async def test_cut_off_a_linearizable_read_is_refused_by_the_command_and_by_the_library_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lists ask for as much as a single case does; nothing older is answered in place of it."""
    async with trio.open_nursery() as nursery:
        nodes, plan = Nodes(nursery), Plan(tmp_path)
        zone = await nodes.start(replica.open_zone(plan.zone(1), found=True))
        site = await nodes.start(replica.open_site(plan.site()))
        await until_mode(site, "connected")
        receipts = await site.submit_message(CASE, budget_ms=5000)
        assert isinstance(receipts[-1], replica.Agreed)
        for node in (site, zone):
            cases = await node.cases(SAMU, consistency="linearizable", budget_ms=5000)
            assert [case.id for case in cases.value] == [CASE_ID]
            assert cases.freshness.index >= receipts[-1].index
            assert (await node.resources(consistency="linearizable", budget_ms=5000)).value == ()
            assert (await node.conflicts(consistency="session", budget_ms=5000)).value == ()
        await nodes.stop("zone-1")
        await until(lambda: site.status()["zone"] == "")
        for ask in (site.cases, site.resources, site.conflicts):
            with pytest.raises(replica.NotAvailable, match="cut off"):
                await ask(consistency="linearizable", budget_ms=60_000)
        for read in READS[2:]:
            done = await typed_beside(capsys, "show", *read, "--at", site.address, "--consistency", "linearizable")
            assert done.code == 1
            assert "cut off" in done.err
        assert [case.id for case in site.cases().value] == [CASE_ID]
        nursery.cancel_scope.cancel()


@pytest.mark.processes
async def test_a_list_is_part_of_the_session_as_a_single_read_is(tmp_path: Path) -> None:
    """What a list has shown, no later read of this session is older than; nor a list than what it is told was seen."""
    async with cluster(Plan(tmp_path)) as (zones, site):
        await site.submit_message(CASE, budget_ms=5000)
        await until(lambda: zones[0].read_case(CASE_ID).value is not None)
        for ask in (site.cases, site.resources, site.conflicts):
            with pytest.raises(replica.NotAvailable, match="as of"):
                await ask(consistency="session", budget_ms=50, after_index=1_000_000)
        seen = site.cases().freshness.index
        assert site._session_index >= seen > 0
