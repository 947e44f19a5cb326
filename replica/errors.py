"""Every error this library raises, and what the caller does next.

Two questions sort them (after h11 and Maelstrom): whose fault is it, and did the operation happen?

* *definite*: the operation surely did not happen. Correct it, or try again later.
* *indefinite*: it may have happened. Only `OutcomeUnknown` is; it carries the operation's id, and `outcome(id)`
answers.

A refusal decided by the replicated state is none of these: it is a verdict, the same on every replica.
"""

from __future__ import annotations

from dataclasses import dataclass


class ReplicaError(Exception):
    """The root of all errors of this library. Catch it at the edge of a program, not in between."""

    definite = True


class ConfigError(ReplicaError):
    """A configuration value is wrong. `path` says which (`$.zones[1].port`), the text what is allowed. Correct the
    file."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Place:
    """One place in an input that is wrong: `path` (`$.content[0].caseId`) and what was expected there."""

    path: str
    problem: str


class InvalidMessage(ReplicaError):
    """A message that does not parse or does not validate; every wrong place at once. Nothing of it was applied."""

    def __init__(self, places: tuple[Place, ...]) -> None:
        super().__init__("; ".join(f"{place.path}: {place.problem}" for place in places))
        self.places = places


class RemoteProtocolError(ReplicaError):
    """The other side of a connection broke the protocol. That connection is closed; nothing else is affected."""


class HandshakeRefused(RemoteProtocolError):
    """This connection was refused before anything else was said: wrong cluster, version, role or identity."""


class NotAvailable(ReplicaError):
    """No leader, no quorum or no connection at present: surely not done. Try again, or let a site journal it."""


class Overloaded(ReplicaError):
    """Too much is waiting already: surely not done. Try again after `retry_after_ms`."""

    def __init__(self, problem: str, retry_after_ms: int) -> None:
        super().__init__(f"{problem}; try again in {retry_after_ms} ms")
        self.retry_after_ms = retry_after_ms


class NotPermitted(ReplicaError):
    """A command that needs the others' consent while they cannot be asked, or that this site has no authority for.

    Raised before any journal is written: surely not done. Tell the person the reason.
    """


class OutcomeUnknown(ReplicaError):
    """The operation may or may not have been kept: the disk did not answer in time and no quorum did either.

    Ask `site.outcome(operation)` later, across restarts too; do not submit the same thing under a new id.
    """

    definite = False

    def __init__(self, operation: object) -> None:
        super().__init__(f"outcome of {operation} is not known yet")
        self.operation = operation


class StoreError(ReplicaError):
    """A store cannot be opened or used: missing, of another cluster or node, of a newer format, in use, read-only.

    The text says what and where; nothing was written. An operator has to look.
    """


class StoreDamaged(StoreError):
    """A record failed its checksum: `record` names it. The node takes no further part until it is rebuilt."""

    def __init__(self, record: str, problem: str) -> None:
        super().__init__(f"{record}: {problem}")
        self.record = record


class StorageFull(StoreError):
    """The disk or the store is full: nothing was written and nothing acknowledged. Free space; the node goes on by
    itself."""


class StorageFailed(StoreError):
    """A write or its fsync failed. What is on disk is unknown, so the node stops; an fsync is never retried."""


class UnknownLevel(ReplicaError):
    """The agreed log, or a store, asks for the rules of a feature level that this release does not have.

    Nothing of the entry was applied. The node stops: had it gone on, its state would differ from the others' without a
    word. Start it again with a release that has the level; it goes on where it stopped, and nothing is lost.
    """

    def __init__(self, where: str, level: int, first: int, highest: int) -> None:
        super().__init__(f"{where} needs feature level {level}; this release has levels {first} to {highest}")
        self.level = level


class Closed(ReplicaError):
    """This zone or site is closed or closing: surely not done."""
