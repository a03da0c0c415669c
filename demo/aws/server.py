"""The emulated AWS and its fleet, on one port: `python -m demo.aws.server --port 0 --seed 7`.

Beside the AWS API it serves `/_sim/calls`, `/_sim/faults`, `/_sim/fleet`, `/_sim/fleet/faults`,
`/_sim/metrics/INSTANCE` and `/_sim/history`. Once it is ready it prints one line of JSON with its
`url`.
"""

import argparse
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from demo.aws.gate import Call, Gate, InjectedFault
from demo.aws.instance_refresh import Refreshes
from demo.aws.registry import Registry
from demo.aws.ssm import Commands
from demo.fleet import history
from demo.fleet.faults import FaultError
from demo.fleet.fleet import Fleet


class FleetFault(BaseModel):
    model_config = ConfigDict(extra="forbid")

    target: str
    fault: str


class Mending(BaseModel):
    """No target is every target."""

    model_config = ConfigDict(extra="forbid")

    target: str | None = None


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_: object) -> None:
        """Calls have their own log."""


@dataclass
class Simulation:
    """The WSGI application: ours under /_sim/, AWS everywhere else."""

    gate: Gate
    fleet: Fleet
    _past: history.Past = field(default_factory=dict, init=False)
    _began: float = field(default=0.0, init=False)

    def begin(self, now: float) -> None:
        """Start the fleet with its past."""
        self._past, self._began = self.fleet.begin(now), now
        # What set the stage is long ago, as far as anybody can tell.
        self.gate.trail_from = now

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        request = Request(environ)
        if not request.path.startswith("/_sim/"):
            return self.gate(environ, start_response)
        try:
            response = self._sim(request)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            response = _refused(f"{where}: {first['msg']}")
        except FaultError as error:
            response = _refused(str(error))
        return response(environ, start_response)

    def _sim(self, request: Request) -> Response:
        match (request.method, request.path.removeprefix("/_sim/").split("/")):
            case "GET", ["calls"]:
                since = request.args.get("since", 0.0, type=float)
                return Response(self.gate.log(since), content_type="application/jsonl")
            case "POST", ["faults"]:
                self.gate.inject(InjectedFault.model_validate_json(request.get_data()))
            case "DELETE", ["faults"]:
                self.gate.heal()
            case "GET", ["fleet"]:
                return _json({"items": self.fleet.truth()})
            case "POST", ["fleet", "faults"]:
                asked = FleetFault.model_validate_json(request.get_data())
                self.fleet.break_(asked.target, asked.fault)
            case "DELETE", ["fleet", "faults"]:
                self.fleet.mend(Mending.model_validate_json(request.get_data() or b"{}").target)
            case "GET", ["metrics", instance_id]:
                return _metrics(self.fleet.metrics(instance_id))
            case "GET", ["history"]:
                there = [one for one in self.fleet.hosts() if one.instance_id in self._past]
                text = history.openmetrics(there, self._past, self._began)
                return Response(text, content_type="application/openmetrics-text")
            case _:
                return _json({"error": "there is nothing here"}, 404)
        return _json({})


def _metrics(text: str | None) -> Response:
    if text is None:
        return _json({"error": "there is no such instance"}, 404)
    if not text:
        return _json({"error": "the instance does not answer"}, 503)
    return Response(text, content_type="text/plain; version=0.0.4")


def _refused(message: str) -> Response:
    return _json({"error": message}, 400)


def _json(body: object, status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=7, help="of the hosts' characters")
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster hosts boot")
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    registry = Registry(speed=options.speed)
    fleet = Fleet(registry=registry, seed=options.seed, speed=options.speed)

    def called(call: Call) -> None:
        if call.operation == "RebootInstances":
            fleet.rebooted([v for k, v in call.parameters.items() if k.startswith("InstanceId")])
        elif not call.operation.startswith("Describe"):
            fleet.tick()

    gate = Gate(
        DomainDispatcherApplication(create_backend_app),
        called,
        Refreshes(options.speed),
        Commands(fleet.command, fleet.listens, options.speed),
        fleet.target_health,
    )
    simulation = Simulation(gate, fleet)
    server = make_server(
        "127.0.0.1", options.port, simulation, threaded=True, request_handler=_Quiet
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.port}"
    registry.create(url)
    simulation.begin(time.time())
    threading.Thread(target=fleet.run, daemon=True).start()
    print(json.dumps({"url": url}), flush=True)  # noqa: T201 the parent reads it
    threading.Event().wait()


if __name__ == "__main__":
    main()
