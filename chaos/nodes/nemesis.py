"""Makes the faults of a seed, one task each, and takes them back again. Every fault that happened is counted by name.

Two rules keep it to what a cluster of so many zones must survive: of the zones' disks one at a time is lost or damaged
and not yet rebuilt (replica/raft/rebuild.py readmits a zone when all others can vouch), and a damaged store is emptied
by its operator, not mended. Everything else may come at any time, to anybody, together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from chaos.nodes.checks import violated
from chaos.nodes.disk import APPEND, JOURNAL, WRITE_BACK
from chaos.nodes.network import RESET
from chaos.nodes.process import Host, InjectedDeath, Process
from replica.cases.operations import OperationId
from replica.raft.types import Role
from replica.storage.snapshot_contract import Step, no_step

if TYPE_CHECKING:
    from chaos.nodes.world import World

HOUR_MS = 3_600_000
ENDS_WITHIN_S = 8.0
"""A node whose task or disk failed has ended by then: two tidy-ups of two seconds, a stalled disk, and some."""


class Nemesis:
    """`torment` makes faults until it is cancelled; what is still broken then is for `World.heal`."""

    def __init__(self, world: World, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self._loop = world.loop
        self._network = world.network
        self._counts = world.counts

    async def torment(self) -> None:
        weather = self._world.weather
        faults = [self._doer(name) for name in weather.faults]
        async with trio.open_nursery() as nursery:
            while faults:
                await trio.sleep(self._rng.expovariate(1 / weather.fault_every_s))
                nursery.start_soon(self._rng.choice(faults))
            await trio.sleep_forever()

    def _doer(self, name: str) -> Callable[[], Awaitable[None]]:
        """What makes the fault of this name."""
        return partial(FAULTS[name], self)

    def _count(self, name: str, host: Host | None = None) -> None:
        self._counts[name] += 1
        self._world.trace.add("nemesis", name, "" if host is None else host.name)

    async def _hold(self) -> None:
        await trio.sleep(self._rng.expovariate(1 / self._world.weather.fault_lasts_s))

    # ------------------------------------------------------------------ whom

    def _leader(self) -> Host:
        """Who leads, as it thinks itself; else any zone."""
        for zone in self._world.zones:
            if zone.running is not None and zone.running.node.raft.role is Role.LEADER:  # type: ignore[union-attr]  # a zone
                return zone
        return self._zone()

    def _zone(self) -> Host:
        return self._rng.choice(self._world.zones)

    def _site(self) -> Host:
        return self._rng.choice(self._world.sites)

    def _any(self) -> Host:
        return self._rng.choice((self._leader, self._zone, self._site))()

    # ------------------------------------------------------------------ kills

    async def _kill(self, name: str, host: Host, *, power: bool = False) -> None:
        if host.process is not None:
            self._count(name, host)
            host.kill(name, power=power)
            await self._hold()
            host.start()

    async def kill_leader(self) -> None:
        await self._kill("kill leader", self._leader())

    async def kill_zone(self) -> None:
        await self._kill("kill zone", self._zone())

    async def kill_site(self) -> None:
        await self._kill("kill site", self._site())

    async def power_cut(self) -> None:
        await self._kill("power cut", self._any(), power=True)

    async def kill_whole_cluster(self) -> None:
        self._count("kill whole cluster")
        for zone in self._world.zones:
            zone.kill("with all zones")
        await self._hold()
        for zone in self._world.zones:
            zone.start()

    async def kill_at_a_disk_job(self) -> None:
        host = self._any()
        host.disk.kill_in = self._rng.randint(1, 20)
        process = host.process
        if process is not None:
            with trio.move_on_after(3):
                await process.ended.wait()
            host.disk.kill_in = 0
            await self._hold()
            host.start()

    # ------------------------------------------------------------------ disks

    async def sync_error(self) -> None:
        host = self._any()
        process = host.process
        if process is None:
            return
        host.expected.add("sync error")
        host.disk.fail_next = True
        failed_before = self._counts["disk: sync error"]
        await trio.sleep(3)
        if host.process is process and self._counts["disk: sync error"] == failed_before:
            host.disk.fail_next = False  # it had nothing to write
        elif host.process is process:
            await self._must_end(process, "its disk failed")

    async def _full(self, what: str, host: Host) -> None:
        host.disk.full.add(what)
        host.expected.add("full at start")  # an empty store is written to before anything runs
        before = self._counts[f"disk: full at {what}"]
        await self._hold()
        host.disk.full.discard(what)
        if self._counts[f"disk: full at {what}"] > before:
            self._count("disk: space returned", host)

    async def full_at_append(self) -> None:
        await self._full(APPEND, self._rng.choice((self._leader(), self._zone())))

    async def full_at_write_back(self) -> None:
        await self._full(WRITE_BACK, self._any())

    async def full_at_journal(self) -> None:
        await self._full(JOURNAL, self._site())

    async def disk_stall(self) -> None:
        host = self._any()
        self._count("disk: stall of 5 s", host)
        host.disk.stalled_until_s = self._loop.now_s + 5

    async def slow_fsync(self) -> None:
        host = self._any()
        self._count("disk: slow fsync", host)
        host.disk.slow_s = self._rng.choice((0.05, 0.15, 0.3))
        await self._hold()
        host.disk.slow_s = 0.0

    async def disk_emptied(self) -> None:
        host = self._any()
        if host.process is not None and self._world.may_lose(host):
            self._count("disk: emptied", host)
            host.kill("to get a new disk")
            host.weak = True
            await trio.sleep(0.2 + self._rng.random())
            if host.process is None and not host.retired:
                host.disk.empty()
                self._world.reconfigure(host)
                host.flipped = False
                host.start()

    async def _flip(self, host: Host, flip: Callable[[Host], str]) -> None:
        """Kill a node, flip a bit of its disk, start it again."""
        if host.process is None or host.flipped or not self._world.may_lose(host):
            return
        host.kill("for a bit flip")
        host.weak = True
        await trio.sleep(0.1 + self._rng.random())
        if host.process is None and host.disk.store is not None:
            what = flip(host)
            if what:
                self._count(what, host)
                host.expected.add("damage")
                host.flipped = True
            host.start()

    async def bit_flip_in_log(self) -> None:
        await self._flip(self._zone(), self._flip_log)

    async def bit_flip_in_state(self) -> None:
        await self._flip(self._any(), self._flip_state)

    async def bit_flip_in_journal(self) -> None:
        await self._flip(self._site(), self._flip_journal)

    def _flip_log(self, host: Host) -> str:
        store = host.disk.store
        assert store is not None, "no store to damage"
        first, last = store.log.first_index(), store.log.last_index()
        if last < first or self._rng.random() < 0.3:
            store.damage_hard_state()
            return "disk: bit flip in term and vote"
        store.damage_entry(self._rng.randint(max(first, last - 20), last))
        return "disk: bit flip in entry"

    def _flip_state(self, host: Host) -> str:
        store = host.disk.store
        assert store is not None, "no store to damage"
        keys = [key for key, _ in store.state.scan(b"")]
        if not keys:
            return ""
        key = self._rng.choice(keys)
        store.damage_record(key)
        self._world.trace.add("nemesis", "flips a bit of", repr(key))
        return "disk: bit flip in state record"

    def _flip_journal(self, host: Host) -> str:
        store = host.disk.store
        assert store is not None, "no store to damage"
        records = store.journal.read(0, 10_000)
        if not records:
            return ""
        one = self._rng.choice(records)
        store.damage_journal(one.incarnation, one.seq)
        self._world.checks.damaged.add(OperationId(host.name, one.incarnation, one.seq))
        return "disk: bit flip in journal record"

    # ------------------------------------------------------------------ links

    async def _cut(self, name: str, ways: list[tuple[str, str]], *, loses: bool = False) -> None:
        self._count(name)
        for frm, to in ways:
            self._network.cut(frm, to, loses=loses)
        await self._hold()
        for frm, to in ways:
            self._network.heal(frm, to)

    def _names(self) -> list[str]:
        names = [zone.name for zone in self._world.zones]
        self._rng.shuffle(names)
        return names

    async def cut_isolate(self) -> None:
        """One zone is alone, sites and all."""
        alone = self._rng.choice((self._leader(), self._zone())).name
        await self._cut("cut: one zone alone", both(alone, [h.name for h in self._world.hosts if h.name != alone]))

    async def cut_halves(self) -> None:
        names = self._names()
        half = len(names) // 2
        await self._cut("cut: halves", [way for one in names[:half] for way in both(one, names[half:])])

    async def cut_bridge(self) -> None:
        """Two zones do not see each other; the others see both (C6)."""
        names = self._names()
        if len(names) > 2:
            await self._cut("cut: two of three apart", both(names[0], [names[1]]))

    async def cut_one_way(self) -> None:
        """Somebody is heard and hears nobody, or the other way round (C5)."""
        one = self._leader().name
        others = [zone.name for zone in self._world.zones if zone.name != one]
        ways = [(other, one) for other in others] if self._rng.random() < 0.5 else [(one, other) for other in others]
        if ways:
            await self._cut("cut: one way", ways)

    async def cut_site_off(self) -> None:
        site = self._site().name
        zones = [zone.name for zone in self._world.zones]
        if self._rng.random() < 0.3:
            zones = [self._rng.choice(zones)]
        await self._cut("cut: a site's line", both(site, zones))

    async def cut_loses(self) -> None:
        """What is on the wire is lost, and one end goes on believing in the connection."""
        one, other = self._rng.sample([host.name for host in self._world.hosts], 2)
        await self._cut("cut: half-open, bytes lost", both(one, [other]), loses=True)

    async def link_flaps(self) -> None:
        """A site's line comes and goes (O10)."""
        site, zones = self._site().name, [zone.name for zone in self._world.zones]
        for _ in range(self._rng.randint(5, 15)):
            self._count("cut: flapping line")
            for frm, to in both(site, zones):
                self._network.cut(frm, to, loses=False)
            await trio.sleep(self._rng.random() * 0.6)
            for frm, to in both(site, zones):
                self._network.heal(frm, to)
            await trio.sleep(self._rng.random() * 0.6)

    async def reset(self) -> None:
        ends = [end for end in self._network.ends if end.open and end.peer.open]
        if ends:
            self._count("connection reset")
            end = self._rng.choice(ends)
            end.arrive(RESET)
            end.peer.arrive(RESET)

    async def slow_drip(self) -> None:
        self._count("slow drip")
        one, other = self._rng.sample([host.name for host in self._world.hosts], 2)
        way = self._network.way(one, other)
        way.drip_bytes = self._rng.choice((1, 7, 100))
        await self._hold()
        way.drip_bytes = 0

    # ------------------------------------------------------------------ processes and clocks

    async def _pause(self, name: str, host: Host) -> None:
        if host.process is not None and not host.process.frozen:
            self._count(name, host)
            host.pause()
            await trio.sleep(self._rng.choice((0.1, 0.4, 1.0, 2.0, 5.0)))
            host.go_on()

    async def pause_leader(self) -> None:
        await self._pause("pause leader", self._leader())

    async def pause_zone(self) -> None:
        await self._pause("pause zone", self._zone())

    async def pause_site(self) -> None:
        await self._pause("pause site", self._site())

    async def wall_clock(self) -> None:
        """3 h ahead, 3 h behind, 1970, or jumping (O5)."""
        host = self._any()
        offset_ms = self._rng.choice((3 * HOUR_MS, -3 * HOUR_MS, -60 * 365 * 24 * HOUR_MS, 0))
        self._count("wall clock jumps" if offset_ms else "wall clock jumps back to right", host)
        host.clock_offset_ms = offset_ms

    async def task_death(self) -> None:
        """A background task dies: that is the end of the node (C20)."""
        host = self._any()
        process = host.process
        if process is None or process.running is None or process.frozen:
            return
        tasks = list(process.tasks())
        if not tasks:
            return  # it is ending already
        task = self._rng.choice(tasks)
        if task._abort_func is None:
            return  # it is about to run, and cannot be made to raise where it waits
        name = task_name(task)

        def die() -> Any:
            raise InjectedDeath(name)

        host.expected.add("task death")
        self._count(f"task dies: {name}", host)
        task._attempt_abort(die)
        await self._must_end(process, f"its task {name} died")

    # ------------------------------------------------------------------ the operator, and what comes amid its work

    async def members_change(self) -> None:
        await self._world.operator.change()

    async def hand_over(self) -> None:
        await self._world.operator.hand_over()

    async def graceful_stop(self) -> None:
        host = self._rng.choice((self._leader(), self._any()))
        if host.running is not None:
            self._count("graceful stop", host)
            await host.stop()
            await self._hold()
            host.start()

    async def kill_at_a_chunk(self) -> None:
        """From now on for a while: kill the receiver of a snapshot, or its sender, before one of its steps is done."""
        world, steps = self._world, self._rng.randint(1, 12)
        hosts = list(world.hosts)

        def watch(host: Host) -> Callable[[Step], None]:
            def on_step(step: Step) -> None:
                nonlocal steps
                steps -= 1
                if steps == 0:
                    world.loop.after(0, kill, host, step)

            return on_step

        def kill(host: Host, step: Step) -> None:
            if host.process is not None:
                taking = step.name.startswith("TAKE")
                self._count("snapshot killed: while taken" if taking else f"snapshot killed: {step.value}", host)
                host.kill("amid a snapshot")
                world.loop.after(self._rng.random(), host.start)

        for host in hosts:
            self._listen(host, watch(host))
        await trio.sleep(5)
        for host in hosts:
            self._listen(host, no_step)

    @staticmethod
    def _listen(host: Host, on_step: Callable[[Step], None]) -> None:
        host.disk.on_step = on_step
        if host.disk.store is not None:
            host.disk.store.on_step = on_step

    async def _must_end(self, process: Process, why: str) -> None:
        with trio.move_on_after(ENDS_WITHIN_S):
            await process.ended.wait()
        while process.frozen:
            await trio.sleep(1)
        if not process.dead and not process.ended.is_set():
            facts = why, f"it runs {ENDS_WITHIN_S} s later"
            self._world.fail(violated("EndsLoudly", f"{process.host.name} lives on", *facts))


def both(one: str, others: list[str]) -> list[tuple[str, str]]:
    """Both ways between one host and each of the others."""
    return [way for other in others for way in ((one, other), (other, one))]


def task_name(task: trio.lowlevel.Task) -> str:
    """Which background task this is: what `for_ever` was given."""
    frame = task.coro.cr_frame
    assert frame is not None, f"{task} has ended"
    given = frame.f_locals["task"]
    given = getattr(given, "func", given)
    return f"{type(given.__self__).__name__}.{given.__name__}"


FAULTS: dict[str, Callable[[Nemesis], Awaitable[None]]] = {
    "kill leader": Nemesis.kill_leader,
    "kill zone": Nemesis.kill_zone,
    "kill site": Nemesis.kill_site,
    "kill whole cluster": Nemesis.kill_whole_cluster,
    "kill at a disk job": Nemesis.kill_at_a_disk_job,
    "power cut": Nemesis.power_cut,
    "sync error": Nemesis.sync_error,
    "full at append": Nemesis.full_at_append,
    "full at write-back": Nemesis.full_at_write_back,
    "full at journal": Nemesis.full_at_journal,
    "disk stall": Nemesis.disk_stall,
    "slow fsync": Nemesis.slow_fsync,
    "disk emptied": Nemesis.disk_emptied,
    "bit flip in log": Nemesis.bit_flip_in_log,
    "bit flip in state": Nemesis.bit_flip_in_state,
    "bit flip in journal": Nemesis.bit_flip_in_journal,
    "cut: isolate": Nemesis.cut_isolate,
    "cut: halves": Nemesis.cut_halves,
    "cut: bridge": Nemesis.cut_bridge,
    "cut: one way": Nemesis.cut_one_way,
    "cut: site off": Nemesis.cut_site_off,
    "cut: loses": Nemesis.cut_loses,
    "link flaps": Nemesis.link_flaps,
    "reset": Nemesis.reset,
    "slow drip": Nemesis.slow_drip,
    "pause leader": Nemesis.pause_leader,
    "pause zone": Nemesis.pause_zone,
    "pause site": Nemesis.pause_site,
    "wall clock": Nemesis.wall_clock,
    "task death": Nemesis.task_death,
    "members change": Nemesis.members_change,
    "hand-over": Nemesis.hand_over,
    "graceful stop": Nemesis.graceful_stop,
    "snapshot killed at a chunk": Nemesis.kill_at_a_chunk,
}
