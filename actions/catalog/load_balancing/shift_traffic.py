"""Change how a load balancer's rule shares its traffic among target groups, by their weights.

The weights name exactly the target groups that the rule forwards to; the rest of the rule
is not changed. At least one weight is not zero.

```yaml
- action: shift_traffic
  params:
    rule: arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/web/1a/2b/3c
    weights:
      arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/blue/73e2d6bc24d8a067: 100
      arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/green/9f1c2d3e4f5a6b7c: 0
  when: group.one_version
```
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from actions.aws.target_errors import NotActionableError
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Params,
    TargetKind,
    Undo,
)
from actions.catalog.load_balancing._registration import TargetGroupArn

if TYPE_CHECKING:
    from types_boto3_elbv2.type_defs import ActionOutputTypeDef


def _not_all_zero(weights: dict[str, int]) -> dict[str, int]:
    if not any(weights.values()):
        raise ValueError("at least one weight must not be zero")
    return weights


class ShiftTrafficParams(Params):
    rule: Annotated[
        str,
        StringConstraints(
            pattern=r"^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:listener-rule/[\w/-]+$"
        ),
    ]
    weights: Annotated[
        dict[TargetGroupArn, Annotated[int, Field(ge=0, le=999)]],
        Field(min_length=2, max_length=5),
        AfterValidator(_not_all_zero),
    ]


class ShiftTraffic(Action):
    name = "shift_traffic"
    target = TargetKind.GROUP
    impact = Impact.REVERSIBLE
    idempotent = True
    permissions = (
        "elasticloadbalancing:DescribeRules",
        "elasticloadbalancing:ModifyRule",
    )
    params = ShiftTrafficParams
    undone_by = "shift_traffic"

    def observe(self, call: Call) -> Observation:
        weights, wanted = _weights(_forward(call)), call.params["weights"]
        if weights.keys() != wanted.keys():
            raise NotActionableError(
                f"rule {call.params['rule']} forwards to other target groups "
                "than those of `weights`"
            )
        return Observation(already=weights == wanted, before={"weights": weights})

    def act(self, call: Call) -> Mapping[str, Any]:
        wanted = call.params["weights"]
        actions = []
        for action in _actions(call):
            if action["Type"] == "forward":
                config = action.get("ForwardConfig", {})
                groups = [
                    {**group, "Weight": wanted[group.get("TargetGroupArn", "")]}
                    for group in config.get("TargetGroups", [])
                ]
                changed = {**action, "ForwardConfig": {**config, "TargetGroups": groups}}
                # AWS refuses a TargetGroupArn next to a ForwardConfig of several groups.
                changed.pop("TargetGroupArn", None)
                actions.append(changed)
            else:
                actions.append(_writable(action))
        call.aws.elbv2.modify_rule(RuleArn=call.params["rule"], Actions=actions)  # type: ignore[arg-type] # in the form that AWS returned
        return {}

    def read_back(self, call: Call) -> CallResult:
        weights = _weights(_forward(call))
        if weights == call.params["weights"]:
            return CallResult(Outcome.CHANGED)
        return CallResult(Outcome.FAILED if weights == call.before["weights"] else Outcome.UNKNOWN)

    def undo(self, call: Call) -> Undo | None:
        params = {"rule": call.params["rule"], "weights": call.before["weights"]}
        return Undo(self.name, params)

    def unchanged_since(self, call: Call) -> bool:
        return bool(_weights(_forward(call)) == call.params["weights"])


def _actions(call: Call) -> "list[ActionOutputTypeDef]":
    rules = call.aws.elbv2.describe_rules(RuleArns=[call.params["rule"]]).get("Rules", [])
    if len(rules) != 1:
        raise NotActionableError(f"rule {call.params['rule']} does not exist")
    return rules[0].get("Actions", [])


def _writable(action: "ActionOutputTypeDef") -> dict[str, Any]:
    """Convert an action of the rule from the form AWS returns to the form AWS takes."""
    written: dict[str, Any] = dict(action)
    if "AuthenticateOidcConfig" in written:
        # AWS never returns the client secret, and refuses the rule without this flag.
        written["AuthenticateOidcConfig"] |= {"UseExistingClientSecret": True}
    return written


def _forward(call: Call) -> "ActionOutputTypeDef":
    forwards = [action for action in _actions(call) if action["Type"] == "forward"]
    if len(forwards) != 1:
        raise NotActionableError(
            f"rule {call.params['rule']} needs exactly one forward action, and has {len(forwards)}"
        )
    return forwards[0]


def _weights(forward: "ActionOutputTypeDef") -> dict[str, int]:
    groups = forward.get("ForwardConfig", {}).get("TargetGroups", [])
    return {group.get("TargetGroupArn", ""): group.get("Weight", 1) for group in groups}
