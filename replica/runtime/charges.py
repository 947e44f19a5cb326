"""Charges in a running node: a zone ends what is over, a site asks for its work when it is back and gives back what it
was asked for (cases/returning.py).

None of it is urgent, and all of it may be done twice: where the state moved meanwhile, the second is refused.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio

from replica.cases import queries
from replica.cases.charge_reading import ChargeStateView, charge_state, held_by, take_overs
from replica.cases.commands import AskHandBack, Command, EndTakeOver, HandBack, Payload, TakeOver
from replica.cases.records import Records
from replica.cases.verdicts import VerdictKind
from replica.errors import NotPermitted, ReplicaError, StoreDamaged
from replica.offline.events import Mode
from replica.runtime.bell import wall_ms
from replica.runtime.service import Service

LEVEL = 3
EVERY_S = 1.0
AGAIN_S = 10.0
AUTHOR = "replica"


def check_spoken(payload: Payload, level: int) -> None:
    """Raises NotPermitted for what the cluster's feature level does not have: surely not done."""
    match payload:
        case AskHandBack() | EndTakeOver():
            needs = True
        case TakeOver():
            needs = payload.forced or payload.until_ms > 0 or payload.automatic
        case HandBack():
            needs = payload.now
        case _:
            needs = False
    if needs and level < LEVEL:
        raise NotPermitted(f"this needs feature level {LEVEL}, and the cluster is at {level}: raise-level, at a zone")


async def end_for_ever(service: Service, records: Records, leads: Any, log: Any) -> None:
    """At a zone, for ever: while it leads, end every take-over whose time is over. `leads`: whether it does."""
    while True:
        await trio.sleep(EVERY_S)
        if not leads() or queries.feature_level(records) < LEVEL:
            continue
        for terms in take_overs(records):
            if terms.until_ms and terms.until_ms <= wall_ms():
                await hand_in(service, EndTakeOver(terms.samu, terms.epoch), log)


async def return_for_ever(site: Any) -> None:
    """At a site, for ever: ask for the own work where another is in charge of it and all that was done here is in;
    hand back what was asked for, where its take-over said that this needs nobody. `site`: a SiteNode."""
    asked = told = (0, "")
    while True:
        await trio.sleep(EVERY_S)
        with suppress(StoreDamaged):  # once the copy is rebuilt there is another look
            if (site.feature_level or 0) < LEVEL or not site.line.zone:
                continue
            name, own = site.config.site.name, charge_state(site.state, site.config.site.name)
            if (own.epoch, own.holder) != told:
                told = (own.epoch, own.holder)
                _tell(site, own)
            away = own.is_taken and site.desk.core.mode is Mode.CONNECTED
            if away and (own.epoch, own.holder) != asked and not own.is_asked:
                if await hand_in(site.service, AskHandBack(name, "back, with all that was done"), site.log):
                    asked = (own.epoch, own.holder)
                else:
                    await trio.sleep(AGAIN_S)
            for held in held_by(site.state, name):
                if held.automatic and held.asked:
                    reason = "asked for, and to be given back by itself"
                    await hand_in(site.service, HandBack(held.samu, reason, held.cases), site.log)


def _tell(site: Any, own: ChargeStateView) -> None:
    """Whoever stands at this site is told at once who is in charge of its work, since when, by whom and why."""
    if own.is_taken:
        site.log.warning("taken-over", by=own.holder, epoch=own.epoch, who=own.author, why=own.reason)
    elif own.epoch > 1:
        site.log.info("in-charge-again", epoch=own.epoch)


async def hand_in(service: Service, command: Command, log: Any) -> bool:
    """As a caller of this node would; what comes of it is in the log and in the state. Whether it was taken."""
    name = str(command.__struct_config__.tag)
    try:
        handed = await service.submit(command, author=AUTHOR)
        with trio.move_on_after(10):
            _, verdict = await service.verdict(handed.operation)
            log.info("charge", command=name, verdict=verdict.kind.value, why=verdict.reason)
            return verdict.kind is not VerdictKind.REFUSED
    except ReplicaError as problem:
        log.warning("charge-not-moved", command=name, problem=str(problem))
    return False
