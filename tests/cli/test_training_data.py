"""Training data from a fleet's own metrics."""

import httpx

from receiver.cli.training_data import fleet
from receiver.evidence.prometheus.client import Prometheus
from tests import fake_prometheus


def test_a_fleets_own_history_becomes_targets() -> None:
    """Roles by minute, gaps filled, what is mostly missing left out, odd ids passed over."""

    def respond(request: httpx.Request) -> httpx.Response:
        form = dict(httpx.QueryParams(request.content.decode()))
        if request.url.path.endswith("query"):
            ids = ["i-0123456789abcdef0", "not an id"]
            result: list[object] = [
                {"metric": {"instance_id": name, "asg": "web"}, "value": [0, "1"]} for name in ids
            ]
            return httpx.Response(200, json=_answer("vector", result))
        first, last = int(float(form["start"])), int(float(form["end"]))
        times = range(first, last + 1, 60)
        whole = [[at, "0.5"] for at in times if at % 600]
        few = [[at, "1"] for at in times if at % 6000 == 0]
        labels = {"instance_id": "i-0123456789abcdef0"}
        result = [
            {"metric": labels | {"role": "cpu_busy"}, "values": whole},
            {"metric": labels | {"role": "load1"}, "values": few},
        ]
        return httpx.Response(200, json=_answer("matrix", result))

    client = fake_prometheus.client(respond)
    with Prometheus("http://p", client=client) as prometheus:
        ((target, group),) = fleet(prometheus, now=1_760_000_000.0, days=8, most=5)
    assert (group, target.roles) == ("web", ("cpu_busy",))
    assert target.values.shape == (8 * 1440 + 1, 1)
    assert float(target.values.min()) == 0.5


def _answer(kind: str, result: list[object]) -> dict[str, object]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}
