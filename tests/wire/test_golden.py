"""The format itself, byte for byte: what an older release wrote must be read for ever, and nobody changes it unawares.

`golden.txt` holds a line for each kind of message: its name, and its bytes in hexadecimal. Where a test here fails
because a field was added at the end, keep the old line under its name and a number (`message/Hint@1`), so that it is
still read, and write a new one. Where it fails for any other reason, the change breaks every other release.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from replica.cases import commands as do
from replica.cases.operations import Batch, HybridTime, Operation, OperationId
from replica.cases.verdicts import Decided, Effects, Finding, Verdict, VerdictKind
from replica.raft import messages as raft
from replica.raft.memberships import decode_membership, encode_membership
from replica.raft.types import Entry, EntryKind, Membership
from replica.wire import (
    ALL_MESSAGES,
    Dialler,
    FrameReader,
    Identity,
    RaftMessages,
    batch,
    client,
    decode,
    decode_batch,
    decode_effects,
    decode_operation,
    decode_verdict,
    encode,
    encode_effects,
    encode_operation,
    encode_verdict,
    feed,
    frame,
    raft_codec,
    snapshot,
)
from replica.wire.handshake import Hello, Refusal, Welcome

LIFE = bytes.fromhex("00112233445566778899aabbccddeeff")
OPENED = OperationId("site-44", LIFE, 0)
NOTED = OperationId("site-44", LIFE, 300)
CASE = "fr.health.samu440.case-1"
FINDING = Finding(CASE, "priority", "", VerdictKind.CONFLICT, "severity", OPENED)
VERDICT = Verdict(VerdictKind.CONFLICT, (FINDING,), "two priorities")
SUBJECT = do.Subject("case", CASE, (do.Fact("priority", "P0", "", 1_700_000_000_000),), "samu440", "", "S-1", True)

PAYLOADS: tuple[do.Payload, ...] = (
    do.Opening(None, 0, LIFE, True),
    do.Tombstone("checksum"),
    do.Report("hub-1/0", "RS-EDA", "fr.health.samu440", (SUBJECT,), (do.Fact("RS-X", "{}"),)),
    do.ChangePriority(CASE, "P1"),
    do.ChangeCareLevel(CASE, "R2", "patient-1"),
    do.AddNote(CASE, "note-1", "Douleur thoracique, 54 ans", "patient-1", "MEDECIN"),
    do.SetStatus("smur-1", CASE, "SURLIEU"),
    do.EngageResource("smur-1", CASE, "mission-1"),
    do.ReleaseResource("smur-1", CASE),
    do.TransferCase(CASE, "samu690"),
    do.CloseCase(CASE),
    do.ReopenCase(CASE),
    do.RegisterOrganisation("fr.health.samu44", "samu440", "site-44"),
    do.TakeOver("samu440", "samu690", 3, "flood", (CASE,), True, 1_700_000_000_000, True),
    do.HandBack("samu440", "dry again", (CASE,), True),
    do.AskHandBack("samu440", "dry again"),
    do.EndTakeOver("samu440", 3),
    do.DecideConflict("case", CASE, "priority", "", "P0"),
    do.RaiseLevel(2),
    do.ForceNewCluster("dr. Ker", 1_700_000_000_000, "france", 999, 1, "france-2"),
)
RAFT: tuple[raft.Message, ...] = (
    raft.PreVote(1, 2, 8, 1000, 7),
    raft.PreVoteReply(2, 1, 8, True),
    raft.RequestVote(1, 2, 8, 1000, 7, True),
    raft.RequestVoteReply(2, 1, 8, False),
    raft.Append(1, 2, 8, 9, 7, (Entry(10, 8, EntryKind.NOOP, b""), Entry(11, 8, EntryKind.DATA, b"batch")), 9),
    raft.AppendReply(2, 1, 8, False, 9, 5, 6, True, 77),
    raft.Heartbeat(1, 2, 8, 9, 4, 300),
    raft.HeartbeatReply(2, 1, 8, 4, True, 77, 1234),
    raft.Readmit(1, 2, 8, 77),
    raft.TimeoutNow(1, 3, 8),
    raft.ReadIndex(2, 1, 8, 5),
    raft.ReadIndexReply(1, 2, 8, 5, 1000, True),
)
MEMBERSHIP = Membership(
    frozenset({1, 2, 4}),
    frozenset({1, 2, 3}),
    frozenset({5, 6}),
    frozenset({6}),
    frozenset({2}),
    b"names",
    ((1, 3), (2, 1)),
)
MESSAGES: tuple[Any, ...] = (
    feed.Follow(1000, 8, True, True),
    feed.Submit((b"operation 1", b"operation 2")),
    feed.FeedBeat(8, 1000, 1_700_000_000_000, 3),
    feed.NoQuorum(8),
    feed.EffectsMessage(b"effects", True),
    feed.StateBegin(1000, 8, 2, 11, 900, 7, b"{}"),
    feed.StateChunk(((b"key", b"record"), (b"k", b"r")), (b"gone",)),
    feed.StateEnd(bytes(16)),
    feed.Behind("my commit is 900, yours 1000"),
    feed.Hint(NOTED, "gap"),
    feed.Forward((b"operation",), "site-44"),
    feed.ForwardHint("site-44", NOTED, "no-leader"),
    feed.LeaderClock(8, 1_700_000_000_000),
    feed.LearnerDigest(1000, bytes(16)),
    feed.SitesHeard(("site-44", "site-69")),
    feed.Zones((feed.ZoneAt(1, "zone-a", "10.0.0.1:7001", True), feed.ZoneAt(4, "zone-d", "10.0.0.4:7001")), 2),
    feed.ConfirmRead(7),
    feed.Here(1000),
    feed.ReadConfirmed(7, 1000, "no leader", 100),
    feed.PreviewNeeded(1000),
    snapshot.PreviewWant("site-44", (("case", CASE),)),
    feed.Preview(1000, 8, (b"L", b"ckey\0", b"Ckey"), ((b"Ckey", b"record"),), True),
    snapshot.StateNeeded(1001),
    snapshot.StateAsk(900, 7),
    snapshot.SnapshotOffer("1000-8-0a", 1000, 8, 7, b"{}", bytes(16), 5, 4, bytes(range(32))),
    snapshot.SnapshotWant("1000-8-0a", (0, 1)),
    snapshot.SnapshotChunk("1000-8-0a", 1, b"k"),
    snapshot.SnapshotDone(False, "disk full"),
    snapshot.StillHere("prepares"),
    client.SubmitCommand(1, do.CloseCase(CASE), "dr. Ker", 1_700_000_000_000, "key-1", 250),
    client.SubmitMessage(2, b"{}", "fr.health.samu440", "hub", "key-2", 100),
    client.OutcomeOf(3, str(NOTED)),
    client.VerdictOf(4, str(NOTED), 1000),
    client.ShowCase(5, CASE, "local", 250, 1000),
    client.ShowResource(6, "smur-1", "local", 250, 1000),
    client.ListCases(7, "samu440", True, "local", 250, 1000),
    client.ListResources(8, "samu440", "local", 250, 1000),
    client.Conflicts(9, "samu440", "local", 250, 1000),
    client.Charges(19, "site-44"),
    client.Verdicts(20, "site-44", CASE, "conflict", str(NOTED), 1_700_000_000_000, 10),
    client.Drill(21, 600_000, "dr. Ker", "every month"),
    client.Status(10),
    client.Digest(11),
    client.Members(15),
    client.ChangeMembers(16, (client.NewZone(4, "zone-d", "10.0.0.4:7001", 1),), ("zone-c",), ("zone-a",), True),
    client.HandOver(17, "zone-b", 500),
    client.Meet(18, (feed.ZoneAt(4, "zone-d", "10.0.0.4:7101"),)),
    client.Receipts(12, (client.Receipt("agreed", str(NOTED), 1000, VERDICT), client.Receipt("unknown", str(OPENED)))),
    client.Answer(13, b'{"id":1}', True),
    client.Failure(14, "overloaded", "try again in 50 ms", True, (("$.a", "b"),), 50, str(NOTED)),
)
OPERATION = Operation(NOTED, 3, 999, HybridTime(1_700_000_000_000, 2), -1, "dr. Ker", PAYLOADS[3], 299, "key-1")
EFFECTS = Effects(
    1000,
    8,
    1_700_000_000_000,
    (Decided(OPENED, Verdict(VerdictKind.APPLIED)), Decided(NOTED, VERDICT)),
    ((b"case/1", b"record"), (b"case/2", None)),
    ((NOTED, "gap"),),
)
ME = Identity("france", "zone-a", "zone", LIFE, 1, (1, 2), "1.0")

GOLDEN = {
    name: bytes.fromhex(text)
    for name, text in (
        line.split() for line in (Path(__file__).parent / "golden.txt").read_text(encoding="ascii").splitlines()
    )
}


def name_of(value: object) -> str:
    return type(value).__name__


def written() -> dict[str, bytes]:
    """Everything above, as this release writes it."""
    names = {"operation " + name_of(payload): encode_operation(_with(payload)) for payload in PAYLOADS}
    names |= {"raft " + name_of(message): encode(RaftMessages.of([message])) for message in RAFT}
    names |= {"message " + name_of(message): encode(message) for message in MESSAGES}
    names |= {
        "batch": batch(1_700_000_000_000, 1, [encode_operation(OPERATION)], 2, ("site-44",)),
        "effects": encode_effects(EFFECTS),
        "verdict": encode_verdict(VERDICT),
        "membership": encode_membership(MEMBERSHIP),
        "hello": Dialler(ME).hello(),
        "welcome": msgspec.msgpack.encode(WELCOME),
        "refusal": msgspec.msgpack.encode(REFUSAL),
        "frame": frame(b"payload"),
    }
    return {name.replace(" ", "/"): data for name, data in names.items()}


WELCOME = Welcome(b"rplc", 1, "france", "zone-a", "zone", 1, (1, 2), "1.0", LIFE)
REFUSAL = Refusal(b"rplc", (1, 1), "wrong cluster")


def _with(payload: do.Payload) -> Operation:
    return msgspec.structs.replace(OPERATION, payload=payload)


@pytest.mark.parametrize("name", sorted(written()))
def test_the_bytes_are_those_of_the_first_release(name: str) -> None:
    assert written()[name].hex() == GOLDEN[name].hex()


def in_log(data: bytes) -> Operation:
    """The operation as whoever applies an entry reads it."""
    (operation,) = decode_batch(batch(0, 1, [data])).operations
    return operation


@pytest.mark.parametrize("payload", PAYLOADS, ids=name_of)
def test_an_operation_once_written_is_read(payload: do.Payload) -> None:
    data = GOLDEN[f"operation/{name_of(payload)}"]
    assert _with(payload) == in_log(data)
    if not isinstance(payload, do.ForceNewCluster):  # which nobody hands in
        assert _with(payload) == decode_operation(data)


@pytest.mark.parametrize("message", RAFT, ids=name_of)
def test_a_raft_message_once_written_is_read(message: raft.Message) -> None:
    decoded = decode(GOLDEN[f"raft/{name_of(message)}"], (RaftMessages,))
    assert (message,) == decoded.messages()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raft/Heartbeat@1", raft.Heartbeat(1, 2, 8, 9, 4)),
        ("raft/HeartbeatReply@1", raft.HeartbeatReply(2, 1, 8, 4, True, 77)),
    ],
)
def test_what_the_first_release_did_not_say_has_its_default(name: str, message: raft.Message) -> None:
    decoded = decode(GOLDEN[name], (RaftMessages,))
    assert (message,) == decoded.messages()


def test_a_site_of_the_first_release_never_asks_for_a_whole_state() -> None:
    assert decode(GOLDEN["message/Follow@1"], ALL_MESSAGES) == feed.Follow(1000, 8)


def test_a_site_of_an_older_release_never_asks_for_its_own_first() -> None:
    assert decode(GOLDEN["message/Follow@2"], ALL_MESSAGES) == feed.Follow(1000, 8, True)


def test_a_zone_of_an_older_release_does_not_read_that_a_site_asks_for_its_own_first() -> None:
    class OlderFollow(msgspec.Struct, frozen=True, array_like=True, tag="follow"):
        index: int
        term: int
        whole: bool = False

    assert msgspec.msgpack.decode(GOLDEN["message/Follow"], type=OlderFollow) == OlderFollow(1000, 8, True)


def test_a_membership_once_written_is_read() -> None:
    """It stands in logs, for ever."""
    assert encode_membership(MEMBERSHIP) == GOLDEN["membership"]
    assert decode_membership(GOLDEN["membership"]) == MEMBERSHIP


@pytest.mark.parametrize("message", MESSAGES, ids=name_of)
def test_a_message_once_written_is_read(message: Any) -> None:
    assert message == decode(GOLDEN[f"message/{name_of(message)}"], ALL_MESSAGES)


def test_everything_else_once_written_is_read() -> None:
    assert decode_batch(GOLDEN["batch"]) == Batch(1_700_000_000_000, 1, (OPERATION,), 2, ("site-44",))
    assert decode_batch(GOLDEN["batch@2"]) == Batch(1_700_000_000_000, 1, (OPERATION,), 2)
    assert decode_batch(GOLDEN["batch@1"]) == Batch(1_700_000_000_000, 1, (OPERATION,), 0)
    assert decode_effects(GOLDEN["effects"]) == EFFECTS
    assert decode_verdict(GOLDEN["verdict"]) == VERDICT
    assert msgspec.msgpack.decode(GOLDEN["hello"], type=Hello).node_id == "zone-a"
    assert msgspec.msgpack.decode(GOLDEN["welcome"], type=Welcome) == WELCOME
    assert msgspec.msgpack.decode(GOLDEN["refusal"], type=Refusal) == REFUSAL
    assert GOLDEN["frame"] == b"\x00\x00\x00\x07payload"


READERS: dict[str, Callable[[bytes], object]] = {
    "operation": in_log,
    "raft": lambda data: decode(data, (RaftMessages,)).messages(),
    "message": lambda data: decode(data, ALL_MESSAGES),
    "batch": decode_batch,
    "effects": decode_effects,
    "verdict": decode_verdict,
    "membership": decode_membership,
    "hello": msgspec.msgpack.Decoder(Hello).decode,
    "welcome": msgspec.msgpack.Decoder(Welcome).decode,
    "refusal": msgspec.msgpack.Decoder(Refusal).decode,
    "frame": FrameReader().feed,
}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_every_line_of_any_release_is_read(name: str) -> None:
    """Older forms (`@1`) included: they are on disks and on other machines."""
    assert READERS[name.partition("@")[0].partition("/")[0]](GOLDEN[name])


WIRE_FORMS = tuple(getattr(raft_codec, f"_{name_of(message)}") for message in RAFT)
PARTS = (do.Fact, do.Subject, Operation, OperationId, HybridTime, Batch, Effects, Decided, Verdict, Finding)
STRUCTS = {
    struct.__name__.lstrip("_") if struct not in WIRE_FORMS else f"raft/{struct.__name__.lstrip('_')}": struct
    for struct in (
        *ALL_MESSAGES,
        *WIRE_FORMS,
        *map(type, PAYLOADS),
        *PARTS,
        client.Receipt,
        client.NewZone,
        feed.ZoneAt,
        Hello,
        Welcome,
        Refusal,
    )
}
FIELDS = {
    name: fields.split(",")
    for name, fields in (
        line.split() for line in (Path(__file__).parent / "golden_fields.txt").read_text(encoding="ascii").splitlines()
    )
}


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_each_place_keeps_its_meaning(name: str) -> None:
    """Two fields of one type that change places leave the bytes as they look and turn what they say around. New fields
    come after the ones of `golden_fields.txt`."""
    assert list(STRUCTS[name].__struct_fields__)[: len(FIELDS[name])] == FIELDS[name]


def test_every_kind_of_message_has_its_golden_bytes() -> None:
    """A new message, command or raft message needs its line; a kind without one could change unseen."""
    assert {RaftMessages, *map(type, MESSAGES)} == set(ALL_MESSAGES)
    assert set(typing.get_args(raft.Message)) == set(map(type, RAFT))
    assert set(typing.get_args(do.Payload)) == set(map(type, PAYLOADS))
    assert set(written()) <= set(GOLDEN)
