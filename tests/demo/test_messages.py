"""Messages are found wherever they lie and played by the number of their story."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from replica.demo.messages import Message, find, in_order, order_of
from replica.demo.supervisor import SitePlan
from replica.demo.voices import spread
from replica.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RS-EDA/RS-EDA_partageDossier_DidierMorel.01a.json", (1, "a")),
        ("GEO-POS/CU2_Geolocation_03.json", (3, "")),
        ("RS-RPIS_ArretCardiaque_CISUV2.01.json", (1, "")),
        ("RS-EDA-MAJ_FemmeEnceinte_DelphineVigneau.12.json", (12, "")),
        ("CU3_Geolocation.json", (0, "")),
        ("RC-EDA-DouleurThoracique-PierreLegrand.json", (0, "")),
        ("2024/story.json", (0, "")),
    ],
)
def test_the_number_is_the_last_part_of_the_name(name: str, expected: tuple[int, str]) -> None:
    """A digit elsewhere (CU2, CISUV2, a folder) is no story number."""
    assert order_of(name)[:2] == expected


def test_stories_are_played_side_by_side_by_number_then_letter_then_name() -> None:
    """Ten comes after nine, `03a` before `03b`, and equal numbers go by name, whatever the folder."""
    names = ["b/X.10.json", "a/X.09.json", "z/A.03b.json", "a/Z.03a.json", "a/C.01.json", "z/B.01.json", "q/none.json"]
    played = [message.name for message in in_order(Message(name, b"{}") for name in names)]
    assert played == [
        "q/none.json",
        "z/B.01.json",
        "a/C.01.json",
        "a/Z.03a.json",
        "z/A.03b.json",
        "a/X.09.json",
        "b/X.10.json",
    ]


def test_only_json_objects_that_are_no_schemas_are_messages(tmp_path: Path) -> None:
    """Found at any depth; schemas, lists, other files and broken JSON are no messages."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.01.json").write_text('{"resourcesStatus": {}}', encoding="utf-8")
    (tmp_path / "b.02.json").write_text('{"distributionID": "x"}', encoding="utf-8")
    (tmp_path / "schema.json").write_text('{"$schema": "x", "type": "object"}', encoding="utf-8")
    (tmp_path / "list.json").write_text("[1]", encoding="utf-8")
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "c.03.txt").write_text("{}", encoding="utf-8")
    assert [message.name for message in find(tmp_path)] == ["deep/er/a.01.json", "b.02.json"]


def test_a_folder_without_messages_is_named(tmp_path: Path) -> None:
    """Nothing is played silently."""
    with pytest.raises(ConfigError, match=r"no message in"):
        find(tmp_path)
    with pytest.raises(ConfigError, match=r"is not a folder"):
        find(tmp_path / "nowhere")


def test_the_projects_own_stories_come_with_it() -> None:
    """At least four emergencies of ten messages each."""
    assert len(find(None)) >= 40


A, B, C, FIRE = "fr.health.samuA", "fr.health.samuB", "fr.health.samuC", "fr.fire.sis044"


def test_one_organisation_always_speaks_through_one_site_and_the_work_is_shared() -> None:
    """The busiest two name the sites; the third joins the one with less to say."""
    voices = spread([(A,)] * 5 + [(B,)] * 3 + [(C,)] * 1, 2, random.Random(1))
    assert voices.sites == (SitePlan(A), SitePlan(B, (C,)))
    assert [voices.choose((name,)) for name in (A, B, C, A)] == [(A, A), (B, B), (C, B), (A, A)]


def test_who_has_no_site_speaks_through_the_first_it_concerns_that_has_one() -> None:
    """A fire service runs none: its message enters at the Samu it is for, and says who sent it."""
    voices = spread([(A,), (FIRE, B), (FIRE,)], 2, random.Random(1))
    assert FIRE not in voices.site_of
    assert voices.choose((FIRE, B)) == (FIRE, voices.site_of[B])
    assert voices.choose((FIRE,)) == (FIRE, voices.sites[0].name)
    assert voices.choose(()) == ("", voices.sites[0].name)


def test_there_are_as_many_sites_as_asked_for_however_few_samu_speak() -> None:
    """Those that nobody mentions stand in, under names of their own."""
    voices = spread([(A,)], 3, random.Random(1))
    names = [site.name for site in voices.sites]
    assert names[0] == A
    assert len(set(names)) == 3


def test_the_seed_decides_who_shares_a_site_and_nothing_else_does() -> None:
    """The same seed gives the same sites; some other gives others."""
    crowd = [(f"fr.health.samu{number}",) for number in range(10)]
    again = [spread(crowd, 3, random.Random(seed)) for seed in (1, 1, 2, 3, 4)]
    assert again[0] == again[1]
    assert any(other != again[0] for other in again[2:])
