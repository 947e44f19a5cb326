"""The keys of the state's records: one leading byte says what is kept there, names follow, a zero byte ends each name.

Everything that belongs to one case lies under one prefix (`c` name 0), so a case is read, moved and archived with
one scan; likewise resources (`r`) and requests (`q`). Heads lie apart (`C`, `R`, `Q`), so a list of cases reads no
notes.

A name that is long, holds a zero byte, or looks like a hashed one is replaced by a hash: LMDB allows 511 bytes a
key, and the longest key here is two names and a little more. The record itself always holds the name in full."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from struct import Struct

from replica.cases.operations import OperationId

NAME_BYTES = 120
"""Longer names are hashed in keys."""

LEVEL = b"L"
CHARGES = b"g"
CHARGE_HISTORY = b"G"
CHARGE_TERMS = b"e"
CHARGE_ASKS = b"a"
CHARGE_TURNS = b"A"
CONFLICTS = b"x"
DIGESTS = b"d"
SUBJECT_DIGESTS = b"D"
DIGEST_TOTAL = b"t"
LOOSE_DOCUMENTS = b"u"
GENERATION = b"n"
GENERATIONS = b"N"
REGISTRY = b"o"
SITES = b"S"
STREAMS = b"s"
KEPT_VERDICTS = b"v"
PARTS = {"case": b"c", "resource": b"r", "request": b"q"}
HEADS = {"case": b"C", "resource": b"R", "request": b"Q"}
KINDS = {
    b"c"[0]: "case",
    b"r"[0]: "resource",
    b"q"[0]: "request",
    b"C"[0]: "case",
    b"R"[0]: "resource",
    b"Q"[0]: "request",
}
"""First byte of a key of a subject → the subject's kind."""

_NUMBER = Struct(">Q")
_PLACE = Struct(">QII")


@lru_cache(maxsize=1 << 14)
def name(text: str) -> bytes:
    """A name as it stands in a key. Remembered, because one operation asks for the same few names a dozen times."""
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) > NAME_BYTES or b"\0" in raw or raw[:1] == b"#":
        return b"#" + blake2b(raw, digest_size=16).hexdigest().encode()
    return raw


def content(field: str, key: str, value: str) -> bytes:
    """An element of a union is identified by (key, content): 16 bytes of hash, lengths first so that no two collide."""
    raws = [text.encode("utf-8", "surrogatepass") for text in (field, key, value)]
    return blake2b(b"".join([_NUMBER.pack(len(raw)) + raw for raw in raws]), digest_size=16).digest()


def incarnation(value: bytes) -> bytes:
    """16 bytes as they are; anything else, which no honest site sends, hashed to a length no honest one has."""
    return value if len(value) == 16 else b"#" + blake2b(value, digest_size=16).digest()


# --- sites and their operations ---


def site(site_id: str) -> bytes:
    return b"S" + name(site_id)


@lru_cache(maxsize=1 << 12)
def stream(site_id: str, inc: bytes) -> bytes:
    return b"s" + name(site_id) + b"\0" + incarnation(inc)


def streams(site_id: str) -> bytes:
    """The prefix of all lives of one site."""
    return b"s" + name(site_id) + b"\0"


def kept_verdict(site_id: str, inc: bytes, seq: int) -> bytes:
    return _kept_verdicts_of(site_id, inc) + _NUMBER.pack(seq)


@lru_cache(maxsize=1 << 12)
def _kept_verdicts_of(site_id: str, inc: bytes) -> bytes:
    return b"v" + name(site_id) + b"\0" + incarnation(inc)


def kept_verdicts(site_id: str) -> bytes:
    return b"v" + name(site_id) + b"\0"


def caller_key(site_id: str, key: str) -> bytes:
    return b"k" + name(site_id) + b"\0" + content("key", "", key)


def caller_keys(site_id: str) -> bytes:
    return b"k" + name(site_id) + b"\0"


def caller_key_places(site_id: str) -> bytes:
    return b"K" + name(site_id) + b"\0"


def caller_key_place(site_id: str, place: int) -> bytes:
    return b"K" + name(site_id) + b"\0" + _NUMBER.pack(place)


# --- who is who, who is in charge ---


def organisation(alias: str) -> bytes:
    return b"o" + name(alias)


def charge(samu: str) -> bytes:
    return b"g" + name(samu)


def charge_change(samu: str, epoch: int) -> bytes:
    return b"G" + name(samu) + b"\0" + _NUMBER.pack(epoch)


def charge_changes(samu: str) -> bytes:
    return b"G" + name(samu) + b"\0"


def charge_terms(samu: str, epoch: int) -> bytes:
    """Under which terms the take-over of that epoch was made."""
    return b"e" + name(samu) + b"\0" + _NUMBER.pack(epoch)


def all_charge_terms(samu: str) -> bytes:
    return b"e" + name(samu) + b"\0"


def charge_turns(samu: str) -> bytes:
    return b"A" + name(samu)


def charge_ask(samu: str) -> bytes:
    return b"a" + name(samu)


def generation(number: int) -> bytes:
    return GENERATIONS + _NUMBER.pack(number)


def sender_case(organisation_id: str, number: str) -> bytes:
    return b"i" + name(organisation_id) + b"\0" + name(number)


# --- cases, resources, requests ---


def head(kind: str, subject: str) -> bytes:
    return HEADS[kind] + name(subject)


def parts(kind: str, subject: str) -> bytes:
    """The prefix of all parts of one subject."""
    return PARTS[kind] + name(subject) + b"\0"


def subject_digest(key: bytes) -> bytes:
    """Where the digest of the subject is kept to which `key` (a head's or a part's) belongs."""
    if key[:1] in (b"C", b"R", b"Q"):
        return b"D" + bytes((key[0] + 32,)) + key[1:]
    return b"D" + key[: key.index(b"\0")]


def head_of_parts(prefix: bytes) -> bytes:
    """The key of the head of the subject whose parts begin with `prefix` (without its closing zero byte)."""
    return bytes((prefix[0] - 32,)) + prefix[1:]


def group(prefix: bytes, group_name: str, key: str) -> bytes:
    """A group of fields; `key` is the patient's id for the groups kept per patient, else empty."""
    return prefix + b"f" + group_name.encode() + b"\0" + (name(key) if key else b"")


def element(prefix: bytes, field: str, key: str, value: str) -> bytes:
    return prefix + b"u" + field.encode() + b"\0" + content(field, key, value)


def elements(prefix: bytes) -> bytes:
    return prefix + b"u"


def document(prefix: bytes, field: str, key: str, value: str) -> bytes:
    return prefix + b"w" + content(field, key, value)


def history(prefix: bytes, index: int, position: int, ordinal: int, operation: OperationId) -> bytes:
    """In the order of the log. The operation's own number keeps apart what a working view applies at one index."""
    place = _PLACE.pack(index, position, ordinal)
    return prefix + b"h" + place + incarnation(operation.incarnation)[:8] + _NUMBER.pack(max(0, operation.seq))


def history_ring(prefix: bytes, place: int) -> bytes:
    return prefix + b"h" + _NUMBER.pack(place)


def history_count(prefix: bytes) -> bytes:
    return prefix + b"n"


def judged(prefix: bytes, index: int, position: int, operation: OperationId) -> bytes:
    """A verdict in the history of the case it was said about."""
    place = _PLACE.pack(index, position, 0)
    return prefix + b"v" + place + incarnation(operation.incarnation)[:8] + _NUMBER.pack(max(0, operation.seq))


def message(prefix: bytes, message_id: str) -> bytes:
    return prefix + b"g" + content("message", "", message_id)


def messages_ring(prefix: bytes) -> bytes:
    return prefix + b"G"


def mission(prefix: bytes, resource: str) -> bytes:
    """`prefix` of the case served; of the resource itself for statuses that name no case."""
    return prefix + b"m" + name(resource)


def missions(prefix: bytes) -> bytes:
    return prefix + b"m"


def step(prefix: bytes, resource: str, status: str, at_ms: int) -> bytes:
    return prefix + b"t" + content(resource, status, str(at_ms))


def current_mission(prefix: bytes) -> bytes:
    return prefix + b"M"


def request_link(prefix: bytes, request: str) -> bytes:
    return prefix + b"q" + name(request)


def request_links(prefix: bytes) -> bytes:
    return prefix + b"q"


def conflicts_of(kind: str, subject: str) -> bytes:
    """The prefix of all open conflicts about one subject."""
    return b"x" + PARTS[kind] + name(subject) + b"\0"


def conflict(kind: str, subject: str, field: str, key: str) -> bytes:
    return b"x" + PARTS[kind] + name(subject) + b"\0" + field.encode() + b"\0" + name(key)


def loose_document(field: str, key: str, value: str) -> bytes:
    return b"u" + content(field, key, value)
