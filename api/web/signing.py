"""Signing in with a key, out again, and from one project to another."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from api.deps import PlatformDep
from api.web.cookies import keep, refuse_other_sites, tokens_of
from api.web.pages import page
from core import sessions
from core.db import transaction
from core.errors import Unauthorized

router = APIRouter(include_in_schema=False)

HOME = "/"
LONGEST = 2000


def within(path: str) -> str:
    """Return a path of this host, or the home page in place of any other address."""
    parts = urlsplit(path)
    inside = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc
    return path if inside and path.isprintable() else HOME


@router.get("/sign-in")
def sign_in_page(
    request: Request, onward: Annotated[str, Query(alias="next", max_length=LONGEST)] = HOME
) -> Response:
    """Ask for a key."""
    return page(request, "sign_in.html", who=None, onward=within(onward), wrong="")


@router.post("/sign-in")
def sign_in(
    request: Request,
    parts: PlatformDep,
    key: Annotated[str, Form(max_length=LONGEST)] = "",
    onward: Annotated[str, Form(alias="next", max_length=LONGEST)] = HOME,
) -> Response:
    """Open a session, beside those that this browser has."""
    refuse_other_sites(request, parts.settings.public_url)
    before = tokens_of(request)
    try:
        with transaction(parts.database) as session:
            token = sessions.open_session(session, secret=key.strip())
            project = sessions.verify(session, token=token).project_id
            others = [
                one.token for one in sessions.signed_in(session, tokens=before) if one.project_id != project
            ]
            for left in set(before) - set(others):
                sessions.close_session(session, token=left)
    except Unauthorized as error:
        return page(request, "sign_in.html", who=None, status=401, onward=within(onward), wrong=error.message)
    answer = RedirectResponse(within(onward), 303)
    keep(answer, [token, *others], secure=_secure(parts.settings.public_url))
    return answer


@router.post("/sign-out")
def sign_out(request: Request, parts: PlatformDep) -> Response:
    """End every session of this browser."""
    refuse_other_sites(request, parts.settings.public_url)
    with transaction(parts.database) as session:
        for token in tokens_of(request):
            sessions.close_session(session, token=token)
    answer = RedirectResponse("/sign-in", 303)
    keep(answer, [], secure=_secure(parts.settings.public_url))
    return answer


@router.post("/switch")
def switch(
    request: Request, parts: PlatformDep, project: Annotated[str, Form(max_length=LONGEST)]
) -> Response:
    """Work in another of the projects that this browser is signed in to."""
    refuse_other_sites(request, parts.settings.public_url)
    with transaction(parts.database) as session:
        found = sessions.signed_in(session, tokens=tokens_of(request))
    chosen = [one.token for one in found if one.project_id == project]
    if not chosen:
        return RedirectResponse("/sign-in", 303)
    answer = RedirectResponse(HOME, 303)
    others = [one.token for one in found if one.token not in chosen]
    keep(answer, [*chosen, *others], secure=_secure(parts.settings.public_url))
    return answer


def _secure(public_url: str) -> bool:
    return public_url.startswith("https://")
