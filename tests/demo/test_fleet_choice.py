"""What the demo breaks by default, and what its first line says of it."""

from pathlib import Path

import pytest

from demo.fleet_choice import choose_machines
from demo.stack.debian import ToolsError


class Screen:
    """What the demo says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, component: str, text: str) -> None:
        assert component == "fleet"
        self.lines.append(text)


@pytest.fixture
def screen() -> Screen:
    return Screen()


def test_real_machines_are_the_default_where_they_start(screen: Screen) -> None:
    """Eight of them in two groups, and the first line says how to go without."""
    try:
        sizes = choose_machines("machines", screen.say)
    except ToolsError as error:
        pytest.skip(f"user-mode Linux does not start here: {error}")
    assert choose_machines(None, screen.say) == sizes
    assert sum(sizes.values()) == 8
    assert screen.lines == ["real Linux kernels; FLEET=simulated goes without them"] * 2


def test_on_another_processor_the_fleet_is_simulated_and_it_says_why(screen: Screen) -> None:
    assert choose_machines(None, screen.say, architecture="aarch64") == {}
    (line,) = screen.lines
    assert line.startswith("simulated instances, because real machines do not start here: ")
    assert line.endswith(": user-mode Linux needs Linux on x86-64")


def test_without_debians_packages_the_fleet_is_simulated(
    screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose_machines(None, screen.say, folder=tmp_path, architecture="x86_64") == {}
    assert screen.lines[0].endswith("do not start here: this system has no apt-get")


def test_machines_that_were_asked_for_must_start(screen: Screen) -> None:
    """And the error names the way without them."""
    with pytest.raises(ToolsError, match=r"needs Linux on x86-64.*FLEET=simulated goes without"):
        choose_machines("machines", screen.say, architecture="aarch64")


def test_the_simulation_can_be_asked_for(screen: Screen) -> None:
    assert choose_machines("simulated", screen.say) == {}
    assert screen.lines == ["simulated instances, as FLEET=simulated asks for"]
