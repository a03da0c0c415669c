"""How Alertmanager's configuration fits: the receivers, their token, and how often they repeat.

Source: Prometheus, Alertmanager configuration (defaults of a route; `<secret>` in place of a URL).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from receiver.durations import parse_duration
from receiver.webhook.senders import ALERTMANAGER_PATH

_DEFAULTS = {"group_interval": "5m", "repeat_interval": "4h"}
_SECRET = "<secret>"  # noqa: S105 what Alertmanager shows in place of one


@dataclass(frozen=True, kw_only=True)
class WebhookReceiver:
    """A receiver that may deliver to this service; `silence_s` is its longest wait for a repeat.

    `sure` if its URL says so, and not only hides it.
    """

    name: str
    sure: bool
    faults: Sequence[str]
    silence_s: float


def read_receivers(original: str) -> Sequence[WebhookReceiver]:
    """The receivers of a configuration. Raises ValueError if it is unreadable."""
    try:
        config = YAML(typ="safe", pure=True).load(original)
        waits = _waits(config["route"], _DEFAULTS)
        silences: dict[str, float] = {}
        for name, seconds in waits:
            silences[name] = max(seconds, silences.get(name, 0.0))
        receivers = [
            receiver for raw in config["receivers"] for receiver in _receivers(raw, silences)
        ]
    except (YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"Alertmanager's configuration: {type(error).__name__}") from None
    return [receiver for receiver in receivers if receiver.sure] or receivers


def _waits(route: Mapping[str, Any], inherited: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """The receiver of each route, and the seconds until a repeat is sure to have come."""
    own = {**inherited, **{name: route[name] for name in (*_DEFAULTS, "receiver") if name in route}}
    yield own["receiver"], sum(parse_duration(own[name]) for name in _DEFAULTS)
    for child in route.get("routes", ()):
        yield from _waits(child, own)


def _receivers(raw: Mapping[str, Any], silences: Mapping[str, float]) -> Iterator[WebhookReceiver]:
    name = raw["name"]
    for webhook in raw.get("webhook_configs", ()):
        url = str(webhook.get("url", _SECRET))
        if ALERTMANAGER_PATH not in url and url != _SECRET:
            continue
        yield WebhookReceiver(
            name=name,
            sure=url != _SECRET,
            faults=list(_faults(name, webhook, silences)),
            silence_s=silences.get(name, 0.0),
        )


def _faults(name: str, webhook: Mapping[str, Any], silences: Mapping[str, float]) -> Iterator[str]:
    http = webhook.get("http_config") or {}
    if name not in silences:
        yield "no route leads to it"
    if not {"authorization", "basic_auth", "bearer_token", "bearer_token_file"} & http.keys():
        yield "it sends no token (http_config.authorization)"
    if not webhook.get("send_resolved", True):
        yield "send_resolved is false: an alert that is over is not told"
    if webhook.get("max_alerts"):
        yield f"max_alerts is {webhook['max_alerts']}: the rest of a larger group comes late"
