"""Scenarios are text: a few commands, and below each what it was recorded to do.

A file is lines: `# comment`, `> command`, anything else is output. `run` plays the commands on a fresh cluster and
gives the file as it should be; a test compares. After a change that is meant to change the output:

    python -m tests.raft.scenario --rewrite FILE...     (or `all`)

shows the difference and writes it. Read it before you keep it: what is recorded is what is claimed.

The commands (N, A, B are nodes; D a duration such as 150ms):

    cluster V [learners=1,2] [stopped] [key=value]   V voters 1..V (then the learners); keys are RaftConfig's fields,
                                                     priority=2:5,3:1; `stopped` leaves them down until `start`
    store N term=T [vote=B] [log=1,1,2] [first=F] [before=T]   what a stopped node's disk has: the terms of its entries
    start [N...] · crash N · kill N · restart N · lose N   kill tells the peers (PeerLost), crash tells nobody; lose
                                                     takes the disk as well, a restart then begins empty, rebuilding
    propose N X...       one proposal for each word, all in one turn
    campaign N           turn the clock to N's election deadline, and tick N alone
    advance D            turn the clock, tick who is due, deliver at once
    hold · go            keep messages on the wires · let them arrive at once (as at first)
    wires                show what is on the wires
    deliver [KIND] [A>B] [first] [double]   let the matching messages arrive, oldest first, or the oldest alone; doubled
                                     ones go back on the wires behind all others
    drop [KIND] [A>B]    lose the matching messages
    cut A>B · cut A-B    nothing arrives from A at B · in both directions
    partition A,B C,D    cut all ways between the groups
    heal                 undo every cut
    lost N A · found N A     tell N that the connection to A is gone · that it stands
    stall N · sync N [K] · unstall N     N's disk finishes nothing · K Readies of what waits · everything again
    pause N · resume N [inbox]   N's process stands still · goes on, its deadline first, or what came meanwhile
    clock N P            from now on N's clock goes P ms in a second
    advance D latency=L  turn the clock; each message takes L to arrive (while `hold`: what has not stays on the wires)
    compact N F          N's store drops the entries before F
    compactable N [keep=F] [sending=I]   up to where the log may be dropped, with all of it flushed
    read N               ask for a read index; no answer below what was decided then is accepted
    transfer N [A]       ask N to hand over to A, or to whom it finds best
    join N               a new node: an empty store, no membership of its own
    change N voters=1,2,4 [learners=5] [priority=2:5] [directory=x]   ask N for this membership
    compared N A yes|no  N is told that A's state and its own are the same, or not
    copy N NAME          remember a snapshot of what N has applied
    ship N|NAME A        A has the snapshot whole: of N now, or the one remembered
    snapshot N A [failed]    N is told that the transfer of a snapshot to A ended
    send NAME A>B k=v...     a message made by hand: such as no node of this cluster would send now
    status [N] · log [N] · progress N · applied N · members [N] · timeout [N]
    quiet COMMAND        do it and record nothing: for what another scenario shows
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

from replica.raft import messages
from replica.raft.events import ChangeRequested, LearnerCompared, SnapshotSent, TransferRequested
from replica.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
)
from replica.raft.progress import NEVER_MS
from replica.raft.types import Entry, EntryKind, HardState, Index, Membership, NodeId, RaftConfig, Term
from tests.raft.cluster import Cluster, Node, show_entry, show_membership

SCENARIOS = Path(__file__).parent / "scenarios"


class BadScenario(Exception):
    """A command that does not exist, or cannot be done: says which line."""


class Scenario:
    """One file being played."""

    def __init__(self) -> None:
        self._cluster: Cluster | None = None
        self._lines: list[str] = []
        self._holding = False
        self._copies: dict[str, tuple[Index, Term, tuple[Index, bytes]]] = {}
        self._commands: dict[str, Callable[..., None]] = {
            name.removeprefix("do_"): getattr(self, name) for name in dir(self) if name.startswith("do_")
        }

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            raise BadScenario("the first command must be `cluster`")
        return self._cluster

    def play(self, command: str) -> list[str]:
        """Do one command; the lines it gives out."""
        self._lines = []
        name, *words = command.split()
        if name not in self._commands:
            raise BadScenario(f"unknown command {name!r}")
        self._commands[name](*words)
        if not self._holding and self._cluster is not None:
            self._cluster.settle()
        return self._lines

    def say(self, line: str) -> None:
        self._lines.append(line)

    def tell(self, node: NodeId, line: str) -> None:
        """The cluster's report: when, where, what."""
        self.say(f"[{self.cluster.now_ms:5}] {node} {line}")

    # ---- making a cluster

    def do_cluster(self, voters: str, *words: str) -> None:
        options = dict(word.split("=", 1) for word in words if "=" in word)
        learners = _numbers(options.pop("learners", ""))
        membership = Membership(frozenset(range(1, int(voters) + 1)), learners=frozenset(learners))
        config = RaftConfig(1, membership)
        for key, value in options.items():
            config = replace(config, **{key: _config_value(key, value)})  # type: ignore[arg-type]  # any field
        self._cluster = Cluster(config, report=self.tell)
        if "stopped" not in words:
            self.cluster.start_all()

    def do_store(self, node: str, *words: str) -> None:
        options = dict(word.split("=", 1) for word in words)
        store = self.node(node).store
        store.hard_state = HardState(int(options["term"]), int(options.get("vote", "0")))
        store.first = int(options.get("first", "1"))
        store.before_first_term = int(options.get("before", "0"))
        terms = _numbers(options.get("log", ""))
        store.log = [Entry(store.first + i, term, EntryKind.DATA, b"t%d" % term) for i, term in enumerate(terms)]

    def do_start(self, *nodes: str) -> None:
        for node in nodes or [str(node) for node in self.cluster.nodes]:
            self.cluster.start(int(node))

    do_restart = do_start

    def do_crash(self, node: str) -> None:
        self.cluster.crash(int(node))

    def do_kill(self, node: str) -> None:
        self.cluster.crash(int(node))
        for other, _ in list(self.cluster.running()):
            self.cluster.peer_lost(other.id, int(node))

    def do_lose(self, node: str) -> None:
        self.cluster.lose_store(int(node))

    # ---- events

    def do_propose(self, node: str, *words: str) -> None:
        self.cluster.propose(int(node), *(word.encode() for word in words))

    def do_campaign(self, node: str) -> None:
        self.cluster.now_ms = max(self.cluster.now_ms, self.cluster.raft(int(node)).deadline_ms)
        self.cluster.tick(int(node))

    def do_advance(self, duration: str, latency: str = "") -> None:
        if latency:
            latency_ms = _milliseconds(latency.removeprefix("latency="))
            self.cluster.advance_with_latency(_milliseconds(duration), latency_ms)
        else:
            self.cluster.advance(_milliseconds(duration), settle=not self._holding)

    def do_lost(self, node: str, peer: str) -> None:
        self.cluster.peer_lost(int(node), int(peer))

    def do_found(self, node: str, peer: str) -> None:
        self.cluster.peer_found(int(node), int(peer))

    def do_read(self, node: str) -> None:
        self.cluster.read(int(node))

    def do_transfer(self, node: str, target: str = "0") -> None:
        now_ms, token = self.cluster.clock_ms(int(node)), self.cluster.token()
        self.cluster.step(int(node), TransferRequested(now_ms, token, int(target)))

    def do_join(self, node: str) -> None:
        self.cluster.join(int(node))

    def do_change(self, node: str, *words: str) -> None:
        options = dict(word.split("=", 1) for word in words)
        priority = [word.split(":") for word in options.get("priority", "").split(",") if word]
        target = Membership(
            frozenset(_numbers(options["voters"])),
            learners=frozenset(_numbers(options.get("learners", ""))),
            directory=options.get("directory", "").encode(),
            priority=tuple((int(one), int(rank)) for one, rank in priority),
        )
        now_ms, token = self.cluster.clock_ms(int(node)), self.cluster.token()
        self.cluster.step(int(node), ChangeRequested(now_ms, token, target))

    def do_compared(self, node: str, peer: str, answer: str) -> None:
        now_ms, index = self.cluster.clock_ms(int(node)), self.cluster.raft(int(node)).commit_index
        self.cluster.step(int(node), LearnerCompared(now_ms, int(peer), index, {"yes": True, "no": False}[answer]))

    def do_copy(self, node: str, name: str) -> None:
        self._copies[name] = self.cluster.copy(int(node))

    def do_ship(self, source: str, target: str) -> None:
        snapshot = self._copies[source] if source in self._copies else self.cluster.copy(int(source))
        self.cluster.ship(int(target), snapshot)

    def do_snapshot(self, node: str, peer: str, result: str = "ok") -> None:
        now_ms = self.cluster.clock_ms(int(node))
        self.cluster.step(int(node), SnapshotSent(now_ms, int(peer), {"ok": True, "failed": False}[result]))

    def do_pause(self, node: str) -> None:
        self.cluster.pause(int(node))

    def do_resume(self, node: str, first: str = "tick") -> None:
        self.cluster.resume(int(node), {"tick": True, "inbox": False}[first])

    def do_clock(self, node: str, rate_permille: str) -> None:
        self.node(node).clock.runs(int(rate_permille), self.cluster.now_ms)

    def do_send(self, name: str, way: str, *words: str) -> None:
        frm, to = way.split(">")
        values: dict[str, int] = {key: int(value) for key, value in (word.split("=") for word in words)}
        self.cluster.wires.append(getattr(messages, name)(int(frm), int(to), **values))

    def do_stall(self, node: str) -> None:
        self.node(node).stalled = True

    def do_sync(self, node: str, count: str = "") -> None:
        self.cluster.save(int(node), int(count) if count else None)

    def do_unstall(self, node: str) -> None:
        self.node(node).stalled = False
        self.cluster.save(int(node))

    def do_compact(self, node: str, first: str) -> None:
        self.node(node).store.compact(int(first))

    def do_compactable(self, node: str, *words: str) -> None:
        options = {key: int(value) for key, value in (word.split("=") for word in words)}
        raft = self.cluster.raft(int(node))
        keep_from = options.get("keep", raft.commit_index + 1)
        self.say(f"{node} through {raft.compaction_index(raft.commit_index, keep_from, options.get('sending'))}")

    # ---- wires

    def do_hold(self) -> None:
        self._holding = True

    def do_go(self) -> None:
        self._holding = False

    def do_wires(self) -> None:
        for message in self.cluster.wires:
            self.say(show_message(message))

    def do_deliver(self, *words: str) -> None:
        """Those on the wires now; what they give rise to stays there."""
        matching = list(self._matching(*(word for word in words if word not in ("double", "first"))))
        for message in matching[: 1 if "first" in words else None]:
            self.say(show_message(message))
            place = next(place for place, other in enumerate(self.cluster.wires) if other is message)
            self.cluster.deliver(place)
            if "double" in words:
                self.cluster.wires.append(message)

    def do_drop(self, *words: str) -> None:
        for message in list(self._matching(*words)):
            self.say(f"lost: {show_message(message)}")
            self.cluster.wires = [other for other in self.cluster.wires if other is not message]

    def _matching(self, *words: str) -> Iterator[Message]:
        for message in self.cluster.wires:
            names = {type(message).__name__, f"{message.frm}>{message.to}"}
            if names.issuperset(words):
                yield message

    def do_cut(self, *ways: str) -> None:
        for way in ways:
            if ">" in way:
                frm, to = way.split(">")
                self.cluster.cut.add((int(frm), int(to)))
            else:
                one, other = way.split("-")
                self.cluster.cut |= {(int(one), int(other)), (int(other), int(one))}

    def do_partition(self, *groups: str) -> None:
        sides = [_numbers(group) for group in groups]
        for side in sides:
            for other in sides:
                if side is not other:
                    self.cluster.cut |= {(a, b) for a in side for b in other}

    def do_heal(self) -> None:
        self.cluster.cut.clear()

    def do_quiet(self, name: str, *words: str) -> None:
        self._commands[name](*words)
        if not self._holding:
            self.cluster.settle()
        self._lines.clear()

    # ---- looking

    def do_status(self, *nodes: str) -> None:
        for one in self._chosen(*nodes):
            if one.raft is None:
                self.say(f"{one.id} down")
                continue
            raft = one.raft
            rebuilding = " rebuilding" if raft.hard_state.rebuilding else ""
            self.say(
                f"{one.id} {raft.role.value} term={raft.term} vote={raft.vote} leader={raft.leader} "
                f"commit={raft.commit_index} stable={raft.stable_index} last={raft.last_index}{rebuilding}"
            )

    def do_log(self, *nodes: str) -> None:
        """index:term=data, a bar after what is committed."""
        for one in self._chosen(*nodes):
            if one.raft is None:
                self.say(f"{one.id} down, on disk: " + " ".join(show_entry(entry) for entry in one.store.log))
                continue
            raft, words = one.raft, []
            for entry in raft.entries(raft.first_index, raft.last_index):
                words.append(show_entry(entry))
                if entry.index == raft.commit_index:
                    words.append("|")
            self.say(f"{one.id} " + " ".join(words))

    def do_progress(self, node: str) -> None:
        for view in self.cluster.raft(int(node)).progress:
            heard = "never" if view.heard_ms == NEVER_MS else f"{view.heard_ms}ms"
            inflight = f"{view.inflight_appends}/{view.inflight_bytes}B"
            rebuilding = " rebuilding" if view.rebuilding else ""
            rebuilding += " quick" * view.quick + " same" * view.same
            self.say(
                f"{view.peer} {view.phase.value} match={view.match_index} next={view.next_index} inflight={inflight} "
                f"heard={heard}{rebuilding}"
            )

    def do_applied(self, *nodes: str) -> None:
        for one in self._chosen(*nodes):
            self.say(f"{one.id} " + " ".join(show_entry(entry) for entry in one.applied))

    def do_members(self, *nodes: str) -> None:
        """The membership in force at each, since which index, and whether a step of a change is open."""
        for one in self._chosen(*nodes):
            if one.raft is not None:
                now_open = " open" if one.raft.membership_is_open else ""
                membership = show_membership(one.raft.membership)
                self.say(f"{one.id} at={one.raft.membership_index} {membership}{now_open}")

    def do_timeout(self, *nodes: str) -> None:
        for one in self._chosen(*nodes):
            if one.raft is not None:
                self.say(f"{one.id} election timeout {one.raft.election_timeout_ms}ms")

    def node(self, node: str) -> Node:
        return self.cluster.nodes[int(node)]

    def _chosen(self, *nodes: str) -> list[Node]:
        return [self.node(node) for node in nodes] or list(self.cluster.nodes.values())


def show_message(message: Message) -> str:
    """One line: from > to, kind, and what matters of it."""
    head = f"{message.frm}>{message.to} {type(message).__name__} term={message.term}"
    match message:
        case PreVote() | RequestVote():
            return f"{head} last={message.last_index}:{message.last_term}"
        case PreVoteReply() | RequestVoteReply():
            return f"{head} {'granted' if message.granted else 'refused'}"
        case Append():
            entries = " ".join(show_entry(entry) for entry in message.entries)
            return f"{head} prev={message.prev_index}:{message.prev_term} commit={message.commit} [{entries}]"
        case AppendReply(ok=True):
            return f"{head} match={message.match_index}{' rebuilding' if message.rebuilding else ''}"
        case AppendReply():
            hint = f"hint={message.hint_index}:{message.hint_term}"
            return f"{head} no at {message.match_index} {hint}{' rebuilding' if message.rebuilding else ''}"
        case Heartbeat():
            return f"{head} commit={message.commit} round={message.context}"
        case HeartbeatReply():
            return f"{head} round={message.context}{' rebuilding' if message.rebuilding else ''}"
        case ReadIndexReply():
            return f"{head} {f'index={message.index}' if message.ok else 'refused'}"
        case _:
            return head


def _numbers(words: str) -> list[int]:
    return [int(word) for word in words.split(",") if word]


def _milliseconds(duration: str) -> int:
    if not duration.endswith("ms"):
        raise BadScenario(f"a duration is written 150ms, not {duration!r}")
    return int(duration.removesuffix("ms"))


def _config_value(key: str, value: str) -> object:
    if key not in {field.name for field in fields(RaftConfig)}:
        raise BadScenario(f"RaftConfig has no {key!r}")
    if key == "priority":
        return {int(node): int(priority) for node, priority in (pair.split(":") for pair in value.split(","))}
    return value == "on" if value in ("on", "off") else int(value)


def run(text: str) -> str:
    """The scenario as it should be recorded: its comments and commands, each command followed by what it does now."""
    scenario = Scenario()
    recorded: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("> "):
            recorded.append(line)
            try:
                recorded += scenario.play(line.removeprefix("> "))
            except (BadScenario, AssertionError, KeyError, TypeError, ValueError) as error:
                raise BadScenario(f"line {number}, {line!r}: {type(error).__name__}: {error}") from error
        elif not line or line.startswith("#"):
            recorded.append(line)
    return "\n".join(recorded) + "\n"


def rewrite(path: Path) -> None:
    """Show how the recording changes, and write it."""
    before = path.read_text()
    after = run(before)
    sys.stdout.writelines(difflib.unified_diff(before.splitlines(True), after.splitlines(True), path.name, path.name))
    path.write_text(after)


def main(arguments: list[str]) -> None:
    if arguments[:1] != ["--rewrite"] or len(arguments) == 1:
        sys.exit("usage: python -m tests.raft.scenario --rewrite FILE...|all")
    names = arguments[1:]
    for path in sorted(SCENARIOS.glob("*.txt")) if names == ["all"] else [Path(name) for name in names]:
        rewrite(path)


if __name__ == "__main__":
    main(sys.argv[1:])
