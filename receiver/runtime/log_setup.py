"""Logging: one line for each event, as JSON or coloured for a terminal, without secrets."""

import logging
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor

from receiver.runtime.printable import printable
from receiver.runtime.redaction import Redaction

# Keys that this service sets itself; their values are never secret.
_TRUSTED = frozenset(
    {"timestamp", "level", "run", "request_id", "request_ids", "_record", "_from_structlog"}
)

_TRACEBACKS = frozenset({"exception", "stack"})


class Redactor:
    """Removes secrets from an event at any depth."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact

    def __call__(self, _: object, __: str, event: EventDict) -> EventDict:
        return {
            key: value if key in _TRUSTED else self._clean(value) for key, value in event.items()
        }

    def _clean(self, value: object) -> object:
        match value:
            case str():
                return self._redact(value)
            case Mapping():
                return {self._clean(key): self._clean(item) for key, item in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._clean(item) for item in value]
            case BaseException() | bytes() | Path():
                return self._redact(str(value))
        return value


def escape_controls(_: object, __: str, event: EventDict) -> EventDict:
    """Escape control characters but a traceback's line breaks; JSON escapes them itself."""
    return {
        key: value if not isinstance(value, str) else _escape(value, lines=key in _TRACEBACKS)
        for key, value in event.items()
    }


def _escape(text: str, *, lines: bool) -> str:
    text = printable(text)
    return text if lines else text.replace("\n", "\\n").replace("\t", "\\t")


def configure(form: Literal["json", "console"], level: str, secrets: Collection[str] = ()) -> None:
    """Send this service's and the libraries' events to stderr, in one form.

    `secrets` are values to remove from every line.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks are rendered to text first, so that secrets in them are redacted too.
    last: list[Processor] = [structlog.processors.format_exc_info, Redactor(Redaction(secrets))]
    rendering: list[Processor] = (
        [*last, structlog.processors.JSONRenderer(default=str)]
        if form == "json"
        else [*last, escape_controls, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # Only warnings: metrics count requests, and each transaction of deliveries has its own line.
    for noisy in ("httpx", "httpcore", "botocore", "alembic", "dbos", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
