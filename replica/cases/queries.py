"""Questions to a state: cases, resources, conflicts, verdicts, streams, digests. Nothing here changes anything.

Every question takes any `Records`: an agreed state, or a working view over it. `applied_index` says up to where it is agreed;
what stands at a higher index is this site's own and *tentative*.

Left out: freshness (how old the state is, under which mode), which only the node that holds it can tell.
"""

from __future__ import annotations

from collections.abc import Iterator

from replica.cases import authority, digest, gate, keys
from replica.cases.authority import epoch_of
from replica.cases.draft import Draft, drafted
from replica.cases.engagement import case_of
from replica.cases.operations import OperationId
from replica.cases.owners import CLOSED_STATUSES
from replica.cases.records import Records
from replica.cases.state import (
    CHARGE_CHANGE,
    CONFLICT,
    CURRENT,
    ELEMENT,
    HEAD,
    JUDGED,
    KEPT,
    MISSION,
    NAMES,
    NUMBER,
    ORGANISATION,
    PAST,
    SITE,
    STEP,
    STREAM,
    Head,
    Held,
    Organisation,
    Past,
    Slot,
)
from replica.cases.verdicts import Verdict, VerdictKind
from replica.cases.views import (
    CaseView,
    ChargeChangeView,
    ChargeView,
    ConflictView,
    ElementView,
    EngagementView,
    FieldView,
    PastView,
    RequestView,
    ResourceView,
    SiteView,
    StepView,
    StreamView,
    ValueView,
    VerdictView,
)

__all__ = [
    "case_ids",
    "charge_changes",
    "current",
    "digest_total",
    "digests",
    "epoch_of",
    "feature_level",
    "find_case",
    "list_cases",
    "list_conflicts",
    "list_resources",
    "loose_documents",
    "organisations",
    "read_case",
    "read_request",
    "read_resource",
    "resource_ids",
    "site",
    "sites",
    "stream",
    "streams",
    "verdict_of",
]
ALL_AGREED = (1 << 62) - 1
"""An applied index above all: nothing is tentative."""
