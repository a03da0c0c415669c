"""Plots: what they draw, what they say in words, and that they are well-formed."""

from xml.etree import ElementTree as ET

from markupsafe import Markup

from receiver.evidence.plot_data import plot_series
from receiver.html import svg
from receiver.html.axes import minute_ticks, round_ticks
from receiver.html.bar_plot import Share, bar_plot, strip
from receiver.html.calibration_plot import calibration_plot
from receiver.html.metric_plot import Event, metric_plot
from tests.models.fleet_fixtures import CPU, RUNAWAY, evidence, judge

_METRIC = {"role": "cpu_busy", "own": [[-60, 0.1], [0, 0.2]], "usual": [], "siblings": []}


def _parse(markup: Markup | None) -> ET.Element:
    assert markup is not None
    return ET.fromstring(str(markup).replace("<svg ", '<svg xmlns="" ', 1))  # noqa: S314 drawn here


def test_an_element_escapes_text_and_attributes() -> None:
    """Also where the text is markup of another kind."""
    drawn = svg.element("text", '<b>"&', class_='"><script>', x=1.26)
    assert str(drawn) == (
        '<text class="&#34;&gt;&lt;script&gt;" x="1.3">&lt;b&gt;&#34;&amp;</text>'
    )


def test_a_metric_plot_says_in_words_what_it_shows() -> None:
    """For people who cannot see it."""
    seen = evidence(now=RUNAWAY)
    plot_data = plot_series(seen, judge(seen, CPU), CPU)[0]
    events = [Event(-30.0, "alert", "bad"), Event(5.0, '<"&', "busy"), Event(70.0, "ok", "good")]
    plot = metric_plot(plot_data, 1_800_000_000.0, events, [[60, 0.3], [120, 0.25]], 150.0)
    root = _parse(plot.svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == f"CPU busy. {plot.text}"
    for words in (
        "at the decision",
        "mostly 33 % to 37 % at this hour",
        "5 siblings",
        "25 % at the end",
        "alert 30 s before",
    ):
        assert words in plot.text
    assert len(str(plot.svg)) < 15_000
    assert all(0 <= float(text.get("x", "0")) <= 960 for text in root.iter("text"))
    drawn = {part.get("class") for part in root.iter()}
    assert {"own", "usual", "middle", "sibling", "mark bad", "mark busy", "mark good"} <= drawn


def test_a_line_is_broken_where_samples_are_missing() -> None:
    """More than three minutes without a sample are a gap."""
    own = [[-600, 0.1], [-540, 0.2], [-300, 0.3], [0, 0.4]]
    root = _parse(metric_plot({**_METRIC, "own": own}, 1_800_000_000.0, [], [], 0.0).svg)
    (line,) = (part for part in root.iter("path") if part.get("class") == "own")
    assert line.get("d", "").count("M") == 3
    assert line.get("d", "").count("L") == 1


def test_an_axis_begins_at_nothing_in_spite_of_jitter() -> None:
    """A share that is read as -1 % asks for no axis down to -50 %."""
    for own, first in (([[-60, -0.01], [0, 1.0]], "0 %"), ([[-60, -0.3], [0, 1.0]], "-50 %")):
        root = _parse(metric_plot({**_METRIC, "own": own}, 1_800_000_000.0, [], [], 0.0).svg)
        assert next(text.text for text in root.iter("text")) == first


def test_ticks_are_round() -> None:
    """As a person would label an axis."""
    assert round_ticks(0.0, 0.98) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert round_ticks(0.0, 0.0) == [0.0, 1.0]
    assert minute_ticks(0.0, 600.0) == [0.0, 120.0, 240.0, 360.0, 480.0, 600.0]


def test_a_calibration_plot_needs_bins() -> None:
    """A model card without them has no plot."""
    assert calibration_plot(()) is None
    root = _parse(calibration_plot([{"alerts": 3, "confidence": 0.1, "incidents": 0.0}]))
    assert "10% sure: 0% of 3 alerts" in root.get("aria-label", "")


def test_the_highest_bar_fills_the_plot() -> None:
    """A bar of zero has a place, and no number above it."""
    root = _parse(bar_plot({"monday": 4, "tuesday": 0, "<wednesday>": 2}, "Incidents by day"))
    heights = [float(bar.get("height", "")) for bar in root.iter("rect")]
    assert heights == [140.0, 0.0, 70.0]
    assert [text.text for text in root.iter("text")] == [
        "4",
        "monday",
        "tuesday",
        "2",
        "<wednesday>",
    ]


def test_many_bars_have_few_labels() -> None:
    """One of seven, so that they do not overlap."""
    root = _parse(bar_plot({f"day {number}": 0 for number in range(31)}, "Incidents by day"))
    assert [text.text for text in root.iter("text")] == [f"day {day}" for day in range(0, 31, 7)]


def test_a_strip_is_as_long_as_its_shares_together() -> None:
    """A share of nothing is left out; without any there is no strip."""
    root = _parse(strip([Share("right", "good", 3), Share("none", "bad", 0), Share("x", "bad", 1)]))
    places = [(part.get("x"), part.get("width")) for part in root.iter("rect")]
    assert places == [("0", "75"), ("75", "25")]
    assert root.get("aria-label") == "right: 3. x: 1."
    assert list(_parse(strip([]))) == []
