"""The labelled incidents of `make bench-decisions`, played to their end with a real Prometheus."""

from bench.scenes.backfill import make_setting
from bench.scenes.backtested import played
from bench.scenes.decisions import judge_result
from bench.scenes.scenarios import build_scenes
from bench.scenes.shop import Naming, Shop

_NOW = 1_790_000_000 // 3_600 * 3_600.0
_KINDS = frozenset({"batch job", "hung service", "R skewed clock", "third step helps"})


def test_a_week_of_metrics_decides() -> None:
    """Acts where one is right, once and to the end; a daily job is left alone.

    A backtest from its Prometheus decides the same.
    """
    setting = make_setting(_NOW, seed=1)
    scenes = [scene for scene in build_scenes(setting, 50) if scene.kind in _KINDS]
    assert {scene.kind for scene in scenes} == _KINDS
    # Its document fails, so its host is rebooted.
    hung = next(scene for scene in scenes if scene.kind == "hung service")
    hung.fail_documents()
    assert [action for action, _ in hung.expect] == ["restart_service", "reboot_instance"]
    # What replaces its host is a member that nobody knew when the step was decided.
    replaced = next(scene for scene in scenes if scene.kind == "third step helps")
    replaced.shop = Shop(interval_s=15, offset_s=5, naming=Naming.DNS_NAME)
    play = played(scenes, setting, seed=1, with_changed=False)
    for scene, result in zip(scenes, play.performed, strict=True):
        judged = judge_result(scene, result)
        assert (judged.right, judged.excused) == (True, False), (scene.kind, result)
    assert len(play.compared) == len(scenes)
    assert not [one for one in play.compared if not one.same and not one.assumed]
