"""Which metrics can be chosen, and what is refused before anything runs."""

from typing import Any

import pytest
from pydantic import ValidationError

from spin_engine.metrics.choice import BASES, DISTANCES, MetricChoice, distinct


def test_a_name_alone_is_the_published_network() -> None:
    choice = MetricChoice.model_validate("pickscore")
    assert choice == MetricChoice(name="pickscore")
    assert (choice.network, choice.foundation) == ("yuvalkirstain/PickScore_v1", BASES["pickscore"])
    clip = MetricChoice(name="clip_score", model="org/other")
    assert (clip.network, clip.foundation) == ("org/other", "org/other")
    assert [MetricChoice(name=name).network for name in DISTANCES] == [None] * 4


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("hpsv2.1", "published as a pickle, which is never read"),
        ("imagereward", "docs/metrics.md"),
        ({"name": "judge", "model": "x"}, "judge takes no model"),
        ({"name": "fid", "base": "x"}, "fid takes no base"),
        ({"name": "kid", "revision": "main"}, "name one"),
        ({"name": "clip_score", "base_revision": "main"}, "takes no base_revision"),
        ("hpsv2", "Input should be"),
        ({"name": "fid", "modle": "x"}, "modle"),
    ],
)
def test_what_would_be_ignored_or_is_missing_is_refused(given: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        MetricChoice.model_validate(given)


def test_a_name_comes_once() -> None:
    twice = (MetricChoice(name="fid"), MetricChoice(name="fid", model="org/clip"))
    with pytest.raises(ValueError, match="more than once: fid"):
        distinct(twice)


def test_folders_are_told_from_the_hub() -> None:
    choice = MetricChoice(name="aesthetic", model="./a/b", base="openai/clip-vit-large-patch14")
    assert choice.folders == ["./a/b"]
    for name in ("/a", "a", "../a", "a/b/c", "~/a", "a/", "s3://a"):
        assert MetricChoice(name="fid", model=name).folders == [name]
    assert MetricChoice(name="fid", model="org/name-v1.0").folders == []
