"""The rules of feature level 2: those of level 1, but for three fields that say one thing in several members.

A city (its name, its INSEE code), a way to reach a crew (channel, number) and an entry of the open map are one value
each, because their members only mean something together: the code of one city with the name of another is no city. So
under level 1 a later value takes the place of the earlier one whole, and an update that repeats the name alone clears
the code, although "absent never clears" holds for everything else.

Under level 2 such a value, said by somebody who had seen the one that holds, *completes* it where the two agree:

    holds {"inseeCode":"44109","name":"Nantes"}
    said  {"name":"Nantes"}    → {"inseeCode":"44109","name":"Nantes"}    merged, rule "completed"
    said  {"name":"Rezé"}      → {"name":"Rezé"}                          another city: applied, as under level 1

They agree where they have a member in common, and no common member differs. What was said apart is settled by the
hybrid clock, whole, as under level 1: putting together what two people said who did not know of each other is not for
a rule to do.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from replica.cases import level1
from replica.cases.merge import Merge, Outcome, Siblings, latest, replaced
from replica.cases.rules import Rules
from replica.cases.state import Held
from replica.cases.values import completed
from replica.cases.verdicts import VerdictKind

COMPLETED = "completed"
"""The rule named where a value kept members that its author left out."""


def latest_completed(seen: Siblings, unseen: Siblings, new: Held) -> Outcome:
    """By hybrid clock where written apart; else the new value, completed by the seen one where both agree."""
    if unseen or not seen:
        return latest(seen, unseen, new)
    assert len(seen) == 1, f"a field settled by the clock holds one value, not {len(seen)}"
    whole = completed(new.value, seen[0].value)
    if whole == new.value:
        return replaced(seen, new)
    return Outcome((replace(new, value=whole),), seen, VerdictKind.MERGED, COMPLETED, seen[0].operation)


MERGES: Mapping[tuple[str, str], Merge] = {
    ("case", "location.city"): latest_completed,
    ("case", "additional"): latest_completed,
    ("resource", "contact"): latest_completed,
}
LEVEL_2 = Rules(2, level1.decide, MERGES)
