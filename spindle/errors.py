"""What can go wrong when talking to Spindle, each with a message that says what to do."""


class SpindleError(Exception):
    """Anything the client raises on purpose; its text is meant for people."""


class NotRunningError(SpindleError):
    """Nothing answers at the address."""


class ApiError(SpindleError):
    """The API refused: the problem's status, message and what it is about.

    Attributes:
        status: the HTTP status.
        type: the kind of error, such as ``invalid_request_error``.
        param: the field, parameter or header that is wrong, where there is one.
        code: a stable word for programs, where there is one.
        request_id: under which the server's log tells of it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "",  # noqa: A002  # the API's own word
        param: str | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.param = param
        self.code = code
        self.request_id = request_id


class WaitedTooLongError(SpindleError):
    """What was waited for had not come to its end in time; it goes on."""


class UploadBrokenError(SpindleError):
    """An upload in parts broke off; what has arrived is kept for a day.

    Attributes:
        upload_id: what to give as ``resume`` to go on with it.
    """

    def __init__(self, message: str, *, upload_id: str) -> None:
        super().__init__(message)
        self.upload_id = upload_id


class JobFailedError(SpindleError):
    """A job that was waited for did not succeed."""
