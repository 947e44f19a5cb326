"""Lies about votes, terms and promises: dissertation 3.4, 3.8, 4.2.3, 6.2, 9.6, and the way back of a lost store (D10).

Most are caught by the world alone: two leaders of one term, or a promise that left before the disk had it. Those that
cost progress, not safety, are caught by the scenario that shows the rule.
"""

from __future__ import annotations

from chaos.mutants.mutant import Mutant, NamedTests, Scenarios, Seeds, promise

STORM = Seeds(60)
LOST_STORES = Seeds(60, "lost-stores")
REBUILD = NamedTests(("tests/raft/test_rebuild.py",))

ELECTIONS = (
    Mutant(
        "vote-granted-twice",
        "Whoever asks for a vote gets a yes, whatever was decided.",
        "replica/raft/election.py",
        "state.send(RequestVoteReply(state.node, ask.frm, state.term, judgement.granted))",
        "state.send(RequestVoteReply(state.node, ask.frm, state.term, True))",
        (STORM,),
    ),
    Mutant(
        "vote-given-away-again",
        "A vote given in this term does not keep from giving another.",
        "replica/raft/election.py",
        "if state.hard.vote not in (NOBODY, ask.frm) or state.leader not in (NOBODY, ask.frm):",
        "if state.leader not in (NOBODY, ask.frm):",
        (STORM,),
    ),
    Mutant(
        "vote-before-fsync",
        "A vote leaves while the disk still works.",
        "replica/raft/state.py",
        "promises = isinstance(message, RequestVote | RequestVoteReply | AppendReply)",
        "promises = isinstance(message, RequestVote | AppendReply)",
        (STORM, Scenarios(("disk_vote_before_and_after_fsync",))),
    ),
    Mutant(
        "acknowledged-before-fsync",
        "A follower acknowledges entries that are not on its disk.",
        "replica/raft/state.py",
        "promises = isinstance(message, RequestVote | RequestVoteReply | AppendReply)",
        "promises = isinstance(message, RequestVote | RequestVoteReply)",
        (STORM,),
    ),
    Mutant(
        "term-never-persisted",
        "A Ready never says that term and vote must be saved.",
        "replica/raft/handout.py",
        "        self.saving.append((self.number, self.saved))\n        return self.saved",
        "        self.saving.append((self.number, self.saved))\n        return None",
        (STORM,),
    ),
    Mutant(
        "vote-not-persisted",
        "Of term and vote only the term is saved.",
        "replica/raft/handout.py",
        "        self.saving.append((self.number, self.saved))\n        return self.saved",
        "        self.saving.append((self.number, self.saved))\n        return HardState(self.saved.term)",
        (STORM,),
    ),
    Mutant(
        "own-vote-before-fsync",
        "A candidate counts its own vote before its disk has it.",
        "replica/raft/election.py",
        "if state.durable == state.hard:\n        role.granted.add(state.node)",
        "if state.hard.vote == state.node:\n        role.granted.add(state.node)",
        (STORM, promise("test_the_own_vote_counts_when_its_own_save_is_done_and_not_an_earlier_one")),
    ),
    Mutant(
        "shorter-log-elected",
        "Of two logs the longer one is the more up to date, whatever their last terms.",
        "replica/raft/election.py",
        "return (ask.last_term, ask.last_index) >= (state.log.last_term, state.log.last_index)",
        "return ask.last_index >= state.log.last_index",
        (Seeds(60, "figure-8"), STORM),
    ),
    Mutant(
        "quorum-off-by-one",
        "Half of an even number of voters is a majority.",
        "replica/raft/quorum.py",
        "return count // 2 + 1",
        "return (count + 1) // 2",
        (Seeds(100),),
    ),
    Mutant(
        "pre-vote-raises-the-term",
        "Whoever is asked for a pre-vote adopts the term it is asked for.",
        "replica/raft/receiving.py",
        "case PreVote() | PreVoteReply(granted=True):",
        "case PreVoteReply(granted=True):",
        (Scenarios(("pre_vote_cut_off", "pre_vote_catches_up")),),
    ),
    Mutant(
        "stickiness-off",
        "A vote is considered although a leader was heard a moment ago.",
        "replica/raft/receiving.py",
        "if message.term > state.term and election.hears_leader(state, message):",
        "if message.term > state.term and not election.hears_leader(state, message) and False:",
        (Scenarios(("stickiness_request_vote",)),),
    ),
    Mutant(
        "check-quorum-off",
        "A leader nobody answers goes on for a thousand election timeouts.",
        "replica/raft/election.py",
        "return agreed(state.membership, heard, missing=NEVER_MS) + state.election_timeout_ms",
        "return state.now_ms + 1000 * state.election_timeout_ms",
        (Scenarios(("check_quorum_steps_down", "check_quorum_one_way")),),
    ),
    Mutant(
        "rebuilding-node-votes",
        "A node that lost its store votes as if it knew what it had promised.",
        "replica/raft/election.py",
        '        return Judgement(False, "rebuilding")\n    if state.hard.vote',
        "        pass\n    if state.hard.vote",
        (LOST_STORES,),
    ),
    Mutant(
        "rebuilding-node-counts",
        "What a node acknowledged before it lost its store still counts for a commit.",
        "replica/raft/replication.py",
        "match = {peer: p.match_index for peer, p in leader.progress.items() if peer not in leader.readmissions}",
        "match = {peer: p.match_index for peer, p in leader.progress.items()}",
        (LOST_STORES,),
    ),
    Mutant(
        "readmitted-by-a-quorum",
        "A node that lost its store counts again when any other voter has the entry, not every one.",
        "replica/raft/rebuild.py",
        "return all(_has_acknowledged",
        "return any(_has_acknowledged",
        (REBUILD,),
    ),
    Mutant(
        "life-not-compared",
        "A node that lost its store twice obeys a readmission that was meant for its earlier life.",
        "replica/raft/rebuild.py",
        "if readmit.life != state.life or readmit.frm != state.leader:",
        "if readmit.frm != state.leader:",
        (REBUILD,),
    ),
    Mutant(
        "old-life-believed",
        "An answer from before the loss of a store is taken for one after its readmission.",
        "replica/raft/rebuild.py",
        "if isinstance(reply, HeartbeatReply) and reply.context > known.round:",
        "if isinstance(reply, HeartbeatReply):",
        (REBUILD,),
    ),
)
