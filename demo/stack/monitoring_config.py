"""The configuration of Prometheus and Alertmanager on loopback, made from the shipped files.

Only addresses, secrets and, for tests, timings differ from the shipped files. Prometheus finds its
targets by EC2 service discovery at the emulated AWS, which serves the instances' metrics as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML

_ROOT = Path(__file__).parents[2]
_PROMETHEUS = _ROOT / "deploy/prometheus.yml"
_ALERTMANAGER = _ROOT / "alertmanager/alertmanager.yml"
_RULES = _ROOT / "prometheus_rules"


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Durations as Prometheus writes them; None keeps the value of the shipped files.

    `hold` is the `for` of every alert, `group_interval` the interval of the route to the receiver.
    """

    scrape: str | None = None
    evaluation: str | None = None
    hold: str | None = None
    group_interval: str | None = None
    # Shorter than shipped, so that a launched instance is discovered as soon as it runs.
    discovery: str = "5s"


AS_SHIPPED = Timings()
FAST = Timings(scrape="1s", evaluation="1s", hold="1s", group_interval="1s", discovery="1s")


@dataclass(frozen=True, kw_only=True)
class Connections:
    """Base URLs of the other parts, and the file with the webhook's token.

    The token's file must exist before the first alert. With `viewer_token_file`, the scores of
    watched hosts are scraped, too. `replicas` are further receivers, `proxy` is
    the load balancer before all receivers.
    """

    aws: str
    receiver: str
    token_file: Path
    viewer_token_file: Path | None = None
    replicas: Sequence[str] = ()
    proxy: str | None = None


def prometheus_config(
    connections: Connections,
    timings: Timings,
    *,
    rules: Path,
    alertmanagers: Sequence[str],
    port: int,
) -> dict[str, Any]:
    """deploy/prometheus.yml on loopback; `rules` is a folder, `alertmanagers` are URLs."""
    config = _load(_PROMETHEUS)
    if timings.scrape:
        config["global"] |= {"scrape_interval": timings.scrape, "scrape_timeout": timings.scrape}
    if timings.evaluation:
        config["global"]["evaluation_interval"] = timings.evaluation
    config["rule_files"] = [f"{rules}/*.yml"]
    servers = {
        "smartcloudops": [_address(url) for url in (connections.receiver, *connections.replicas)],
        "alertmanager": [_address(url) for url in alertmanagers],
        "prometheus": [f"127.0.0.1:{port}"],
    }
    (alerting,) = config["alerting"]["alertmanagers"]
    _set_addresses(alerting, servers["alertmanager"])
    for job in config["scrape_configs"]:
        if job["job_name"] == "node":
            discover(job, connections.aws, timings.discovery)
        else:
            _set_addresses(job, servers[job["job_name"]])
    if connections.viewer_token_file is not None:
        config["scrape_configs"].append(
            {
                "job_name": "smartcloudops-watch",
                "metrics_path": "/metrics/watch",
                "honor_labels": True,
                "authorization": {
                    "credentials_file": str(connections.viewer_token_file.absolute())
                },
                "static_configs": [{"targets": servers["smartcloudops"]}],
            }
        )
    return config


def _set_addresses(targets: dict[str, Any], addresses: Sequence[str]) -> None:
    """Replace host names by addresses, because no DNS on loopback resolves them."""
    targets.pop("dns_sd_configs", None)
    targets["static_configs"] = [{"targets": list(addresses)}]


def discover(job: dict[str, Any], aws: str, every: str) -> None:
    """A scrape job that discovers instances at the emulated EC2; exporters are paths there."""
    job["ec2_sd_configs"][0] |= {
        "endpoint": aws,
        "access_key": "emulated",
        "secret_key": "emulated",
        "refresh_interval": every,
    }
    job["relabel_configs"] += [
        {
            "source_labels": ["__meta_ec2_instance_id"],
            "target_label": "__metrics_path__",
            "replacement": "/_sim/metrics/$1",
        },
        # The default of `instance`, which the replaced address would change.
        {
            "source_labels": ["__meta_ec2_private_ip"],
            "target_label": "instance",
            "replacement": "$1:9100",
        },
        {"target_label": "__address__", "replacement": _address(aws)},
    ]


def alertmanager_config(connections: Connections, timings: Timings) -> dict[str, Any]:
    """alertmanager/alertmanager.yml with the receiver's URL and token, and no other recipients."""
    config = _load(_ALERTMANAGER)
    receivers = {receiver["name"]: receiver for receiver in config["receivers"]}
    (webhook,) = receivers["smartcloudops"]["webhook_configs"]
    path = urlsplit(webhook["url"]).path
    webhook["url"] = (connections.proxy or connections.receiver) + path
    webhook["http_config"]["authorization"]["credentials_file"] = str(
        connections.token_file.absolute()
    )
    receivers["people"].pop("slack_configs")
    receivers["heartbeat"].pop("webhook_configs")
    for route in config["route"]["routes"]:
        if route["receiver"] == "smartcloudops" and timings.group_interval:
            route["group_interval"] = timings.group_interval
    return config


def rule_files(timings: Timings) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of each file of prometheus_rules/."""
    for path in sorted(_RULES.glob("*.yml")):
        config = _load(path)
        for group in config["groups"]:
            if timings.evaluation:
                group["interval"] = timings.evaluation
            for rule in group["rules"]:
                if "for" in rule and timings.hold:
                    rule["for"] = timings.hold
        yield path.name, config


def write(path: Path, config: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    YAML(typ="safe").dump(config, path)


def _load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(path)
    return loaded


def _address(url: str) -> str:
    """Host and port of a URL."""
    return urlsplit(url).netloc
