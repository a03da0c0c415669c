"""The emulated AWS and its fleet, on one port: `python -m demo.aws.server --port 0 --seed 7`.

Next to the AWS API it serves `/_sim/calls`, `/_sim/faults`, `/_sim/fleet`, `/_sim/fleet/faults`,
`/_sim/metrics/INSTANCE` and `/_sim/history`. When it is ready it prints one line of JSON with its
`url`.
"""

import argparse
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import click
from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.faults import DroppedError, InjectedFault
from demo.aws.hardness import CALM, Timings, harsh
from demo.fleet.faults import FaultError
from demo.fleet.fleet import Fleet
from demo.machines.fleet import MachineFleet


class FleetFault(BaseModel):
    model_config = ConfigDict(extra="forbid")

    target: str
    fault: str


class FleetRepair(BaseModel):
    """The body of a repair; without a `target`, the faults of every target are removed."""

    model_config = ConfigDict(extra="forbid")

    target: str | None = None


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_: object) -> None:
        """The emulator logs calls."""


@dataclass
class Simulation:
    """The WSGI application: the simulation's own API under /_sim/, AWS under every other path."""

    aws: Emulator
    fleet: Fleet | MachineFleet

    def begin(self, now: float) -> None:
        """Start the fleet, with its past."""
        self.fleet.begin(now)
        # CloudTrail must not show the calls that created the fleet.
        self.aws.trail_from = now

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        request = Request(environ)
        if not request.path.startswith("/_sim/"):
            try:
                return self.aws(environ, start_response)
            except DroppedError:
                return _drop_connection(environ, start_response)
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
        parts = request.path.removeprefix("/_sim/").split("/")
        match (request.method, parts):
            case "GET", _:
                return self._read(request, parts)
            case "POST", ["faults"]:
                self.aws.faults.inject(InjectedFault.model_validate_json(request.get_data()))
            case "DELETE", ["faults"]:
                self.aws.faults.heal()
            case "POST", ["fleet", "faults"]:
                fault = FleetFault.model_validate_json(request.get_data())
                self.fleet.inject(fault.target, fault.fault)
            case "DELETE", ["fleet", "faults"]:
                self.fleet.repair(
                    FleetRepair.model_validate_json(request.get_data() or b"{}").target
                )
            case _:
                return _json({"error": f"no such path: {request.path}"}, 404)
        return _json({})

    def _read(self, request: Request, parts: list[str]) -> Response:
        since = request.args.get("since", 0.0, type=float)
        match parts:
            case ["calls"]:
                return Response(self.aws.log_lines(since), content_type="application/jsonl")
            case ["fleet"]:
                return _json({"items": self.fleet.truth()})
            case ["requests"] if isinstance(self.fleet, MachineFleet):
                until = request.args.get("until", time.time(), type=float)
                return _json(self.fleet.requests(since, until))
            case ["metrics", instance_id]:
                return _metrics(self.fleet.metrics(instance_id))
            case ["history"]:
                return Response(self.fleet.history(), content_type="application/openmetrics-text")
        return _json({"error": f"no such path: {request.path}"}, 404)


def _metrics(text: str | None) -> Response:
    if text is None:
        return _json({"error": "no such instance"}, 404)
    if not text:
        return _json({"error": "the instance does not answer"}, 503)
    return Response(text, content_type="text/plain; version=0.0.4")


def _drop_connection(
    environ: Mapping[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """Close the connection without an answer; the client gets nothing that is written later."""
    with suppress(OSError):
        environ["werkzeug.socket"].shutdown(2)
    start_response("500 Dropped", [("Content-Length", "0"), ("Connection", "close")])
    return []


def _refused(message: str) -> Response:
    return _json({"error": message}, 400)


def _json(body: object, status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--seed", type=int, default=7, help="of the hosts' characters")
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster hosts boot")
    parser.add_argument(
        "--harsh", action="store_true", help="heal, throttle, lag and refuse, by the seed"
    )
    parser.add_argument(
        "--machines",
        nargs="+",
        default=[],
        metavar="GROUP=SIZE",
        help="real machines in these groups, in place of the simulation",
    )
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    core = Core(
        time.time,
        Timings().faster(options.speed),
        harsh(options.seed) if options.harsh else CALM,
        seed=options.seed,
    )
    aws = Emulator(core, on_call=lambda _: fleet.tick())
    fleet: Fleet | MachineFleet
    if options.machines:
        sizes = {name: int(size) for name, _, size in (g.partition("=") for g in options.machines)}
        fleet = MachineFleet(aws=aws, seed=options.seed, sizes=sizes)
    else:
        fleet = Fleet(aws=aws, seed=options.seed, speed=options.speed)
    simulation = Simulation(aws, fleet)
    server = make_server(
        "127.0.0.1", options.port, simulation, threaded=True, request_handler=_Quiet
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.port}"

    def announce() -> None:
        simulation.begin(time.time())
        # The parent process reads it.
        click.echo(json.dumps({"url": url}))

    if isinstance(fleet, MachineFleet):
        # The main thread starts the machines, because they end with the thread that does.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        threading.Thread(target=announce, daemon=True).start()
        fleet.serve()
    else:
        announce()
        fleet.run()


if __name__ == "__main__":
    main()
