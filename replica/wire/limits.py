"""How much one message may be, each limit with its reason. Everything that comes in is bounded before it is allocated.

The limits nest: an operation fits a batch, a batch fits a frame, and what can be larger than a frame (effects, an
answer) travels in pieces. What is not here: how many connections there may be, and how long one may be silent; that
is the runtime's business, since it needs a clock.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta

KIB: Final = 1 << 10
MIB: Final = 1 << 20

LENGTH_BYTES: Final = 4
"""The length before each payload: unsigned, big-endian."""

MAX_HANDSHAKE_BYTES: Final = 4 * KIB
"""Before the handshake nobody is known: 500 idle strangers hold 2 MB between them, and a hello needs about 200
bytes."""

MAX_OPERATION_BYTES: Final = 1 * MIB
"""One operation, encoded. The largest published message is some 20 kB; a megabyte is a mistake, not an emergency."""

MAX_BATCH_BYTES: Final = 4 * MIB
"""One entry of the log: what a disk writes and a peer receives in some milliseconds, so that heartbeats stay on
time."""

BATCH_OVERHEAD_BYTES: Final = 1 + 9 + 9 + 5 + 9 + 1
"""The most a batch adds to its operations: an array header, time, level, a list header, the level all speak, and that
nobody asks who is heard. (An entry that says who is heard has room for it: a zone's entries are far smaller.)"""

MAX_FRAME_BYTES: Final = 16 * MIB
"""Whatever a zone or a site sends. An Append holds up to a megabyte of entries and then one whole batch more (5 MB);
sharing a frame with others, and a peer configured for larger appends, still fit."""

RAFT_FRAME_BYTES: Final = 2 * MIB
"""Several raft messages share one frame up to about this size; a single larger one goes alone. A vote or heartbeat
behind it then waits for two milliseconds of line, not for fifteen."""

MAX_CLIENT_FRAME_BYTES: Final = 2 * MIB
"""Client to zone or site: one hub message or command. (What a client is sent
has the limit of the node that sends it.)"""

MAX_HUB_MESSAGE_BYTES: Final = 1 * MIB
"""One hub message as handed in. Larger ones are refused before anybody parses them."""

PIECE_BYTES: Final = 1 * MIB
"""What is larger than a frame goes in pieces of this size, so that beats and hints pass between them."""

MAX_JOINED_BYTES: Final = 256 * MIB
"""All pieces of one whole, together: a listing of every open case of the country with room to spare."""

MAX_EFFECTS_BYTES: Final = 64 * MIB
"""All pieces of one entry's effects. A batch of 4 MB changes at most some thousands of records of a few kB."""

MAX_ENTRIES_PER_APPEND: Final = 1 << 17
"""The smallest batch is 12 bytes, so a megabyte of entries is at most 87,382
of them. A list of millions of empty ones would take a hundred times its size in memory."""

MAX_OPERATIONS_PER_MESSAGE: Final = 1 << 14
"""Submit and Forward. A replaying site sends its journal in several; its sender cuts by bytes long before this."""

MAX_RECORDS_PER_CHUNK: Final = 1 << 14
"""One chunk of state. Cut by bytes long before this, too."""

HASH_BYTES: Final = 16
"""One chunk's hash in a snapshot's offer."""

MAX_CHUNK_BYTES: Final = 256 * KIB
"""One chunk of a snapshot: two milliseconds of a gigabit line, so that a heartbeat behind it is on time."""

MAX_CHUNKS: Final = 900_000
"""Chunks of one snapshot: 220 GiB, and the hashes of all of them fit the one frame of the offer."""

MAX_CHUNKS_WANTED: Final = 64
"""Chunks asked for at once: 16 MiB under way at most, whatever the receiver does."""

MAX_SNAPSHOT_NAME: Final = 80
"""Characters of a snapshot's name: it names a folder."""

MAX_SITES: Final = 1000
"""Sites that one zone feeds: the connections it takes (config.Limits)."""

MAX_MEMBERSHIP_BYTES: Final = 64 * KIB
"""A membership as an entry holds it: JSON of at most some dozen nodes."""

MAX_ZONES: Final = 127
"""Zones a cluster ever had: their numbers are never given twice."""

MAX_NAME: Final = 200
"""Characters of a node, organisation, case or resource id, and of other names a machine gives."""

MAX_TEXT: Final = 4000
"""Characters of a reason or an error text, for a person to read."""

INCARNATION_BYTES: Final = 16
"""A store's life and a process's life are 16 random bytes each (rule 2)."""

MAX_OPERATION_TEXT: Final = MAX_NAME + 1 + 2 * INCARNATION_BYTES + 1 + 19
"""Characters of an operation's id as text: site, incarnation, number."""

MAX_COUNT: Final = (1 << 63) - 1
"""Terms, indexes and counters fit a signed 64-bit number, in the store's keys and in every other language."""

Count: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
NodeNumber: TypeAlias = Annotated[int, Meta(ge=1, le=(1 << 31) - 1)]
RequestNumber: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 32) - 1)]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)]
"""Since 1970, UTC, before it too: a message may say the year 1. 2^53 ms are 285,000 years, and exact in JSON."""
Budget: TypeAlias = Annotated[int, Meta(ge=0, le=3_600_000)]
Name: TypeAlias = Annotated[str, Meta(max_length=MAX_NAME)]
OperationText: TypeAlias = Annotated[str, Meta(max_length=MAX_OPERATION_TEXT)]
Text: TypeAlias = Annotated[str, Meta(max_length=MAX_TEXT)]
OperationBytes: TypeAlias = Annotated[bytes, Meta(min_length=1, max_length=MAX_OPERATION_BYTES)]
Operations: TypeAlias = Annotated[tuple[OperationBytes, ...], Meta(max_length=MAX_OPERATIONS_PER_MESSAGE)]
MembershipBytes: TypeAlias = Annotated[bytes, Meta(max_length=MAX_MEMBERSHIP_BYTES)]
