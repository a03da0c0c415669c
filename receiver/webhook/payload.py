"""Alertmanager's webhook, version 4: what arrives, taken apart alert by alert.

The shape is documented at https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
Only the envelope can make a delivery fail; an odd alert is kept and refused as a run of its own,
so that one of them never costs its siblings.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

_WHEN: TypeAdapter[AwareDatetime] = TypeAdapter(AwareDatetime)
_LABELS_MAX, _TEXT_MAX, _YEAR_MAX = 128, 8192, 9999


class NotJsonError(Exception):
    """The body is no JSON at all."""


class NotVersion4Error(Exception):
    """The body is JSON, but no Alertmanager webhook of version 4."""


def _text(value: object) -> object:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> object:
    return value if isinstance(value, dict) else {}


class Envelope(BaseModel):
    """The delivery; unknown fields are of a newer Alertmanager and are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Literal["4"]
    alerts: list[Any]
    truncated: Annotated[int, Field(ge=0, le=2**31, alias="truncatedAlerts")] = 0
    receiver: Annotated[str, BeforeValidator(_text)] = ""
    group_labels: Annotated[
        dict[str, Any], BeforeValidator(_mapping), Field(alias="groupLabels")
    ] = {}


_PRIORITY = {"critical": 0, "warning": 1}
_LEAST = 2


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert as it was sent. Labels and annotations are hostile data: compared, never run.

    `key` identifies the alert: its fingerprint, or a hash of one that has an odd form.
    `odd` says why no playbook may take it.
    """

    key: str
    fingerprint: str
    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float | None
    odd: str | None = None

    @property
    def priority(self) -> int:
        """What is decided on first, from 0, by `severity`."""
        return _PRIORITY.get(self.labels.get("severity", ""), _LEAST)


def envelope(body: bytes) -> Envelope:
    """Raises NotJsonError or NotVersion4Error, each with one line that quotes no value."""
    try:
        return Envelope.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise NotJsonError("the body is not JSON") from None
        where = ".".join(str(part) for part in first["loc"]) or "body"
        shape = f"not an Alertmanager webhook of version 4: {where}: {first['msg']}"
        raise NotVersion4Error(shape) from None


def alert(raw: object, received_at: float) -> Alert | None:
    """One alert of the envelope; None where it has no labels to be known by."""
    if not isinstance(raw, dict) or not isinstance(raw.get("labels"), dict):
        return None
    oddities: list[str] = []
    labels = _strings(raw["labels"], "labels", oddities)
    annotations = _strings(raw.get("annotations") or {}, "annotations", oddities)
    status = raw.get("status", "firing")
    if status not in ("firing", "resolved"):
        oddities.append("status is neither firing nor resolved")
    if not labels.get("alertname"):
        oddities.append("there is no alertname")
    fingerprint = raw.get("fingerprint") or _fingerprint(labels)
    if not isinstance(fingerprint, str) or len(fingerprint) > _TEXT_MAX:
        oddities.append("fingerprint is no text")
        fingerprint = _fingerprint(labels)
    return Alert(
        key=fingerprint if _is_key(fingerprint) else _fingerprint({"": fingerprint}),
        fingerprint=fingerprint,
        firing=status != "resolved",
        labels=labels,
        annotations=annotations,
        starts_at=_when(raw, "startsAt", oddities) or received_at,
        ends_at=_when(raw, "endsAt", oddities),
        odd="; ".join(oddities) or None,
    )


def _strings(raw: object, name: str, oddities: list[str]) -> dict[str, str]:
    if not isinstance(raw, dict):
        oddities.append(f"{name} are no mapping")
        return {}
    if len(raw) > _LABELS_MAX:
        oddities.append(f"more than {_LABELS_MAX} {name}")
    kept: dict[str, str] = {}
    for key, value in list(raw.items())[:_LABELS_MAX]:
        if not isinstance(value, str):
            oddities.append(f"one of the {name} is no text")
        text = value if isinstance(value, str) else json.dumps(value)
        if max(len(key), len(text)) > _TEXT_MAX:
            oddities.append(f"one of the {name} is longer than {_TEXT_MAX} characters")
        kept[key[:_TEXT_MAX]] = text[:_TEXT_MAX]
    return kept


def _when(raw: Mapping[str, Any], name: str, oddities: list[str]) -> float | None:
    if name not in raw:
        return None
    try:
        moment = _WHEN.validate_strings(raw[name])
    except ValidationError:
        oddities.append(f"{name} is no RFC 3339 time")
        return None
    # Go's zero time stands for "not yet".
    if moment.year <= 1:
        return None
    if moment.year >= _YEAR_MAX:
        oddities.append(f"{name} is no time of ours")
        return None
    return moment.timestamp()


def _is_key(text: str) -> bool:
    return len(text) == 16 and all(digit in "0123456789abcdef" for digit in text)  # noqa: PLR2004 64 bits in hex


def _fingerprint(labels: Mapping[str, str]) -> str:
    """Alertmanager's own: 64-bit FNV-1a over sorted names and values, each closed by 0xff.

    Source: github.com/prometheus/common/model, LabelSet.Fingerprint.
    """
    digest = 0xCBF29CE484222325
    for name in sorted(labels):
        for part in (name, labels[name]):
            for byte in part.encode("utf-8", "surrogatepass") + b"\xff":
                digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"
