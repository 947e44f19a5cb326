"""Who is who: aliases of organisations, and which of our sites serves whom. "Ids do not tell the owner."

`samu94`, `samu940` and `fr.health.samu940` are one organisation; a vehicle's id says `sis077` where its
organisation field says `sdis77`. The registry maps alias → organisation → site. An organisation whose id is a
site's is served by that site without an entry. Fire services and hospitals run no site of ours: what they own is,
for authority, nobody's."""

from __future__ import annotations

from replica.cases import keys
from replica.cases.draft import Draft
from replica.cases.state import HEAD, NAMES, ORGANISATION

MAX_HOPS = 4
"""An alias of an alias of an alias is followed this far, so that a ring of aliases ends."""


def canonical(draft: Draft, organisation: str) -> str:
    """The organisation that `organisation` is another name of; itself where the registry does not know it."""
    for _ in range(MAX_HOPS):
        entry = draft.load(keys.organisation(organisation), ORGANISATION) if organisation else None
        if entry is None or entry.organisation == organisation:
            break
        organisation = entry.organisation
    return organisation


def site_of(draft: Draft, organisation: str) -> str:
    """The site that serves `organisation`; empty for none of ours."""
    for _ in range(MAX_HOPS):
        if not organisation:
            return ""
        entry = draft.load(keys.organisation(organisation), ORGANISATION)
        if entry is None:
            return organisation if draft.has(keys.site(organisation)) else ""
        if entry.site or entry.organisation == organisation:
            return entry.site
        organisation = entry.organisation
    return ""


def is_same(draft: Draft, one: str, other: str) -> bool:
    return one == other or canonical(draft, one) == canonical(draft, other)


def named_in_id(resource: str) -> str:
    """The organisation that a resource's id begins with: `{organisation}.resource.{id}`. A guess for want of better."""
    head, marker, _ = resource.partition(".resource.")
    return head if marker else ""


def case_numbered(draft: Draft, organisation: str, number: str) -> str:
    """The case that carries this organisation's own number (RS-RPIS names its case by nothing else); empty for none."""
    for alias in (organisation, canonical(draft, organisation)):
        found = draft.load(keys.sender_case(alias, number), NAMES)
        if found:
            return found[0]
    derived = f"{organisation}.{number}"
    head = draft.load(keys.head("case", derived), HEAD)
    return (head.same_as or derived) if head is not None else ""
