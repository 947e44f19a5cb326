"""How fresh a read is, and whose word it is: told with every value, so that no value can be had without it.

"Every read says how old it is, under which mode and whose authority, and whether something of ours is still undecided."
It is a portal showing "200 OK" over stale data that this type is against (docs/survives.md, O12).

Left out: whether the one record read is tentative or in conflict. That is a question to the record, not to the site:
`SiteCore.is_tentative` and `cases.queries` answer it.
"""

from __future__ import annotations

from msgspec import Struct

from replica.offline.events import Mode


class Freshness(Struct, frozen=True):
    """What holds for everything read at one moment."""

    mode: Mode
    index: int
    """The agreed log is known here up to this index."""
    term: int
    confirmed_age_ms: int | None
    """How long ago a quorum's confirmation reached this site; its way here is not counted. None: never in this life."""
    authority: str
    """Whose charge it is: the organisation that holds it as far as this site's view shows. Empty where the record that
    says so is damaged; `epoch` is then 0, or the last one known of this site's own."""
    epoch: int
    unconfirmed_since_ms: int | None
    """Zone time (wall, ms) of the last confirmation while the site is cut off: since then the authority is unconfirmed,
    and somebody may have taken over. None while a quorum is heard; 0 where none ever was in this life."""
    clock_unsure: bool
    undecided: int
    """How many of this site's own operations have no verdict yet."""
    restored: bool
    """This store is a restored backup, or was emptied: operations of its earlier life may have been lost here."""
    fenced: bool
    """Another process has opened this site's identity: this one takes no more operations."""
    drill: bool = False
    """The cut is a drill: the line is sound, and what the feed brings is held back."""
    preview_index: int = 0
    """This site's own cases, and what it helps with, are shown as agreed up to here, ahead of all the rest; 0: they are
    not, all is as of one entry. Of a case that is so far ahead, `index` says the same."""
