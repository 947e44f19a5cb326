"""A weather by name, made softer word by word: `storm,-cut,loss=0.0,nodes=3,again=2`.

The first word is a weather. Each that follows changes what it has drawn, after it has drawn it:

    -crash · -disk_stall · -ring     without this fault, or this shape of a cut
    loss=0.0 · turn_ms=0             a parameter of `Weather` with this value
    again=2                          from here on other dice: the same weather, another run

The weather of a seed comes from the seed's first draws, so a softened one keeps all it is not told to change, and the
dice go on from the same place. What is switched off draws nothing any more, though: the run then takes another way.
That is why a run that should fail again is looked for with several `again` (shrink.py).

Leaves out: what may be left away without the failure going away (shrink.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from random import Random

from chaos.world.weather import CUTS, FAULTS, Weather

Drawn = Callable[[Random], Weather]

OTHER_DICE = "again"


def softened(name: str, weathers: Mapping[str, Drawn]) -> Drawn:
    """The weather of this name. Raises ValueError with what is wrong about it."""
    base, *words = name.split(",")
    if base not in weathers:
        raise ValueError(f"no weather is named {base!r}; there are {', '.join(weathers)}")
    for word in words:
        _apply(word, Weather())  # so that a wrong word is found before anything runs

    def draw(rng: Random) -> Weather:
        weather = weathers[base](rng)
        for word in words:
            _apply(word, weather)
        again = sum(int(word.partition("=")[2]) for word in words if word.startswith(f"{OTHER_DICE}="))
        if again:
            rng.seed(rng.getrandbits(64) + again)
        return weather

    return draw


def _apply(word: str, weather: Weather) -> None:
    name, equals, value = word.partition("=")
    if not equals:
        _leave_out(word.removeprefix("-").replace("_", " "), word, weather)
    elif name == OTHER_DICE:
        _parsed(value, 0, word)
    elif name in Weather.__slots__ and not isinstance(getattr(weather, name), tuple):
        setattr(weather, name, _parsed(value, getattr(weather, name), word))
    else:
        raise ValueError(f"{word!r}: a weather has no single value {name!r}")


def _leave_out(fault: str, word: str, weather: Weather) -> None:
    if not word.startswith("-") or fault not in (*FAULTS, *CUTS):
        raise ValueError(f"{word!r}: neither -FAULT, -CUT nor NAME=VALUE")
    weather.faults = tuple(name for name in weather.faults if name != fault)
    weather.cuts = tuple(name for name in weather.cuts if name != fault) or weather.cuts


def _parsed(text: str, like: object, word: str) -> object:
    """A value of the kind that `like` is."""
    try:
        match like:
            case bool():
                return {"yes": True, "no": False}[text]
            case Enum():
                return type(like)[text]
            case float():
                return float(text)
            case _:
                return int(text)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{word!r}: {text!r} is not of the kind of {like!r}") from error


def softer_words(weather: Weather) -> list[str]:
    """What might be left away from this weather, the boldest first: each as a word of its name."""
    words = ["-" + fault.replace(" ", "_") for fault in weather.faults]
    calm = Weather()
    for name in Weather.__slots__:
        value, plain = getattr(weather, name), getattr(calm, name)
        if name not in _KEPT and value != plain and not isinstance(value, tuple):
            words.append(f"{name}={_word(plain)}")
    words += [f"{name}=no" for name in _MECHANISMS if getattr(weather, name)]
    if "cut" in weather.faults and len(weather.cuts) > 1:
        words += ["-" + cut.replace(" ", "_") for cut in weather.cuts]
    return words + [f"nodes={count}" for count in (1, 2, 3, 4, 5, 6) if count < weather.nodes]


_KEPT = frozenset({"nodes", "election_timeout_ms", "heartbeat_interval_ms", "fault_interval_ms", "down_ms", "cut_ms",
                   "pause_ms", "aim_at_leader", "proposal_interval_ms", "pre_vote", "check_quorum", "connections",
                   "clock_drift_permille", "most_chunks", "chunk_ms", "kept_entries", "most_joiners"})  # fmt: skip
"""Neither better nor worse for being another number, or without meaning when what they belong to is off."""
_MECHANISMS = ("pre_vote", "check_quorum", "connections")
"""A failure that needs none of these is told in fewer words."""


def _word(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case Enum():
            return value.name
        case _:
            return str(value)
