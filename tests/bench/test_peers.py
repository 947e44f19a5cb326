"""What is said to other systems is what they expect, byte for byte; what they answer is read, and errors are seen."""

from __future__ import annotations

import socket
from base64 import b64decode
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from bench.__main__ import main
from bench.machine import this_machine
from bench.peers import etcd_wire as wire
from bench.peers.etcd import EtcdPlan, find_etcd, judged, open_etcd, put_load, range_load, shapes, why_missing
from bench.peers.etcd_caller import EtcdCaller
from bench.peers.h2load import H2loadFailed, Ran, Shape, Summary, read_log, read_summary
from bench.peers.http import HttpLine, HttpLost
from bench.peers.processes import Program, newest, places
from bench.peers.pysyncobj import Order, find_pysyncobj, open_pysyncobj
from bench.peers.zookeeper import ZooKeeperLine, ZooKeeperLost, check, find_zookeeper, open_zookeeper, set_data
from bench.peers_table import PeersReport, Row, table
from bench.peers_table import judged as judged_check
from replica.demo.processes import hold_port

PRINTED = """
finished in 3.00s, 3327.67 req/s, 308.71KB/s
requests: 9983 total, 9983 started, 9983 done, 9980 succeeded, 3 failed, 1 errored, 0 timeout
status codes: 9980 2xx, 0 3xx, 0 4xx, 3 5xx
traffic: 926.13KB (948355) total, 25.22KB (25830) headers (space savings 94.71%), 426.70KB (436944) data
"""

needs_etcd = pytest.mark.skipif(bool(why_missing()), reason=why_missing() or "all is here")
needs_etcd_alone = pytest.mark.skipif(find_etcd() is None, reason="no etcd here")


def test_a_put_is_a_framed_protobuf_message() -> None:
    """Key in field 1, value in field 2, behind a zero byte and the length in four bytes."""
    assert wire.put_grpc(b"k", b"v") == b"\x00\x00\x00\x00\x06\x0a\x01k\x12\x01v"


def test_a_linearizable_read_says_nothing_more_than_its_key() -> None:
    """Linearizable is what etcd does by default; serializable is asked for in field 7."""
    assert wire.range_grpc(b"k", linearizable=True)[5:] == b"\x0a\x01k"
    assert wire.range_grpc(b"k", linearizable=False)[5:] == b"\x0a\x01k\x38\x01"


@pytest.mark.parametrize(("number", "written"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02")])
def test_a_varint_has_its_low_bits_first(number: int, written: str) -> None:
    assert wire.varint(number).hex() == written


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_the_gateway_gets_keys_and_values_in_base64(key: bytes, value: bytes) -> None:
    """As JSON has no bytes."""
    said = msgspec.json.decode(wire.put_json(key, value))
    assert (b64decode(said["key"]), b64decode(said["value"])) == (key, value)


def test_puts_together_are_one_transaction() -> None:
    """Without a condition, so that it always succeeds."""
    said = msgspec.json.decode(wire.txn_json([(b"a", b"1"), (b"b", b"2")]))
    assert [b64decode(one["requestPut"]["key"]) for one in said["success"]] == [b"a", b"b"]
    assert "compare" not in said


def test_a_status_is_read_from_strings_and_gaps() -> None:
    """The gateway writes 64 bits as strings and leaves out what is zero."""
    said = b'{"header":{"member_id":"12","revision":"7"},"leader":"34","raftTerm":"2"}'
    assert wire.status(said) == wire.Status(member=12, leader=34, term=2, revision=7)
    assert wire.status(b"{}") == wire.Status(0, 0, 0, 0)


def test_the_summary_of_h2load_is_read() -> None:
    """What failed and what broke are both failures."""
    assert read_summary(PRINTED) == Summary(per_s=3327.67, done=9983, failed=4, data_bytes=436944)


def test_a_run_without_a_summary_is_an_error() -> None:
    """Not zero a second."""
    with pytest.raises(H2loadFailed, match="no such option"):
        read_summary("no such option")


def test_the_log_of_h2load_gives_every_answered_request_its_time() -> None:
    """In ms, sorted; a stream that broke has no time."""
    assert read_log("1\t200\t2110\n2\t200\t814\n3\t-1\t5\n4\t503\t6\n\n") == [0.814, 2.11]


def test_what_was_answered_but_did_not_happen_is_failed() -> None:
    """Errors of gRPC come under a status of 200: the store's revision is what counts."""
    ran = Ran(Summary(per_s=1000.0, done=1000, failed=0, data_bytes=0), p50=1.0, p99=2.0, cpu_s=0.5)
    load = judged(ran, Shape("grpc", 10, 1), 900, 2.0)
    assert (load.failed, load.per_s, load.done, load.cpu_s_per_1000) == (100, 900.0, 1000, 2.0)
    assert judged(ran, Shape("grpc", 10, 1), 1007, 2.0).failed == 0


@pytest.mark.parametrize("callers", [1, 7, 10, 100, 1000])
def test_every_way_tried_keeps_at_least_so_many_requests_under_way(callers: int) -> None:
    """And not more than rounding up makes it."""
    for shape in shapes(callers):
        assert callers <= shape.callers < callers + shape.connections
        assert shape.connections <= (callers if shape.protocol == "json" else 100)


def test_the_newest_of_the_programs_found_is_taken(tmp_path: Path) -> None:
    """By its version as numbers, not as text; one that cannot be run is none."""
    for name, version in (("a", "3.5.9"), ("b", "3.5.10")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho etcd Version: {version}\n")
        (tmp_path / name).chmod(0o755)
    candidates = [str(tmp_path / name) for name in ("a", "b", "none")]
    assert newest(candidates, (), r"Version: ([\d.]+)") == Program(str(tmp_path / "b"), "3.5.10")
    assert newest([str(tmp_path / "none")], (), "(.)") is None


def test_a_program_named_in_the_environment_is_the_only_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Even where it is not there: then nothing is measured rather than another one."""
    monkeypatch.setenv("A_PEER", str(tmp_path / "none"))
    assert places("sh", "A_PEER") == [str(tmp_path / "none")]
    monkeypatch.delenv("A_PEER")
    assert places("sh", "A_PEER")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nA: b\r\n\r\n",
    ],
)
async def test_an_answer_of_http_is_read_whole_and_the_connection_kept(answer: bytes) -> None:
    """With a length or in chunks, however it is cut up on the way."""
    asked: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        for _ in range(2):
            asked.append(bytes(await stream.receive_some()))
            for at in range(len(answer)):
                await stream.send_all(answer[at : at + 1])

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        line = HttpLine(f"127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        assert [await line.post("/x", b"{}"), await line.get("/y")] == [(200, b"hello")] * 2
        assert line.connected
        line.close()
        nursery.cancel_scope.cancel()
    assert asked[0].startswith(b"POST /x HTTP/1.1\r\n")
    assert asked[0].endswith(b"\r\nContent-Length: 2\r\n\r\n{}")


async def test_nobody_at_the_door_is_told_at_once() -> None:
    """A caller goes to the next member then."""
    with hold_port() as port, pytest.raises(HttpLost):
        await HttpLine(f"127.0.0.1:{port.getsockname()[1]}").get("/")


async def test_a_caller_of_etcd_goes_round_a_member_that_is_silent() -> None:
    """One takes the connection and says nothing, one refuses, one writes: the write is there after its patience."""

    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async def writes(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with hold_port() as refusing:
        async with trio.open_nursery() as nursery:
            ports = [refusing.getsockname()[1]]
            for handler in (silent, writes):
                listeners: list[trio.SocketListener] = await nursery.start(trio.serve_tcp, handler, 0)
                ports.insert(0, listeners[0].socket.getsockname()[1])
            caller = EtcdCaller([f"127.0.0.1:{port}" for port in (ports[1], ports[2], ports[0])])
            caller.patience_ms = 20.0
            with trio.fail_after(5):
                await caller.put(b"k", b"v")
                caller.patience_ms = 5000.0
                await caller.put(b"k", b"v")  # straight to the one that wrote
            caller.close()
            nursery.cancel_scope.cancel()


@pytest.mark.processes
@needs_etcd
async def test_etcd_is_loaded_and_what_it_did_is_checked(tmp_path: Path) -> None:
    """Writes and both kinds of reads, none of which failed; nothing runs afterwards."""
    async with open_etcd(EtcdPlan(tmp_path / "etcd", timing="tuned")) as cluster:
        await cluster.start_all()
        written = await put_load(cluster, 10, 0.5, 100)
        read = await range_load(cluster, 10, 0.5, 100)
        ports = list(cluster.addresses.values())
    assert written.failed == read.failed == 0
    assert written.per_s > 0
    assert 0 < read.p50 <= read.p99
    for address in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))


@pytest.mark.processes
@needs_etcd_alone
async def test_a_member_of_etcd_that_is_cut_off_is_replaced_and_comes_back(tmp_path: Path) -> None:
    """Each line between members can be cut, whichever of them made the connection."""
    async with open_etcd(EtcdPlan(tmp_path / "etcd", timing="tuned", lines=True)) as cluster:
        await cluster.start_all()
        first = await cluster.leader()
        cluster.cut(first)
        with trio.fail_after(10):
            while await cluster.leader() == first:  # noqa: ASYNC110 - it is another process
                await trio.sleep(0.02)
        cluster.heal()
        await cluster.until_level()


@pytest.mark.parametrize("words", [["--callers", "0"], ["--seconds", "0"], ["--runs", "0"], ["--trials", "-1"]])
def test_a_table_of_peers_that_cannot_be_made_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, and what is allowed."""
    try:
        status = main(["peers", *words])
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status == 2
    assert "at least" in capsys.readouterr().err


def test_a_write_of_zookeeper_has_its_length_number_and_node() -> None:
    """As the protocol packs it: request 7, operation 5, the path, the value, whatever the version."""
    assert set_data(7, b"v").hex() == "0000001b0000000700000005000000062f62656e63680000000176ffffffff"


def test_an_error_of_zookeeper_is_seen() -> None:
    """But one that was reckoned with."""
    answer = bytes(12) + (-110).to_bytes(4, "big", signed=True)
    check(bytes(16))
    check(answer, -110)
    with pytest.raises(ZooKeeperLost, match="-110"):
        check(answer)


def test_the_check_lays_our_figure_beside_its_own_tools() -> None:
    """Less than four fifths of what etcd's own tool got is not within; nor is a tool that said nothing."""
    printed = (
        "60 / 60 [====] 100.00% 1m0s\nPASS: Throughput is 14900 writes/s\nFAIL: Slowest request took too long: 1.2s"
    )
    assert judged_check(printed, 20_000.0).within
    assert not judged_check(printed, 10_000.0).within
    assert judged_check(printed, 1.0).printed.startswith("PASS: Throughput is 14900")
    assert judged_check("FAIL: Throughput too low: 9000 writes/s", 8000.0).per_s == 9000.0
    assert not judged_check("no such command", 1e9).within


def test_a_system_that_is_missing_is_a_row_that_says_so(tmp_path: Path) -> None:
    """With what to install, and no figure."""
    row = Row(name="Other", version="", durable="fsync", missing="install other")
    report = PeersReport(machine=this_machine(tmp_path), rows=(row,), size=1, failed=0, check=None)
    assert table(report).row_count == 1
    assert report.rows[0].writes == ()


def test_every_system_missing_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report has their names and what to install for each."""
    monkeypatch.setenv("REPLICA_BENCH_ETCD", "/nowhere")
    monkeypatch.setenv("REPLICA_BENCH_ZOOKEEPER_JAR", "/nowhere")
    monkeypatch.setattr("bench.peers_table.find_pysyncobj", lambda: "")
    file = tmp_path / "report.json"
    assert main(["peers", "--json", str(file)]) == 0
    rows = msgspec.json.decode(file.read_bytes())["rows"]
    assert [row["name"] for row in rows] == ["etcd", "etcd tuned", "ZooKeeper", "PySyncObj"]
    assert all("install" in row["missing"] and row["writes"] == [] for row in rows)


@pytest.mark.processes
@pytest.mark.skipif(find_zookeeper() is None, reason="no ZooKeeper here")
async def test_zookeeper_is_written_to_and_survives_its_leader(tmp_path: Path) -> None:
    """Another leads, and something is written."""
    async with open_zookeeper(tmp_path) as ensemble:
        await ensemble.start_all()
        leader = await ensemble.leader()
        line = ZooKeeperLine(ensemble.servers[leader].address)
        await line.open()
        took = await line.pump(10, 0.5, b"x" * 100)
        line.close()
        ensemble.strike(leader)
        with trio.fail_after(10):
            await ensemble.first_write()
        assert await ensemble.leader() != leader
    assert took


@pytest.mark.processes
@pytest.mark.skipif(not find_pysyncobj(), reason="no PySyncObj here")
async def test_pysyncobj_is_written_to_and_survives_its_leader(tmp_path: Path) -> None:
    """The write after the kill comes later than the kill."""
    async with open_pysyncobj(tmp_path) as cluster:
        told = await cluster.processes[await cluster.leader()].ask(Order("load", 10, 0.5, 100))
        assert told.ms
        assert told.failed == 0
        assert await cluster.failover_ms() > 0
