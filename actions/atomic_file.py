"""Writes a file atomically: a reader sees the old content or the new content, never a part."""

import os
from collections.abc import Callable
from pathlib import Path


def write_atomically(
    path: Path,
    data: bytes,
    *,
    mode: int = 0o666,
    prepare: Callable[[int], None] = lambda _: None,
) -> None:
    """Write a new file next to `path`, flush it to disk, and rename it to `path`. Raises OSError.

    `prepare` gets the new file's descriptor before the data; the file is removed if it raises. A
    symbolic link is kept, and its target replaced.
    """
    path = path.resolve()
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            prepare(descriptor)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
