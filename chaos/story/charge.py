"""Stories of who answers for a Samu's work while it cannot be reached, and afterwards."""

from __future__ import annotations

from typing import Final

import trio

from chaos.story.night import Night, Samu
from chaos.story.words import LYON, NANTES, PARIS
from replica.cases.commands import ChangePriority, CloseCase, DecideConflict, HandBack, TakeOver

CASE: Final = f"{NANTES}.nuit1"
NEW_CASE: Final = f"{NANTES}.nuit3"
LYONS_CASE: Final = f"{LYON}.nuit2"
WHY: Final = "la ligne est coupée"
BEATS_SECONDS: Final = 1.0
"""By then every zone has told the leading one which sites it hears: it does so with every beat."""
ASKED_SECONDS: Final = 10.0
"""A site looks every second whether there is something to ask for."""
HEARD_SECONDS: Final = 5.0
"""By then no zone calls a site heard whose line is cut, however late it noticed."""


async def takeover_and_return(night: Night) -> None:
    """Lyon takes over what Nantes cannot be reached for; what Nantes did meanwhile merges as a stranger's, then it all
    goes back.

    Nantes comes back under an epoch that is over: its note stays, its milder priority waits beside Lyon's, its closing
    is a proposal. A case it opened without knowing is its own."""
    nantes, lyon = night.samu(NANTES), night.samu(LYON)
    await nantes.takes_call(CASE, "P2", "Fièvre chez un nourrisson")
    await night.everywhere("Nantes is in charge", _charge, (NANTES, 1))
    await trio.sleep(BEATS_SECONDS)
    early = await lyon.does(TakeOver(NANTES, LYON, 1, "par erreur"), "takes over who is there")
    night.expect.equal("verdict on taking over who is heard", await lyon.verdict(early), "refused")
    night.expect.holds("and why", await lyon.reason(early), "is heard")
    await night.cuts(nantes)
    await _takes_over(night, lyon, TakeOver(NANTES, LYON, await _epoch(lyon, CASE), WHY))
    night.expect.equal("at Lyon the charge is", await _charge(lyon), (LYON, 2))
    status = await nantes.status()
    night.expect.equal("cut off, Nantes still holds", (status["authority"], status["epoch"]), (NANTES, 1))
    mine = [
        await nantes.notes(CASE, "Rappelé les parents à 4 h"),
        await nantes.does(ChangePriority(CASE, "P3"), "calms down: P3"),
        await nantes.does(CloseCase(CASE), "closes it"),
        await nantes.takes_call(NEW_CASE, "P1", "Nouvel appel, pris sans savoir"),
    ]
    theirs = [
        await lyon.does(ChangePriority(CASE, "P1"), "in charge, raises it to P1"),
        await lyon.notes(CASE, "SMUR envoyé par Lyon"),
    ]
    night.say("Nantes, cut off, and Lyon, in charge, both work on the case")
    night.expect.equal("verdicts of Lyon", [await lyon.verdict(one) for one in theirs], ["applied"] * 2)
    await night.heals(nantes)
    night.expect.equal(
        "verdicts of Nantes under the epoch that is over",
        [await nantes.verdict(one) for one in mine],
        ["merged", "conflict", "proposed", "applied"],
    )
    night.say("Nantes is back: nothing of it is lost, and nothing has silently won")
    await night.expect.becomes("Nantes is told by whom, and why", lambda: _told(night), (LYON, WHY), ASKED_SECONDS)
    await night.everywhere("Lyon's priority holds, the other waits", _priority, ["P1", "P3"])
    await night.everywhere("the closing is proposed", lambda samu: samu.stands(CASE), ("ACTIF", True, ["CLOTURE"]))
    await night.everywhere(
        "both notes are there", lambda samu: samu.texts(CASE), sorted([mine[0].text, theirs[1].text])
    )
    await night.everywhere("Lyon is in charge, under epoch 2", _charge, (LYON, 2))
    await night.everywhere("the new case is Nantes's own", _holder_of_new, NANTES)
    await night.expect.becomes("Nantes asks for its work by itself", lambda: _asked(lyon, NANTES), True, ASKED_SECONDS)
    back = await lyon.does(HandBack(NANTES, "Nantes a repris"), "hands back")
    night.expect.equal("verdict of the hand-back", await lyon.verdict(back), "applied")
    await night.everywhere("Nantes is in charge again, under epoch 3", _charge, (NANTES, 3))
    night.say("handed back")
    _, changes = await nantes.charges(NANTES)
    told = [(one["before"], one["holder"], one["reason"]) for one in changes]
    night.expect.equal("what is recorded of it", told, [(NANTES, LYON, WHY), (LYON, NANTES, "Nantes a repris")])
    decided = await nantes.does(DecideConflict("case", CASE, "priority", "", "P1"), "decides: P1")
    closing = await lyon.does(CloseCase(CASE), "closes it, out of habit")
    night.expect.equal("authority is one: Nantes decides", await nantes.verdict(decided), "applied")
    night.expect.equal("authority is one: Lyon proposes", await lyon.verdict(closing), "proposed")
    await night.everywhere("what Nantes decided holds", _priority, ["P1"])


async def chain_of_takeovers(night: Night) -> None:
    """Lyon answers for Nantes; then Lyon is cut off too, and Paris takes both; each gets its own back, and nobody
    answers twice.

    The cables are cut without a word to anyone: no socket closes, and who says nothing is not heard all the same. The
    take-over of Nantes by Paris ends by itself as soon as Nantes asks for it."""
    nantes, lyon, paris = night.samu(NANTES), night.samu(LYON), night.samu(PARIS)
    await nantes.takes_call(CASE, "P2", "Brûlure")
    await lyon.takes_call(LYONS_CASE, "P2", "Chute à ski")
    await night.everywhere("Nantes is in charge of its own", _charge, (NANTES, 1))
    await night.everywhere("Lyon is in charge of its own", _charge_of_lyons, (LYON, 1))
    await night.cuts(nantes)
    await _takes_over(night, lyon, TakeOver(NANTES, LYON, await _epoch(lyon, CASE), WHY))
    await night.cuts(lyon)
    epoch = await _epoch(paris, CASE)
    await _takes_over(night, paris, TakeOver(NANTES, PARIS, epoch, WHY, automatic=True))
    await _takes_over(night, paris, TakeOver(LYON, PARIS, await _epoch(paris, LYONS_CASE), WHY))
    raised = await paris.does(ChangePriority(CASE, "P1"), "in charge: P1")
    of_lyon = [
        await lyon.notes(CASE, "Avis du chirurgien"),
        await lyon.does(CloseCase(CASE), "closes it, believing to be in charge"),
        await lyon.does(ChangePriority(LYONS_CASE, "P1"), "its own case: P1"),
    ]
    of_nantes = await nantes.notes(CASE, "La famille est sur place")
    night.say("all three work on the case, one of them in charge")
    night.expect.equal("verdict of Paris, in charge", await paris.verdict(raised), "applied")
    await night.heals(lyon)
    night.say("Lyon is back")
    verdicts = [await lyon.verdict(act) for act in of_lyon]
    night.expect.equal("verdicts of Lyon, in charge of nothing", verdicts, ["merged", "proposed", "merged"])
    night.expect.equal("Paris is in charge of Nantes's case", await _charge(paris), (PARIS, 3))
    night.expect.equal("Paris is in charge of Lyon's case", await _charge_of_lyons(paris), (PARIS, 2))
    night.expect.equal("it is open at Paris", await paris.stands(CASE), ("ACTIF", True, ["CLOTURE"]))
    late = await lyon.does(HandBack(NANTES, "Nantes a repris"), "hands back what it has no more")
    night.expect.holds("Lyon cannot hand back what it has no more", late.not_permitted, "in charge")
    await night.expect.becomes("Lyon asks for its work", lambda: _asked(paris, LYON), True, ASKED_SECONDS)
    back = await paris.does(HandBack(LYON, "Lyon a repris"), "hands back to Lyon")
    night.expect.equal("verdict of the hand-back to Lyon", await paris.verdict(back), "applied")
    await night.heals(nantes)
    night.say("Nantes is back, and what was its own comes home by itself")
    night.expect.equal("verdict of Nantes's note", await nantes.verdict(of_nantes), "merged")
    await night.everywhere("Nantes is in charge of its own again", _charge, (NANTES, 4))
    await night.everywhere("Lyon is in charge of its own again", _charge_of_lyons, (LYON, 3))
    notes = sorted([of_lyon[0].text, of_nantes.text])
    await night.everywhere("both notes are there", lambda samu: samu.texts(CASE), notes)
    await night.everywhere("it is still open", lambda samu: samu.stands(CASE), ("ACTIF", True, ["CLOTURE"]))
    closed = await nantes.does(CloseCase(CASE), "closes it")
    night.expect.equal("authority is one: Nantes closes it", await nantes.verdict(closed), "applied")


async def _takes_over(night: Night, samu: Samu, command: TakeOver) -> None:
    act = await samu.does(command, f"takes over {command.owner}")
    with trio.move_on_after(HEARD_SECONDS):
        while "is heard" in await samu.reason(act):
            act = await samu.does(command, f"takes over {command.owner}, asked again")
    night.say(f"{samu.name} takes over {command.owner}, epoch {command.epoch} → {command.epoch + 1}")
    night.expect.equal(
        f"verdict of the take-over of {command.owner} by {samu.name}", await samu.verdict(act), "applied"
    )


async def _epoch(samu: Samu, case: str) -> int:
    """Of the charge that a case of theirs is under: what a take-over is compared with."""
    return (await samu.charge(case))[1]


async def _told(night: Night) -> tuple[str, str]:
    """By whom Nantes was taken over, and why, as its site has told its people."""
    lines = night.logged(NANTES, "taken-over")
    await trio.lowlevel.checkpoint()
    return (str(lines[-1]["by"]), str(lines[-1]["why"])) if lines else ("", "")


async def _asked(samu: Samu, owner: str) -> bool:
    """Whether `owner` has asked for its work, as `samu` knows it."""
    state, _ = await samu.charges(owner)
    return state.get("asked") is not None


async def _charge(samu: Samu) -> tuple[str, int]:
    return await samu.charge(CASE)


async def _charge_of_lyons(samu: Samu) -> tuple[str, int]:
    return await samu.charge(LYONS_CASE)


async def _holder_of_new(samu: Samu) -> str:
    return (await samu.charge(NEW_CASE))[0]


async def _priority(samu: Samu) -> list[str]:
    return await samu.values(CASE, "priority")
