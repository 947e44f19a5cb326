"""Lies about cut off and back: the merge, authority, the gate of lives, and the journal (docs/offline.md, rules 1-16).

What the state machine decides is held against the promise in its shortest form, then against the naive model, which
plays random histories on both (tests/cases/naive_check.py). What a site does is held against the shortest test of its
rule.

Leaves out: the working view (rule 14).
"""

from __future__ import annotations

from chaos.mutants.mutant import Mutant, NamedTests

ACT = "replica/cases/act.py"
AUTHORITY = "replica/cases/authority.py"
CHARGES = "replica/cases/charges.py"
CLOCK = "replica/offline/clock.py"
CORE = "replica/offline/core.py"
GATE = "replica/cases/gate.py"
LEDGER = "replica/offline/ledger.py"
LIVES = "replica/offline/lives.py"
MERGE = "replica/cases/merge.py"
REPLAY = "replica/offline/replay.py"
SUBJECTS = "replica/cases/subjects.py"

NAIVE = NamedTests(("tests/cases/test_naive_model.py::test_the_product_and_the_naive_model_agree",))


def promise(*names: str) -> NamedTests:
    """Tests of tests/chaos/test_apart.py: each states one promise in its shortest form."""
    return NamedTests(tuple(f"tests/chaos/test_apart.py::{name}" for name in names))


def offline(file: str, *names: str) -> NamedTests:
    """Tests of tests/offline."""
    return NamedTests(tuple(f"tests/offline/{file}.py::{name}" for name in names))


def cases(file: str, *names: str) -> NamedTests:
    """Tests of tests/cases."""
    return NamedTests(tuple(f"tests/cases/{file}.py::{name}" for name in names))


MERGING = (
    Mutant(
        "less-severe-holds",
        "Of two priorities written apart the less severe holds.",
        MERGE,
        "return SEVERITY[held.value], held.index",
        "return -SEVERITY[held.value], held.index",
        (promise("test_the_more_severe_of_two_written_apart_holds"), NAIVE),
    ),
    Mutant(
        "equal-value-dropped",
        "Of two equal values written apart one is dropped, and whoever saw it alone erases the other unseen.",
        MERGE,
        "siblings = tuple(sorted((new, *unseen), key=order))",
        "siblings = tuple(sorted((new, *(held for held in unseen if held.value != new.value)), key=order))",
        (promise("test_equal_values_written_apart_are_both_kept"), NAIVE),
    ),
    Mutant(
        "authority-erases-unseen",
        "Who has authority takes the place of what it never saw.",
        MERGE,
        "    if not unseen:\n        return replaced(seen, new)\n    siblings = ",
        "    if not unseen or new.authority:\n        return replaced(seen, new)\n    siblings = ",
        (promise("test_authority_erases_nothing_that_it_never_saw"), NAIVE),
    ),
    Mutant(
        "latest-by-act-time",
        "The latest is the one whose act was last, by whatever clock said so.",
        MERGE,
        "return held.clock, held.operation",
        "return held.act_ms, held.operation",
        (promise("test_the_latest_is_so_by_the_hybrid_clock_and_not_by_the_act"), NAIVE),
    ),
    Mutant(
        "clock-not-clamped",
        "A site whose clock is hours ahead wins everything.",
        ACT,
        "return clock if clock.wall_ms <= limit else HybridTime(limit, clock.counter)",
        "return clock",
        (promise("test_a_clock_hours_ahead_wins_nothing_by_it"), NAIVE),
    ),
    Mutant(
        "same-site-is-seen",
        "A restored site counts as having seen what its lost life did.",
        GATE,
        "return index <= operation.seen or own_past(draft, operation.id, other)",
        "return index <= operation.seen or operation.id.site == other.site",
        (promise("test_a_restored_site_has_not_seen_its_lost_life"), NAIVE),
    ),
    Mutant(
        "seen-one-entry-too-far",
        "The entry right behind what the author had seen counts as seen.",
        GATE,
        "return index <= operation.seen or own_past(draft, operation.id, other)",
        "return index <= operation.seen + 1 or own_past(draft, operation.id, other)",
        (promise("test_the_entry_right_behind_what_was_seen_is_unseen"), NAIVE),
    ),
    Mutant(
        "own-journal-unseen",
        "A site that was cut off conflicts with its own earlier writes.",
        GATE,
        "return index <= operation.seen or own_past(draft, operation.id, other)",
        "return index <= operation.seen",
        (promise("test_a_cut_off_site_has_seen_its_own_journal"), NAIVE),
    ),
    Mutant(
        "note-of-one-id-dropped",
        "Of two notes with the same id the second is taken for the first.",
        SUBJECTS,
        "place = keys.element(target.prefix, field.name, key, value)",
        'place = keys.element(target.prefix, field.name, key, "" if key else value)',
        (promise("test_two_notes_of_one_id_are_two"), NAIVE),
    ),
    Mutant(
        "proposals-lost",
        "What a stranger proposes is told to be kept, and is not.",
        SUBJECTS,
        "if all(held.value != value for held in slot.proposed):",
        "if slot.proposed and all(held.value != value for held in slot.proposed):",
        (promise("test_what_a_stranger_decides_waits_for_whoever_is_in_charge"), NAIVE),
    ),
    Mutant(
        "lost-value-without-a-word",
        "A value that gave way is in no history.",
        SUBJECTS,
        "        remember(act, target, field, key, held, outcome.kind, field.rule.value, winner if is_new else None)\n",
        "        remember(act, target, field, key, held, outcome.kind, field.rule.value, None) if is_new else None\n",
        (promise("test_a_value_that_gave_way_is_in_the_history"),),
    ),
    Mutant(
        "verdict-not-kept",
        "Only refusals are kept until their site has them: what else became of an act is never told.",
        "replica/cases/machine.py",
        "if verdict.kind is not VerdictKind.APPLIED:",
        "if verdict.kind is VerdictKind.REFUSED:",
        (promise("test_every_verdict_but_applied_is_kept_for_its_site"),),
    ),
)

DECIDING = (
    Mutant(
        "epoch-ignored",
        "An operation under an epoch that is over counts as its owner's, as long as the entry that ended it was there.",
        AUTHORITY,
        "if held.samu == act.site and act.operation.epoch < held.epoch:",
        "if held.samu == act.site and act.operation.epoch < 0:",
        (promise("test_an_operation_under_an_old_epoch_is_a_strangers"), NAIVE),
    ),
    Mutant(
        "take-over-not-seen",
        "Who is in charge is so before it knows of it.",
        AUTHORITY,
        "return act.seen(held.raised.operation, held.raised.index)",
        "return act.site == held.holder",
        (promise("test_who_was_given_the_charge_has_it_once_it_has_seen_that"), NAIVE),
    ),
    Mutant(
        "drain-has-authority",
        "What a fenced process had left over decides as its site would.",
        AUTHORITY,
        "return not act.drain and is_in_charge(act, reach(act.draft, head))",
        "return is_in_charge(act, reach(act.draft, head))",
        (promise("test_a_drain_is_a_strangers"), NAIVE),
    ),
    Mutant(
        "own-new-case-taken",
        "A case that a site opens after the take-over it does not know of is its taker's.",
        AUTHORITY,
        "head.opened.index > taken.index:",
        "head.opened.index < taken.index:",
        (promise("test_a_case_opened_after_the_take_over_is_its_sites_own"), NAIVE),
    ),
    Mutant(
        "take-over-not-compared",
        "A take-over is taken whatever epoch its author saw: two of them both win.",
        CHARGES,
        "if command.epoch != charge.epoch:",
        "if command.epoch > charge.epoch:",
        (promise("test_of_two_take_overs_made_apart_one_is_refused"), NAIVE),
    ),
    Mutant(
        "hand-back-without-an-epoch",
        "A hand-back does not raise the epoch.",
        CHARGES,
        "epoch = charge.epoch + 1\n    after = Charge(samu, samu,",
        "epoch = charge.epoch\n    after = Charge(samu, samu,",
        (promise("test_a_hand_back_raises_the_epoch"), NAIVE),
    ),
    Mutant(
        "stranger-closes",
        "A case is closed by a stranger's word, and gone from its owner's list.",
        "replica/cases/owners.py",
        "if closing and not target.authority and not is_nobodys(act.draft, target.head):",
        "if closing and not target.authority and is_nobodys(act.draft, target.head):",
        (promise("test_what_a_stranger_decides_waits_for_whoever_is_in_charge"), NAIVE),
    ),
    Mutant(
        "stranger-engages",
        "Anybody engages anybody's vehicle.",
        "replica/cases/engagement.py",
        "return _is_own(act, target) or _is_accepted(act, target, case)",
        "return _is_own(act, target) or not _is_accepted(act, target, case)",
        (promise("test_a_strangers_engagement_waits_for_the_vehicles_owner"), NAIVE),
    ),
)

LIFE_AFTER_LIFE = (
    Mutant(
        "opening-not-compared",
        "A dead life's late opening closes the living one.",
        GATE,
        "if not opening.drain and not mine and opening.replaces != current(draft, ident.site):",
        "if not opening.drain and not mine and opening.replaces is None and draft.has(keys.site(ident.site)):",
        (cases("test_gate", "test_an_opening_that_replaces_another_than_the_current_is_stale"), NAIVE),
    ),
    Mutant(
        "opening-does-not-wait",
        "A new life opens before all of the one before has come, and closes it.",
        GATE,
        "waits = not mine and before.last < opening.prev_last and before.closed_at is None",
        "waits = False",
        (cases("test_gate", "test_an_opening_waits_for_what_its_store_says_came_before"), NAIVE),
    ),
    Mutant(
        "drain-made-current",
        "A drain becomes the present life of its site, and closes it.",
        GATE,
        "    record = load_site(draft, ident.site)\n    if not opening.drain:",
        "    record = load_site(draft, ident.site)\n    if not opening.drain or opening.prev is not None:",
        (cases("test_gate", "test_a_drain_is_never_current_and_always_a_strangers"), NAIVE),
    ),
    Mutant(
        "restored-backup-unnoticed",
        "A restored backup is taken for the store it once was.",
        GATE,
        "record.restored or restored",
        "record.restored",
        (cases("test_gate", "test_a_backup_restored_within_one_incarnation_shows_itself_by_the_number"), NAIVE),
    ),
    Mutant(
        "counter-not-in-the-opening",
        "An opening does not say how far the life before had counted.",
        LIVES,
        "payload = Opening(prev, prev_last, replaces=prev)",
        "payload = Opening(prev, 0, replaces=prev)",
        (offline("test_lives", "test_the_first_thing_written_is_the_opening"),),
    ),
    Mutant(
        "stale-opening-not-reworded",
        "A restored store waits for ever for its opening to be taken.",
        LIVES,
        "return replace(operation, payload=replace(payload, replaces=current))",
        "return replace(operation, payload=replace(payload, replaces=payload.prev))",
        (offline("test_lives", "test_an_emptied_store_is_told_apart_and_takes_its_place"),),
    ),
    Mutant(
        "closed-records-dropped",
        "What a fenced process had not sent yet is never decided.",
        LEDGER,
        "if stream is None or stream.closed_at is None or run.last <= stream.closed_at:",
        "if stream is None or stream.closed_at is None or run.last >= stream.closed_at:",
        (offline("test_lives", "test_closed_records_go_on_under_a_drain_unsynced_ones_too"),),
    ),
    Mutant(
        "fenced-process-goes-on",
        "A process whose life was closed takes further operations.",
        CORE,
        "        if self.fenced:\n            why =",
        "        if self.fenced and self.restored:\n            why =",
        (offline("test_lives", "test_a_process_that_was_replaced_takes_nothing_more"),),
    ),
)

KEEPING = (
    Mutant(
        "trimmed-at-the-feed",
        "What the feed has brought goes from the journal before the state is on disk.",
        LEDGER,
        "upto = min(self.flushed.last(run.incarnation), run.durable)",
        "upto = min(run.decided, run.durable)",
        (offline("test_view", "test_only_what_is_flushed_is_trimmed"),),
    ),
    Mutant(
        "flush-counts-what-came-since",
        "A flush lets go of what came while it was written.",
        "replica/offline/flushed.py",
        "while self._coming and self._coming[0][0] <= index:",
        "while self._coming and self._coming[0][0] <= index + 1:",
        (offline("test_view", "test_a_flush_counts_what_was_known_at_its_index_and_no_more"),),
    ),
    Mutant(
        "agreed-before-durable-here",
        "A caller is told agreed though this site's own disk does not have it.",
        CORE,
        "        if ident.seq <= run.durable:\n            self._callers.agreed(",
        "        if ident.seq <= run.last:\n            self._callers.agreed(",
        (promise("test_agreed_is_said_only_of_what_this_disk_has"),),
    ),
    Mutant(
        "kept-before-durable",
        "A caller whose budget is over is told that its operation is kept, though the disk has not answered.",
        CORE,
        "if self._journal.is_durable(operation) and not self.config.forgetful:",
        "if self._journal.get(operation) and not self.config.forgetful:",
        (offline("test_receipts", "test_a_disk_that_is_silent_leaves_the_outcome_unknown"),),
    ),
    Mutant(
        "sent-before-durable",
        "An operation leaves for the quorum before this disk has it.",
        REPLAY,
        "if operation.id.seq > run.durable:",
        "if operation.id.seq > run.last:",
        (offline("test_replay", "test_nothing_leaves_before_it_is_durable"),),
    ),
    Mutant(
        "reworded-before-durable",
        "An opening that is worded anew leaves before the new wording is on disk.",
        REPLAY,
        "            if run.held:\n                return",
        "            if run.held and run.first > 0:\n                return",
        (offline("test_lives", "test_a_reworded_opening_leaves_only_once_it_is_durable"),),
    ),
    Mutant(
        "replay-skips-one",
        "After a break the first undecided operation is not sent again.",
        REPLAY,
        "            run.sent = run.decided\n        self.in_flight",
        "            run.sent = run.decided + 1\n        self.in_flight",
        (offline("test_replay", "test_it_goes_on_from_where_the_gate_stands"),),
    ),
    Mutant(
        "lost-in-a-new-term",
        "What an old leader had not agreed is not sent to the new one.",
        REPLAY,
        "if known and self.is_up and self.in_flight:",
        "if not known and self.is_up and self.in_flight:",
        (offline("test_replay", "test_a_new_term_sends_again_at_once"),),
    ),
    Mutant(
        "wall-clock-believed",
        "A site goes by its wall clock though the zones have told it the time.",
        CLOCK,
        "time_ms = max(wall_ms, self.floor_ms) if zone_ms is None else zone_ms",
        "time_ms = max(wall_ms, self.floor_ms)",
        (offline("test_clock", "test_a_wrong_wall_clock_counts_for_nothing_once_a_zone_told_the_time"),),
    ),
    Mutant(
        "unsure-clock-wins-ties",
        "A clock that nobody told the time claims to know it.",
        CLOCK,
        "first = 0 if zone_ms is None else SURE",
        "first = SURE",
        (offline("test_clock", "test_before_any_zone_was_heard_the_clock_is_unsure_and_loses_ties"),),
    ),
    Mutant(
        "connected-with-a-backlog",
        "A site calls itself connected while what it kept is undecided.",
        "replica/offline/backlog.py",
        "        return not self._ends\n",
        "        return True\n",
        (offline("test_mode", "test_replaying_ends_when_what_was_kept_is_decided_and_the_line_was_stable"),),
    ),
    Mutant(
        "repeated-word-confirms",
        "A zone that is cut off itself and repeats the leader's last word keeps its sites connected.",
        CORE,
        "is_news, change = self._modes.heard(self._now_ms, term, commit, leader_ms)",
        "is_news, change = self._modes.heard(self._now_ms, term, commit, leader_ms + self._now_ms)",
        (offline("test_mode", "test_a_zone_that_is_cut_off_itself_confirms_nothing"),),
    ),
)

APART = (*MERGING, *DECIDING, *LIFE_AFTER_LIFE, *KEEPING)
