"""A sheet in one language: model in, document out. In the order in which it is needed at three in the morning: whose
sheet, how old, what could not be read; then the cases, the most severe first; the resources; the way back.

Left out: layout (text.py, html.py).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final

from replica.sheet.document import Block, Document, Line, Table
from replica.sheet.model import CaseSheet, Clash, Engaged, Facts, Note, PaperAct, Patient, ResourceSheet, Said, Sheet
from replica.sheet.model import Trouble as Unread
from replica.sheet.words import Words

Clock = Callable[[int], datetime]
"""A time in ms since 1970 as the clock on the wall shows it, with its offset."""

HAND_ROWS: Final = 3
NEW_ROWS: Final = 6
HAND_WIDTHS: Final = (7, 14, 36, 18)


def compose(sheet: Sheet, words: Words, clock: Clock) -> Document:
    """The whole sheet."""
    said = _Saying(words, clock, sheet.facts.made_ms)
    facts = sheet.facts
    running = f"{words.say('sheet.of', whose=facts.whose)} · {words['as-of']} {said.moment(facts.made_ms)}"
    blocks = [said.head(facts), *said.cases(sheet), *said.resources(sheet.resources)]
    if sheet.acts:
        blocks.append(said.acts(sheet.acts))
    blocks += [said.new_cases(), said.closing()]
    return Document(
        words.language,
        f"{words['sheet']} · {facts.whose}",
        clean(running),
        words["page"],
        words["continued"],
        alarms(sheet.troubles, words),
        tuple(blocks),
    )


def alarms(troubles: tuple[Unread, ...], words: Words) -> tuple[str, ...]:
    """What could not be read, in both languages, the sheet's own first: whoever picks it up must not miss it."""
    return tuple(line for each in (words, words.other) for line in _alarms(troubles, each))


def _alarms(troubles: tuple[Unread, ...], words: Words) -> Iterator[str]:
    if troubles:
        yield words["alarm"]
    for one in troubles:
        yield clean(words.say(f"trouble.{one.what}", detail=one.detail, subject=one.subject))


def clean(text: str) -> str:
    """One line of printable text: no line break, control or direction character gets onto the page."""
    shown = "".join(" " if one.isspace() else one if _is_printable(one) else "\ufffd" for one in text)
    return " ".join(shown.split())


def _is_printable(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")


class _Saying:
    """Words, clock and the sheet's own time: what every part is said with."""

    def __init__(self, words: Words, clock: Clock, made_ms: int) -> None:
        self._words = words
        self._clock = clock
        self._made_ms = made_ms

    # --- times ---

    def moment(self, ms: int, *, short: bool = False) -> str:
        """Day, month and time; the year too where it is another one. `short`: the time alone where it is the day of the
        sheet. Empty for 0."""
        if not ms:
            return ""
        try:
            at, made = self._clock(ms), self._clock(self._made_ms)
        except (OverflowError, ValueError, OSError):
            return f"{ms} ms"
        if short and at.date() == made.date():
            return f"{at:%H:%M}"
        return f"{at:%d/%m %H:%M}" if at.year == made.year else f"{at:%d/%m/%Y %H:%M}"

    def age(self, ms: int) -> str:
        """How long that is, in two units at most."""
        seconds = ms // 1000
        if seconds < 120:
            return self._words.say("age.seconds", count=seconds)
        if seconds < 7200:
            return self._words.say("age.minutes", count=seconds // 60)
        if seconds < 172_800:
            return self._words.say("age.hours", count=seconds // 3600, rest=seconds % 3600 // 60)
        return self._words.say("age.days", count=seconds // 86_400, rest=seconds % 86_400 // 3600)

    # --- the head ---

    def head(self, facts: Facts) -> Block:
        words = self._words
        offset = f"{self._clock(facts.made_ms):UTC%z}"
        cut = facts.mode != "connected"
        lines = [
            Line(words["as-of"], f"{self._clock(facts.made_ms):%d/%m/%Y %H:%M:%S} · {words.say('times', zone=offset)}"),
            Line(words["mode"], words[f"mode.{facts.mode}"], loud=cut),
        ]
        if facts.role == "site":
            lines[1:1] = [Line(words["confirmed"], self._confirmed(facts), loud=cut)]
            lines.append(Line(words["undecided"], self._undecided(facts), loud=facts.undecided != 0))
            lines.append(Line(words["authority"], self._authority(facts)))
        lines.append(Line(words["index"], self._index(facts)))
        warned = [words[name] for name in ("clock-unsure", "restored", "fenced") if _has(facts, name)]
        lines.append(Line("", words["legend"]))
        return Block("head", words.say("sheet.of", whose=clean(facts.whose)), alarms=tuple(warned), lines=tuple(lines))

    def _index(self, facts: Facts) -> str:
        if facts.index is None:
            return self._words["index.unknown"]
        return self._words.say("index.known", cluster=facts.cluster, index=facts.index)

    def _confirmed(self, facts: Facts) -> str:
        if facts.confirmed_ms is None:
            return self._words["confirmed.never"]
        at = f"{self._clock(facts.confirmed_ms):%d/%m/%Y %H:%M:%S}"
        age_ms = facts.made_ms - facts.confirmed_ms
        if age_ms < -60_000:
            return self._words.say("confirmed.ahead", at=at)
        return self._words.say("confirmed.old", at=at, age=self.age(max(0, age_ms)))

    def _undecided(self, facts: Facts) -> str:
        words = self._words
        if facts.undecided is None:
            return words["undecided.unknown"]
        if not facts.undecided:
            return words["undecided.none"]
        text = words.say("undecided.some", count=facts.undecided, mark=words["mark.tentative"])
        if not facts.oldest_undecided_ms:
            return text
        return f"{text}, {words.say('undecided.since', at=self.moment(facts.oldest_undecided_ms))}"

    def _authority(self, facts: Facts) -> str:
        words = self._words
        if not facts.authority:
            return words["authority.unknown"]
        text = words.say("authority.of", holder=facts.authority, epoch=facts.epoch)
        if not facts.unconfirmed_since_ms:
            return text
        return f"{text}, {words.say('authority.since', at=self.moment(facts.unconfirmed_since_ms))}"

    # --- cases ---

    def cases(self, sheet: Sheet) -> Iterator[Block]:
        words = self._words
        rest = [words.say(f"cases.{name}", count=count) for name, count in
                (("elsewhere", sheet.elsewhere), ("closed", sheet.closed)) if count]  # fmt: skip
        lines = [Line("", text) for text in ([] if sheet.cases else [words["cases.none"]]) + rest]
        title = f"{words['cases']} ({len(sheet.cases)})"
        tables = (self._overview(sheet.cases),) if len(sheet.cases) > 1 else ()
        yield Block("section", title, lines=tuple(lines), tables=tables)
        yield from map(self.case, sheet.cases)

    def _overview(self, cases: tuple[CaseSheet, ...]) -> Table:
        """A line a case, in the order in which they follow."""
        words = self._words
        rows = []
        for case in cases:
            lines = dict(reversed(case.lines))  # of two with one label the first
            serving = sum(one.state in ("engaged", "conflict") for one in case.engaged)
            what = lines.get("motive") or lines.get("what", "")
            rows.append((self._badge(case), clean(case.id), clean(lines.get("place", "")), clean(what), str(serving)))
        head = (words["priority"], words["case"], words["place"], words["motive"], words["engaged"])
        return Table(head, (12, 22, 20, 15, 7), tuple(rows))

    def _badge(self, case: CaseSheet) -> str:
        return self._held(case.priority, "priority", case) or self._words["case.no-priority"]

    def case(self, case: CaseSheet) -> Block:
        words = self._words
        marks = [words[f"mark.{name}"] for name in ("tentative", "incomplete") if getattr(case, name)]
        if any(one.conflict for one in case.clashes):
            marks.append(words["mark.conflict"])
        parts = ", ".join(words[f"part.{name}"] for name in case.unreadable)
        tables = [self._engaged(case.engaged), self._clashes(case.clashes), self._notes(case.notes), self._hand()]
        return Block(
            "case",
            clean(case.id),
            badge=self._badge(case),
            marks=tuple(marks),
            alarms=(words.say("unreadable", parts=parts),) if parts else (),
            lines=tuple(self._about(case)),
            tables=tuple(one for one in tables if one is not None),
        )

    def _about(self, case: CaseSheet) -> Iterator[Line]:
        words = self._words
        owner = case.owner or words["owner.none"]
        status = words.code("status", case.status) if case.status else "—"
        opened = self.moment(case.opened_ms) or "—"
        care = self._held(case.care_level, "care_level", case) or "—"
        numbers = dict.fromkeys(f"{number} ({organisation})" if organisation else number
                                for organisation, number in case.numbers)  # fmt: skip
        if numbers:
            yield Line(words["numbers"], clean(", ".join(numbers)))
        yield Line(words["owner"], clean(f"{owner} · {words['status']} {status} · {words['opened']} {opened}"))
        if case.holder:
            yield Line(words["holder"], clean(words.say("authority.of", holder=case.holder, epoch=case.epoch)), True)
        yield Line(words["care-level"], care)
        access = "; ".join(f"{words[label]} {text}" for label, text in case.lines if label.startswith("access."))
        for label, text in case.lines:
            if label.startswith("access."):
                text, label, access = access, "access", ""
            if text:
                yield Line(words[label], clean(text))
        yield from map(self._patient, case.patients)
        if case.documents:
            yield Line(words["documents"], clean(", ".join(case.documents)))
        if not case.engaged:
            yield Line(words["engaged"], words["engaged.none"])

    def _patient(self, patient: Patient) -> Line:
        words = self._words
        known = [self._detail(label, text) for label, text in patient.lines]
        return Line(words["patient"], clean(", ".join(known) or patient.id))

    def _detail(self, label: str, text: str) -> str:
        words = self._words
        if label == "name":
            return text
        if label == "age":
            text = self._years(text)
        return f"{words[label]} {words.code('sex', text) if label == 'sex' else text}"

    def _years(self, age: str) -> str:
        units = {"Y": "years", "M": "months", "W": "weeks", "D": "days"}
        if age[:1] == "P" and age[-1:] in units and age[1:-1].isdigit():
            return f"{age[1:-1]} {self._words[units[age[-1:]]]}"
        return age

    def _held(self, value: Said | None, field: str, case: CaseSheet) -> str:
        """A value with what must not be missed about it."""
        if value is None:
            return ""
        in_conflict = any(one.field == field and not one.key and one.conflict for one in case.clashes)
        return self._marked(value.value, tentative=value.tentative, conflict=in_conflict)

    def _marked(self, text: str, *, tentative: bool, conflict: bool = False) -> str:
        words = self._words
        marks = [words["mark.conflict"]] * conflict + [words["mark.tentative"]] * tentative
        return clean(" ".join([text, *marks]))

    def _engaged(self, engaged: tuple[Engaged, ...]) -> Table | None:
        words = self._words
        if not engaged:
            return None
        rows = [
            (
                clean(one.resource),
                one.vehicle,
                words[f"engaged.{one.state}"],
                self._marked(words.code("step", one.status) if one.status else "—", tentative=one.tentative),
                self.moment(one.status_ms),
            )
            for one in engaged
        ]
        head = (words["engaged"], words["type"], "", words["status"], words["since"])
        return Table(head, (25, 13, 12, 15, 11), tuple(rows))

    def _clashes(self, clashes: tuple[Clash, ...]) -> Table | None:
        words = self._words
        rows = []
        for one in clashes:
            name = words.field(one.field) + (f" ({one.key})" if one.key else "")
            for at, value in enumerate(one.values if one.conflict else one.values[:1]):
                rows.append(self._clash(name, value, words["mark.holds"] if at == 0 else words["mark.conflict"]))
            rows += [self._clash(name, value, words["mark.proposed"]) for value in one.proposed]
        head = (words["clashes"], words["value"], "", words["author"], words["hour"])
        return Table(head, (18, 22, 11, 14, 11), tuple(rows)) if rows else None

    def _clash(self, name: str, value: Said, word: str) -> tuple[str, ...]:
        shown = self._marked(value.value, tentative=value.tentative)
        return clean(name), shown, word, clean(value.author), self.moment(value.when_ms)

    def _notes(self, notes: tuple[Note, ...]) -> Table | None:
        words = self._words
        rows = [
            (
                self.moment(note.said.when_ms),
                words[f"note.{note.kind}"],
                clean(note.said.author),
                self._marked(self._note_text(note), tentative=note.said.tentative),
            )
            for note in notes
        ]
        head = (words["hour"], "", words["author"], words["notes"])
        return Table(head, (11, 8, 14, 44), tuple(rows)) if rows else None

    def _note_text(self, note: Note) -> str:
        if note.kind != "decision":
            return note.said.value
        code, blank, rest = note.said.value.partition(" ")
        return self._words.code("decision", code) + blank + rest

    def _hand(self) -> Table:
        words = self._words
        head = (words["hour"], words["act"], words["value"], words["author"])
        return Table(head, HAND_WIDTHS, title=words["hand"], empty=HAND_ROWS)

    # --- the rest ---

    def resources(self, resources: tuple[ResourceSheet, ...]) -> Iterator[Block]:
        words = self._words
        title = f"{words['resources']} ({len(resources)})"
        if not resources:
            yield Block("section", title, lines=(Line("", words["resources.none"]),))
            return
        head = (words["resource"], words["type"], words["status"], words["available"], words["serves"])
        rows = tuple(map(self._resource, resources))
        clashes = self._clashes(tuple(_named(one) for each in resources for one in _of(each)))
        tables = (Table(head, (22, 13, 16, 8, 17), rows), *(() if clashes is None else (clashes,)))
        yield Block("section", title, tables=tables)

    def _resource(self, one: ResourceSheet) -> tuple[str, ...]:
        words = self._words
        available = {True: "available.yes", False: "available.no", None: "available.unknown"}[one.available]
        status = words.code("step", one.status) if one.status else "—"
        when = self.moment(one.status_ms)
        status = self._marked(f"{status} {when}".strip(), tentative=one.tentative)
        name = f"{one.id} {words['unreadable-row']}" if one.unreadable else f"{one.id} {one.name}"
        return clean(name), clean(one.vehicle), status, words[available], clean(one.serves) or "—"

    def acts(self, acts: tuple[PaperAct, ...]) -> Block:
        words = self._words
        head = (words["hour"], words["act"], words["subject"], words["value"], words["author"])
        rows = tuple(
            (self.moment(one.when_ms), clean(one.act), clean(one.subject), clean(one.value), clean(one.author))
            for one in acts
        )
        lines = (Line("", words["acts.why"], loud=True),)
        return Block(
            "section", f"{words['acts']} ({len(acts)})", lines=lines, tables=(Table(head, (11, 14, 18, 20, 13), rows),)
        )

    def new_cases(self) -> Block:
        words = self._words
        head = (words["hour"], words["new.number"], words["priority"], words["new.motive"], words["author"])
        return Block("section", words["new"], tables=(Table(head, (7, 14, 9, 31, 14), empty=NEW_ROWS),))

    def closing(self) -> Block:
        words = self._words
        names = ("hand.acts", "closing.hours", "closing.paper", "closing.command", "closing.end")
        return Block("section", words["closing"], lines=tuple(Line("", words[name]) for name in names))


def _has(facts: Facts, name: str) -> bool:
    return bool(getattr(facts, name.replace("-", "_")))


def _of(resource: ResourceSheet) -> Iterable[tuple[str, Clash]]:
    return ((resource.id, clash) for clash in resource.clashes)


def _named(found: tuple[str, Clash]) -> Clash:
    """A resource's clash, with the resource's name in place of a key."""
    name, clash = found
    return Clash(clash.field, name, clash.values, clash.conflict, clash.proposed)
