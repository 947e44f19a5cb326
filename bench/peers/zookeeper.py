"""An ensemble of ZooKeeper on loopback, fsync as it is by default, and a client that keeps many writes under way.

The client speaks ZooKeeper's own protocol, which needs two requests here: a session, and a `setData`. A connection's
requests are answered in their order, so that many callers share one by counting. Unlike h2load it is Python: above some
tens of thousands of writes a second it would be the limit.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from bench.peers.processes import PeerChild, Program
from replica.demo.processes import hold_port
from replica.errors import NotAvailable, ReplicaError

VARIABLE: Final = "REPLICA_BENCH_ZOOKEEPER_JAR"
JAR: Final = "/usr/share/java/zookeeper.jar"
HOW_TO: Final = f"ZooKeeper: install the package zookeeper and a Java runtime, or name its jar in {VARIABLE}"
MAIN: Final = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
SERVERS: Final = 3
START_SECONDS: Final = 30.0
ASK_SECONDS: Final = 1.0
LEADS_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.02
RETRY_S: Final = 0.005
SESSION_MS: Final = 30_000
CREATE: Final = 1
SET_DATA: Final = 5
NODE_EXISTS: Final = -110
NODE: Final = b"/bench"
WORLD_ANYONE: Final = struct.pack(">ii", 1, 31) + struct.pack(">i", 5) + b"world" + struct.pack(">i", 6) + b"anyone"
CONFIG: Final = """tickTime=2000
initLimit=10
syncLimit=5
dataDir={data}
clientPort={port}
clientPortAddress=127.0.0.1
admin.enableServer=false
maxClientCnxns=0
4lw.commands.whitelist=srvr
{servers}
"""


class ZooKeeperLost(ReplicaError):
    """The connection broke or was refused, or the server answered with an error: whether it is written is not
    known."""


def find_zookeeper() -> Program | None:
    """Its jar, with the version that its file name or one beside it has. None where it or a Java runtime is missing."""
    jar = Path(os.environ.get(VARIABLE) or JAR)
    if shutil.which("java") is None or not jar.exists():
        return None
    names = (jar.name, *sorted(file.name for file in jar.parent.glob("zookeeper-*.jar")))
    found = [match[1] for name in names if (match := re.fullmatch(r"zookeeper-([\d.]+)\.jar", name))]
    return Program(str(jar), found[0] if found else "of an unknown version")


class ZooKeeperLine:
    """One session with one server."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self._stream: trio.SocketStream | None = None
        self._read = bytearray()
        self._xid = 0

    async def open(self) -> None:
        """Raises ZooKeeperLost where nobody listens or no session is given."""
        try:
            self._stream = await trio.open_tcp_stream(self._host, self._port)
        except OSError as problem:
            raise ZooKeeperLost(str(problem)) from problem
        await self._send(framed(struct.pack(">iqiqi", 0, 0, SESSION_MS, 0, 16) + bytes(16)))
        await self._frames(1)

    async def write(self, value: bytes) -> None:
        """One `setData`, and its answer. Raises ZooKeeperLost."""
        self._xid += 1
        await self._send(set_data(self._xid, value))
        check((await self._frames(1))[0])

    async def make_node(self) -> None:
        """The node that is written, where it is not there yet."""
        self._xid += 1
        body = struct.pack(">ii", self._xid, CREATE) + text(NODE) + text(b"") + WORLD_ANYONE + struct.pack(">i", 0)
        await self._send(framed(body))
        check((await self._frames(1))[0], NODE_EXISTS)

    async def pump(self, callers: int, seconds: float, value: bytes) -> list[float]:
        """So many writes under way for so long: what each took in ms, as far as it was answered in time."""
        took: list[float] = []
        ends = trio.current_time() + seconds
        began = deque([trio.current_time()] * callers)
        await self._send(b"".join(set_data(number, value) for number in range(1, callers + 1)))
        while began:
            answers = await self._frames(1)
            now = trio.current_time()
            for answer in answers:
                check(answer)
                sent = began.popleft()
                if now <= ends:
                    took.append((now - sent) * 1000)
            if now < ends:
                began.extend([now] * len(answers))
                await self._send(b"".join(set_data(1, value) for _ in answers))
        return took

    def close(self) -> None:
        """At once; the server forgets the session later."""
        if self._stream is not None:
            self._stream.socket.close()
            self._stream = None
        self._read.clear()

    async def _send(self, data: bytes) -> None:
        try:
            if self._stream is None:
                raise ZooKeeperLost("not connected")
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as problem:
            raise ZooKeeperLost(str(problem)) from problem

    async def _frames(self, least: int) -> list[bytes]:
        """All frames that are there, at least so many."""
        found: list[bytes] = []
        while True:
            at = 0
            while len(self._read) - at >= 4:
                size = int.from_bytes(self._read[at : at + 4], "big")
                if len(self._read) - at < 4 + size:
                    break
                found.append(bytes(self._read[at + 4 : at + 4 + size]))
                at += 4 + size
            del self._read[:at]
            if len(found) >= least:
                return found
            try:
                if self._stream is None:
                    raise ZooKeeperLost("not connected")
                chunk = await self._stream.receive_some(65_536)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as problem:
                raise ZooKeeperLost(str(problem)) from problem
            if not chunk:
                raise ZooKeeperLost("the server closed the connection")
            self._read += chunk


def framed(body: bytes) -> bytes:
    """A request behind its length."""
    return struct.pack(">i", len(body)) + body


def text(value: bytes) -> bytes:
    """Bytes behind their length."""
    return struct.pack(">i", len(value)) + value


def set_data(xid: int, value: bytes) -> bytes:
    """A write of the node, whatever its version."""
    return framed(struct.pack(">ii", xid, SET_DATA) + text(NODE) + text(value) + struct.pack(">i", -1))


def check(answer: bytes, but: int = 0) -> None:
    """Raises ZooKeeperLost where an answer says an error, `but` this one."""
    error = int.from_bytes(answer[12:16], "big", signed=True)
    if error not in (0, but):
        raise ZooKeeperLost(f"ZooKeeper answered with error {error}")


@dataclass(eq=False, slots=True)
class Server:
    """One server of the ensemble."""

    name: str
    address: str
    child: PeerChild


@dataclass(eq=False)
class Ensemble:
    """Built by `open_zookeeper`."""

    version: str
    servers: dict[str, Server]

    @property
    def pids(self) -> list[int]:
        return [server.child.pid for server in self.servers.values() if server.child.alive]

    async def start_all(self) -> None:
        """All at once; ready when one leads. Raises ProcessFailed."""
        async with trio.open_nursery() as nursery:
            for name in self.servers:
                nursery.start_soon(self.start, name)
        line = ZooKeeperLine(self.servers[await self.leader()].address)
        await line.open()
        await line.make_node()
        line.close()

    async def start(self, name: str) -> None:
        """Start one that does not run, and wait until it follows or leads."""
        server = self.servers[name]

        async def answers() -> bool:
            return bool(await _role(server.address))

        await server.child.begin(answers, START_SECONDS)

    async def leader(self, within_s: float = LEADS_SECONDS) -> str:
        """Raises NotAvailable past `within_s`."""
        with trio.move_on_after(within_s):
            while True:
                for server in self.servers.values():
                    if await _role(server.address) == "leader":
                        return server.name
                await trio.sleep(LOOK_SECONDS)
        raise NotAvailable(f"no server of ZooKeeper leads after {within_s:g} s")

    def strike(self, name: str) -> float:
        """SIGKILL without waiting: `trio.current_time()` of the signal."""
        self.servers[name].child.signal(signal.SIGKILL)
        return trio.current_time()

    async def gone(self, name: str) -> None:
        """Wait until it has ended."""
        await self.servers[name].child.ended()

    async def first_write(self) -> None:
        """Returns once any server has written something: sessions with all are asked for again and again."""
        async with trio.open_nursery() as nursery:

            async def insist(address: str) -> None:
                while True:
                    line = ZooKeeperLine(address)
                    try:
                        with trio.move_on_after(ASK_SECONDS):
                            await line.open()
                            await line.write(b"x")
                            nursery.cancel_scope.cancel()
                            return
                    except ZooKeeperLost:
                        pass
                    finally:
                        line.close()
                    await trio.sleep(RETRY_S)

            for server in self.servers.values():
                nursery.start_soon(insist, server.address)


async def _role(address: str) -> str:
    """ "leader", "follower", or empty where it serves nobody now."""
    host, _, port = address.rpartition(":")
    said = b""
    with trio.move_on_after(ASK_SECONDS), contextlib.suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"srvr")
            while chunk := await stream.receive_some(4096):
                said += chunk
    found = re.search(rb"Mode: (\w+)", said)
    return found[1].decode() if found else ""


@asynccontextmanager
async def open_zookeeper(folder: Path) -> AsyncIterator[Ensemble]:
    """Folders and ports of an ensemble; nothing runs yet. On leaving, whatever still runs is killed. Raises
    NotAvailable where ZooKeeper is not here."""
    program = find_zookeeper()
    if program is None:
        raise NotAvailable(HOW_TO)
    numbers = range(1, SERVERS + 1)
    held = {(number, use): hold_port() for number in numbers for use in ("client", "peer", "election")}
    ports = {key: port.getsockname()[1] for key, port in held.items()}
    lines = "\n".join(f"server.{n}=127.0.0.1:{ports[n, 'peer']}:{ports[n, 'election']}" for n in numbers)
    servers: dict[str, Server] = {}
    try:
        for number in numbers:
            data = folder / f"zookeeper-{number}"
            data.mkdir(parents=True)
            (data / "myid").write_text(f"{number}\n")
            config = data / "zoo.cfg"
            config.write_text(CONFIG.format(data=data, port=ports[number, "client"], servers=lines))
            child = PeerChild(data.name, ("java", "-cp", program.path, MAIN, str(config)), folder / f"{data.name}.log")
            servers[data.name] = Server(data.name, f"127.0.0.1:{ports[number, 'client']}", child)
        yield Ensemble(program.version, servers)
    finally:
        for server in servers.values():
            server.child.kill_now()
        for port in held.values():
            port.close()
