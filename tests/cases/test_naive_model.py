"""The naive model agrees with the product, its table with the documentation's; and comparing them is no formality.

A hundred thousand histories: `python -m tests.cases.naive_merge --histories 100000`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from replica.cases.commands import Fact, HandBack, Payload, TakeOver
from replica.cases.verdicts import VerdictKind
from tests.cases import naive_check
from tests.cases.naive_check import Played, check, main, shrunk
from tests.cases.naive_fields import RULE
from tests.cases.naive_histories import EPOCH_AS_KNOWN, Step, Teller
from tests.cases.naive_log import DEVIATIONS
from tests.cases.naive_merge import Naive
from tests.cases.world import FIRE, A, B, about, creation, update

ROOT = Path(__file__).parents[2]
HISTORIES = range(500)


def test_the_product_and_the_naive_model_agree() -> None:
    """On every verdict, on what holds, on what stands beside it or is proposed, on who is in charge."""
    seed, decided = check(HISTORIES)
    assert seed is None, naive_check.report_of(seed)
    assert decided > 10 * len(HISTORIES)


def test_the_naive_table_is_that_of_the_documentation() -> None:
    """Every field of docs/offline.md, and no other."""
    text = (ROOT / "docs" / "offline.md").read_text(encoding="utf-8")
    table = text.partition("<!-- table: fields -->")[2].partition("<!-- end -->")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    documented = {(kind, name.removesuffix(" (by key)")): rule for kind, name, rule in rows[1:]}
    assert documented == RULE


def test_the_histories_reach_what_they_are_for() -> None:
    """Every kind of verdict, and each often; a generator that never conflicts proves nothing."""
    kinds: Counter[str] = Counter()
    lines: list[str] = []
    for seed in range(400):
        played = Played(Teller(seed).history())
        kinds.update(played.kinds)
        lines += played.lines
    assert {kind for kind, often in kinds.items() if often >= 20} == {kind.value for kind in VerdictKind}
    for command in ("TakeOver", "HandBack", "TransferCase", "EngageResource", "DecideConflict", "CloseCase"):
        assert sum(command in line and line.endswith("→ applied") for line in lines) >= 5, command
    for word in ("stale", "gap", "closed", "duplicate"):
        assert any(line.endswith(f"→ {word}") for line in lines), word
    assert sum("/drain/" in line and line.endswith("→ merged") for line in lines) >= 1


def _same_site_is_seen(naive: Naive) -> None:
    rightly = naive.saw
    naive.saw = lambda said: rightly(said) or said.by.site == naive.site  # type: ignore[method-assign]


def _less_severe(naive: Naive) -> None:
    rightly = naive.keep_both

    def keep_both(values: object, new: object, rule: str) -> VerdictKind:
        found = rightly(values, new, rule)  # type: ignore[arg-type]
        if rule == "more-severe":
            values.holds.reverse()  # type: ignore[attr-defined]
        return found

    naive.keep_both = keep_both  # type: ignore[method-assign]


def _no_epochs(naive: Naive) -> None:
    naive.may = lambda samu, holder, since: holder == naive.site  # type: ignore[method-assign]


def _everybody_may(naive: Naive) -> None:
    naive.is_own = lambda thing, authority: True  # type: ignore[method-assign]


@pytest.mark.parametrize("ruin", [_same_site_is_seen, _less_severe, _no_epochs, _everybody_may])
def test_a_broken_rule_is_found_and_shrunk(ruin: Callable[[Naive], None]) -> None:
    """In a few hundred histories; what is left of one is short enough to be read."""

    def differs(history: Sequence[Step]) -> bool:
        return Played(history, ruin=ruin).difference is not None

    found = next((seed for seed in range(1500) if differs(Teller(seed).history())), None)
    assert found is not None
    small = shrunk(Teller(found).history(), differs)
    assert differs(small)
    assert len(small) <= 12
    assert all(not differs(small[:place] + small[place + 1 :]) for place in range(len(small)))


def said(site: int, payload: Payload) -> Step:
    return Step("say", site, payload)


TAKEN = TakeOver(A, B, EPOCH_AS_KNOWN, "drowned")
BY_FIRE = about("r1", "", Fact("organisation", FIRE), message="one")
BY_B = about("r1", "", Fact("organisation", B), message="two")
DEVIATING = {
    # A report of A's own, opened right behind the take-over in one entry, and a second one about it.
    "one-entry": [said(0, TAKEN), said(0, creation("c3", A, message="one")), Step("send", 0, more=2)],
    # Three differing values, two of them in one entry: the third one's coming changes which is the first.
    "by-id": [
        said(2, update("c1", Fact("perimeter", "x"), message="one")),
        said(1, update("c1", Fact("perimeter", "y"), message="two")),
        Step("both", 2, more=1, other=1),
        said(0, update("c1", Fact("perimeter", "z"), message="three")),
    ],
    # "latest" leaves the vehicle with the fire service, and B has it.
    "organisation": [
        Step("clock", 2, more=-100_000),
        said(2, BY_B),
        said(0, BY_FIRE),
        Step("send", 0, more=1),
    ],
    # What A opened while B had its work was A's own all the time.
    "handed-back": [
        said(1, TAKEN),
        Step("send", 1, more=1),
        said(0, creation("c3", A, message="one")),
        Step("send", 0, more=1),
        said(1, HandBack(A, "over")),
        Step("send", 1, more=1),
    ],
}


@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_a_deviation_of_the_product_is_one(deviation: str) -> None:
    """Each one named is seen when the model is strict in it: else the model would be lenient for nothing."""
    history = DEVIATING[deviation]
    assert Played(history).difference is None
    assert Played(history, (deviation,)).difference is not None


def test_the_command_says_how_far_it_is_and_ends_with_1_where_they_differ(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Progress; and the smallest history in words."""
    assert main(["--histories", "20", "--start", "40"]) == 0
    assert "20 histories" in capsys.readouterr().out
    monkeypatch.setattr(Teller, "history", lambda _: [Step("follow", 0), *DEVIATING["by-id"]])
    assert main(["--histories", "1", "--strictly", "by-id"]) == 1
    told = capsys.readouterr().out
    assert "its smallest part is\n  say 750" in told
    assert "product: (('y', [" in told
