"""The first thing said on any connection: who are you, of which cluster, and what do you speak?

The dialling side says `Hello`, the accepting side judges it and says `Welcome` or `Refusal`, the dialling side judges
the welcome in turn. Nothing else is looked at before. Each side is an object without a socket: payloads in, payloads
out.

    dialler = Dialler(me, expect="zone-b")          acceptor = Acceptor(me, zones, accepts)
    send(dialler.hello())                    →      send(acceptor.receive(payload))
    peer = dialler.receive(payload)          ←      peer = acceptor.peer

Whoever refuses raises HandshakeRefused with the reason in words, to be logged, and holds in `refusal` the payload
that tells the other side the same before the connection is closed.

These three messages must be readable by every release, so they only ever grow at the end, and the magic and the range
of protocol versions stay in their place. What is left out: that a second process under the same node id is connected
already (the runtime sees both `life` values; for sites the gate decides, rule 8), and whether feature levels meet (an
operation raises the level only once every voter speaks it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, NoReturn, TypeVar

import msgspec
from msgspec import Meta, Struct

from replica.errors import HandshakeRefused, RemoteProtocolError
from replica.wire.decoding import brief, decode_with
from replica.wire.limits import INCARNATION_BYTES, MAX_NAME

T = TypeVar("T")

NOT_A_MEMBER: Final = "is not in the membership"
"""In the reason why a zone is refused that was removed, or not added yet: it may go by it."""

MAGIC: Final = b"rplc"
PROTOCOLS: Final = (1, 1)
"""The oldest and the newest protocol version this release speaks."""
ROLES: Final = frozenset({"zone", "site", "client", "probe"})
MEMBER_ROLES: Final = frozenset({"zone", "site"})
"""Those that belong to a cluster. The others may not know its id yet."""

_Short = Annotated[str, Meta(max_length=MAX_NAME)]
_Number = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
_Magic = Annotated[bytes, Meta(max_length=16)]
_Life = Annotated[bytes, Meta(min_length=INCARNATION_BYTES, max_length=INCARNATION_BYTES)]


def cluster_name(name: str, generation: int) -> str:
    """The cluster's id on the wire: its name, and how often it was founded anew where it was."""
    return name if generation <= 1 else f"{name}@{generation}"


def generation_within(cluster_id: str, newer: str) -> bool:
    """Whether `newer` is the same cluster as `cluster_id`, of the same generation or a later one."""
    (name, _, generation), (newer_name, _, newer_generation) = cluster_id.partition("@"), newer.partition("@")
    numbers = [int(text) if text.isascii() and text.isdigit() else 1 for text in (generation, newer_generation)]
    return name == newer_name and numbers[0] <= numbers[1]


class Hello(Struct, frozen=True, array_like=True, tag="hello"):
    """The dialling side. `life`: 16 random bytes of this process, so that a restart is told from a reconnect."""

    magic: _Magic
    protocols: tuple[_Number, _Number]
    cluster_id: _Short
    node_id: _Short
    role: _Short
    raft: _Number
    levels: tuple[_Number, _Number]
    software: _Short
    life: _Life


class Welcome(Struct, frozen=True, array_like=True, tag="welcome"):
    """The accepting side: the same about itself, with the one protocol version that both will speak."""

    magic: _Magic
    protocol: _Number
    cluster_id: _Short
    node_id: _Short
    role: _Short
    raft: _Number
    levels: tuple[_Number, _Number]
    software: _Short
    life: _Life


class Refusal(Struct, frozen=True, array_like=True, tag="refusal"):
    """The last message on this connection, with the reason in words."""

    magic: _Magic
    protocols: tuple[_Number, _Number]
    reason: Annotated[str, Meta(max_length=1000)]


_ENCODER: Final = msgspec.msgpack.Encoder()
_HELLO: Final = msgspec.msgpack.Decoder(Hello)
_ANSWER: Final = msgspec.msgpack.Decoder(Welcome | Refusal)


@dataclass(frozen=True, slots=True)
class Identity:
    """This process, as it names itself on every connection it has.

    `raft` is a zone's number in the log, 0 for others; `levels` the oldest and newest feature level it can apply; a
    client leaves `cluster_id` empty where it does not know it.
    """

    cluster_id: str
    node_id: str
    role: str
    life: bytes
    raft: int = 0
    levels: tuple[int, int] = (1, 1)
    software: str = ""
    protocols: tuple[int, int] = PROTOCOLS

    def __post_init__(self) -> None:
        """Raises ValueError for an identity every peer would refuse: the configuration is checked before, so a bug."""
        if self.role not in ROLES:
            raise ValueError(f"role {self.role!r}; one of {sorted(ROLES)}")
        if len(self.life) != INCARNATION_BYTES:
            raise ValueError(f"life of {len(self.life)} bytes; {INCARNATION_BYTES} are needed")
        if not 0 < len(self.node_id) <= MAX_NAME or len(self.cluster_id) > MAX_NAME:
            raise ValueError(f"node id and cluster id have up to {MAX_NAME} characters, the node id at least one")
        if (self.role == "zone") != (self.raft > 0):
            raise ValueError(f"raft number {self.raft} for role {self.role}; zones have one, others 0")
        if self.role in MEMBER_ROLES and not self.cluster_id:
            raise ValueError(f"a {self.role} has a cluster id")


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side, as both have agreed. `protocol` is the version spoken from here on."""

    node_id: str
    role: str
    cluster_id: str
    raft: int
    protocol: int
    levels: tuple[int, int]
    software: str
    life: bytes = field(repr=False)


class _Handshake:
    """What both sides have in common: who I am, whom I know, and how to refuse."""

    def __init__(self, me: Identity, zones: Mapping[str, int], peer_identity: str | None) -> None:
        self.me = me
        self.zones = zones
        self.peer_identity = peer_identity
        self.peer: Peer | None = None
        self.refusal: bytes | None = None

    def _refuse(self, reason: str) -> NoReturn:
        reason = reason[:1000]
        self.refusal = _ENCODER.encode(Refusal(MAGIC, self.me.protocols, reason))
        raise HandshakeRefused(reason)

    def _decode(self, decoder: msgspec.msgpack.Decoder[T], payload: bytes, what: str) -> T:
        try:
            return decode_with(decoder, payload, what)
        except RemoteProtocolError as error:
            self._refuse(str(error))

    def _judge_identity(self, said: Hello | Welcome) -> None:
        """What holds for whoever is at the other end, dialling or dialled."""
        node, role = brief(said.node_id), brief(said.role)
        if said.role not in ROLES:
            self._refuse(f"role '{role}' is not known; one of {', '.join(sorted(ROLES))}")
        if not said.node_id:
            self._refuse("the node id is empty")
        if said.node_id == self.me.node_id:
            self._refuse(f"node id '{node}' is my own")
        if self.peer_identity is not None and self.peer_identity != said.node_id:
            self._refuse(f"node id '{node}' is not the '{brief(self.peer_identity)}' of its certificate")
        if not 0 <= said.levels[0] <= said.levels[1]:
            self._refuse(f"feature levels {said.levels[0]} to {said.levels[1]} are no range")
        if said.role == "zone":
            self._judge_zone(said, node)
        elif said.raft:
            self._refuse(f"a {role} has no raft number, but says {said.raft}")
        elif said.node_id in self.zones:
            self._refuse(f"node id '{node}' is a zone's, but its role is {role}")

    def _judge_zone(self, said: Hello | Welcome, node: str) -> None:
        """A zone is known by its name and its number in the log; a site or client knows the zones by name only from its
        configuration, and may know none."""
        known = self.zones.get(said.node_id)
        if known is None and (self.zones or self.me.role == "zone"):
            self._refuse(f"zone '{node}' {NOT_A_MEMBER}; known: {', '.join(sorted(self.zones)) or 'none'}")
        if known is not None and known != said.raft:
            self._refuse(f"zone '{node}' is number {known} in the membership, but says {said.raft}")
        if said.raft == 0 or said.raft == self.me.raft:
            self._refuse(f"zone '{node}' says raft number {said.raft}; mine is {self.me.raft}, and 0 is nobody's")


class Acceptor(_Handshake):
    """The side that was dialled: a zone, or a site at its own door.

    `zones`: node id → raft number of the membership. `accepts`: the roles this door is for. `peer_identity`: whom the
    peer's certificate names, None where there is no certificate to go by.
    """

    def __init__(
        self,
        me: Identity,
        zones: Mapping[str, int],
        accepts: frozenset[str] = ROLES,
        peer_identity: str | None = None,
    ) -> None:
        super().__init__(me, zones, peer_identity)
        self.accepts = accepts

    def receive(self, payload: bytes) -> bytes:
        """Judge the first payload; the Welcome to send back, and `peer` is known.

        Raises HandshakeRefused: send `refusal`, log the reason, close. Raises RuntimeError when called twice.
        """
        if self.peer is not None or self.refusal is not None:
            raise RuntimeError("this handshake is over")
        hello = self._parse(payload)
        protocol = self._common_protocol(hello)
        self._judge_cluster(hello)
        self._judge_identity(hello)
        if hello.role not in self.accepts:
            self._refuse(f"role '{hello.role}' has another door; this one is for {', '.join(sorted(self.accepts))}")
        me = self.me
        self.peer = Peer(
            hello.node_id,
            hello.role,
            hello.cluster_id,
            hello.raft,
            protocol,
            hello.levels,
            hello.software,
            hello.life,
        )
        return _ENCODER.encode(
            Welcome(MAGIC, protocol, me.cluster_id, me.node_id, me.role, me.raft, me.levels, me.software, me.life)
        )

    def _parse(self, payload: bytes) -> Hello:
        hello = self._decode(_HELLO, payload, "hello")
        if hello.magic != MAGIC:
            self._refuse("this is not the protocol of replica (wrong magic)")
        return hello

    def _common_protocol(self, hello: Hello) -> int:
        mine, theirs = self.me.protocols, hello.protocols
        newest = min(mine[1], theirs[1])
        if newest < max(mine[0], theirs[0]):
            self._refuse(f"no common protocol version: {mine[0]} to {mine[1]} here, {theirs[0]} to {theirs[1]} there")
        return newest

    def _judge_cluster(self, hello: Hello) -> None:
        any_cluster = not hello.cluster_id and hello.role not in MEMBER_ROLES
        # A site goes with its cluster, however often that is founded anew; a zone of an earlier founding is out.
        follows = hello.role == "site" and generation_within(hello.cluster_id, self.me.cluster_id)
        if hello.cluster_id != self.me.cluster_id and not any_cluster and not follows:
            self._refuse(f"cluster id '{brief(hello.cluster_id)}' there, '{self.me.cluster_id}' here")


class Dialler(_Handshake):
    """The side that dialled. `expect`: the node id it meant to reach, where it knows (a zone of its configuration)."""

    def __init__(
        self,
        me: Identity,
        zones: Mapping[str, int] | None = None,
        expect: str | None = None,
        peer_identity: str | None = None,
    ) -> None:
        super().__init__(me, {} if zones is None else zones, peer_identity)
        self.expect = expect

    def hello(self) -> bytes:
        """The first payload to send."""
        me = self.me
        return _ENCODER.encode(
            Hello(MAGIC, me.protocols, me.cluster_id, me.node_id, me.role, me.raft, me.levels, me.software, me.life)
        )

    def receive(self, payload: bytes) -> Peer:
        """Judge the answer; who it is, with whom everything else may be said now.

        Raises HandshakeRefused, in the other side's words where it refused us (then `refusal` stays None and there is
        nothing to send). Raises RuntimeError when called twice.
        """
        if self.peer is not None or self.refusal is not None:
            raise RuntimeError("this handshake is over")
        welcome = self._parse(payload)
        oldest, newest = self.me.protocols
        if not oldest <= welcome.protocol <= newest:
            self._refuse(f"protocol version {welcome.protocol} was chosen; {oldest} to {newest} are spoken here")
        follows = self.me.role == "site" and generation_within(self.me.cluster_id, welcome.cluster_id)
        if self.me.cluster_id and welcome.cluster_id != self.me.cluster_id and not follows:
            self._refuse(f"cluster id '{brief(welcome.cluster_id)}' there, '{self.me.cluster_id}' here")
        self._judge_identity(welcome)
        if welcome.role not in MEMBER_ROLES:
            self._refuse(f"a {welcome.role} answered; a zone or a site was dialled")
        if self.expect is not None and welcome.node_id != self.expect:
            self._refuse(f"'{brief(welcome.node_id)}' answered where '{brief(self.expect)}' was dialled")
        self.peer = Peer(
            welcome.node_id,
            welcome.role,
            welcome.cluster_id,
            welcome.raft,
            welcome.protocol,
            welcome.levels,
            welcome.software,
            welcome.life,
        )
        return self.peer

    def _parse(self, payload: bytes) -> Welcome:
        answer: Welcome | Refusal = self._decode(_ANSWER, payload, "answer to hello")
        if answer.magic != MAGIC:
            self._refuse("this is not the protocol of replica (wrong magic)")
        if isinstance(answer, Refusal):
            raise HandshakeRefused(f"refused by the other side: {brief(answer.reason, 1000)}")
        return answer
