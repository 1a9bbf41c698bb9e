"""What a large upload costs the api process: ``python -m bench.upload --bytes 5e9``. Linux only.

A real api on a folder store receives the same bytes twice, as one multipart form and in parts, from a client
in another process that makes them as it sends. The api's largest resident set (``VmHWM``) is reset before
each; *growth* is that peak less what was resident before. Exits 1 when it grows by more than is asked.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from core import files
from core.migrate import migrate
from core.settings import Settings
from core.uploads import leftovers
from core.uploads.pieces import LARGEST_PART
from tests.api.platform import Served, server_in

MIB = 1 << 20
MOST_GROWTH = 64 * MIB
BLOCK = os.urandom(MIB)
BOUNDARY = "bench"


@dataclass(frozen=True)
class Way:
    """One way to send a file: bytes of the api's memory, and how fast it went."""

    what: str
    bytes: int
    seconds: float
    complete_seconds: float
    """Of those, what the last request took, which makes a file of the parts."""
    before: int
    peak: int

    @property
    def growth(self) -> int:
        """What the upload added to the api's largest resident set."""
        return self.peak - self.before


def blocks(start: int, end: int) -> Iterator[bytes]:
    """Yield bytes ``start`` to ``end`` of a file, of which no two MiB are alike."""
    for at in range(start, end, MIB):
        block = at.to_bytes(8, "big") + BLOCK[8:]
        yield block[: min(MIB, end - at)]


def digest_of(size: int) -> str:
    """Return the sha256 of the file."""
    digest = hashlib.sha256()
    for block in blocks(0, size):
        digest.update(block)
    return digest.hexdigest()


def form(field: str, start: int, end: int, **fields: str) -> tuple[Iterator[bytes], dict[str, str]]:
    """Return a multipart body that is made as it is sent, and its headers."""
    told = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head = (
        f'{told}--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="large.zip"\r\n\r\n'
    ).encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()

    def body() -> Iterator[bytes]:
        yield head
        yield from blocks(start, end)
        yield tail

    return body(), {
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Length": str(len(head) + end - start + len(tail)),
    }


def send_whole(client: httpx.Client, size: int) -> tuple[str, float]:
    """Send the file as one form; return its id, and no seconds for completing it."""
    content, headers = form("file", 0, size, purpose="fine-tune")
    made = client.post("/v1/files", content=content, headers=headers).raise_for_status().json()
    return str(made["id"]), 0.0


def send_parts(client: httpx.Client, size: int) -> tuple[str, float]:
    """Send the file in parts; return its id, and the seconds that completing it took."""
    asked = {"filename": "large.zip", "purpose": "fine-tune", "mime_type": "application/zip", "bytes": size}
    upload = client.post("/v1/uploads", json=asked).raise_for_status().json()["id"]
    part_ids = []
    for start in range(0, size, LARGEST_PART):
        content, headers = form("data", start, min(start + LARGEST_PART, size))
        part = client.post(f"/v1/uploads/{upload}/parts", content=content, headers=headers)
        part_ids.append(part.raise_for_status().json()["id"])
    began = time.perf_counter()
    made = client.post(f"/v1/uploads/{upload}/complete", json={"part_ids": part_ids})
    return str(made.raise_for_status().json()["file"]["id"]), time.perf_counter() - began


WAYS: dict[str, Callable[[httpx.Client, int], tuple[str, float]]] = {
    "multipart": send_whole,
    "parts": send_parts,
}


def measure(size: int, work: Path) -> list[Way]:
    """Send a file of this size each way to an api of its own, and check what arrived."""
    (work / "models").mkdir()
    settings = Settings(state=work / "state", base_models=work / "models", max_file_bytes=max(size, MIB))
    migrate(settings)
    digest = digest_of(size)
    with (
        server_in(settings) as served,
        httpx.Client(
            base_url=served.url, headers={"Authorization": f"Bearer {served.secret}"}, timeout=3600
        ) as client,
    ):
        send_whole(client, MIB)  # what is imported and allocated once is no growth
        return [_sent(name, served, client, size, digest) for name in WAYS]


def _sent(name: str, served: Served, client: httpx.Client, size: int, digest: str) -> Way:
    status = Path(f"/proc/{served.process.pid}/status")
    before = _kilobytes(status, "VmRSS")
    status.with_name("clear_refs").write_text("5")  # makes the largest resident set the present one
    began = time.perf_counter()
    file_id, complete_seconds = WAYS[name](client, size)
    seconds = time.perf_counter() - began
    peak = _kilobytes(status, "VmHWM")
    made = client.get(f"/v1/files/{file_id}").raise_for_status().json()
    assert (made["bytes"], made["sha256"]) == (size, digest), "the file is not what was sent"
    client.delete(f"/v1/files/{file_id}").raise_for_status()
    files.purge(served.database, served.store)  # the disk need not hold both
    leftovers.clear(served.database, served.store)
    return Way(name, size, seconds, complete_seconds, 1024 * before, 1024 * peak)


def _kilobytes(status: Path, name: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


def main() -> int:
    """Measure, print a table and JSON, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.upload", description=__doc__)
    parser.add_argument("--bytes", type=float, default=5e9, help="the size of the file")
    parser.add_argument(
        "--work", type=Path, help="a folder with twice as much room; default: a temporary one"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        ways = measure(int(args.bytes), Path(folder))
    table = Table(title=f"An upload of {args.bytes / 1e9:g} GB")
    for column in ("way", "MB/s", "seconds", "of them completing", "api before", "peak", "growth"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for way in ways:
        memory = (f"{value / MIB:.1f} MiB" for value in (way.before, way.peak, way.growth))
        speed = f"{way.bytes / way.seconds / 1e6:.0f}"
        table.add_row(way.what, speed, f"{way.seconds:.1f}", f"{way.complete_seconds:.1f}", *memory)
    Console(width=110).print(table)
    sys.stdout.write(json.dumps([asdict(way) | {"growth": way.growth} for way in ways]) + "\n")
    return 0 if all(way.growth <= MOST_GROWTH for way in ways) else 1


if __name__ == "__main__":
    sys.exit(main())
