"""The health of a load balancer's targets, derived from the simulated hosts."""

from collections.abc import Mapping
from xml.sax.saxutils import escape

_NAMESPACE = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"


def target_health(states: Mapping[str, str]) -> str:
    """The answer to DescribeTargetHealth, as XML; `states` by instance id."""
    members = "".join(
        f"<member><Target><Id>{escape(instance_id)}</Id><Port>8080</Port></Target>"
        f"<TargetHealth><State>{state}</State></TargetHealth></member>"
        for instance_id, state in states.items()
    )
    return (
        f'<DescribeTargetHealthResponse xmlns="{_NAMESPACE}"><DescribeTargetHealthResult>'
        f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>"
        "</DescribeTargetHealthResult></DescribeTargetHealthResponse>"
    )
