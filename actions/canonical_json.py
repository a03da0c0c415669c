"""The JSON text by which a value is stored and hashed: equal values have equal texts."""

import json

from pydantic_core import to_jsonable_python


def canonical(value: object) -> str:
    """Sorted keys, no spaces, ASCII only (no NUL, no surrogate); a record becomes an object."""
    return json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        default=to_jsonable_python,
    )
