"""Times as the API shows them, and the length of a day."""

from datetime import UTC, datetime

DAY_S = 86_400


def rfc3339(moment: float | None) -> str | None:
    """Epoch seconds as RFC 3339 in UTC, to the millisecond."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
