"""Page people through a topic of SNS. Told twice is better than not at all.

```yaml
escalate:
  - action: page
    params:
      topic: arn:aws:sns:eu-west-1:123456789012:oncall
      message: "$instance_id did not recover"
```
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import StringConstraints

from actions.base import Action, Call, CallResult, Impact, Observation, Outcome, Params, TargetKind


class Page(Params):
    topic: Annotated[
        str,
        StringConstraints(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$"),
    ]
    message: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class PagePeople(Action):
    name: ClassVar[str] = "page"
    target: ClassVar[TargetKind] = TargetKind.ANY
    impact: ClassVar[Impact] = Impact.HARMLESS
    idempotent: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = ("sns:Publish",)
    params: ClassVar[type[Params]] = Page

    def observe(self, call: Call) -> Observation:
        del call
        return Observation(already=False, before={})

    def act(self, call: Call) -> Mapping[str, Any]:
        run_id = call.token.partition("/")[0]
        answer = call.aws.sns.publish(
            TopicArn=call.params["topic"],
            Subject=f"SmartCloudOps: {call.target}"[:100],
            Message=f"{call.params['message']}\nTarget {call.target}, run {run_id}",
        )
        return {"message_id": answer["MessageId"]}

    def read_back(self, call: Call) -> CallResult:
        del call
        return CallResult(Outcome.UNKNOWN)
