"""Verdicts that the replicated state holds: what was said about a case, and what a site has not stored durably yet.

`applied` is not among them: it needs no word (docs/offline.md, "Verdicts kept"). A site's own store knows it.
"""

from __future__ import annotations

from collections.abc import Iterator

from replica.cases import keys
from replica.cases.draft import drafted
from replica.cases.operations import OperationId
from replica.cases.reading import verdict_view
from replica.cases.records import Records
from replica.cases.state import JUDGED, KEPT, Judged
from replica.cases.views import VerdictView


def of_case(records: Records, case: str, applied_index: int) -> Iterator[VerdictView]:
    """All verdicts in a case's history, oldest first. (The case stays with who asked.)"""
    prefix = keys.parts("case", case) + b"v"
    return (verdict_view(JUDGED.decode(value), applied_index) for _, value in records.scan(prefix))


def kept_of_site(records: Records, site: str, applied_index: int) -> Iterator[VerdictView]:
    """The verdicts kept for a site until it holds them durably: life by life, in its own order."""
    draft, prefix = drafted(records), keys.kept_verdicts(site)
    for key, value in records.scan(prefix):
        kept = KEPT.decode(value)
        if kept.verdict is None:
            judged = draft.load(kept.at, JUDGED)
            assert judged is not None, f"a kept verdict points to {kept.at!r}, where nothing is"
        else:
            # Said about no case, so its act is not in any history: its number is all that is known of it.
            seq = int.from_bytes(key[-8:], "big")
            name = OperationId(site, key[len(prefix) : -8], seq)
            judged = Judged(name, kept.index, 0, 0, "", "", kept.verdict)
        yield verdict_view(judged, applied_index)
