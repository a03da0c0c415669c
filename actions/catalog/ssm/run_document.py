"""Run a document of Systems Manager on one instance: clean a disk, clear a cache.

Only documents whose name begins with `SmartCloudOps-` are run: that prefix is the allow-list, here
and in the policy. `deploy/ssm/` has some; name your own alike. A document gets each parameter as a
document parameter, never as part of a command line, and a `Token` that names the step, by which it
guards itself against running twice.

```yaml
- action: run_document
  params:
    document: SmartCloudOps-CleanDisk
    parameters: {Path: /var/log}
```
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from actions.base import Action, Call, CallResult, Impact, Observation, Params, Progress, TargetKind
from actions.catalog.ssm import commands


class Document(Params):
    document: Annotated[str, StringConstraints(pattern=r"^SmartCloudOps-[A-Za-z0-9_.-]{1,100}$")]
    parameters: Annotated[
        dict[
            Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9]{0,63}$")],
            Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_@%+=:,./ -]{0,200}$")],
        ],
        Field(max_length=20),
    ] = Field(default_factory=dict)


class RunDocument(Action):
    name: ClassVar[str] = "run_document"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.DISRUPTIVE
    idempotent: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = commands.PERMISSIONS
    params: ClassVar[type[Params]] = Document

    def observe(self, call: Call) -> Observation:
        return commands.observe(call)

    def act(self, call: Call) -> Mapping[str, Any]:
        given = {**call.params.get("parameters", {}), "Token": call.token}
        return commands.send(call, call.params["document"], given)

    def read_back(self, call: Call) -> CallResult:
        return commands.read_back(call)

    def progress(self, call: Call) -> Progress:
        return commands.progress(call)
