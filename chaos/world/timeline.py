"""What happened, one line each: virtual time, node, what. The last lines are what a person reads after a failure.

Lines are kept as tuples and made into text only when somebody reads them: formatting every event would cost more than
simulating it. With `follow` set each line is formatted at once, hashed, and handed on.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

from replica.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
)

KEPT_LINES = 60

Line = tuple[int, int, str, object]
"""Virtual time in ms, node (0: the world itself), what happened, and a detail that is formatted late."""


class Timeline:
    """The last `KEPT_LINES` lines; all of them go through `digest` and `follow` where these are switched on."""

    __slots__ = ("_digest", "_follow", "_recent", "add", "lines")

    def __init__(self, follow: Callable[[str], None] | None = None, hashed: bool = False) -> None:
        self._recent: deque[Line] = deque(maxlen=KEPT_LINES)
        self._follow = follow
        self._digest = hashlib.blake2b(digest_size=16)
        self.lines = 0
        self.add: Callable[[Line], None] = self._add_loud if follow or hashed else self._recent.append

    def _add_loud(self, line: Line) -> None:
        self._recent.append(line)
        self.lines += 1
        text = text_of(line)
        self._digest.update(text.encode() + b"\n")
        if self._follow is not None:
            self._follow(text)

    def digest(self) -> str:
        """A hash over every line so far. Two runs of one seed must agree on it, byte by byte."""
        return self._digest.hexdigest()

    def recent(self) -> list[str]:
        return [text_of(line) for line in self._recent]


def text_of(line: Line) -> str:
    """`   1520 ms  n2  receives Append 1→2 term 3 prev 7/2 +2 commit 7`."""
    at_ms, node, what, detail = line
    who = f"n{node}" if node else "--"
    return f"{at_ms:>8} ms  {who}  {what} {detail_text(detail)}".rstrip()


def detail_text(detail: object) -> str:
    """One line for anything that can be a line's detail; written out by hand so that it never shows an address."""
    match detail:
        case None:
            return ""
        case str() | int():
            return str(detail)
        case tuple():
            return " ".join(detail_text(part) for part in detail)
        case _ if hasattr(detail, "frm"):
            return message_text(detail)  # type: ignore[arg-type]  # only messages have a `frm`
        case _:
            return str(detail)


def message_text(message: Message) -> str:
    """A message in the words of figure 2, short enough for a column."""
    return f"{type(message).__name__} {message.frm}→{message.to} term {message.term}{_rest(message)}"


def _rest(message: Message) -> str:
    match message:
        case PreVote() | RequestVote():
            return f" log {message.last_index}/{message.last_term}"
        case PreVoteReply() | RequestVoteReply():
            return " granted" if message.granted else " refused"
        case Append():
            size = f" +{len(message.entries)}" if message.entries else ""
            return f" prev {message.prev_index}/{message.prev_term}{size} commit {message.commit}"
        case AppendReply():
            hint = "" if message.ok else f" hint {message.hint_index}/{message.hint_term}"
            return f" {'ok' if message.ok else 'no'} {message.match_index}{hint}{_rebuilding(message.rebuilding)}"
        case Heartbeat():
            return f" commit {message.commit} context {message.context}"
        case HeartbeatReply():
            return f" context {message.context}{_rebuilding(message.rebuilding)}"
        case _:
            return ""


def _rebuilding(flag: bool) -> str:
    return " rebuilding" if flag else ""
