"""Tells a failing run of the world as a scenario: text that tests/raft plays on its own small cluster.

A run of the world is a list of what each node's core was handed, in order: messages, ticks, proposals, completions of
saves. The language of tests/raft/scenario.py can say nearly all of it. A message that was lost, overtaken or doubled
needs a trick, since `deliver` takes the oldest on the wires: a cut loses it, and delivered `double` into a cut it goes
behind all others unharmed.

What cannot be said is time: a scenario has one clock, the world one for each node. So the text is a *guess*, told in
two ways (each save at once; each save when it was done), and it counts only if playing it ends in the same harm. Then
lines are left away, as many as can be, while it still does (Zeller's ddmin, 2002).

Leaves out: harm that only the world sees (no progress; what a caller was told), snapshots and changes of the
membership, which take a driver, and runs whose failure hangs on clocks. Then there is no scenario, and that is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from chaos.world.invariants import InvariantViolated, PromiseIsDurable, VoteOnce
from chaos.world.node import Node
from chaos.world.report import WEATHERS
from chaos.world.shrink import LAST_DICE, Broken, Fails, Run, Shrunk, describe, dice, fails, shrink
from chaos.world.softer import softened
from chaos.world.world import World
from replica.raft.core import Raft
from replica.raft.events import PeerFound, PeerLost, Persisted, Propose, ReadRequested, Tick, TransferRequested
from replica.raft.messages import AppendReply, Message, RequestVote, RequestVoteReply
from replica.raft.types import RaftConfig, Role, Term

MOST_PLAYS = 2_000
MOST_WAKES = 2

ALIKE = {
    "AcknowledgedIsDurable": {"LeaderCompleteness", "StateMachineSafety"},
    "LeaderCompleteness": {"StateMachineSafety", "LeaderCompleteness"},
    "StateMachineSafety": {"StateMachineSafety", "LeaderCompleteness"},
}
"""Invariant of the world → what a scenario may show instead: the same loss, seen from another side."""

_TOLD_BY_THE_CLUSTER = {
    "Election Safety": "ElectionSafety",
    "both lead term": "ElectionSafety",
    "Leader Completeness": "LeaderCompleteness",
    "Log Matching": "LogMatching",
    "State Machine Safety": "StateMachineSafety",
}

_SETTINGS = ("election_timeout_ms", "heartbeat_interval_ms", "max_append_bytes", "max_inflight_appends",
             "max_inflight_bytes", "max_apply_bytes", "max_uncommitted_bytes", "pre_vote", "check_quorum")  # fmt: skip

Build = Callable[[Run], World]


@dataclass(slots=True)
class Witness:
    """Sits in a world and notes what every core is handed, and what every node sends."""

    happened: list[tuple[str, int, Any]] = field(default_factory=list)
    """(what, node, detail): `sent`, `handed`, `starts`, `dies`, `loses`, `stands`, `settled`."""

    def watch(self, world: World) -> None:
        """Begin to note. The world must not have started."""
        send = world.network.send

        def noted_send(sender: Node, message: Message) -> None:
            self.happened.append(("sent", sender.number, message))
            send(sender, message)

        world.network.send = noted_send  # type: ignore[method-assign]  # one more pair of ears, on this world only
        emptied = world.judge.emptied

        def noted_emptied(node: Node) -> None:
            self.happened.append(("loses", node.number, None))
            emptied(node)

        world.judge.emptied = noted_emptied  # type: ignore[method-assign]  # likewise
        for node in world.peers():
            self._watch_node(node)

    def _watch_node(self, node: Node) -> None:
        anyone: Any = node  # its methods are replaced on this one object
        step, boot, crash, take = node._step, node.boot, node.crash, node._take_readies

        def noted_step(item: Any) -> None:
            self.happened.append(("handed", node.number, item))
            step(item)
            assert node.raft is not None, f"node {node.number} died while it stepped"
            self.happened.append(("stands", node.number, (node.raft.role, node.raft.term)))

        def noted_boot() -> None:
            self.happened.append(("starts", node.number, None))
            boot()

        def noted_crash(kept: int) -> None:
            self.happened.append(("dies", node.number, kept))
            crash(kept)

        def noted_take() -> None:
            take()
            if not node.disk.pending and not node._durable:
                self.happened.append(("settled", node.number, None))

        anyone._step, anyone.boot, anyone.crash, anyone._take_readies = noted_step, noted_boot, noted_crash, noted_take


def build(run: Run, core: Callable[..., Raft] = Raft) -> World:
    """The world of a run."""
    return World(run.seed, weather=softened(run.weather, WEATHERS), core=core)


def witnessed(run: Run, build: Build) -> tuple[World, Witness]:
    """Runs it once more, to its failure."""
    world, witness = build(run), Witness()
    witness.watch(world)
    with suppress(Exception):  # how it fails is known already
        world.run(run.steps)
    return world, witness


# ---- the text


class _Telling:
    """The commands so far, played as they are told: what a node did not do in time it is asked to do once more."""

    def __init__(self, world: World, witness: Witness, by_save: bool, core: type[Raft]) -> None:
        self.lines: list[str] = []
        self.harm: str | None = None
        self._by_save = by_save
        self._wires = _Wires(witness)
        self._play = _Play(core)
        self._ticked = 0
        self._begin(world)
        for happened in witness.happened:
            if self.harm is None:
                self._tell(*happened)

    def _say(self, line: str) -> None:
        if self.harm is None:
            self.lines.append(line)
            self.harm = self._play.play(line)

    def _begin(self, world: World) -> None:
        config, plain = world.nodes[1].config, RaftConfig(1, world.nodes[1].config.membership)
        differing = [name for name in _SETTINGS if getattr(config, name) != getattr(plain, name)]
        words = [f"{name}={_setting(getattr(config, name))}" for name in differing]
        if config.priority:
            words.append("priority=" + ",".join(f"{node}:{rank}" for node, rank in sorted(config.priority.items())))
        self._say(" ".join([f"cluster {len(config.membership.voters)} stopped", *words]))
        self._say("hold")
        for node in sorted(config.membership.voters) if self._by_save else ():
            self._say(f"stall {node}")

    def _tell(self, what: str, node: int, detail: Any) -> None:
        match what:
            case "sent":
                self._wires.sent.append(detail)
            case "starts":
                self._say(f"start {node}")
            case "dies":
                if self._by_save and detail:
                    self._say(f"sync {node} {detail}")
                self._say(f"crash {node}")
            case "loses":
                self._say(f"lose {node}")
            case "settled" if self._by_save:
                self._say(f"sync {node}")
            case "handed" if type(detail) is tuple:
                self._event(node, detail[0], detail[1:])
            case "handed":
                for line in self._wires.deliver(detail):
                    self._say(line)
            case "stands" if self._ticked == node:
                self._ticked = 0
                self._wake_again(node, detail)
            case _:
                pass

    def _event(self, node: int, event: type, details: tuple[Any, ...]) -> None:
        if event is Tick:
            self._ticked = node
            self._say(f"campaign {node}")
        elif event is Persisted and self._by_save:
            self._say(f"sync {node}")
        elif event is Propose:
            self._say(f"propose {node} p{details[0]}")
        elif event is PeerLost or event is PeerFound:
            self._say(f"{'lost' if event is PeerLost else 'found'} {node} {details[0]}")
        elif event is ReadRequested:
            self._say(f"read {node}")
        elif event is TransferRequested:
            self._say(f"transfer {node} {details[1]}")

    def _wake_again(self, node: int, stands: tuple[Role, Term]) -> None:
        """The scenario's one clock may have passed a deadline long ago: then the node takes its time first."""
        for _ in range(MOST_WAKES):
            if self.harm is None and self._play.stands(node) not in (stands, None):
                self._say(f"campaign {node}")


def _setting(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


class _Wires:
    """What the scenario will have on its wires, and how to get one message off them."""

    def __init__(self, witness: Witness) -> None:
        self.sent: list[Message] = []
        self._to_come = Counter(
            id(item) for what, _, item in witness.happened if what == "handed" and type(item) is not tuple
        )

    def deliver(self, message: Message) -> list[str]:
        """The commands that make this very message arrive, and lose those that the world lost before it."""
        way = f"{message.frm}>{message.to}"
        words = f"deliver {type(message).__name__} {way} first"
        alike = [one for one in self.sent if _is_alike(one, message)]
        if not any(one is message for one in alike):
            return []
        lines: list[str] = []
        for earlier in alike:
            if earlier is message:
                break
            self._take(earlier, again=bool(self._to_come[id(earlier)]))
            lines += [f"cut {way}", f"{words} double" if self._to_come[id(earlier)] else words, "heal"]
        self._to_come[id(message)] -= 1
        again = self._to_come[id(message)] > 0
        self._take(message, again)
        return [*lines, f"{words} double" if again else words]

    def _take(self, message: Message, again: bool) -> None:
        place = next(place for place, one in enumerate(self.sent) if one is message)
        del self.sent[place]
        if again:
            self.sent.append(message)


def _is_alike(one: Message, other: Message) -> bool:
    return type(one) is type(other) and (one.frm, one.to) == (other.frm, other.to)


# ---- playing it


def can_play() -> bool:
    """Whether the scenarios' player is there: it belongs to the tests, which an installed package does not have."""
    return find_spec("tests") is not None and find_spec("tests.raft.scenario") is not None


class _Play:
    """A scenario being played, and the invariants that look on."""

    def __init__(self, core: type[Raft]) -> None:
        self._module = import_module("tests.raft.scenario")
        self._scenario = self._module.Scenario()
        self._core = core
        self._vigil = _Vigil()

    def play(self, line: str) -> str | None:
        """Does one command; the invariant it violates. A command that makes no sense here does nothing."""
        try:
            self._scenario.play(line)
            if line.startswith("cluster"):
                self._scenario.cluster.core = self._core
            self._vigil.look(self._scenario.cluster)
        except InvariantViolated as violated:
            return violated.name
        except AssertionError as failed:
            if "runs already" in str(failed) or "is down" in str(failed):
                return None  # a start or an event whose crash or start was left away
            return next(
                (name for words, name in _TOLD_BY_THE_CLUSTER.items() if words in str(failed)), "AssertionError"
            )
        except (self._module.BadScenario, KeyError, TypeError, ValueError):
            return "BadScenario"
        return None

    def stands(self, node: int) -> tuple[Role, Term] | None:
        """Role and term of a node, None where it is down."""
        raft = self._scenario.cluster.nodes[node].raft
        return None if raft is None else (raft.role, raft.term)


def harm(lines: Sequence[str], core: type[Raft] = Raft) -> str | None:
    """Plays the commands; the invariant they violate, None where they end well."""
    play = _Play(core)
    for line in lines:
        violated = play.play(line)
        if violated is not None:
            return violated
    return None


class _Vigil:
    """The invariants of the world that look at promises, asked of a scenario's cluster."""

    def __init__(self) -> None:
        self._vote_once, self._durable = VoteOnce(), PromiseIsDurable()
        self._seen: dict[int, Message] = {}

    def look(self, cluster: Any) -> None:
        for message in cluster.wires:
            if id(message) not in self._seen:
                self._seen[id(message)] = message  # kept, so that its id stays its own
                self._judge(cluster, message)

    def _judge(self, cluster: Any, message: Message) -> None:
        store = cluster.nodes[message.frm].store
        match message:
            case RequestVoteReply(granted=True) | RequestVote():
                candidate = message.to if isinstance(message, RequestVoteReply) else message.frm
                self._vote_once.votes(message.frm, message.term, candidate)
                disk = (store.hard_state.term, store.hard_state.vote)
                self._durable.votes(message.frm, message.term, candidate, disk)
            case AppendReply(ok=True):
                if store.hard_state.term <= message.term:
                    disk = (store.hard_state.term, store.last_index())
                    self._durable.confirms(message.frm, message.term, message.match_index, disk)
            case _:
                pass


def retell(run: Run, invariant: str, build: Build = build, core: type[Raft] = Raft) -> list[str] | None:
    """The commands of a scenario that ends in the same harm, as few as were found; None where there is none."""
    wanted = ALIKE.get(invariant, {invariant})
    world, witness = witnessed(run, build)
    for by_save in (False, True):
        telling = _Telling(world, witness, by_save, core)
        if telling.harm in wanted:
            return fewest(telling.lines, lambda fewer: harm(fewer, core) in wanted)
    return None


def fewest(lines: Sequence[str], still: Callable[[Sequence[str]], bool], most_plays: int = MOST_PLAYS) -> list[str]:
    """Leaves away what it can, in ever smaller pieces; the first two lines, which make the cluster and hold
    its messages, stay."""
    head, rest = list(lines[:2]), list(lines[2:])
    size = max(1, len(rest) // 2)
    plays = 0
    while plays < most_plays:
        shorter = False
        begin = 0
        while begin < len(rest) and plays < most_plays:
            plays += 1
            candidate = rest[:begin] + rest[begin + size :]
            if still(head + candidate):
                rest, shorter = candidate, True
            else:
                begin += size
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return head + rest


# ---- for people


def story(run: Run, fails: Fails = fails, build: Build = build, core: type[Raft] = Raft) -> list[str]:
    """A failing seed, made small and told: the lines to print."""
    shrunk = shrink(run, fails)
    if shrunk is None:
        return ["it does not fail again: it was not a run of this seed alone"]
    lines = describe(shrunk)
    if not can_play():
        return [*lines, "as a scenario: the tests are not here to play it"]
    told = tell(shrunk, fails, build, core)
    if told is None:
        return [*lines, f"as a scenario: {shrunk.broken.invariant} could not be shown in that language"]
    return [*lines, "as a scenario:", *scenario_text(told)]


@dataclass(frozen=True, slots=True)
class Told:
    """A scenario, and the run it was made from."""

    commands: list[str]
    broken: Broken
    run: Run


def tell(shrunk: Shrunk, fails: Fails = fails, build: Build = build, core: type[Raft] = Raft) -> Told | None:
    """The scenario of a small run, or of one that fails alike; None where none of them can be told."""
    for like, broken in runs_like(shrunk, fails):
        commands = retell(like, broken.invariant, build, core)
        if commands is not None:
            return Told(commands, broken, like)
    return None


def runs_like(shrunk: Shrunk, fails: Fails) -> Iterator[tuple[Run, Broken]]:
    """The smallest run, and others that fail alike: of one that hangs on its clocks, another may not."""
    yield shrunk.run, shrunk.broken
    for weather in (shrunk.run.weather, shrunk.first.weather):
        for candidate in dice(weather, LAST_DICE):
            run = replace(shrunk.first, weather=candidate)
            broken = fails(run)
            if broken is not None and broken.invariant == shrunk.broken.invariant:
                yield run, broken


def scenario_text(told: Told) -> list[str]:
    """What a file in tests/raft/scenarios would hold; recorded with --rewrite once the core is right again."""
    first = f"# Ended in: {told.broken.text} (seed {told.run.seed}, {told.run.weather})"
    return [first, *(f"> {line}" for line in told.commands)]
