"""The house itself: imports point one way, and the pure rooms touch nothing of the world."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "version": set(),
    "config": {"errors"},
    "telemetry": {"errors"},
    "raft": {"errors"},
    "cases": {"errors"},
    "offline": {"errors", "cases"},
    "hubsante": {"errors", "cases"},
    "sheet": {"errors", "cases", "hubsante"},
    "wire": {"errors", "raft", "cases", "offline", "hubsante"},
    "storage": {"errors", "raft", "cases", "offline", "wire"},
    "runtime": {
        "errors",
        "version",
        "config",
        "telemetry",
        "raft",
        "cases",
        "offline",
        "hubsante",
        "sheet",
        "wire",
        "storage",
    },
}
"""Room → the rooms of replica it may import. A room that is not named here may import all of them."""
UPPER = ["api", "admin", "demo", "cli", "__main__"]
"""The rooms above the runtime: each may import what stands before it, and nothing after."""
PURE = ["raft", "cases", "offline", "wire", "hubsante", "sheet"]
WORLD = {
    "trio", "socket", "ssl", "os", "io", "time", "threading", "multiprocessing", "subprocess", "signal", "logging",
    "structlog", "lmdb", "secrets", "tempfile", "pathlib", "shutil", "asyncio", "select", "queue",
}  # fmt: skip
ONLY_IN = {"lmdb": "storage", "msgpack": "wire", "trio": None}


def modules(folder: str) -> Iterator[tuple[Path, str]]:
    """Every module below `folder`, with the room it belongs to (the first part of its path)."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield path, path.relative_to(ROOT / folder).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """The dotted names a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_room(name: str) -> bool:
    return (ROOT / "replica" / name).is_dir() or (ROOT / "replica" / f"{name}.py").exists()


def allowed(room: str) -> set[str]:
    if room in MAY_IMPORT:
        return MAY_IMPORT[room] | {room}
    before = UPPER[: UPPER.index(room) + 1]
    return set(MAY_IMPORT) | set(before)


def test_imports_point_one_way() -> None:
    """No room of replica imports a room above it."""
    wrong = []
    for path, room in modules("replica"):
        if room == "__init__":
            continue
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "replica" and len(parts) > 1 and is_room(parts[1]) and parts[1] not in allowed(room):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_every_room_has_its_place_in_the_order() -> None:
    """A folder or module of replica that the order does not name is a room nobody decided on."""
    rooms = {room for _, room in modules("replica")} - {"__init__"}
    assert rooms - set(MAY_IMPORT) - set(UPPER) == set()


@pytest.mark.parametrize("folder", PURE)
def test_a_pure_room_touches_no_clock_disk_socket_dice_or_log(folder: str) -> None:
    """Decide here, act there: time comes in with the event, effects go out in a Ready."""
    wrong = []
    for path in sorted((ROOT / "replica" / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        wrong += [f"{path.name} imports {name}" for name in imported(path) if name.split(".")[0] in WORLD]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in {"open", "print", "input"} or called.endswith((".now", ".utcnow", ".today")):
                    wrong.append(f"{path.name}:{node.lineno} calls {called}")
                if called.startswith("random.") and called != "random.Random":
                    wrong.append(f"{path.name}:{node.lineno} rolls {called}")
    assert wrong == []


@pytest.mark.parametrize(("package", "room"), [("lmdb", "storage"), ("msgpack", "wire")])
def test_a_package_is_imported_in_one_room_only(package: str, room: str) -> None:
    """What a room hides can be changed in that room."""
    found = {place for path, place in modules("replica") for name in imported(path) if name.split(".")[0] == package}
    assert found <= {room}


def test_nothing_in_replica_imports_chaos_bench_or_tests() -> None:
    """Who proves and measures stands outside."""
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, _ in modules("replica")
        for name in imported(path)
        if name.split(".")[0] in {"chaos", "bench", "tests"}
    }
    assert found == set()


def test_the_check_of_imports_can_fail() -> None:
    """raft may not know cases: the table says so, and the check reads the table."""
    assert "cases" not in allowed("raft")
    assert "api" not in allowed("runtime")
    assert "cli" not in allowed("demo")
