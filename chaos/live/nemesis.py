"""What goes wrong, one fault after the other: chosen by a seed, done, held a while, undone.

At most one zone is away at any moment, because losing the quorum is another question than losing a part of it; who
wants that too asks for `quorum-loss` or `all-down`. A site is its own affair and may fail at any time.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from replica.demo.caller import Caller
from replica.demo.looking import leader_of, until_level
from replica.demo.processes import ProcessFailed
from replica.demo.proxy import Mode
from replica.demo.supervisor import Cluster
from replica.errors import NotAvailable

HOLD_SECONDS: Final = (0.2, 3.0)
CALM_SECONDS: Final = (0.3, 1.5)
LEADER_SECONDS: Final = 3.0
LONG_SECONDS: Final = 10.0
LEVEL_SECONDS: Final = 5.0
LEADER_SHARE: Final = 0.5
"""How often a fault of a zone is the leader's: the interesting one."""
SITE_SHARE: Final = 0.4


class Nemesis:
    """Makes faults until cancelled; `heal` afterwards makes everything whole."""

    def __init__(
        self,
        cluster: Cluster,
        callers: dict[str, Caller],
        kinds: tuple[str, ...],
        rng: random.Random,
        tell: Callable[[str], None],
    ) -> None:
        self.cluster = cluster
        self.callers = callers
        self.kinds = kinds
        self.rng = rng
        self.tell = tell
        self.done: Counter[str] = Counter()

    async def torment(self) -> None:
        """One fault after the other, for ever. A fault once begun is undone, even when cancelled in between."""
        while True:
            await trio.sleep(self.rng.uniform(*CALM_SECONDS))
            if self.kinds:
                kind = self.rng.choice(self.kinds)
                self.done[kind] += 1
                await FAULTS[kind](self)

    async def heal(self) -> None:
        """Every line whole, every process running."""
        self.cluster.heal()
        for node in self.cluster.nodes.values():
            if node.child.alive:
                self.cluster.resume(node.name)
        async with trio.open_nursery() as nursery:
            for node in self.cluster.nodes.values():
                if not node.child.alive:
                    nursery.start_soon(self.cluster.start, node.name)

    async def kill(self) -> None:
        """SIGKILL any process; it is started again."""
        name = await self._anyone()
        self.tell(f"kill {name}")
        await self.cluster.kill(name)
        await self._hold()
        await self._start(name)

    async def restart(self) -> None:
        """SIGTERM any process, as an upgrade does; it is started again. Raises ProcessFailed for a disorderly end."""
        name = await self._anyone()
        self.tell(f"restart {name}")
        with trio.CancelScope(shield=True):
            code = await self.cluster.stop(name)
        if code != 0:
            raise ProcessFailed(f"{name} ended with {code} after SIGTERM\n{self.cluster.nodes[name].child.last_log()}")
        await self._start(name)

    async def cut(self) -> None:
        """Cut all lines of a site or a zone, silently or by reset, or just one line."""
        name = await self._anyone()
        others = sorted({end for ends in self.cluster.lines if name in ends for end in ends if end != name})
        other = self.rng.choice(others) if self.rng.random() < 1 / 3 else ""
        silently = self.rng.random() < 2 / 3
        self.tell(f"cut {name}{' from ' + other if other else ''}{'' if silently else ', by reset'}")
        self.cluster.cut(name, other, silently=silently)
        try:
            await self._hold()
        finally:
            self.cluster.heal(name, other)

    async def pause(self) -> None:
        """SIGSTOP any process for a while: it keeps its sockets and says nothing."""
        name = await self._anyone()
        self.tell(f"pause {name}")
        self.cluster.pause(name)
        try:
            await self._hold()
        finally:
            self.cluster.resume(name)

    async def long_pause(self) -> None:
        """SIGSTOP the leader for ten seconds: the others have another long before it goes on (C7)."""
        name = await self._leader()
        self.tell(f"pause {name} for {LONG_SECONDS:.0f} s")
        self.cluster.pause(name)
        try:
            await trio.sleep(LONG_SECONDS)
        finally:
            self.cluster.resume(name)

    async def one_way(self) -> None:
        """A zone, mostly the leader, can speak and not hear, or hear and not speak (C5): each zone sends on the line it
        has dialled itself, so one way is one line."""
        name, deaf = await self._leader(), self.rng.random() < 0.5
        ways = [ends for ends in self.cluster.lines if ends[deaf] == name and all(end in self._zones for end in ends)]
        self.tell(f"{name} is {'deaf' if deaf else 'mute'}")
        for ends in ways:
            self.cluster.lines[ends].set_mode(Mode.BLACK_HOLE)
        try:
            await self._hold()
        finally:
            for ends in ways:
                self.cluster.lines[ends].set_mode(Mode.PASS)

    async def all_down(self) -> None:
        """SIGKILL all zones at once (C2)."""
        self.tell("kill all zones")
        for name in self._zones:
            self.cluster.strike(name)
        for name in self._zones:
            await self.cluster.gone(name)
        await self._hold()
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for name in self._zones:
                    nursery.start_soon(self._start, name)

    async def quorum_loss(self) -> None:
        """SIGKILL a majority of the zones at once: nobody agrees on anything until they are back."""
        names = [zone.name for zone in self.cluster.zones]
        majority = self.rng.sample(names, len(names) // 2 + 1)
        self.tell(f"quorum loss: kill {', '.join(sorted(majority))}")
        for name in majority:
            await self.cluster.kill(name)
        await self._hold()
        for name in majority:
            await self._start(name)

    @property
    def _zones(self) -> list[str]:
        return [zone.name for zone in self.cluster.zones]

    async def _leader(self) -> str:
        """Who leads; where nobody does just now, any zone."""
        try:
            return await leader_of([self.callers[name] for name in self._zones], LEADER_SECONDS)
        except NotAvailable:
            return self.rng.choice(self._zones)

    async def _anyone(self) -> str:
        if self.cluster.sites and self.rng.random() < SITE_SHARE:
            return self.rng.choice(self.cluster.sites).name
        if self.rng.random() < LEADER_SHARE:
            return await self._leader()
        return self.rng.choice(self._zones)

    async def _hold(self) -> None:
        await trio.sleep(self.rng.uniform(*HOLD_SECONDS))

    async def _start(self, name: str) -> None:
        """Shielded: a process half started would be neither here nor there."""
        with trio.CancelScope(shield=True):
            await self.cluster.start(name)
        if self.cluster.nodes[name].role == "zone":  # the next zone may only fail when the quorum can spare it
            with contextlib.suppress(NotAvailable):
                await until_level([self.callers[zone.name] for zone in self.cluster.zones], LEVEL_SECONDS)


FAULTS: Final[dict[str, Callable[[Nemesis], Awaitable[None]]]] = {
    "kill": Nemesis.kill,
    "cut": Nemesis.cut,
    "restart": Nemesis.restart,
    "pause": Nemesis.pause,
    "long-pause": Nemesis.long_pause,
    "one-way": Nemesis.one_way,
    "all-down": Nemesis.all_down,
    "quorum-loss": Nemesis.quorum_loss,
}
