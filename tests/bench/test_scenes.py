"""The labelled incidents of `make bench-decisions`, decided on with a real Prometheus."""

from bench.scenes.backfill import make_setting
from bench.scenes.decider import NOTHING, decide_scenes
from bench.scenes.scenarios import build_scenes

_NOW = 1_790_000_000 // 3_600 * 3_600.0


def test_a_week_of_metrics_decides() -> None:
    """A runaway process causes an act; a job that runs at this hour every day does not."""
    setting = make_setting(_NOW, seed=1)
    scenes = {scene.kind: scene for scene in build_scenes(setting, 1)}
    wanted = [scenes["runaway process"], scenes["batch job"]]
    runaway, job = decide_scenes(wanted, setting)
    assert {(alert.action, alert.target) for alert in runaway} == wanted[0].expect
    assert [alert.action for alert in job] == [NOTHING]
    assert job[0].reason.startswith("verdict_refuted")
