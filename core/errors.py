"""What can go wrong on a user's way, each with the HTTP status that tells it.

A message says what is wrong, where (the field, file or row) and what to do.
"""


class AppError(Exception):
    """An error to be shown to the caller.

    Attributes:
        status: the HTTP status.
        type: OpenAI's kind of error.
        message: for a person.
        param: the field at fault.
        code: for a program.
    """

    status = 500
    type = "server_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


class Invalid(AppError):  # noqa: N818  read as sentences: raise NotFound, except Conflict
    """What was sent cannot be used as it is."""

    status = 422
    type = "invalid_request_error"


class Unauthorized(AppError):  # noqa: N818
    """Nobody we know."""

    status = 401
    type = "authentication_error"


class Forbidden(AppError):  # noqa: N818
    """Known, but not allowed to."""

    status = 403
    type = "permission_error"


class NotFound(AppError):  # noqa: N818
    """Not there, or another project's."""

    status = 404
    type = "not_found_error"


class Conflict(AppError):  # noqa: N818
    """Not possible as things stand."""

    status = 409
    type = "conflict_error"


class TooLarge(AppError):  # noqa: N818
    """Over a limit of size."""

    status = 413
    type = "invalid_request_error"


class TooMany(AppError):  # noqa: N818
    """Over a limit of a project or a key; it may be possible later.

    Attributes:
        retry_after: seconds after which it will be possible, where that is known.
    """

    status = 429
    type = "rate_limit_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message, param=param, code=code)
        self.retry_after = retry_after


class Unavailable(AppError):  # noqa: N818
    """A part of the platform does not answer now."""

    status = 503


class StoreUnavailable(Unavailable):
    """The object store does not answer now; what was asked of it may be asked again."""


class StaleFence(Exception):  # noqa: N818
    """The claim is no longer the writer's: another holds the unit, or it has ended. Nothing was written."""
