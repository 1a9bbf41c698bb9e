"""Signed addresses of S3 (Signature Version 4, in the query) that bind length and digest of what is written.

The minio client signs the host alone, so that whoever has an address could send anything.
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from core.storage.objects import Bound, Link

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Signer:
    """Who signs, for which region."""

    access: str
    secret: str = field(repr=False)
    region: str

    def put(self, address: str, bound: Bound, seconds: int, *, now: datetime | None = None) -> Link:
        """Return an address to which only ``bound`` may be PUT, for so many seconds.

        Args:
            address: of the object, without a query.
            bound: what may be written.
            seconds: how long, from now on.
            now: what the time is taken to be.
        """
        moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        parts = urlsplit(address)
        sent = {"x-amz-checksum-sha256": _base64(bound.sha256)} if bound.sha256 is not None else {}
        signed = dict(sorted((sent | {"content-length": str(bound.size), "host": parts.netloc}).items()))
        scope = f"{moment[:8]}/{self.region}/s3/aws4_request"
        query = _query(
            {
                "X-Amz-Algorithm": ALGORITHM,
                "X-Amz-Credential": f"{self.access}/{scope}",
                "X-Amz-Date": moment,
                "X-Amz-Expires": str(seconds),
                "X-Amz-SignedHeaders": ";".join(signed),
            }
        )
        headers = "".join(f"{name}:{value}\n" for name, value in signed.items())
        request = f"PUT\n{parts.path}\n{query}\n{headers}\n{';'.join(signed)}\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        signature = hmac.new(
            self._key(moment[:8]), f"{ALGORITHM}\n{moment}\n{scope}\n{digest}".encode(), hashlib.sha256
        ).hexdigest()
        return Link(f"{address}?{query}&X-Amz-Signature={signature}", sent)

    def _key(self, day: str) -> bytes:
        key = f"AWS4{self.secret}".encode()
        for word in (day, self.region, "s3", "aws4_request"):
            key = hmac.new(key, word.encode(), hashlib.sha256).digest()
        return key


def _query(told: dict[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(told.items()))


def _base64(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode()
