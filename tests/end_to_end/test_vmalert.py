"""The whole way where VictoriaMetrics stores and vmalert evaluates (`make test-servers`)."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ruamel.yaml import YAML

from demo.stack import tools
from demo.stack.environment import EnvironmentOptions, start_environment
from demo.stack.monitoring_config import Timings
from demo.stack.processes import Processes
from tests.end_to_end import victoria_metrics
from tests.end_to_end.test_chain import Chain, eventually

_ROOT = Path(__file__).parents[2]
# vmalert evaluates as of half a minute ago, and the re-check has what came since.
_TIMINGS = Timings(scrape="5s", evaluation="5s", hold="5s", group_interval="1s", discovery="1s")
_PATIENCE_S = 120
_UNVERIFIED = "service-down"


@pytest.fixture(scope="module", params=["ALERTS written back", "no ALERTS"])
def chain(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Chain]:
    """One playbook has no `verify`: whether its alert is over decides."""
    if shutil.which("vmalert") is None:
        pytest.skip("vmalert is not on PATH")
    folder = tmp_path_factory.mktemp("vmalert")
    (folder / "playbooks").mkdir()
    for path in (_ROOT / "playbooks").glob("*.yaml"):
        playbook = YAML(typ="safe").load(path)
        if playbook["name"] == _UNVERIFIED:
            playbook.pop("verify")
            for step in playbook["steps"]:
                step.pop("verify", None)
        YAML(typ="safe").dump(playbook, folder / "playbooks" / path.name)
    back = request.param == "ALERTS written back"
    with Processes(folder / "logs") as processes, httpx.Client(trust_env=False) as http:
        stage = start_environment(
            processes,
            tools.require(),
            EnvironmentOptions(
                folder=folder / "state",
                seed=3,
                timings=_TIMINGS,
                speed=4.0,
                settings={
                    "SMARTCLOUDOPS_PLAYBOOKS": str(folder / "playbooks"),
                    "SMARTCLOUDOPS_VERIFY_INTERVAL_S": "1",
                },
            ),
            monitor=victoria_metrics.WRITES_BACK if back else victoria_metrics.STATELESS,
        )
        chain = Chain(stage=stage, processes=processes, http=http)
        eventually(lambda: chain.query('count(count_over_time(up{job="node"}[20s]) > 2) == 12'))
        yield chain


def test_a_runaway_process_is_ended_by_one_reboot(chain: Chain) -> None:
    target = chain.fresh()
    chain.break_(target, "cpu_runaway")
    (run,) = chain.acted(target, _PATIENCE_S)
    assert run["state"] == "succeeded", run["outcome"]
    assert run["verdict"]["answer"] == "confirmed"
    assert [call["operation"] for call in chain.calls(target)] == ["RebootInstances"]
    assert chain.fleet()[target]["health"] == "healthy"


def test_an_alert_is_over_by_alertmanagers_word(chain: Chain) -> None:
    """Prometheus' API has neither its rules nor, in one of the shops, its `ALERTS`."""
    target = chain.fresh()
    chain.break_(target, "service_hang")
    (run,) = chain.acted(target, _PATIENCE_S)
    assert run["state"] == "succeeded", run["outcome"]
    assert "ALERTS" in run["plan"]["verify"]["expr"]
    assert chain.fleet()[target]["health"] == "healthy"
