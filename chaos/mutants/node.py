"""Lies outside the core: the order of saving, the write-back, the gate that makes once out of many, the digest.

Leaves out: whatever only real processes have.
"""

from __future__ import annotations

from chaos.mutants.mutant import Mutant, NamedTests, Seeds, promise

WORLD = Seeds(40, depth="node", steps=3_000)
GATE = NamedTests(("tests/cases/test_gate.py",))
BOOKKEEPING = NamedTests(("tests/cases/test_bookkeeping.py",))
SAVING = NamedTests(("tests/runtime/test_saving.py",))
STATE = NamedTests(("tests/runtime/test_state.py",))
TOGETHER = NamedTests(("tests/runtime/test_together.py",))
KEPT_VIEWS = NamedTests(("tests/cases/test_remembered.py",))
FRESHNESS = NamedTests(("tests/offline/test_view.py",))
CHANGES = NamedTests(
    ("tests/runtime/test_shipping.py::test_a_follower_a_little_behind_is_sent_only_the_records_that_changed",)
)

NODE = (
    Mutant(
        "released-during-the-save",
        "What must wait for a save that is under way leaves at once if it has nothing to save itself.",
        "replica/runtime/saving.py",
        "elif not self._unsaved:\n            return ready.send_saved",
        "elif not self._pending:\n            return ready.send_saved",
        (SAVING,),
    ),
    Mutant(
        "released-by-another-save",
        "The end of one save releases what waits for the next.",
        "replica/runtime/saving.py",
        "while self._held and (self._held[0][0] <= self.saved_number or first_unsaved is None):",
        "while self._held:",
        (SAVING,),
    ),
    Mutant(
        "newer-entries-do-not-replace",
        "Entries that wait to be saved are not replaced by a newer leader's.",
        "replica/runtime/saving.py",
        "while self._entries and self._entries[-1].index >= first:",
        "while self._entries and self._entries[-1].index > first:",
        (SAVING,),
    ),
    Mutant(
        "flushed-before-durable",
        "The applied state is written back though the node's own log has not been synced so far.",
        "replica/runtime/zone.py",
        "return self.raft.stable_index >= self.state.index and not quiet",
        "return not quiet",
        (promise("test_the_state_is_not_flushed_ahead_of_the_nodes_own_log"),),
    ),
    Mutant(
        "failed-write-back-on-top",
        "What a full disk refused is put back above what came since.",
        "replica/runtime/state.py",
        "        self._dirty.update(newer)\n",
        "        self._dirty.update(self._frozen.changes)\n",
        (STATE,),
    ),
    Mutant(
        "gap-passes-the-gate",
        "An operation whose predecessor is missing is taken.",
        "replica/cases/gate.py",
        "return Gate.OK if seq == stream.last + 1 else Gate.GAP",
        "return Gate.OK",
        (GATE,),
    ),
    Mutant(
        "duplicate-passes-the-gate",
        "An operation that was taken before is taken again.",
        "replica/cases/gate.py",
        "    if seq <= stream.last:\n        return Gate.DUPLICATE",
        "    if seq <= stream.last:\n        return Gate.OK",
        (GATE,),
    ),
    Mutant(
        "number-not-consumed",
        "The number of an operation that was taken stays free.",
        "replica/cases/gate.py",
        "after = Stream(ident.seq, stream.closed_at,",
        "after = Stream(stream.last, stream.closed_at,",
        (GATE,),
    ),
    Mutant(
        "closed-life-goes-on",
        "An incarnation that was closed goes on writing.",
        "replica/cases/gate.py",
        "if stream.closed_at is not None and seq > stream.closed_at and not mine:",
        "if stream.closed_at is not None and seq > stream.closed_at and mine:",
        (GATE,),
    ),
    Mutant(
        "callers-key-forgotten",
        "A caller that tries again under its own key is served twice.",
        "replica/cases/machine.py",
        "first = gate.first_with_key(draft, operation) if operation.key else None",
        "first = gate.first_with_key(draft, operation) if not operation.key else None",
        (GATE,),
    ),
    Mutant(
        "digest-not-updated",
        "The digest of the whole state does not move with its records.",
        "replica/cases/draft.py",
        "total = sum(deltas.values())",
        "total = 0",
        (BOOKKEEPING,),
    ),
    Mutant(
        "digest-keeps-the-old",
        "A changed record adds to the digest without its former self being taken out.",
        "replica/cases/draft.py",
        "                if old is not None:\n                    delta -= digest.term(key, old)\n",
        "",
        (BOOKKEEPING,),
    ),
    Mutant(
        "applied-index-flushed-before-state",
        "A write-back stores the applied index, and the records with the next one.",
        "replica/runtime/state.py",
        "self._frozen = Frozen(self._dirty, self._local, self.index, self.term)",
        "self._frozen = Frozen(Layer(), self._local, self.index, self.term)",
        (WORLD,),
    ),
    Mutant(
        "dedupe-table-lost-in-a-snapshot",
        "What numbers of each site were taken is left out of the state that a node too far behind is sent.",
        "replica/runtime/shipping.py",
        "        records.append((key, value))\n",
        '        if not key.startswith(b"s"):\n            records.append((key, value))\n',
        (CHANGES,),
    ),
    Mutant(
        "read-does-not-wait-for-its-index",
        "A linearizable read is answered from what is applied, however far the confirmed index is.",
        "replica/runtime/service.py",
        "while self._position()[0] < index:",
        "while self._position()[0] < 0:",
        (WORLD,),
    ),
    Mutant(
        "read-not-confirmed",
        "A linearizable read is answered without asking anybody.",
        "replica/runtime/service.py",
        "confirmed = await self._confirm.until(at_s)",
        "confirmed = 0",
        (WORLD,),
    ),
    Mutant(
        "read-by-an-earlier-question",
        "Who asks after the question has left shares its answer.",
        "replica/runtime/together.py",
        "self._gathering = None  # who comes now comes after the question has left",
        "pass",
        (TOGETHER,),
    ),
    Mutant(
        "view-outlives-a-change",
        "A case that is kept as it was read stays so when one of its records changes.",
        "replica/cases/remembered.py",
        'for hangs in (key, key[: key.find(b"\\0") + 1]):',
        "for hangs in (key,):",
        (KEPT_VIEWS,),
    ),
    Mutant(
        "freshness-outlives-an-event",
        "What was told of a read's freshness is told again after something has happened.",
        "replica/offline/core.py",
        "        self._telling.kept = None\n        match event:",
        "        match event:",
        (FRESHNESS,),
    ),
    Mutant(
        "session-forgotten",
        "A session's read does not care what the session has seen at another node.",
        "replica/runtime/service.py",
        "await self._reach(after_index, at_s, budget_ms)",
        "await self._reach(0, at_s, budget_ms)",
        (WORLD,),
    ),
    Mutant(
        "full-disk-acknowledged",
        "What a full disk has refused counts as saved.",
        "replica/runtime/zone.py",
        "        if problem is not None:\n            self._save_again.ring()\n            return\n",
        "",
        (WORLD,),
    ),
    Mutant(
        "receipt-before-the-journals-fsync",
        "A site calls an operation journalled while its disk still works.",
        "replica/runtime/desk.py",
        "self._journal.append(append, rewrite, lambda problem: self._journalled(number, problem))",
        "self._journal.append(append, rewrite, lambda problem: None)\n            self._journalled(number, None)",
        (WORLD,),
    ),
    Mutant(
        "applied-before-the-install",
        "Entries behind a snapshot are applied to the state it is to replace.",
        "replica/runtime/zone.py",
        "        if self._saving.install_waits:\n            self._after_install += ready.committed",
        "        if not self._saving:\n            self._after_install += ready.committed",
        (promise("test_entries_behind_an_install_are_applied_after_it"),),
    ),
    Mutant(
        "written-back-during-an-install",
        "The old state is written back while another is put in its place.",
        "replica/runtime/zone.py",
        "quiet = self.snapshots.fetcher.quiet or self._saving.install_waits",
        "quiet = False",
        (promise("test_the_state_is_not_flushed_ahead_of_the_nodes_own_log"),),
    ),
    Mutant(
        "one-incarnation-for-all-lives",
        "A site's operations are numbered from 1 again in every life, under the same name.",
        "replica/runtime/site.py",
        "incarnation=outside.random_bytes(16),",
        'incarnation=b"1" * 16,',
        (WORLD,),
    ),
    Mutant(
        "emptied-zone-votes-at-once",
        "A zone that lost its store begins as if it had never promised anything.",
        "replica/runtime/node.py",
        "rebuilding=not (found or join)",
        "rebuilding=False",
        (WORLD,),
    ),
    Mutant(
        "save-in-flight-forgotten",
        "A second save is begun while the first is under way, and speaks for both.",
        "replica/runtime/saving.py",
        "if self._in_flight or not self._pending or (",
        "if not self._pending or (",
        (WORLD,),
    ),
)
