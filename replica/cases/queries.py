"""Questions to a state: cases, resources, conflicts, verdicts, streams, digests. Nothing here changes anything.

Every question takes any `Records`: an agreed state, or a working view over it. `applied_index` says up to where it
is agreed; what stands at a higher index is this site's own and *tentative*.

Left out: freshness (how old the state is, under which mode), which only the node that holds it can tell.
"""

from __future__ import annotations

from collections.abc import Iterator

from replica.cases import digest as digests_kept
from replica.cases import gate, keys, registry
from replica.cases.authority import charge_of, epoch_of
from replica.cases.draft import Draft, drafted
from replica.cases.levels import FIRST_LEVEL
from replica.cases.operations import OperationId
from replica.cases.owners import CLOSED_STATUSES
from replica.cases.reading import case_view, request_view, resource_view, value_view
from replica.cases.records import Records
from replica.cases.state import (
    CHARGE_CHANGE,
    CONFLICT,
    ELEMENT,
    GENERATION,
    HEAD,
    JUDGED,
    KEPT,
    NUMBER,
    ORGANISATION,
    SITE,
    ConflictRecord,
    Head,
    Kept,
    Organisation,
)
from replica.cases.subjects import Target, slot_at
from replica.cases.verdicts import Effects, Verdict, VerdictKind
from replica.cases.views import (
    CaseView,
    ChargeChangeView,
    ConflictView,
    ElementView,
    GenerationView,
    RequestView,
    ResourceView,
    SiteView,
    StreamView,
)

__all__ = [
    "ALL_AGREED",
    "CaseView",
    "ConflictView",
    "RequestView",
    "ResourceView",
    "changed_subjects",
    "charge_changes",
    "conflicts_in",
    "current",
    "digest",
    "digests",
    "epoch_of",
    "feature_level",
    "find_case",
    "generation",
    "generations",
    "last_number",
    "list_cases",
    "list_conflicts",
    "list_resources",
    "loose_documents",
    "organisations",
    "owner_of",
    "read_case",
    "read_request",
    "read_resource",
    "site",
    "site_of",
    "sites",
    "stream",
    "streams",
    "verdict_of",
]
ALL_AGREED = (1 << 62) - 1
"""An applied index above all: nothing is tentative."""


# --- cases, resources, requests ---


def read_case(records: Records, case_id: str, applied_index: int = ALL_AGREED) -> CaseView | None:
    """The case, whole; None where nobody has named it."""
    draft = drafted(records)
    head = draft.load(keys.head("case", case_id), HEAD)
    return None if head is None else case_view(draft, head, applied_index)


def read_resource(records: Records, resource_id: str, applied_index: int = ALL_AGREED) -> ResourceView | None:
    draft = drafted(records)
    head = draft.load(keys.head("resource", resource_id), HEAD)
    return None if head is None else resource_view(draft, head, applied_index)


def read_request(records: Records, request_id: str, applied_index: int = ALL_AGREED) -> RequestView | None:
    draft = drafted(records)
    head = draft.load(keys.head("request", request_id), HEAD)
    return None if head is None else request_view(draft, head, applied_index)


def list_cases(
    records: Records,
    owner: str | None = None,
    open: bool | None = None,  # noqa: A002 - the word people use
    status: str | None = None,
) -> list[str]:
    """Ids of cases, in order: of one owner (any of its names), open or closed ones, of one own status. A case that
    turned out to be another (`same_as`) is inside that one, not here."""
    draft = drafted(records)
    return [
        head.id
        for head in _heads(records, "case")
        if not head.same_as
        and (owner is None or registry.is_same(draft, owner, head.owner))
        and (open is None or open == (head.status not in CLOSED_STATUSES))
        and (status is None or status == head.status)
    ]


def list_resources(records: Records, owner: str | None = None) -> list[str]:
    """Ids of resources, in order; of one organisation (any of its names)."""
    draft = drafted(records)
    heads = _heads(records, "resource")
    return [head.id for head in heads if owner is None or registry.is_same(draft, owner, head.owner)]


def _heads(records: Records, kind: str) -> Iterator[Head]:
    return (HEAD.decode(value) for _, value in records.scan(keys.HEADS[kind]))


def owner_of(records: Records, case_id: str) -> str:
    """The owner that holds of a case; empty where the case or its owner is not known."""
    head = drafted(records).load(keys.head("case", case_id), HEAD)
    return "" if head is None else head.owner


def find_case(records: Records, organisation: str, sender_case: str) -> str | None:
    """The case that carries an organisation's own number."""
    found = registry.case_numbered(drafted(records), organisation, sender_case)
    return found or None


def list_conflicts(records: Records, owner: str | None = None, applied_index: int = ALL_AGREED) -> list[ConflictView]:
    """Open conflicts, in order; of what one owner owns (any of its names)."""
    draft = drafted(records)
    found = []
    for _, value in records.scan(keys.CONFLICTS):
        entry = CONFLICT.decode(value)
        head = draft.load(keys.head(entry.kind, entry.id), HEAD)
        assert head is not None, f"a conflict about {entry.kind} {entry.id}, which is nowhere"
        if owner is None or registry.is_same(draft, owner, head.owner):
            found.append(_conflict(draft, entry, head, applied_index))
    return found


def _conflict(draft: Draft, entry: ConflictRecord, head: Head, applied_index: int) -> ConflictView:
    target = Target(entry.kind, entry.id, head, keys.parts(entry.kind, entry.id), False)
    slot = slot_at(draft, target, entry.field, entry.key)
    values = tuple(value_view(held, applied_index) for held in slot.siblings)
    return ConflictView(entry.kind, entry.id, entry.field, values, head.owner, entry.since, entry.since_ms, entry.key)


def conflicts_in(effects: Effects) -> tuple[tuple[str, str, str, str], ...]:
    """The conflicts that an entry opened, as (kind, id, field, key), in order of their keys."""
    found = (
        CONFLICT.decode(value) for key, value in effects.changes if key[:1] == keys.CONFLICTS and value is not None
    )
    return tuple((one.kind, one.id, one.field, one.key) for one in found)


def changed_subjects(records: Records, effects: Effects) -> tuple[tuple[str, str], ...]:
    """The cases, resources and requests that an entry changed, as (kind, id), in order. `records`: after it."""
    draft, places = drafted(records), set()
    for key, _ in effects.changes:
        if key[0] in keys.KINDS:
            places.add(keys.subject_digest(key)[1:])
    heads = (draft.load(keys.head_of_parts(place), HEAD) for place in sorted(places))
    return tuple((head.kind, head.id) for head in heads if head is not None)


def loose_documents(records: Records, applied_index: int = ALL_AGREED) -> list[ElementView]:
    """Contents kept unread that name no case."""
    found = (ELEMENT.decode(value) for _, value in records.scan(keys.LOOSE_DOCUMENTS))
    return [ElementView(one.field, value_view(one.held, applied_index), one.key) for one in found]


# --- operations and sites ---


def verdict_of(records: Records, operation: OperationId) -> tuple[int, Verdict] | None:
    """(index, verdict) of an operation; None where it is not decided yet.

    A number up to the last one taken with no kept verdict was applied (docs/offline.md, "Verdicts kept"), and its
    index is not known any more: 0. That holds for as long as its site has not said that it holds the verdict
    durably; afterwards the site's own store and the case's history know it."""
    draft = drafted(records)
    found = gate.load_stream(draft, operation.site, operation.incarnation)
    if found is None or not 0 <= operation.seq <= found.last:
        return None
    kept = draft.load(keys.kept_verdict(operation.site, operation.incarnation, operation.seq), KEPT)
    return (0, Verdict(VerdictKind.APPLIED)) if kept is None else _unfold(draft, kept)


def _unfold(draft: Draft, kept: Kept) -> tuple[int, Verdict]:
    if kept.verdict is not None:
        return kept.index, kept.verdict
    judged = draft.load(kept.at, JUDGED)
    assert judged is not None, f"a kept verdict points to {kept.at!r}, where nothing is"
    return judged.index, judged.verdict


def current(records: Records, site_id: str) -> bytes | None:
    """The incarnation that is current of a site; None where the site was never heard of."""
    return gate.current(drafted(records), site_id)


def last_number(records: Records, site_id: str, incarnation: bytes) -> int:
    """The last number taken of an incarnation; -1 where it is not registered."""
    found = gate.load_stream(drafted(records), site_id, incarnation)
    return -1 if found is None else found.last


def stream(records: Records, site_id: str, incarnation: bytes) -> StreamView | None:
    """One incarnation as the state knows it; None where it is not registered."""
    found = gate.load_stream(drafted(records), site_id, incarnation)
    if found is None:
        return None
    is_current = current(records, site_id) == incarnation
    return StreamView(incarnation, found.last, found.closed_at, found.prev, found.prev_last, found.drain, is_current)


def streams(records: Records, site_id: str) -> list[StreamView]:
    """All incarnations of a site, in order of their bytes."""
    prefix = keys.STREAMS + keys.name(site_id) + b"\0"
    found = []
    for name in (key[len(prefix) :] for key, _ in records.scan(prefix)):
        if len(name) == 16:  # a longer one is the hash of what no honest site sends (keys.incarnation)
            one = stream(records, site_id, name)
            assert one is not None, f"the stream {name.hex()} of {site_id} is listed, and there is {one}"
            found.append(one)
    return found


def site(records: Records, site_id: str) -> SiteView | None:
    """A site as the agreed state knows it; None where it was never heard of."""
    draft = drafted(records)
    record = draft.load(keys.site(site_id), SITE)
    if record is None:
        return None
    charge = charge_of(draft, site_id)
    counts = {kind.value: count for kind, count in zip(VerdictKind, record.counters, strict=True)}
    return SiteView(site_id, record.current, record.restored, charge.epoch, charge.holder, counts)


def sites(records: Records) -> list[str]:
    """Ids of all sites ever heard of, in order of their keys."""
    return [SITE.decode(value).site for _, value in records.scan(keys.SITES)]


# --- who is who, who is in charge ---


def site_of(records: Records, organisation: str) -> str:
    """The site that serves an organisation; empty for none of ours."""
    return registry.site_of(drafted(records), organisation)


def organisations(records: Records) -> list[Organisation]:
    """The registry, in order of aliases."""
    return [ORGANISATION.decode(value) for _, value in records.scan(keys.REGISTRY)]


def charge_changes(records: Records, samu: str) -> list[ChargeChangeView]:
    """Every take-over and hand-back of a Samu's work, oldest first."""
    found = (CHARGE_CHANGE.decode(value) for _, value in records.scan(keys.charge_changes(samu)))
    return [
        ChargeChangeView(
            one.samu,
            one.before,
            one.holder,
            one.epoch,
            one.cases,
            one.reason,
            one.author,
            one.act_ms,
            one.time_ms,
            str(one.mark.operation),
            one.mark.index,
        )
        for one in found
    ]


# --- the whole ---


def feature_level(records: Records) -> int:
    """The level whose rules the next entry is applied by."""
    return drafted(records).load(keys.LEVEL, NUMBER) or FIRST_LEVEL


def generation(records: Records) -> int:
    """How many times the cluster was forced new. A site that followed a lower one sets aside what is newer here, and
    offers its operations again."""
    return drafted(records).load(keys.GENERATION, NUMBER) or 0


def generations(records: Records) -> list[GenerationView]:
    """Every time the cluster was forced new, oldest first."""
    found = (GENERATION.decode(value) for _, value in records.scan(keys.GENERATIONS))
    return [
        GenerationView(
            one.number,
            one.who,
            one.wall_ms,
            one.from_cluster,
            one.from_index,
            one.cluster,
            one.time_ms,
            str(one.mark.operation),
            one.mark.index,
        )
        for one in found
    ]


def digest(records: Records) -> str:
    """The digest of the whole state, in hexadecimal: equal states have equal ones. Costs one look-up."""
    return (records.get(keys.DIGEST_TOTAL) or digests_kept.ZERO).hex()


def digests(records: Records) -> dict[str, str]:
    """The digest of each owner's part of the state; nobody's under ""."""
    return dict(digests_kept.stored(records))
