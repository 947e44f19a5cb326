"""The layers of a node's state: whatever is written back meanwhile, a read sees what was applied last."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replica.runtime.ring import Ring
from replica.runtime.state import State
from replica.storage import Identity, MemoryStore

KEYS = st.sampled_from([b"a", b"aa", b"ab", b"b"])
CHANGE = st.tuples(KEYS, st.one_of(st.none(), st.binary(max_size=3)))
STEPS = st.lists(st.one_of(st.lists(CHANGE, max_size=4).map(tuple), st.none()))
"""Changes to apply, or None: begin or end a write-back."""


def memory() -> MemoryStore:
    return MemoryStore(Identity("test", "zone-1", "zone", "0" * 32))


@given(STEPS)
def test_reads_see_what_was_applied_through_every_freeze_and_thaw(
    steps: list[tuple[tuple[bytes, bytes | None], ...] | None],
) -> None:
    """Tentative → dirty → frozen → disk, deletions included, compared with a plain dictionary."""
    store = memory()
    state = State(store.state)
    model: dict[bytes, bytes] = {}
    frozen = None
    for changes in steps:
        if changes is not None:
            state.advance(changes, state.index + 1, 1)
            for key, value in changes:
                if value is None:
                    model.pop(key, None)
                else:
                    model[key] = value
        elif frozen is None and state.can_freeze:
            frozen = state.freeze()
        elif frozen is not None:
            store.commit_state([frozen.job()])
            assert state.thaw() == frozen.index
            frozen = None
        assert dict(state.scan(b"")) == model
        assert dict(state.scan(b"a")) == {key: value for key, value in model.items() if key.startswith(b"a")}
        assert {key: state.get(key) for key in (b"a", b"aa", b"ab", b"b")} == {
            key: model.get(key) for key in (b"a", b"aa", b"ab", b"b")
        }


def test_a_failed_write_back_is_taken_back_and_what_came_since_stays_above_it() -> None:
    """A full disk loses nothing."""
    state = State(memory().state)
    state.advance(((b"a", b"1"), (b"b", b"1")), 1, 1)
    state.freeze()
    state.advance(((b"a", b"2"),), 2, 1)
    state.refreeze()
    assert (state.get(b"a"), state.get(b"b")) == (b"2", b"1")
    assert dict(state.freeze().changes) == {b"a": b"2", b"b": b"1"}


def test_a_moment_stays_what_it_was_while_the_state_moves_on() -> None:
    """Who is sent what changed gets one moment of it; a write-back that begins later is seen by its index."""
    state = State(memory().state)
    state.advance(((b"a", b"1"),), 1, 1)
    moment = state.moment()
    state.advance(((b"a", b"2"), (b"b", b"2")), 2, 1)
    assert (moment.index, dict(moment.above)) == (1, {b"a": b"1"})
    assert state.last_frozen_index == moment.last_frozen_index
    state.freeze()
    assert state.last_frozen_index != moment.last_frozen_index


def test_the_ring_forgets_the_oldest_and_says_where_it_begins() -> None:
    """A follower that stands before the floor, or on another history, cannot go on from here."""
    ring = Ring(10, 3, most_bytes=30)
    for index in range(11, 16):
        ring.add(index, 4, [b"x" * 10])
    assert (ring.floor, ring.floor_term, ring.last) == (12, 4, 15)
    assert ring.holds(12, 4)
    assert not ring.holds(12, 3)
    assert ring.holds(15, 4)
    assert not ring.holds(11, 4)
    assert not ring.holds(13, 3)
    assert len(ring.after(13, 10)) == 2
    assert len(ring.after(12, 1)) == 1
