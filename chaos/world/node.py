"""One simulated node: the driver that carries out what the shipped core asks for, on a simulated disk and clock.

It does what the real loop does: drain the inbox, step each event, take one `Ready`, send, save, send what had to wait,
step `Persisted`, apply (applying.py). What it adds is dying: between any two of these effects, at once or at an armed
point, after which only the disk is left. What it lacks is everything a real process has beside the core: sockets,
threads, operations.

Each effect is a method of its own, so that a test can make one of them lie (`class Forgetful(Node): def
what_is_saved…`) and see the invariants catch it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from chaos.world.applying import Applying, Died
from chaos.world.clock import Clock
from chaos.world.disk import NEVER_MS, Disk, Save, Snapshot
from chaos.world.weather import Driving
from replica.raft.events import Persisted, Received, Tick
from replica.raft.messages import AppendReply, HeartbeatReply, Message, RequestVote, RequestVoteReply
from replica.raft.ready import Ready
from replica.raft.types import Entry, HardState, Index, NodeId, RaftConfig, Role, Term

if TYPE_CHECKING:
    from chaos.world.world import World
    from replica.raft.core import Raft

PROMISES = frozenset((RequestVote, RequestVoteReply, AppendReply, HeartbeatReply))

Item = Message | tuple[Any, ...]
"""What waits in an inbox: a message, or an event without its time: (event class, its other fields …)."""


class Node(Applying):
    """A node of the world: alive while `raft` is not None."""

    def __init__(self, world: World, config: RaftConfig) -> None:
        self.world = world
        self.config = config
        self.number: NodeId = config.node
        self.disk = Disk()
        self.raft: Raft | None = None
        self.life = 0
        self.clock = Clock(0, 0, 1000)
        self.paused_until_ms = 0
        self.armed: str | None = None
        self._forget()

    def _forget(self) -> None:
        """What only memory knew."""
        self.role = Role.FOLLOWER
        self.term: Term = 0
        self.led_at_last_ready: Term = 0
        self.commit_index: Index = self.disk.flushed
        self.stepped_commit: Index = self.disk.flushed
        self.accepted: dict[Index, tuple[Term, int]] = {}
        self.waiting: set[int] = set()
        """Tokens of reads, transfers and changes that were asked here and have no answer."""
        self.transfer_until_ms = NEVER_MS
        """When, by this node's clock, the hand-over under way must have ended."""
        self.inbox: list[Item] = []
        self._turn_due = False
        self._timer_ms = NEVER_MS
        self._durable: deque[Ready] = deque()
        self._forget_state()

    # -- life and death -------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Starts the process on what the disk has."""
        world = self.world
        rng, drift = world.rng, world.weather.drift
        assert self.raft is None, f"node {self.number} is alive already"
        self.life += 1
        self._forget()
        self.clock = Clock(world.now_ms, int(rng.random() * 1_000_000), 1000 + int((rng.random() * 2 - 1) * drift))
        if self.clock.rate != 1000:
            world.counts["clock drift"] += 1
        disk = self.disk
        self.raft = world.core(
            self.config, disk.hard_state, disk, disk.flushed, Random(rng.getrandbits(64)), self.clock.at(world.now_ms)
        )
        world.judge.starts(self)
        self._stands(self.raft.role, self.raft.term)
        self._take_readies()

    def crash(self, kept: int) -> None:
        """Ends the process. Of the saves in the queue the first `kept` reached the disk, the others are lost."""
        for overwritten in self.disk.crash(kept):
            self.world.judge.overwrites(self, overwritten)
        self.world.judge.stops(self)
        self.raft = None
        self.armed = None
        self.paused_until_ms = 0
        self._forget()

    def pause(self, until_ms: int) -> None:
        """The process does nothing until then: a collection, a debugger, a busy host. Its disk goes on."""
        self.paused_until_ms = until_ms
        self.world.at(until_ms, self._resumed, self.life)

    def _resumed(self, life: int) -> None:
        if life != self.life or self.raft is None or self.paused_until_ms > self.world.now_ms:
            return
        self.paused_until_ms = 0
        self.world.count("goes on late", self.number, ("with", len(self.inbox), "events waiting"))
        if self.clock.at(self.world.now_ms) >= self.raft.deadline_ms:
            self.inbox.insert(0 if self.world.rng.random() < 0.5 else len(self.inbox), (Tick,))
        self.turn()

    @property
    def paused(self) -> bool:
        return self.paused_until_ms > self.world.now_ms

    # -- events in ------------------------------------------------------------------------------------------------

    def receive(self, item: Item) -> None:
        """Something for the inbox. The loop drains it now, or a little later."""
        self.inbox.append(item)
        self._wake()

    def receive_all(self, items: Sequence[Item]) -> None:
        """Several things at once."""
        self.inbox += items
        self._wake()

    def _wake(self) -> None:
        if self._turn_due or self.paused_until_ms:
            return
        world = self.world
        if world.weather.turn_ms:
            self._turn_due = True
            world.at(world.now_ms + int(world.rng.random() * world.weather.turn_ms), self._turn_came, self.life)
        else:
            self.turn()

    def _turn_came(self, life: int) -> None:
        if life == self.life and self.raft is not None:
            self._turn_due = False
            if not self.paused_until_ms:
                self.turn()

    def turn(self) -> None:
        """One turn of the loop: drain, step each, take what is ready. Dying at an armed point ends it anywhere."""
        if self.disk.pending and self.world.weather.driving is Driving.BLOCKING and not self._durable:
            return
        try:
            inbox, self.inbox = self.inbox, []
            for item in inbox:
                self._step(item)
            self._take_readies()
        except Died as death:
            self.world.died(self, str(death))

    def _step(self, item: Item) -> None:
        raft = self.raft
        assert raft is not None
        now_ms = self.clock.at(self.world.now_ms)
        led = self.role is Role.LEADER
        membership_index = raft.membership_index if led else 0
        if type(item) is not tuple:
            raft.step(Received(now_ms, item))  # type: ignore[arg-type]  # a tuple is never a message
        else:
            if item[0] is Persisted:
                self._saved()
            raft.step(item[0](now_ms, *item[1:]))
            if item[0] is Tick and self.transfer_until_ms != NEVER_MS:
                self.world.judge.ticks_in_transfer(self, now_ms)
                if not raft.transferring:
                    self.transfer_until_ms = NEVER_MS  # or the next hand-over would be judged by this one's time
        commit = raft.commit_index
        if commit != self.stepped_commit:
            self.stepped_commit = commit
            if led and raft.term == self.term:  # or it commits as the follower of another, from this step on
                self.world.judge.counts(self, commit, membership_index)
        role, term = raft.role, raft.term
        if role is not self.role or term != self.term:
            self._stands(role, term)

    def _stands(self, role: Role, term: Term) -> None:
        """Role or term changed in this step: judged at once, since a batch may change it again before its Ready."""
        assert self.raft is not None
        self.role, self.term, self.transfer_until_ms = role, term, NEVER_MS
        self.world.log(self.number, "is", (role.value, "in term", term))
        if role is Role.LEADER:
            self.world.judge.elected(self)
            self.world.nemesis.elected(self)
            self.world.clients.elected(self)

    # -- timers ---------------------------------------------------------------------------------------------------

    def arm_timer(self) -> None:
        """Wakes the node when its own clock shows the core's deadline. Deadlines mostly move away: the timer that is
        set already stays, and looks again when it fires."""
        assert self.raft is not None
        now_ms = self.world.now_ms
        at_ms = max(self.clock.when(self.raft.deadline_ms), now_ms)
        if at_ms < self._timer_ms:
            self._timer_ms = at_ms
            self.world.at(at_ms, self._timer_fired, self.life)

    def _timer_fired(self, life: int) -> None:
        if life != self.life or self.raft is None or self._timer_ms != self.world.now_ms:
            return
        self._timer_ms = NEVER_MS
        if self.paused_until_ms:
            return
        if self.clock.at(self.world.now_ms) >= self.raft.deadline_ms:
            self.world.log(self.number, "ticks", None)
            self.receive((Tick,))
        else:
            self.arm_timer()

    # -- a Ready --------------------------------------------------------------------------------------------------

    def _take_readies(self) -> None:
        raft = self.raft
        assert raft is not None
        one_at_a_time = self.world.weather.driving is not Driving.PIPELINED
        while raft.has_ready() and not (one_at_a_time and self.disk.pending):
            self.carry_out(raft.ready())
        self.arm_timer()

    def carry_out(self, ready: Ready) -> None:
        """The effects of one Ready, in the order its fields state."""
        if self.armed:
            self._die_at("before send_now")
        self.world.judge.decides(self, ready)
        self._send(ready.send_now, "amid send_now")
        if self.armed:
            self._die_at("before the save")
        self.save(ready)
        if ready.committed:
            self.to_apply(ready.committed)
        for wanted in ready.snapshots:
            self.world.shipping.wanted(self, wanted)
        if ready.notes or ready.accepted or ready.refused or ready.reads or ready.transfers:
            self.world.clients.hear(self, ready)

    def _send(self, messages: tuple[Message, ...], amid: str) -> None:
        send, judge = self.world.network.send, self.world.judge
        for sent, message in enumerate(messages):
            if sent and self.armed:
                self._die_at(amid)
            if type(message) in PROMISES:
                judge.promises(self, message)
            send(self, message)

    # -- the disk -------------------------------------------------------------------------------------------------

    def what_is_saved(self, ready: Ready) -> tuple[HardState | None, tuple[Entry, ...]]:
        """What of a Ready goes to the disk. All of it; a test may have less."""
        return ready.hard_state, ready.entries

    def save(self, ready: Ready) -> None:
        """Queues the save. A Ready without one still waits for those before it: its messages may depend on them."""
        disk, world = self.disk, self.world
        if ready.must_save:
            hard_state, entries = self.what_is_saved(ready)
            snapshot: Snapshot | None = self.take_state(ready.install) if ready.install is not None else None
            weather = world.weather
            due_ms = world.now_ms + weather.sync_ms + int(world.rng.random() * (weather.sync_jitter_ms + 1))
            due_ms = max(due_ms, disk.stalled_until_ms, disk.pending[-1].due_ms if disk.pending else 0)
            if not disk.pending or disk.pending[-1].due_ms != due_ms:
                world.at(due_ms, self._synced, self.life)
            disk.write(Save(ready, hard_state, entries, due_ms, snapshot))
        elif disk.pending:
            disk.write(Save(ready, None, (), disk.pending[-1].due_ms))
        elif self._durable:
            self._durable.append(ready)
        else:
            self.send_saved(ready)

    def _synced(self, life: int) -> None:
        """The kernel says that the saves up to now are durable; the loop hears of it in its next turn."""
        if life != self.life or self.raft is None:
            return
        disk, world = self.disk, self.world
        if disk.sync_fails:
            world.sync_failed(self)
            return
        was_rebuilding = disk.hard_state.rebuilding
        done, overwritten = disk.sync(world.now_ms)
        for replaced in overwritten:
            world.judge.overwrites(self, replaced)
        if was_rebuilding and not disk.hard_state.rebuilding:
            world.judge.readmitted(self)
        self._durable.extend(done)
        world.log(self.number, "saved", (len(done), "up to", disk.last_index(), "term", disk.hard_state.term))
        blocking = world.weather.driving is Driving.BLOCKING
        self.inbox.insert(0 if blocking else len(self.inbox), (Persisted, done[-1].number))
        self._wake()

    def _saved(self) -> None:
        """Then, and only then, the promises leave."""
        if self.armed:
            self._die_at("before send_saved")
        while self._durable:
            self.send_saved(self._durable.popleft())
        if self.armed:
            self._die_at("before Persisted")

    def send_saved(self, ready: Ready) -> None:
        if ready.send_saved:
            self._send(ready.send_saved, "amid send_saved")
