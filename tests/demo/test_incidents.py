"""Which incidents of the script a demo plays."""

import pytest

from demo.incidents import ON_MACHINES, SCRIPT, UnknownFaultError, choose, stages


def test_chosen_incidents_keep_the_order_of_the_script() -> None:
    """And without a choice all are played."""
    chosen = choose(SCRIPT, ["memory_leak", "cpu_runaway"])
    assert [incident.fault for incident in chosen] == ["cpu_runaway", "memory_leak"]
    assert choose(SCRIPT, []) == SCRIPT


def test_an_unknown_incident_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownFaultError, match="no incident 'flood'; there are: cpu_runaway"):
        choose(SCRIPT, ["flood"])


def test_real_machines_play_every_incident_of_the_simulation() -> None:
    assert {incident.fault for incident in ON_MACHINES} == {incident.fault for incident in SCRIPT}


def test_groups_are_broken_at_the_same_time_and_a_whole_group_alone() -> None:
    """In each group one after another, since a group spares one member at a time."""
    played = [
        [[incident.fault for incident in part] for part in stage] for stage in stages(ON_MACHINES)
    ]
    assert played == [
        [
            ["cpu_runaway", "batch_job", "service_hang", "disk_full", "hardware_failure"],
            ["memory_leak"],
        ],
        [["traffic_surge"]],
        [["bad_deploy"]],
    ]
    assert [len(stage) for stage in stages(SCRIPT)] == [1, 1, 1, 1]
