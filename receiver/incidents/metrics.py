"""Metrics of incidents."""

from prometheus_client import CollectorRegistry, Counter

from receiver.metrics import start_at_zero

CHANNELS = ("slack", "pagerduty", "jira", "cloudevents")


class IncidentMetrics:
    """Posts to channels, and their outcomes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.posts = Counter(
            "smartcloudops_incident_posts",
            "Posts of incidents to a channel, by outcome",
            ["channel", "outcome"],
            registry=registry,
        )
        start_at_zero(self.posts, CHANNELS, ("shown", "failed"))
