"""For whoever owns a service: what was done for it, whether it helped, and what waits."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, QueryVariable
from grafana_foundation_sdk.models.dashboard import (
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.parts import SOURCE, Panel, Query, bars, board, graph, number

_MINE = 'playbook=~"$playbook"'


def service_owners() -> Dashboard:
    return board(
        "smartcloudops-service-owners",
        "SmartCloudOps / Service owners",
        "What the playbooks did, whether it helped, and what waits for a person.",
        [("Now", _now()), ("What was done", _done()), ("Did it help?", _helped())],
        _playbook(),
    )


def _playbook() -> QueryVariable:
    made = QueryVariable("playbook").label("Playbook").datasource(SOURCE)
    made.query("label_values(smartcloudops_runs_open, playbook)")
    made.refresh(VariableRefresh.ON_DASHBOARD_LOAD).sort(VariableSort.ALPHABETICAL_ASC)
    made.current(VariableOption(selected=True, text="All", value="$__all"))
    return made.multi(multi=True).include_all(include_all=True)


def _now() -> list[Panel]:
    waiting = f'smartcloudops_runs_open{{{_MINE}, state="awaiting_approval"}}'
    return [
        number(
            "Waiting for you",
            "Plans that somebody must approve or deny.",
            Query(f"sum(max by (playbook) ({waiting}))"),
            limit=1,
        ),
        number(
            "At work",
            "Runs that have not ended.",
            Query(f"sum(max by (playbook, state) (smartcloudops_runs_open{{{_MINE}}}))"),
        ),
        number(
            "Recovered",
            "Runs after which the target was well, over the time that is shown.",
            Query(_ended('state="succeeded"')),
        ),
        number(
            "Did not help",
            "Runs that failed, or were undone, over the time that is shown.",
            Query(_ended('state=~"failed|rolled_back"')),
            limit=1,
        ),
        number(
            "Typical recovery",
            "Half of the recoveries took less, from the alert's start.",
            Query(_quantile(0.5)),
            unit="s",
        ),
        number(
            "Breakers open",
            "Playbooks that rest, as they did not help three times in a row.",
            Query(f"sum(max by (playbook) (smartcloudops_breaker_open{{{_MINE}}}))"),
            limit=1,
        ),
        number(
            "Expired",
            "Plans that nobody approved in time, and runs whose alert was over.",
            Query(_ended('state="expired"')),
            limit=1,
        ),
        number(
            "Marked wrong",
            "Runs of which somebody said that they should not have been.",
            Query(f'sum(increase(smartcloudops_marks_total{{{_MINE}, mark="wrong"}}[$__range]))'),
            limit=1,
        ),
    ]


def _done() -> list[Panel]:
    counted = f"smartcloudops_runs_total{{{_MINE}}}"
    return [
        graph(
            "Runs by playbook",
            "As they end. `none`: alerts that no playbook took up.",
            Query(f"sum by (playbook) (increase({counted}[$__rate_interval])) > 0", "{{playbook}}"),
            stacked=True,
        ),
        bars(
            "How they ended",
            "Over the time that is shown.",
            Query(
                f"sum by (playbook, state) (increase({counted}[$__range])) > 0",
                "{{playbook}}: {{state}}",
            ),
        ),
        graph(
            "What waits, and where",
            "Runs that have not ended, by playbook.",
            Query(
                f"max by (playbook, state) (smartcloudops_runs_open{{{_MINE}}})",
                "{{playbook}}: {{state}}",
            ),
            span=24,
            stacked=True,
        ),
    ]


def _helped() -> list[Panel]:
    good = _by_playbook('state="succeeded"')
    acted = _by_playbook('state=~"succeeded|failed|rolled_back"')
    buckets = f"smartcloudops_time_to_recovery_seconds_bucket{{{_MINE}}}[$__range]"
    slow = f"sum by (le, playbook) (increase({buckets}))"
    return [
        graph(
            "Time to recovery",
            "Nine of ten recoveries took less, from the alert's start, by playbook.",
            Query(f"histogram_quantile(0.9, {slow}) > 0", "{{playbook}}"),
            unit="s",
        ),
        graph(
            "Share of the runs that helped",
            "Of those that acted, over the time that is shown.",
            Query(f"{good} / ({acted} > 0)", "{{playbook}}"),
            unit="percentunit",
        ),
    ]


def _by_playbook(matcher: str) -> str:
    counted = f"smartcloudops_runs_total{{{_MINE}, {matcher}}}[$__range]"
    return f"sum by (playbook) (increase({counted}))"


def _ended(matcher: str) -> str:
    return f"sum(increase(smartcloudops_runs_total{{{_MINE}, {matcher}}}[$__range]))"


def _quantile(share: float) -> str:
    buckets = f"smartcloudops_time_to_recovery_seconds_bucket{{{_MINE}}}[$__range]"
    return f"histogram_quantile({share}, sum by (le) (increase({buckets})))"
