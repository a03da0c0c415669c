"""The Prometheus client: every way of not answering becomes one error, and no secret leaks."""

import time
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs

import httpx
import pytest

from receiver.evidence.prometheus.answers import LabelledSample, PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.condition import holds
from tests import fake_prometheus

URL = "http://user:hunter2@prometheus.example:9090/"
Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer, *, max_bytes: int = 10_000, timeout_s: float = 5.0) -> Prometheus:
    transport = fake_prometheus.client(answer)
    return Prometheus(URL, client=transport, max_bytes=max_bytes, timeout_s=timeout_s)


def success(kind: str, result: object, **more: object) -> httpx.Response:
    data = {"resultType": kind, "result": result}
    return httpx.Response(200, json={"status": "success", "data": data, **more})


def failing(answer: Answer) -> str:
    """What the error says, for both kinds of query."""
    messages = []
    with client(answer) as prometheus:
        with pytest.raises(PrometheusError) as ranged:
            prometheus.range_query("up", start=0, end=60, step=15)
        messages.append(str(ranged.value))
        with pytest.raises(PrometheusError) as instant:
            prometheus.instant_query("up", at=60)
        messages.append(str(instant.value))
    assert not any("hunter2" in text or "prometheus.example" in text for text in messages)
    return messages[0]


def test_each_query_without_an_answer_is_told() -> None:
    """One that is answered is not."""
    answers = iter([httpx.Response(503), success("vector", [])])
    failures: list[str] = []
    transport = fake_prometheus.client(lambda _: next(answers))
    with Prometheus(URL, client=transport, failed=lambda: failures.append("failed")) as prometheus:
        with pytest.raises(PrometheusError):
            prometheus.instant_query("up", at=60)
        assert prometheus.instant_query("up", at=60) == ()
    assert failures == ["failed"]


def test_range_query_asks_once_and_reads_series() -> None:
    """The query goes out as a form, and labels, times and values come back in order."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        values = [[30, "2"], [0, "1.5"], [15.5, "-3e2"]]
        return success("matrix", [{"metric": {"role": "load1"}, "values": values}])

    with client(answer) as prometheus:
        (series,) = prometheus.range_query('up{a="b"}', start=0, end=30, step=15, timeout_s=2)
    assert series.labels == {"role": "load1"}
    assert list(series.times) == [0, 15.5, 30]
    assert list(series.values) == [1.5, -300, 2]
    (request,) = requests
    form = {key: value[0] for key, value in parse_qs(request.content.decode()).items()}
    assert request.url.path == "/api/v1/query_range"
    assert form["query"] == 'up{a="b"}'
    assert (form["start"], form["end"], form["step"]) == ("0.000", "30.000", "15")
    assert form["timeout"] == "2.000"


def test_range_query_reads_not_a_number_as_a_gap() -> None:
    """A sample without a value is no sample; a series of such is an empty one."""

    def answer(_: httpx.Request) -> httpx.Response:
        torn = [[0, "NaN"], [15, "1"], [30, "+Inf"], [45, "-Inf"]]
        results = [
            {"metric": {"role": "load1"}, "values": torn},
            {"metric": {"role": "cpu_busy"}, "values": [[0, "NaN"]]},
        ]
        return success("matrix", results)

    with client(answer) as prometheus:
        load1, cpu = prometheus.range_query("up", start=0, end=45, step=15)
    assert (load1.times, load1.values) == ((15,), (1,))
    assert (cpu.times, cpu.values) == ((), ())


def test_instant_query_reads_samples_and_nothing() -> None:
    """A vector is a list of samples; an empty one is an answer too."""
    results = iter([[{"metric": {"a": "b"}, "value": [1, "2"]}], []])
    with client(lambda _: success("vector", next(results))) as prometheus:
        assert prometheus.instant_query("up", at=1) == (LabelledSample(labels={"a": "b"}, value=2),)
        assert prometheus.instant_query("up", at=1) == ()


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_instant_query_refuses_what_is_not_a_number(value: str) -> None:
    """NaN compares as neither, so nothing may be concluded from it."""
    answer = success("vector", [{"metric": {}, "value": [1, value]}])
    with client(lambda _: answer) as prometheus, pytest.raises(PrometheusError, match="not a num"):
        prometheus.instant_query("up", at=1)


def test_info_annotations_are_no_failure() -> None:
    """Newer servers add hints that say nothing of completeness."""
    with client(lambda _: success("vector", [], infos=["might not be a counter"])) as prometheus:
        assert prometheus.instant_query("up", at=1) == ()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("refused by user:hunter2@prometheus.example"), "unreachable"),
        (httpx.ReadTimeout("slow"), "within 5.0 s"),
        (httpx.ConnectTimeout("slow"), "within 5.0 s"),
        (httpx.RemoteProtocolError("closed"), "unreachable"),
    ],
)
def test_down_or_slow_server(error: httpx.HTTPError, expected: str) -> None:
    """No connection, no answer in time, a connection that broke."""

    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    assert expected in failing(answer)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (httpx.Response(503, text="<html>busy"), "answered 503"),
        (httpx.Response(302, headers={"Location": "/login"}), "answered 302"),
        (httpx.Response(401, text="who"), "answered 401"),
        (
            httpx.Response(400, json={"status": "error", "error": "parse error\nat char 3"}),
            "answered 400: parse error at char 3",
        ),
        (httpx.Response(200, json={"status": "error", "error": "oops"}), "an error: oops"),
        (httpx.Response(200, json={"status": "error"}), "no reason given"),
        (httpx.Response(200, text="not JSON"), "does not match its API's schema"),
        (httpx.Response(200, content=b"\xff\xfe"), "does not match its API's schema"),
        (httpx.Response(200, json=[]), "does not match its API's schema"),
        (httpx.Response(200, json={"status": "success"}), "does not match its API's schema"),
        (success("string", [1, "2"]), "does not match its API's schema"),
        (
            success("matrix", [{"metric": {}, "values": [[1, "two"]]}]),
            "does not match its API's schema",
        ),
    ],
)
def test_refusals_and_nonsense(response: httpx.Response, expected: str) -> None:
    """Statuses, error answers and bodies of another shape."""
    content, status, headers = response.content, response.status_code, response.headers
    assert expected in failing(lambda _: httpx.Response(status, content=content, headers=headers))


def test_other_kind_of_result_is_refused() -> None:
    """A vector where a matrix was requests for, and the other way round."""
    with client(lambda _: success("vector", [])) as prometheus, pytest.raises(PrometheusError):
        prometheus.range_query("up", start=0, end=1, step=1)
    with client(lambda _: success("matrix", [])) as prometheus, pytest.raises(PrometheusError):
        prometheus.instant_query("up", at=1)


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_query_is_a_get_where_no_post_is_let_through(status: int) -> None:
    """A read-only proxy; it is remembered, and a refusal of both is the error."""
    methods: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        methods.append(request.method)
        if request.method == "POST" or request.url.params["query"] == "down":
            return httpx.Response(status, json={"status": "error", "error": "no"})
        return success("vector", [])

    with client(answer) as prometheus:
        with pytest.raises(PrometheusError, match=str(status)):
            prometheus.instant_query("down", at=60)
        for _ in range(2):
            assert prometheus.instant_query("up", at=60) == ()
    assert methods == ["POST", "GET", "POST", "GET", "GET"]


def test_an_annotation_among_the_warnings_is_no_hole() -> None:
    """As Prometheus 2.53.3 answers; a real warning beside it is one."""
    info = 'PromQL info: metric might not be a counter: "node_vmstat_pswpin" (1:6)'
    with client(lambda _: success("matrix", [], warnings=[info])) as prometheus:
        assert prometheus.range_query("up", start=0, end=60, step=15) == ()
    said = failing(lambda _: success("matrix", [], warnings=[info, "PromQL warning: odd"]))
    assert said == "Prometheus warns: PromQL warning: odd"


def test_a_partial_answer_is_none() -> None:
    """VictoriaMetrics' cluster says so, beside its status."""
    assert "partial" in failing(lambda _: success("matrix", [], isPartial=True))


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("NaN", None)])
def test_a_scalar_is_an_answer(value: str, *, expected: bool | None) -> None:
    """`time() % 86400 > bool 5` is one to Prometheus."""
    with client(lambda _: success("scalar", [60, value])) as prometheus:
        assert holds(prometheus, "time() > bool 5", at=60) is expected


def test_warnings_mean_an_incomplete_answer() -> None:
    """What was left out could be the very host."""
    with (
        client(lambda _: success("matrix", [], warnings=["remote read failed"])) as prometheus,
        pytest.raises(PrometheusError, match="remote read failed"),
    ):
        prometheus.range_query("up", start=0, end=1, step=1)


@pytest.mark.parametrize(
    ("told", "kept_s"),
    [({"keepFiringFor": 300}, 300.0), ({"keep_firing_for": 60.5}, 60.5), ({}, 0.0)],
    ids=["Prometheus", "vmalert", "without"],
)
def test_how_long_a_rule_keeps_an_alert_firing(told: dict[str, float], kept_s: float) -> None:
    rule = {"name": "A", "query": "x > 1", "health": "ok", **told}
    data = {"groups": [{"rules": [rule]}]}
    answer = httpx.Response(200, json={"status": "success", "data": data})
    with client(lambda _: answer) as prometheus:
        assert [rule.kept_s for rule in prometheus.alerting_rules()] == [kept_s]


def test_duplicate_series_are_refused() -> None:
    """One series twice with other values: either could be the wrong one."""
    first = {"metric": {"role": "load1", "instance_id": "i-1"}, "values": [[0, "1"]]}
    second = {"metric": {"instance_id": "i-1", "role": "load1"}, "values": [[0, "2"]]}
    with (
        client(lambda _: success("matrix", [first, second])) as prometheus,
        pytest.raises(PrometheusError, match="equal labels"),
    ):
        prometheus.range_query("up", start=0, end=1, step=1)


def test_endless_answer_is_cut_off() -> None:
    """An answer without end costs bounded memory."""
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 1_000

    with (
        client(lambda _: httpx.Response(200, content=body())) as prometheus,
        pytest.raises(PrometheusError, match="exceeds 10000 bytes"),
    ):
        prometheus.range_query("up", start=0, end=1, step=1)
    assert sent < 20


def test_dripping_answer_ends_at_the_deadline() -> None:
    """A byte now and then never trips a read timeout; the deadline for the whole does."""

    def body() -> Iterator[bytes]:
        while True:
            time.sleep(0.02)
            yield b" "

    with (
        client(lambda _: httpx.Response(200, content=body()), timeout_s=0.1) as prometheus,
        pytest.raises(PrometheusError, match=r"within 0\.1 s"),
    ):
        prometheus.range_query("up", start=0, end=1, step=1)


def test_long_words_of_a_server_are_cut() -> None:
    """A page of HTML or a query's text does not end up whole in a log line."""
    answer = httpx.Response(200, json={"status": "error", "error": "x" * 5_000})
    with client(lambda _: answer) as prometheus, pytest.raises(PrometheusError) as caught:
        prometheus.instant_query("up", at=1)
    assert len(str(caught.value)) < 300


def test_address_that_is_none_is_an_error_of_its_kind() -> None:
    """A URL that httpx cannot use is as good as no server."""
    prometheus = Prometheus("not a url")
    with prometheus, pytest.raises(PrometheusError):
        prometheus.instant_query("up", at=1)


@pytest.mark.parametrize("date", [None, "", "now", "Thu, 32 Foo 2026 25:00:00 GMT"])
def test_a_server_whose_time_is_unknown_is_not_believed(date: str | None) -> None:
    """Its present may be hours old, as behind a cache: the answer is unknown, not fine."""

    def answer(_: httpx.Request) -> httpx.Response:
        response = success("vector", [{"metric": {}, "value": [60, "1"]}])
        response.headers.update({} if date is None else {"Date": date})
        return response

    transport = httpx.Client(transport=httpx.MockTransport(answer))
    with Prometheus(URL, client=transport) as prometheus:
        with pytest.raises(PrometheusError, match="no valid Date"):
            prometheus.instant_query("up", at=60)
        assert holds(prometheus, "up", 60) is None
