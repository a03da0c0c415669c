"""Change how a load balancer's rule shares its traffic among target groups, by their weights.

The weights name exactly the target groups that the rule forwards to; everything else of the rule
stays as it is. At least one weight is not zero.

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
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, StringConstraints

from actions.aws.inventory import NotActionableError
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
from actions.catalog.load_balancing.registration import Arn

if TYPE_CHECKING:
    from types_boto3_elbv2.type_defs import ActionOutputTypeDef


def _some(weights: dict[str, int]) -> dict[str, int]:
    if not any(weights.values()):
        raise ValueError("at least one weight must not be zero")
    return weights


class Weights(Params):
    rule: Annotated[
        str,
        StringConstraints(
            pattern=r"^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:listener-rule/[\w/-]+$"
        ),
    ]
    weights: Annotated[
        dict[Arn, Annotated[int, Field(ge=0, le=999)]],
        Field(min_length=2, max_length=5),
        AfterValidator(_some),
    ]


class ShiftTraffic(Action):
    name: ClassVar[str] = "shift_traffic"
    target: ClassVar[TargetKind] = TargetKind.GROUP
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    idempotent: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = (
        "elasticloadbalancing:DescribeRules",
        "elasticloadbalancing:ModifyRule",
    )
    params: ClassVar[type[Params]] = Weights
    undone_by: ClassVar[str | None] = "shift_traffic"

    def observe(self, call: Call) -> Observation:
        now, wanted = _weights(_forward(call)), call.params["weights"]
        if now.keys() != wanted.keys():
            raise NotActionableError("the rule forwards to other target groups than are weighted")
        return Observation(already=now == wanted, before={"weights": now})

    def act(self, call: Call) -> Mapping[str, Any]:
        wanted = call.params["weights"]
        actions = []
        for one in _actions(call):
            if one["Type"] == "forward":
                config = one.get("ForwardConfig", {})
                groups = [
                    {**group, "Weight": wanted[group.get("TargetGroupArn", "")]}
                    for group in config.get("TargetGroups", [])
                ]
                changed = {**one, "ForwardConfig": {**config, "TargetGroups": groups}}
                # Beside a ForwardConfig of several groups AWS takes no single one.
                changed.pop("TargetGroupArn", None)
                actions.append(changed)
            else:
                actions.append(_kept(one))
        call.aws.elbv2.modify_rule(RuleArn=call.params["rule"], Actions=actions)  # type: ignore[arg-type] # as it was read
        return {}

    def read_back(self, call: Call) -> CallResult:
        now = _weights(_forward(call))
        if now == call.params["weights"]:
            return CallResult(Outcome.CHANGED)
        return CallResult(Outcome.FAILED if now == call.before["weights"] else Outcome.UNKNOWN)

    def undo(self, call: Call) -> Undo | None:
        params = {"rule": call.params["rule"], "weights": call.before["weights"]}
        return Undo(self.name, params)

    def unchanged_since(self, call: Call) -> bool:
        return bool(_weights(_forward(call)) == call.params["weights"])


def _actions(call: Call) -> "list[ActionOutputTypeDef]":
    found = call.aws.elbv2.describe_rules(RuleArns=[call.params["rule"]]).get("Rules", [])
    if len(found) != 1:
        raise NotActionableError("there is no such rule")
    return found[0].get("Actions", [])


def _kept(one: "ActionOutputTypeDef") -> dict[str, Any]:
    """An action as it was read, in the form in which it is written."""
    kept: dict[str, Any] = dict(one)
    if "AuthenticateOidcConfig" in kept:
        # Its client secret is never read back; without this the rule would be refused.
        kept["AuthenticateOidcConfig"] |= {"UseExistingClientSecret": True}
    return kept


def _forward(call: Call) -> "ActionOutputTypeDef":
    found = [one for one in _actions(call) if one["Type"] == "forward"]
    if len(found) != 1:
        raise NotActionableError("the rule does not forward to target groups")
    return found[0]


def _weights(forward: "ActionOutputTypeDef") -> dict[str, int]:
    groups = forward.get("ForwardConfig", {}).get("TargetGroups", [])
    return {one.get("TargetGroupArn", ""): one.get("Weight", 1) for one in groups}
