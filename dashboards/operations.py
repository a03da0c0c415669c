"""For whoever runs SmartCloudOps: whether it is well, and does what it should."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.parts import Panel, Query, bars, board, graph, heat, number

_SHOWN = "[$__range]"
_NOW = "[$__rate_interval]"


def operations() -> Dashboard:
    return board(
        "smartcloudops-operations",
        "SmartCloudOps / Operations",
        "From the alert to the recovery, and the health of what takes it there.",
        [
            ("Now", _now()),
            ("From alerts to recoveries", _funnel()),
            ("How fast", _times()),
            ("What is done", _actions()),
            ("What the re-check says", _verdicts()),
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
            "Of prometheus_rules/remediator.yml and model.yml; each has its runbook.",
            Query(f"count(ALERTS{{{ours}}}) or vector(0)"),
            limit=1,
        ),
        number(
            "Paused",
            "1 while nothing acts, also where that is unknown.",
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
            "Playbooks that rest, as they did not help three times in a row.",
            Query("sum(max by (playbook) (smartcloudops_breaker_open))"),
            limit=1,
        ),
        number(
            "Cooldowns",
            "Targets that may not be acted on now.",
            Query("max(smartcloudops_cooldowns_active)"),
        ),
        number(
            "Model",
            "1 while there is a model to judge with.",
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
            "How much of what arrives is new, is confirmed by the re-check, is acted on, recovers.",
            Query(firing, "alerts that fire"),
            Query(f"{firing} - {copies}", "of these new"),
            Query(confirmed, "confirmed"),
            Query(acted, "acted on"),
            Query(recovered, "recovered"),
        ),
        bars(
            "How runs ended",
            "All runs of the time that is shown, by their last state.",
            Query(f"sum by (state) (increase(smartcloudops_runs_total{_SHOWN})) > 0", "{{state}}"),
        ),
        graph(
            "Refusals by reason",
            "Why nothing was done; docs/refusals.md has a paragraph for each.",
            Query(
                f"sum by (reason) (increase(smartcloudops_refusals_total{_NOW})) > 0",
                "{{reason}}",
            ),
            stacked=True,
        ),
        bars(
            "Refusals of the time that is shown",
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
            "From the alert's startsAt, over the time that is shown.",
            *_quantiles(to_action),
            unit="s",
        ),
        graph(
            "From the alert to the verified recovery",
            "From the alert's startsAt, over the time that is shown.",
            *_quantiles(to_end),
            unit="s",
        ),
        graph(
            "Webhook to decision",
            "95th percentiles: answering a delivery, judging the evidence, the whole decision.",
            Query(_p95("webhook_duration_seconds"), "delivery answered"),
            Query(_p95("recheck_duration_seconds"), "evidence judged"),
            Query(_p95("decision_duration_seconds"), "decided"),
            unit="s",
        ),
        graph(
            "Steps, from their claim to their outcome",
            "95th percentile by action.",
            Query(
                "histogram_quantile(0.95, sum by (le, action) "
                f"(increase(smartcloudops_action_duration_seconds_bucket{_SHOWN}))) > 0",
                "{{action}}",
            ),
            unit="s",
        ),
    ]


def _actions() -> list[Panel]:
    return [
        graph(
            "Steps by outcome",
            "`unknown`: AWS's answer was lost, and nothing is repeated.",
            Query(f"sum by (outcome) (increase(smartcloudops_actions_total{_NOW}))", "{{outcome}}"),
            stacked=True,
        ),
        bars(
            "Steps by action",
            "Over the time that is shown.",
            Query(
                f"sum by (action, outcome) (increase(smartcloudops_actions_total{_SHOWN})) > 0",
                "{{action}} {{outcome}}",
            ),
        ),
        graph(
            "Breakers",
            "1 while a playbook's breaker lets nothing through.",
            Query("max by (playbook) (smartcloudops_breaker_open)", "{{playbook}}"),
            limit=1,
        ),
        graph(
            "Cooldowns",
            "Targets that are held, or were acted on a short while ago.",
            Query("max(smartcloudops_cooldowns_active)", "targets"),
        ),
    ]


def _verdicts() -> list[Panel]:
    return [
        graph(
            "Answers",
            "What the re-check says of the alerts.",
            Query(f"sum by (answer) (increase(smartcloudops_verdicts_total{_NOW}))", "{{answer}}"),
            stacked=True,
        ),
        heat(
            "Scores",
            "A model that can tell has its scores at both ends.",
            Query(f"sum by (le) (increase(smartcloudops_verdict_score_bucket{_NOW}))", "{{le}}"),
        ),
        bars(
            "Calibration: what people said",
            "Marks of ended runs. Where many are wrong, confidence says too much.",
            Query(f"sum by (mark) (increase(smartcloudops_marks_total{_SHOWN}))", "{{mark}}"),
            span=6,
        ),
        graph(
            "Calibration: acts that helped",
            "Of the runs that acted, the share after which the target was well.",
            Query(
                f'sum(increase(smartcloudops_runs_total{{state="succeeded"}}{_SHOWN})) / '
                f"sum(increase(smartcloudops_alert_to_action_seconds_count{_SHOWN}))",
                "recovered",
            ),
            unit="percentunit",
            span=6,
        ),
        graph(
            "Drift",
            "Population stability index of what is judged against what was learnt from.",
            Query("max by (of) (smartcloudops_model_drift)", "{{of}}"),
            limit=0.25,
        ),
        graph(
            "The shadow disagrees",
            "Answers of the active model and of the one that only watches, where they differ.",
            *(
                Query(
                    "sum by (shadow) (increase(smartcloudops_shadow_verdicts_total"
                    f'{{active="{one}", shadow!="{one}"}}{_NOW}))',
                    f"{one}, not {{{{shadow}}}}",
                )
                for one in ("confirmed", "refuted", "undecided")
            ),
        ),
        graph(
            "Models",
            "Which version judges; more than one only while replicas change over.",
            Query("count by (version) (smartcloudops_model_info)", "{{version}}"),
        ),
    ]


def _health() -> list[Panel]:
    return [
        graph(
            "Deliveries",
            "Taken and answered, in each second.",
            Query(f"sum(rate(smartcloudops_webhook_duration_seconds_count{_NOW}))", "all"),
            Query(
                f"sum by (code) (rate(smartcloudops_webhook_rejected_total{_NOW}))",
                "rejected {{code}}",
            ),
            unit="reqps",
        ),
        graph(
            "Webhook latency",
            "Until a delivery is on disk and answered.",
            *(
                Query(
                    f"histogram_quantile({share}, sum by (le) "
                    "(increase(smartcloudops_webhook_duration_seconds_bucket[$__range])))",
                    f"p{share * 100:.0f}",
                )
                for share in (0.5, 0.95, 0.99)
            ),
            unit="s",
        ),
        graph(
            "Open runs by state",
            "Where they are now.",
            Query(
                "sum by (state) (max by (playbook, state) (smartcloudops_runs_open))", "{{state}}"
            ),
            stacked=True,
        ),
        graph(
            "How long runs have stood still",
            "The oldest in each state; a run that acts or is watched moves every few seconds.",
            Query("max by (state) (smartcloudops_oldest_run_seconds)", "{{state}}"),
            unit="s",
            limit=900,
        ),
        graph(
            "Backlog and losses",
            "Alerts on disk that are not runs yet, and what Alertmanager left out or gave up.",
            Query("max(smartcloudops_inbox_backlog)", "backlog"),
            Query(f"sum(increase(smartcloudops_alerts_truncated_total{_NOW}))", "left out"),
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
            "Whether people were told; what was left out is summed up later.",
            Query(
                f"sum by (outcome) (increase(smartcloudops_notifications_total{_NOW}))",
                "{{outcome}}",
            ),
            stacked=True,
        ),
        graph(
            "Paused",
            "1 while nothing acts.",
            Query("max(smartcloudops_paused)", "paused"),
        ),
        graph(
            "Could not be read",
            "What decisions rest on and was not answered, by where it is. Unknown counts as no.",
            Query(
                f"sum by (source) (increase(smartcloudops_unreadable_total{_NOW}))", "{{source}}"
            ),
            stacked=True,
        ),
        graph(
            "Versions",
            "Receivers by the version that they run.",
            Query("count by (version) (smartcloudops_build_info)", "{{version}}"),
        ),
        graph(
            "Who acts",
            "1 where this is the replica that acts; the others take alerts and answer people.",
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
