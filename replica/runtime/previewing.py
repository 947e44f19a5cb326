"""A zone's side of a preview: a site that is far behind is sent its own cases before all the rest (cases/scope.py).

Never a condition of anything: what cannot be made in time, or of one moment, or out of whole records, is left out with
a line in the log, and the site gets the effects or the state as it would have. One is made at a time, beside the loop,
and sent at the pace of states, so that beats and the operations of others pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import trio

from replica.cases.records import Records
from replica.cases.scope import Gathering, Subject, wanted
from replica.errors import StoreError
from replica.runtime.connection import Connection
from replica.runtime.inbox import Inbox, Silent
from replica.runtime.shipping import Shipper, still_here
from replica.runtime.state import Moment
from replica.wire.envelope import encode
from replica.wire.feed import Preview, PreviewNeeded, previews
from replica.wire.limits import MAX_CHUNK_BYTES
from replica.wire.snapshot import FromReceiver, PreviewWant

MADE_WITHIN_S = 10.0
"""Asked, waited for its turn and made: past that the site is better served with the whole."""


class Previewing:
    """What one zone does of it."""

    def __init__(self, shipper: Shipper, log: Any) -> None:
        self._shipper = shipper
        self._log = log
        self._turn = trio.Lock()

    def is_due(self, lacks: int) -> bool:
        """Whether a site that lacks so many entries is sent its own first."""
        limits = self._shipper.limits
        return bool(limits.preview_mib) and lacks > limits.preview_entries

    async def send(self, connection: Connection, inbox: Inbox[FromReceiver], index: int) -> None:
        """Send a site its own, as of now; or that there is nothing to be had. `index`: of this zone's state."""
        async with still_here(connection, "looks for the site's own cases"):
            made = await self._made(connection, inbox, index)
        if made is None:
            connection.post(encode(Preview(0, 0, (), ())))
            return
        moment, found = made
        for part in previews(moment.index, moment.term, found.covered, found.records, MAX_CHUNK_BYTES):
            await self._shipper.put(connection, encode(part))
        self._log.info("preview-sent", index=moment.index, bytes=found.size, records=len(found.records))

    async def _made(
        self, connection: Connection, inbox: Inbox[FromReceiver], index: int
    ) -> tuple[Moment, Gathering] | None:
        connection.post(encode(PreviewNeeded(index)))
        problem = f"not made within {MADE_WITHIN_S:g} s"
        with trio.move_on_after(MADE_WITHIN_S):
            try:
                while not isinstance(want := await inbox.next(MADE_WITHIN_S), PreviewWant):
                    pass
                async with self._turn:
                    subjects = await self._shipper.of_about_now(partial(wanted, site=want.site, known=want.subjects))
                    most = self._shipper.limits.preview_mib << 20
                    gather = partial(_gathered, site=want.site, subjects=subjects, most_bytes=most)
                    made = await self._shipper.as_of_one_moment(gather)
                if made is not None:
                    return made
                problem = "the state was written back each time meanwhile"
            except (Silent, StoreError) as why:
                problem = str(why)
        self._log.warning("preview-not-made", problem=problem)
        return None


def _gathered(records: Records, site: str, subjects: Iterable[Subject], most_bytes: int) -> Gathering:
    found = Gathering(records, site, most_bytes)
    found.take(subjects)
    return found
