"""One demo run from beginning to end: read, start, play, stop, and then open every store on disk and compare."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import trio

from replica.cases.commands import Report
from replica.demo.audit import Audit, audit
from replica.demo.caller import open_callers
from replica.demo.ledger import Ledger
from replica.demo.messages import Message, find
from replica.demo.options import KILL_WHO, Options
from replica.demo.play import Course, Play, Turn, until_connected
from replica.demo.result import Conflict, DemoResult, Shown
from replica.demo.stores import read_stores
from replica.demo.supervisor import Cluster, Plan, open_cluster
from replica.demo.voices import Voices, spread
from replica.errors import ConfigError, InvalidMessage, ReplicaError
from replica.hubsante.decode import read
from replica.hubsante.speakers import speakers
from replica.hubsante.values import Parsed

CONNECT_SECONDS: Final = 20.0
MOST_SECONDS: Final = 300.0
"""A run that takes longer hangs, and that is a failure to be reported, not to be waited for."""


class Watcher(Protocol):
    """Who looks on while it runs."""

    def total(self, messages: int) -> None: ...
    def moment(self, what: str) -> None: ...
    def played(self, messages: int) -> None: ...


async def run_demo(options: Options, watch: Watcher) -> tuple[DemoResult, Shown]:
    """Play one run. Whatever goes wrong with the cluster ends in a result that is not ok and says why.

    Raises ConfigError for options that cannot be played; nothing is started then.
    """
    options.check()
    messages = find(options.messages)
    parsed = [parse(message) for message in messages]
    candidates = list(candidates_of(parsed))
    voices = spread(candidates, options.sites, random.Random(options.seed))
    turns = [_turn(*one, voices) for one in zip(messages, parsed, candidates, strict=True)]
    watch.total(len(turns))
    with _folder(options.data) as folder:
        plan = Plan(folder, options.zones, voices.sites)
        _check_victim(options, plan)
        began = trio.current_time()
        course = Course(Ledger(), began, on_moment=watch.moment, on_message=watch.played)
        problems = await _play(options, plan, turns, course)
        found = audit(course.ledger, course.decided, read_stores(folder, plan, course.ledger.operations()))
        seconds = trio.current_time() - began
    return _result(course, found, problems, seconds), _shown(course, found, options)


async def _play(options: Options, plan: Plan, turns: Sequence[Turn], course: Course) -> list[str]:
    """What went wrong with the processes, in words. All of them have stopped when this returns."""
    problems: list[str] = []
    try:
        with trio.fail_after(MOST_SECONDS):
            async with open_cluster(plan) as cluster:
                await _play_over(options, cluster, turns, course)
    except* ReplicaError as group:
        problems += _texts(group)
    except* trio.TooSlowError:
        problems.append(f"not done after {MOST_SECONDS:g} s")
    return problems


async def _play_over(options: Options, cluster: Cluster, turns: Sequence[Turn], course: Course) -> None:
    await cluster.start_all()
    nodes = {node.name: node.address for node in cluster.nodes.values()}
    async with open_callers(nodes, course.ledger) as callers:
        await until_connected(callers, cluster, CONNECT_SECONDS)
        course.note(f"{len(cluster.zones)} zones and {len(cluster.sites)} sites stand, each a process of its own")
        await Play(options, cluster, callers, turns, course).run()
    codes = await cluster.stop_all()
    course.note("all processes are stopped")
    wrong = {name: code for name, code in codes.items() if code != 0}
    if wrong:
        raise ReplicaError(f"stopped with an exit code other than 0: {wrong}")


def _texts(group: BaseExceptionGroup[ReplicaError]) -> Iterator[str]:
    for problem in group.exceptions:
        if isinstance(problem, BaseExceptionGroup):
            yield from _texts(problem)
        else:
            yield f"{type(problem).__name__}: {problem}"


@contextmanager
def _folder(data: Path | None) -> Iterator[Path]:
    """Where the nodes' folders are: `data`, made if need be, or one that is removed afterwards."""
    if data is not None:
        data.mkdir(parents=True, exist_ok=True)
        yield data.resolve()
    else:
        with tempfile.TemporaryDirectory(prefix="replica-demo-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)


def _check_victim(options: Options, plan: Plan) -> None:
    nodes = (*plan.zone_names, *plan.site_names)
    if options.also_kill and options.also_kill not in (*KILL_WHO, *nodes):
        raise ConfigError("--also-kill", f"{options.also_kill!r} is none of {', '.join((*KILL_WHO, *nodes))}")


def parse(message: Message) -> Parsed | None:
    """What a message says; None where it is refused (the site will say why)."""
    try:
        return read(message.data, default_sender=None)
    except InvalidMessage:
        return None


def _reports(parsed: Parsed | None) -> tuple[Report, ...]:
    contents = () if parsed is None else parsed.contents
    return tuple(content.outcome for content in contents if isinstance(content.outcome, Report))


def candidates_of(parsed: Iterable[Parsed | None]) -> Iterator[tuple[str, ...]]:
    """For each message whom it could come from, the likeliest first: its envelope says so; else the owner of its case,
    as far as the messages before it have named one; else what its content hints at."""
    owners: dict[str, str] = {}
    for one in parsed:
        reports = _reports(one)
        cases = [
            subject.id if subject.kind == "case" else subject.case for report in reports for subject in report.subjects
        ]
        if one is not None and one.envelope is not None:
            yield (one.envelope.sender, *one.envelope.recipients)
        else:
            known = [owners[case] for case in cases if case in owners]
            yield tuple(dict.fromkeys([*known, *(name for report in reports for name in speakers(report))]))
        for subject in (subject for report in reports for subject in report.subjects):
            if subject.kind == "case" and subject.organisation:
                owners[subject.id] = subject.organisation


def _turn(message: Message, parsed: Parsed | None, candidates: Sequence[str], voices: Voices) -> Turn:
    sender, site = voices.choose(candidates)
    return Turn(message, sender, site, _reports(parsed))


def _result(course: Course, found: Audit, problems: Sequence[str], seconds: float) -> DemoResult:
    ledger = course.ledger
    all_problems = (*problems, *found.problems)
    return DemoResult(
        messages=course.messages,
        operations=course.operations,
        agreed=ledger.count("agreed"),
        journalled=ledger.count("journalled"),
        verdicts=found.verdicts,
        verdicts_total=found.verdicts_total,
        lost=len(found.lost),
        duplicated=len(found.duplicated),
        refused_messages=len(course.refused),
        digests_equal=found.digests_equal,
        conflicts_open=len(found.conflicts),
        failover_ms=_rounded(course.failover_ms),
        cut_off_detected_ms=_rounded(course.cut_off_detected_ms),
        longest_submit_ms=round(ledger.longest_wait_ms(), 1),
        reconcile_ms=_rounded(course.reconcile_ms),
        seconds=round(seconds, 2),
        ok=not all_problems,
        problems=all_problems,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _shown(course: Course, found: Audit, options: Options) -> Shown:
    return Shown(
        timeline=tuple(course.timeline),
        conflicts=tuple(Conflict(*one) for one in found.conflicts),
        digests=found.digests,
        refused=tuple((held.what, str(held.invalid or held.not_permitted)) for held in course.refused),
        data="" if options.data is None else str(options.data),
    )
