"""How registered names are written, and who falls to the other version of a split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.registered.spelling import Reference, falls_to_split, reference

KEYS = [f"user-{number}" for number in range(4000)]


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("portrait", Reference("portrait")),
        ("portrait@latest", Reference("portrait")),
        ("portrait@3", Reference("portrait", version=3)),
        ("por.tr-a_it@pro-duction", Reference("por.tr-a_it", alias="pro-duction")),
        ("ft:starter:birds:1", None),
        ("portrait@", None),
        ("portrait@03", None),
        ("portrait@3a", None),
        ("portrait@a@b", None),
        ("@production", None),
        ("-x", None),
        ("x" * 65, None),
        ("pörtrait", None),
        ("portrait@1234567890", None),
    ],
)
def test_what_a_written_name_means(written: str, means: Reference | None) -> None:
    assert reference(written) == means


@given(key=st.text(max_size=200), share=st.floats(0, 1), more=st.floats(0, 1))
def test_a_key_goes_the_same_way_and_stays_when_the_share_grows(key: str, share: float, more: float) -> None:
    first = falls_to_split("reg-1/production", key, share)
    assert first == falls_to_split("reg-1/production", key, share)
    if first and more >= share:
        assert falls_to_split("reg-1/production", key, more)


@given(share=st.floats(0, 1), alias=st.text(max_size=30))
def test_the_share_is_what_was_asked_for(share: float, alias: str) -> None:
    """Within five standard deviations of 4000 keys: once in two million aliases it is not."""
    found = sum(falls_to_split(alias, key, share) for key in KEYS) / len(KEYS)
    assert abs(found - share) <= 5 * (share * (1 - share) / len(KEYS)) ** 0.5 + 1 / len(KEYS)


def test_those_of_one_alias_are_not_those_of_another() -> None:
    one, other = (
        {key for key in KEYS if falls_to_split(alias, key, 0.5)} for alias in ("reg-1/a", "reg-1/b")
    )
    assert 0.4 < len(one & other) / len(one) < 0.6
