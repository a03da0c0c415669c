"""The port to the archive of evidence, as actions use it."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class EvidenceError(Exception):
    """The archive cannot be used, or it has something else; the text has object and cause."""


class EvidenceStore(Protocol):
    def gather(
        self, views: Mapping[str, Callable[[], Any]]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """What each view shows, by its name, and why the others show nothing."""
        ...

    def keep(self, name: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Store JSON values, and pictures as bytes. Returns the object's name, hash and size.

        Raises EvidenceError.
        """
        ...

    def read(self, name: str, sha256: str) -> bytes:
        """The object. Raises EvidenceError, also where it is not the one with this hash."""
        ...
