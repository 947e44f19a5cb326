"""Stories of lines and zones that are away: several at once, all of them, or one again and again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import trio

from chaos.story.night import Night, Samu, notes_in
from chaos.story.words import LYON, NANTES, PARIS
from replica.cases.commands import ChangePriority
from replica.demo.supervisor import Cluster

CASE: Final = f"{PARIS}.nuit1"
NANTES_CASE: Final = f"{NANTES}.nuit2"
LYON_CASE: Final = f"{LYON}.nuit3"
CUTS: Final = 50
FLAP_SECONDS: Final = 0.15
"""How long a flapping line is away, and then whole, each time."""
MOST_CHANGES: Final = 12
"""Changes of mode that fifty cuts may bring about; an undamped mode would change a hundred times and more."""
RETURN_SECONDS: Final = 15.0
NOTE_SECONDS: Final = 0.1


async def two_sites_cut(night: Night) -> None:
    """Nantes and Lyon are cut off, each alone; both go on, and come back one after the other to a case of Paris."""
    nantes, lyon, paris = night.samu(NANTES), night.samu(LYON), night.samu(PARIS)
    await paris.takes_call(CASE, "P3", "Malaise dans le TGV")
    await night.everywhere("the case is known", _priority, ["P3"])
    night.cluster.cut(NANTES)
    night.cluster.cut(LYON)
    await nantes.until("cut-off")
    await lyon.until("cut-off")
    night.say("two lines are cut")
    notes = {samu.name: await samu.notes(CASE, f"Note de {samu.name}") for samu in night.samus}
    raised = await lyon.does(ChangePriority(CASE, "P2"), "raises it to P2")
    raised_more = await nantes.does(ChangePriority(CASE, "P1"), "raises it to P1")
    await nantes.takes_call(NANTES_CASE, "P1", "Arrêt cardiaque")
    await lyon.takes_call(LYON_CASE, "P2", "Intoxication au CO")
    for samu in night.samus:
        night.expect.equal(f"{samu.name} reads its own note alone", await _texts(samu), [notes[samu.name].text])
    await night.heals(lyon)
    night.say("Lyon is back")
    night.expect.equal("verdict of Lyon's priority", await lyon.verdict(raised), "merged")
    both = sorted([notes[LYON].text, notes[PARIS].text])
    await night.expect.becomes("Paris reads two notes", lambda: _texts(paris), both, 5.0)
    night.expect.equal("Nantes, still cut off, reads one", await _texts(nantes), [notes[NANTES].text])
    await night.heals(nantes)
    night.say("Nantes is back")
    night.expect.equal("verdict of Nantes's priority", await nantes.verdict(raised_more), "conflict")
    await night.everywhere("all three notes are there", _texts, sorted(one.text for one in notes.values()))
    await night.everywhere("the more severe holds, the other waits", _priority, ["P1", "P2"])
    await night.everywhere("Nantes's call is there", lambda samu: samu.values(NANTES_CASE, "priority"), ["P1"])
    await night.everywhere("Lyon's call is there", lambda samu: samu.values(LYON_CASE, "priority"), ["P2"])
    await night.everywhere("one conflict waits for a person", Samu.conflicts, [(CASE, "priority", ("P1", "P2"))])


async def zone_and_its_sites_cut(night: Night) -> None:
    """The leading zone is cut off from the others together with Nantes: it answers, and can agree on nothing; Nantes
    knows it."""
    nantes, lyon = night.samu(NANTES), night.samu(LYON)
    await nantes.takes_call(NANTES_CASE, "P2", "Douleur abdominale")
    island = await night.leader()
    others = [zone.name for zone in night.cluster.zones if zone.name != island]
    for zone in others:
        night.cluster.cut(island, zone)
        night.cluster.cut(NANTES, zone)
    cut = trio.current_time()
    night.say(f"{island} and Nantes are an island")
    night.showed["cut_off_detected_ms"] = round((await nantes.until("cut-off") - cut) * 1000)

    async def leads() -> bool | None:
        raft = (await night.samu(island).status()).get("raft", {})
        return raft.get("role") == "leader" if raft else None

    await night.expect.becomes(f"{island} answers, and whether it leads", leads, False, 5.0)
    confirmed = await night.callers[island].read(
        lambda client: client.show_case(NANTES_CASE, consistency="linearizable", budget_ms=500)
    )
    night.expect.equal(f"a read that {island} would have to confirm", confirmed, None)
    mine = await nantes.notes(NANTES_CASE, "Scanner demandé")
    night.expect.equal("receipt of Nantes", mine.receipts[0].state, "journalled")
    call = await lyon.takes_call(LYON_CASE, "P1", "Chute de vélo")
    theirs = await lyon.notes(LYON_CASE, "SMUR parti")
    agreed = [await lyon.verdict(call), await lyon.verdict(theirs)]
    night.expect.equal("verdicts of Lyon, by the other two zones", agreed, ["applied"] * 2)
    night.say("Nantes journals, Lyon and the two other zones agree without them")
    night.expect.equal("Nantes has not heard of Lyon's call", await nantes.case(LYON_CASE), {})
    night.cluster.heal()
    await nantes.until("connected")
    night.expect.equal("verdict of Nantes", await nantes.verdict(mine), "applied")
    await night.everywhere("Nantes's note is there", lambda samu: samu.texts(NANTES_CASE), [mine.text])
    await night.everywhere("Lyon's note is there", lambda samu: samu.texts(LYON_CASE), [theirs.text])


async def all_zones_gone(night: Night) -> None:
    """All three zones die at once: every Samu works on alone, even through a crash of its own, until they are back."""
    nantes, lyon = night.samu(NANTES), night.samu(LYON)
    await nantes.takes_call(NANTES_CASE, "P2", "Vertiges")
    await night.everywhere("the case is known", lambda samu: samu.values(NANTES_CASE, "priority"), ["P2"])
    killed = trio.current_time()
    for zone in night.cluster.zones:
        night.cluster.strike(zone.name)
    for zone in night.cluster.zones:
        await night.cluster.gone(zone.name)
    seen = [await samu.until("cut-off") for samu in night.samus]
    night.showed["cut_off_detected_ms"] = round((max(seen) - killed) * 1000)
    night.say("no zone is left, and both sites know")
    acts = [
        (nantes, await nantes.notes(NANTES_CASE, "Note de Nantes, seul")),
        (lyon, await lyon.takes_call(LYON_CASE, "P1", "Plaie hémorragique")),
        (lyon, await lyon.notes(LYON_CASE, "Garrot posé")),
    ]
    night.expect.equal("receipts", [act.receipts[0].state for _, act in acts], ["journalled"] * 3)
    await night.kill(NANTES)
    await night.start(NANTES)
    night.say("and the site of Nantes crashes, and is started again")
    shown = await nantes.case(NANTES_CASE)
    night.expect.equal("Nantes still reads its note", notes_in(shown), [acts[0][1].text])
    night.expect.equal("and calls it undecided", (await nantes.status())["undecided"] > 0, True)
    acts.append((nantes, await nantes.notes(NANTES_CASE, "Note de Nantes, après la panne")))
    await _all_start(night.cluster)
    back = trio.current_time()
    night.say("the zones are back")
    for samu in night.samus:
        await samu.until("connected")
    night.showed["connected_again_ms"] = round((trio.current_time() - back) * 1000)
    night.expect.equal("verdicts", [await samu.verdict(act) for samu, act in acts], ["applied"] * 4)
    mine = sorted([acts[0][1].text, acts[3][1].text])
    await night.everywhere("the notes of Nantes are there", lambda samu: samu.texts(NANTES_CASE), mine)
    await night.everywhere("the note of Lyon is there", lambda samu: samu.texts(LYON_CASE), [acts[2][1].text])


async def flapping_line(night: Night) -> None:
    """The line of Nantes is cut fifty times in a quarter of a minute: the mode does not flap with it, and no read is
    older than the one before."""
    nantes, lyon = night.samu(NANTES), night.samu(LYON)
    await nantes.takes_call(NANTES_CASE, "P1", "Détresse respiratoire")
    await night.everywhere("the case is known", lambda samu: samu.values(NANTES_CASE, "priority"), ["P1"])
    before = len(night.logged(NANTES, "mode"))
    reader = Reader()
    async with trio.open_nursery() as others:
        others.start_soon(_write, nantes, reader)
        others.start_soon(_write, lyon, reader)
        others.start_soon(_read, nantes, reader)
        for number in range(CUTS):
            night.cluster.cut(NANTES, silently=number % 2 == 0)
            await trio.sleep(FLAP_SECONDS)
            night.cluster.heal(NANTES)
            await trio.sleep(FLAP_SECONDS)
        changes = len(night.logged(NANTES, "mode")) - before
        night.say(f"{CUTS} cuts, {changes} changes of mode")
        healed = trio.current_time()
        await nantes.until("connected", RETURN_SECONDS)
        night.showed |= {"mode_changes": changes, "connected_again_ms": round((trio.current_time() - healed) * 1000)}
        reader.over.set()
    night.showed |= {"reads": reader.reads, "notes": len(reader.told[NANTES]) + len(reader.told[LYON])}
    night.expect.between("changes of mode", changes, 1, MOST_CHANGES)
    night.expect.at_least("reads at Nantes meanwhile", reader.reads, CUTS)
    night.expect.at_least("notes of Nantes meanwhile", len(reader.told[NANTES]), CUTS)
    night.expect.equal("reads that were older than one before", reader.older[:3], [])
    night.expect.equal("reads without what Nantes had a receipt for", reader.missing[:3], [])
    every = sorted([*reader.told[NANTES], *reader.told[LYON]])
    await night.everywhere("every note is there, once", lambda samu: samu.texts(NANTES_CASE), every)


@dataclass(eq=False)
class Reader:
    """What is written, and what somebody sees who reads at Nantes without pause."""

    over: trio.Event = field(default_factory=trio.Event)
    told: dict[str, list[str]] = field(default_factory=lambda: {NANTES: [], LYON: []})
    """Samu → the notes it has a receipt for."""
    reads: int = 0
    older: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    _index: int = 0
    _seen: set[str] = field(default_factory=set)

    def saw(self, answer: dict[str, Any], told_before: int) -> None:
        """One answer. `told_before`: how many of its notes Nantes had a receipt for when the read was asked."""
        index, texts = int(answer["freshness"]["index"]), set(notes_in(answer["case"]))
        self.reads += 1
        if index < self._index or not self._seen <= texts:
            self.older.append(f"{self._index} with {len(self._seen)} notes, then {index} with {len(texts)}")
        self.missing += [text for text in self.told[NANTES][:told_before] if text not in texts]
        self._index, self._seen = index, texts


async def _read(samu: Samu, reader: Reader) -> None:
    while not reader.over.is_set():
        told_before = len(reader.told[NANTES])
        answer = await samu.caller.read(lambda client: client.show_case(NANTES_CASE))
        if answer is not None:
            reader.saw(answer, told_before)
        await trio.sleep(NOTE_SECONDS / 2)


async def _write(samu: Samu, reader: Reader) -> None:
    number = 0
    while not reader.over.is_set():
        number += 1
        noted = await samu.notes(NANTES_CASE, f"Note {number:04} de {samu.name}")
        reader.told[samu.name].append(noted.text)
        await trio.sleep(NOTE_SECONDS)


async def _all_start(cluster: Cluster) -> None:
    """All zones at once: none is ready before others are there."""
    async with trio.open_nursery() as nursery:
        for zone in cluster.zones:
            nursery.start_soon(cluster.start, zone.name)


async def _priority(samu: Samu) -> list[str]:
    return await samu.values(CASE, "priority")


async def _texts(samu: Samu) -> list[str]:
    return await samu.texts(CASE)
