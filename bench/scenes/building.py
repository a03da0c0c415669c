"""What the builders of scenes share."""

import numpy as np

from bench.scenes.scene import Scene, Setting
from demo.fleet.workload import Moments


def since(setting: Setting, seconds: float) -> Moments:
    """1 over the last `seconds`, 0 before."""
    return np.asarray((setting.at >= setting.now - seconds).astype(float))


def ramp(setting: Setting, seconds: float, peak: float = 1.0) -> Moments:
    """A rise from 0 to `peak` over the last `seconds`."""
    return np.clip((setting.at - (setting.now - seconds)) / seconds, 0, 1) * peak


def id_of(scene: Scene, position: int = 0) -> str:
    return scene.members[position].host.instance_id


def expect(scene: Scene, alert: str, action: str) -> None:
    scene.alerts = [(alert, id_of(scene))]
    scene.expect = [(action, id_of(scene))]
