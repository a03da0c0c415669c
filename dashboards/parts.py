"""The kinds of panels in the dashboards, and the assembly of a dashboard."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

HEIGHT = 8
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
Panel = timeseries.Panel | stat.Panel | bargauge.Panel | heatmap.Panel


@dataclass(frozen=True)
class Query:
    """PromQL and the legend of its series; `{{label}}` stands for a label."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, kw_only=True)
class Style:
    """The style of a graph; `stacked` draws stacked bars, `limit` is the threshold of an alert."""

    unit: str = "short"
    span: int = 12
    stacked: bool = False
    limit: float | None = None


LINES = Style()


def graph(title: str, description: str, *queries: Query, style: Style = LINES) -> timeseries.Panel:
    """Values over time."""
    panel = timeseries.Panel().title(title).description(description).unit(style.unit).min(0)
    panel.datasource(SOURCE).height(HEIGHT).span(style.span).fill_opacity(10).line_width(1)
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST)
    panel.legend(legend.placement(LegendPlacement.BOTTOM).show_legend(show_legend=True))
    if style.stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
        panel.draw_style(GraphDrawStyle.BARS).fill_opacity(80)
    if style.limit is not None:
        panel.thresholds(_thresholds(style.limit))
        dashed = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        panel.thresholds_style(dashed)
    for name, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_target(name, query).range())
    return panel


def number(
    title: str, description: str, query: Query, *, unit: str = "short", limit: float | None = None
) -> stat.Panel:
    """The present value; red from `limit` on."""
    panel = stat.Panel().title(title).description(description).unit(unit).datasource(SOURCE)
    panel.height(4).span(3).with_target(_target("A", query).instant())
    if limit is not None:
        panel.thresholds(_thresholds(limit)).color_mode(BigValueColorMode.BACKGROUND)
    return panel


def bars(title: str, description: str, *queries: Query, span: int = 12) -> bargauge.Panel:
    """Counts over the shown time, next to each other."""
    panel = bargauge.Panel().title(title).description(description).min(0).decimals(0)
    panel.datasource(SOURCE).height(HEIGHT).span(span).orientation(VizOrientation.HORIZONTAL)
    for name, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_target(name, query).instant())
    return panel


def heat(title: str, description: str, query: Query) -> heatmap.Panel:
    """A histogram's buckets over time."""
    panel = heatmap.Panel().title(title).description(description).datasource(SOURCE)
    target = _target("A", query).range().format(PromQueryFormat.HEATMAP)
    return panel.height(HEIGHT).span(12).with_target(target)


def board(
    uid: str,
    title: str,
    description: str,
    rows: Sequence[tuple[str, Sequence[Panel]]],
    *variables: dashboard.QueryVariable,
) -> dashboard.Dashboard:
    """A dashboard with its rows; it refreshes itself and links to the others."""
    board = dashboard.Dashboard(title).uid(uid).description(description).tags(["smartcloudops"])
    board.time("now-6h", "now").refresh("30s").timezone("browser").readonly()
    source = dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    board.with_variable(source)
    for variable in variables:
        board.with_variable(variable)
    others = dashboard.DashboardLink("SmartCloudOps").type(DashboardLinkType.DASHBOARDS)
    board.link(others.tags(["smartcloudops"]).keep_time(keep_time=True))
    ids = count(1)
    for heading, panels in rows:
        board.with_row(dashboard.Row(heading).id(next(ids)))
        for panel in panels:
            board.with_panel(panel.id(next(ids)))
    return board


def _target(name: str, query: Query) -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(name).expr(query.expr).legend_format(query.legend)


def _thresholds(limit: float) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=None, color="green"), Threshold(value=limit, color="red")]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
