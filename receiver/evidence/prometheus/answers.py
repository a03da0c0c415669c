"""The answers of Prometheus' HTTP API, checked and parsed.

https://prometheus.io/docs/prometheus/latest/querying/api
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeVar

from pydantic import AliasChoices, BaseModel, Field, ValidationError

_ERROR_TEXT_MAX = 200
# Prometheus 2.48 to 2.53 have such annotations among the warnings; the answer is whole.
# https://github.com/prometheus/prometheus/blob/v2.53.3/util/annotations/annotations.go
_INFO = "PromQL info:"


class PrometheusError(Exception):
    """Prometheus gave no reliable answer. The message has no address and no secret."""


@dataclass(frozen=True, kw_only=True)
class LabelledSeries:
    """Samples of one series in time order: as many epoch seconds as finite values."""

    labels: Mapping[str, str]
    times: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class LabelledSample:
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, kw_only=True)
class AlertingRule:
    """An alerting rule; `healthy` if its last evaluation, `evaluated_at`, had no error.

    Its alerts fire on for `kept_s` after its expression had a value last.
    """

    name: str
    expr: str
    labels: Mapping[str, str]
    healthy: bool
    evaluated_at: float = 0.0
    kept_s: float = 0.0


class _Range(BaseModel):
    metric: dict[str, str]
    values: list[tuple[float, float]]


class _Instant(BaseModel):
    metric: dict[str, str]
    value: tuple[float, float]


class _Matrix(BaseModel):
    kind: Literal["matrix"] = Field(alias="resultType")
    result: list[_Range]


class _Vector(BaseModel):
    kind: Literal["vector"] = Field(alias="resultType")
    result: list[_Instant]


class _Scalar(BaseModel):
    kind: Literal["scalar"] = Field(alias="resultType")
    result: tuple[float, float]


class _Answer(BaseModel):
    status: Literal["success"]
    warnings: list[str] = []
    # VictoriaMetrics says so where some of its storage did not answer.
    partial: bool = Field(default=False, alias="isPartial")


class _MatrixAnswer(_Answer):
    data: _Matrix


class _VectorAnswer(_Answer):
    data: _Vector | _Scalar = Field(discriminator="kind")


class _Rule(BaseModel):
    name: str
    query: str
    labels: dict[str, str] = {}
    health: str = "unknown"
    # As Prometheus and Thanos spell it, and as vmalert does.
    kept_s: float = Field(
        default=0.0, validation_alias=AliasChoices("keepFiringFor", "keep_firing_for")
    )
    evaluated: datetime = Field(default=datetime.fromtimestamp(0, UTC), alias="lastEvaluation")


class _RuleGroup(BaseModel):
    rules: list[_Rule]


class _RuleGroups(BaseModel):
    groups: list[_RuleGroup]


class _RulesAnswer(_Answer):
    data: _RuleGroups


_AnyAnswer = TypeVar("_AnyAnswer", bound=_Answer)


class _Failure(BaseModel):
    status: Literal["error"]
    error: str = ""


def parse_matrix(body: bytes) -> tuple[LabelledSeries, ...]:
    """The series of a range query, without samples that are NaN or infinite.

    Raises `PrometheusError`, also for warnings, which mean an incomplete answer.
    """
    result = _parse(_MatrixAnswer, body).data.result
    _refuse_duplicates(series.metric for series in result)
    return tuple(_series(series) for series in result)


def parse_vector(body: bytes) -> tuple[LabelledSample, ...]:
    """The samples of an instant query; a scalar is a sample without labels.

    Raises `PrometheusError`, also for NaN and warnings.
    """
    data = _parse(_VectorAnswer, body).data
    result = [_Instant(metric={}, value=data.result)] if data.kind == "scalar" else data.result
    _refuse_duplicates(sample.metric for sample in result)
    if not all(math.isfinite(sample.value[1]) for sample in result):
        raise PrometheusError("Prometheus returned a value that is not a number")
    return tuple(LabelledSample(labels=sample.metric, value=sample.value[1]) for sample in result)


def parse_rules(body: bytes) -> tuple[AlertingRule, ...]:
    """The alerting rules that are loaded. Raises `PrometheusError`."""
    return tuple(
        AlertingRule(
            name=rule.name,
            expr=rule.query,
            labels=rule.labels,
            healthy=rule.health == "ok",
            evaluated_at=rule.evaluated.timestamp(),
            kept_s=rule.kept_s,
        )
        for group in _parse(_RulesAnswer, body).data.groups
        for rule in group.rules
    )


def parse_records(body: bytes) -> Mapping[str, Sequence[str]]:
    """The expressions of the recording rules by the record's name. Raises `PrometheusError`."""
    records: dict[str, list[str]] = {}
    for group in _parse(_RulesAnswer, body).data.groups:
        for rule in group.rules:
            records.setdefault(rule.name, []).append(rule.query)
    return records


def http_error(status: int, body: bytes) -> PrometheusError:
    """The error for an answer with a status other than 200."""
    reason = _error_text(body)
    text = f"Prometheus answered {status}"
    return PrometheusError(f"{text}: {reason}" if reason else text)


def _parse(kind: type[_AnyAnswer], body: bytes) -> _AnyAnswer:
    try:
        answer = kind.model_validate_json(body)
    except ValidationError as error:
        if reason := _error_text(body):
            raise PrometheusError(f"Prometheus reports an error: {reason}") from error
        raise PrometheusError("Prometheus' answer does not match its API's schema") from error
    if warnings := [text for text in answer.warnings if not text.startswith(_INFO)]:
        raise PrometheusError(f"Prometheus warns: {_one_line(warnings[0])}")
    if answer.partial:
        raise PrometheusError("Prometheus' answer is partial")
    return answer


def _error_text(body: bytes) -> str:
    try:
        return _one_line(_Failure.model_validate_json(body).error) or "no reason given"
    except ValidationError:
        return ""


def _one_line(text: str) -> str:
    """A server's text as one short line without control characters."""
    return "".join(c if c.isprintable() else " " for c in text[:_ERROR_TEXT_MAX]).strip()


def _refuse_duplicates(all_labels: Iterable[Mapping[str, str]]) -> None:
    """Raises PrometheusError for two series with equal labels: either could be the wrong one."""
    seen: set[frozenset[tuple[str, str]]] = set()
    for labels in all_labels:
        key = frozenset(labels.items())
        if key in seen:
            raise PrometheusError("Prometheus returned two series with equal labels")
        seen.add(key)


def _series(series: _Range) -> LabelledSeries:
    finite = sorted(sample for sample in series.values if math.isfinite(sample[1]))
    times, values = zip(*finite, strict=True) if finite else ((), ())
    return LabelledSeries(labels=series.metric, times=times, values=values)
