"""Whether an alert is over, by Alertmanager: it forgets alerts, and is told of each again."""

from typing import Any

import httpx
import pytest

from receiver.monitoring.active_alerts import ActiveAlerts
from receiver.monitoring.alertmanager import Alertmanager
from receiver.runtime.rfc3339 import rfc3339

_NOW = 1_800_000_000.0
_OWN = {"alertname": "A", "instance": "10.0.0.4:9100"}
_VMALERT, _OTHER = "http://vmalert:8880", "http://prometheus:9090"


def _alert(
    labels: dict[str, str], received_s: float, url: str = _VMALERT, **more: Any
) -> dict[str, Any]:
    """An alert that was last received so many seconds after the step."""
    times = {"updatedAt": rfc3339(_NOW + received_s)}
    return {"labels": labels, "generatorURL": f"{url}/graph?g0.expr=x", **times, **more}


class _Server:
    """An Alertmanager that has `listed`, and started so many seconds before the step."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] | None = []
        self.up_s = 86_400.0
        client = httpx.Client(transport=httpx.MockTransport(self._answer))
        self.alerts = ActiveAlerts(Alertmanager("http://alertmanager", client))

    def fires(self, *listed: dict[str, Any]) -> bool | None:
        self.listed = [*listed]
        return self.alerts.fires(_OWN, _NOW)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.listed is None:
            return httpx.Response(503)
        if request.url.path.endswith("/status"):
            return httpx.Response(200, json={"uptime": rfc3339(_NOW - self.up_s)})
        return httpx.Response(200, json=self.listed)


@pytest.mark.parametrize(("received_s", "fires"), [(20, True), (-20, None)])
def test_an_alert_fires_by_news_of_after_the_step(received_s: float, *, fires: bool | None) -> None:
    """One that was last received before it is as it was before it."""
    assert _Server().fires(_alert(_OWN, received_s)) is fires


_WATCHDOG = _alert({"alertname": "Watchdog"}, 20)


@pytest.mark.parametrize(
    ("seen", "listed", "up_s", "fires"),
    [
        (True, [_WATCHDOG], 86_400, False),
        (False, [_WATCHDOG], 86_400, None),
        (True, [], 86_400, None),
        (True, [_alert({"alertname": "Watchdog"}, -20)], 86_400, None),
        (True, [_alert({"alertname": "Watchdog"}, 20, _OTHER)], 86_400, None),
        (True, [_WATCHDOG], 60, False),
        (True, [_WATCHDOG], 10, None),
        (True, None, 86_400, None),
    ],
    ids=[
        "over",
        "never seen here",
        "no sign of its evaluator",
        "an old sign",
        "of another evaluator",
        "Alertmanager has it since its start",
        "Alertmanager restarted",
        "Alertmanager is away",
    ],
)
def test_a_missing_alert_is_over_only_while_its_evaluator_lives(
    *, seen: bool, listed: list[dict[str, Any]] | None, up_s: float, fires: bool | None
) -> None:
    server = _Server()
    if seen:
        server.fires(_alert(_OWN, -20))
    server.listed, server.up_s = listed, up_s
    assert server.alerts.fires(_OWN, _NOW) is fires


@pytest.mark.parametrize(
    "odd", [{"updatedAt": None}, {"updatedAt": "soon"}, {"generatorURL": "http://[x"}]
)
def test_an_odd_alert_is_no_sign(odd: dict[str, Any]) -> None:
    server = _Server()
    server.fires(_alert(_OWN, -20))
    assert server.fires({**_WATCHDOG, **odd}) is None
