"""A small client for Prometheus' HTTP API.

Every way in which an answer can be missing or wrong becomes one `PrometheusError`, because to
whoever asked they mean the same: unknown. https://prometheus.io/docs/prometheus/latest/querying/api
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Literal, Self, TypeVar

import httpx
from pydantic import BaseModel, Field, ValidationError

from receiver.http import bounded_read
from receiver.http.bounded_read import TooLargeError, TooSlowError

# A 12-instance group's peers are 0.3 MB; this is room for a group of several hundred.
MAX_BYTES = 20 * 2**20
_SAID_AT_MOST = 200
# Its answers carry its time in whole seconds.
_CLOCK_OFF_S = 30.0


class PrometheusError(Exception):
    """Prometheus gave no answer to rely on. The message names no address and no secret."""


@dataclass(frozen=True, kw_only=True)
class LabelledSeries:
    """Samples of one series in time order: epoch seconds and finite values, equally long."""

    labels: Mapping[str, str]
    times: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class LabelledSample:
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, kw_only=True)
class AlertingRule:
    """`healthy`: its last evaluation had no error."""

    name: str
    expr: str
    labels: Mapping[str, str]
    healthy: bool


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


class _Answer(BaseModel):
    status: Literal["success"]
    warnings: list[str] = []


class _MatrixAnswer(_Answer):
    data: _Matrix


class _VectorAnswer(_Answer):
    data: _Vector


class _Rule(BaseModel):
    name: str
    query: str
    labels: dict[str, str] = {}
    health: str = "unknown"


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


class Prometheus:
    """Queries over one shared connection pool; may be used from several threads at once.

    `timeout_s` bounds a whole query, not one read of it: a server that drips a byte a second
    would otherwise hold a thread for ever. `client` is for tests and for special transports;
    its proxies from the environment are left out by default, since Prometheus is a neighbour.
    `clock` gives epoch seconds, `failed` is called for each query without an answer.
    """

    def __init__(  # noqa: PLR0913 all by name
        self,
        url: str,
        *,
        timeout_s: float = 5.0,
        max_bytes: int = MAX_BYTES,
        client: httpx.Client | None = None,
        clock: Callable[[], float] = time.time,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._failed = failed
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._clock = clock
        # Uncompressed: bounded by what was counted, and cheaper between neighbours.
        self._client = client or httpx.Client(trust_env=False)
        self._client.headers["Accept-Encoding"] = "identity"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def range_query(
        self, expr: str, *, start: float, end: float, step: float, timeout_s: float | None = None
    ) -> tuple[LabelledSeries, ...]:
        """The series of an expression. A sample that is NaN or infinite is left out, as a gap.

        Raises `PrometheusError`, also for warnings: those stand for an incomplete answer.
        """
        form = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        body = self._post("query_range", {"query": expr, **form}, timeout_s)
        answer = _checked(_MatrixAnswer, body)
        _refuse_duplicates(found.metric for found in answer.data.result)
        return tuple(_series(found) for found in answer.data.result)

    def instant_query(
        self, expr: str, *, at: float, timeout_s: float | None = None
    ) -> tuple[LabelledSample, ...]:
        """The samples of an expression at one moment. Raises `PrometheusError`, also for NaN."""
        body = self._post("query", {"query": expr, "time": f"{at:.3f}"}, timeout_s)
        answer = _checked(_VectorAnswer, body)
        _refuse_duplicates(found.metric for found in answer.data.result)
        if not all(math.isfinite(found.value[1]) for found in answer.data.result):
            raise PrometheusError("Prometheus answered with a value that is not a number")
        return tuple(
            LabelledSample(labels=found.metric, value=found.value[1])
            for found in answer.data.result
        )

    def alerting_rules(self) -> tuple[AlertingRule, ...]:
        """The alerting rules that are loaded. Raises `PrometheusError`."""
        body = self._send("GET", "rules", None, params={"type": "alert"})
        answer = _checked(_RulesAnswer, body)
        return tuple(
            AlertingRule(
                name=one.name, expr=one.query, labels=one.labels, healthy=one.health == "ok"
            )
            for group in answer.data.groups
            for one in group.rules
        )

    def _post(self, call: str, form: dict[str, str], timeout_s: float | None) -> bytes:
        try:
            return self._answered(call, form, timeout_s)
        except PrometheusError:
            self._failed()
            raise

    def _answered(self, call: str, form: dict[str, str], timeout_s: float | None) -> bytes:
        seconds = self._timeout_s if timeout_s is None else timeout_s
        # Prometheus itself gives up too, instead of working on for nobody.
        form["timeout"] = f"{max(seconds, 0.001):.3f}"
        return self._send("POST", call, seconds, data=form)

    def _send(
        self,
        method: str,
        call: str,
        timeout_s: float | None,
        **sent: Mapping[str, str],
    ) -> bytes:
        seconds = self._timeout_s if timeout_s is None else timeout_s
        try:
            with self._client.stream(
                method,
                f"{self._url}/api/v1/{call}",
                timeout=max(seconds, 0.001),
                data=sent.get("data"),
                params=sent.get("params"),
            ) as response:
                body = self._read(response, time.monotonic() + seconds, seconds)
        except httpx.TimeoutException as error:
            raise _too_slow(seconds) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PrometheusError(f"Prometheus is out of reach: {type(error).__name__}") from error
        if response.status_code != httpx.codes.OK:
            raise PrometheusError(_refusal(response.status_code, body))
        self._check_clock(response.headers.get("Date", ""))
        return body

    def _check_clock(self, said: str) -> None:
        """Its present is not ours where its clock is off: what it has is late, or yet to come."""
        try:
            ahead_s = parsedate_to_datetime(said).timestamp() - self._clock()
        except ValueError:
            return
        if abs(ahead_s) > _CLOCK_OFF_S:
            side = "ahead of" if ahead_s > 0 else "behind"
            raise PrometheusError(f"Prometheus' clock is {abs(ahead_s):.0f} s {side} ours")

    def _read(self, response: httpx.Response, until: float, seconds: float) -> bytes:
        try:
            return bounded_read.read(response, most=self._max_bytes, until=until)
        except TooLargeError:
            said = f"Prometheus' answer exceeds {self._max_bytes} bytes"
            raise PrometheusError(said) from None
        except TooSlowError:
            raise _too_slow(seconds) from None


def _too_slow(seconds: float) -> PrometheusError:
    return PrometheusError(f"Prometheus did not answer within {seconds:.1f} s")


def _checked(kind: type[_AnyAnswer], body: bytes) -> _AnyAnswer:
    try:
        answer = kind.model_validate_json(body)
    except ValidationError as error:
        if said := _said(body):
            raise PrometheusError(f"Prometheus reports an error: {said}") from error
        raise PrometheusError("Prometheus' answer is not of the form its API has") from error
    if answer.warnings:
        raise PrometheusError(f"Prometheus warns: {_plain(answer.warnings[0])}")
    return answer


def _refusal(status: int, body: bytes) -> str:
    said = _said(body)
    return f"Prometheus answered {status}: {said}" if said else f"Prometheus answered {status}"


def _said(body: bytes) -> str:
    try:
        return _plain(_Failure.model_validate_json(body).error) or "no reason given"
    except ValidationError:
        return ""


def _plain(text: str) -> str:
    """What a server said, as one short line without control characters."""
    return "".join(c if c.isprintable() else " " for c in text[:_SAID_AT_MOST]).strip()


def _refuse_duplicates(all_labels: Iterable[Mapping[str, str]]) -> None:
    """Two series under one name: whichever were taken, it could be the wrong one."""
    seen: set[frozenset[tuple[str, str]]] = set()
    for labels in all_labels:
        key = frozenset(labels.items())
        if key in seen:
            raise PrometheusError("Prometheus answered with one series twice")
        seen.add(key)


def _series(found: _Range) -> LabelledSeries:
    finite = sorted(sample for sample in found.values if math.isfinite(sample[1]))
    times, values = zip(*finite, strict=True) if finite else ((), ())
    return LabelledSeries(labels=found.metric, times=times, values=values)
