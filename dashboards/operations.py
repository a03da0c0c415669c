"""The dashboard of the operators of SmartCloudOps: its health and its work."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.parts import Panel, Query, Style, bars, board, graph, heat, number

_SHOWN = "[$__range]"
_NOW = "[$__rate_interval]"


def operations() -> Dashboard:
    return board(
        "smartcloudops-operations",
        "SmartCloudOps / Operations",
        "From the alert to the recovery, and the health of the service.",
        [
            ("Now", _now()),
            ("From alerts to recoveries", _funnel()),
            ("How fast", _times()),
            ("Actions", _actions()),
            ("Verdicts", _verdicts()),
            ("The service itself", _health()),
        ],
    )


def _now() -> list[Panel]:
    ours = 'alertstate="firing", alertname=~"Remediator.*|Model.*|Alertmanager.*"'
    return [
        number(
            "Receivers up",
            "Replicas that answer Prometheus.",
            Query('sum(up{job="smartcloudops"})'),
        ),
        number(
            "Alerts on ourselves",
            "Rules of prometheus_rules/remediator.yml and model.yml; each has a runbook.",
            Query(f"count(ALERTS{{{ours}}}) or vector(0)"),
            limit=1,
        ),
        number(
            "Paused",
            "1 while the kill switch is on, or its state is unknown.",
            Query("max(smartcloudops_paused)"),
            limit=1,
        ),
        number(
            "In flight",
            "Runs that have not ended.",
            Query("max(smartcloudops_runs_in_flight)"),
        ),
        number(
            "Awaiting approval",
            "Runs that wait for a person.",
            Query("max(smartcloudops_awaiting_approval)"),
            limit=1,
        ),
        number(
            "Breakers open",
            "Playbooks whose circuit breaker opened after three failures in a row.",
            Query("sum(max by (playbook) (smartcloudops_breaker_open))"),
            limit=1,
        ),
        number(
            "Cooldowns",
            "Targets in their cooldown.",
            Query("max(smartcloudops_cooldowns_active)"),
        ),
        number(
            "Model",
            "1 while a model is loaded.",
            Query("min(smartcloudops_model_usable)"),
        ),
    ]


def _funnel() -> list[Panel]:
    firing = f'sum(increase(smartcloudops_alerts_received_total{{status="firing"}}{_SHOWN}))'
    copies = f"sum(increase(smartcloudops_alerts_duplicate_total{_SHOWN}))"
    confirmed = f'sum(increase(smartcloudops_verdicts_total{{answer="confirmed"}}{_SHOWN}))'
    acted = f"sum(increase(smartcloudops_alert_to_action_seconds_count{_SHOWN}))"
    recovered = f'sum(increase(smartcloudops_runs_total{{state="succeeded"}}{_SHOWN}))'
    return [
        bars(
            "From alerts to recoveries",
            "Alerts that are new, confirmed by the re-check, acted on, and recovered.",
            Query(firing, "firing alerts"),
            Query(f"{firing} - {copies}", "new"),
            Query(confirmed, "confirmed"),
            Query(acted, "acted on"),
            Query(recovered, "recovered"),
        ),
        bars(
            "How runs ended",
            "Runs in the selected time, by final state.",
            Query(f"sum by (state) (increase(smartcloudops_runs_total{_SHOWN})) > 0", "{{state}}"),
        ),
        graph(
            "Refusals by reason",
            "Reasons for no action; docs/refusals.md explains each.",
            Query(
                f"sum by (reason) (increase(smartcloudops_refusals_total{_NOW})) > 0",
                "{{reason}}",
            ),
            style=Style(stacked=True),
        ),
        bars(
            "Refusals in the selected time",
            "The most frequent reasons.",
            Query(
                f"topk(10, sum by (reason) (increase(smartcloudops_refusals_total{_SHOWN})) > 0)",
                "{{reason}}",
            ),
        ),
    ]


def _times() -> list[Panel]:
    to_action = "sum by (le) (increase(smartcloudops_alert_to_action_seconds_bucket[$__range]))"
    to_end = "sum by (le) (increase(smartcloudops_time_to_recovery_seconds_bucket[$__range]))"
    return [
        graph(
            "From the alert to the first AWS call",
            "From the alert's startsAt, in the selected time.",
            *_quantiles(to_action),
            style=Style(unit="s"),
        ),
        graph(
            "From the alert to the verified recovery",
            "From the alert's startsAt, in the selected time.",
            *_quantiles(to_end),
            style=Style(unit="s"),
        ),
        graph(
            "Webhook to decision",
            "95th percentiles of answering a delivery, of the verdict, and of the whole decision.",
            Query(_p95("webhook_duration_seconds"), "delivery answered"),
            Query(_p95("recheck_duration_seconds"), "verdict reached"),
            Query(_p95("decision_duration_seconds"), "decided"),
            style=Style(unit="s"),
        ),
        graph(
            "Steps, from their claim to their outcome",
            "95th percentile by action.",
            Query(
                "histogram_quantile(0.95, sum by (le, action) "
                f"(increase(smartcloudops_action_duration_seconds_bucket{_SHOWN}))) > 0",
                "{{action}}",
            ),
            style=Style(unit="s"),
        ),
    ]


def _actions() -> list[Panel]:
    return [
        graph(
            "Steps by outcome",
            "`unknown`: AWS's answer was lost; the call is not repeated.",
            Query(f"sum by (outcome) (increase(smartcloudops_actions_total{_NOW}))", "{{outcome}}"),
            style=Style(stacked=True),
        ),
        bars(
            "Steps by action",
            "In the selected time.",
            Query(
                f"sum by (action, outcome) (increase(smartcloudops_actions_total{_SHOWN})) > 0",
                "{{action}} {{outcome}}",
            ),
        ),
        graph(
            "Breakers",
            "1 while a playbook's circuit breaker is open.",
            Query("max by (playbook) (smartcloudops_breaker_open)", "{{playbook}}"),
            style=Style(limit=1),
        ),
        graph(
            "Cooldowns",
            "Targets that were acted on recently.",
            Query("max(smartcloudops_cooldowns_active)", "targets"),
        ),
    ]


def _verdicts() -> list[Panel]:
    return [
        graph(
            "Answers",
            "Verdicts of the re-check.",
            Query(f"sum by (answer) (increase(smartcloudops_verdicts_total{_NOW}))", "{{answer}}"),
            style=Style(stacked=True),
        ),
        heat(
            "Scores",
            "A decisive model has its scores at both ends.",
            Query(f"sum by (le) (increase(smartcloudops_verdict_score_bucket{_NOW}))", "{{le}}"),
        ),
        bars(
            "Calibration: feedback",
            "Feedback on ended runs. If many are wrong, the confidence is too high.",
            Query(f"sum by (mark) (increase(smartcloudops_marks_total{_SHOWN}))", "{{mark}}"),
            span=6,
        ),
        graph(
            "Calibration: acts that helped",
            "The share of the acting runs after which the target recovered.",
            Query(
                f'sum(increase(smartcloudops_runs_total{{state="succeeded"}}{_SHOWN})) / '
                f"sum(increase(smartcloudops_alert_to_action_seconds_count{_SHOWN}))",
                "recovered",
            ),
            style=Style(unit="percentunit", span=6),
        ),
        graph(
            "Drift",
            "Population stability index of recent alerts against the training data.",
            Query("max by (of) (smartcloudops_model_drift)", "{{of}}"),
            style=Style(limit=0.25),
        ),
        graph(
            "The shadow disagrees",
            "Verdicts of the active and the shadow model where they differ.",
            *(
                Query(
                    "sum by (shadow) (increase(smartcloudops_shadow_verdicts_total"
                    f'{{active="{answer}", shadow!="{answer}"}}{_NOW}))',
                    f"{answer}, not {{{{shadow}}}}",
                )
                for answer in ("confirmed", "refuted", "undecided")
            ),
        ),
        graph(
            "Models",
            "Versions in use; more than one only during an update of the replicas.",
            Query("count by (version) (smartcloudops_model_info)", "{{version}}"),
        ),
    ]


def _health() -> list[Panel]:
    return [
        graph(
            "Deliveries",
            "Accepted deliveries a second.",
            Query(f"sum(rate(smartcloudops_webhook_duration_seconds_count{_NOW}))", "all"),
            Query(
                f"sum by (code) (rate(smartcloudops_webhook_rejected_total{_NOW}))",
                "rejected {{code}}",
            ),
            style=Style(unit="reqps"),
        ),
        graph(
            "Webhook latency",
            "Time until a delivery is on disk and answered.",
            *(
                Query(
                    f"histogram_quantile({share}, sum by (le) "
                    "(increase(smartcloudops_webhook_duration_seconds_bucket[$__range])))",
                    f"p{share * 100:.0f}",
                )
                for share in (0.5, 0.95, 0.99)
            ),
            style=Style(unit="s"),
        ),
        graph(
            "Open runs by state",
            "The present state of the runs that have not ended.",
            Query(
                "sum by (state) (max by (playbook, state) (smartcloudops_runs_open))", "{{state}}"
            ),
            style=Style(stacked=True),
        ),
        graph(
            "Age of the oldest run",
            "By state; an acting or verifying run changes every few seconds.",
            Query("max by (state) (smartcloudops_oldest_run_seconds)", "{{state}}"),
            style=Style(unit="s", limit=900),
        ),
        graph(
            "Backlog and losses",
            "Alerts on disk without a run, and alerts that Alertmanager truncated or gave up.",
            Query("max(smartcloudops_inbox_backlog)", "backlog"),
            Query(f"sum(increase(smartcloudops_alerts_truncated_total{_NOW}))", "truncated"),
            Query(
                f'sum(increase(smartcloudops_truncated_groups_total{{outcome="lost"}}{_NOW}))',
                "groups not fetched",
            ),
            Query(
                f"sum(increase(alertmanager_notifications_failed_total{_NOW}))",
                "deliveries given up",
            ),
        ),
        graph(
            "Notifications",
            "By outcome; a later summary has the messages that the rate limit holds back.",
            Query(
                f"sum by (outcome) (increase(smartcloudops_notifications_total{_NOW}))",
                "{{outcome}}",
            ),
            style=Style(stacked=True),
        ),
        graph(
            "Paused",
            "1 while the kill switch is on.",
            Query("max(smartcloudops_paused)", "paused"),
        ),
        graph(
            "Unreadable sources",
            "Reads of a decision that failed, by source. Unknown facts refuse.",
            Query(
                f"sum by (source) (increase(smartcloudops_unreadable_total{_NOW}))", "{{source}}"
            ),
            style=Style(stacked=True),
        ),
        graph(
            "Versions",
            "Receivers by version.",
            Query("count by (version) (smartcloudops_build_info)", "{{version}}"),
        ),
        graph(
            "Leader",
            "1 for the leader; the other replicas accept alerts and serve the API.",
            Query("max by (instance) (smartcloudops_leading)", "{{instance}}"),
        ),
    ]


def _quantiles(buckets: str) -> list[Query]:
    return [
        Query(f"histogram_quantile({share}, {buckets})", f"p{share * 100:.0f}")
        for share in (0.5, 0.9, 0.99)
    ]


def _p95(name: str) -> str:
    return f"histogram_quantile(0.95, sum by (le) (increase(smartcloudops_{name}_bucket{_SHOWN})))"
