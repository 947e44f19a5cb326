"""Who speaks through which site: the same organisation always through the same one.

A message enters at the site of its sender; of one without a site (a fire service), at that of the first organisation it
concerns that has one. Sites are named after the organisation that has most to say there; a Samu that nobody mentions
stands in where there are more sites than Samu in the messages.

Left out: reading a message (replica/hubsante says whom it could come from).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from replica.demo.supervisor import SitePlan

SAMU_DOMAIN: Final = ".health."
"""Organisation ids are country.domain.organisation; only health services run sites."""


@dataclass(frozen=True, slots=True)
class Voices:
    """`sites` in the order of how much they say; `site_of`: organisation → name of its site."""

    sites: tuple[SitePlan, ...]
    site_of: dict[str, str]

    def choose(self, candidates: Sequence[str]) -> tuple[str, str]:
        """(sender, site) for a message that could come from `candidates`, the likeliest first.

        The sender keeps its name though another's site has to speak for it. Where nobody has a site: the first one's.
        """
        sender = candidates[0] if candidates else ""
        for candidate in candidates:
            if candidate in self.site_of:
                return sender, self.site_of[candidate]
        return sender, self.sites[0].name


def spread(candidates: Iterable[Sequence[str]], sites: int, rng: random.Random) -> Voices:
    """Give every Samu among the messages' `candidates` one of `sites` sites, so that each has about as much to say.

    The seed decides who shares a site with whom. Raises ValueError for fewer than one site.
    """
    if sites < 1:
        raise ValueError(f"{sites} sites; at least one is needed")
    weight = _weights(candidates)
    order = sorted(weight)
    rng.shuffle(order)
    heaviest_first = sorted(order, key=lambda name: -weight[name])
    shares: list[list[str]] = [[] for _ in range(sites)]
    for name in heaviest_first:
        min(shares, key=lambda share: sum(weight[one] for one in share)).append(name)
    plans = [_plan(share, at) for at, share in enumerate(shares)]
    return Voices(tuple(plans), {name: plan.name for plan, share in zip(plans, shares, strict=True) for name in share})


def _weights(candidates: Iterable[Sequence[str]]) -> Counter[str]:
    """How many messages each Samu would be the one to send. Those only mentioned weigh nothing and still get a site."""
    weight: Counter[str] = Counter()
    for one in candidates:
        samu = [name for name in one if SAMU_DOMAIN in name]
        for place, name in enumerate(samu):
            weight[name] += place == 0
    return weight


def _plan(share: list[str], at: int) -> SitePlan:
    if not share:
        return SitePlan(f"fr.health.samu{990 + at}")
    return SitePlan(share[0], tuple(sorted(share[1:])))
