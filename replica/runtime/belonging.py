"""Who belongs to the cluster, as far as one zone knows: whom it is linked with, where they are, what each can apply.

The log's memberships say who votes and who learns, and carry the directory of names and addresses; the configuration
knows the first ones. A zone that was away while others joined hears of them from those it meets (docs/decisions/0013),
and a zone that was removed finds that out here.

Leaves out: how a membership is changed (members.py, the log's core), and the links themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from replica.cases.levels import may_raise
from replica.config import ZoneConfig, ZonePeer
from replica.errors import NotPermitted
from replica.raft.core import Raft
from replica.raft.memberships import decode_membership
from replica.raft.types import NOBODY, LogReader, Membership
from replica.runtime.directory import MOST_NUMBER, Directory
from replica.runtime.links import Links
from replica.wire.feed import ZoneAt, Zones
from replica.wire.handshake import NOT_A_MEMBER


class Belonging:
    """One zone's picture of the cluster. `level`: the feature level of the state; `highest`: the one this zone speaks;
    `changed` is called when the directory is another one."""

    def __init__(
        self,
        config: ZoneConfig,
        highest: int,
        raft: Raft,
        links: Links,
        level: Callable[[], int],
        changed: Callable[[], None],
        log: Any,
    ) -> None:
        self._config = config
        self._number = config.zone.number
        self._highest = highest
        self._raft = raft
        self._links = links
        self._level = level
        self._changed = changed
        self._log = log
        self.directory = Directory.of(config.zones)
        self.removed = False
        """This zone's removal is agreed: it serves nothing any more."""
        self._known: tuple[object, ...] = ()
        self._linked: set[int] = set()
        self._contacts: dict[int, ZonePeer] = {}
        """Zones that others have told of and the log here does not know."""

    @property
    def members(self) -> frozenset[int]:
        """All who get the log, as far as the log here goes."""
        now = self._raft.membership
        return frozenset(now.voters | now.outgoing | now.learners)

    def look(self) -> None:
        """Look at the membership: whom to be linked with, and what to tell the sites."""
        now = self._raft.membership
        kept = {view.peer for view in self._raft.progress} | ({self._raft.leader} - {NOBODY})
        if self._raft.membership_is_open:
            kept |= self._linked  # it may be taken back, and who is to go has a say in that until it is committed
        known = (now, kept, self.removed)
        if known == self._known:
            return
        self._known = known
        before, self.directory = self.directory, directory_of(now, self._config)
        peers = () if self.removed else tuple(self._peers(kept))
        self._linked = {peer.number for peer in peers}
        self._links.follow(peers)
        if self.directory != before:
            self._changed()

    def _peers(self, kept: set[int]) -> Iterator[ZonePeer]:
        """The members, and those that are still told that they are none any more."""
        configured = {peer.number: peer for peer in self._config.zones}
        numbers = {*self.members, *kept}
        if self._number not in numbers:
            # Not a member yet, as far as the log here says: the others are those it was told to join.
            numbers |= {zone.number for zone in self.directory.zones if not zone.retired}
            numbers |= configured.keys() - {zone.number for zone in self.directory.zones if zone.retired}
        self._contacts = {
            number: contact
            for number, contact in self._contacts.items()
            if self.directory.numbered(number) is None and self.directory.named(contact.name) is None
        }
        for number in sorted((numbers | self._contacts.keys()) - {self._number}):
            listed = self.directory.numbered(number)
            if number in configured:
                yield configured[number]
            elif listed is not None:
                yield ZonePeer(number, listed.name, listed.address, listed.priority)
            elif number in self._contacts:
                yield self._contacts[number]
            else:
                self._log.error("zone-without-address", number=number)

    def meet(self, zones: Sequence[ZoneAt]) -> int:
        """Zones that this one has not heard of, since it was away when they joined. Who leads now may be among them,
        and the entry that says so comes from nobody else: so they are let in and dialled. What they say in the log is
        judged as ever. Returns how many are new. (Those that the log here knows, or has retired, it knows better.)"""
        before = len(self._contacts)
        for zone in zones:
            known = self.directory.numbered(zone.number) or self.directory.named(zone.name)
            if not zone.retired and known is None and 0 < zone.number <= MOST_NUMBER and zone.number != self._number:
                self._contacts[zone.number] = ZonePeer(zone.number, zone.name, zone.address)
        if len(self._contacts) > before:
            self._log.info("zones-met", zones=sorted(self._contacts))
            self._known = ()
            self.look()
        return len(self._contacts) - before

    def acquaintance(self, peer: int) -> tuple[ZoneAt, ...]:
        """What a zone that will not have this one is told: all zones there are. Nothing, unless both are members as far
        as the log here goes: one that waits to be added, or was removed, has nobody to introduce itself to."""
        return self.zones().zones if {peer, self._number} <= self.members else ()

    def zones(self) -> Zones:
        """All zones there are or were, for a site or another zone."""
        zones = (ZoneAt(zone.number, zone.name, zone.address, zone.retired) for zone in self.directory.zones)
        return Zones(tuple(zones), self.directory.generation)

    def name(self, number: int) -> str:
        listed = self.directory.numbered(number)
        return listed.name if listed is not None else str(number)

    # ------------------------------------------------------------------ being removed

    def leaves(self) -> bool:
        """Whether this zone's removal has been committed since this was last asked: it has nothing to say any more."""
        listed = self.directory.numbered(self._number)
        committed = self._raft.commit_index >= self._raft.membership_index
        removed = self._number not in self.members and committed and listed is not None and listed.retired
        is_news = removed and not self.removed
        self.removed = self.removed or is_news
        return is_news

    def is_out(self, leader: int) -> bool:
        """Whether this zone was removed: by what is committed here, or by what most of the others say who will not have
        it. (One that was away when it was removed, or whose leader went with it, is told by nobody else: its log may
        end with the very entry that removes it, and nothing says that this is committed.) `leader`: whom it follows."""
        refusing = sum(NOT_A_MEMBER in reason for reason in self._links.refusals.values())
        unwanted = leader == NOBODY and 2 * refusing > len(self._linked)
        listed = self.directory.numbered(self._number)
        goes = listed is not None and listed.retired
        return self.removed or (unwanted and (goes or self._number in self._raft.membership.voters))

    # ------------------------------------------------------------------ what each can apply

    @property
    def spoken(self) -> dict[int, int]:
        """The highest feature level of everyone who gets the log: 0 for who was not met since this node started."""
        met = {number: levels[1] for number, levels in self._links.levels.items()} | {self._number: self._highest}
        return {number: met.get(number, 0) for number in self.members}

    def check_level(self, level: int) -> None:
        """A level is raised once every zone that gets the log can apply it: the others would stop at the next entry.
        Raises NotPermitted."""
        why = may_raise(level, {self.name(number): highest for number, highest in self.spoken.items()})
        if why is not None:
            raise NotPermitted(why)

    def unfit(self, number: int) -> str:
        """Why a zone that was met cannot be given the log: it would stop at the first entry of a level that it cannot
        apply. Empty where it can be, or was not met."""
        met = self._links.levels.get(number)
        if met is None:
            return ""
        return may_raise(self._level(), {self.name(number): met[1]}) or ""


def directory_of(membership: Membership, config: ZoneConfig) -> Directory:
    """The directory in force: the membership's, or the configuration's where none was ever agreed."""
    return Directory.decode(membership.directory) if membership.directory else Directory.of(config.zones)


def generation_of(config: ZoneConfig, log: LogReader) -> int:
    """How often the cluster was founded anew, as the log says, or the configuration of a zone that joins."""
    memberships = log.memberships()
    known = directory_of(decode_membership(memberships[-1][1]), config).generation if memberships else 1
    return max(config.cluster.generation, known)
