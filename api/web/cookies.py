"""The cookie of people who are signed in: tokens of their sessions, the one they work in first."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from core.errors import Forbidden
from core.sessions import SECONDS

NAME = "spindle_session"
MOST = 8
SAFE = ("GET", "HEAD", "OPTIONS")


def tokens_of(request: Request) -> list[str]:
    """Return the tokens that a browser holds."""
    return [token for token in request.cookies.get(NAME, "").split(".") if token][:MOST]


def keep(answer: Response, tokens: Sequence[str], *, secure: bool) -> None:
    """Let the browser hold these tokens from now on, out of reach of any script; without any, forget."""
    if not tokens:
        answer.delete_cookie(NAME, path="/", secure=secure, httponly=True, samesite="lax")
        return
    answer.set_cookie(
        NAME,
        ".".join(tokens[:MOST]),
        max_age=int(SECONDS),
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def refuse_other_sites(request: Request, public_url: str) -> None:
    """Refuse a change that a page of another site asks this browser for.

    The cookie goes with every request to this host; who asks is told by ``Origin``, which no page can set.
    Behind a proxy that asks by another name, the pages' own origin is that of the public address.

    Raises:
        Forbidden: the request changes something and does not come from a page of this host.
    """
    origin = urlsplit(request.headers.get("origin", "")).netloc
    ours = (request.headers.get("host"), urlsplit(public_url).netloc)
    if request.method not in SAFE and origin not in ours:
        raise Forbidden(
            "a browser that is signed in changes things from the dashboard's own pages only; "
            "send a key as `Authorization: Bearer KEY` instead",
            code="other_site",
        )
