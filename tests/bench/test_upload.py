"""The bench of uploads sends what it says, and tells what the api's memory did."""

from pathlib import Path

from bench.upload import MIB, WAYS, digest_of, measure


def test_a_file_arrives_each_way_and_the_api_hardly_grows(tmp_path: Path) -> None:
    size = 24 * MIB + 12_345
    ways = measure(size, tmp_path)
    assert [way.what for way in ways] == list(WAYS)
    assert [way.bytes for way in ways] == [size] * 2
    for way in ways:
        assert way.seconds > way.complete_seconds >= 0
        assert way.peak >= way.before > 0
        assert way.growth < 16 * MIB


def test_no_two_blocks_are_alike() -> None:
    assert len({digest_of(size) for size in (MIB, MIB + 1, 2 * MIB)}) == 3
