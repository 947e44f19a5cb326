"""Stories of a long time away: a journal of thousands, and a log that does not reach back far enough."""

from __future__ import annotations

from typing import Final

import trio

from chaos.story.night import Night, Samu
from chaos.story.words import LYON, NANTES
from replica.demo.proxy import Mode

CASE: Final = f"{NANTES}.nuit1"
KEPT: Final = 5000
"""Notes in the journal when the line comes back."""
DELAY_MS: Final = 100.0
"""Each way: the replay takes some rounds of it, so that there is a middle."""
KILL_AT: Final = (0.85, 0.6)
"""The site dies when no more than this part of its journal is undecided."""
AWAY: Final = 300
"""Notes that are written while the site is away; several times what the zones keep for it."""
LOOK_SECONDS: Final = 0.005
REPLAY_SECONDS: Final = 30.0


async def kill_in_mid_replay(night: Night) -> None:
    """Nantes comes back with five thousand notes and dies in the middle of handing them over, twice: each is there
    once."""
    nantes = night.samu(NANTES)
    await nantes.takes_call(CASE, "P1", "Plan blanc")
    await night.cuts(nantes)
    texts = [f"Note {number:05}" for number in range(KEPT)]
    began = trio.current_time()
    await nantes.notes_many(CASE, texts)
    night.showed["journalled_ms"] = round((trio.current_time() - began) * 1000)
    undecided = [(await nantes.status())["undecided"]]
    night.expect.at_least("undecided while cut off", undecided[0], KEPT)
    night.say(f"{undecided[0]} operations in the journal")
    for number, part in enumerate(KILL_AT, 1):
        left = await _dies_in_replay(night, nantes, part * undecided[0])
        night.expect.between(f"undecided at death {number}", left, 1, part * undecided[0])
        night.cluster.cut(NANTES)
        await night.start(NANTES)
        undecided.append((await nantes.status())["undecided"])
        night.say(f"killed in mid-replay; started again, {undecided[-1]} are undecided as far as its disk knows")
        night.expect.between(f"undecided on disk after death {number}", undecided[-1], 1, undecided[-2])
    night.showed["undecided"] = undecided
    began = trio.current_time()
    await night.heals(nantes)
    night.showed["replay_of_the_rest_ms"] = round((trio.current_time() - began) * 1000)
    await night.everywhere("every note is there, once", lambda samu: samu.texts(CASE), texts)


async def _dies_in_replay(night: Night, samu: Samu, at: float) -> int:
    """The line comes back, slow; the site is killed as soon as no more than `at` operations are undecided. Returns how
    many were."""
    for line in night.cluster.lines_of(samu.name):
        line.set_mode(Mode.DELAY, DELAY_MS)
    left = KEPT + 1
    with trio.fail_after(REPLAY_SECONDS):
        while left > at:
            await trio.sleep(LOOK_SECONDS)
            left = int((await samu.status()).get("undecided", left))
    await night.kill(samu.name)
    return left


async def longer_than_the_log(night: Night) -> None:
    """Nantes is away for longer than the zones keep their log: it gets the state as a whole, and keeps its journal."""
    nantes, lyon = night.samu(NANTES), night.samu(LYON)
    await nantes.takes_call(CASE, "P1", "Éboulement, plusieurs victimes")
    await night.everywhere("the case is known", lambda samu: samu.values(CASE, "priority"), ["P1"])
    night.expect.equal("whole states taken before", len(night.logged(NANTES, "state-replaced")), 0)
    await night.cuts(nantes)
    stood_at = (await nantes.status())["applied_index"]
    mine = [f"Nantes {number:04}" for number in range(20)]
    theirs = [f"Lyon {number:04} " + "bilan " * 30 for number in range(AWAY)]
    await nantes.notes_many(CASE, mine)
    await lyon.notes_many(CASE, theirs)

    async def dropped() -> bool:
        status = [await night.samu(zone.name).status() for zone in night.cluster.zones]
        return all(one.get("log", {}).get("compacted_through", 0) > stood_at for one in status)

    await night.expect.becomes("all zones have dropped the log that Nantes needs", dropped, True, 15.0)
    night.say(f"Nantes stands at entry {stood_at}; no zone has the next one any more")
    await night.heals(nantes)
    replaced = night.logged(NANTES, "state-replaced")
    night.showed |= {"stood_at": stood_at, "states_taken": [line["index"] for line in replaced]}
    night.expect.at_least("whole states taken", len(replaced), 1)
    night.expect.at_least("as of entry", max([line["index"] for line in replaced], default=0), stood_at + 1)
    night.say("it is given a whole state, and its journal is decided on top")
    await night.everywhere("all notes are there, once", lambda samu: samu.texts(CASE), sorted([*mine, *theirs]))
