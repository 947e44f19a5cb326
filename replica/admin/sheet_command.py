"""`replica sheet`: the emergency sheet out of a node's store, with every process dead or the newest log damaged."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from cyclopts import Parameter
from rich.console import Console

from replica.admin.sheet_store import Kept, kept_store
from replica.cases import keys, queries
from replica.cases.draft import drafted
from replica.cases.state import CHARGE
from replica.errors import ConfigError, StoreError
from replica.runtime.sheet_keeper import clock_of, laid_out, write_file
from replica.sheet.collect import Damage, Look, Scope, collect
from replica.sheet.journalled import paper_acts
from replica.sheet.model import Facts, Sheet, Trouble
from replica.sheet.tolerant import tolerant


def sheet(
    *,
    data: Annotated[Path, Parameter(name="--data", help="data folder of a node; never written to")],
    out: Annotated[
        Path | None, Parameter(name="--out", help="FILE.html or FILE.txt; by default text to the screen")
    ] = None,
    language: Literal["fr", "en"] = "fr",
    owner: str = "",
    everyone: Annotated[bool, Parameter(name="--everyone", negative="")] = False,
    time_zone: str = "",
) -> None:
    """Print the emergency sheet: open cases, resources, notes and how old all that is, from the store alone.

    Works with every process dead, beside a running one, and on a store that is damaged in part: what cannot be read is
    said at the top, and the rest stands. A4: print the HTML from a browser, the text as it is (80 columns, form feeds).
    What is written on it by hand comes back with `replica resume-paper`. Nothing at all readable: exit code 1.

    Parameters
    ----------
    language:
        Of the sheet. What could not be read is said in both.
    owner:
        Only cases and resources of this organisation. By default what the site answers for and what nobody does.
    everyone:
        All cases in the store, whoever answers for them.
    time_zone:
        Such as Europe/Paris, for the times on the sheet; by default that of this machine.
    """
    check_time_zone(time_zone)
    with kept_store(data) as kept:
        made = read_sheet(kept, data.name, time.time_ns() // 1_000_000, owner=owner, everyone=everyone)
    kind = "html" if out is not None and out.suffix.lower() in (".html", ".htm") else "txt"
    text = laid_out(made, kind, language, clock_of(time_zone))
    if out is None:
        sys.stdout.write(text)
        return
    try:
        write_file(out, text)
    except OSError as problem:
        raise ConfigError(str(out), f"cannot be written: {problem.strerror}") from problem
    said = f"{out}: {len(made.cases)} open cases, {len(made.resources)} resources"
    if made.troubles:
        said += f"; NOT EVERYTHING COULD BE READ ({len(made.troubles)} places, named on the sheet)"
    Console(stderr=True).print(said, highlight=False, markup=False, soft_wrap=True)


def read_sheet(kept: Kept, folder: str, now_ms: int, *, owner: str = "", everyone: bool = False) -> Sheet:
    """The sheet of what a store still says. `folder`: its name, where the store does not tell whose it is any more."""
    site = kept.identity is not None and kept.identity.role == "site"
    whose = kept.identity.node_id if kept.identity is not None else folder
    damage = Damage(troubles=dict.fromkeys(kept.troubles))
    scope = Scope(site=whose if site and not everyone else "", owner=owner)
    look = Look(kept.view(), kept.agreed_up_to)
    facts = _facts(kept, whose, now_ms, damage)
    made = collect(look, facts, scope, damage)
    return _with_acts(made, kept, damage)


def _facts(kept: Kept, whose: str, now_ms: int, damage: Damage) -> Facts:
    first = min((one.act_ms or one.clock.wall_ms for one in kept.undecided), default=0)
    holder, epoch, restored = _charge(kept, whose, damage)
    return Facts(
        whose=whose,
        cluster=kept.identity.cluster_id if kept.identity is not None else "",
        mode="beside" if kept.live else "stopped",
        made_ms=now_ms,
        index=kept.index if kept.has_state else None,
        confirmed_ms=kept.zone_ms,
        authority=holder,
        epoch=epoch,
        undecided=None if kept.journal is None else len(kept.undecided),
        oldest_undecided_ms=first,
        unconfirmed_since_ms=kept.zone_ms,
        restored=restored,
        role=kept.identity.role if kept.identity is not None else "site",
    )


def _charge(kept: Kept, whose: str, damage: Damage) -> tuple[str, int, bool]:
    """(who is in charge, epoch, whether restored); nobody where that cannot be read."""
    if not kept.has_state:
        return "", 0, False
    records = tolerant(kept.view(), damage.note)
    try:
        found = queries.site(records, whose)
        charge = drafted(records).load(keys.charge(whose), CHARGE)
    except (StoreError, AssertionError) as problem:
        damage.troubles[Trouble("subject", str(problem), whose)] = None
        return "", 0, False
    holder, epoch = (charge.holder, charge.epoch) if charge is not None else (whose, queries.epoch_of(records, whose))
    return holder, epoch, found is not None and found.restored


def _with_acts(made: Sheet, kept: Kept, damage: Damage) -> Sheet:
    """The same, with the undecided acts that have no place on it: of damaged subjects; all where there is no state."""
    if not kept.has_state:
        acts = paper_acts(kept.undecided)
    else:
        subjects = {name for _, name in damage.parts}
        lost = any(one.what in ("structure", "other-record", "subject", "more") for one in damage.troubles)
        acts = paper_acts(kept.undecided, None if lost else subjects)
    return Sheet(made.facts, damage.all(), made.cases, made.resources, acts, made.closed, made.elsewhere)


def check_time_zone(name: str) -> None:
    """Raises ConfigError for a zone that this machine does not know."""
    try:
        if name:
            ZoneInfo(name)
    except (OSError, ValueError, KeyError) as problem:
        raise ConfigError("--time-zone", f"{name!r} is not known here; such as Europe/Paris") from problem
