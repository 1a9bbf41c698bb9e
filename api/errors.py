"""Every error as problem+json (RFC 9457) that also carries the ``error`` object OpenAI's clients read."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DataError, OperationalError
from starlette.exceptions import HTTPException

from api.routes import route_of
from core.errors import AppError, TooMany

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
PASSING_CONFLICTS = ("idempotency_in_progress", "upload_completing")
TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}


def problem(
    status: int,
    message: str,
    *,
    kind: str | None = None,
    param: str | None = None,
    code: str | None = None,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return the answer for one error; ``errors`` lists the fields when there are several."""
    phrase = HTTPStatus(status).phrase
    kind = kind or TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": phrase,
        "status": status,
        "detail": message,
        "error": {"message": message, "type": kind, "param": param, "code": code},
    }
    if errors:
        body["errors"] = list(errors)
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def field_path(where: Sequence[Any]) -> str:
    """Return ``hyperparameters.steps.0`` for ``("body", "hyperparameters", "steps", 0)``."""
    parts = [str(part) for part in where]
    if parts and parts[0] in {"body", "query", "path", "header"}:
        parts = parts[1:]
    return ".".join(parts)


def field_message(error: Mapping[str, Any]) -> str:
    """Say what is wrong with one field, and what to do."""
    path = field_path(error["loc"])
    where = "query parameter" if error["loc"][:1] == ("query",) else "field"
    match error["type"]:
        case "extra_forbidden":
            return f"{path}: unknown {where}; leave it out, or check its spelling in /docs"
        case "missing":
            return f"{path}: this {where} is required" if path else "the body is missing: send a JSON object"
        case "json_invalid":
            return f"the body is not JSON: {error['ctx']['error']} at character {error['loc'][-1]}"
        case "model_attributes_type" if not path:
            return "the body must be a JSON object, sent as application/json"
    given = error.get("input")
    shown = (
        f", not {given!r}" if isinstance(given, str | int | float | bool) and len(repr(given)) <= 80 else ""
    )
    text = error["msg"].removeprefix("Value error, ")
    return f"{path}: {text[:1].lower()}{text[1:]}{shown}" if path else text


def _would_only_come_again(error: AppError) -> bool:
    """Tell whether it is vain to repeat the request soon."""
    if isinstance(error, TooMany):
        return error.retry_after is None
    final_conflict = error.status == 409 and error.code not in PASSING_CONFLICTS
    return error.status == 500 or error.code == "drawing_timeout" or final_conflict


def _app_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AppError)
    headers = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooMany):
        headers["Retry-After"] = str(error.retry_after or 60)
    if _would_only_come_again(error):
        # OpenAI's clients repeat every 409, 429 and 5xx; these would only come again.
        headers["x-should-retry"] = "false"
    return problem(
        error.status, error.message, kind=error.type, param=error.param, code=error.code, headers=headers
    )


def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [{"param": field_path(one["loc"]), "message": field_message(one)} for one in error.errors()]
    not_json = error.errors()[0]["type"] == "json_invalid"
    return problem(
        400 if not_json else 422,
        "; ".join(one["message"] for one in found[:5]),
        param=None if not_json else found[0]["param"] or None,
        code="invalid_json" if not_json else error.errors()[0]["type"],
        errors=found,
    )


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = error.detail
    if error.status_code == 404 and message == "Not Found":
        message = f"there is nothing at {request.method} {request.url.path}; /docs lists what there is"
    elif error.status_code == 405:
        message = f"{request.url.path} does not understand {request.method}; /docs lists what there is"
        return problem(405, message, headers=dict(error.headers or {}) | _allow(request))
    return problem(error.status_code, message, headers=error.headers)


def _allow(request: Request) -> dict[str, str]:
    """Return what an address does understand: the framework tells the verbs of one of its routes only."""
    told = request.app.openapi()["paths"].get(route_of(request.scope), {})
    return {"Allow": ", ".join(sorted(verb.upper() for verb in told))} if told else {}


def _database_down(request: Request, error: Exception) -> JSONResponse:
    log.error("database_unavailable", path=request.url.path, error=str(getattr(error, "orig", error)))
    return problem(
        503,
        "the database cannot be reached or is busy; nothing was changed; try again",
        code="database_unavailable",
        headers={"Retry-After": "1"},
    )


def _unstorable(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DataError)
    return problem(
        422, "a text or number cannot be stored: leave out control characters", code="unstorable_value"
    )


def crashed() -> JSONResponse:
    """Return the answer for a mistake of ours."""
    return problem(
        500,
        "something went wrong on our side; the server's log tells what, under this answer's x-request-id",
        code="internal_error",
    )


def install(app: FastAPI, shown: Callable[[Request, JSONResponse], Response]) -> None:
    """Make the app answer every error this way; ``shown`` makes a page of it where a person reads it."""

    def handler(
        told: Callable[[Request, Exception], JSONResponse],
    ) -> Callable[[Request, Exception], Response]:
        return lambda request, error: shown(request, told(request, error))

    app.add_exception_handler(AppError, handler(_app_error))
    app.add_exception_handler(RequestValidationError, handler(_invalid))
    app.add_exception_handler(HTTPException, handler(_http))
    app.add_exception_handler(DataError, handler(_unstorable))
    app.add_exception_handler(OperationalError, handler(_database_down))
