"""The supervisor: configurations that load, processes that obey, and no orphan, however it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import tomllib
from pathlib import Path

import msgspec
import pytest
import trio

from replica.config import load_site, load_zone
from replica.demo import processes, supervisor
from replica.demo.processes import Child, ProcessFailed, hold_port
from replica.demo.proxy import Mode
from replica.demo.supervisor import Plan, SitePlan, open_cluster, toml
from replica.errors import ConfigError

pytestmark = pytest.mark.processes
FAKE = (sys.executable, str(Path(__file__).parent / "fake_node.py"))
SITE = "fr.health.samu440"


def plan(folder: Path, zones: int = 3, zone_lines: bool = False) -> Plan:
    sites = (SitePlan(SITE, ("fr.health.samu44",)), SitePlan("fr.health.samu690"))
    return Plan(folder, zones, sites, zone_lines=zone_lines, program=FAKE)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until_dead(pids: list[int], within_s: float = 5.0) -> list[int]:
    """Those that still live after `within_s`: the kernel needs a moment to end a process."""
    deadline = time.monotonic() + within_s
    while (alive := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return alive


async def test_what_it_writes_is_a_configuration_that_loads(tmp_path: Path) -> None:
    """Each node's file passes the program's own checks and says what the plan says."""
    async with open_cluster(plan(tmp_path)) as cluster:
        zone = load_zone(tmp_path / "zone-2" / "config.toml")
        site = load_site(tmp_path / SITE / "config.toml")
        assert (zone.zone.name, zone.zone.number, zone.zone.data) == ("zone-2", 2, str(tmp_path / "zone-2"))
        assert site.site.organisations == ("fr.health.samu44",)
        assert [peer.name for peer in site.zones] == ["zone-1", "zone-2", "zone-3"]
        assert zone.zone.listen == cluster.nodes["zone-2"].address


async def test_a_site_reaches_zones_through_lines_and_zones_each_other_directly(tmp_path: Path) -> None:
    """With site lines alone, only sites are given a line's address; with zone lines, zones are too."""
    async with open_cluster(plan(tmp_path / "a")) as cluster:
        direct = [cluster.nodes[f"zone-{number}"].address for number in (1, 2, 3)]
        lines = [cluster.lines[SITE, f"zone-{number}"].address for number in (1, 2, 3)]
        assert [peer.address for peer in load_site(tmp_path / "a" / SITE / "config.toml").zones] == lines
        assert [peer.address for peer in load_zone(tmp_path / "a" / "zone-1" / "config.toml").zones] == direct
    async with open_cluster(plan(tmp_path / "b", zone_lines=True)) as cluster:
        seen = [peer.address for peer in load_zone(tmp_path / "b" / "zone-1" / "config.toml").zones]
        assert seen == [
            cluster.nodes["zone-1"].address,
            cluster.lines["zone-1", "zone-2"].address,
            cluster.lines["zone-1", "zone-3"].address,
        ]


async def test_only_the_first_start_of_a_zone_founds_the_cluster(tmp_path: Path) -> None:
    """A zone that comes back with an empty store must not vote, so only its first start says --found; a site's
    never."""

    def said(name: str) -> list[str]:
        arguments: list[str] = json.loads((tmp_path / name / "arguments.json").read_text(encoding="utf-8"))
        return arguments

    async with open_cluster(plan(tmp_path)) as cluster:
        await cluster.start_all()
        assert said("zone-1")[0] == "zone"
        assert "--found" in said("zone-1")
        assert said(SITE) == ["site", str(tmp_path / SITE / "config.toml")]
        await cluster.kill("zone-1")
        await cluster.start("zone-1")
        assert "--found" not in said("zone-1")


async def test_kill_stop_and_restart_do_what_they_say(tmp_path: Path) -> None:
    """SIGKILL ends with -9, SIGTERM with the program's own code, and neither counts as a crash."""
    async with open_cluster(plan(tmp_path)) as cluster:
        await cluster.start_all()
        node = cluster.nodes["zone-2"]
        first = node.child.pid
        await cluster.kill("zone-2")
        assert (node.child.alive, node.child.exit_code) == (False, -signal.SIGKILL)
        await cluster.start("zone-2")
        assert node.child.pid != first
        assert await cluster.stop("zone-2") == 0
        assert sorted((await cluster.stop_all()).values()) == [0, 0, 0, 0]


async def test_a_paused_process_is_stopped_by_the_kernel_and_goes_on_afterwards(tmp_path: Path) -> None:
    """SIGSTOP shows as state T; SIGCONT ends it; stopping a paused node continues it first."""

    def state() -> str:
        stat = Path(f"/proc/{cluster.nodes['zone-1'].child.pid}/stat").read_text(encoding="utf-8")
        return stat.rpartition(")")[2].split()[0]

    async def until(wanted: str) -> None:
        with trio.fail_after(5):
            while state() not in wanted:  # noqa: ASYNC110 - the kernel tells nobody
                await trio.sleep(0.005)

    async with open_cluster(plan(tmp_path, zones=1)) as cluster:
        await cluster.start("zone-1")
        cluster.pause("zone-1")
        await until("T")
        cluster.resume("zone-1")
        await until("SR")
        cluster.pause("zone-1")
        await until("T")
        assert await cluster.stop("zone-1") == 0


async def test_a_node_that_ends_by_itself_ends_the_run_with_its_log(tmp_path: Path) -> None:
    """Nobody killed it, so it is a crash: whatever is going on is cancelled, with its exit code and the end of its
    log."""

    async def wait() -> None:
        async with open_cluster(plan(tmp_path)) as cluster:
            cluster.nodes["zone-1"].child.environment["FAKE_NODE"] = "later"
            await cluster.start_all()
            await trio.sleep(20)

    with pytest.raises(ProcessFailed, match=r"^zone-1 ended by itself with 4\nbegan\n$"):
        await wait()


async def test_a_node_that_dies_before_it_is_ready_fails_its_start(tmp_path: Path) -> None:
    """The error says which, with which code, and what it logged."""
    async with open_cluster(plan(tmp_path, zones=1)) as cluster:
        cluster.nodes["zone-1"].child.environment["FAKE_NODE"] = "dies"
        with pytest.raises(ProcessFailed, match=r"zone-1 ended with 3 before it was ready\nbegan"):
            await cluster.start("zone-1")


async def test_a_node_that_never_gets_ready_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that takes too long fails, and leaves nothing running."""
    monkeypatch.setattr(supervisor, "START_SECONDS", 0.3)
    async with open_cluster(plan(tmp_path, zones=1)) as cluster:
        cluster.nodes["zone-1"].child.environment["FAKE_NODE"] = "mute"
        with pytest.raises(ProcessFailed, match="was not ready after"):
            await cluster.start("zone-1")
        assert not cluster.nodes["zone-1"].child.alive


async def test_a_node_deaf_to_sigterm_is_killed_and_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping never hangs."""
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.3)
    async with open_cluster(plan(tmp_path, zones=1)) as cluster:
        cluster.nodes["zone-1"].child.environment["FAKE_NODE"] = "deaf"
        await cluster.start("zone-1")
        with pytest.raises(ProcessFailed, match="had not stopped"):
            await cluster.stop("zone-1")
        assert cluster.nodes["zone-1"].child.exit_code == -signal.SIGKILL


async def test_leaving_by_an_error_leaves_no_process(tmp_path: Path) -> None:
    """Whatever the body raises comes out as itself, and every process is gone by then, a paused one too."""
    pids: list[int] = []

    async def fail() -> None:
        async with open_cluster(plan(tmp_path)) as cluster:
            await cluster.start_all()
            cluster.pause("zone-3")
            pids.extend(node.child.pid for node in cluster.nodes.values())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert len(pids) == 5
    assert until_dead(pids, within_s=0) == []


async def test_cancelling_leaves_no_process(tmp_path: Path) -> None:
    """The same when the task around it is cancelled."""
    pids: list[int] = []
    with trio.move_on_after(30) as scope:
        async with open_cluster(plan(tmp_path)) as cluster:
            await cluster.start_all()
            pids += [node.child.pid for node in cluster.nodes.values()]
            scope.cancel()
            await trio.sleep_forever()
    assert len(pids) == 5
    assert until_dead(pids, within_s=0) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's promise is Linux's")
def test_killing_the_supervisor_leaves_no_process(tmp_path: Path) -> None:
    """SIGKILL of the parent, which can tidy up nothing, ends every child too."""
    program = textwrap.dedent(
        f"""
        import trio
        from pathlib import Path
        from replica.demo.supervisor import Plan, SitePlan, open_cluster

        async def main():
            plan = Plan(Path({str(tmp_path)!r}), 3, (SitePlan({SITE!r}),), program={FAKE!r})
            async with open_cluster(plan) as cluster:
                await cluster.start_all()
                print(*(node.child.pid for node in cluster.nodes.values()), flush=True)
                await trio.sleep_forever()

        trio.run(main)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
    finally:
        parent.kill()
        parent.communicate()
    assert len(pids) == 4
    assert until_dead(pids) == []


async def test_cutting_and_healing_sets_exactly_the_lines_named(tmp_path: Path) -> None:
    """All lines of a node, or the one to another node; silently or by reset; nothing else is touched."""
    async with open_cluster(plan(tmp_path, zone_lines=True)) as cluster:

        def modes() -> dict[tuple[str, str], Mode]:
            return {ends: line.mode for ends, line in cluster.lines.items() if line.mode is not Mode.PASS}

        cluster.cut(SITE)
        assert modes() == {(SITE, f"zone-{number}"): Mode.BLACK_HOLE for number in (1, 2, 3)}
        assert cluster.is_cut(SITE)
        assert not cluster.is_cut("zone-1")
        cluster.heal(SITE)
        assert modes() == {}
        cluster.cut("zone-1", "zone-2", silently=False)
        assert modes() == {("zone-1", "zone-2"): Mode.REFUSE, ("zone-2", "zone-1"): Mode.REFUSE}
        cluster.heal()
        assert modes() == {}


async def test_a_cut_that_cuts_nothing_is_an_error(tmp_path: Path) -> None:
    """A test that cut a line which is not there would prove nothing and look green."""
    async with open_cluster(plan(tmp_path)) as cluster:
        with pytest.raises(KeyError, match="no line between zone-1 and zone-2"):
            cluster.cut("zone-1", "zone-2")


async def test_a_folder_with_another_nodes_files_is_refused(tmp_path: Path) -> None:
    """A new cluster never starts over an old store."""
    (tmp_path / "zone-1").mkdir()
    (tmp_path / "zone-1" / "data").write_bytes(b"x")
    with pytest.raises(ConfigError, match="is not empty"):
        async with open_cluster(plan(tmp_path)):
            pass


@pytest.mark.parametrize("zones", [0, 8])
def test_a_number_of_zones_that_cannot_be_is_refused(tmp_path: Path, zones: int) -> None:
    """One to seven vote."""
    with pytest.raises(ConfigError, match="1 to 7"):
        Plan(tmp_path, zones)


def test_a_held_port_refuses_connections_and_lets_its_owner_listen() -> None:
    """Nobody answers there until the owner does, and nobody else is given the port."""
    with hold_port() as held:
        address = held.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=1)
        with socket.socket() as owner:
            owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            owner.bind(address)
            owner.listen()
            socket.create_connection(address, timeout=1).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=1)


def test_toml_reads_back_to_what_was_written() -> None:
    """Strings with quotes and accents, numbers, truth values, lists, tables and lists of tables."""
    value = {
        "name": 'a "quoted" é \\ name',
        "on": True,
        "list": ["a", "b"],
        "none": [],
        "table": {"number": 3, "deep": {"x": 1.5}},
        "tables": [{"n": 1, "inner": {"y": 2}}, {"n": 2}],
    }
    assert tomllib.loads(toml(value)) == value


async def test_starting_a_node_twice_is_an_error(tmp_path: Path) -> None:
    """Two processes on one store would be the end of it."""
    async with open_cluster(plan(tmp_path, zones=1)) as cluster:
        await cluster.start("zone-1")
        with pytest.raises(ProcessFailed, match="runs already"):
            await cluster.start("zone-1")


async def test_a_first_line_that_is_no_ready_line_fails_the_start(tmp_path: Path) -> None:
    """Something else than a node answered: say what, and leave nothing running."""
    child = Child(
        "odd", (sys.executable, "-c", "print('hello', flush=True); import time; time.sleep(60)"), tmp_path / "log"
    )
    with pytest.raises(ProcessFailed, match="odd printed no ready line"):
        await child.start(10)
    assert not child.alive
    assert processes.Ready("a", "b") == msgspec.json.decode(b'{"ready": "a", "listen": "b"}', type=processes.Ready)
    assert os.getpid() != child.pid


def test_what_a_configuration_does_not_have_is_not_in_its_text() -> None:
    """TOML has no null: a site without a sheet would not start."""
    assert tomllib.loads(toml({"a": 1, "sheet": None, "b": {"c": None}})) == {"a": 1, "b": {}}
