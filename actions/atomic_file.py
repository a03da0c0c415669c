"""Files that several processes use: written in one move, locked, and watched."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_atomically(
    path: Path, data: bytes, *, mode: int = 0o666, keep_rights: bool = False
) -> None:
    """Write a new file next to `path`, flush it to disk, and rename it to `path`.

    A link stays a link to the file. With `keep_rights` the file keeps its owner and mode. Raises
    OSError; where the owner cannot be kept, PermissionError with a text for people.
    """
    path = path.resolve()
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if keep_rights:
                _copy_rights(path, descriptor)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _copy_rights(path: Path, descriptor: int) -> None:
    try:
        old = path.stat()
    except FileNotFoundError:
        return
    own = os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except PermissionError:
            raise PermissionError(
                f"{path}: nothing was changed, because its owner {old.st_uid}:{old.st_gid} cannot "
                "be kept; run this as root or as the owner"
            ) from None
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a path: a file next to it. Raises BlockingIOError, if not `wait`."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def file_stamp(path: Path | None) -> tuple[int, int, int] | None:
    """Changes with the file; None where there is none."""
    with suppress(OSError):
        status = path.stat() if path else None
        return (status.st_ino, status.st_mtime_ns, status.st_size) if status else None
    return None
