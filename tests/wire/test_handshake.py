"""Who may speak at all: every reason to refuse, in words, on both sides; and for whatever comes, only refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.errors import HandshakeRefused
from replica.wire import Acceptor, Dialler, FrameReader, Identity, Peer, frame
from replica.wire.handshake import MAGIC, ROLES, Hello, Refusal, Welcome
from replica.wire.limits import MAX_HANDSHAKE_BYTES, MAX_NAME
from tests.wire.strategies import LIVES, TEXTS, mutated

ZONES = {"zone-a": 1, "zone-b": 2, "zone-c": 3}
ZONE_A = Identity("france", "zone-a", "zone", b"a" * 16, raft=1, software="1.0")
ZONE_B = Identity("france", "zone-b", "zone", b"b" * 16, raft=2, levels=(1, 2), software="1.1")
SITE = Identity("france", "site-44", "site", b"s" * 16, software="1.1")
CLIENT = Identity("", "shell-17", "client", b"c" * 16)
PROBE = Identity("", "health", "probe", b"p" * 16)


def peer_of(me: Identity, cluster_id: str = "") -> Peer:
    return Peer(me.node_id, me.role, cluster_id or me.cluster_id, me.raft, 1, me.levels, me.software, me.life)


@pytest.mark.parametrize("me", [ZONE_B, SITE, CLIENT, PROBE], ids=lambda me: me.role)
def test_both_sides_know_each_other_afterwards(me: Identity) -> None:
    """Both end with the other's identity and the same protocol version."""
    dialler, acceptor = Dialler(me, ZONES, expect="zone-a"), Acceptor(ZONE_A, ZONES)
    assert dialler.receive(acceptor.receive(dialler.hello())) == peer_of(ZONE_A)
    assert acceptor.peer == peer_of(me)
    assert dialler.peer == peer_of(ZONE_A)
    assert (dialler.refusal, acceptor.refusal) == (None, None)


def test_a_client_at_a_sites_door_learns_the_cluster() -> None:
    dialler, acceptor = Dialler(CLIENT), Acceptor(SITE, ZONES, accepts=frozenset({"client", "probe"}))
    assert dialler.receive(acceptor.receive(dialler.hello())).cluster_id == "france"


def hello(me: Identity = ZONE_B, **changes: object) -> bytes:
    """What `me` says, with some of it changed to what no Identity would hold."""
    said = msgspec.msgpack.decode(Dialler(me).hello(), type=Hello)
    return msgspec.msgpack.encode(msgspec.structs.replace(said, **changes))


REFUSED = {
    "wrong magic": (hello(magic=b"http"), "wrong magic"),
    "newer protocol": (hello(protocols=(2, 9)), "no common protocol version: 1 to 1 here, 2 to 9 there"),
    "older protocol": (hello(protocols=(0, 0)), "no common protocol version: 1 to 1 here, 0 to 0 there"),
    "protocols upside down": (hello(protocols=(5, 1)), "no common protocol version"),
    "zone of another cluster": (hello(cluster_id="spain"), "cluster id 'spain' there, 'france' here"),
    "zone without a cluster": (hello(cluster_id=""), "cluster id '' there, 'france' here"),
    "site of another cluster": (hello(SITE, cluster_id="spain"), "cluster id 'spain' there"),
    "site without a cluster": (hello(SITE, cluster_id=""), "cluster id '' there"),
    "client of another cluster": (hello(CLIENT, cluster_id="spain"), "cluster id 'spain' there"),
    "unknown role": (hello(role="king"), "role 'king' is not known; one of client, probe, site, zone"),
    "no name": (hello(SITE, node_id=""), "the node id is empty"),
    "my own name": (hello(node_id="zone-a", raft=1), "node id 'zone-a' is my own"),
    "a site with my name": (hello(SITE, node_id="zone-a"), "node id 'zone-a' is my own"),
    "a site with a zone's name": (hello(SITE, node_id="zone-c"), "'zone-c' is a zone's, but its role is site"),
    "a zone nobody knows": (hello(node_id="zone-x"), "zone 'zone-x' is not in the membership; known: zone-a, zone-b"),
    "a zone with another's number": (hello(raft=3), "zone 'zone-b' is number 2 in the membership, but says 3"),
    "a zone with my number": (hello(raft=1), "zone 'zone-b' is number 2 in the membership, but says 1"),
    "a zone without a number": (hello(raft=0), "says 0"),
    "a site with a number": (hello(SITE, raft=4), "a site has no raft number, but says 4"),
    "levels upside down": (hello(levels=(3, 2)), "feature levels 3 to 2 are no range"),
    "a short life": (hello(life=b"short"), r"length >= 16 - at `$[9]`"),
    "a long name": (hello(node_id="x" * (MAX_NAME + 1)), r"length <= 200 - at `$[4]`"),
    "a welcome": (Acceptor(ZONE_A, ZONES).receive(hello()), "Invalid value 'welcome'"),
    "a web browser": (b"GET / HTTP/1.1\r\n\r\n", "hello of 18 bytes"),
    "nothing": (b"", "hello of 0 bytes"),
}


@pytest.mark.parametrize(("payload", "says"), REFUSED.values(), ids=REFUSED)
def test_a_hello_that_breaks_a_rule_is_refused_with_the_reason(payload: bytes, says: str) -> None:
    """The reason is raised here, sent to the other side, and raised there."""
    acceptor = Acceptor(ZONE_A, ZONES)
    with pytest.raises(HandshakeRefused) as here:
        acceptor.receive(payload)
    assert says in str(here.value)
    assert acceptor.peer is None
    assert acceptor.refusal is not None
    dialler = Dialler(ZONE_B, ZONES)
    with pytest.raises(HandshakeRefused) as there:
        dialler.receive(acceptor.refusal)
    assert str(there.value) == f"refused by the other side: {here.value}"
    assert (dialler.peer, dialler.refusal) == (None, None)


def welcome(me: Identity = ZONE_A, **changes: object) -> bytes:
    acceptor = Acceptor(me, {**ZONES, me.node_id: me.raft} if me.raft else ZONES)
    said = msgspec.msgpack.decode(acceptor.receive(hello(replace(ZONE_B, cluster_id=me.cluster_id))), type=Welcome)
    return msgspec.msgpack.encode(msgspec.structs.replace(said, **changes))


UNWELCOME = {
    "wrong magic": (welcome(magic=b"ssh2"), "wrong magic"),
    "a version not offered": (welcome(protocol=2), "protocol version 2 was chosen; 1 to 1 are spoken here"),
    "another cluster": (welcome(cluster_id="spain"), "cluster id 'spain' there, 'france' here"),
    "another zone": (welcome(node_id="zone-c", raft=3), "'zone-c' answered where 'zone-a' was dialled"),
    "an unknown zone": (welcome(node_id="zone-x", raft=4), "'zone-x' is not in the membership"),
    "a zone with another number": (welcome(raft=3), "zone 'zone-a' is number 1 in the membership, but says 3"),
    "myself": (welcome(node_id="zone-b", raft=2), "'zone-b' is my own"),
    "a client": (welcome(role="client", node_id="x", raft=0), "a client answered; a zone or a site was dialled"),
    "a hello": (hello(), "Invalid value 'hello'"),
    "noise": (bytes(40), "answer to hello of 40 bytes"),
}


@pytest.mark.parametrize(("payload", "says"), UNWELCOME.values(), ids=UNWELCOME)
def test_a_welcome_that_breaks_a_rule_is_refused_too(payload: bytes, says: str) -> None:
    """Trust is mutual: who answers at an address is judged like who dials."""
    dialler = Dialler(ZONE_B, ZONES, expect="zone-a")
    with pytest.raises(HandshakeRefused) as caught:
        dialler.receive(payload)
    assert says in str(caught.value)
    assert dialler.peer is None
    assert dialler.refusal is not None
    assert str(caught.value) == msgspec.msgpack.decode(dialler.refusal, type=Refusal).reason


@pytest.mark.parametrize("role", sorted(ROLES))
def test_each_door_is_for_its_roles(role: str) -> None:
    """A zone that dials a site's door for clients is told which door that is."""
    me = {"zone": ZONE_B, "site": replace(SITE, node_id="site-69"), "client": CLIENT, "probe": PROBE}[role]
    acceptor = Acceptor(SITE, ZONES, accepts=frozenset({"client", "probe"}))
    if role in acceptor.accepts:
        acceptor.receive(hello(me))
        return
    with pytest.raises(HandshakeRefused, match=f"role '{role}' has another door; this one is for client, probe"):
        acceptor.receive(hello(me))


def test_a_certificate_in_another_name_is_refused_on_both_sides() -> None:
    """Where a certificate is there to go by, it says who the peer is."""
    says = "node id 'zone-b' is not the 'zone-c' of its certificate"
    with pytest.raises(HandshakeRefused, match=says):
        Acceptor(ZONE_A, ZONES, peer_identity="zone-c").receive(hello())
    with pytest.raises(HandshakeRefused, match="node id 'zone-a' is not the 'zone-c' of its certificate"):
        Dialler(ZONE_B, ZONES, peer_identity="zone-c").receive(welcome())
    assert Acceptor(ZONE_A, ZONES, peer_identity="zone-b").receive(hello())


@pytest.mark.parametrize(
    ("theirs", "chosen"), [((1, 1), 1), ((1, 2), 2), ((2, 9), 3), ((3, 3), 3), ((0, 1), 1)], ids=str
)
def test_the_newest_version_both_speak_is_chosen(theirs: tuple[int, int], chosen: int) -> None:
    acceptor = Acceptor(replace(ZONE_A, protocols=(1, 3)), ZONES)
    dialler = Dialler(replace(ZONE_B, protocols=theirs), ZONES)
    assert dialler.receive(acceptor.receive(dialler.hello())).protocol == chosen
    assert acceptor.peer is not None
    assert acceptor.peer.protocol == chosen


def test_a_handshake_happens_once() -> None:
    """A second hello on the same connection is a mistake of ours, not a new chance for the peer."""
    acceptor = Acceptor(ZONE_A, ZONES)
    acceptor.receive(hello())
    with pytest.raises(RuntimeError, match="over"):
        acceptor.receive(hello(SITE))
    dialler = Dialler(ZONE_B, ZONES)
    dialler.receive(welcome())
    with pytest.raises(RuntimeError, match="over"):
        dialler.receive(welcome())


def test_fields_of_a_newer_release_are_ignored() -> None:
    """All three messages may grow at the end."""
    longer = msgpack.packb([*msgpack.unpackb(hello()), "zone of availability", {"tls": True}])
    assert Acceptor(ZONE_A, ZONES).receive(longer) == Acceptor(ZONE_A, ZONES).receive(hello())
    longer = msgpack.packb([*msgpack.unpackb(welcome()), 7])
    assert Dialler(ZONE_B, ZONES).receive(longer) == peer_of(ZONE_A)
    longer = msgpack.packb(["refusal", MAGIC, [1, 1], "no", "and more"])
    with pytest.raises(HandshakeRefused, match=r"refused by the other side: no$"):
        Dialler(ZONE_B).receive(longer)


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    for side in (Acceptor(ZONE_A, ZONES), Dialler(ZONE_B, ZONES)):
        with pytest.raises(HandshakeRefused):
            side.receive(data)


HELLOS = st.builds(
    Hello,
    magic=st.sampled_from([MAGIC, b"x"]),
    protocols=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    cluster_id=st.sampled_from(["france", "", "spain"]),
    node_id=st.one_of(st.sampled_from(["zone-a", "zone-b", "site-44"]), TEXTS),
    role=st.one_of(st.sampled_from(sorted(ROLES)), TEXTS),
    raft=st.integers(0, 4),
    levels=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    software=TEXTS,
    life=LIVES,
)


@settings(max_examples=300)
@given(st.one_of(HELLOS.map(msgspec.msgpack.encode), mutated(st.sampled_from([hello(), hello(SITE), hello(CLIENT)]))))
def test_whoever_is_accepted_keeps_every_rule(payload: bytes) -> None:
    """Any hello, sane or damaged: refused with a reason that fits its frame, or the peer is one the rules allow."""
    acceptor = Acceptor(ZONE_A, ZONES)
    try:
        answer = acceptor.receive(payload)
    except HandshakeRefused:
        assert acceptor.refusal is not None
        assert len(acceptor.refusal) < MAX_HANDSHAKE_BYTES
        return
    peer = acceptor.peer
    assert peer is not None
    assert len(answer) < MAX_HANDSHAKE_BYTES
    assert peer.role in ROLES
    assert peer.protocol == 1
    assert peer.node_id not in {"", "zone-a"}
    assert peer.cluster_id == "france" or (peer.role in {"client", "probe"} and peer.cluster_id == "")
    assert (ZONES.get(peer.node_id, 0) if peer.role == "zone" else 0) == peer.raft
    assert (peer.node_id in ZONES) == (peer.role == "zone")


def test_a_reason_that_quotes_the_peer_is_one_short_printable_line() -> None:
    """Names are the peer's to choose; our log is not."""
    acceptor = Acceptor(ZONE_A, ZONES)
    with pytest.raises(HandshakeRefused) as caught:
        acceptor.receive(hello(role="\n\x1b[2J" + "x" * 190))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    flood = msgspec.msgpack.encode(Refusal(MAGIC, (1, 1), "\n" * 1000))
    with pytest.raises(HandshakeRefused) as caught:
        Dialler(ZONE_B).receive(flood)
    assert str(caught.value).isprintable()


def test_the_largest_handshake_fits_the_small_limit() -> None:
    """Names as long as they may be, each character four bytes: still below the limit for strangers."""
    name = "🚑" * MAX_NAME
    me = Identity(name, name, "site", bytes(16), software=name)
    assert FrameReader().feed(frame(Dialler(me).hello())) != []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"role": "king"}, "role 'king'"),
        ({"life": b"x"}, "life of 1 bytes"),
        ({"node_id": ""}, "the node id at least one"),
        ({"cluster_id": ""}, "has a cluster id"),
        ({"raft": 0}, "raft number 0 for role zone"),
        ({"role": "site"}, "raft number 1 for role site"),
    ],
    ids=str,
)
def test_an_identity_every_peer_would_refuse_cannot_be_made(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(ZONE_A, **changes)
