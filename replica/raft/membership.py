"""Membership changes: dissertation chapter 4, by joint consensus (4.3), with learners first (4.2.1).

A driver names the membership it wants; the way there is this module's, and every step of it is an entry, so that any
later leader goes on where one fell:

    wanted: 4 for 3             entry                                   majorities needed
    1. a learner                voters 1 2 3, incoming 4, leaving 3     2 of 1 2 3 (none where nobody is new)
    2. the joint state          voters 1 2 4, outgoing 1 2 3            2 of 1 2 4 and 2 of 1 2 3
    3. the new membership       voters 1 2 4                            2 of 1 2 4

Step 2 is taken when every incoming learner has caught up: its latest round of replication took less than an election
timeout (4.2.1), so the cluster will not wait for it; and its state was compared with the leader's at one index and is
the same. Step 3 is taken when step 2 is committed. One step at a time: the next entry is appended only when the one
before is committed, and the first only when one of the leader's own term is, so that the leader knows what is
committed.

**Refused** is what would lose the quorum with the voters that answer *now*: going from 3 to 2 while one of the two is
silent stops the cluster as surely as losing two. Nobody new is counted on before it has caught up; then it answers.
The question is asked again before step 2.

**A leader that is removed** goes on leading until step 3 is committed, without counting itself (4.2.2: "it replicates
log entries but does not count itself in majorities"), then asks the best placed voter to campaign, and follows.

**A node that was removed** is still told, for a while, that the entry which removes it is committed. One that does not
hear it disturbs nobody: pre-vote and stickiness keep those who hear a leader from answering it (4.2.3).

Leaves out: addresses (the driver's `directory`), and the day when no quorum is left for good (an operator's tool).
"""

from __future__ import annotations

from dataclasses import replace

from replica.raft.events import LearnerCompared
from replica.raft.progress import CatchUp, Progress
from replica.raft.quorum import majority
from replica.raft.ready import Refusal
from replica.raft.state import Leader, State
from replica.raft.types import Index, Membership, NodeId

MOST_VOTERS = 7
FAREWELL_TIMEOUTS = 4
"""For so many election timeouts a removed node is told that it was."""


# ---- what is asked for


def plan(state: State, leader: Leader, target: Membership) -> Membership | tuple[Refusal, str]:
    """The first step towards `target`, or why it is refused; then nothing has happened."""
    now = state.membership
    if leader.transfer is not None:
        return Refusal.TRANSFERRING, f"to node {leader.transfer.to}"
    wrong = _wrong(target) or ("" if _differs(now, target) else "this is the membership already")
    if wrong:
        return Refusal.INVALID, wrong
    awaited = max(state.memberships.latest_index, leader.first_index)
    if is_open(state) or state.commit_index < awaited:
        return Refusal.CHANGE_PENDING, f"the step at {awaited} is not done, {state.commit_index} is committed"
    incoming = target.voters - now.voters
    lost = quorum_lost(state, leader, target.voters, incoming)
    if lost:
        return Refusal.QUORUM_LOST, lost
    about = {"directory": target.directory, "priority": target.priority}
    if incoming:
        learners = (target.learners | incoming) - (now.voters & incoming)
        leaving = now.voters - target.voters
        return Membership(now.voters, learners=learners, incoming=incoming, leaving=leaving, **about)  # type: ignore[arg-type]
    if target.voters == now.voters:
        return Membership(now.voters, learners=target.learners, **about)  # type: ignore[arg-type]
    return Membership(target.voters, outgoing=now.voters, learners=target.learners, **about)  # type: ignore[arg-type]


def _wrong(target: Membership) -> str:
    """What makes `target` no membership to end up in; empty where it is one."""
    if not target.voters:
        return "there must be a voter"
    if len(target.voters) > MOST_VOTERS:
        return f"{len(target.voters)} voters, {MOST_VOTERS} at most"
    if target.voters & target.learners:
        return f"nodes {_names(target.voters & target.learners)} are both voters and learners"
    if target.outgoing or target.incoming or target.leaving:
        return "a target names voters and learners only"
    return "" if min(target.voters | target.learners) >= 1 else "nodes are numbered from 1"


def _differs(now: Membership, target: Membership) -> bool:
    wanted = (now.voters | now.incoming) - now.leaving, now.learners - now.incoming
    same = wanted == (target.voters, target.learners)
    return not same or (now.directory, now.priority) != (target.directory, target.priority)


def is_open(state: State) -> bool:
    """Whether a step of a change is not committed, or the joint state not left. A learner that catches up is not a
    step: while it does, another change may take the place of this one."""
    return bool(state.membership.outgoing) or state.memberships.latest_index > state.commit_index


def quorum_lost(state: State, leader: Leader, target: frozenset[NodeId], trusted: frozenset[NodeId]) -> str:
    """Why `target` could not commit anything with who answers now and `trusted`; empty where it could."""
    silent = sorted(node for node in target - trusted if not _answers(state, leader, node))
    needed = majority(len(target))
    if len(target) - len(silent) >= needed:
        return ""
    return f"of the voters {_names(target)} these do not answer: {_names(silent)}; {needed} must"


def _answers(state: State, leader: Leader, node: NodeId) -> bool:
    if node == state.node:
        return True
    # Asked of voters, or of learners about to be: a leader has a progress of each (`adopt`).
    assert node in leader.progress, f"node {node} counts and has no progress, only {_names(list(leader.progress))}"
    heard = state.now_ms - leader.progress[node].heard_ms < state.election_timeout_ms
    return heard and node not in leader.readmissions


def _names(nodes: frozenset[NodeId] | list[NodeId]) -> str:
    return ", ".join(map(str, sorted(nodes)))


# ---- the next step


def next_step(state: State, leader: Leader) -> Membership | None:
    """The membership to append now that things have moved, None where it is not time for a step."""
    now = state.membership
    if not (now.outgoing or now.incoming) or state.memberships.latest_index > state.commit_index:
        return None
    if state.commit_index < leader.first_index:
        return None
    if now.outgoing:
        return replace(now, outgoing=frozenset())
    if not all(has_caught_up(leader, node) for node in now.incoming):
        return None
    voters = (now.voters - now.leaving) | now.incoming
    lost = quorum_lost(state, leader, voters, frozenset())
    if lost:
        state.note("promotion-waits", why=lost)
        return None
    learners = now.learners - now.incoming
    nobody: frozenset[NodeId] = frozenset()
    return replace(now, voters=voters, outgoing=now.voters, learners=learners, incoming=nobody, leaving=nobody)


def has_caught_up(leader: Leader, node: NodeId) -> bool:
    """Whether a learner may vote: its promises whole, quick enough, and the same."""
    progress = leader.progress[node]
    # Its rounds have just been measured, and the first measurement begins one.
    assert progress.catch_up is not None, f"node {node} is to vote and no round of its was begun: {progress}"
    quick = progress.catch_up.quick
    return quick and progress.same and node not in leader.readmissions


def compared(state: State, leader: Leader, event: LearnerCompared) -> None:
    """A learner's state was compared with ours."""
    progress = leader.progress[event.peer]
    if progress.same != event.same or not event.same:
        state.note("learner-compared", peer=event.peer, index=event.index, same=int(event.same))
    progress.same = event.same


def measure_rounds(state: State, leader: Leader) -> None:
    """See how far the incoming learners are: begin, end and judge their rounds (4.2.1)."""
    last_index = state.log.last_index
    for node in sorted(state.membership.incoming):
        progress = leader.progress[node]
        catch_up = progress.catch_up
        if catch_up is None:
            progress.catch_up = CatchUp(last_index, state.now_ms)
        elif progress.match_index >= catch_up.goal_index:
            quick = state.now_ms - catch_up.begun_ms < state.election_timeout_ms
            if quick != catch_up.quick:
                state.note("learner-round", peer=node, goal=catch_up.goal_index, ms=state.now_ms - catch_up.begun_ms)
            progress.catch_up = CatchUp(last_index, state.now_ms, quick)
        elif state.now_ms - catch_up.begun_ms >= state.election_timeout_ms:
            catch_up.quick = False


# ---- what an appended step changes at the leader


def adopt(state: State, leader: Leader) -> None:
    """Give every new node its progress; say farewell to those that are gone."""
    for node in state.peers:
        if node not in leader.progress:
            leader.progress[node] = Progress(state.log.last_index + 1, heard_ms=state.now_ms)
        leader.farewells.pop(node, None)
    for node in leader.progress:
        if node not in state.peers and node not in leader.farewells:
            leader.farewells[node] = state.now_ms + FAREWELL_TIMEOUTS * state.election_timeout_ms
    leader.progress = dict(sorted(leader.progress.items()))


def end_farewells(state: State, leader: Leader) -> None:
    """Forget who was removed and knows it, or has been told for long enough."""
    index: Index = state.memberships.latest_index
    for node, until_ms in list(leader.farewells.items()):
        progress = leader.progress[node]
        if (progress.told_commit >= index and progress.match_index >= index) or state.now_ms >= until_ms:
            del leader.progress[node], leader.farewells[node]
            leader.readmissions.pop(node, None)


def is_removed(state: State) -> bool:
    """Whether this leader's own removal is committed."""
    done = not state.membership.outgoing and state.memberships.latest_index <= state.commit_index
    return done and state.node not in state.membership.voters
