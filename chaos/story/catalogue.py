"""Every story there is, by the name it is asked for."""

from __future__ import annotations

from typing import Final

from chaos.story import apart, charge
from chaos.story.play import Setting, Story
from chaos.story.words import LYON, NANTES, PARIS

THREE: Final = (NANTES, LYON, PARIS)
STORIES: Final = (
    Story("call-while-cut", apart.call_while_cut),
    Story("both-escalate", apart.both_escalate),
    Story("double-engagement", apart.double_engagement),
    Story("both-close", apart.both_close),
    Story("owner-transfer-while-cut", apart.owner_transfer_while_cut),
    Story("takeover-and-return", charge.takeover_and_return),
    Story("chain-of-takeovers", charge.chain_of_takeovers, Setting(sites=THREE)),
)
BY_NAME: Final = {story.name: story for story in STORIES}
