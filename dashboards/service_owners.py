"""The dashboard of a service's owners: actions, their success, and approvals that wait."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, QueryVariable
from grafana_foundation_sdk.models.dashboard import (
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.parts import SOURCE, Panel, Query, Style, bars, board, graph, number

_CHOSEN = 'playbook=~"$playbook"'


def service_owners() -> Dashboard:
    return board(
        "smartcloudops-service-owners",
        "SmartCloudOps / Service owners",
        "The actions of the playbooks, their success, and the approvals that wait.",
        [("Now", _now()), ("Actions", _actions()), ("Did it help?", _helped())],
        _playbook(),
    )


def _playbook() -> QueryVariable:
    variable = QueryVariable("playbook").label("Playbook").datasource(SOURCE)
    variable.query("label_values(smartcloudops_runs_open, playbook)")
    variable.refresh(VariableRefresh.ON_DASHBOARD_LOAD).sort(VariableSort.ALPHABETICAL_ASC)
    variable.current(VariableOption(selected=True, text="All", value="$__all"))
    return variable.multi(multi=True).include_all(include_all=True)


def _now() -> list[Panel]:
    waiting = f'smartcloudops_runs_open{{{_CHOSEN}, state="awaiting_approval"}}'
    return [
        number(
            "Waiting for you",
            "Plans to approve or deny.",
            Query(f"sum(max by (playbook) ({waiting}))"),
            limit=1,
        ),
        number(
            "In flight",
            "Runs that have not ended.",
            Query(f"sum(max by (playbook, state) (smartcloudops_runs_open{{{_CHOSEN}}}))"),
        ),
        number(
            "Recovered",
            "Runs after which the target recovered, in the selected time.",
            Query(_ended('state="succeeded"')),
        ),
        number(
            "Did not help",
            "Runs that failed or were rolled back, in the selected time.",
            Query(_ended('state=~"failed|rolled_back"')),
            limit=1,
        ),
        number(
            "Typical recovery",
            "Median from the alert's start to the recovery.",
            Query(_quantile(0.5)),
            unit="s",
        ),
        number(
            "Breakers open",
            "Playbooks whose circuit breaker opened after three failures in a row.",
            Query(f"sum(max by (playbook) (smartcloudops_breaker_open{{{_CHOSEN}}}))"),
            limit=1,
        ),
        number(
            "Expired",
            "Plans without an approval in time, and runs whose alert had ended.",
            Query(_ended('state="expired"')),
            limit=1,
        ),
        number(
            "Marked wrong",
            "Runs with the feedback `wrong`.",
            Query(f'sum(increase(smartcloudops_marks_total{{{_CHOSEN}, mark="wrong"}}[$__range]))'),
            limit=1,
        ),
    ]


def _actions() -> list[Panel]:
    counted = f"smartcloudops_runs_total{{{_CHOSEN}}}"
    return [
        graph(
            "Runs by playbook",
            "Ended runs. `none`: alerts without a matching playbook.",
            Query(f"sum by (playbook) (increase({counted}[$__rate_interval])) > 0", "{{playbook}}"),
            style=Style(stacked=True),
        ),
        bars(
            "Runs by final state",
            "In the selected time.",
            Query(
                f"sum by (playbook, state) (increase({counted}[$__range])) > 0",
                "{{playbook}}: {{state}}",
            ),
        ),
        graph(
            "Open runs by state",
            "Runs that have not ended, by playbook.",
            Query(
                f"max by (playbook, state) (smartcloudops_runs_open{{{_CHOSEN}}})",
                "{{playbook}}: {{state}}",
            ),
            style=Style(span=24, stacked=True),
        ),
    ]


def _helped() -> list[Panel]:
    good = _by_playbook('state="succeeded"')
    acted = _by_playbook('state=~"succeeded|failed|rolled_back"')
    buckets = f"smartcloudops_time_to_recovery_seconds_bucket{{{_CHOSEN}}}[$__range]"
    slow = f"sum by (le, playbook) (increase({buckets}))"
    return [
        graph(
            "Time to recovery",
            "90th percentile from the alert's start, by playbook.",
            Query(f"histogram_quantile(0.9, {slow}) > 0", "{{playbook}}"),
            style=Style(unit="s"),
        ),
        graph(
            "Share of the runs that helped",
            "Of the acting runs, in the selected time.",
            Query(f"{good} / ({acted} > 0)", "{{playbook}}"),
            style=Style(unit="percentunit"),
        ),
    ]


def _by_playbook(matcher: str) -> str:
    counted = f"smartcloudops_runs_total{{{_CHOSEN}, {matcher}}}[$__range]"
    return f"sum by (playbook) (increase({counted}))"


def _ended(matcher: str) -> str:
    return f"sum(increase(smartcloudops_runs_total{{{_CHOSEN}, {matcher}}}[$__range]))"


def _quantile(share: float) -> str:
    buckets = f"smartcloudops_time_to_recovery_seconds_bucket{{{_CHOSEN}}}[$__range]"
    return f"histogram_quantile({share}, sum by (le) (increase({buckets})))"
