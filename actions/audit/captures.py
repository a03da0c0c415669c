"""What was captured of a target before a step, in the archive: an object for each part.

The audit has the hash of each object. Secrets are removed from its texts; a picture is kept as is.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from actions.audit.archive import Archive, ArchiveError
from actions.aws.errors import AWS_ERRORS, classify
from actions.aws.target_errors import NotActionableError
from actions.evidence import EvidenceError

# An object has at most so many bytes, a text at most so many characters: its last ones.
_BYTES_MAX, _TEXT_MAX = 1_000_000, 64_000
_PREFIX = "captures/"


@dataclass(frozen=True, kw_only=True)
class Captures:
    """`archive` opens the archive, `redact` removes secrets from a text; `clock` in epoch s."""

    archive: Callable[[], Archive]
    redact: Callable[[str], str]
    clock: Callable[[], float]

    def gather(
        self, views: Mapping[str, Callable[[], Any]]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        found, missing = dict[str, Any](), dict[str, str]()
        for name, view in views.items():
            try:
                found[name] = view()
            except NotActionableError as error:
                missing[name] = str(error)
            except AWS_ERRORS as error:
                missing[name] = classify(error).name
        return found, missing

    def keep(self, name: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        parts = {key: self._plain(value) for key, value in content.items()}
        while len(data := _json(parts)) > _BYTES_MAX:
            largest = max(parts, key=lambda key: len(_json(parts[key])))
            parts[largest] = "left out: too large"
        try:
            self.archive().put(_PREFIX + name, data, self.clock())
        except ArchiveError as error:
            raise EvidenceError(str(error)) from None
        return {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

    def read(self, name: str, sha256: str) -> bytes:
        try:
            data = self.archive().get(_PREFIX + name)
        except ArchiveError as error:
            raise EvidenceError(str(error)) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise EvidenceError(f"{_PREFIX}{name} is not what was captured: its hash is another")
        return data

    def _plain(self, value: Any) -> Any:
        match value:
            case bytes():
                return base64.b64encode(value).decode()
            case str():
                return self.redact(value)[-_TEXT_MAX:]
            case Mapping():
                return {key: self._plain(item) for key, item in value.items()}
            case list():
                return [self._plain(item) for item in value]
            case _:
                return value


def _json(value: Any) -> bytes:
    return json.dumps(value, default=str).encode()
