"""What is news, each kind of it alone (handout.py, state.Outbox): it asks for a Ready, and not for a second one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields

import pytest

from replica.raft import roles
from replica.raft.handout import Handout
from replica.raft.log import Log
from replica.raft.memberships import Memberships
from replica.raft.ready import Ready
from replica.raft.state import Follower, Outbox, State
from replica.raft.types import NOBODY, HardState, Membership, RaftConfig
from tests.raft.cluster import MemoryStore
from tests.raft.solo import entries, entry

THREE = Membership(frozenset({1, 2, 3}))
HARD = HardState(1)


def quiet() -> tuple[State, Handout]:
    """A node with one entry, of which everything has been handed out."""
    state = State(
        config=RaftConfig(1, THREE),
        random=random.Random(1),
        now_ms=0,
        hard=HARD,
        durable=HARD,
        log=Log(MemoryStore(HARD, list(entries(1)))),
        role=Follower(NOBODY, heard_ms=0, election_deadline_ms=300),
        memberships=Memberships(THREE, ()),
        commit_index=0,
        election_timeout_ms=300,
    )
    handout = Handout(saved=HARD, given_index=0)
    handout.take(state)
    assert not handout.has_news(state)
    return state, handout


def follow(state: State) -> None:
    """A leader is heard, and nobody takes a note of it."""
    roles.become_follower(state, state.term, 2, "leader-heard")
    state.outbox.notes.clear()


@pytest.mark.parametrize(
    ("happens", "has"),
    [
        (lambda state: state.promise(vote=2), lambda ready: ready.hard_state),
        (lambda state: state.log.append(entry(2, 1)), lambda ready: ready.entries),
        (lambda state: state.commit_to(1), lambda ready: ready.committed),
        (lambda state: state.memberships.add(2, Membership(frozenset({1}))), lambda ready: ready.membership),
        (follow, lambda ready: ready.standing),
        (lambda state: state.note("seen"), lambda ready: ready.notes),
    ],
    ids=["vote", "entry", "commit", "membership", "standing", "note"],
)
def test_whatever_is_new_asks_for_a_ready_and_is_in_it_once(
    happens: Callable[[State], object], has: Callable[[Ready], object]
) -> None:
    """None of it waits for another kind to come along."""
    state, handout = quiet()
    happens(state)
    assert handout.has_news(state)
    assert has(handout.take(state))
    assert not handout.has_news(state)
    assert not has(handout.take(state))


@pytest.mark.parametrize("name", [field.name for field in fields(Outbox)])
def test_an_outbox_with_anything_in_it_is_not_empty(name: str) -> None:
    """Whatever a chapter puts there: a kind that was forgotten would wait for the next one."""
    outbox = Outbox()
    assert not outbox
    setattr(outbox, name, ["something"])
    assert outbox
