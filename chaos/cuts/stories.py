"""What is played: messages in order, who says each at which site, and before which of them a line is cut.

One folder of messages gives stories in two orders: *side by side*, all of them as one, by number as emergencies run
beside each other (replica/demo/messages.py); and *each emergency* for itself, by number from its first message to its
last. An emergency's name is the last word of its files' names (`…_DelphineVigneau.01`).

Left out: playing (stage.py).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from replica.cases.commands import Report
from replica.demo.messages import NUMBER, Message, find
from replica.demo.run import candidates_of, parse
from replica.demo.supervisor import SitePlan
from replica.demo.voices import SAMU_DOMAIN, spread
from replica.errors import ConfigError
from replica.hubsante.values import Parsed

SIDE_BY_SIDE: Final = "side by side"
ORDERS: Final = ("side-by-side", "each-emergency", "both")
OWN, ALL, VARIANTS = "own", "all", ("own", "all")
"""Whose line is cut: that of the site where the message enters; or every site's."""
LEAST_SITES: Final = 2
WORDS: Final = re.compile(r"[_-]")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message, whose it is, and at which site it is handed in. `latest_ms`: the latest time that it names."""

    name: str
    data: bytes
    sender: str
    site: str
    latest_ms: int


@dataclass(frozen=True, slots=True)
class Story:
    """Turns in order, and the sites they need."""

    name: str
    turns: tuple[Turn, ...]
    sites: tuple[SitePlan, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """The lines of `sites` are cut just before turn `before` (0: the first); whole again after `length` turns, or at
    the end of the story (None)."""

    variant: str
    before: int
    sites: tuple[str, ...]
    length: int | None = None

    @property
    def heals_before(self) -> int | None:
        """The turn before which the lines are whole again; None: after the last."""
        return None if self.length is None else self.before + self.length


def stories(folder: Path | None, order: str = "both", name: str = "", sites: int | None = None) -> list[Story]:
    """The stories of a folder; of the project's own ones where it is None, of which `name` chooses one.

    `sites`: how many sites share the work; by default one for each Samu that speaks, and at least two. Raises
    ConfigError for a folder or a name without messages.
    """
    messages = find(folder)
    if name:
        known = [(message.name.partition("/")[0], emergency_of(message.name)) for message in messages]
        messages = [message for message, names in zip(messages, known, strict=True) if name in names]
        if not messages:
            raise ConfigError(
                "--story", f"{name!r} is none of {', '.join(sorted({one for names in known for one in names}))}"
            )
    whole = _cast(SIDE_BY_SIDE, messages, sites)
    each = _emergencies(whole) if order != "side-by-side" else []
    # One emergency beside no other is the same story in both orders.
    return each if order == "each-emergency" or len(each) == 1 else [whole, *each]


def emergency_of(name: str) -> str:
    """`RS-SR/RS-SR_FemmeEnceinte_DelphineVIGNEAU.04.json` → delphinevigneau."""
    base = name.rpartition("/")[2].removesuffix(".json")
    return WORDS.split(NUMBER.sub("", base))[-1].lower()


def cuts(story: Story, variants: Sequence[str], length: int | None, start: int, count: int | None) -> Iterable[Cut]:
    """A cut before each message in turn, from message `start` (1: the first) on, `count` of them or all."""
    last = len(story.turns) if count is None else min(len(story.turns), start - 1 + count)
    everybody = tuple(site.name for site in story.sites)
    for variant in variants:
        for before in range(start - 1, last):
            own = (story.turns[before].site,)
            yield Cut(variant, before, own if variant == OWN else everybody, length)


def _cast(name: str, messages: Sequence[Message], sites: int | None) -> Story:
    parsed = [parse(message) for message in messages]
    candidates = list(candidates_of(parsed))
    voices = spread(candidates, sites or max(LEAST_SITES, _speakers(candidates)), random.Random(1))
    turns = []
    for message, said, who in zip(messages, parsed, candidates, strict=True):
        sender, site = voices.choose(who)
        turns.append(Turn(message.name, message.data, sender, site, _latest_ms(said)))
    return Story(name, tuple(turns), voices.sites)


def _speakers(candidates: Iterable[Sequence[str]]) -> int:
    """How many Samu are the first to come in question for some message."""
    samu = ([name for name in one if SAMU_DOMAIN in name] for one in candidates)
    return len({names[0] for names in samu if names})


def _latest_ms(parsed: Parsed | None) -> int:
    times = [0]
    for content in parsed.contents if parsed is not None else ():
        times.append(content.act_ms)
        if isinstance(content.outcome, Report):
            times += [fact.at_ms for subject in content.outcome.subjects for fact in subject.facts]
    return max(times)


def _emergencies(whole: Story) -> list[Story]:
    """Each emergency with the sites of all: whoever reports to it may be anybody."""
    found: dict[str, list[Turn]] = {}
    for turn in whole.turns:
        found.setdefault(emergency_of(turn.name), []).append(turn)
    return [replace(_with_sites_of(whole, turns), name=name) for name, turns in sorted(found.items())]


def _with_sites_of(whole: Story, turns: Sequence[Turn]) -> Story:
    """Only the sites that speak, and one that listens where there is only one."""
    speaking = {turn.site for turn in turns}
    others = [site.name for site in whole.sites if site.name not in speaking]
    kept = speaking | set(others[: max(0, LEAST_SITES - len(speaking))])
    sites = tuple(site for site in whole.sites if site.name in kept)
    return Story(whole.name, tuple(turns), sites)
