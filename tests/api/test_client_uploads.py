"""Our clients against the real API: a file in parts, broken off half-way, goes on where it was."""

import asyncio
from pathlib import Path

import pytest

from spindle.async_client import AsyncSpindle
from spindle.client import Spindle
from tests.api.platform import Served

PART = 64 << 10
SIZE = 5 * PART + 7


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A file of five parts and a bit, each part of other bytes."""
    path = tmp_path / "pictures.tar"
    path.write_bytes(bytes(index * 31 % 251 for index in range(SIZE)))
    return path


def test_an_upload_that_was_interrupted_is_resumed(server: Served, archive: Path, tmp_path: Path) -> None:
    begun: list[str] = []
    seen: list[int] = []

    def interrupted(done: int, _of: int) -> None:
        if done >= 3 * PART:
            raise KeyboardInterrupt

    with Spindle(url=server.url, key=server.secret) as client:
        with pytest.raises(KeyboardInterrupt):
            client.files.upload(archive, part_bytes=PART, progress=interrupted, begun=begun.append)
        [upload_id] = begun
        assert client.files.get_upload(upload_id).received_bytes == 3 * PART
        arrived = {part.id for part in client.files.parts(upload_id)}
        file = client.files.upload(
            archive, part_bytes=PART, resume=upload_id, progress=lambda done, _: seen.append(done)
        )
        assert (file.bytes, file.filename, seen[-1]) == (SIZE, "pictures.tar", SIZE)
        assert client.files.get_upload(upload_id).status == "completed"
        assert len(arrived) == 3
        assert client.files.download(file.id, tmp_path / "copy") == SIZE
        assert (tmp_path / "copy").read_bytes() == archive.read_bytes()
        client.files.delete(file.id)


def test_the_client_for_asyncio_uploads_in_parts_too(server: Served, archive: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncSpindle(url=server.url, key=server.secret) as client:
            file = await client.files.upload(archive, part_bytes=PART)
            assert file.bytes == SIZE
            assert await client.files.download(file.id, tmp_path / "copy") == SIZE
            await client.files.delete(file.id)

    asyncio.run(main())
    assert (tmp_path / "copy").read_bytes() == archive.read_bytes()
