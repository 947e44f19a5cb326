"""h2load, the load generator of nghttp2, as the client of a peer: run, and its figures read.

Of each request its log has a line: when it began, its status, how many microseconds it took. Percentiles come from
those, not from its summary, which has none.
"""

from __future__ import annotations

import re
import resource
import subprocess
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from bench.figures import percentile
from bench.peers.processes import Program, newest, places
from replica.errors import ReplicaError

VARIABLE: Final = "REPLICA_BENCH_H2LOAD"
HOW_TO: Final = f"h2load: install the package nghttp2-client, or name the program in {VARIABLE}"
GRPC: Final = ("-H", "content-type: application/grpc", "-H", "te: trailers")
JSON: Final = ("--h1", "-H", "content-type: application/json")
MOST_THREADS: Final = 1
MARGIN_SECONDS: Final = 30.0


class H2loadFailed(ReplicaError):
    """It could not be run, or printed something else than expected; the text holds what it printed."""


class Shape(Struct, frozen=True):
    """How so many requests are kept under way: `protocol` "grpc" or "json", over so many connections, so many streams
    on each (JSON over HTTP/1.1 has one)."""

    protocol: str
    connections: int
    streams: int

    @property
    def callers(self) -> int:
        return self.connections * self.streams

    def text(self) -> str:
        kind = "gRPC" if self.protocol == "grpc" else "JSON gateway"
        return f"h2load, {kind}, {self.connections} connections of {self.streams}"


class Summary(Struct, frozen=True):
    """What it printed at the end: requests answered, those not answered with 2xx, body bytes received."""

    per_s: float
    done: int
    failed: int
    data_bytes: int


class Ran(Struct, frozen=True):
    """One run. Times in ms. `cpu_s`: of h2load itself."""

    summary: Summary
    p50: float
    p99: float
    cpu_s: float


def find_h2load() -> Program | None:
    """None where there is none."""
    return newest(places("h2load", VARIABLE), ("--version",), r"nghttp2/([\d.]+)")


async def h2load(program: Program, shape: Shape, url: str, body: bytes, seconds: float, folder: Path) -> Ran:
    """`seconds` of requests with this body. Every request counts, from the first; warming up is another run.

    Raises H2loadFailed.
    """
    data, log = folder / "h2load-body", folder / "h2load-log"
    data.write_bytes(body)
    log.unlink(missing_ok=True)
    command = (
        program.path,
        *(GRPC if shape.protocol == "grpc" else JSON),
        f"--clients={shape.connections}",
        f"--max-concurrent-streams={shape.streams}",
        f"--threads={MOST_THREADS}",
        f"--duration={round(seconds * 1000)}ms",
        f"--data={data}",
        f"--log-file={log}",
        url,
    )
    before = _children_cpu_s()
    with trio.move_on_after(seconds + MARGIN_SECONDS) as scope:
        ran = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
    if scope.cancelled_caught:
        raise H2loadFailed(f"h2load had not ended {MARGIN_SECONDS:g} s after its time")
    cpu_s = _children_cpu_s() - before
    printed = ran.stdout.decode(errors="replace")
    if ran.returncode != 0:
        raise H2loadFailed(f"h2load ended with {ran.returncode}: {printed[-2000:]}")
    summary = read_summary(printed)
    taken_ms = read_log(log.read_text(encoding="ascii"))
    log.unlink()
    if not taken_ms:
        raise H2loadFailed(f"not one request was answered: {printed[-2000:]}")
    return Ran(summary, percentile(taken_ms, 50), percentile(taken_ms, 99), cpu_s)


def read_summary(printed: str) -> Summary:
    """The figures at the end of what it prints. Raises H2loadFailed where they are not there."""
    rate = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", printed)
    requests = re.search(r"requests: .* (\d+) done, (\d+) succeeded, \d+ failed, (\d+) errored", printed)
    data = re.search(r"\((\d+)\) data", printed)
    if rate is None or requests is None or data is None:
        raise H2loadFailed(f"h2load printed no summary: {printed[-2000:]}")
    done, succeeded, errored = (int(text) for text in requests.groups())
    return Summary(float(rate[1]), done, done - succeeded + errored, int(data[1]))


def read_log(text: str) -> list[float]:
    """How long each request took, in ms, sorted. A line: when it began (µs), its status, how long it took (µs); one
    whose stream failed has status -1 and is not a time."""
    lines = (line.split("\t") for line in text.splitlines())
    return sorted(int(line[2]) / 1000 for line in lines if len(line) == 3 and line[1].startswith("2"))


def _children_cpu_s() -> float:
    """CPU seconds of the children that have ended and been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
