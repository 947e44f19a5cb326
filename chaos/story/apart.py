"""Stories of two Samu that cannot hear each other and do something to the same case or vehicle."""

from __future__ import annotations

from typing import Final

import trio

from chaos.story import words
from chaos.story.night import Night, Samu
from chaos.story.words import LYON, NANTES
from replica.cases.commands import ChangePriority, CloseCase, DecideConflict, EngageResource, TransferCase

CASE: Final = f"{NANTES}.nuit1"
OTHER_CASE: Final = f"{LYON}.nuit2"
CAR: Final = f"{NANTES}.resource.VLM1"
REQUEST: Final = f"{LYON}.request.nuit2"
AT_ONCE_MS: Final = 2000.0
"""A refusal that needs nobody is there well before any timeout."""


async def call_while_cut(night: Night) -> None:
    """The line of Nantes is cut at 3 a.m.; it goes on taking calls, and hands them over when the line is back."""
    nantes, lyon = night.samu(NANTES), night.samu(LYON)
    night.showed["cut_off_detected_ms"] = round(await night.cuts(nantes))
    before = (await nantes.status())["undecided"]  # of the site's own, from its start
    night.say("the line of Nantes is cut, and its site knows")
    call = await nantes.takes_call(CASE, "P1", "12 rue des Halles, douleur thoracique")
    noted = await nantes.notes(CASE, "SMUR proposé, patient conscient")
    night.say("a call comes in: taken, noted, journalled")
    night.expect.equal("receipts while cut off", [one.receipts[0].state for one in (call, noted)], ["journalled"] * 2)
    night.expect.at_most("longest wait of the call-taker, ms", max(call.waited_ms, noted.waited_ms), AT_ONCE_MS)
    shown, status = await nantes.case(CASE), await nantes.status()
    night.expect.equal("Nantes reads its call, marked tentative", (shown["owner"], shown["tentative"]), (NANTES, True))
    night.expect.equal("more that is undecided at Nantes", status["undecided"] - before, 2)
    night.expect.at_least("Nantes says since when nobody confirms, ms", status["unconfirmed_since_ms"], 1)
    night.expect.equal("Lyon has not heard of it", await lyon.case(CASE), {})
    await night.heals(nantes)
    night.say("the line is whole again")
    night.expect.equal("verdicts", [await nantes.verdict(one) for one in (call, noted)], ["applied"] * 2)
    await night.everywhere("the note is read", lambda samu: samu.texts(CASE), [noted.text])
    night.expect.equal("Nantes shows it as agreed", (await nantes.case(CASE))["tentative"], False)


async def both_escalate(night: Night) -> None:
    """Apart, Nantes raises a case to P1 and Lyon to P0: the more severe holds, both are kept until a person decides."""
    nantes, lyon = night.samu(NANTES), night.samu(LYON)
    await nantes.takes_call(CASE, "P3", "Malaise dans le train Nantes–Lyon")
    await night.everywhere("the case is known", _priority, ["P3"])
    await night.cuts(nantes)
    mine = await nantes.does(ChangePriority(CASE, "P1"), "raises it to P1")
    theirs = await lyon.does(ChangePriority(CASE, "P0"), "raises it to P0")
    night.say("the line is cut; Nantes says P1, Lyon says P0")
    night.expect.equal("apart, Nantes reads", await _priority(nantes), ["P1"])
    night.expect.equal("apart, Lyon reads", await _priority(lyon), ["P0"])
    await night.heals(nantes)
    night.expect.equal("verdict of Lyon", await lyon.verdict(theirs), "merged")
    night.expect.equal("verdict of Nantes", await nantes.verdict(mine), "conflict")
    await night.everywhere("both are kept, the more severe first", _priority, ["P0", "P1"])
    await night.everywhere("a person is asked", Samu.conflicts, [(CASE, "priority", ("P0", "P1"))])
    decided = await nantes.does(DecideConflict("case", CASE, "priority", "", "P1"), "decides: P1")
    night.say("the physician in Nantes looks at both, and decides for P1")
    night.expect.equal("verdict of the decision", await nantes.verdict(decided), "applied")
    await night.everywhere("what was decided holds", _priority, ["P1"])
    await night.everywhere("nothing waits any more", Samu.conflicts, [])


async def double_engagement(night: Night) -> None:
    """Nantes had lent a car to Lyon; apart, both send it: both are shown, its owner's holds until a person decides."""
    nantes, lyon = night.samu(NANTES), night.samu(LYON)
    await nantes.takes_call(CASE, "P1", "Chute d’échelle")
    await lyon.takes_call(OTHER_CASE, "P1", "Accident de la route")
    await night.everywhere("Lyon's case is known", lambda samu: samu.values(OTHER_CASE, "priority"), ["P1"])
    await lyon.hears(words.asked(OTHER_CASE, REQUEST, words.now()), "asks for a car")
    await nantes.hears(words.granted(OTHER_CASE, REQUEST, words.now()), "grants it")
    await nantes.hears(words.engagement(CASE, CAR, NANTES, words.now()), "the car is on its first mission")
    await nantes.hears(words.status(CASE, CAR, "REN-BASE", words.now()), "the car is back at its base")
    await night.everywhere("the car is free", lambda samu: samu.serves(CAR), ("", []))
    night.say("Lyon has asked for a car, Nantes has granted it; the car is at its base")
    await night.cuts(nantes)
    mine = await nantes.does(EngageResource(CAR, CASE), "sends the car")
    theirs = await lyon.hears(words.engagement(OTHER_CASE, CAR, NANTES, words.now(), REQUEST), "sends the car, too")
    night.say("the line is cut; Nantes sends the car to its own case, Lyon to the other")
    night.expect.equal("apart, at Nantes it serves", await nantes.serves(CAR), (CASE, [CASE]))
    night.expect.equal("apart, at Lyon it serves", await lyon.serves(CAR), (OTHER_CASE, [OTHER_CASE]))
    await night.heals(nantes)
    night.expect.equal("verdict of Lyon", await lyon.verdict(theirs), "merged")
    night.expect.equal("verdict of Nantes", await nantes.verdict(mine), "conflict")
    await night.everywhere(
        "both are shown, the owner's holds", lambda samu: samu.serves(CAR), (CASE, [CASE, OTHER_CASE])
    )
    waiting = [(one, field) for one, field, _ in await lyon.conflicts()]
    night.expect.equal("what waits for a person", waiting, [(CAR, "engagement")])
    decided = await nantes.does(DecideConflict("resource", CAR, "engagement", "", OTHER_CASE), "lets Lyon have it")
    night.say("Nantes decides: the car goes to Lyon's case")
    night.expect.equal("verdict of the decision", await nantes.verdict(decided), "applied")
    await night.everywhere("the car serves Lyon's case", lambda samu: samu.serves(CAR), (OTHER_CASE, [OTHER_CASE]))
    await night.everywhere("nothing waits any more", Samu.conflicts, [])


async def both_close(night: Night) -> None:
    """Apart, both close the same case: Lyon's word alone does not make an emergency disappear, its owner's does."""
    nantes, lyon = night.samu(NANTES), night.samu(LYON)
    await nantes.takes_call(CASE, "P2", "Entorse, conseil donné")
    await night.everywhere("the case is known", _priority, ["P2"])
    await night.cuts(nantes)
    theirs = await lyon.does(CloseCase(CASE), "closes it")
    last = await lyon.notes(CASE, "Rappel de la patiente : va bien")
    night.expect.equal("verdict of Lyon", await lyon.verdict(theirs), "proposed")
    night.expect.equal(
        "at Lyon it is open, the closing proposed", await lyon.stands(CASE), ("ACTIF", True, ["CLOTURE"])
    )
    mine = await nantes.does(CloseCase(CASE), "closes it")
    night.say("apart, both have closed the case, and Lyon has written a last note")
    night.expect.equal("at Nantes it is closed", await nantes.stands(CASE), ("CLOTURE", False, []))
    await night.heals(nantes)
    night.expect.equal("verdict of Nantes", await nantes.verdict(mine), "applied")
    await night.everywhere(
        "it is closed, and nothing is proposed", lambda samu: samu.stands(CASE), ("CLOTURE", False, [])
    )
    await night.everywhere("the last note is there", lambda samu: samu.texts(CASE), [last.text])


async def owner_transfer_while_cut(night: Night) -> None:
    """Cut off, Nantes wants to hand a case to Lyon: refused at once, with the reason, and nothing is journalled."""
    nantes = night.samu(NANTES)
    await nantes.takes_call(CASE, "P2", "Patient à transférer au CHU de Lyon")
    await night.everywhere("the case is known", _priority, ["P2"])
    await night.cuts(nantes)
    await trio.sleep(1.0)  # what was agreed before is flushed and trimmed by then; nothing moves any more
    before = await _journal(nantes)
    refused = await nantes.does(TransferCase(CASE, LYON), "hands it to Lyon")
    night.say(f"refused: {refused.not_permitted}")
    night.expect.equal("receipts of what was refused", refused.receipts, ())
    night.expect.holds("the reason", refused.not_permitted, "quorum")
    night.expect.at_most("it was refused within, ms", refused.waited_ms, AT_ONCE_MS)
    night.expect.equal("journal of Nantes (length, bytes, undecided)", await _journal(nantes), before)
    night.expect.equal("at Nantes the case stays its own", await _owner(nantes), NANTES)
    noted = await nantes.notes(CASE, "Transfert demandé, la ligne est coupée")
    night.expect.equal("what needs nobody goes on", noted.receipts[0].state, "journalled")
    await night.heals(nantes)
    handed = await nantes.does(TransferCase(CASE, LYON), "hands it to Lyon again")
    night.say("connected, the same command is agreed")
    night.expect.equal("verdict of the transfer", await nantes.verdict(handed), "applied")
    await night.everywhere("the case is Lyon's", _owner, LYON)


async def _priority(samu: Samu) -> list[str]:
    return await samu.values(CASE, "priority")


async def _owner(samu: Samu) -> str:
    return str((await samu.case(CASE)).get("owner", ""))


async def _journal(samu: Samu) -> tuple[int, int, int]:
    status = await samu.status()
    return status["journal_length"], status["journal_bytes"], status["undecided"]
