"""Splits: the share that was asked, by picture or caption, the same for a seed, and what leaks told."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from core.ingest.dataset import Ingested, ingest
from core.ingest.limits import BadArchive
from core.ingest.options import Options, Split
from core.ingest.shards import page_rows
from core.ingest.split import TRAINING, VALIDATION, Parting
from tests.core.archives import LIMITS, jsonl, picture, write_zip


def parts(split: Split, rows: list[tuple[bytes, str]]) -> list[str]:
    parting = Parting(split)
    return [parting.part(data=data, caption=caption) for data, caption in rows]


def numbered(count: int) -> list[tuple[bytes, str]]:
    return [(str(number).encode(), f"caption {number}") for number in range(count)]


@pytest.mark.parametrize("share", [0.5, 0.3, 0.15, 0.1, 0.013])
def test_the_share_is_kept_to_within_one(share: float) -> None:
    for seed in range(5):
        for count in (1000, 1234):
            held_out = parts(Split(share, seed=seed), numbered(count)).count(VALIDATION)
            assert abs(held_out - share * count) <= 1 + 0.1 * share * count


def test_a_seed_decides() -> None:
    first, again, other = (parts(Split(0.1, seed=seed), numbered(200)) for seed in (1, 1, 2))
    assert first == again != other


def test_rows_of_one_caption_stay_on_one_side() -> None:
    rows = [(str(number).encode(), f" A  caption {number % 20} ") for number in range(100)]
    rows += [(data + b"x", caption.lower()) for data, caption in rows]
    sides: dict[str, set[str]] = {}
    for (_, caption), part in zip(rows, parts(Split(0.25, by="caption"), rows), strict=True):
        sides.setdefault(" ".join(caption.lower().split()), set()).add(part)
    assert len(sides) == 20
    assert all(len(side) == 1 for side in sides.values())
    assert sum(side == {VALIDATION} for side in sides.values()) == 5


def test_rows_of_one_picture_stay_on_one_side() -> None:
    rows = [(str(number % 10).encode(), f"caption {number}") for number in range(100)]
    by_picture: dict[bytes, set[str]] = {}
    for (data, _), part in zip(rows, parts(Split(0.2), rows), strict=True):
        by_picture.setdefault(data, set()).add(part)
    assert all(len(side) == 1 for side in by_picture.values())


def archive(folder: Path, count: int) -> Path:
    files = {f"{number:02d}.png": picture((number * 5, 90, 255 - number * 5)) for number in range(count)}
    captions = jsonl(*((name, f"caption {int(name[:2]) // 2}") for name in files))
    return write_zip(folder / "a.zip", files | {"metadata.jsonl": captions})


def captions_of(folder: Path, found: Ingested) -> list[str]:
    return [row.text for page in found.pages for row in page_rows((folder / page).read_bytes())]


def test_a_file_becomes_two_datasets(tmp_path: Path) -> None:
    options = Options(split=Split(0.2, by="caption", seed=3))
    found = ingest(archive(tmp_path, 40), tmp_path / "out", limits=LIMITS, options=options)
    assert found.held_out is not None
    assert (found.rows, found.held_out.rows) == (32, 8)
    training = captions_of(tmp_path / "out" / TRAINING, found)
    validation = captions_of(tmp_path / "out" / VALIDATION, found.held_out)
    assert len(training) == 32
    assert set(training).isdisjoint(validation)
    assert sorted({*training, *validation}) == sorted(f"caption {number}" for number in range(20))
    assert found.sha256 != found.held_out.sha256
    assert found.statistics["leakage"]["rows"] == 8
    assert found.statistics["leakage"]["identical"] == 0
    assert json.loads(json.dumps(found.as_json()))["held_out"]["rows"] == 8


def test_what_leaks_from_one_part_to_the_other_is_told(tmp_path: Path) -> None:
    """The same picture under two captions may be trained on and measured, if captions divide."""
    files = {f"{number}.png": picture() for number in range(10)}
    table = jsonl(*((name, f"caption {name}") for name in files))
    source = write_zip(tmp_path / "a.zip", files | {"metadata.jsonl": table})
    options = Options(split=Split(0.2, by="caption"))
    leakage = ingest(source, tmp_path / "out", limits=LIMITS, options=options).statistics["leakage"]
    assert (leakage["rows"], leakage["identical"], leakage["alike"]) == (2, 2, 0)
    assert all(example["identical"] for example in leakage["examples"])


@pytest.mark.parametrize(("count", "by"), [(1, "row"), (2, "caption"), (3, "row")])
def test_what_does_not_divide_is_refused(tmp_path: Path, count: int, by: str) -> None:
    options = Options(split=Split(0.01, by=by))  # type: ignore[arg-type]
    with pytest.raises(BadArchive, match=r"^split: \d different (pictures|captions) do not divide into 0.01"):
        ingest(archive(tmp_path, count), tmp_path / "out", limits=LIMITS, options=options)
    assert not (tmp_path / "out").exists()


def test_similar_pictures_of_one_dataset_are_told(tmp_path: Path) -> None:
    image = Image.linear_gradient("L").convert("RGB").resize((64, 64))
    sinks = [io.BytesIO() for _ in range(2)]
    image.save(sinks[0], "PNG")
    image.save(sinks[1], "JPEG", quality=70)
    files = {"a.png": sinks[0].getvalue(), "b.jpg": sinks[1].getvalue(), "c.png": picture()}
    table = jsonl(*((name, "the same") for name in files))
    source = write_zip(tmp_path / "a.zip", files | {"metadata.jsonl": table})
    found = ingest(source, tmp_path / "out", limits=LIMITS).statistics
    assert found["similar_pictures"] == {"rows": 1, "examples": [{"row": 1, "other": 0}]}
    assert (found["repeated_captions"], found["repeated_pictures"]) == (2, 0)
