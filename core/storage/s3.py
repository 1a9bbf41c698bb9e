"""Objects in a bucket of any S3."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Self, cast
from urllib.parse import parse_qs, unquote, urlsplit

import certifi
import urllib3
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError

from core.errors import StoreUnavailable
from core.storage.fetch import fetch
from core.storage.objects import Bound, Link, Measured, Span, Stat, Stored, buffered, check_key, media_type
from core.storage.signing import Signer

PART_BYTES = 16 << 20
PASSING = frozenset({"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted"})
MISSING = frozenset({"NoSuchKey", "NoSuchObject", "ResourceNotFound"})
OPTIONS = frozenset({"secure", "region", "public"})


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Tell the client's errors in our words: not there, try again, refused."""
    try:
        yield
    except S3Error as error:
        if error.code in MISSING:
            raise FileNotFoundError(what) from error
        if error.code in PASSING:
            raise StoreUnavailable(f"the store cannot serve {what} now: {error.code}") from error
        raise PermissionError(f"the store refused {what}: {error.code} {error.message}") from error
    except (urllib3.exceptions.HTTPError, InvalidResponseError, ServerError) as error:
        raise StoreUnavailable(f"the store does not answer for {what}: {type(error).__name__}") from error


def _client(endpoint: str, *, access: str, secret: str, secure: bool, region: str) -> Minio:
    http = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=5, read=60),
        maxsize=16,
        retries=urllib3.Retry(total=3, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
        cert_reqs="CERT_REQUIRED",
        ca_certs=certifi.where(),
    )
    return Minio(
        endpoint, access_key=access, secret_key=secret, secure=secure, region=region, http_client=http
    )


class S3Store:
    """Objects under their keys in one bucket. An upload that breaks off leaves no object.

    Args:
        client: for the platform's own requests.
        bucket: its name.
        public: signs links, by the address where users reach the store.
        signer: signs addresses to be written at.
    """

    def __init__(self, client: Minio, bucket: str, *, public: Minio, signer: Signer) -> None:
        self._client = client
        self._bucket = bucket
        self._public = public
        self._signer = signer

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Connect to ``s3://KEY:SECRET@HOST:PORT/BUCKET?secure=0&region=R&public=https://HOST``."""
        parts = urlsplit(url)
        options = {
            name: values[0]
            for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()
        }
        unknown = options.keys() - OPTIONS
        if unknown:
            raise ValueError(f"store_url: unknown options {sorted(unknown)}; there are {sorted(OPTIONS)}")
        access, secret = unquote(parts.username or ""), unquote(parts.password or "")
        region = options.get("region", "us-east-1")
        endpoint = parts.netloc.rpartition("@")[2]
        secure = options.get("secure", "1") != "0"
        client = _client(endpoint, access=access, secret=secret, secure=secure, region=region)
        public = client
        if "public" in options:
            seen = urlsplit(options["public"])
            public = _client(
                seen.netloc, access=access, secret=secret, secure=seen.scheme == "https", region=region
            )
        signer = Signer(access, secret, region)
        return cls(client, parts.path.strip("/"), public=public, signer=signer)

    def put(self, key: str, stream: BinaryIO, size: int | None, *, sha256: str | None = None) -> Stored:
        """Store a stream to its end; with a ``size`` or a ``sha256``, ValueError when it has another."""
        measured = Measured(stream, size, sha256=sha256)
        with _told(key):
            # The size is not told to the client, for it would not notice a stream that is too long.
            self._client.put_object(
                self._bucket,
                check_key(key),
                cast(BinaryIO, measured),
                length=-1,
                part_size=PART_BYTES,
                content_type=media_type(key),  # the store itself serves links: a picture must be one
            )
        return measured.stored

    def put_file(self, key: str, path: Path) -> Stored:
        """Store a file."""
        with path.open("rb") as stream:
            return self.put(key, stream, path.stat().st_size)

    @contextmanager
    def open(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[BinaryIO]:
        """Open an object, or ``length`` bytes of it from ``start``; FileNotFoundError without one."""
        with _told(key):
            response = self._client.get_object(self._bucket, check_key(key), offset=start, length=length or 0)
            try:
                yield buffered(Span(cast(BinaryIO, response), length))
            finally:
                response.close()
                response.release_conn()

    def get_file(self, key: str, path: Path, *, sha256: str) -> None:
        """Write an object to a path that appears whole; ValueError when its sha256 is another."""
        with self.open(key) as stream:
            fetch(stream, path, key=key, sha256=sha256)

    def stat(self, key: str) -> Stat | None:
        """Return size and age; None when it is not there."""
        try:
            with _told(key):
                found = self._client.stat_object(self._bucket, check_key(key))
        except FileNotFoundError:
            return None
        assert found.size is not None
        assert found.last_modified is not None
        return Stat(found.size, found.last_modified, found.etag or "")

    def exists(self, key: str) -> bool:
        """Tell whether the object is there."""
        return self.stat(key) is not None

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when it is not there."""
        with _told(key):
            self._client.remove_object(self._bucket, check_key(key))

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with ``prefix``, sorted."""
        with _told(prefix):
            found = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
            keys = [one.object_name for one in found if one.object_name and not one.is_dir]
        yield from sorted(keys)

    def signed_url(self, key: str, seconds: int) -> str:
        """Return an address of the store where anyone may read the object for so many seconds."""
        return self._public.presigned_get_object(
            self._bucket, check_key(key), expires=timedelta(seconds=seconds)
        )

    def verify(self, key: str, *, expires: int, signature: str) -> bool:  # noqa: ARG002
        """Return False: the store serves its links itself."""
        return False

    def signed_put(self, key: str, bound: Bound, seconds: int) -> Link:
        """Return an address of the store where anyone may PUT what ``bound`` allows, for so many seconds."""
        address = self._public.presigned_put_object(self._bucket, check_key(key)).partition("?")[0]
        return self._signer.put(address, bound, seconds)

    def verify_put(self, key: str, bound: Bound, *, expires: int, signature: str) -> bool:  # noqa: ARG002
        """Return False: the store itself is written at."""
        return False

    def prepare(self) -> None:
        """Make the bucket when it is not there yet."""
        with _told(self._bucket):
            if not self._client.bucket_exists(self._bucket):
                self._client.make_bucket(self._bucket)

    def check(self) -> None:
        """Raise when the bucket cannot be reached or is not there."""
        with _told(self._bucket):
            if not self._client.bucket_exists(self._bucket):
                raise PermissionError(f"the store has no bucket {self._bucket!r}")
