"""Page people through a topic of SNS.

A call without an answer is repeated: two pages are better than none.

```yaml
escalate:
  - action: page
    params:
      topic: arn:aws:sns:eu-west-1:123456789012:oncall
      message: "$instance_id did not recover"
```
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import StringConstraints

from actions.base import Call, Params
from actions.catalog.people._unobservable import Unobservable, text_of, title_of


class PageParams(Params):
    topic: Annotated[
        str,
        StringConstraints(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$"),
    ]
    message: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class PagePeople(Unobservable):
    name = "page"
    idempotent = True
    permissions = ("sns:Publish",)
    params = PageParams

    def act(self, call: Call) -> Mapping[str, Any]:
        answer = call.aws.sns.publish(
            TopicArn=call.params["topic"],
            Subject=title_of(call)[:100],
            Message=text_of(call),
        )
        return {"message_id": answer["MessageId"]}
