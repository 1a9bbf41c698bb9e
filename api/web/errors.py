"""Errors where a person reads them: a page that says what happened, or the way to sign in."""

import json
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from api.web.pages import page

FOR_PROGRAMS = ("/v1/", "/static/", "/openapi.json", "/metrics", "/livez", "/readyz")


def shown(request: Request, answer: JSONResponse) -> Response:
    """Return an error as a page, if a browser asked for a page."""
    wants_page = "text/html" in request.headers.get("accept", "")
    if not wants_page or request.url.path.startswith(FOR_PROGRAMS):
        return answer
    if answer.status_code == 401:
        return RedirectResponse(f"/sign-in?next={quote(path_of(request), safe='')}", 303)
    told = json.loads(bytes(answer.body))
    kept = {name: answer.headers[name] for name in ("retry-after", "allow") if name in answer.headers}
    return page(
        request,
        "error.html",
        who=None,
        status=answer.status_code,
        headers=kept,
        code=answer.status_code,
        title=told["title"],
        detail=told["detail"],
    )


def path_of(request: Request) -> str:
    """Return where the reader wanted to go, in this house; a form that was sent leads to its page."""
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{request.url.path}{query}" if request.method == "GET" else "/"
