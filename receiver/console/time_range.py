"""Time ranges of lists: a span that ends now, or from one time to another."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from fastapi import HTTPException

SPANS_H = {"1h": 1, "24h": 24, "7d": 168, "30d": 720}


def start_of(span: str) -> datetime:
    """The start of a span that ends now. Raises HTTPException."""
    if span not in SPANS_H:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "Unknown time span.")
    return datetime.now(UTC) - timedelta(hours=SPANS_H[span])


def parse_range(filters: Mapping[str, str]) -> tuple[datetime | None, datetime | None]:
    """The times of `from` or else `since`, and of `to`. Raises HTTPException."""
    start = _parse(filters["from"]) or (start_of(filters["since"]) if filters["since"] else None)
    return start, _parse(filters["to"])


def _parse(text: str) -> datetime | None:
    """A time as a browser's field gives it, in UTC where it names no zone."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        unknown = "A time is written as 2026-11-24T02:00."
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, unknown) from None
