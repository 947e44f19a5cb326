"""A site's side of a preview: it says what it shows as its own, and puts together what a zone sends of it.

What follows from it is the core's (offline/preview.py). In a drill nothing is asked for and nothing is taken: the site
is to behave as cut off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any

from replica.cases import keys
from replica.cases.records import Layer, Overlay, Records
from replica.cases.scope import Subject, own_open
from replica.cases.state import HEAD
from replica.errors import RemoteProtocolError, StoreDamaged
from replica.offline import events
from replica.offline.preview import Preview, preview
from replica.runtime.bell import now_ms
from replica.runtime.connection import Connection
from replica.wire.envelope import encode
from replica.wire.feed import Preview as Part
from replica.wire.limits import MAX_NAME, MAX_RECORDS_PER_CHUNK, MIB
from replica.wire.snapshot import PreviewWant

MOST_BYTES = 80 * MIB
"""More than a zone may be told to send."""


class Previews:
    """The previews of one site. `site`: a SiteNode."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self._parts: list[Part] = []
        self._size = 0

    @property
    def are_wanted(self) -> bool:
        return self._site.drills.current is None

    async def want(self, connection: Connection) -> None:
        """Say what is shown here as this site's own. Looking for it reads every case's head: beside the loop."""
        self._parts, self._size = [], 0
        site, found = self._site, []
        moment = site.state.moment()
        work = partial(_own, site.store.state, moment.above, site.config.site.name)
        with suppress(StoreDamaged):
            found = await site.in_worker(work)
        held = site.desk.core.preview
        known = dict.fromkeys([*found, *(() if held is None else _subjects(held))])
        fits = (one for one in known if len(one[1]) <= MAX_NAME)
        connection.post(encode(PreviewWant(site.config.site.name, tuple(islice(fits, MAX_RECORDS_PER_CHUNK)))))

    def take(self, part: Part) -> None:
        """The next part. Raises RemoteProtocolError for more than a zone may send."""
        if self._parts and (part.index, part.term) != (self._parts[0].index, self._parts[0].term):
            self._parts, self._size = [], 0
        self._parts.append(part)
        self._size += sum(map(len, part.covered)) + sum(len(key) + len(value) for key, value in part.records)
        if self._size > MOST_BYTES:
            raise RemoteProtocolError(f"a preview of more than {MOST_BYTES} bytes")
        if part.more:
            return
        parts, self._parts, self._size = self._parts, [], 0
        if part.index and self._site.drills.current is None:
            covered = (key for one in parts for key in one.covered)
            records = (record for one in parts for record in one.records)
            self._hold(preview(part.index, part.term, covered, records))

    def _hold(self, whole: Preview) -> None:
        site = self._site
        shown = site.desk.core.preview
        before = site.state if shown is None else site.desk.core.agreed
        changed = [subject for subject in _subjects(whole) if _differs(whole, before, subject)]
        site.desk.step(events.Previewed(now_ms(), whole))
        if site.desk.core.preview is whole:
            site.service.previewed(tuple(changed))


def _own(below: Records, above: dict[bytes, bytes | None], site: str) -> list[Subject]:
    return [("case", case) for case in own_open(Overlay(below, Layer(above)), site)]


def _subjects(held: Preview) -> Iterator[Subject]:
    for head, _, _ in held.subjects():
        record = held.records.get(head)
        if record is not None:
            one = HEAD.decode(record)
            yield one.kind, one.id


def _differs(whole: Preview, before: Records, subject: Subject) -> bool:
    """Whether the subject stands otherwise in the preview. Where its record here is damaged, it does."""
    head, parts = keys.head(*subject), keys.parts(*subject)
    with suppress(StoreDamaged):
        same = before.get(head) == whole.records.get(head)
        return not same or list(before.scan(parts)) != list(whole.records.scan(parts))
    return True
