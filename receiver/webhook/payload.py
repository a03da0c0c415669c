"""Alertmanager's webhook, version 4: parses a delivery alert by alert.

The shape is documented at https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
Only the envelope can make a delivery fail. A malformed alert is stored and refused as a run of its
own, so that the other alerts of its delivery are not lost. What no decision needs (annotations, an
end, a fingerprint) is cut or dropped where it is odd, and makes no alert malformed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from receiver.http.unicode_json import as_unicode

_TIME: TypeAdapter[AwareDatetime] = TypeAdapter(AwareDatetime)
# Limits of what is stored: labels of an alert, characters of a name or value, and years.
_LABELS_MAX, _TEXT_MAX, _YEAR_MAX = 128, 8192, 9999


class NotJsonError(Exception):
    """The body is not JSON."""


class WrongShapeError(Exception):
    """The body is JSON, but not of the shape that its sender has."""


def _text(value: object) -> object:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> object:
    return value if isinstance(value, dict) else {}


class Envelope(BaseModel):
    """A delivery; fields that a newer sender may add are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    called: ClassVar[str] = "a list of alerts"

    alerts: list[Any]
    truncated: Annotated[int, Field(ge=0, le=2**31, alias="truncatedAlerts")] = 0
    receiver: Annotated[str, BeforeValidator(_text)] = ""
    group_labels: Annotated[
        dict[str, Any], BeforeValidator(_mapping), Field(alias="groupLabels")
    ] = {}


class AlertmanagerEnvelope(Envelope):
    called = "an Alertmanager webhook of version 4"

    version: Literal["4"]


# The order of decisions by severity; 0 comes first.
_PRIORITY = {"critical": 0, "warning": 1}
_LEAST = 2


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert as sent. Labels and annotations are hostile data: compared, never executed.

    `key`, a hash of the labels, identifies the alert. `fingerprint` is only shown, because a sender
    may choose any. `starts_at` is None without a usable time. `malformed` is the reason why no
    playbook may take the alert.
    """

    key: str
    fingerprint: str
    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float | None
    ends_at: float | None
    malformed: str | None = None

    @property
    def priority(self) -> int:
        """The order of decisions, by `severity`; 0 comes first."""
        return _PRIORITY.get(self.labels.get("severity", ""), _LEAST)


def parse_envelope(body: bytes, shape: type[Envelope] = AlertmanagerEnvelope) -> Envelope:
    """Raises NotJsonError or WrongShapeError, with one line that quotes no value.

    A text that is not Unicode costs its own characters, not the delivery.
    """
    try:
        return _envelope(body, shape)
    except NotJsonError:
        return _envelope(as_unicode(body), shape)


def _envelope(body: bytes, shape: type[Envelope]) -> Envelope:
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise NotJsonError("the body is not JSON") from None
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise WrongShapeError(f"not {shape.called}: {where}: {first['msg']}") from None


def parse_alert(raw: object, received_at: float) -> Alert | None:
    """Parse an alert of the envelope; None without labels, because they identify the alert."""
    if not isinstance(raw, dict) or not isinstance(raw.get("labels"), dict):
        return None
    faults: list[str] = []
    # Prometheus takes a label with an empty value as absent.
    labels = {
        name: text for name, text in _strings(raw["labels"], "labels", faults).items() if text
    }
    status = raw.get("status", "firing")
    if status not in ("firing", "resolved"):
        faults.append("status is neither firing nor resolved")
    if not labels.get("alertname"):
        faults.append("the label alertname is missing")
    fingerprint = raw.get("fingerprint")
    if not fingerprint or not isinstance(fingerprint, str) or len(fingerprint) > _TEXT_MAX:
        fingerprint = alertmanager_fingerprint(labels)
    starts_at = _time(raw, "startsAt", faults)
    return Alert(
        key=identity(labels, malformed=bool(faults)),
        fingerprint=fingerprint,
        firing=status != "resolved",
        labels=labels,
        annotations=_strings(raw.get("annotations"), "annotations", []),
        starts_at=None if starts_at is None or starts_at > received_at else starts_at,
        ends_at=_time(raw, "endsAt", []),
        malformed="; ".join(faults) or None,
    )


def _strings(raw: object, name: str, faults: list[str]) -> dict[str, str]:
    if not isinstance(raw, dict):
        faults.append(f"{name} are not an object")
        return {}
    if len(raw) > _LABELS_MAX:
        faults.append(f"more than {_LABELS_MAX} {name}")
    kept: dict[str, str] = {}
    for key, value in list(raw.items())[:_LABELS_MAX]:
        if not isinstance(value, str):
            faults.append(f"a value in {name} is not a string")
        text = value if isinstance(value, str) else json.dumps(value)
        if max(len(key), len(text)) > _TEXT_MAX:
            faults.append(f"a name or value in {name} is longer than {_TEXT_MAX} characters")
        kept[key[:_TEXT_MAX]] = text[:_TEXT_MAX]
    return kept


def _time(raw: Mapping[str, Any], name: str, faults: list[str]) -> float | None:
    if raw.get(name) in (None, ""):
        return None
    try:
        moment = _TIME.validate_strings(raw[name])
    except ValidationError:
        faults.append(f"{name} is not an RFC 3339 time")
        return None
    # Go's zero time means "not yet".
    if moment.year <= 1:
        return None
    if moment.year >= _YEAR_MAX:
        faults.append(f"{name} is after the year {_YEAR_MAX - 1}")
        return None
    # Unix' zero time means that no value was set.
    return moment.timestamp() or None


def identity(labels: Mapping[str, str], *, malformed: bool = False) -> str:
    """The identity of an alert; a malformed alert cannot have the identity of a well-formed one.

    Unlike Alertmanager's 64-bit FNV, nobody can find other labels with the same hash.
    """
    digest = hashlib.blake2b(digest_size=16, person=b"malformed" if malformed else b"")
    for name in sorted(labels):
        for part in (name, labels[name]):
            # This byte never occurs in UTF-8, so different labels are hashed as different bytes.
            digest.update(part.encode("utf-8", "surrogatepass") + b"\xff")
    return digest.hexdigest()


def alertmanager_fingerprint(labels: Mapping[str, str]) -> str:
    """Alertmanager's own: 64-bit FNV-1a over sorted names and values, each closed by 0xff.

    Source: github.com/prometheus/common/model, LabelSet.Fingerprint.
    """
    digest = 0xCBF29CE484222325
    for name in sorted(labels):
        for part in (name, labels[name]):
            for byte in part.encode("utf-8", "surrogatepass") + b"\xff":
                digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"
