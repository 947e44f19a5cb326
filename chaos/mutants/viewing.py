"""Lies about the working view (rule 14), about own cases shown ahead of the rest, about how a charge comes home (level
3), and about drills.

Each is held against the shortest test of what it breaks; those of the view then against the random walks, which compare
the view after every step with one that is made anew.
"""

from __future__ import annotations

from chaos.mutants.mutant import Mutant, NamedTests

DRILL = "replica/runtime/drill.py"
PREVIEW = "replica/offline/preview.py"
RETURNING = "replica/cases/returning.py"
VIEW = "replica/offline/view.py"

WALKS = NamedTests(("tests/offline/test_invariants.py::test_every_invariant_holds_on_random_walks",))


def view(*names: str) -> NamedTests:
    """Tests of tests/offline/test_view.py."""
    return NamedTests(tuple(f"tests/offline/test_view.py::{name}" for name in names))


def preview(*names: str) -> NamedTests:
    """Tests of tests/offline/test_preview.py."""
    return NamedTests(tuple(f"tests/offline/test_preview.py::{name}" for name in names))


def returning(*names: str) -> NamedTests:
    """Tests of tests/cases/test_returning.py."""
    return NamedTests(tuple(f"tests/cases/test_returning.py::{name}" for name in names))


VIEWING = (
    Mutant(
        "view-shows-the-decided-twice",
        "An operation that was decided stays in the view, on top of the state that has it.",
        VIEW,
        "if taken.operation.id in self._numbers:",
        "if True:",
        (view("test_no_read_misses_an_operation_or_doubles_it_while_the_feed_brings_it"), WALKS),
    ),
    Mutant(
        "view-takes-out-too-little",
        "What shares a record with a decided operation is not made anew with it.",
        VIEW,
        "if self._writers[key]:\n                    more",
        "if False:\n                    more",
        (view("test_what_comes_to_nothing_takes_with_it_what_was_built_on_it"), WALKS),
    ),
    Mutant(
        "view-does-not-hear-of-others",
        "What the feed changed below an undecided operation is not looked at again.",
        VIEW,
        "self._stale.update(number for number in self._by_key.get(key, ()) if number in self._taken)",
        "pass",
        (WALKS,),
    ),
    Mutant(
        "view-waits-for-the-drained",
        "In the view a life's opening waits for records that are in a drain.",
        "replica/cases/gate.py",
        "waits = not mine and before.last",
        "waits = before.last",
        (NamedTests(("tests/offline/test_invariants.py::test_a_view_waits_for_nothing_that_a_drain_holds",)),),
    ),
    Mutant(
        "tentative-shown-as-agreed",
        "What is tentative stands at the next index, which an empty entry takes.",
        VIEW,
        "TENTATIVE_INDEX = 1 << 48",
        "TENTATIVE_INDEX = 3",
        (view("test_an_entry_without_changes_makes_nothing_of_ours_agreed"), WALKS),
    ),
    Mutant(
        "preview-swallows-own-acts",
        "What the zones decided about a case elsewhere is shown from neither the preview nor the copy.",
        PREVIEW,
        "return Shown(held, ahead, below)",
        "return ahead",
        (preview("test_an_operation_is_shown_once_wherever_it_is_decided"),),
    ),
    Mutant(
        "preview-goes-back",
        "A later preview takes the place of one that covers more.",
        PREVIEW,
        "if held is not None and not held.covered <= preview.covered:",
        "if False:",
        (preview("test_a_preview_that_would_go_back_is_not_taken"),),
    ),
    Mutant(
        "preview-outlives-its-entry",
        "The copy passes a preview, which goes on hiding it.",
        PREVIEW,
        "if held is not None and (index >= held.index or",
        "if held is not None and (",
        (preview("test_the_way_back_to_the_copy_costs_nothing_and_changes_nothing"),),
    ),
    Mutant(
        "closed-meanwhile-stays-open",
        "A zone sends what is the site's own now, and not what the site shows as its own.",
        "replica/cases/scope.py",
        'cases = [one for one in known if one[0] == "case"]',
        "cases: list[Subject] = []",
        (
            NamedTests(
                ("tests/cases/test_scope.py::test_what_the_site_shows_as_its_own_is_sent_whatever_has_become_of_it",)
            ),
        ),
    ),
    Mutant(
        "heard-site-taken-over",
        "A take-over asks nobody whether whoever is in charge is heard.",
        RETURNING,
        "if name != act.site and name in act.heard)",
        "if False)",
        (returning("test_a_site_that_is_heard_is_not_taken_over"),),
    ),
    Mutant(
        "silent-site-is-heard",
        "A site whose line is a black hole counts as heard for as long as the socket stands.",
        "replica/runtime/presence.py",
        "if line.heard_ms >= since_ms or not line.speaks",
        "if True",
        (
            NamedTests(
                ("tests/runtime/test_charges.py::test_a_line_that_says_nothing_is_none_whatever_its_socket_says",)
            ),
        ),
    ),
    Mutant(
        "hand-back-before-all-is-in",
        "Work is handed back though its Samu has not asked for it.",
        RETURNING,
        "if samu and not command.now:",
        "if False:",
        (returning("test_a_charge_goes_home_when_its_samu_has_asked"),),
    ),
    Mutant(
        "old-asking-counts",
        "Who asked for its work once may be handed back whatever is taken later.",
        RETURNING,
        "if asked is not None and asked.mark.index > since:",
        "if asked is not None:",
        (returning("test_an_old_asking_does_not_count_for_the_next_take_over"),),
    ),
    Mutant(
        "take-over-ends-too-early",
        "A take-over ends before its time.",
        RETURNING,
        "if not terms.until_ms or act.time_ms < terms.until_ms:",
        "if not terms.until_ms:",
        (returning("test_a_take_over_ends_when_its_time_is_over"),),
    ),
    Mutant(
        "drill-drops-the-feed",
        "What the feed brings during a drill is not put in place after it.",
        DRILL,
        "site.arrived(effects)",
        "pass",
        (NamedTests(("tests/runtime/test_drill.py::test_what_was_held_back_is_put_in_place_in_order",)),),
    ),
)
