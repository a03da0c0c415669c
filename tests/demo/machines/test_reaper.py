"""What a fleet of machines leaves behind when it is killed: nothing."""

import subprocess
import sys
import time
from pathlib import Path

_ROOT = Path(__file__).parents[3]
# A session whose first process ends at once: as a killed kernel, it leaves helpers behind.
_FLEET = """
import subprocess, time
from demo.machines.reaper import Reaper
with Reaper() as reaper:
    other = subprocess.Popen(["sh", "-c", "sleep 3600 & echo $!"], stdout=subprocess.PIPE,
                             start_new_session=True, text=True)
    reaper.watch(other.pid)
    print(other.stdout.readline().strip(), flush=True)
    time.sleep(60)
"""


def test_helpers_of_a_killed_fleet_are_ended() -> None:
    """Though their leader has ended, and nobody asked them to."""
    command = [sys.executable, "-c", _FLEET]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_ROOT, text=True) as fleet:
        assert fleet.stdout
        helper = Path("/proc", fleet.stdout.readline().strip())
        assert helper.exists()
        fleet.kill()
    until = time.monotonic() + 10
    while helper.exists() and helper.joinpath("stat").read_text().split()[2] != "Z":
        assert time.monotonic() < until, "the helper goes on"
        time.sleep(0.05)
