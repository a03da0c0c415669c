"""What a model may look at: runs, their evidence, and what the playbooks cover. It only reads.

Each answer is redacted and cut to size. Alert text is in it: it is told apart as data, and since
there is no tool that does anything, nothing that it says can be done.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from actions.execution import kill_switch, ledger
from receiver.runs import store
from receiver.runs.model import Run, State
from receiver.runs.views import story
from receiver.runtime.redaction import Redaction
from receiver.runtime.rfc3339 import rfc3339
from receiver.system import System

_MOST = 8 * 1024
_Name = Annotated[str, StringConstraints(max_length=255)]
_RunId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{26}$")]


class ListRuns(BaseModel):
    """The latest runs, newest first: id, state, target, playbook and how each ended."""

    model_config = ConfigDict(extra="forbid")

    state: State | None = None
    target: _Name | None = Field(default=None, description="an instance id or a group's name")
    playbook: _Name | None = None
    limit: Annotated[int, Field(ge=1, le=20)] = 10


class GetRun(BaseModel):
    """One run: the alert, the verdict, every gate with its answer, the plan, the steps."""

    model_config = ConfigDict(extra="forbid")

    run_id: _RunId


class GetEvidence(BaseModel):
    """What the metrics of a run's target showed: first, last, lowest and highest by role."""

    model_config = ConfigDict(extra="forbid")

    run_id: _RunId


class Coverage(BaseModel):
    """Which alerts have a playbook, how far each may go, and whether the service is paused."""

    model_config = ConfigDict(extra="forbid")


_TOOLS: Mapping[str, type[BaseModel]] = {
    "list_runs": ListRuns,
    "get_run": GetRun,
    "get_evidence": GetEvidence,
    "coverage": Coverage,
}


def described() -> Sequence[Mapping[str, Any]]:
    """The tools as the API wants them."""
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
    """For one question; `seen` are the ids of the runs that were looked at."""

    system: System
    redact: Redaction
    seen: set[str] = field(default_factory=set)

    def call(self, name: str, arguments: str) -> str:
        """What a tool answers, as JSON; an error is an answer, too."""
        model = _TOOLS.get(name)
        if model is None:
            return json.dumps({"error": "there is no such tool"})
        try:
            asked = model.model_validate_json(arguments or "{}")
        except ValidationError:
            return json.dumps({"error": "these arguments cannot be used"})
        said = self.redact(json.dumps({"data": self._answer(asked)}, ensure_ascii=False))
        return said if len(said) <= _MOST else f"{said[:_MOST]}... (cut)"

    def _answer(self, asked: BaseModel) -> Any:
        match asked:
            case ListRuns():
                return self._runs(asked)
            case GetRun():
                return self._run(asked.run_id)
            case GetEvidence():
                return self._evidence(asked.run_id)
            case _:
                return self._coverage()

    def _runs(self, asked: ListRuns) -> list[dict[str, Any]]:
        with self.system.database.read() as connection:
            found = store.page(connection, **asked.model_dump())
        self.seen |= {run.id for run in found}
        return [_short(run) for run in found]

    def _run(self, run_id: str) -> dict[str, Any]:
        with self.system.database.read() as connection:
            run = store.get(connection, run_id.upper())
            steps = ledger.intents_by_run(connection, [run_id.upper()])
        if run is None:
            return {"error": "there is no such run"}
        self.seen.add(run.id)
        told = story(run, steps.get(run.id, ()))
        for left in ("digest", "limits", "basis", "beside"):
            (told["plan"] or {}).pop(left, None)
        return told

    def _evidence(self, run_id: str) -> dict[str, Any]:
        with self.system.database.read() as connection:
            run = store.get(connection, run_id.upper())
        if run is None or run.evidence is None:
            return {"error": "there is no evidence of such a run"}
        self.seen.add(run.id)
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
        with self.system.database.read() as connection:
            state = kill_switch.read_switch(connection)
        playbooks = [
            {
                "playbook": one.name,
                "alerts": [str(matcher) for matcher in one.match],
                "mode": str(one.mode),
                "steps": [step.action for step in one.steps],
            }
            for one in self.system.playbooks.items
        ]
        paused = None if state is None else state.paused
        mode = str(self.system.settings.mode)
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
