"""A configuration is right, or says where it is wrong and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from replica.config import load_site, load_zone
from replica.errors import ConfigError

ZONES = """
[[zones]]
number = 1
name = "zone-a"
address = "127.0.0.1:7001"
[[zones]]
number = 2
name = "zone-b"
address = "127.0.0.1:7002"
"""
ZONE = (
    """
[cluster]
id = "test"
[zone]
name = "zone-a"
number = 1
listen = "127.0.0.1:7001"
data = "store"
"""
    + ZONES
)
SITE = (
    """
[cluster]
id = "test"
[site]
name = "fr.health.samu440"
listen = "127.0.0.1:7101"
data = "/abs/store"
organisations = ["fr.health.samu44"]
"""
    + ZONES
)


def written(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_right_zone_is_read_and_its_folder_is_beside_the_file(tmp_path: Path) -> None:
    """A relative data folder is relative to the file, not to where somebody stood."""
    config = load_zone(written(tmp_path, ZONE))
    assert config.zone.data == str(tmp_path / "store")
    assert config.timing.election_timeout_ms == 140


def test_a_right_site_is_read(tmp_path: Path) -> None:
    """An absolute folder stays as it is."""
    config = load_site(written(tmp_path, SITE))
    assert config.site.data == "/abs/store"
    assert config.site.organisations == ("fr.health.samu44",)


@pytest.mark.parametrize(
    ("before", "after", "path", "problem"),
    [
        ('id = "test"', "id = 7", "$.cluster.id", "Expected `str`"),
        ('id = "test"', 'id = "te st"', "$.cluster.id", "matching regex"),
        ('name = "zone-a"\nnumber = 1\nlisten', 'name = "zone-z"\nnumber = 1\nlisten', "$.zone.name", "zone-z"),
        ("number = 1\nlisten", "number = 9\nlisten", "$.zone.number", "not among"),
        ("number = 1\nlisten", "number = 0\nlisten", "$.zone.number", ">= 1"),
        ('listen = "127.0.0.1:7001"', 'listen = "7001"', "$.zone.listen", "host:port"),
        ('listen = "127.0.0.1:7001"', 'listen = "127.0.0.1:99999"', "$.zone.listen", "65535"),
        ('data = "store"', "", "$.zone", "missing required field `data`"),
        ('data = "store"', 'data = "store"\ndatta = 1', "$.zone", "unknown field `datta`"),
        ("number = 2", "number = 1", "$.zones[1].number", "twice"),
        ('name = "zone-b"', 'name = "zone-a"', "$.zones[1].name", "twice"),
        ('address = "127.0.0.1:7002"', 'address = "b"', "$.zones[1].address", "host:port"),
    ],
)
def test_a_wrong_field_is_named_with_its_path(tmp_path: Path, before: str, after: str, path: str, problem: str) -> None:
    """I5: each field wrong."""
    assert before in ZONE
    with pytest.raises(ConfigError) as found:
        load_zone(written(tmp_path, ZONE.replace(before, after, 1)))
    assert found.value.path == path
    assert problem in found.value.problem


def test_times_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    """Two heartbeats must fit into an election timeout."""
    text = ZONE + "[timing]\nelection_timeout_ms = 100\nheartbeat_interval_ms = 80\n"
    with pytest.raises(ConfigError, match="at most half"):
        load_zone(written(tmp_path, text))


def test_a_file_that_is_not_there_or_no_toml_is_named(tmp_path: Path) -> None:
    """The path in the error is the file's."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_zone(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match="not TOML"):
        load_zone(written(tmp_path, "[cluster"))
    (tmp_path / "latin.toml").write_bytes(b'id = "\xe9"')
    with pytest.raises(ConfigError, match="not UTF-8 at byte 6"):
        load_zone(tmp_path / "latin.toml")
