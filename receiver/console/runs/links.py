"""Where to look further: Prometheus, Alertmanager, Grafana, the AWS console, runbook, other runs.

A link from an annotation is the sender's word: only http and https are linked, with the host shown.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from string import Template
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from pydantic import HttpUrl

from actions.aws.instances import INSTANCE_ID
from receiver.console.matchers import equal_matchers
from receiver.settings import Settings

_RANGE = "1h"
_MINUTES_AFTER_S = 1_800.0
_AWS = "console.aws.amazon.com"
_ANNOTATIONS = {
    "runbook_url": "Runbook",
    "runbook": "Runbook",
    "dashboard_url": "Dashboard",
    "dashboardURL": "Dashboard",
    "panelURL": "Panel",
}


@dataclass(frozen=True, kw_only=True)
class Link:
    """`outside`: it leads out of this service."""

    text: str
    url: str
    outside: bool = False


def links_of(run: Mapping[str, Any], settings: Settings, prometheus_url: str) -> list[Link]:
    """The links of a run as the API shows it; `prometheus_url` is of the one that knows it."""
    labels = {
        name: run["alert"]["labels"].get(name, "") for name in ("alertname", "asg", "instance_id")
    }
    return [
        *_inside(run, labels),
        *_prometheus(run, labels, prometheus_url),
        *_alertmanager(labels, str(settings.alertmanager_url)),
        *_grafana(run, settings.grafana_url),
        *_aws(run),
        *_annotated(run["alert"]["annotations"]),
    ]


def _inside(run: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[Link]:
    target, group, playbook = run["target"], run["group"], run["playbook"]
    if playbook:
        yield Link(text=f"Playbook {playbook}", url=f"/playbooks/{quote(playbook, safe='')}")
    if group:
        yield Link(text=f"Group {group}", url=f"/groups/{quote(group, safe='')}")
    if target:
        yield Link(text="Other runs of this target", url=f"/runs?{urlencode({'target': target})}")
    if group and group != target:
        yield Link(text="Other runs of its group", url=f"/runs?{urlencode({'group': group})}")
    name = "asg" if target and target == group else "instance_id"
    if target:
        held = urlencode({"matchers": equal_matchers({name: target})})
        yield Link(text="Hold this target", url=f"/controls?{held}#new")
    if group and group != target:
        held = urlencode({"matchers": equal_matchers({"asg": group})})
        yield Link(text="Hold its group", url=f"/controls?{held}#new")
    if labels["alertname"]:
        same = urlencode({"alertname": labels["alertname"]})
        yield Link(text="Other runs of this alert", url=f"/runs?{same}")


def _prometheus(run: Mapping[str, Any], labels: Mapping[str, str], url: str) -> Iterator[Link]:
    exprs = {
        "Alert": None if run["asked"] else f"ALERTS{{{equal_matchers(labels)}}}",
        "Metrics": (run["evidence"] or {}).get("query"),
        "Recovery": run["plan"] and run["plan"]["verify"]["expr"],
    }
    for name, expr in exprs.items():
        if expr:
            yield Link(
                text=f"{name} in Prometheus", url=graph_url(url, expr, _at(run)), outside=True
            )


def _at(run: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(run["decided_at"] or run["received_at"]).timestamp()


def graph_url(url: str, expr: str, at: float) -> str:
    """Prometheus' graph of the hour around a time; Prometheus 3 forwards `/graph` to `/query`."""
    end = datetime.fromtimestamp(at + _MINUTES_AFTER_S, UTC)
    query = {
        "g0.expr": expr,
        "g0.tab": "0",
        "g0.range_input": _RANGE,
        "g0.end_input": f"{end:%Y-%m-%d %H:%M:%S}",
    }
    return f"{url.rstrip('/')}/graph?{urlencode(query)}"


def _alertmanager(labels: Mapping[str, str], url: str) -> Iterator[Link]:
    matchers = quote(f"{{{equal_matchers(labels)}}}", safe="")
    base = url.rstrip("/")
    yield Link(text="Alert in Alertmanager", url=f"{base}/#/alerts?filter={matchers}", outside=True)
    new = f"{base}/#/silences/new?filter={matchers}"
    yield Link(text="Silence in Alertmanager", url=new, outside=True)


def _grafana(run: Mapping[str, Any], url: HttpUrl | None) -> Iterator[Link]:
    """The dashboard, for an hour around the decision; `from` and `to` are epoch milliseconds."""
    if url is None:
        return
    at, labels = _at(run), run["alert"]["labels"]
    values = defaultdict(str, {name: quote(value, safe="") for name, value in labels.items()})
    values |= {"instance_id": values["instance_id"] or quote(run["target"] or "", safe="")}
    start, end = (round((at + side * _MINUTES_AFTER_S) * 1000) for side in (-1, 1))
    page = Template(str(url)).safe_substitute(values)
    page += f"{'&' if '?' in page else '?'}{urlencode({'from': start, 'to': end})}"
    yield Link(text="Dashboard in Grafana", url=page, outside=True)


def _aws(run: Mapping[str, Any]) -> Iterator[Link]:
    region = run["region"] or run["alert"]["labels"].get("region", "")
    region = region if region.replace("-", "").isalnum() else ""
    host = f"https://{region}.{_AWS}" if region else f"https://{_AWS}"
    of_region = f"?region={region}" if region else ""
    if INSTANCE_ID.fullmatch(run["target"] or ""):
        page = f"/ec2/home{of_region}#InstanceDetails:instanceId={run['target']}"
        yield Link(text="Instance in AWS", url=host + page, outside=True)
    if run["group"]:
        name = quote(run["group"], safe="")
        page = f"/ec2/home{of_region}#AutoScalingGroupDetails:id={name};view=details"
        yield Link(text="Group in AWS", url=host + page, outside=True)
    for step in run["steps"]:
        if command := step["made"].get("command_id"):
            page = f"/systems-manager/run-command/{quote(str(command), safe='')}{of_region}"
            yield Link(text="Command in AWS", url=host + page, outside=True)


def _annotated(annotations: Mapping[str, str]) -> Iterator[Link]:
    for name, text in _ANNOTATIONS.items():
        url = annotations.get(name, "")
        try:
            parts = urlsplit(url)
        except ValueError:
            continue
        if parts.scheme in {"http", "https"} and parts.hostname:
            yield Link(text=f"{text} at {parts.hostname}", url=url, outside=True)
