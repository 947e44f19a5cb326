"""Stories of a site's machine: its disk comes from a backup, stands twice, or is empty; its clock is wrong."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import trio

from chaos.story import words
from chaos.story.night import Night, Samu, field_in, number_of
from chaos.story.words import DOOR, LYON, NANTES
from replica.demo.ledger import Held
from replica.demo.supervisor import LOG_FILE

CASE: Final = f"{NANTES}.nuit1"
NEW_CASE: Final = f"{NANTES}.nuit2"
HOURS_MS: Final = 3 * 3_600_000
NEAR_MS: Final = 60_000
"""Two times that people would call the same, however slow the machine is that the story is told on."""
LATER_SECONDS: Final = 1.5
"""Longer than a clock that runs ahead is believed (500 ms)."""


async def restored_backup(night: Night) -> None:
    """The disk of Nantes fails and yesterday's backup is put in: the site finds out, no number is used twice, nothing
    is lost."""
    nantes = night.samu(NANTES)
    acts = [await nantes.takes_call(CASE, "P2", "Colique néphrétique"), await nantes.notes(CASE, "Note 1, agréée")]
    await night.cuts(nantes)
    acts += [await nantes.notes(CASE, f"Note {number}, dans le journal") for number in (2, 3, 4)]
    await night.kill(NANTES)
    backup = night.copy_store(NANTES, "backup")
    night.say("a backup is made, with three notes in the journal that no zone has heard of")
    await night.start(NANTES)
    await night.heals(nantes)
    acts += [await nantes.notes(CASE, f"Note {number}, après la sauvegarde") for number in (5, 6)]
    night.expect.equal("before the restore", await _restored_and_fenced(nantes), (False, False))
    await night.kill(NANTES)
    night.restore_store(NANTES, backup, "disk-that-failed")
    night.cluster.cut(NANTES)
    await night.start(NANTES)
    night.say("the disk fails; the backup is put in, and the site starts while its line is down")
    old = await nantes.texts(CASE)
    night.expect.equal("Nantes reads what the backup has", [text[:6] for text in old], _numbers(1, 2, 3, 4))
    acts.append(await nantes.notes(CASE, "Note 7, avant de savoir"))
    await night.heals(nantes)
    night.expect.equal("back, it knows that it was restored", await _restored_and_fenced(nantes), (True, False))
    acts.append(await nantes.notes(CASE, "Note 8, après"))
    night.say("the line is whole: the site has found out")
    verdicts = [await nantes.verdict(act) for act in acts]
    night.expect.equal("verdicts", verdicts, ["applied"] * len(acts))
    _expect_no_number_twice(night, acts)
    await night.everywhere("every note is there, once", _note_numbers, _numbers(*range(1, 9)))


async def clone_beside_it(night: Night) -> None:
    """A spare machine with a copy of Nantes's disk is started while Nantes, cut off, still works: one of the two is
    fenced, and all that both did is kept."""
    nantes = night.samu(NANTES)
    acts = [await nantes.takes_call(CASE, "P2", "Crise d’asthme"), await nantes.notes(CASE, "Note 1, avant la copie")]
    await night.kill(NANTES)
    copy = night.copy_store(NANTES, "spare")
    (copy / LOG_FILE).unlink()
    await night.start(NANTES)
    await nantes.until("connected")
    await night.cuts(nantes)
    acts += [await nantes.notes(CASE, f"Note {number}, coupé") for number in (2, 3, 4)]
    night.say("Nantes is cut off and goes on; somebody starts the spare machine")
    clone = await night.beside(nantes, copy)
    await clone.until("connected")
    theirs = await clone.notes(CASE, "Note 5, sur la machine de secours")
    night.expect.equal("the spare says that it was restored", await _restored_and_fenced(clone), (True, False))
    night.expect.equal("verdict of the spare's note", await clone.verdict(theirs), "applied")
    night.expect.equal("cut off, Nantes cannot know", await _restored_and_fenced(nantes), (False, False))
    night.cluster.heal(NANTES)

    async def fenced() -> object:
        return (await nantes.status()).get("fenced")

    await night.expect.becomes("Nantes is fenced", fenced, True, 20.0)
    night.say("the line is whole: Nantes is fenced, and hands over what it has")
    turned_away = await nantes.notes(CASE, "Note 6, refusée")
    night.expect.equal("receipts of a fenced site", turned_away.receipts, ())
    night.expect.holds("and why", turned_away.not_permitted, "another process")
    verdicts = [await nantes.verdict(act) for act in acts]
    night.expect.equal("verdicts of Nantes", verdicts, ["applied", "applied", "merged", "merged", "merged"])
    _expect_no_number_twice(night, [*acts, theirs])
    await night.everywhere("every note is there, once", _note_numbers, _numbers(1, 2, 3, 4, 5))
    night.expect.equal("at the spare as well", await _note_numbers(clone), _numbers(1, 2, 3, 4, 5))

    async def undecided() -> object:
        return (await nantes.status()).get("undecided")

    await night.expect.becomes("undecided at Nantes", undecided, 0, 20.0)


async def emptied_disk(night: Night) -> None:
    """Nantes starts on an empty disk, its line down: it can take a call at once, and gets the rest back when a zone is
    heard."""
    nantes = night.samu(NANTES)
    acts = [await nantes.takes_call(CASE, "P2", "Lombalgie"), await nantes.notes(CASE, "Note 1, sur l’ancien disque")]
    await night.everywhere("the note is there", _note_numbers, _numbers(1))
    await night.kill(NANTES)
    night.empty_store(NANTES, "disk-that-failed")
    night.cluster.cut(NANTES)
    await night.start(NANTES)
    night.say("a new disk, empty, and the line is down")
    night.expect.equal("Nantes knows nothing", await nantes.case(CASE), {})
    unknown = await nantes.notes(CASE, "Note 9, sur un dossier inconnu ici")
    night.expect.holds("a note on a case it does not know is refused", unknown.not_permitted, "there is no case")
    acts.append(await nantes.takes_call(NEW_CASE, "P1", "Nouvel appel, disque vide"))
    night.expect.equal("a call is taken all the same", acts[-1].receipts[0].state, "journalled")
    await night.heals(nantes)
    night.say("a zone is heard: the site gets back what is agreed")
    night.expect.equal("it knows that it was emptied", await _restored_and_fenced(nantes), (True, False))
    acts.append(await nantes.notes(CASE, "Note 2, sur le nouveau disque"))
    night.expect.equal("verdicts", [await nantes.verdict(act) for act in acts], ["applied"] * 4)
    _expect_no_number_twice(night, acts)
    await night.everywhere("both notes are there", _note_numbers, _numbers(1, 2))
    await night.everywhere("the new call is there", lambda samu: samu.values(NEW_CASE, "priority"), ["P1"])


async def clock_three_hours_ahead(night: Night) -> None:
    """The clock of Nantes is three hours ahead: it neither wins every "latest holds" nor poisons the others' clocks.

    While a zone is heard, its time counts. A site that starts cut off has nothing but its own clock, and says so. What
    it then writes is put at the hour at which it is heard of, and the hour it said is kept beside."""
    nantes, lyon = night.samu(NANTES), night.samu(LYON)
    await nantes.takes_call(CASE, "P2", "Chute au 3e étage, porte fermée")
    first = await nantes.hears(words.door_code(CASE, "11A"), "door code 11A")
    await night.everywhere("the first code", _code, ["11A"])
    acted_ms = (await _codes(lyon))[0]["act_ms"] - _now_ms()
    night.expect.equal("connected, whether its clock is unsure", (await nantes.status())["clock_unsure"], False)
    night.expect.between("connected, its act is this far from now, ms", acted_ms, -NEAR_MS, NEAR_MS)
    await night.kill(NANTES)
    night.cluster.cut(NANTES)
    await night.start(NANTES)
    night.expect.equal("started cut off, whether its clock is unsure", (await nantes.status())["clock_unsure"], True)
    await night.cuts(lyon)
    wrong = await nantes.hears(words.door_code(CASE, "22B"), "door code 22B, three hours ahead")
    ahead_ms = (await _codes(nantes))[0]["act_ms"] - _now_ms()
    night.say(f"Nantes starts cut off and writes a code, {ahead_ms / 1000:.0f} s ahead; Lyon is cut off, too")
    night.expect.between("its act is ahead by, ms", ahead_ms, HOURS_MS - NEAR_MS, HOURS_MS + NEAR_MS)
    await night.heals(nantes)
    await trio.sleep(LATER_SECONDS)
    right = await lyon.hears(words.door_code(CASE, "33C"), "door code 33C, later, with a right clock")
    await night.heals(lyon)
    night.say("Lyon, still cut off, writes the right code later, having seen nothing of it")
    verdicts = [await nantes.verdict(first), await nantes.verdict(wrong), await lyon.verdict(right)]
    night.expect.equal("verdicts", verdicts, ["applied", "applied", "merged"])
    await night.everywhere("what was written last holds", _code, ["33C"])
    history = [one["value"] for one in (await lyon.case(CASE)).get("history", ()) if one.get("key") == DOOR]
    past = [value for value in history if words.code_in(value["value"]) == "22B"]
    night.expect.equal("Nantes's code is in the history", len(past), 1)
    said_ms = past[0].get("clock_said_ms", 0) - _now_ms() if past else 0
    night.expect.between("the hour it said is kept beside, ms ahead", said_ms, HOURS_MS - NEAR_MS, HOURS_MS + NEAR_MS)
    for samu, code in ((nantes, "44D"), (lyon, "55E")):
        await samu.hears(words.door_code(CASE, code), f"door code {code}")
        await night.everywhere(f"then {samu.name} writes one", _code, [code])
        acted_ms = (await _codes(samu))[0]["act_ms"] - _now_ms()
        night.expect.between(f"and its act at {samu.name} is this far from now, ms", acted_ms, -NEAR_MS, NEAR_MS)


async def _restored_and_fenced(samu: Samu) -> tuple[bool, bool]:
    status = await samu.status()
    return bool(status["restored"]), bool(status["fenced"])


def _expect_no_number_twice(night: Night, acts: list[Held]) -> None:
    """No two operations have one number, and each life counts upwards."""
    numbers = [number_of(act) for act in acts]
    night.expect.equal("numbers of its operations, all different", len(set(numbers)), len(acts))
    falls = [later for before, later in pairwise(numbers) if before[:2] == later[:2] and later[2] <= before[2]]
    night.expect.equal("numbers that went back within a life", falls, [])
    night.showed["lives"] = len({number[:2] for number in numbers})


def _numbers(*numbers: int) -> list[str]:
    """How the notes of these stories begin."""
    return [f"Note {number}" for number in numbers]


async def _note_numbers(samu: Samu) -> list[str]:
    return [text[:6] for text in await samu.texts(CASE)]


async def _codes(samu: Samu) -> list[dict[str, Any]]:
    """The values of the door code, the one that holds first."""
    return list(field_in(await samu.case(CASE), "additional", DOOR).get("values", ()))


async def _code(samu: Samu) -> list[str]:
    return [words.code_in(one["value"]) for one in await _codes(samu)]


def _now_ms() -> int:
    """The right time."""
    return int(words.now().timestamp() * 1000)
