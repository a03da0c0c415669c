"""Where copies of the audit and its signed heads are kept: a folder, or a bucket in S3.

What is there is never written again. With Object Lock not even this program's own role can take it
away before its time.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from actions.aws.clients import AWS_ERRORS, Aws

# What S3 answers where something has the name already.
_THERE = "PreconditionFailed"


class ArchiveError(Exception):
    """The archive cannot be used, or holds what it should not; the text says which and why."""


class Archive(Protocol):
    """Names have parts, separated by slashes. Each method may raise ArchiveError."""

    def put(self, name: str, data: bytes, now: float) -> None:
        """Keep it; what is there under this name already stays as it is."""

    def get(self, name: str) -> bytes: ...

    def list_names(self, prefix: str) -> Sequence[str]:
        """Those that begin so, sorted."""


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
            beside = file.with_name(f".{file.name}.new")
            with beside.open("wb") as written:
                written.write(data)
                written.flush()
                os.fsync(written.fileno())
            beside.replace(file)
        except OSError as error:
            raise ArchiveError(f"{file}: {error.strerror}") from None

    def get(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise ArchiveError(f"{self.path / name}: {error.strerror}") from None

    def list_names(self, prefix: str) -> Sequence[str]:
        folder = self.path / prefix
        found = folder.iterdir() if folder.is_dir() else ()
        return sorted(f"{prefix}{one.name}" for one in found if not one.name.startswith("."))


@dataclass(frozen=True, kw_only=True)
class BucketArchive:
    """`lock_days`: how long nobody may remove what is put there; None leaves it to the bucket."""

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
            # Else a newer version would stand before the one that is locked.
            self.aws.s3.put_object(Bucket=self.bucket, Key=key, Body=data, IfNoneMatch="*", **lock)
        except AWS_ERRORS as error:
            if _code(error) != _THERE:
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
            found = [
                one["Key"].removeprefix(self.prefix)
                for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix)
                for one in page.get("Contents", [])
            ]
        except AWS_ERRORS as error:
            raise self._failed(prefix, error) from None
        return sorted(found)

    def _failed(self, key: str, error: Exception) -> ArchiveError:
        return ArchiveError(f"s3://{self.bucket}/{key}: {_code(error)}")


def _code(error: Exception) -> str:
    answer = getattr(error, "response", {})
    return answer.get("Error", {}).get("Code") or type(error).__name__


def archive_at(where: str, clients: Callable[[], Aws], *, lock_days: int | None = None) -> Archive:
    """A folder, or `s3://bucket/prefix`."""
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
