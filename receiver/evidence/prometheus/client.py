"""A client for the few calls of Prometheus' HTTP API that the service needs.

Every missing or wrong answer becomes a `PrometheusError`: to the caller all of them are unknown.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Self

import httpx

from receiver.evidence.prometheus.answers import (
    AlertingRule,
    LabelledSample,
    LabelledSeries,
    PrometheusError,
    http_error,
    parse_matrix,
    parse_records,
    parse_rules,
    parse_vector,
)
from receiver.http import bounded_read
from receiver.http.bounded_read import TooLargeError, TooSlowError
from receiver.monitoring.login import CredentialsError
from receiver.monitoring.servers import Server

# The peers of a 12-instance group take 0.3 MB; this suffices for several hundred instances.
MAX_BYTES = 20 * 2**20
# Tolerance for the clock check: Prometheus reports whole seconds, which may arrive late.
_CLOCK_OFF_MAX_S = 30.0


# Without these it moves start and end to whole steps, and hides the newest 30 seconds. Prometheus
# ignores them. https://docs.victoriametrics.com/victoriametrics/#prometheus-querying-api-enhancements
_OF_VICTORIA_METRICS = {"nocache": "1", "latency_offset": "1s"}
# What proxies answer to a method that they do not let through.
_REFUSES_METHOD = frozenset(
    {httpx.codes.FORBIDDEN, httpx.codes.METHOD_NOT_ALLOWED, httpx.codes.NOT_IMPLEMENTED}
)


class _MethodRefusedError(PrometheusError):
    """The method may be what was refused."""


def _neighbour() -> httpx.Client:
    """An HTTP client that ignores proxy variables: Prometheus is in the same network."""
    return httpx.Client(trust_env=False)


@dataclass(frozen=True, eq=False)
class Prometheus:
    """Queries over one shared connection pool; may be used from several threads at once.

    `timeout_s` bounds a whole query, not a single read of it: a server that drips a byte a second
    would otherwise hold a thread for ever. `client` is for special transports. `clock` gives epoch
    seconds, `failed` is called for each query without an answer. `others` know some alerts.
    """

    url: str
    timeout_s: float = field(default=5.0, kw_only=True)
    max_bytes: int = field(default=MAX_BYTES, kw_only=True)
    client: httpx.Client = field(default_factory=_neighbour, kw_only=True)
    clock: Callable[[], float] = field(default=time.time, kw_only=True)
    failed: Callable[[], None] = field(default=lambda: None, kw_only=True)
    others: Sequence[tuple[Server, "Prometheus"]] = field(default=(), kw_only=True)

    _only_get: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        # Uncompressed, so that the size limit counts the bytes read; cheaper in a local network.
        self.client.headers["Accept-Encoding"] = "identity"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.client.close()
        for _, other in self.others:
            other.close()

    def of(self, labels: Mapping[str, str]) -> "Prometheus":
        """The Prometheus that knows the alert with these labels."""
        return next((other for server, other in self.others if server.knows(labels)), self)

    @property
    def each(self) -> Sequence["Prometheus"]:
        """All of the settings; the one that is asked where no alert tells is the last."""
        return [*(other for _, other in self.others), self]

    def range_query(
        self, expr: str, *, start: float, end: float, step: float, timeout_s: float | None = None
    ) -> tuple[LabelledSeries, ...]:
        """The series of an expression. NaN and infinite samples are left out.

        Raises `PrometheusError`, also for warnings: those stand for an incomplete answer.
        """
        form = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        return parse_matrix(self._query("query_range", {"query": expr, **form}, timeout_s))

    def instant_query(
        self, expr: str, *, at: float, timeout_s: float | None = None
    ) -> tuple[LabelledSample, ...]:
        """The samples of an expression at one moment. Raises `PrometheusError`, also for NaN."""
        return parse_vector(self._query("query", {"query": expr, "time": f"{at:.3f}"}, timeout_s))

    def alerting_rules(self) -> tuple[AlertingRule, ...]:
        """The alerting rules that are loaded. Raises `PrometheusError`."""
        return parse_rules(self._send("GET", "rules", self.timeout_s, params={"type": "alert"}))

    def recording_rules(self) -> Mapping[str, Sequence[str]]:
        """Expressions of recording rules, by the record's name. Raises `PrometheusError`."""
        return parse_records(self._send("GET", "rules", self.timeout_s, params={"type": "record"}))

    def _query(self, call: str, form: dict[str, str], timeout_s: float | None) -> bytes:
        seconds = self.timeout_s if timeout_s is None else timeout_s
        # Prometheus aborts the query at the same time.
        form |= {"timeout": f"{max(seconds, 0.001):.3f}", **_OF_VICTORIA_METRICS}
        try:
            return self._post_or_get(call, seconds, form)
        except PrometheusError:
            self.failed()
            raise

    def _post_or_get(self, call: str, timeout_s: float, form: dict[str, str]) -> bytes:
        """POST, because a long query makes a long URL; GET where a proxy lets no POST through."""
        if not self._only_get.is_set():
            try:
                return self._send("POST", call, timeout_s, data=form)
            except _MethodRefusedError:
                pass
        body = self._send("GET", call, timeout_s, params=form)
        self._only_get.set()
        return body

    def _send(self, method: str, call: str, timeout_s: float, **sent: Mapping[str, str]) -> bytes:
        try:
            with self.client.stream(
                method,
                f"{self.url.rstrip('/')}/api/v1/{call}",
                timeout=max(timeout_s, 0.001),
                data=sent.get("data"),
                params=sent.get("params"),
            ) as response:
                body = self._read(response, time.monotonic() + timeout_s, timeout_s)
        except httpx.TimeoutException as error:
            raise _too_slow(timeout_s) from error
        except CredentialsError as error:
            raise PrometheusError(f"no login at Prometheus: {error}") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PrometheusError(f"Prometheus is unreachable: {type(error).__name__}") from error
        if response.status_code != httpx.codes.OK:
            refusal = http_error(response.status_code, body)
            by_method = method == "POST" and response.status_code in _REFUSES_METHOD
            raise _MethodRefusedError(str(refusal)) if by_method else refusal
        self._check_clock(response.headers.get("Date", ""))
        return body

    def _check_clock(self, date: str) -> None:
        """Raises PrometheusError if the clocks differ: its newest data would be old or future.

        A server that has a clock sends its time: https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1
        """
        try:
            ahead_s = parsedate_to_datetime(date).timestamp() - self.clock()
        except (ValueError, OverflowError):
            text = "Prometheus' answer has no valid Date header, so its clock cannot be checked"
            raise PrometheusError(text) from None
        if abs(ahead_s) > _CLOCK_OFF_MAX_S:
            side = "ahead of" if ahead_s > 0 else "behind"
            raise PrometheusError(f"Prometheus' clock is {abs(ahead_s):.0f} s {side} ours")

    def _read(self, response: httpx.Response, until: float, timeout_s: float) -> bytes:
        try:
            return bounded_read.read_bounded(response, max_bytes=self.max_bytes, deadline=until)
        except TooLargeError:
            text = f"Prometheus' answer exceeds {self.max_bytes} bytes"
            raise PrometheusError(text) from None
        except TooSlowError:
            raise _too_slow(timeout_s) from None


def _too_slow(seconds: float) -> PrometheusError:
    return PrometheusError(f"Prometheus did not answer within {seconds:.1f} s")
