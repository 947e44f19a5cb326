"""Every story there is, by the name it is asked for."""

from __future__ import annotations

from typing import Final

from chaos.story import apart, backlog, charge, machine, outage
from chaos.story.play import Setting, Story
from chaos.story.words import LYON, NANTES, PARIS
from replica.config import Limits, Timing

THREE: Final = (NANTES, LYON, PARIS)
CHARGES: Final = 3
"""From this feature level on, who is heard is not taken over, and a charge goes home when it is asked for."""
SHORT: Final = Limits(log_keep_mib=0, feed_ring_bytes=65_536, changed_mib=0)
"""Zones that keep next to nothing for who is away, and send nobody only what changed."""

STORIES: Final = (
    Story("call-while-cut", apart.call_while_cut),
    Story("both-escalate", apart.both_escalate),
    Story("double-engagement", apart.double_engagement),
    Story("both-close", apart.both_close),
    Story("owner-transfer-while-cut", apart.owner_transfer_while_cut),
    Story("takeover-and-return", charge.takeover_and_return, Setting(level=CHARGES)),
    Story("chain-of-takeovers", charge.chain_of_takeovers, Setting(sites=THREE, level=CHARGES)),
    Story("two-sites-cut", outage.two_sites_cut, Setting(sites=THREE)),
    Story("zone-and-its-sites-cut", outage.zone_and_its_sites_cut, Setting(zone_lines=True)),
    Story("all-zones-gone", outage.all_zones_gone),
    Story("restored-backup", machine.restored_backup),
    Story("clone-beside-it", machine.clone_beside_it),
    Story("emptied-disk", machine.emptied_disk),
    Story("clock-three-hours-ahead", machine.clock_three_hours_ahead, Setting(ahead_ms={NANTES: machine.HOURS_MS})),
    Story("kill-in-mid-replay", backlog.kill_in_mid_replay),
    Story("flapping-line", outage.flapping_line, Setting(timing=Timing(stable_ms=250))),
    Story("longer-than-the-log", backlog.longer_than_the_log, Setting(limits=SHORT)),
)
BY_NAME: Final = {story.name: story for story in STORIES}
