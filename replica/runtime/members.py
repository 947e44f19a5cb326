"""What an operator asks of a zone: who votes, change that, and hand leadership over.

A change goes to the leading zone. Another zone answers `{"redirect": {"name": …, "address": …}}`, and who asked goes
there (admin/members.py): the operator's tool needs a way to the leader anyway, to see how the change goes on.

The answer says what was taken, not what is done. New voters must catch up first and be the same, and each step must be
committed (raft/membership.py); `members()` shows how far that is, at any zone.

Leaves out: deciding whether the quorum would hold; the core does, with who answers now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from replica.config import host_and_port
from replica.errors import ConfigError, InvalidMessage, NotAvailable, NotPermitted, Place
from replica.raft import events as raft_events
from replica.raft.ready import Accepted, Refusal, Refused, Transferred
from replica.raft.types import NOBODY, Membership
from replica.runtime.bell import now_ms
from replica.runtime.directory import Directory, Listed
from replica.runtime.requests import error_of
from replica.wire.client import ChangeMembers, Meet, NewZone
from replica.wire.feed import ZoneAt

if TYPE_CHECKING:
    from replica.runtime.zone import ZoneNode

BEST = "best"
MOST_SILENT_MS = 3_600_000
"""Of a zone that was never heard, too."""


class Office:
    """One zone's part in the operator's business."""

    def __init__(self, node: ZoneNode) -> None:
        self._node = node

    # ------------------------------------------------------------------ looking

    def members(self) -> dict[str, Any]:
        """The membership as this zone knows it, and at the leader how far each zone is."""
        node, raft = self._node, self._node.raft
        return {
            "asked": node.config.zone.name,
            "leader": self._name(raft.leader),
            "leader_address": self._address(raft.leader),
            "term": raft.term,
            "index": raft.membership_index,
            "commit_index": raft.commit_index,
            "settled": not raft.membership_is_open and not raft.membership.incoming,
            "generation": node.belonging.directory.generation,
            "foundings": [msgspec.to_builtins(founding) for founding in node.belonging.directory.foundings],
            "zones": list(self._lines()),
        }

    def _lines(self) -> Iterator[dict[str, Any]]:
        node, now = self._node, self._node.raft.membership
        progress = {view.peer: view for view in node.raft.progress}
        for zone in node.belonging.directory.zones:
            line: dict[str, Any] = {
                "number": zone.number,
                "name": zone.name,
                "address": zone.address,
                "priority": zone.priority,
                "role": role_of(zone, now),
                "leads": zone.number == node.raft.leader,
            }
            view = progress.get(zone.number)
            if view is not None:
                line |= {
                    "match_index": view.match_index,
                    "phase": view.phase.value,
                    "silent_ms": min(now_ms() - view.heard_ms, MOST_SILENT_MS),
                    "quick": view.quick,
                    "same": view.same,
                }
            elif zone.number == node.number:
                line |= {"match_index": node.raft.last_index}
            if zone.number in now.learners and (unfit := node.belonging.unfit(zone.number)):
                line |= {"waits": unfit}
            yield line

    def _name(self, number: int) -> str:
        found = self._node.belonging.directory.numbered(number)
        return found.name if found is not None else ""

    def _address(self, number: int) -> str:
        found = self._node.belonging.directory.numbered(number)
        return found.address if found is not None else ""

    # ------------------------------------------------------------------ changing

    async def change(self, request: ChangeMembers) -> dict[str, Any]:
        """Begin a change: {"accepted": the index of its first entry}. Raises NotPermitted with the reason in words,
        NotAvailable where nobody leads, InvalidMessage for an address that is none: surely not done."""
        check_addresses("add", request.add)
        node = self._node
        if node.raft.leader != node.number:
            return self._redirect()
        target = target_of(node.raft.membership, node.belonging.directory, request)
        self._check_levels(request)
        answer = await node.requests.ask(lambda token: raft_events.ChangeRequested(now_ms(), token, target))
        match answer:
            case Accepted():
                node.log.info("membership-asked", voters=sorted(target.voters), learners=sorted(target.learners))
                return {"accepted": answer.index}
            case Refused(reason=Refusal.NOT_LEADER):
                return self._redirect()
            case Refused():
                raise error_of(answer)
        raise AssertionError(f"a change was answered with {answer}")

    def _check_levels(self, request: ChangeMembers) -> None:
        """A learner that cannot apply the cluster's level is not promoted. (Of a zone that is added nothing is known
        before it is met; then it is a learner, and its line says why it waits.)"""
        for name in request.promote:
            if unfit := self._node.belonging.unfit(self._numbered(name)):
                raise NotPermitted(unfit)

    async def hand_over(self, to: str) -> dict[str, Any]:
        """Hand leadership over, and wait until another leads: {"leader": its name}. Raises as `change`; NotAvailable
        where the hand-over failed, and then this zone leads on."""
        node = self._node
        if node.raft.leader == node.number and self._name(node.number) == to:
            return {"leader": to}
        if node.raft.leader != node.number:
            return self._redirect()
        number = NOBODY if to == BEST else self._numbered(to)
        answer = await node.requests.ask(lambda token: raft_events.TransferRequested(now_ms(), token, number))
        match answer:
            case Transferred(ok=True):
                await node.until_another_leads()
                return {"leader": self._name(node.raft.leader)}
            case Transferred():
                raise NotAvailable(f"{self._name(answer.to)} does not lead: {answer.why}")
            case Refused(reason=Refusal.NOT_LEADER):
                return self._redirect()
            case Refused():
                raise error_of(answer)
        raise AssertionError(f"a hand-over was answered with {answer}")

    def meet(self, request: Meet) -> dict[str, Any]:
        """Get to know zones that joined while this one was away: {"met": how many}. Raises InvalidMessage for an
        address that is none; nobody is met then."""
        check_addresses("zones", request.zones)
        return {"met": self._node.belonging.meet(request.zones)}

    def _numbered(self, name: str) -> int:
        found = self._node.belonging.directory.named(name)
        if found is None:
            names = ", ".join(zone.name for zone in self._node.belonging.directory.zones if not zone.retired)
            raise NotPermitted(f"{name} is no zone of this cluster; there are {names}")
        return found.number

    def _redirect(self) -> dict[str, Any]:
        leader, voters = self._node.raft.leader, self._node.raft.membership.voters
        if leader == NOBODY and (self._node.is_out or self._node.number not in voters):
            # Nobody tells a zone that is no member who leads; any of the others knows.
            leader = min(voters or {peer.number for peer in self._node.config.zones}, default=NOBODY)
        if leader in (NOBODY, self._node.number):
            raise NotAvailable("no zone leads as far as this one knows")
        return {"redirect": {"name": self._name(leader), "address": self._address(leader)}}


def check_addresses(field: str, zones: Sequence[NewZone | ZoneAt]) -> None:
    """What is to be dialled must be an address: one that stands in the log stands there for every zone. Raises
    InvalidMessage with its place."""
    for at, zone in enumerate(zones):
        path = f"{field}[{at}].address"
        try:
            host_and_port(zone.address, path)
        except ConfigError as problem:
            raise InvalidMessage((Place(path, str(problem)),)) from problem


def role_of(zone: Listed, now: Membership) -> str:
    """What a zone is, in a word."""
    number = zone.number
    if number in now.leaving or (number in now.outgoing and number not in now.voters):
        return "leaving"
    if number in now.voters:
        return "voter"
    if number in now.incoming:
        return "joining"
    if number in now.learners:
        return "learner"
    return "retired" if zone.retired else "none"


def target_of(now: Membership, directory: Directory, request: ChangeMembers) -> Membership:
    """The membership that is asked for. Raises NotPermitted for a zone that is none, or a number that was used.

    Of zones that come and zones that go in one request, each comes for one, in the order in which they are named. Where
    one that has not come yet is withdrawn, the one that was to go for it stays.
    """
    voters = set((now.voters | now.incoming) - now.leaving)
    learners = set(now.learners - now.incoming)
    comes_for = _comes_for(now, directory, request)
    for number in _kept(now, directory, request) - set(comes_for.values()):
        directory = directory.reinstated(number)
        voters.add(number)
    for new in request.add:
        directory = directory.with_zone(Listed(new.number, new.name, new.address, new.priority))
        (learners if request.learners else voters).add(new.number)
    for name in request.promote:
        found = directory.named(name)
        if found is None or found.number not in learners:
            raise NotPermitted(f"{name} is no learner")
        learners.discard(found.number)
        voters.add(found.number)
    for name in request.remove:
        found = directory.named(name)
        directory = directory.without(name)
        assert found is not None, f"{name} was retired and is not listed"
        voters.discard(found.number)
        learners.discard(found.number)
    for name, old in comes_for.items():
        directory = directory.coming_for(name, old)
    return Membership(
        frozenset(voters),
        learners=frozenset(learners),
        directory=directory.encode(),
        priority=directory.priorities(),
    )


def _comes_for(now: Membership, directory: Directory, request: ChangeMembers) -> dict[str, int]:
    """The new voters' names, and the numbers of the zones that go for them. Who comes for one that has not come yet
    itself comes for the zone that was to go for that one."""
    coming = [*(zone.name for zone in request.add if not request.learners), *request.promote]
    found = {}
    for name, old in zip(coming, map(directory.named, request.remove), strict=False):
        if old is not None:
            found[name] = old.replaces if old.number in now.incoming and old.replaces else old.number
    return found


def _kept(now: Membership, directory: Directory, request: ChangeMembers) -> set[int]:
    """The zones that were to go for zones which, by this request, do not come."""
    removed = filter(None, map(directory.named, request.remove))
    return {zone.replaces for zone in removed if zone.number in now.incoming} & now.leaving
