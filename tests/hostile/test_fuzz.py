"""Fuzzing of the readers: whatever comes, a file is taken or refused in our words, and nothing else stays.

``FUZZ_EXAMPLES=20000 python -m pytest tests/hostile/test_fuzz.py --timeout=0`` looks for longer.
"""

import json
import os
import resource
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.ingest.dataset import Ingested, Rejected, ingest
from core.ingest.limits import BadArchive
from tests.core.archives import jsonl, picture
from tests.hostile.columns import good, pairs, written
from tests.hostile.corpus import CORPUS
from tests.hostile.packing import GOOD, LIMITS, made, tarred, zipped

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
LONG = EXAMPLES > 1000
ROOM = 1 << 30
LARGEST_SEED = 100_000

fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not LONG,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
table = jsonl(("a.png", "red"), ("b.jpg", "blue"))
PICTURES = {
    "a.png": picture(),
    "b.jpg": picture("blue", kind="JPEG"),
    "c.webp": picture("green", kind="WEBP"),
}


@cache
def seeds() -> list[bytes]:
    """Return what mutations begin with."""
    sound = [
        zipped(GOOD),
        zipped({"metadata.jsonl": table} | PICTURES),
        zipped({"metadata.csv": b"file_name,text\na.png,red\n"} | PICTURES),
        zipped({"a.json": b'{"caption": "red"}'} | PICTURES, method=0),
        tarred(GOOD | {"b.png": picture("blue"), "b.txt": b"blue", "b.loser.png": picture()}),
        tarred(GOOD, packed=True),
        written(good()),
        written(good(), use_dictionary=False, compression="none"),
        pairs(),
    ]
    return sound + [data for data in map(made, CORPUS) if len(data) < LARGEST_SEED]


@pytest.fixture(autouse=True, scope="module")
def _limited() -> Iterator[None]:
    """Give the readers a gigabyte more than this process has, as their own process has a limit."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + ROOM, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def read(data: bytes) -> Ingested | BadArchive:
    """Return what becomes of a file; anything but a dataset or a refusal escapes."""
    with tempfile.TemporaryDirectory() as scratch:
        file, out = Path(scratch) / "upload", Path(scratch) / "out"
        file.write_bytes(data)
        try:
            found = ingest(file, out, limits=LIMITS)
        except BadArchive as error:
            refused = error
        else:
            refused = None
        if refused is not None:
            assert str(refused).isprintable()
            assert not out.exists()
            return refused
        names = [*found.shards, *found.pages, *found.fingerprints]
        assert sorted(path.name for path in out.iterdir()) == sorted(names)
        return found


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a file that was sound, or hostile already, with some of its bytes changed, cut or moved."""
    data = bytearray(draw(st.sampled_from(seeds())))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(("overwrite", "insert", "cut", "repeat", "splice", "number"))):
            case "overwrite":
                new = draw(st.binary(min_size=1, max_size=8))
                data[at : at + len(new)] = new
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=64))
            case "cut":
                del data[at : at + draw(st.integers(1, 600))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 600))]
            case "splice":
                data[at:] = draw(st.sampled_from(seeds()))[at:]
            case "number":
                data[at : at + 4] = draw(st.sampled_from((b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f")))
    return bytes(data)


@fuzzed
@given(data=mutated())
def test_files_are_taken_or_refused(data: bytes) -> None:
    read(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
NAME = st.sampled_from([*PICTURES, "../a.png", "/a.png", "none.png", "a\0.png"]) | JSON
ENTRY = st.fixed_dictionaries({}, optional={"file_name": NAME, "text": JSON, "loser_file_name": NAME}) | JSON
LINE = st.binary(max_size=40) | ENTRY.map(lambda entry: json.dumps(entry).encode())


@fuzzed
@given(lines=st.lists(LINE, max_size=8))
def test_every_line_of_metadata_is_a_row_or_a_rejection(lines: list[bytes]) -> None:
    found = read(zipped({"metadata.jsonl": b"\n".join(lines)} | PICTURES))
    if isinstance(found, Ingested):
        assert found.rows + len(found.rejected) >= len(PICTURES)
        assert found.rows <= len(lines)
    elif isinstance(found, Rejected):
        assert found.rejected


@fuzzed
@given(text=st.text(max_size=300) | st.binary(max_size=300))
def test_any_text_may_stand_in_a_sheet_or_a_sidecar(text: str | bytes) -> None:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    read(zipped({"metadata.csv": b"file_name,text\n" + data} | PICTURES))
    read(zipped({"a.txt": data, "b.json": data} | PICTURES))


@fuzzed
@given(names=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=4))
def test_any_names_may_stand_in_an_archive(names: list[str]) -> None:
    files = {name: b"x" for name in names if name.encode("utf-8", "ignore")}
    for make in (zipped, tarred):
        try:
            data = make(GOOD | files)
        except (UnicodeError, ValueError, UserWarning):
            continue  # no program writes such a name
        read(data)
