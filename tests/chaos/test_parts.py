"""The parts of the world by themselves: clock, disk, cuts, timeline."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.world.clock import Clock
from chaos.world.disk import Disk, Save, Snapshot
from chaos.world.nemesis import cut_shape
from chaos.world.timeline import Timeline, text_of
from chaos.world.weather import CUTS
from replica.raft.messages import Append, Heartbeat, RequestVoteReply
from replica.raft.ready import Ready
from replica.raft.types import Entry, EntryKind, HardState, Index, NodeId, Term


def entries(first: Index, *terms: Term) -> tuple[Entry, ...]:
    return tuple(Entry(first + place, term, EntryKind.DATA, b"1234") for place, term in enumerate(terms))


NOTHING = Ready(1, (), None, None, (), (), (), 0, (), (), (), (), (), None, None, ())


def save(disk: Disk, due_ms: int, *written: Entry, term: Term = 1) -> None:
    disk.write(Save(NOTHING, HardState(term=term), written, due_ms))


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(500, 1500), st.integers(0, 10**7))
def test_a_clock_is_woken_at_the_first_moment_it_shows_the_time(since: int, base: int, rate: int, local: int) -> None:
    """`when` is the inverse of `at`: the deadline is reached then, and not a millisecond before."""
    clock = Clock(since, base, rate)

    at_ms = clock.when(local)

    assert clock.at(at_ms) >= local
    assert clock.at(at_ms - 1) < local


def test_a_clock_jumps_forward_only() -> None:
    """A jump moves the clock and leaves its rate."""
    clock = Clock(0, 100, 1000)
    clock.jump(50)

    assert clock.at(10) == 160
    with pytest.raises(AssertionError, match="only goes forward"):
        clock.jump(-1)


def test_a_save_is_durable_only_when_its_sync_is_done() -> None:
    """Written is what the node believes; durable is what its log reader shows."""
    disk = Disk()
    save(disk, 5, *entries(1, 1, 1))

    assert (disk.last_index(), disk.written.last) == (0, 2)
    disk.sync(4)
    assert disk.last_index() == 0
    disk.sync(5)
    assert (disk.last_index(), disk.hard_state.term) == (2, 1)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_crash_keeps_a_prefix_of_the_queue(kept: int) -> None:
    """Of two queued saves none, the first, or both reached the disk; what is left is what the node starts with."""
    disk = Disk()
    save(disk, 5, *entries(1, 1), term=1)
    save(disk, 6, *entries(2, 2), term=2)

    disk.crash(kept)

    assert (disk.last_index(), disk.hard_state.term, disk.written) == (kept, kept, disk.durable)


def test_a_save_replaces_the_log_from_its_first_entry_on() -> None:
    """And says which durable entries made way."""
    disk = Disk()
    save(disk, 1, *entries(1, 1, 1, 1))
    disk.sync(1)
    save(disk, 2, *entries(2, 2))

    _, overwritten = disk.sync(2)

    assert [known.term for known in disk.durable.entries] == [1, 2]
    assert [(o.old, o.new) for o in overwritten] == [(entries(2, 1, 1), entries(2, 2))]


def test_an_emptied_disk_knows_that_it_lost_its_store() -> None:
    """HardState says rebuilding; what was there is remembered by the judge's side only."""
    disk = Disk()
    save(disk, 1, *entries(1, 1))
    disk.sync(1)

    disk.empty()

    assert disk.hard_state == HardState(rebuilding=True)
    assert (disk.last_index(), disk.holds(1, 1), disk.held_before_emptied(1, 1)) == (0, False, True)


def test_an_install_takes_the_place_of_log_and_state_in_one_step() -> None:
    """Until the save is durable all is as before; then the log begins after the snapshot, and the state is its."""
    disk = Disk()
    save(disk, 1, *entries(1, 1, 1))
    disk.sync(1)
    snapshot = Snapshot(7, 2, (3, b"membership"), digest=99)
    disk.write(Save(NOTHING, HardState(term=2), entries(8, 2), 2, snapshot))

    assert (disk.first_index(), disk.last_index(), disk.flushed) == (1, 2, 0)
    disk.sync(2)
    assert (disk.first_index(), disk.last_index(), disk.term(7), disk.term(8)) == (8, 8, 2, 2)
    assert (disk.flushed, disk.digest, disk.memberships()) == (7, 99, ((3, b"membership"),))


@pytest.mark.parametrize("kept", [0, 1])
def test_a_crash_amid_an_install_leaves_all_of_it_or_nothing(kept: int) -> None:
    """The transaction reached the disk or did not."""
    disk = Disk()
    save(disk, 1, *entries(1, 1, 1))
    disk.sync(1)
    disk.write(Save(NOTHING, None, (), 2, Snapshot(7, 2, (0, b"m"), digest=99)))

    disk.crash(kept)

    assert (disk.first_index(), disk.flushed, disk.digest) == ((8, 7, 99) if kept else (1, 0, 0))
    assert disk.written == disk.durable


def test_a_compacted_log_keeps_the_last_term_and_the_last_membership() -> None:
    """What is dropped is gone, but for what the core may still ask: the term before the first entry, and who votes."""
    disk = Disk()
    membership = Entry(2, 1, EntryKind.MEMBERSHIP, b"who votes")
    save(disk, 1, *entries(1, 1), membership, *entries(3, 1, 2))
    disk.sync(1)

    disk.compact(3)

    assert (disk.first_index(), disk.term(3), disk.last_index()) == (4, 1, 4)
    assert disk.memberships() == ((2, b"who votes"),)
    assert [disk.holds(2, 1), disk.holds(4, 2), disk.holds(5, 2)] == [True, True, False]


@pytest.mark.parametrize(("max_bytes", "found"), [(0, 1), (4, 1), (8, 2), (100, 3)])
def test_entries_are_cut_at_max_bytes_but_never_to_nothing(max_bytes: int, found: int) -> None:
    """Three entries of four bytes each, as `LogReader.entries` asks."""
    disk = Disk()
    save(disk, 1, *entries(1, 1, 1, 1))
    disk.sync(1)

    assert len(disk.entries(1, 3, max_bytes)) == found


CUT_LINKS = {
    "one node apart": 8,
    "two halves": 12,
    "one way": 1,
    "deaf": 4,
    "mute": 4,
    "one link": 2,
    "by a thread": 6,
    "ring": 10,
    "bridge": 8,
}


@pytest.mark.parametrize("shape", CUTS)
def test_a_cut_has_its_shape(shape: str) -> None:
    """How many directed links each shape cuts among five nodes; a shape nobody counted fails."""
    cut: set[tuple[NodeId, NodeId]] = set()

    cut_shape(shape, [1, 2, 3, 4, 5], 2, lambda frm, to: cut.add((frm, to)))

    assert len(cut) == CUT_LINKS[shape]


def test_a_ring_leaves_each_node_its_two_neighbours() -> None:
    """Of seven nodes each still reaches the next and the one before."""
    cut: set[tuple[NodeId, NodeId]] = set()
    ring = [3, 1, 7, 5, 2, 6, 4]
    cut_shape("ring", ring, 1, lambda frm, to: cut.add((frm, to)))

    neighbours = {frozenset((ring[place], ring[place - 1])) for place in range(len(ring))}

    for pair in combinations(ring, 2):
        assert (pair in cut) == (frozenset(pair) not in neighbours)


def test_a_timeline_reads_like_a_log() -> None:
    """Virtual time, node, what happened; messages in the words of figure 2."""
    append = Append(1, 2, 3, 7, 2, entries(8, 3, 3), 7)

    assert text_of((1520, 2, "receives", append)) == (
        "    1520 ms  n2  receives Append 1→2 term 3 prev 7/2 +2 commit 7"
    )
    assert text_of((9, 0, "heal", None)) == "       9 ms  --  heal"
    assert text_of((9, 1, "receives", RequestVoteReply(2, 1, 4, False))).endswith("RequestVoteReply 2→1 term 4 refused")


def test_a_timeline_keeps_its_last_lines_and_hashes_all() -> None:
    """Only the end is shown after a failure; the digest is of everything."""
    some, other = Timeline(hashed=True), Timeline(hashed=True)
    for number in range(100):
        some.add((number, 1, "receives", Heartbeat(1, 2, 3, number)))
        other.add((number, 1, "receives", Heartbeat(1, 2, 3, max(number, 1))))

    assert len(some.recent()) == 60
    assert some.recent() == other.recent()
    assert some.digest() != other.digest()
