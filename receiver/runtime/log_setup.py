"""One line an event, as JSON for machines or coloured for a person, without secrets."""

import logging
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor

from receiver.runtime.redaction import Redaction

# What we write ourselves, and every line has.
_OURS = frozenset(
    {"timestamp", "level", "run", "request_id", "request_ids", "_record", "_from_structlog"}
)


class Redacting:
    """Takes secrets out of an event, however deep in it they are."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact

    def __call__(self, _: object, __: str, event: EventDict) -> EventDict:
        return {
            key: self._clean(value) if key not in _OURS else value for key, value in event.items()
        }

    def _clean(self, value: object) -> object:
        match value:
            case str():
                return self._redact(value)
            case Mapping():
                return {self._clean(key): self._clean(one) for key, one in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._clean(one) for one in value]
            case BaseException() | bytes() | Path():
                return self._redact(str(value))
        return value


def configure(form: Literal["json", "console"], level: str, known: Collection[str] = ()) -> None:
    """Send our own events and those of the libraries to stderr, in one form.

    `known` are secrets by their value, which never get into it.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Traces are text by then, so that what stands in them is redacted as well.
    last: list[Processor] = [structlog.processors.format_exc_info, Redacting(Redaction(known))]
    rendering: list[Processor] = [
        *last,
        structlog.processors.JSONRenderer(default=str)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
    ]
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
    # Requests are measured, and each delivery has its own line; these would only repeat them.
    for noisy in ("httpx", "httpcore", "botocore", "alembic", "dbos", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
