"""What must hold at the depth of sites, by name. I1 to I9 are those of docs/offline.md's rules, told of whole nodes."""

from __future__ import annotations

INVARIANTS = {
    "EveryOperationHasOneVerdict": "what a disk or the log has taken has one verdict, what was turned away none (I1)",
    "NothingAppliedTwice": "no act is decided by two entries, under whatever ids, and no text is there twice (I1)",
    "NotesNeverLost": "an agreed note is in the state of every node from its entry on, for ever (I2)",
    "ReadYourWrites": "after a receipt each read there shows the effect or what replaced it, once (I3)",
    "NothingLostSilently": "no value goes that nobody who knew of it has replaced (I4)",
    "NoNumberReused": "a number stands for one act, on every disk and in the log (I5)",
    "TrimmingLosesNothing": "a record goes from a disk only when the flushed state there has its verdict (I6)",
    "LaterOfOneSiteHolds": "a value that its own author has replaced does not come back beside the later one (I7)",
    "AuthorityIsOne": "one holder per subject and epoch; who decides plainly is that one, and knew it (I8)",
    "JournalEmptiesAfterHeal": "in bounded time after the healing every journal is empty (I9)",
    "DigestsEqual": "at one index all nodes have one state; at rest every view is that state (I9)",
    "DurableFirst": "what a site has sent was durable there before (rule 9)",
    "ReadsNeverOlder": "no read, of a node or of a session wherever it goes, is older than the one before",
    "MoreSevereHolds": "of the priorities and care levels that stand, the most severe holds",
    "ClocksAreBounded": "no value is dated later than 500 ms after the zones' time; what its author's clock said stays",
    "FreshnessIsTrue": "what a read says of its age, mode, authority and of what is undecided is so",
}
"""Name → what it says. Beside them: what chaos/nodes/checks.py has of the log and the disks."""
