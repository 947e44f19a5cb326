"""Lies about the log: dissertation 3.5 and 3.6, 5.3 and 5.4 of the paper, and the leader's parallel disk write (10.2).

Here the world is at its best: what is lost, overwritten or applied twice contradicts something it remembers.
"""

from __future__ import annotations

from chaos.mutants.mutant import Mutant, NamedTests, Scenarios, Seeds

STORM = Seeds(60)
FIGURE_8 = Seeds(60, "figure-8")

REPLICATING = (
    Mutant(
        "commit-of-an-older-term",
        "A leader commits an entry of an older term because a majority holds it (figure 8).",
        "replica/raft/replication.py",
        "if index <= state.commit_index or state.log.term(index) != state.term:",
        "if index <= state.commit_index:",
        (FIGURE_8,),
    ),
    Mutant(
        "own-disk-counted-early",
        "A leader counts itself for entries its own disk does not have.",
        "replica/raft/replication.py",
        "match[state.node] = state.log.stable_index",
        "match[state.node] = state.log.last_index",
        (STORM,),
    ),
    Mutant(
        "commit-beyond-the-last-new-entry",
        "A follower commits what it holds beyond the entries that were compared.",
        "replica/raft/replication.py",
        "state.commit_to(min(append.commit, match_index))",
        "state.commit_to(min(append.commit, state.log.last_index))",
        (FIGURE_8, STORM),
    ),
    Mutant(
        "heartbeat-commit-beyond-match",
        "A heartbeat tells a follower of commits that it may not hold.",
        "replica/raft/replication.py",
        "    commit = min(progress.match_index, state.commit_index)\n    progress.told",
        "    commit = state.commit_index\n    progress.told",
        (STORM,),
    ),
    Mutant(
        "previous-term-not-compared",
        "Entries are taken behind an entry of another term.",
        "replica/raft/replication.py",
        "if state.log.term(append.prev_index) != append.prev_term:",
        "if state.log.term(append.prev_index) is None:",
        (STORM, FIGURE_8),
    ),
    Mutant(
        "conflict-hint-off-by-one",
        "A leader asks a follower whose log is too short one entry too far.",
        "replica/raft/replication.py",
        "return min(reply.hint_index, reply.match_index) - 1",
        "return min(reply.hint_index, reply.match_index)",
        (STORM,),
    ),
    Mutant(
        "hinted-term-not-skipped",
        "A leader that lacks the hinted term looks for the meeting point within it, one by one.",
        "replica/raft/replication.py",
        "min(ours, reply.hint_index - 1)",
        "max(ours, reply.match_index - 1)",
        (Scenarios(("append_hints", "election_figure_7")), STORM),
    ),
    Mutant(
        "window-never-refilled",
        "What a follower has acknowledged keeps its place in the window.",
        "replica/raft/progress.py",
        "while self.inflight and self.inflight[0].last_index <= self.match_index:",
        "while self.inflight and self.inflight[0].last_index < self.match_index - 1_000_000:",
        (Scenarios(("append_window", "append_window_bytes")), STORM),
    ),
    Mutant(
        "old-append-cuts-the-log",
        "An Append that arrives late cuts off the newer entries behind its own.",
        "replica/raft/log.py",
        "            if known == entry.term:\n                continue",
        "            if known == entry.term and place + 1 < len(entries):\n                continue",
        (STORM,),
    ),
    Mutant(
        "persisted-by-index",
        "A late Persisted speaks for entries that were replaced since (the ABA problem).",
        "replica/raft/log.py",
        "self._batches = [(number, min(last, index - 1)) for number, last in self._batches]",
        "self._batches = [(number, min(last, self.last_index + 1)) for number, last in self._batches]",
        (NamedTests(("tests/raft/test_log.py",)),),
    ),
    Mutant(
        "lost-append-never-repeated",
        "What was sent and never answered is never taken for lost.",
        "replica/raft/progress.py",
        "return oldest_ms is not None and now_ms - oldest_ms >= patience_ms",
        "return oldest_ms is not None and now_ms - oldest_ms >= 1_000_000 * patience_ms",
        (STORM, Scenarios(("append_lost_is_recovered",))),
    ),
    Mutant(
        "old-refusal-believed",
        "A refusal that was overtaken sends the leader back below what matches.",
        "replica/raft/progress.py",
        "if rejected_prev <= self.match_index or self.phase is Phase.SNAPSHOT:",
        "if self.phase is Phase.SNAPSHOT:",
        (NamedTests(("tests/raft/test_progress.py",)), Scenarios(("append_old_and_double",))),
    ),
    Mutant(
        "commits-not-told",
        "Followers hear of a commit with the next entry only.",
        "replica/raft/replication.py",
        "return progress.told_commit < min(progress.match_index, state.commit_index)",
        "return False",
        (Scenarios(("commit_told_at_once",)),),
    ),
    Mutant(
        "too-much-uncommitted",
        "Proposals are taken however much is uncommitted.",
        "replica/raft/replication.py",
        "if leader.uncommitted and leader.uncommitted_bytes + size > state.config.max_uncommitted_bytes:",
        "if leader.uncommitted and leader.uncommitted_bytes < 0:",
        (Scenarios(("refused_overloaded",)),),
    ),
)
