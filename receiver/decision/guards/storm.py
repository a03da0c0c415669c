"""Guards for a storm: if a whole group alerts, the service acts on no single instance."""

from actions.reasons import Reason
from actions.refusal import Refusal
from receiver.decision.guards.base import GuardInput
from receiver.decision.ladder import (
    changes_instance,
    chosen_plan,
    refuse_storm,
    remaining_steps,
)


def require_step_beyond_instances(inputs: GuardInput) -> str | Refusal:
    r"""In a storm, some remaining step must act on the group; checked before the verdict.

    ## storm

    At least three instances, and at least a fifth of the group, alert at once, so no single
    instance is the cause. Steps on the whole group are still allowed, and one at a time also on an
    instance whose host EC2 reports as failed, or will retire.

    ```console
    $ curl -G $P/api/v1/query \
        --data-urlencode \
        'query=count by (asg, alertname) (ALERTS{alertstate="firing"})' \
        | jq '.data.result[] | {metric, value}'
    ```

    **Do:** find what the instances share: a release, a zone, a database, the network.
    **To lift it:** nothing to do: the storm ends five minutes after fewer instances alert.
    """
    storm = inputs.storm
    if storm is None:
        detail = "the number of alerting instances is unknown"
        return Refusal(Reason.STATE_UNKNOWN, detail)
    if storm and all(changes_instance(step) for step in remaining_steps(inputs)):
        return refuse_storm(inputs)
    return "storm: no step on a single instance" if storm else "no storm"


def require_step_off_instances(inputs: GuardInput) -> str | Refusal:
    """In a storm, the chosen step must not act on a single instance."""
    if inputs.storm and changes_instance(chosen_plan(inputs).step):
        return refuse_storm(inputs)
    return "no step on a single instance in a storm"
