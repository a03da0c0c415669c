"""Read-only tools of the assistant: runs, their evidence, and the alerts that playbooks match.

Each result is redacted and limited in size. It contains untrusted alert text, which does no harm
because no tool changes anything.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from actions.execution import kill_switch, ledger
from receiver.chat.parts import Parts
from receiver.runs import store
from receiver.runs.model import Run, State
from receiver.runs.queries import search
from receiver.runs.queries.search import RunFilter
from receiver.runs.views import run_view
from receiver.runtime.redaction import Redaction
from receiver.runtime.rfc3339 import rfc3339

_RESULT_CHARS_MOST = 8 * 1024
_Name = Annotated[str, StringConstraints(max_length=255)]
_RunId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{26}$")]


class ListRuns(BaseModel):
    """The latest runs, newest first: id, state, target, playbook and outcome."""

    model_config = ConfigDict(extra="forbid")

    state: State | None = None
    target: _Name | None = Field(default=None, description="an instance id or a group's name")
    playbook: _Name | None = None
    limit: Annotated[int, Field(ge=1, le=20)] = 10


class GetRun(BaseModel):
    """One run: the alert, the verdict, every gate with its result, the plan, the steps."""

    model_config = ConfigDict(extra="forbid")

    run_id: _RunId


class GetEvidence(BaseModel):
    """Metrics of a run's target at the decision: first, last, lowest and highest value by role."""

    model_config = ConfigDict(extra="forbid")

    run_id: _RunId


class Coverage(BaseModel):
    """Which alerts have a playbook, each playbook's mode, and whether the service is paused."""

    model_config = ConfigDict(extra="forbid")


_TOOLS: Mapping[str, type[BaseModel]] = {
    "list_runs": ListRuns,
    "get_run": GetRun,
    "get_evidence": GetEvidence,
    "coverage": Coverage,
}


def tool_schemas() -> Sequence[Mapping[str, Any]]:
    """The tools in the format of the API."""
    return [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": (model.__doc__ or "").strip(),
                "parameters": model.model_json_schema(),
            },
        }
        for name, model in _TOOLS.items()
    ]


@dataclass
class Tools:
    """The tools for one question; `run_ids` are the runs that they have read."""

    parts: Parts
    redact: Redaction
    run_ids: set[str] = field(default_factory=set)

    def call(self, name: str, arguments: str) -> str:
        """The result as JSON: for an invalid call an object with `error`."""
        model = _TOOLS.get(name)
        if model is None:
            return json.dumps({"error": "unknown tool"})
        try:
            request = model.model_validate_json(arguments or "{}")
        except ValidationError:
            return json.dumps({"error": "invalid arguments"})
        data = json.dumps({"data": self._read(request)}, ensure_ascii=False)
        text = self.redact(data)
        if len(text) <= _RESULT_CHARS_MOST:
            return text
        return f"{text[:_RESULT_CHARS_MOST]}... (cut)"

    def _read(self, request: BaseModel) -> Any:
        match request:
            case ListRuns():
                return self._runs(request)
            case GetRun():
                return self._run(request.run_id)
            case GetEvidence():
                return self._evidence(request.run_id)
            case _:
                return self._coverage()

    def _runs(self, request: ListRuns) -> list[dict[str, Any]]:
        with self.parts.database.read() as connection:
            runs = search.list_runs(
                connection, RunFilter(**request.model_dump(exclude={"limit"})), limit=request.limit
            )
        self.run_ids |= {run.id for run in runs}
        return [_short(run) for run in runs]

    def _run(self, run_id: str) -> dict[str, Any]:
        with self.parts.database.read() as connection:
            run = store.get(connection, run_id.upper())
            steps = ledger.intents_by_run(connection, [run_id.upper()])
        if run is None:
            return {"error": "there is no such run"}
        self.run_ids.add(run.id)
        view = run_view(run, steps.get(run.id, ()))
        for key in ("digest", "rates", "bounds", "basis", "must_be_free"):
            (view["plan"] or {}).pop(key, None)
        return view

    def _evidence(self, run_id: str) -> dict[str, Any]:
        with self.parts.database.read() as connection:
            run = store.get(connection, run_id.upper())
        if run is None or run.evidence is None:
            return {"error": "there is no such run, or it has no evidence"}
        self.run_ids.add(run.id)
        roles = {
            role: {
                "first": values[0],
                "last": values[-1],
                "lowest": min(values),
                "highest": max(values),
            }
            for role, points in run.evidence["recent"].items()
            if (values := [value for _, value in points])
        }
        return {
            "at": rfc3339(run.evidence["at"]),
            "roles": roles,
            "problems": run.evidence["problems"],
        }

    def _coverage(self) -> dict[str, Any]:
        with self.parts.database.read() as connection:
            state = kill_switch.read_switch(connection)
        playbooks = [
            {
                "playbook": playbook.name,
                "alerts": [str(matcher) for matcher in playbook.match],
                "mode": str(playbook.mode),
                "steps": [step.action for step in playbook.steps],
            }
            for playbook in self.parts.playbooks.items
        ]
        paused = None if state is None else state.paused
        mode = str(self.parts.settings.mode)
        return {"paused": paused, "mode": mode, "playbooks": playbooks}


def _short(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "state": str(run.state),
        "refusal": run.refusal,
        "outcome": run.outcome,
        "alertname": run.labels.get("alertname"),
        "target": run.target,
        "group": run.group_name,
        "playbook": run.playbook,
        "received_at": rfc3339(run.received_at),
        "ended_at": rfc3339(run.ended_at),
    }
