"""Lies outside the core: the order of saving, the write-back, the gate that makes once out of many, the digest.

Leaves out: whatever only real processes have.
"""

from __future__ import annotations

from chaos.mutants.mutant import Mutant, NamedTests

GATE = NamedTests(("tests/cases/test_gate.py",))
BOOKKEEPING = NamedTests(("tests/cases/test_bookkeeping.py",))
SAVING = NamedTests(("tests/runtime/test_saving.py",))
STATE = NamedTests(("tests/runtime/test_state.py",))

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
        (NamedTests(("tests/chaos/test_chapters.py::test_the_state_is_not_flushed_ahead_of_the_nodes_own_log",)),),
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
        "digest.term(key, new) - digest.term(key, old)",
        "digest.term(key, new)",
        (BOOKKEEPING,),
    ),
)
