"""Stories of who answers for a Samu's work while it cannot be reached, and afterwards."""

from __future__ import annotations

from typing import Final

from chaos.story.night import Night, Samu
from chaos.story.words import LYON, NANTES, PARIS
from replica.cases.commands import ChangePriority, CloseCase, DecideConflict, HandBack, TakeOver

CASE: Final = f"{NANTES}.nuit1"
NEW_CASE: Final = f"{NANTES}.nuit3"
LYONS_CASE: Final = f"{LYON}.nuit2"


async def takeover_and_return(night: Night) -> None:
    """Lyon takes over what Nantes cannot be reached for; what Nantes did meanwhile merges as a stranger's, then it all
    goes back.

    Nantes comes back under an epoch that is over: its note stays, its milder priority waits beside Lyon's, its closing
    is a proposal. A case it opened without knowing is its own."""
    nantes, lyon = night.samu(NANTES), night.samu(LYON)
    await nantes.takes_call(CASE, "P2", "Fièvre chez un nourrisson")
    await night.everywhere("Nantes is in charge", _charge, (NANTES, 1))
    await night.cuts(nantes)
    await _takes_over(night, lyon, NANTES, CASE)
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
    await night.everywhere("Lyon's priority holds, the other waits", _priority, ["P1", "P3"])
    await night.everywhere("the closing is proposed", lambda samu: samu.stands(CASE), ("ACTIF", True, ["CLOTURE"]))
    await night.everywhere(
        "both notes are there", lambda samu: samu.texts(CASE), sorted([mine[0].text, theirs[1].text])
    )
    await night.everywhere("Lyon is in charge, under epoch 2", _charge, (LYON, 2))
    await night.everywhere("the new case is Nantes's own", _holder_of_new, NANTES)
    back = await lyon.does(HandBack(NANTES, "Nantes a repris"), "hands back")
    night.expect.equal("verdict of the hand-back", await lyon.verdict(back), "applied")
    await night.everywhere("Nantes is in charge again, under epoch 3", _charge, (NANTES, 3))
    night.say("handed back")
    decided = await nantes.does(DecideConflict("case", CASE, "priority", "", "P1"), "decides: P1")
    closing = await lyon.does(CloseCase(CASE), "closes it, out of habit")
    night.expect.equal("authority is one: Nantes decides", await nantes.verdict(decided), "applied")
    night.expect.equal("authority is one: Lyon proposes", await lyon.verdict(closing), "proposed")
    await night.everywhere("what Nantes decided holds", _priority, ["P1"])


async def chain_of_takeovers(night: Night) -> None:
    """Lyon answers for Nantes; then Lyon is cut off too, and Paris takes both; each gets its own back, and nobody
    answers twice."""
    nantes, lyon, paris = night.samu(NANTES), night.samu(LYON), night.samu(PARIS)
    await nantes.takes_call(CASE, "P2", "Brûlure")
    await lyon.takes_call(LYONS_CASE, "P2", "Chute à ski")
    await night.everywhere("Nantes is in charge of its own", _charge, (NANTES, 1))
    await night.everywhere("Lyon is in charge of its own", _charge_of_lyons, (LYON, 1))
    await night.cuts(nantes)
    await _takes_over(night, lyon, NANTES, CASE)
    await night.cuts(lyon)
    await _takes_over(night, paris, NANTES, CASE)
    await _takes_over(night, paris, LYON, LYONS_CASE)
    acts = [
        (paris, await paris.does(ChangePriority(CASE, "P1"), "in charge: P1"), "applied"),
        (lyon, await lyon.notes(CASE, "Avis du chirurgien"), "merged"),
        (lyon, await lyon.does(CloseCase(CASE), "closes it, believing to be in charge"), "proposed"),
        (lyon, await lyon.does(ChangePriority(LYONS_CASE, "P1"), "its own case: P1"), "merged"),
        (nantes, await nantes.notes(CASE, "La famille est sur place"), "merged"),
    ]
    night.say("all three work on the case, one of them in charge")
    await night.heals(lyon)
    await night.heals(nantes)
    night.expect.equal(
        "verdicts", [await samu.verdict(act) for samu, act, _ in acts], [expected for _, _, expected in acts]
    )
    await night.everywhere("Paris is in charge of Nantes's case", _charge, (PARIS, 3))
    await night.everywhere("Paris is in charge of Lyon's case", _charge_of_lyons, (PARIS, 2))
    await night.everywhere("it is still open", lambda samu: samu.stands(CASE), ("ACTIF", True, ["CLOTURE"]))
    late = await lyon.does(HandBack(NANTES, "Nantes a repris"), "hands back what it has no more")
    night.expect.holds("Lyon cannot hand back what it has no more", late.not_permitted, "in charge")
    for owner in (NANTES, LYON):
        back = await paris.does(HandBack(owner, "de retour"), f"hands back to {owner}")
        night.expect.equal(f"verdict of the hand-back to {owner}", await paris.verdict(back), "applied")
    night.say("Paris hands both back")
    await night.everywhere("Nantes is in charge of its own again", _charge, (NANTES, 4))
    await night.everywhere("Lyon is in charge of its own again", _charge_of_lyons, (LYON, 3))
    await night.everywhere(
        "both notes are there", lambda samu: samu.texts(CASE), sorted([acts[1][1].text, acts[4][1].text])
    )


async def _takes_over(night: Night, samu: Samu, owner: str, case: str) -> None:
    """`samu` answers for all of `owner`'s work, by the epoch it reads from one of its cases."""
    _, epoch = await samu.charge(case)
    act = await samu.does(TakeOver(owner, samu.name, epoch, "la ligne est coupée"), f"takes over {owner}")
    night.say(f"{samu.name} takes over {owner}, epoch {epoch} → {epoch + 1}")
    night.expect.equal(f"verdict of the take-over of {owner} by {samu.name}", await samu.verdict(act), "applied")


async def _charge(samu: Samu) -> tuple[str, int]:
    return await samu.charge(CASE)


async def _charge_of_lyons(samu: Samu) -> tuple[str, int]:
    return await samu.charge(LYONS_CASE)


async def _holder_of_new(samu: Samu) -> str:
    return (await samu.charge(NEW_CASE))[0]


async def _priority(samu: Samu) -> list[str]:
    return await samu.values(CASE, "priority")
