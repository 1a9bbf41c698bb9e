"""What a GET of bytes sends: all, a range, nothing new."""

import hashlib

import pytest
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from api.ranges import Span, asked_range
from tests.api.platform import Running

DATA = bytes(range(256)) * 40
ETAG = f'"{hashlib.sha256(DATA).hexdigest()}"'


@pytest.mark.parametrize(
    ("asked", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=2-4", Span(2, 3)),
        ("bytes=7-", Span(7, 3)),
        ("bytes=-3", Span(7, 3)),
        ("bytes=-99", Span(0, 10)),
        ("bytes=3-99", Span(3, 7)),
        ("BYTES=1-1", Span(1, 1)),
        ("bytes=4-2", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        (f"bytes=0-{'9' * 30}", None),
        ("", None),
    ],
)
def test_a_range_of_ten_bytes(asked: str, span: Span | None) -> None:
    assert asked_range(Headers({"range": asked}), size=10, etag='"t"') == span


@pytest.mark.parametrize(
    ("asked", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=99-100", 10)]
)
def test_a_range_behind_the_end_is_416(asked: str, size: int) -> None:
    with pytest.raises(HTTPException) as refused:
        asked_range(Headers({"range": asked}), size=size, etag='"t"')
    assert refused.value.status_code == 416
    assert refused.value.headers == {"Content-Range": f"bytes */{size}"}


def test_a_file_is_sent_in_ranges(platform: Running) -> None:
    path = f"/v1/files/{platform.upload(DATA)}/content"
    whole = platform.client.get(path)
    assert (whole.status_code, whole.content, whole.headers["etag"]) == (200, DATA, ETAG)
    assert whole.headers["accept-ranges"] == "bytes"
    some = platform.client.get(path, headers={"Range": "bytes=100-199", "If-Range": ETAG})
    assert (some.status_code, some.content) == (206, DATA[100:200])
    assert some.headers["content-range"] == f"bytes 100-199/{len(DATA)}"
    assert some.headers["content-length"] == "100"
    last = platform.client.get(path, headers={"Range": "bytes=-5"})
    assert (last.status_code, last.content) == (206, DATA[-5:])
    changed = platform.client.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, DATA)
    beyond = platform.client.get(path, headers={"Range": f"bytes={len(DATA)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(DATA)}")
    assert beyond.headers["content-type"] == "application/problem+json"
    for known in (ETAG, f'"x", W/{ETAG}', "*"):
        nothing = platform.client.get(path, headers={"If-None-Match": known})
        assert (nothing.status_code, nothing.content, nothing.headers["etag"]) == (304, b"", ETAG)
    assert platform.client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200


def test_an_object_is_sent_in_ranges(embedded: Running) -> None:
    embedded.upload(DATA)
    [key] = embedded.store.list("files/")
    link = embedded.store.signed_url(key, 60).removeprefix(embedded.settings.public_url)
    whole = embedded.client.get(link, headers={"Authorization": ""})
    some = embedded.client.get(link, headers={"Range": "bytes=5-9", "If-Range": whole.headers["etag"]})
    assert (some.status_code, some.content) == (206, DATA[5:10])
    assert embedded.client.get(link, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    assert embedded.client.put(link, content=b"x").status_code in (404, 422)
    assert embedded.client.get(link).content == DATA
