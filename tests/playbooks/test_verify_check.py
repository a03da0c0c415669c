"""`smartcloudops check` warns of a verification that can only be true or unknown."""

from pathlib import Path

import pytest

from receiver.playbooks.verify_check import warn_of_filters

_PLAYBOOK = """\
name: worker
match: [alertname="WorkerStuck"]
steps:
  - action: reboot_instance
    verify: {{expr: 'up{{instance_id="$instance_id"}} == bool 1'}}
verify:
  expr: {expr}
"""
_LOAD = 'node_load1{instance_id="$instance_id"}'


@pytest.mark.parametrize(
    ("expr", "warns"),
    [
        (f"{_LOAD} < 5", True),
        (f"min({_LOAD} < 5)", True),
        (f"({_LOAD} < bool 5) * ({_LOAD} > 1)", True),
        (f"{_LOAD} < < 5", True),
        (f"{_LOAD} < bool 5", False),
        (f"count({_LOAD} == 1) >= bool 6", False),
        (f"({_LOAD} < bool 5) * absent({_LOAD} > 9)", False),
    ],
)
def test_a_filter_is_told(tmp_path: Path, expr: str, *, warns: bool) -> None:
    """With its line; the step's own condition is right."""
    (tmp_path / "worker.yaml").write_text(_PLAYBOOK.format(expr=expr))
    assert [warning.line for warning in warn_of_filters(tmp_path)] == ([7] if warns else [])


def test_the_shipped_playbooks_have_none() -> None:
    assert warn_of_filters(Path(__file__).parents[2] / "playbooks") == []
