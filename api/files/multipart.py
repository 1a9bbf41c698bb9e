"""A multipart form whose one file flows through: pulled chunk by chunk by whoever stores it.

The framework's own form parser would write every upload to a temporary file first, and would measure it
only then.
"""

from collections.abc import Callable
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from core.errors import Invalid, TooLarge
from core.files import plain_name
from core.storage.objects import Pulled, buffered

MAX_FIELD_BYTES = 4096
MAX_FIELDS = 16
ALLOWANCE = 64 * 1024
"""What a form may weigh beside its file."""


class MultipartForm:
    """Reads a form of short text fields and one file, in any order.

    Use: ``open_file()`` and read it to its end, then ``finish()``; after that ``fields`` is complete.
    Invalid and TooLarge tell what is wrong with the form.
    """

    def __init__(
        self, content_type: str, chunks: Callable[[], bytes], *, max_file_bytes: int, field: str = "file"
    ) -> None:
        """Prepare to read.

        Args:
            content_type: the header.
            chunks: returns the body piece by piece, and ``b""`` at its end.
            max_file_bytes: what the file may weigh.
            field: the name of the file's field; only a ``file`` must have a name of its own.
        """
        self._field = field
        kind, options = parse_options_header(content_type.encode("latin-1"))
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise self._wrong("send it as multipart/form-data", "not_multipart")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._chunks = chunks
        self._max_file_bytes = max_file_bytes
        self._size = 0
        self._header: list[bytes] = [b"", b""]
        self._disposition = b""
        self._name = ""
        self._in_file = False
        self._text = b""
        self._file_data: list[bytes] = []
        self._file_ended = False
        self._ended = False
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._part_begins,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_ends,
                    "on_header_field": lambda data, start, end: self._add_header(0, data[start:end]),
                    "on_header_value": lambda data, start, end: self._add_header(1, data[start:end]),
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._headers_finished,
                    "on_end": self._form_ends,
                },
            )
        except FormParserError as error:
            raise self._malformed(error) from error

    def open_file(self) -> BinaryIO:
        """Read up to the file and return its bytes as a stream."""
        while self.filename is None and self._advance():
            pass
        if self.filename is None:
            raise self._wrong("this field is required: the bytes to upload", "missing")
        return buffered(Pulled(self._pull))

    def finish(self) -> None:
        """Read what follows the file."""
        while self._advance():
            pass
        if not self._ended:
            raise self._wrong(
                "the body was cut off before the end of the form; send it again", "truncated_body"
            )

    def _pull(self) -> bytes:
        while not self._file_data and not self._file_ended and self._advance():
            pass
        if not self._file_data and not self._file_ended:
            self.finish()
        data = b"".join(self._file_data)
        self._file_data.clear()
        return data

    def _advance(self) -> bool:
        """Parse one more chunk; False at the end of the body."""
        chunk = self._chunks()
        if not chunk:
            return False
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise self._malformed(error) from error
        return True

    def _part_begins(self) -> None:
        self._disposition = b""
        self._text = b""

    def _add_header(self, which: int, piece: bytes) -> None:
        self._header[which] += piece
        if len(self._header[which]) > MAX_FIELD_BYTES:
            raise self._wrong(
                f"a header of the form is longer than {MAX_FIELD_BYTES} bytes", "malformed_form"
            )

    def _header_ends(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._disposition = value
        self._header = [b"", b""]

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = _text(options.get(b"name", b""), "the name of a form field")
        self._in_file = self._name == self._field
        if self._name in self.fields or (self._in_file and self.filename is not None):
            raise Invalid(
                f"{self._name}: given twice; send it once", param=self._name, code="duplicate_field"
            )
        if len(self.fields) >= MAX_FIELDS:
            raise self._wrong(f"the form has more than {MAX_FIELDS} fields", "malformed_form")
        if self._in_file:
            given = _text(options.get(b"filename", b""), "the file's name")
            try:
                self.filename = plain_name(given) if self._field == "file" else given
            except ValueError as error:
                raise self._wrong(str(error), "bad_filename") from error

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._in_file:
            self._text += data[start:end]
            if len(self._text) > MAX_FIELD_BYTES:
                raise Invalid(
                    f"{self._name}: longer than {MAX_FIELD_BYTES} bytes", param=self._name, code="too_long"
                )
            return
        self._size += end - start
        if self._size > self._max_file_bytes:
            raise TooLarge(
                f"{self._field}: larger than the {self._max_file_bytes} bytes this server takes; split it",
                param=self._field,
                code="file_too_large",
            )
        self._file_data.append(data[start:end])

    def _part_ends(self) -> None:
        if self._in_file:
            self._file_ended = True
        else:
            self.fields[self._name] = _text(self._text, self._name)
        self._in_file = False

    def _form_ends(self) -> None:
        self._ended = True

    def _wrong(self, what: str, code: str) -> Invalid:
        return Invalid(f"{self._field}: {what}", param=self._field, code=code)

    def _malformed(self, error: Exception) -> Invalid:
        return self._wrong(f"the form cannot be read: {error}", "malformed_form")


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{what} is not UTF-8", code="not_utf8") from error
