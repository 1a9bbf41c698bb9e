"""What every page of the dashboard is made with: who looks, the templates, and what a browser may do."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.orm import Session

from api.deps import CallerDep, IdentityDep, Platform, SessionDep
from api.web import formats
from api.web.cookies import tokens_of
from api.web.static_files import address_of
from core import sessions
from core.errors import Forbidden, Unauthorized
from core.keys import Caller
from core.sessions import SignedIn

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= formats.FILTERS
TEMPLATES.globals |= {"static": address_of, "query": lambda **values: f"?{urlencode(values)}"}


@dataclass(frozen=True)
class Visitor:
    """Who looks at a page: the caller that the API would see, and all that this browser is signed in to."""

    caller: Caller
    sessions: list[SignedIn]

    @property
    def project_id(self) -> str:
        """The project that is looked at."""
        return self.caller.project_id

    @property
    def current(self) -> SignedIn:
        """The session that is worked in."""
        return self.sessions[0]

    def may(self, scope: str) -> bool:
        """Tell whether the key has a scope; what it may not do is not offered."""
        return scope in self.caller.scopes


def visitor(request: Request, session: SessionDep, who: CallerDep) -> Visitor:
    """Return who looks, and may read. A key in a header opens no page: pages are for browsers."""
    return _visitor(request, session, who)


def voter(request: Request, session: SessionDep, who: IdentityDep) -> Visitor:
    """Return who looks at the one page that keys which may serve and nothing else open too."""
    if who.scopes.isdisjoint({"read", "serve"}):
        raise Forbidden("this key may neither read nor serve; use another key", code="scope_missing")
    return _visitor(request, session, who)


def _visitor(request: Request, session: Session, who: Caller) -> Visitor:
    found = sessions.signed_in(session, tokens=tokens_of(request))
    if not found or found[0].project_id != who.project_id:
        raise Unauthorized("sign in to see this page", code="sign_in_first")
    return Visitor(who, found)


VisitorDep = Annotated[Visitor, Depends(visitor)]
VoterDep = Annotated[Visitor, Depends(voter)]


def page(
    request: Request,
    name: str,
    *,
    who: Visitor | None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """Return a page: the template ``name`` with ``who`` (a Visitor, or None), ``request`` and ``context``."""
    parts: Platform = request.app.state.platform
    html = TEMPLATES.get_template(name).render(request=request, who=who, **context)
    told = {
        "Content-Security-Policy": policy(picture_origins(parts)),
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "private, no-cache",
    }
    return HTMLResponse(html, status_code=status, headers=told | dict(headers or {}))


@cache
def policy(origins: str) -> str:
    """Return the Content-Security-Policy: our own scripts and styles, and nothing written into a page."""
    rules = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": f"'self' blob: data: {origins}".rstrip(),
        "connect-src": f"'self' {origins}".rstrip(),
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def picture_origins(parts: Platform) -> str:
    """Return where signed addresses lead: the store's own, or the API's public one."""
    link = urlsplit(parts.store.signed_url("origin", 60))
    return f"{link.scheme}://{link.netloc}"
