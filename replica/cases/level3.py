"""The rules of feature level 3: those of level 2, but for how a charge is taken over and comes home.

A take-over asks whether whoever is in charge is heard, may end by itself, and says so; a charge comes home when its
Samu has handed in all that it did (returning.py).
"""

from __future__ import annotations

from replica.cases import level1, returning
from replica.cases.act import Act
from replica.cases.commands import AskHandBack, EndTakeOver, HandBack, TakeOver
from replica.cases.level2 import MERGES
from replica.cases.rules import Rules
from replica.cases.verdicts import Verdict


def decide(act: Act) -> Verdict:
    """As `level1.decide`."""
    match act.operation.payload:
        case TakeOver() as command:
            return returning.take_over(act, command)
        case HandBack() as command:
            return returning.hand_back(act, command)
        case AskHandBack() as command:
            return returning.ask(act, command)
        case EndTakeOver() as command:
            return returning.end(act, command)
        case _:
            return level1.decide(act)


LEVEL_3 = Rules(3, decide, MERGES)
