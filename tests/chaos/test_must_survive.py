"""Lines of the list of what must be survived that are one arranged story each, in the simulated world.

Faults are arranged by hand here, in otherwise calm weather, and each story is played with several seeds, since timeouts
are drawn from them. Lines that need no story of their own (C1, C3, C18, C19, D1, D9) are tested where the storms are.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaos.world.nemesis import cut_shape
from chaos.world.node import Node
from chaos.world.weather import Weather
from chaos.world.world import World
from replica.raft.types import Role

TIMEOUT_MS = 300
SEEDS = range(1, 9)


def settled(seed: int, weather: Weather | None = None) -> tuple[World, Node]:
    """A cluster in calm weather with a leader everybody follows, and something committed."""
    world = World(seed, weather=lambda _: weather or Weather(election_timeout_ms=TIMEOUT_MS))
    world.start()
    world.run_until_ms(4 * TIMEOUT_MS)
    leader = world.leader()
    assert leader is not None
    propose(world, leader, 5)
    assert all(node.raft is not None and node.raft.leader == leader.number for node in world.peers())
    return world, leader


def propose(world: World, node: Node, count: int) -> None:
    for _ in range(count):
        world.clients.propose(node)
    world.run_until_ms(world.now_ms + 50)


def others(world: World, node: Node) -> list[Node]:
    return [peer for peer in world.peers() if peer is not node]


def term_of(node: Node) -> int:
    assert node.raft is not None
    return node.raft.term


def run_for(world: World, timeouts: float) -> None:
    world.run_until_ms(world.now_ms + int(timeouts * TIMEOUT_MS))


@pytest.mark.parametrize("seed", SEEDS)
def test_c2_a_whole_cluster_killed_at_once_keeps_all_it_acknowledged(seed: int) -> None:
    """Killed in the middle of a load, with no save that was not synced kept, and restarted: all of it is there."""
    weather = Weather(nodes=5, election_timeout_ms=TIMEOUT_MS, flush=0.0)
    world, leader = settled(seed, weather)
    for _ in range(40):
        world.clients.propose(leader)
    world.run_until_ms(world.now_ms + seed)
    acknowledged = len(world.judge.acknowledged_is_durable.acknowledged)

    for node in world.peers():
        node.crash(kept=0)
    world.run_until_ms(world.now_ms + 10)
    for node in world.peers():
        world.boot(node)
    run_for(world, 6)

    assert acknowledged >= 5
    assert [node.applied for node in world.peers()] == [len(world.judge.agreed)] * 5
    world.judge.acknowledged_is_durable.survives(world.judge.agreed)


@pytest.mark.parametrize("seed", SEEDS)
def test_c4_a_node_that_rejoins_causes_no_election(seed: int) -> None:
    """Cut off for twenty election timeouts, it never raised its term: leader and term stay when it is back."""
    world, leader = settled(seed)
    term, apart = term_of(leader), others(world, leader)[0]

    cut_shape("one node apart", [apart.number, *(n.number for n in others(world, apart))], 1, world.network.cut)
    run_for(world, 20)
    propose(world, leader, 3)
    world.network.heal()
    run_for(world, 5)

    assert world.leader() is leader
    assert {term_of(node) for node in world.peers()} == {term}
    assert apart.applied == len(world.judge.agreed)


@pytest.mark.parametrize("seed", SEEDS)
def test_c5_a_leader_that_hears_nobody_is_replaced(seed: int) -> None:
    """It can send and not hear: check-quorum deposes it, and within three election timeouts there is a new one."""
    world, leader = settled(seed)

    cut_shape("deaf", [leader.number, *(n.number for n in others(world, leader))], 1, world.network.cut)
    run_for(world, 3)
    world.run_until_ms(world.now_ms + 50)
    successor = world.leader()

    assert leader.role is not Role.LEADER
    assert successor is not None
    assert successor is not leader
    propose(world, successor, 3)
    assert successor.commit_index == len(world.judge.agreed) >= 9


@pytest.mark.parametrize("seed", SEEDS)
def test_c5_a_follower_that_hears_nobody_disturbs_nobody(seed: int) -> None:
    """It is heard, asks for pre-votes again and again, and is refused: the leader and its term stay."""
    world, leader = settled(seed)
    term, deaf = term_of(leader), others(world, leader)[0]

    cut_shape("deaf", [deaf.number, *(n.number for n in others(world, deaf))], 1, world.network.cut)
    run_for(world, 20)

    assert (world.leader(), term_of(leader)) == (leader, term)
    assert deaf.role is Role.PRE_CANDIDATE
    world.network.heal()
    run_for(world, 5)
    assert {term_of(node) for node in world.peers()} == {term}


@pytest.mark.parametrize("shape", ["ring", "bridge", "one link"])
@pytest.mark.parametrize("seed", SEEDS)
def test_c6_a_partial_partition_changes_the_leader_at_most_once(seed: int, shape: str) -> None:
    """Five nodes in a ring, two halves that share one node, one link gone: no flapping, and commits go on."""
    world, leader = settled(seed, Weather(nodes=5, election_timeout_ms=TIMEOUT_MS))
    ring = [leader.number, *(node.number for node in others(world, leader))]
    world.rng.shuffle(ring)
    led = len(world.judge.election_safety.leader_of)

    cut_shape(shape, ring, 2, world.network.cut)
    run_for(world, 20)

    assert len(world.judge.election_safety.leader_of) - led <= 1
    current = world.leader()
    assert current is not None
    before = len(world.judge.agreed)
    propose(world, current, 3)
    run_for(world, 1)
    assert len(world.judge.agreed) == before + 3


@pytest.mark.parametrize("seed", SEEDS)
def test_c21_a_pause_shorter_than_the_timeout_causes_no_election(seed: int) -> None:
    """A collection of 0.2 s at the leader, an election timeout of 0.3 s: nobody calls an election."""
    world, leader = settled(seed)
    term = term_of(leader)

    leader.pause(world.now_ms + 200)
    run_for(world, 10)

    assert (world.leader(), term_of(leader)) == (leader, term)


@pytest.mark.parametrize("seed", SEEDS)
def test_c21_a_leader_notices_its_own_gap_before_it_answers(seed: int) -> None:
    """Paused for 5 s while the others went on: the first thing it does is to lead no more; it accepts no proposal."""
    world, leader = settled(seed)
    leader.pause(world.now_ms + 5_000)
    run_for(world, 5)
    successor = world.leader()
    proposed = world.counts["refused: not the leader"]
    world.clients.propose(leader)

    world.run_until_ms(5_000 + 4 * TIMEOUT_MS + 100)

    assert successor is not leader
    assert leader.role is Role.FOLLOWER
    assert leader.accepted == {}
    assert world.counts["refused: not the leader"] == proposed + 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dead_leader_is_replaced_without_waiting_for_silence(seed: int) -> None:
    """The kernel closes the sockets of a dead process: the others elect within a third of an election timeout."""
    world, leader = settled(seed)

    world.crash(leader, "killed", None)
    world.run_until_ms(world.now_ms + TIMEOUT_MS // 3)

    both_told = world.counts["told of a lost peer"] == 2  # now and then the world loses this news as well
    assert (world.leader() is not None) == both_told


@pytest.mark.parametrize("seed", SEEDS)
def test_d10_a_node_with_an_emptied_disk_votes_only_after_it_was_rebuilt(seed: int) -> None:
    """It comes back by itself within ten election timeouts, with the whole log, and then carries a quorum."""
    world, leader = settled(seed, replace(Weather(), election_timeout_ms=TIMEOUT_MS))
    emptied, third = others(world, leader)

    world.crash(emptied, "disk emptied", None)
    emptied.disk.empty()
    propose(world, leader, 3)
    world.boot(emptied)
    run_for(world, 10)

    assert not emptied.disk.hard_state.rebuilding
    assert emptied.applied == len(world.judge.agreed)

    world.crash(third, "killed", None)
    propose(world, leader, 3)
    assert emptied.applied == len(world.judge.agreed)


@pytest.mark.parametrize("seed", SEEDS)
def test_d10_an_emptied_disk_and_a_dead_node_leave_no_quorum(seed: int) -> None:
    """One of three dead, one emptied before it could be rebuilt: what is left does not elect, rather than forget."""
    world, leader = settled(seed)
    emptied, third = others(world, leader)

    for node in (leader, third):
        world.crash(node, "killed", None)
    world.crash(emptied, "disk emptied", None)
    emptied.disk.empty()
    world.boot(emptied)
    world.boot(third)
    run_for(world, 20)

    assert world.leader() is None
    world.boot(leader)
    run_for(world, 20)
    assert not emptied.disk.hard_state.rebuilding
    assert all(node.applied == len(world.judge.agreed) for node in world.peers())
