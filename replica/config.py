"""The configuration of a zone or a site: a TOML file, decoded into typed values, wrong fields named with their path.

```toml
[cluster]
id = "samu-france"

[zone]                         # or [site]
name = "zone-a"                # a site's name is its Samu's organisation id: fr.health.samu440
number = 1                     # zones only: the voter's number
listen = "127.0.0.1:7001"
data = "data/zone-a"           # relative to this file

[[zones]]                      # every voter, this one included
number = 1
name = "zone-a"
address = "127.0.0.1:7001"     # as seen from here
priority = 0                   # the higher leads where both could
```

A zone that joins a running cluster lists the zones that are there, and not itself: it begins without a vote, and the
log tells it the rest.

Raised for anything wrong: `ConfigError`, with the path and what is allowed. Nothing is started then.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from replica.errors import ConfigError

Milliseconds = Annotated[int, Meta(ge=1, le=3_600_000)]
MillisecondsOrNone = Annotated[int, Meta(ge=0, le=3_600_000)]
Name = Annotated[str, Meta(min_length=1, max_length=120, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Number = Annotated[int, Meta(ge=1, le=127)]

T = TypeVar("T")


class ClusterSection(Struct, frozen=True, forbid_unknown_fields=True):
    """`generation`: how often the cluster was founded anew; for a zone that joins one that was."""

    id: Name
    generation: Annotated[int, Meta(ge=1, le=1_000_000)] = 1


class ZonePeer(Struct, frozen=True, forbid_unknown_fields=True):
    """One voter, and where it is reached from here."""

    number: Number
    name: Name
    address: str
    priority: int = 0


class ZoneSection(Struct, frozen=True, forbid_unknown_fields=True):
    name: Name
    number: Number
    listen: str
    data: str


class SiteSection(Struct, frozen=True, forbid_unknown_fields=True):
    """`organisations`: further names this Samu goes by, and those it speaks for; registered when the site opens."""

    name: Name
    listen: str
    data: str
    organisations: tuple[Name, ...] = ()


class Timing(Struct, frozen=True, forbid_unknown_fields=True):
    """All times a node goes by. The defaults suit zones a few milliseconds apart."""

    election_timeout_ms: Milliseconds = 140
    election_timeout_most_ms: MillisecondsOrNone = 0
    """How far it may grow with the measured round trips; 0: eight times the shortest."""
    heartbeat_interval_ms: Milliseconds = 28
    priority_patience_ms: MillisecondsOrNone = 5000
    """A leader hands over to a zone of higher priority that has kept up with it for so long; 0: never by itself."""
    disk_stall_ms: MillisecondsOrNone = 0
    """A leader whose disk has not finished a save for so long hands over; 0: after 300 ms or an election timeout,
    whichever is longer."""
    feed_interval_ms: Milliseconds = 100
    """A zone tells its sites at least this often what the quorum has confirmed."""
    line_silent_ms: Milliseconds = 240
    """A site leaves a zone it has heard nothing from for so long, and tries the next."""
    cut_off_after_ms: Milliseconds = 1500
    stable_ms: Milliseconds = 500
    resend_ms: Milliseconds = 500
    flush_interval_ms: Milliseconds = 500
    handshake_ms: Milliseconds = 2000
    """A connection that has not said who it is by then is closed."""
    reconnect_first_ms: Milliseconds = 10
    reconnect_most_ms: Milliseconds = 1000


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What a node will hold at most, so that nothing grows without an end."""

    connections: Annotated[int, Meta(ge=8, le=10_000)] = 1000
    waiting_operations: Annotated[int, Meta(ge=1, le=10_000_000)] = 20_000
    feed_ring_bytes: Annotated[int, Meta(ge=65_536)] = 64 << 20
    map_size_gib: Annotated[int, Meta(ge=1, le=1024)] = 64
    log_keep_mib: Annotated[int, Meta(ge=0, le=1 << 20)] = 64
    """Entries that are kept for followers a little behind, in bytes of their data; never more than a snapshot has."""
    dirty_mib: Annotated[int, Meta(ge=1, le=1 << 20)] = 256
    """What a leader has applied and not written back. Past it nothing new goes into the log until it is."""
    snapshot_mib_per_s: Annotated[int, Meta(ge=1, le=100_000)] = 32
    """What a node sends of its state, to all who lack it together."""
    snapshot_keep_s: Annotated[int, Meta(ge=0, le=31_536_000)] = 600
    """How long a snapshot that nobody asks for any more is kept."""
    past_days: Annotated[int, Meta(ge=0, le=3650)] = 7
    """How long a site remembers what its journal has let go of, to offer it again to a cluster that was founded anew
    without it; 0: not at all."""
    past_mib: Annotated[int, Meta(ge=0, le=1 << 20)] = 512
    """How much of that it remembers at most."""
    verdict_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    """How long a site remembers what became of each of its own acts; other verdicts than applied are in their case's
    history all the same."""
    changed_mib: Annotated[int, Meta(ge=0, le=1024)] = 8
    """Up to here a receiver a little behind is sent the records that changed, beyond it a snapshot."""
    preview_entries: Annotated[int, Meta(ge=0)] = 2000
    """A site that lacks more of the log than that is first sent its own cases, by a zone."""
    preview_mib: Annotated[int, Meta(ge=0, le=64)] = 16
    """How much of them at most; 0: all comes in the order of the log."""
    link_bytes: Annotated[int, Meta(ge=1 << 20, le=32 << 20)] = 16 << 20
    """What waits for one other zone at most. What is more is not sent; the log's protocol says it again."""
    inbox_messages: Annotated[int, Meta(ge=16, le=1_000_000)] = 10_000
    """Messages of other zones that wait for the loop; past that, nothing more is read from them."""


class Reads(Struct, frozen=True, forbid_unknown_fields=True):
    """`lease_reads`: a leader answers linearizable reads without asking the others while its lease holds. The same on
    all zones, or it is not safe; and true only while no clock runs wrong by more than `clock_drift_permille`."""

    lease_reads: bool = False
    clock_drift_permille: Annotated[int, Meta(ge=0, le=500)] = 10


class SheetSection(Struct, frozen=True, forbid_unknown_fields=True):
    """The emergency sheet that a running site keeps on disk. `path` ends in .html or .txt, relative to this file;
    `time_zone` such as Europe/Paris, empty for the machine's own."""

    path: str
    every_s: Annotated[int, Meta(ge=5, le=86_400)] = 60
    language: Literal["fr", "en"] = "fr"
    time_zone: str = ""


class ZoneConfig(Struct, frozen=True, forbid_unknown_fields=True):
    cluster: ClusterSection
    zone: ZoneSection
    zones: Annotated[tuple[ZonePeer, ...], Meta(min_length=1, max_length=7)]
    timing: Timing = Timing()
    limits: Limits = Limits()
    reads: Reads = Reads()

    @property
    def is_listed(self) -> bool:
        """Whether this zone is among `zones`: one of those its log began with. Others joined later."""
        return any(peer.number == self.zone.number for peer in self.zones)


class SiteConfig(Struct, frozen=True, forbid_unknown_fields=True):
    cluster: ClusterSection
    site: SiteSection
    zones: Annotated[tuple[ZonePeer, ...], Meta(min_length=1, max_length=7)]
    timing: Timing = Timing()
    limits: Limits = Limits()
    sheet: SheetSection | None = None


def load_zone(path: Path) -> ZoneConfig:
    """The zone configuration at `path`; its data folder made absolute. Raises ConfigError."""
    config = _decode(path, ZoneConfig)
    check_zone(config)
    data = str(_absolute(path, config.zone.data))
    return msgspec.structs.replace(config, zone=msgspec.structs.replace(config.zone, data=data))


def load_site(path: Path) -> SiteConfig:
    """The site configuration at `path`; its data folder made absolute. Raises ConfigError."""
    config = _decode(path, SiteConfig)
    check_site(config)
    data = str(_absolute(path, config.site.data))
    if config.sheet is not None:
        kept = msgspec.structs.replace(config.sheet, path=str(_absolute(path, config.sheet.path)))
        config = msgspec.structs.replace(config, sheet=kept)
    return msgspec.structs.replace(config, site=msgspec.structs.replace(config.site, data=data))


def check_zone(config: ZoneConfig) -> None:
    """What the types alone cannot say of a zone's configuration. Raises ConfigError."""
    _check_common(config.zones, config.timing)
    host_and_port(config.zone.listen, "$.zone.listen")
    me = config.zone
    for peer in config.zones:
        if peer.number == me.number and peer.name != me.name:
            raise ConfigError("$.zone.name", f"{me.name!r}, but [[zones]] calls {peer.number} {peer.name!r}")
    if not config.is_listed and any(peer.name == me.name for peer in config.zones):
        raise ConfigError("$.zone.number", f"{me.number} is not among [[zones]], but the name {me.name!r} is")


def check_site(config: SiteConfig) -> None:
    """What the types alone cannot say of a site's configuration. Raises ConfigError."""
    _check_common(config.zones, config.timing)
    host_and_port(config.site.listen, "$.site.listen")


def host_and_port(address: str, path: str) -> tuple[str, int]:
    """`host:port`, or `[v6]:port`. Raises ConfigError naming `path`."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(path, f"{address!r} is not host:port with a port of 0 to 65535")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _check_common(zones: tuple[ZonePeer, ...], timing: Timing) -> None:
    for at, peer in enumerate(zones):
        host_and_port(peer.address, f"$.zones[{at}].address")
        for before in zones[:at]:
            if before.number == peer.number:
                raise ConfigError(f"$.zones[{at}].number", f"{peer.number} is there twice")
            if before.name == peer.name:
                raise ConfigError(f"$.zones[{at}].name", f"{peer.name!r} is there twice")
    most_ms = timing.election_timeout_most_ms
    if 0 < most_ms < timing.election_timeout_ms:
        least_ms = timing.election_timeout_ms
        raise ConfigError("$.timing.election_timeout_most_ms", f"{most_ms} must be 0 or at least {least_ms}")
    if timing.heartbeat_interval_ms * 2 > timing.election_timeout_ms:
        raise ConfigError(
            "$.timing.heartbeat_interval_ms",
            f"{timing.heartbeat_interval_ms} must be at most half of election_timeout_ms, {timing.election_timeout_ms}",
        )


def _decode(path: Path, kind: type[T]) -> T:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise ConfigError(str(path), f"cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise ConfigError(str(path), f"is not UTF-8 at byte {problem.start}") from problem
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(str(path), f"is not TOML: {problem}") from problem
    try:
        return msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as problem:
        what, _, where = str(problem).partition(" - at `")
        raise ConfigError(where.removesuffix("`") or "$", what) from problem


def _absolute(config_file: Path, data: str) -> Path:
    folder = Path(data)
    return folder if folder.is_absolute() else (config_file.parent / folder).resolve()
