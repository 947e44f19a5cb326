"""A cluster is founded anew out of a zone that was behind its sites (O17): nothing that was agreed is lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from msgspec.structs import replace

import replica
from replica.admin.founding import JUMP, found_anew
from replica.cases import queries
from replica.cases.operations import HybridTime, Operation, OperationId
from replica.config import Limits
from replica.offline.ahead import Break, Span, breaks_in
from replica.offline.events import Mode
from replica.runtime.history import DAY_MS, Again, History, remembered
from replica.runtime.outside import REAL
from replica.runtime.site import SiteNode
from replica.runtime.state import State
from replica.runtime.status import site_status
from replica.runtime.writeback import in_loop
from replica.storage import Identity, JournalForget, JournalTrim, MemoryStore, open_store, peek_identity
from replica.storage.snapshot_contract import Step
from replica.wire.operation_codec import decode_operation, encode_operation
from tests.runtime.nodes import CASE, CASE_ID, SAMU, Plan, until
from tests.runtime.shipped import QUICK, Chunks, World

pytestmark = pytest.mark.processes
NEIGHBOUR = "fr.health.samu690"
ZONES = ("zone-1", "zone-2", "zone-3")
LIMITS = Limits(map_size_gib=1)


class Overheard(Chunks):
    """What the node writes into its log is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, dict[str, Any]]] = []

    def logger(self, node: str) -> Any:
        return self

    def info(self, event: str, **facts: Any) -> None:
        self.said.append((event, facts))

    debug = warning = error = info

    def heard(self, event: str) -> list[dict[str, Any]]:
        return [facts for name, facts in self.said if name == event]


@asynccontextmanager
async def three_zones(folder: Path, *sites: str, limits: Limits = LIMITS) -> AsyncIterator[World]:
    """Three zones, these sites, and a case, all of it agreed everywhere and written back."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(folder, 3, QUICK), limits)
        for name in (*ZONES, *sites):
            world.outsides[name] = Overheard()
            await world.start(name)
        service = world.site(sites[0]).service
        (handed,) = await service.submit_message(CASE, budget_ms=20_000)
        await service.verdict(handed.operation)
        await until(lambda: registered(world, *sites) and len(positions(world, *ZONES, *sites)) == 1)
        yield world
        nursery.cancel_scope.cancel()


def registered(world: World, *sites: str) -> bool:
    return all(queries.site_of(world.zone("zone-1").state, name) == name for name in sites)


def positions(world: World, *names: str) -> set[int]:
    """Where these nodes stand, in memory and on the disk."""
    states = [(world.zone(name) if name in ZONES else world.site(name)).state for name in names]
    return {index for state in states for index in (state.index, state.flushed_index)}


async def notes(world: World, site: str, count: int, word: str) -> list[OperationId]:
    """So many, each of them agreed, as whoever handed it in was told."""
    agreed: list[OperationId] = []

    async def one(at: int) -> None:
        note = replica.AddNote(CASE_ID, f"{site}.medicalNote.{word}-{at}", f"{word}-{at}")
        service = world.site(site).service
        handed = await service.submit(note, author="Dr Martin", budget_ms=30_000)
        await service.verdict(handed.operation)
        agreed.append(handed.operation)

    async with trio.open_nursery() as nursery:
        for at in range(count):
            nursery.start_soon(one, at)
    return sorted(agreed, key=lambda operation: operation.seq)


async def agreed_without_zone_1(world: World, count: int, *sites: str) -> dict[str, list[OperationId]]:
    """Notes of each site that zones 2 and 3 agree to, and that have left the journals; then no zone is left."""
    await world.stop("zone-1")
    agreed = {site: await notes(world, site, count, "lost") for site in sites}
    for site in sites:
        await until(lambda site=site: world.site(site).store.journal.length == 0)  # type: ignore[misc]
    for name in ("zone-2", "zone-3"):
        await world.stop(name)
    return agreed


def found(world: World) -> None:
    done = found_anew(world.zone_config(1), "an operator", 1_700_000_000_000)
    assert (done.generation, done.zone) == (2, "zone-1")


def is_back(site: SiteNode) -> bool:
    """Whether it works with the cluster that was founded anew."""
    return site.generation == 2 and site.desk.core.mode is Mode.CONNECTED and bool(site.line.zone)


def texts(node: Any) -> list[str]:
    view = node.service.case(CASE_ID)
    assert view is not None
    return sorted(json.loads(one.value.value)["freetext"] for one in view.elements)


def again(world: World, site: str = SAMU) -> dict[str, int]:
    status: dict[str, int] = site_status(world.site(site))["offered_again"]
    return status


async def test_what_zones_2_and_3_agreed_comes_back_from_the_sites_into_zone_1(tmp_path: Path) -> None:
    """Both sites had receipts for it. A site is killed between taking the new state and looking for what it lacks, and
    again when some of it is decided: every operation has one verdict, the newer ones come behind, and all is equal."""
    async with three_zones(tmp_path, SAMU, NEIGHBOUR) as world:
        agreed = await agreed_without_zone_1(world, 150, SAMU, NEIGHBOUR)
        found(world)
        world.outside(SAMU).on_step = lambda step: world.kill(SAMU) if step is Step.INSTALL_DONE else None
        await world.start("zone-1")
        await world.until_deaths(1, lambda: False)
        world.outside(SAMU).on_step = lambda step: None
        await world.start(SAMU)
        await until(lambda: again(world)["decided"] > 0)
        await world.stop(SAMU)
        await world.start(SAMU)
        await until(lambda: is_back(world.site()))
        newer = await notes(world, SAMU, 1, "newer")
        await until(lambda: all(again(world, site)["decided"] == 150 for site in (SAMU, NEIGHBOUR)))
        for site, operations in agreed.items():
            for operation in operations:
                index, verdict = await world.site(site).service.verdict(operation)
                assert verdict.kind is replica.VerdictKind.APPLIED or site == NEIGHBOUR
                assert index > JUMP
        assert world.site().service.outcome(newer[0]).index > max(
            world.site().service.outcome(operation).index for operation in agreed[SAMU]
        )
        await until(lambda: len(positions(world, "zone-1", SAMU, NEIGHBOUR)) == 1)
        digests = {queries.digest(state) for state in (world.zone("zone-1").state, world.site().state)}
        assert digests == {queries.digest(world.site(NEIGHBOUR).state)}
        expected = sorted([*(f"lost-{at}" for at in range(150)), *(f"lost-{at}" for at in range(150)), "newer-0"])
        assert texts(world.zone("zone-1")) == texts(world.site()) == expected
        status = site_status(world.site())
        assert (status["generation"], status["undecided"], status["restored"], status["fenced"]) == (2, 0, False, False)
        assert (status["offered_again"], status["missing"]) == ({"count": 150, "decided": 150, "otherwise": 0}, [])
        await until(lambda: world.site().store.journal.length == 0)


async def test_the_copy_as_it_was_is_set_aside_and_shown(tmp_path: Path) -> None:
    """With all that it had, the old verdicts among it, until an operator deletes it."""
    async with three_zones(tmp_path, SAMU) as world:
        (lost,) = (await agreed_without_zone_1(world, 1, SAMU))[SAMU]
        site, before = world.site(), world.site().state.index
        old = site.service.outcome(lost)
        found(world)
        await world.start("zone-1")
        await until(lambda: is_back(site) and again(world)["decided"] == 1)
        (folder,) = site_status(site)["set_aside"]
        (said,) = world.outside(SAMU).heard("state-set-aside")  # type: ignore[attr-defined]
        assert (said["index"], said["folder"]) == (before, folder)
        assert (await site.service.verdict(lost))[0] > before
        await world.stop(SAMU)
        kept = copy_of(tmp_path / "aside", Path(folder), tmp_path / SAMU)
        with open_store(kept, peek_identity(tmp_path / SAMU), create=False, read_only=True) as store:
            assert store.state.applied()[0] == before
            view = queries.read_case(store.state, CASE_ID)
            assert view is not None
            assert [json.loads(one.value.value)["freetext"] for one in view.elements] == ["lost-0"]
            record = next(value for key, value in store.state.local_scan(b"decided/") if value[:8] == number(old.index))
            assert record[8:]


def number(index: int) -> bytes:
    return index.to_bytes(8, "big")


def copy_of(to: Path, aside: Path, store: Path) -> Path:
    """As docs/operating.md says: a copy of the store, with what was set aside in the place of its state."""
    import shutil

    shutil.copytree(store, to, ignore=shutil.ignore_patterns("state*", "snapshots", "LOCK"))
    with open_store(store, peek_identity(store), create=False, read_only=True) as now:
        name = now._state.env.folder.name
    (to / name).mkdir()
    shutil.copy(aside / "data.mdb", to / name / "data.mdb")
    return to


async def test_a_site_that_is_not_ahead_notices_nothing(tmp_path: Path) -> None:
    """Zone 1 had everything: nothing is offered again, nothing is set aside."""
    async with three_zones(tmp_path, SAMU) as world:
        await notes(world, SAMU, 3, "kept")
        await until(lambda: len(positions(world, *ZONES, SAMU)) == 1)
        # Nothing more is agreed on the way: a new leader's first entry would be something to be ahead by.
        for name in sorted(ZONES, key=lambda name: (name == "zone-1", name == world.leader)):
            await world.stop(name)
        found(world)
        await world.start("zone-1")
        site = world.site()
        await until(lambda: is_back(site))
        status = site_status(site)
        assert (status["generation"], status["set_aside"], status["missing"]) == (2, [], [])
        assert status["offered_again"] == {"count": 0, "decided": 0, "otherwise": 0}
        assert not world.outside(SAMU).heard("offered-again")  # type: ignore[attr-defined]
        assert texts(site) == ["kept-0", "kept-1", "kept-2"]


async def test_what_is_not_remembered_any_more_is_named_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A site that remembers nothing (`past_days` 0): also after a restart, new operations are agreed."""
    async with three_zones(tmp_path, SAMU, limits=replace(LIMITS, past_days=0)) as world:
        (lost, *_) = (await agreed_without_zone_1(world, 3, SAMU))[SAMU]
        assert world.site().store.journal.past_length == 0
        found(world)
        await world.start("zone-1")
        await until(lambda: is_back(world.site()))
        await notes(world, SAMU, 1, "newer")
        life = lost.incarnation.hex()
        missing = f"{life} {lost.seq}-{lost.seq + 2}"
        assert site_status(world.site())["missing"] == [missing]
        assert again(world) == {"count": 0, "decided": 0, "otherwise": 3}
        named = world.outside(SAMU).heard("operations-missing")  # type: ignore[attr-defined]
        assert named == [{"life": life, "first": lost.seq, "last": lost.seq + 2}]
        verdict = (await world.site().service.verdict(lost))[1]
        assert "not remembered any more" in verdict.reason
        await world.stop(SAMU)
        await world.start(SAMU)
        await until(lambda: is_back(world.site()))
        await notes(world, SAMU, 1, "after")
        assert site_status(world.site())["missing"] == [missing]
        assert texts(world.site()) == ["after-0", "newer-0"]
        assert len(world.outside(SAMU).heard("operations-missing")) == 1  # type: ignore[attr-defined]


async def test_an_earlier_life_of_which_nothing_is_left_is_named_once_and_passed_over(tmp_path: Path) -> None:
    """The site was started anew before it met the new cluster. That is told once, and not looked into again."""
    async with three_zones(tmp_path, SAMU, limits=replace(LIMITS, past_days=0)) as world:
        (lost,) = (await agreed_without_zone_1(world, 1, SAMU))[SAMU]
        await world.stop(SAMU)
        found(world)
        await world.start("zone-1")
        for at in range(2):
            await world.start(SAMU)
            await until(lambda: is_back(world.site()))
            await notes(world, SAMU, 1, f"newer-{at}")
            await until(lambda: world.site().store.journal.length == 0)
            await world.stop(SAMU)
        await world.start(SAMU)
        status = site_status(world.site())
        assert status["missing"] == [f"{lost.incarnation.hex()} {lost.seq}-{lost.seq}"]
        assert (status["restored"], status["fenced"]) == (False, False)
        assert world.site().service.outcome(lost).state == "unknown"
        said = [str(facts["note"]).partition(":")[0] for facts in world.outside(SAMU).heard("site")]  # type: ignore[attr-defined]
        assert (said.count("generation"), said.count("ahead"), said.count("missing")) == (1, 1, 1)


async def test_the_state_counts_the_founding_once_also_where_it_is_done_again_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to where both histories are the same, and where the new one begins: what a site goes by."""
    async with three_zones(tmp_path, SAMU) as world:
        for name in ZONES:
            await world.stop(name)
        config = world.zone_config(1)
        last = world.site().state.index

        def crash(*arguments: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as broken:
            broken.setattr("replica.admin.founding.LogReset", crash)
            with pytest.raises(KeyboardInterrupt):
                found_anew(config, "an operator", 1)
        assert found_anew(config, "an operator", 2).generation == 2
        identity = peek_identity(Path(config.zone.data))
        with open_store(Path(config.zone.data), identity, create=False, read_only=True) as store:
            assert breaks_in(store.state) == (Break(last, last + JUMP),)
            assert store.state.applied() == (last + 2 * JUMP, store.log.term(last + 2 * JUMP))
        assert found_anew(config, "an operator", 3).generation == 3
        with open_store(Path(config.zone.data), identity, create=False, read_only=True) as store:
            assert [one.agreed for one in breaks_in(store.state)] == [last, last + 2 * JUMP]


async def test_an_operation_that_is_fitted_to_the_new_history_leaves_as_it_is_worded_now(tmp_path: Path) -> None:
    """It was sent before, and its bytes are remembered."""
    async with trio.open_nursery() as nursery:
        world = World(nursery, Plan(tmp_path, 1, QUICK), LIMITS)
        await world.start(SAMU)
        desk = world.site().desk
        before = operation(1)
        assert desk._bytes(before) is desk._bytes(before)
        after = replace(before, have=0, seen=7)
        assert decode_operation(desk._bytes(after)) == after
        nursery.cancel_scope.cancel()


def operation(seq: int, life: bytes = bytes(16)) -> Operation:
    ident = OperationId(SAMU, life, seq)
    return Operation(ident, 1, 9, HybridTime(1), 1, "x", replica.AddNote(CASE_ID, f"{seq}", "x"), have=1)


# --- for how long it is remembered ---


def history(past_days: int = 7, past_mib: int = 1, again: Again | None = None) -> tuple[History, MemoryStore]:
    store = MemoryStore(Identity("test", SAMU, "site", "1"))
    store.journal.append([(bytes(16), 0, b"open"), (bytes(16), 1, b"a")])
    store.journal.trim([(bytes(16), 1)], at_ms=DAY_MS)
    state = State(store.state)
    if again is not None:
        state.put_local(b"offered-again", msgspec.msgpack.encode(again))
    config = Plan(Path("/nowhere")).site()
    limits = replace(config.limits, past_days=past_days, past_mib=past_mib)
    return History(replace(config, limits=limits), state, store, REAL, None), store


def test_it_is_remembered_for_seven_days_by_the_zones_time() -> None:
    """By a clock that may be wrong nothing is too old; too much is too much by any clock."""
    kept, store = history()
    assert kept.forgets(8 * DAY_MS) == JournalForget(DAY_MS, 1 << 20)
    assert kept.forgets(None) == JournalForget(0, 1 << 20)
    store.journal.forget(0, 0)
    assert kept.forgets(8 * DAY_MS) is None


def test_what_was_offered_again_is_remembered_for_seven_days_from_then_on() -> None:
    """The next founding may come before the week is over."""
    kept, _ = history(again=Again(1, 5 * DAY_MS, (Span(bytes(16), 1, 1),)))
    assert kept.forgets(11 * DAY_MS) == JournalForget(0, 1 << 20)
    assert kept.forgets(12 * DAY_MS) == JournalForget(5 * DAY_MS, 1 << 20)


def test_it_is_found_also_while_it_is_being_trimmed() -> None:
    """A long trim takes its time: what it has not come to lies in the journal still. A damaged record is none."""
    store = MemoryStore(Identity("test", SAMU, "site", "1"))
    life, other = bytes(16), bytes([1] * 16)
    made = [operation(seq, life) for seq in range(5)]
    store.journal.append([(life, one.id.seq, encode_operation(one)) for one in made])
    store.journal.append([(other, 0, b"not looked at")])
    store.journal.trim([(life, 2)], at_ms=1)
    store.damage_journal(life, 4)
    found = remembered(store, [(life, 0)])
    assert sorted(one.id.seq for one in found) == [1, 2, 3]
    assert {one.id.seq: one for one in found}[2] == made[2]


@pytest.mark.parametrize(("days", "mib", "remembers"), [(7, 512, True), (0, 512, False), (7, 0, False)])
def test_it_can_be_switched_off(days: int, mib: int, remembers: bool) -> None:
    assert history(days, mib)[0].remembers is remembers


async def test_nothing_is_forgotten_while_it_is_offered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is too much is forgotten once nothing is."""
    monkeypatch.setattr("replica.runtime.site.FORGET_EVERY_MS", 1)
    async with three_zones(tmp_path, SAMU) as world:
        await agreed_without_zone_1(world, 5, SAMU)
        site: SiteNode = world.site()
        monkeypatch.setattr(site.history, "forgets", lambda zone_ms: JournalForget(1 << 62, 0))
        monkeypatch.setattr(site.desk.core, "_recalling", {bytes(16): 0})
        remembered = site.store.journal.past_length
        for _ in range(3):
            site._forget_some()
        await in_loop(lambda done: site._disk.write_log(JournalTrim(()), done))
        assert site.store.journal.past_length == remembered > 5
        monkeypatch.setattr(site.desk.core, "_recalling", {})
        await until(lambda: site.store.journal.past_length == 0)
