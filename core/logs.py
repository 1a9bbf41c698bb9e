"""Structured logs on standard error: one line an event, the same from our code and from libraries."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from core.settings import Settings

QUIET = ("urllib3", "kombu", "celery.utils.functional", "amqp", "alembic")
SECRETS = (
    (re.compile(r"(?<=://)[^\s/@]*:[^\s/@]+(?=@)"), "***"),
    (re.compile(r"\b(?:spk|sk|hf)[-_][A-Za-z0-9_-]{16,}"), "***"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=]{8,}"), "***"),
    (re.compile(r"(?i)\b(signature|password|secret)=[^\s&'\"]+"), r"\1=***"),
    (re.compile(r"(?i)\b(bearer|basic) [A-Za-z0-9._~+/=-]{8,}"), r"\1 ***"),
)


class StderrHandler(logging.Handler):
    """Writes to what is standard error at the moment, which tests exchange."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # nobody is there to read it, or to be told
            self.handleError(record)


def configure_logs(settings: Settings) -> None:
    """Set up structlog and send the standard library's logging through it."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        without_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    handler = StderrHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It warns that filesystem:// names no host.
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)


def without_secrets(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank what looks like a credential in any text of a line, tracebacks included."""
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = blanked(value)
    return line


def blanked(text: str) -> str:
    """Return a text with what looks like a credential blanked."""
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text
