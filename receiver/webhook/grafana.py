"""Grafana's own alerts, as its webhook contact point sends them.

Sources: Grafana, Configure webhook notifications (the payload: `version` "1", and URLs that are
relative where Grafana knows no address of its own); State and health of alerts (what a rule does
without data or with an error, and the annotation `grafana_state_reason`).
"""

from typing import Literal

import structlog

from receiver.webhook import payload
from receiver.webhook.payload import Alert, Envelope

_log = structlog.get_logger()
# Alerts of Grafana about a query, not about what it measures.
_OF_QUERIES = frozenset({"DatasourceNoData", "DatasourceError"})
# Alerts whose state follows from missing data: such a resolved one is no recovery either.
_STATE_REASON = "grafana_state_reason"
_WITHOUT_DATA = frozenset({"NoData", "Error", "MissingSeries"})


class GrafanaEnvelope(Envelope):
    called = "a webhook of a Grafana contact point (version 1)"

    version: Literal["1"]


def parse_alert(raw: object, received_at: float) -> Alert | None:
    """Parse an alert; None without labels, and where Grafana has no data that show an incident."""
    alert = payload.parse_alert(raw, received_at)
    if alert is None or not _lacks_data(alert):
        return alert
    _log.info(
        "grafana_alert_without_data",
        alertname=alert.labels.get("alertname"),
        rule=alert.labels.get("rulename"),
        fingerprint=alert.fingerprint,
    )
    return None


def _lacks_data(alert: Alert) -> bool:
    reasons = alert.annotations.get(_STATE_REASON, "").split(", ")
    return alert.labels.get("alertname") in _OF_QUERIES or not _WITHOUT_DATA.isdisjoint(reasons)
