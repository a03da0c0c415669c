"""Plots of a playbook's own conditions, which gave the verdict in place of the model."""

from collections.abc import Iterator, Mapping
from typing import Any

from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.html.metric_plot import Condition, Plot, condition_plot, run_events
from receiver.playbooks.promql.comparison import comparison_of

_BEFORE_S, _STEP_S = 1_800.0, 15.0
_TIMEOUT_S = 2.0
_PLOTS_MOST, _SERIES_MOST = 3, 12


def condition_plots(prometheus: Prometheus, run: Mapping[str, Any], end: float) -> Iterator[Plot]:
    """A plot of each condition from half an hour before the decision until `end` (epoch seconds).

    One that Prometheus does not answer is left out.
    """
    evidence = run["evidence"] or {}
    decided_at = float(evidence.get("at") or 0.0)
    server = prometheus.of(run["alert"]["labels"])
    for condition in evidence.get("conditions", [])[:_PLOTS_MOST]:
        compared = comparison_of(condition)
        try:
            series = server.range_query(
                compared.measured,
                start=decided_at - _BEFORE_S,
                end=end,
                step=_STEP_S,
                timeout_s=_TIMEOUT_S,
            )
        except PrometheusError:
            continue
        points = [
            [[time - decided_at, value] for time, value in zip(one.times, one.values, strict=True)]
            for one in series[:_SERIES_MOST]
        ]
        if points:
            drawn = Condition(condition, compared.bound, points)
            yield condition_plot(drawn, decided_at, run_events(run), end - decided_at)
