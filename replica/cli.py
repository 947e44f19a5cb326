"""The `replica` command: run a zone or a site, hand something in, look at what is known, play the demo.

Exit codes: 0 done; 1 the answer is no (a demo that is not ok, a node that cannot be reached); 2 wrong input: a
configuration, a message, an argument, with the place and what is allowed.
"""

from __future__ import annotations

import getpass
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import trio
from cyclopts import Parameter, validators
from rich.console import Console
from rich.text import Text

from replica.admin import members
from replica.admin import show as tables
from replica.admin.ask import StoppedNode, read_command, stopped_node
from replica.admin.charge_commands import authority, charges, handback, takeover
from replica.admin.drill_commands import drill
from replica.admin.founding import found_anew
from replica.admin.level_command import raise_level
from replica.admin.paper_command import resume_paper
from replica.admin.reach import DEFAULT_AT, At, Json
from replica.admin.reach import ask as _ask
from replica.admin.serve import serve, serve_zone
from replica.admin.sheet_command import sheet
from replica.admin.verdict_commands import conflicts, verdicts, why
from replica.api import Consistency, open_site
from replica.config import ZoneConfig, load_site, load_zone
from replica.demo.command import demo as run_demo
from replica.errors import ConfigError, InvalidMessage, NotAvailable, ReplicaError
from replica.runtime.client import Client
from replica.telemetry import log_to_stderr
from replica.version import __version__
from replica.wire.client import DEFAULT_BUDGET_MS

app = cyclopts.App(
    name="replica",
    version=__version__,
    help="Emergency cases and resources, agreed across cloud zones, writable at every Samu when its line is cut.",
)
show = cyclopts.App(name="show", help="Cases and resources, of a running node (--at) or a stopped one (--data).")
member = cyclopts.App(name="member", help="Who votes: list, add, promote, remove, replace zones.")
app.command(show)
app.command(member)
app.command(conflicts)
app.command(drill)
app.command(run_demo, name="demo")
for command in (authority, charges, takeover, handback, verdicts, why, sheet, resume_paper, raise_level):
    app.command(command)

Data = Annotated[Path | None, Parameter(name="--data", help="data folder of a stopped node; never written to")]
Wanted = Annotated[
    Consistency,
    Parameter(
        name="--consistency",
        help="local: what this node knows now. session: never older than what the asker has seen, so as local for one "
        "command. linearizable: all that was agreed anywhere before, confirmed by a quorum, nothing tentative",
    ),
]
BudgetMs = Annotated[
    int,
    Parameter(
        name="--budget-ms",
        help="how long to wait for an answer of that consistency",
        validator=validators.Number(gte=0, lte=3_600_000),
    ),
]
Owner = Annotated[str, Parameter(name="--owner", help="only those of this organisation")]
NewZoneText = Annotated[str, Parameter(name="ZONE", help="NUMBER:NAME@HOST:PORT[/PRIORITY]")]
BudgetS = Annotated[float, Parameter(name="--budget-s", help="how long to watch until it is done")]


@app.command
def zone(config: Path, *, found: bool = False, join: bool = False, debug: bool = False) -> None:
    """Run a zone node: one voter of the agreed log.

    Parameters
    ----------
    config:
        Its TOML file; see docs/operating.md for every field.
    found:
        This is a NEW cluster: an empty store may vote. Once, at the first start of its first nodes; never afterwards.
    join:
        This is a NEW zone of a running cluster, with a number that was never used. Once, at its first start; its file
        lists the zones that are there and not itself. Then `replica member add`.
    debug:
        More lines in the log.
    """
    log_to_stderr(debug=debug)
    loaded = load_zone(config)
    serve_zone(loaded, found=found, join=join)


@app.command
def site(config: Path, *, debug: bool = False) -> None:
    """Run a site: one Samu's full copy and durable journal.

    Parameters
    ----------
    config:
        Its TOML file; see docs/operating.md for every field.
    debug:
        More lines in the log.
    """
    log_to_stderr(debug=debug)
    loaded = load_site(config)
    trio.run(serve, loaded.site.name, lambda: open_site(loaded))


@app.command
def submit(
    file: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    *,
    at: At = DEFAULT_AT,
    sender: str = "",
    author: str = "",
    key: str = "",
    budget_ms: int = 250,
    json: Json = None,
) -> None:
    """Hand in a hub message (an envelope or a bare content) or a command, and print the receipt of each operation.

    A command is JSON: {"command": "change-priority", "case": "fr.health.samu440.123", "priority": "P0"}.

    Parameters
    ----------
    file:
        The message or command; - is standard input.
    sender:
        The organisation a bare message speaks for.
    author:
        Who did it.
    key:
        Your idempotency key: the same key again is the same operation.
    budget_ms:
        How long to wait for the quorum before "journalled" is the answer.
    """
    data = sys.stdin.buffer.read() if str(file) == "-" else _read(file)
    command = read_command(data)

    async def hand_in(client: Client) -> list[Any]:
        if command is not None:
            return [await client.submit(command, budget_ms, author=author, key=key)]
        return list(await client.submit_message(data, budget_ms, sender=sender, author=author, key=key))

    receipts = _ask(at, hand_in)
    tables.write(json, tables.receipts(receipts), tables.receipt_values(receipts))


@show.command(name="case")
def show_case(
    id: str,  # noqa: A002
    *,
    at: At = DEFAULT_AT,
    data: Data = None,
    consistency: Wanted = "local",
    budget_ms: BudgetMs = DEFAULT_BUDGET_MS,
    json: Json = None,
) -> None:
    """A case, whole: every value, note, decision and status, with author and time."""
    if data is not None:
        with _stopped(data, consistency) as node:
            answer = _found({"freshness": node.freshness(), "case": node.case(id)}, "case", id)
    else:
        answer = _ask(at, lambda client: client.show_case(id, consistency=consistency, budget_ms=budget_ms))
    tables.write(json, tables.case(answer), answer)


@show.command(name="resource")
def show_resource(
    id: str,  # noqa: A002
    *,
    at: At = DEFAULT_AT,
    data: Data = None,
    consistency: Wanted = "local",
    budget_ms: BudgetMs = DEFAULT_BUDGET_MS,
    json: Json = None,
) -> None:
    """A resource, whole: what it is, its status history, engagement and position."""
    if data is not None:
        with _stopped(data, consistency) as node:
            answer = _found({"freshness": node.freshness(), "resource": node.resource(id)}, "resource", id)
    else:
        answer = _ask(at, lambda client: client.show_resource(id, consistency=consistency, budget_ms=budget_ms))
    tables.write(json, tables.resource(answer), answer)


@show.command(name="cases")
def show_cases(
    *,
    at: At = DEFAULT_AT,
    data: Data = None,
    owner: Owner = "",
    open_only: bool = False,
    consistency: Wanted = "local",
    budget_ms: BudgetMs = DEFAULT_BUDGET_MS,
    json: Json = None,
) -> None:
    """All cases, a line each; with --json a list of whole cases."""
    if data is not None:
        with _stopped(data, consistency) as node:
            answer: Any = {"freshness": node.freshness(), "cases": node.cases(owner or None, open_only or None)}
    else:
        answer = _ask(
            at,
            lambda client: client.list_cases(
                owner=owner, open_only=open_only or None, consistency=consistency, budget_ms=budget_ms
            ),
        )
    tables.write(json, tables.cases(answer), tables.plain(answer)["cases"])


@show.command(name="resources")
def show_resources(
    *,
    at: At = DEFAULT_AT,
    data: Data = None,
    owner: Owner = "",
    consistency: Wanted = "local",
    budget_ms: BudgetMs = DEFAULT_BUDGET_MS,
    json: Json = None,
) -> None:
    """All resources, a line each; with --json a list of whole resources."""
    if data is not None:
        with _stopped(data, consistency) as node:
            answer: Any = {"freshness": node.freshness(), "resources": node.resources(owner or None)}
    else:
        answer = _ask(
            at, lambda client: client.list_resources(owner=owner, consistency=consistency, budget_ms=budget_ms)
        )
    tables.write(json, tables.resources(answer), tables.plain(answer)["resources"])


@app.command
def status(*, at: At = DEFAULT_AT, data: Data = None, json: Json = None) -> None:
    """How a node stands: its part in the log, its mode, how fresh it is, what is undecided."""
    if data is not None:
        with stopped_node(data) as node:
            answer = node.status()
    else:
        answer = _ask(at, lambda client: client.status())
    tables.write(json, tables.status(answer), answer)


@app.command
def transfer(to: str, *, at: At = DEFAULT_AT, budget_ms: int = 2000, json: Json = None) -> None:
    """Hand leadership over. No write fails by it: what comes meanwhile goes on to the next leader.

    Parameters
    ----------
    to:
        The name of a zone, or best: whichever is best placed.
    budget_ms:
        How long to wait until it leads.
    """
    answer = trio.run(members.at_leader, at, lambda client: client.hand_over(to, budget_ms), budget_ms / 1000 + 2)
    tables.write(json, Text(f"{answer['leader']} leads"), answer)


@member.command(name="list")
def member_list(*, at: At = DEFAULT_AT, json: Json = None) -> None:
    """Who votes, who learns, who leads, and how far each is."""
    seen = trio.run(members.look, at)
    tables.write(json, members.table(seen), seen)


@member.command(name="add")
def member_add(
    *zones: NewZoneText, at: At = DEFAULT_AT, learner: bool = False, budget_s: BudgetS = 60.0, json: Json = None
) -> None:
    """Add zones, started before with `replica zone --join`: they learn the state, and vote once theirs is the same.

    Parameters
    ----------
    learner:
        Let them learn only; `replica member promote` lets them vote later.
    """
    new = tuple(map(members.new_zone, zones))
    wanted = dict.fromkeys((zone.name for zone in new), "learner" if learner else "voter")
    _change(at, lambda client: client.change_members(add=new, learners=learner), wanted, budget_s, json)


@member.command(name="promote")
def member_promote(*names: str, at: At = DEFAULT_AT, budget_s: BudgetS = 60.0, json: Json = None) -> None:
    """Let learners vote, once they have caught up and their state is the leader's."""
    _change(at, lambda client: client.change_members(promote=names), dict.fromkeys(names, "voter"), budget_s, json)


@member.command(name="remove")
def member_remove(*names: str, at: At = DEFAULT_AT, budget_s: BudgetS = 60.0, json: Json = None) -> None:
    """Remove zones for good: neither their number nor their name is ever given again. Refused where those that answer
    now would be too few of the rest."""
    _change(at, lambda client: client.change_members(remove=names), dict.fromkeys(names, "retired"), budget_s, json)


@member.command(name="replace")
def member_replace(
    old: str, new: NewZoneText, *, at: At = DEFAULT_AT, budget_s: BudgetS = 60.0, json: Json = None
) -> None:
    """Put a new zone in the place of an old one, in one change: there is never a vote less."""
    zone = members.new_zone(new)
    wanted = {old: "retired", zone.name: "voter"}
    _change(at, lambda client: client.change_members(add=(zone,), remove=(old,)), wanted, budget_s, json)


@member.command(name="force-new-cluster")
def member_force_new_cluster(*, config: Path, yes_cluster: str = "", by: str = "") -> None:
    """The quorum is gone FOR GOOD: found the cluster anew out of this one stopped zone.

    What only the lost zones held is lost. Afterwards start the zone, and add new ones whose files say `generation`
    under [cluster].

    Parameters
    ----------
    config:
        The TOML file of the zone that is left.
    yes_cluster:
        The cluster's name, for scripts; else it is asked for.
    by:
        Who does this, for the log; else the user of this command.
    """
    loaded = load_zone(config)
    _confirm_founding(loaded, yes_cluster)
    done = found_anew(loaded, by or getpass.getuser(), time.time_ns() // 1_000_000)
    Console().print(
        f"{loaded.cluster.id} generation {done.generation} is {done.zone} alone, by {done.by}", highlight=False
    )


def _confirm_founding(loaded: ZoneConfig, yes_cluster: str) -> None:
    """Whether it is meant: who does this must know which cluster it is, so the answer is offered nowhere. Raises
    ConfigError; nothing was written then."""
    where, name = "--yes-cluster", yes_cluster
    if not yes_cluster:
        where, name = (
            "the cluster's name",
            _typed(
                f"{loaded.zone.name} becomes the whole of its cluster; every other zone will be out for ever.\n"
                "Type the cluster's name to go on: "
            ),
        )
    if name != loaded.cluster.id:
        raise ConfigError(where, f"{name!r} is not the name of this cluster; nothing was written")


def _typed(prompt: str) -> str:
    """A line of standard input; empty where there is none."""
    try:
        return input(prompt).strip()
    except EOFError:
        return ""


def _change(
    at: str,
    ask: Callable[[Client], Coroutine[Any, Any, dict[str, Any]]],
    wanted: dict[str, str],
    budget_s: float,
    json: Path | None,
) -> None:
    """Ask for a change, and show how it goes until it is committed."""
    console = Console(stderr=True)

    async def run() -> dict[str, Any]:
        accepted = await members.at_leader(at, ask, budget_s)
        done = wanted.items()
        seen = await members.until_settled(
            at,
            lambda roles: all(roles.get(name) == role for name, role in done),
            budget_s,
            lambda words: console.print(words, highlight=False, markup=False),
        )
        return seen | accepted

    seen = trio.run(run)
    tables.write(json, members.table(seen), seen)
    if seen.get("pending"):
        raise NotAvailable(f"taken, and not done after {budget_s:g} s: it goes on; see `replica member list`")


@app.command
def version() -> None:
    """The version of this command."""
    print(__version__)


def main() -> None:
    """The command's entry point: errors become one line and an exit code."""
    try:
        result = app(sys.argv[1:], result_action="return_value")
    except (ReplicaError, BaseExceptionGroup) as raised:
        problem = _first(raised)
        if not isinstance(problem, ReplicaError):
            raise
        sys.exit(_complain(problem))
    sys.exit(result if isinstance(result, int) else 0)


def _stopped(data: Path, consistency: Consistency) -> AbstractContextManager[StoppedNode]:
    """A stopped node's store. Raises ConfigError for a read that takes more than one store."""
    if consistency != "local":
        raise ConfigError("--consistency", f"{consistency} needs a running node (--at); a stopped one is read local")
    return stopped_node(data)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        raise ConfigError(str(file), f"cannot be read: {problem.strerror}") from problem


def _found(answer: dict[str, Any], what: str, name: str) -> dict[str, Any]:
    if answer[what] is None:
        raise ConfigError(what, f"{name!r} is not known in this store")
    return answer


def _complain(problem: ReplicaError) -> int:
    """Say what is wrong and where; the exit code."""
    console = Console(stderr=True)
    if isinstance(problem, InvalidMessage):
        for place in problem.places:
            console.print(f"{place.path}: {place.problem}", highlight=False, markup=False)
    else:
        console.print(str(problem), highlight=False, markup=False)
    return 2 if isinstance(problem, ConfigError | InvalidMessage) else 1


def _first(problem: BaseException) -> BaseException:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem
