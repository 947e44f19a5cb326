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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from chaos.world.invariants import InvariantViolated, PromiseIsDurable, VoteOnce
from chaos.world.node import Node
from chaos.world.report import WEATHERS
from chaos.world.shrink import Run, describe, shrink
from chaos.world.softer import softened
from chaos.world.world import World
from replica.raft.core import Raft
from replica.raft.events import PeerFound, PeerLost, Persisted, Propose, ReadRequested, Tick, TransferRequested
from replica.raft.messages import AppendReply, Message, RequestVote, RequestVoteReply
from replica.raft.types import RaftConfig

MOST_PLAYS = 2_000

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
    """(what, node, detail): `sent`, `handed`, `starts`, `dies`, `loses`, `settled`."""

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

        world.judge.emptied = noted_emptied  # type: ignore[method-assign]
        for node in world.peers():
            self._watch_node(node)

    def _watch_node(self, node: Node) -> None:
        anyone: Any = node  # its methods are replaced on this one object
        step, boot, crash, take = node._step, node.boot, node.crash, node._take_readies

        def noted_step(item: Any) -> None:
            self.happened.append(("handed", node.number, item))
            step(item)

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


def tell(world: World, witness: Witness, by_save: bool) -> list[str]:
    """The commands. `by_save`: disks finish when they finished in the world, else at once."""
    config, plain = world.nodes[1].config, RaftConfig(1, world.nodes[1].config.membership)
    differing = [name for name in _SETTINGS if getattr(config, name) != getattr(plain, name)]
    words = [f"{name}={_setting(getattr(config, name))}" for name in differing]
    if config.priority:
        words.append("priority=" + ",".join(f"{node}:{rank}" for node, rank in sorted(config.priority.items())))
    lines = [" ".join([f"cluster {len(config.membership.voters)} stopped", *words]), "hold"]
    if by_save:
        lines += [f"stall {node.number}" for node in world.peers()]
    wires = _Wires(witness)
    for what, node, detail in witness.happened:
        match what:
            case "sent":
                wires.sent.append(detail)
            case "starts":
                lines.append(f"start {node}")
            case "dies":
                lines += [f"sync {node} {detail}"] * bool(by_save and detail) + [f"crash {node}"]
            case "loses":
                lines.append(f"lose {node}")
            case "settled" if by_save:
                lines.append(f"sync {node}")
            case "handed":
                lines += _handed(node, detail, wires, by_save)
            case _:
                pass
    return lines


def _setting(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _handed(node: int, item: Any, wires: _Wires, by_save: bool) -> list[str]:
    match item:
        case (event, *details):
            return _event(node, event, details, by_save)
        case message:
            return wires.deliver(message)


def _event(node: int, event: type, details: list[Any], by_save: bool) -> list[str]:
    if event is Tick:
        return [f"campaign {node}"]
    if event is Persisted:
        return [f"sync {node}"] if by_save else []
    if event is Propose:
        return [f"propose {node} p{details[0]}"]
    if event is PeerLost or event is PeerFound:
        return [f"{'lost' if event is PeerLost else 'found'} {node} {details[0]}"]
    if event is ReadRequested:
        return [f"read {node}"]
    if event is TransferRequested:
        return [f"transfer {node} {details[1]}"]
    return []


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


def harm(lines: Sequence[str], core: type[Raft] = Raft) -> str | None:
    """Plays the commands; the invariant they violate, None where they end well or cannot be played."""
    module = import_module("tests.raft.scenario")
    scenario = module.Scenario()
    vigil = _Vigil()
    for line in lines:
        try:
            scenario.play(line)
            if line.startswith("cluster"):
                scenario.cluster.core = core
            vigil.look(scenario.cluster)
        except InvariantViolated as violated:
            return violated.name
        except AssertionError as failed:
            return next((name for words, name in _TOLD_BY_THE_CLUSTER.items() if words in str(failed)), "AssertionError")
        except (module.BadScenario, KeyError, TypeError, ValueError):
            return None  # a command that makes no sense without one that was left away
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
        lines = tell(world, witness, by_save)
        if harm(lines, core) in wanted:
            return fewest(lines, lambda fewer: harm(fewer, core) in wanted)
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


def story(run: Run) -> list[str]:
    """A failing seed, made small and told: the lines to print."""
    shrunk = shrink(run)
    if shrunk is None:
        return ["it does not fail again: it was not a run of this seed alone"]
    lines = describe(shrunk)
    if not can_play():
        return [*lines, "as a scenario: the tests are not here to play it"]
    told = retell(shrunk.run, shrunk.broken.invariant)
    if told is None:
        return [*lines, f"as a scenario: {shrunk.broken.invariant} could not be shown in that language"]
    return [*lines, "as a scenario:", *scenario_text(told, shrunk.broken, shrunk.run)]


def scenario_text(told: Sequence[str], broken: Any, run: Run) -> list[str]:
    """What a file in tests/raft/scenarios would hold; recorded with --rewrite once the core is right again."""
    return [f"# Ended in: {broken.text} (seed {run.seed}, {run.weather})", *(f"> {line}" for line in told)]
