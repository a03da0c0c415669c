"""A small and a large fleet at the same time: ratios that a busy machine does not move.

`python -m bench.scale.side_by_side` prints the CPU time of each receiver for the same incidents in
turn, and while nothing happens.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from bench.scale.fleet import FLEETS
from bench.scale.receiver import BenchStack, running
from demo.stack import postgres
from demo.stack.processes import Processes

_SETTLED_S, _IDLE_S = 75.0, 60.0
_GROUPS, _MEMBERS, _ROUNDS = 4, 2, 5


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        with (
            Processes(folder / "logs") as processes,
            postgres.running(processes) as database,
            running(processes, database, FLEETS[100], folder) as small,
            running(processes, database, FLEETS[10_000], folder) as large,
        ):
            stacks = (small, large)
            time.sleep(_SETTLED_S)
            idle = _idle(stacks)
            # The first round makes the clients of each place.
            rounds = [[_decide(stack, number) for stack in stacks] for number in range(_ROUNDS)][1:]
    decisions = [sum(costs) / len(costs) for costs in zip(*rounds, strict=True)]
    for what, costs in {"idle": idle, "decision": decisions}.items():
        ratio = costs[1] / costs[0]
        click.echo(f"{what}: {costs[0]:.4g} s, {costs[1]:.4g} s of CPU, ratio {ratio:.3g}")
    return 0


def _idle(stacks: Sequence[BenchStack]) -> list[float]:
    """CPU seconds of each receiver in a second."""
    before = [stack.leader.cpu_s() for stack in stacks]
    time.sleep(_IDLE_S)
    spent = zip(stacks, before, strict=True)
    return [(stack.leader.cpu_s() - start) / _IDLE_S for stack, start in spent]


def _decide(stack: BenchStack, number: int) -> float:
    """CPU seconds of a decision, of some in the same groups each round."""
    before = stack.leader.cpu_s()
    first = number * _MEMBERS
    for group in stack.spec.groups[:_GROUPS]:
        stack.deliver(group, "HighCPU", group.ids[first : first + _MEMBERS])
    stack.wait_decided()
    return (stack.leader.cpu_s() - before) / (_GROUPS * _MEMBERS)


if __name__ == "__main__":
    sys.exit(main())
