"""What a site needs first: its own cases, then those of neighbours that it helps; the rest is everybody's.

A site that is far behind is sent this before all else (a *preview*), so that its own are current within seconds,
however long the rest takes. Two questions, because they are asked at different moments:

* `wanted`: which cases and resources, in order. It looks at every head; what is opened meanwhile comes with the rest.
* `Gathering`: their records, as of one moment, and with each what it takes to read it whole: cases joined to it, the
  requests and vehicles that it names. It ends at a subject's boundary where the bytes are used up.

Besides them goes what decides about them: the registry, the charges, the level, and the site's own numbers and callers'
keys, so that the gate over these records is that of the same moment.

What is *covered* is said by keys, so that a receiver needs to know no kinds: one byte is a whole family, a key that
ends in a zero byte all that begins so, any other one record. Under what is covered the records sent are all there are.

Left out: when it is made and how it is sent (runtime), what the site does with it (offline/preview.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.msgpack import Decoder

from replica.cases import keys, registry
from replica.cases.authority import reach
from replica.cases.draft import Draft, drafted
from replica.cases.fields import FIELDS
from replica.cases.owners import CLOSED_STATUSES
from replica.cases.records import Records
from replica.cases.state import CHARGE_TERMS, CURRENT, ELEMENT, HEAD, MISSION, NAMES, Head
from replica.cases.values import case_of

Subject = tuple[str, str]
"""(kind, id), the kind being "case", "resource" or "request"."""

FAMILIES = (
    keys.LEVEL,
    keys.SITES,
    keys.REGISTRY,
    keys.CHARGES,
    keys.CHARGE_HISTORY,
    keys.CHARGE_TERMS,
    keys.CHARGE_TURNS,
    keys.CHARGE_ASKS,
    keys.GENERATION,
    keys.GENERATIONS,
)
"""What decides about all subjects alike, and is small: some records a site, however many cases there are."""

_TEXT = Decoder(str)


def of_site(site: str) -> tuple[bytes, ...]:
    """The site's own lives and numbers, and the callers' keys that it is asked about again."""
    return keys.streams(site), keys.caller_keys(site), keys.caller_key_places(site)


# --- which ---


def own_open(records: Records, site: str) -> Iterator[str]:
    """The open cases whose owner the site serves, or whose charge it holds; and those it opened that are nobody's."""
    draft = drafted(records)
    for _, value in records.scan(keys.HEADS["case"]):
        head = HEAD.decode(value)
        if head.status not in CLOSED_STATUSES and not head.same_as and is_own(draft, head, site):
            yield head.id


def is_own(draft: Draft, head: Head, site: str) -> bool:
    held = reach(draft, head)
    if not held.samu:
        # Nobody's; or its owner has not said yet, at its first start, that it is there.
        return head.opened_by == site or registry.canonical(draft, head.owner) == site
    return site in (held.samu, held.holder)


def wanted(records: Records, site: str, known: Iterable[Subject] = ()) -> list[Subject]:
    """In the order in which they are sent. `known`: what the site shows as its own, whatever has become of it since:
    a case that was closed or handed over meanwhile must not stand there as it was."""
    known = list(known)
    draft = drafted(records)
    own = [("case", case) for case in own_open(records, site)]
    resources = list(_own_resources(draft, site))
    helped = [("case", case) for case in _served_by(draft, resources)]
    helped += [("case", case) for case in _asked_by(draft, site)]
    cases = [one for one in known if one[0] == "case"]
    rest = [one for one in known if one[0] != "case"]
    ordered = [*_lent(draft), *own, *cases, *(("resource", one) for one in resources), *helped, *rest]
    return [one for one in dict.fromkeys(ordered) if one[0] in keys.HEADS and draft.has(keys.head(*one))]


def _lent(draft: Draft) -> Iterator[Subject]:
    """The cases of take-overs that stand: the charges, which go with every preview, name them. They are few."""
    for _, value in draft.scan(keys.CHARGE_TERMS):
        terms = CHARGE_TERMS.decode(value)
        if terms.ended is None:
            yield from (("case", case) for case in terms.cases)


def _own_resources(draft: Draft, site: str) -> Iterator[str]:
    for _, value in draft.scan(keys.HEADS["resource"]):
        head = HEAD.decode(value)
        if is_own(draft, head, site):
            yield head.id


def _served_by(draft: Draft, resources: Iterable[str]) -> Iterator[str]:
    """The open cases that these vehicles are out for."""
    for resource in resources:
        prefix = keys.parts("resource", resource)
        current = draft.load(keys.current_mission(prefix), CURRENT)
        slot = draft.slot(keys.group(prefix, FIELDS["resource"]["engagement"].group, ""), "engagement")
        cases = {case_of(held) for held in (*slot.siblings, *slot.proposed)}
        yield from (case for case in sorted(cases | {current.case if current is not None else ""}) if case)


def _asked_by(draft: Draft, site: str) -> Iterator[str]:
    """The open cases for which this site asks something, or is asked."""
    for _, value in draft.scan(keys.HEADS["request"]):
        head = HEAD.decode(value)
        if head.case and (head.opened_by == site or registry.site_of(draft, head.owner) == site):
            case = draft.load(keys.head("case", head.case), HEAD)
            if case is not None and case.status not in CLOSED_STATUSES:
                yield head.case


# --- their records ---


class Gathering:
    """The records of one moment, subject by subject. `covered` and `records` are what is to be sent, in that order."""

    def __init__(self, records: Records, site: str, most_bytes: int) -> None:
        self._draft = drafted(records)
        self._most_bytes = most_bytes
        self._taken: set[Subject] = set()
        self.covered: list[bytes] = []
        self.records: list[tuple[bytes, bytes]] = []
        self.size = 0
        for prefix in (*FAMILIES, *of_site(site)):
            self._put([prefix], list(records.scan(prefix)))

    def take(self, subjects: Iterable[Subject]) -> bool:
        """Take in as many as there is room for. Whether that was all of them."""
        for subject in subjects:
            if subject in self._taken:
                continue
            closure = self._closure(subject)
            covered = [key for one in closure for key in _places(one)]
            found = [record for key in covered for record in self._under(key)]
            beside = [record for one in closure for record in (*self._aliases(one), *self._missions_of(one))]
            if self.size + sum(len(key) + len(value) for key, value in (*found, *beside)) > self._most_bytes:
                return False
            self._taken.update(closure)
            self._put([*covered, *(key for key, _ in beside)], [*found, *beside])
        return True

    def _put(self, covered: list[bytes], records: list[tuple[bytes, bytes]]) -> None:
        self.covered += covered
        self.records += records
        self.size += sum(map(len, covered)) + sum(len(key) + len(value) for key, value in records)

    def _under(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        if key.endswith(b"\0"):
            yield from self._draft.scan(key)
        elif (value := self._draft.get(key)) is not None:
            yield key, value

    def _closure(self, subject: Subject) -> list[Subject]:
        """The subject, and what it takes to read it whole that is not taken yet."""
        found, look = {subject: None}, [subject]
        while look:
            for other in self._named_by(look.pop()):
                if other not in found and other not in self._taken and self._draft.has(keys.head(*other)):
                    found[other] = None
                    look.append(other)
        return list(found)

    def _named_by(self, subject: Subject) -> Iterator[Subject]:
        kind, name = subject
        head = self._draft.load(keys.head(kind, name), HEAD)
        if kind != "case" or head is None:
            return
        yield from (("case", other) for other in (*head.linked, head.same_as) if other)
        prefix = keys.parts(kind, name)
        for _, value in self._draft.scan(keys.missions(prefix)):
            yield "resource", MISSION.decode(value).resource
        for _, value in self._draft.scan(keys.request_links(prefix)):
            yield "request", _TEXT.decode(value)

    def _missions_of(self, subject: Subject) -> Iterator[tuple[bytes, bytes]]:
        """A vehicle says which mission is its present one; that lies with a case which may be nobody's here."""
        kind, name = subject
        current = (
            self._draft.load(keys.current_mission(keys.parts(kind, name)), CURRENT) if kind == "resource" else None
        )
        for case in () if current is None else sorted({current.case, *current.cases} - {""}):
            place = keys.mission(keys.parts("case", case), name)
            if (value := self._draft.get(place)) is not None:
                yield place, value

    def _aliases(self, subject: Subject) -> Iterator[tuple[bytes, bytes]]:
        """The senders' own numbers that lead to this case."""
        kind, name = subject
        head = self._draft.load(keys.head(kind, name), HEAD)
        if kind != "case" or head is None:
            return
        places: dict[bytes, None] = {}
        elements = (ELEMENT.decode(value) for _, value in self._draft.scan(keys.elements(keys.parts(kind, name))))
        for element in (one for one in elements if one.field == "sender_case"):
            for organisation in filter(None, (element.key, head.owner, head.created_owner)):
                for alias in (organisation, registry.canonical(self._draft, organisation)):
                    places[keys.sender_case(alias, element.held.value)] = None
        for place in places:
            value_here = self._draft.get(place)
            if value_here is not None and name in NAMES.decode(value_here) and not place.endswith(b"\0"):
                yield place, value_here


def _places(subject: Subject) -> tuple[bytes, bytes, bytes]:
    """All that is kept of a subject: its head, its parts, its conflicts."""
    return keys.head(*subject), keys.parts(*subject), keys.conflicts_of(*subject)
