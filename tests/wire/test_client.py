"""The library's errors reach the client as themselves."""

from __future__ import annotations

import pytest

from replica.errors import (
    Closed,
    ConfigError,
    HandshakeRefused,
    InvalidMessage,
    NotAvailable,
    NotPermitted,
    OutcomeUnknown,
    Overloaded,
    Place,
    RemoteProtocolError,
    ReplicaError,
    StorageFailed,
    StorageFull,
    StoreDamaged,
    StoreError,
    UnknownLevel,
)
from replica.wire import TO_CLIENT, decode, encode, frame
from replica.wire.client import MAX_PLACE_TEXT, MAX_PLACES, Failure, error_of, failure_of
from replica.wire.limits import MAX_FRAME_BYTES, MAX_TEXT


def across(error: ReplicaError) -> ReplicaError:
    failure = decode(encode(failure_of(7, error)), TO_CLIENT)
    assert isinstance(failure, Failure)
    assert failure.request == 7
    assert failure.definite == error.definite
    return error_of(failure)


ERRORS = {
    NotAvailable("no leader is known"): NotAvailable,
    NotPermitted("needs the quorum"): NotPermitted,
    StorageFull("the disk is full"): StorageFull,
    StorageFailed("fsync failed"): StorageFailed,
    StoreError("of another cluster"): StoreError,
    StoreDamaged("entry 7", "checksum"): StoreError,
    Closed("closing"): Closed,
    RemoteProtocolError("unknown tag"): RemoteProtocolError,
    HandshakeRefused("wrong cluster"): RemoteProtocolError,
    ConfigError("$.zones", "none"): ReplicaError,
    UnknownLevel("entry 7", 2, 1, 1): ReplicaError,
    ReplicaError("something else"): ReplicaError,
}


@pytest.mark.parametrize(("error", "arrives"), ERRORS.items(), ids=lambda value: type(value).__name__)
def test_an_error_arrives_as_itself_or_as_the_nearest_above(error: ReplicaError, arrives: type[ReplicaError]) -> None:
    there = across(error)
    assert type(there) is arrives
    assert str(there) == str(error)


def test_every_error_class_has_been_thought_of() -> None:
    """A new error gets its line in the table above, or in the three tests below."""

    def below(kind: type[ReplicaError]) -> set[type[ReplicaError]]:
        return {kind}.union(*(below(lower) for lower in kind.__subclasses__() if lower.__module__ == "replica.errors"))

    assert below(ReplicaError) == {type(error) for error in ERRORS} | {InvalidMessage, Overloaded, OutcomeUnknown}


def test_every_wrong_place_of_a_message_arrives() -> None:
    error = InvalidMessage((Place("$.content[0].caseId", "missing"), Place("$.sentAt", "expected a time")))
    there = across(error)
    assert isinstance(there, InvalidMessage)
    assert there.places == error.places
    assert str(there) == str(error)


def test_overloaded_arrives_with_its_time_and_is_not_said_twice() -> None:
    there = across(Overloaded("10,000 operations wait", 250))
    assert isinstance(there, Overloaded)
    assert (str(there), there.retry_after_ms) == ("10,000 operations wait; try again in 250 ms", 250)


def test_an_unknown_outcome_stays_indefinite_and_keeps_its_operation() -> None:
    """The one error after which the same thing must not be submitted again under a new id."""
    there = across(OutcomeUnknown("site-44/00/3"))
    assert isinstance(there, OutcomeUnknown)
    assert (there.definite, there.operation) == (False, "site-44/00/3")


def test_a_kind_of_a_newer_release_is_an_error_as_definite_as_it_said() -> None:
    for definite in (True, False):
        there = error_of(Failure(1, "quarantined", "generation 2 is newer", definite))
        assert (type(there), str(there), there.definite) == (ReplicaError, "generation 2 is newer", definite)


def test_a_failure_that_quotes_hostile_input_can_be_sent() -> None:
    """Long texts, lone surrogates and thousands of places in an error do not break the answer, or its frame."""
    error = InvalidMessage((Place("$.\ud800", "🚑" * 10_000),) * 2_000)
    assert len(frame(encode(failure_of(1, error)))) < MAX_FRAME_BYTES // 2
    there = across(error)
    assert isinstance(there, InvalidMessage)
    assert len(there.places) == MAX_PLACES
    assert there.places[0] == Place("$.\\ud800", "🚑" * MAX_PLACE_TEXT)
    assert str(across(NotPermitted("\udcff" * MAX_TEXT))).startswith("\\udcff")
