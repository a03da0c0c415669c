"""The archive of audit copies and signed heads: a folder, or a bucket in S3.

A stored object is never written again. With Object Lock, not even this service's own role can
remove an object before its lock ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from actions.atomic_file import write_atomically
from actions.aws.client_set import Aws
from actions.aws.errors import AWS_ERRORS

# The error of S3 for a key that exists already.
_EXISTS = "PreconditionFailed"


class ArchiveError(Exception):
    """The archive cannot be used, or its content is wrong; the text has object and cause."""


class Archive(Protocol):
    """Objects by name, with slashes between its parts. Each method may raise ArchiveError."""

    def put(self, name: str, data: bytes, now: float) -> None:
        """Store the data, unless an object with this name exists."""

    def get(self, name: str) -> bytes: ...

    def list_names(self, prefix: str) -> Sequence[str]:
        """Names with this prefix, sorted."""


@dataclass(frozen=True)
class FolderArchive:
    path: Path

    def put(self, name: str, data: bytes, now: float) -> None:
        del now
        file = self.path / name
        try:
            if file.exists():
                return
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, data)
        except OSError as error:
            raise ArchiveError(f"{file}: {error.strerror}") from None

    def get(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise ArchiveError(f"{self.path / name}: {error.strerror}") from None

    def list_names(self, prefix: str) -> Sequence[str]:
        folder = self.path / prefix
        files = folder.iterdir() if folder.is_dir() else ()
        return sorted(f"{prefix}{file.name}" for file in files if not file.name.startswith("."))


@dataclass(frozen=True, kw_only=True)
class BucketArchive:
    """A bucket; nobody may remove an object for `lock_days`. None leaves that to the bucket."""

    aws: Aws
    bucket: str
    prefix: str
    lock_days: int | None = None

    def put(self, name: str, data: bytes, now: float) -> None:
        key = self.prefix + name
        lock: dict[str, Any] = {}
        if self.lock_days is not None:
            until = datetime.fromtimestamp(now, UTC) + timedelta(days=self.lock_days)
            lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        try:
            # Without this condition a second version would hide the locked first one.
            self.aws.s3.put_object(Bucket=self.bucket, Key=key, Body=data, IfNoneMatch="*", **lock)
        except AWS_ERRORS as error:
            if _code(error) != _EXISTS:
                raise self._failed(key, error) from None

    def get(self, name: str) -> bytes:
        key = self.prefix + name
        try:
            return self.aws.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except AWS_ERRORS as error:
            raise self._failed(key, error) from None

    def list_names(self, prefix: str) -> Sequence[str]:
        pages = self.aws.s3.get_paginator("list_objects_v2")
        try:
            names = [
                item["Key"].removeprefix(self.prefix)
                for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix)
                for item in page.get("Contents", [])
            ]
        except AWS_ERRORS as error:
            raise self._failed(prefix, error) from None
        return sorted(names)

    def _failed(self, key: str, error: Exception) -> ArchiveError:
        return ArchiveError(f"s3://{self.bucket}/{key}: {_code(error)}")


@dataclass(frozen=True)
class ArchivePart:
    """The objects whose names begin with `prefix`, by the rest of their names."""

    whole: Archive
    prefix: str

    def put(self, name: str, data: bytes, now: float) -> None:
        self.whole.put(self.prefix + name, data, now)

    def get(self, name: str) -> bytes:
        return self.whole.get(self.prefix + name)

    def list_names(self, prefix: str) -> Sequence[str]:
        names = self.whole.list_names(self.prefix + prefix)
        return [name.removeprefix(self.prefix) for name in names]


def _code(error: Exception) -> str:
    answer = getattr(error, "response", {})
    return answer.get("Error", {}).get("Code") or type(error).__name__


def archive_at(where: str, clients: Callable[[], Aws], *, lock_days: int | None = None) -> Archive:
    """The archive at `where`: a folder, or `s3://bucket/prefix`."""
    if not where.startswith("s3://"):
        return FolderArchive(Path(where))
    parts = urlsplit(where)
    prefix = parts.path.strip("/")
    return BucketArchive(
        aws=clients(),
        bucket=parts.netloc,
        prefix=f"{prefix}/" if prefix else "",
        lock_days=lock_days,
    )
