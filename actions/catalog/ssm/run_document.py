"""Run a document of Systems Manager on one instance: clean a disk, clear a cache.

Only documents whose name begins with `SmartCloudOps-` are run: that prefix is the allow-list, here
and in the IAM policy. `deploy/ssm/` has examples; give your own documents the same prefix. A
document gets each parameter as a document parameter, never as part of a command line; a list is a
StringList. Its parameter `Token` names the step, so that the document can refuse to run twice.
Instances with another system than Linux are refused. Their group notices nothing but what the
document does to the service.

```yaml
- action: run_document
  params:
    document: SmartCloudOps-CleanDisk
    parameters: {Path: /var/log}
```
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from actions.base import Call, Params
from actions.catalog.ssm._commands import SendsCommand, send

_Text = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_@%+=:,./ -]{0,200}$")]


class RunDocumentParams(Params):
    document: Annotated[str, StringConstraints(pattern=r"^SmartCloudOps-[A-Za-z0-9_.-]{1,100}$")]
    parameters: Annotated[
        dict[
            Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9]{0,63}$")],
            _Text | Annotated[list[_Text], Field(min_length=1, max_length=20)],
        ],
        Field(max_length=20),
    ] = Field(default_factory=dict)


class RunDocument(SendsCommand):
    name = "run_document"
    params = RunDocumentParams

    def act(self, call: Call) -> Mapping[str, Any]:
        parameters = {**call.params.get("parameters", {}), "Token": call.token}
        return send(call, call.params["document"], parameters)
