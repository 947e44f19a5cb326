"""One node, its store, and the test in the place of everybody else: what goes in, and exactly what comes out.

Leaves out: other nodes (cluster.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from replica.raft.core import Raft
from replica.raft.events import Event, Persisted, Propose, Received, Tick
from replica.raft.messages import AppendReply, Message, PreVoteReply, RequestVoteReply
from replica.raft.ready import Ready
from replica.raft.types import Entry, EntryKind, HardState, Index, Membership, NodeId, RaftConfig, Role, Term
from tests.raft.cluster import Dice, MemoryStore

MessageT = TypeVar("MessageT", bound=Message)


def entry(index: Index, term: Term, data: bytes = b"x") -> Entry:
    return Entry(index, term, EntryKind.DATA, data)


def entries(*terms: Term, first: Index = 1) -> tuple[Entry, ...]:
    """Entries of these terms, one after another."""
    return tuple(entry(first + place, term) for place, term in enumerate(terms))


class Solo:
    """Node 1 of `voters`, with `log` (the terms of its entries) and `hard` on disk."""

    def __init__(
        self,
        voters: int = 3,
        log: Sequence[Term] = (),
        hard: HardState | None = None,
        applied: Index = 0,
        learners: Sequence[NodeId] = (),
        **config: object,
    ) -> None:
        self.store = MemoryStore(hard or HardState(max(log, default=0)), list(entries(*log)))
        membership = Membership(frozenset(range(1, voters + 1)), learners=frozenset(learners))
        self.config = replace(RaftConfig(1, membership), **config)  # type: ignore[arg-type]  # any field
        self.now_ms = 0
        self.starts = 0
        self.restart(applied)

    def restart(self, applied: Index = 0) -> None:
        """A new life from what is on disk."""
        self.starts += 1
        dice = Dice(1, self.starts)
        self.raft = Raft(self.config, self.store.hard_state, self.store, applied, dice, self.now_ms)

    def step(self, *events: Event) -> Ready:
        """Step them in one turn, then take the Ready. It is not saved."""
        for event in events:
            self.raft.step(event)
        return self.raft.ready()

    def hear(self, *messages: Message) -> Ready:
        return self.step(*(Received(self.now_ms, message) for message in messages))

    def propose(self, *data: bytes) -> Ready:
        return self.step(*(Propose(self.now_ms, token, item) for token, item in enumerate(data, start=1)))

    def wait(self, duration_ms: int) -> Ready:
        """So long nothing happens but the node's own deadlines, at which it is woken."""
        self.now_ms += duration_ms
        while (deadline_ms := self.raft.deadline_ms) < self.now_ms:
            self.raft.step(Tick(deadline_ms))
            if self.raft.deadline_ms == deadline_ms:
                break
        return self.step(Tick(self.now_ms))

    def time_out(self) -> Ready:
        """Wait until the node wants to be woken."""
        return self.wait(self.raft.deadline_ms - self.now_ms)

    def save(self, ready: Ready) -> Ready:
        """Make a Ready durable and say so; the Ready that follows."""
        self.store.save(ready)
        return self.step(Persisted(self.now_ms, ready.number))

    def settle(self, ready: Ready) -> list[Message]:
        """Save it and all that follow; every message sent from now on, in order."""
        sent = [*ready.send_now, *ready.send_saved]
        after = self.save(ready)
        sent += [*after.send_now, *after.send_saved]
        while after.must_save or self.raft.has_ready():
            after = self.save(after)
            sent += [*after.send_now, *after.send_saved]
        return sent

    def become_candidate(self) -> Ready:
        """Time out, and have the pre-votes of all others; the Ready of the candidate, not saved."""
        asked = self.time_out()
        if self.raft.role is Role.CANDIDATE:
            return asked
        self.settle(asked)
        term = self.raft.term + 1
        return self.hear(*(PreVoteReply(peer, 1, term, True) for peer in self.others))

    def become_leader(self) -> Ready:
        """Be elected by all others; the first Ready as leader, not saved."""
        self.settle(self.become_candidate())
        assert self.raft.role in (Role.CANDIDATE, Role.LEADER), self.raft.role
        term = self.raft.term
        ready = self.hear(*(RequestVoteReply(peer, 1, term, True) for peer in self.others))
        assert self.raft.role is Role.LEADER, self.raft.role
        return ready

    def lead(self) -> None:
        """Be elected, and have the no-op of the term on every disk."""
        self.settle(self.become_leader())
        term, last = self.raft.term, self.raft.last_index
        self.settle(self.hear(*(AppendReply(peer, 1, term, True, last) for peer in self.others)))
        assert self.raft.commit_index == last, f"{self.raft.commit_index} of {last} committed"

    def is_a(self, role: Role) -> bool:
        """Its role, asked anew each time."""
        return self.raft.role is role

    @property
    def others(self) -> list[NodeId]:
        return sorted(self.config.membership.voters - {1})


def sent(ready: Ready, kind: type[MessageT]) -> list[MessageT]:
    """The messages of one kind, whenever they may leave."""
    return [message for message in (*ready.send_now, *ready.send_saved) if isinstance(message, kind)]


def only(ready: Ready, kind: type[MessageT]) -> MessageT:
    """The one message of this kind."""
    found = sent(ready, kind)
    assert len(found) == 1, f"{len(found)} messages of kind {kind.__name__}: {found}"
    return found[0]
