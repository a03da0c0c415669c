"""The fleet's accounts as an emulated AWS over HTTP, which counts its calls.

Besides AWS it serves `/_sim/counts`, calls by operation with the refused ones as `throttled`, and
`/_sim/acts?since=`, what changed something: time and target. It prints its `url` when it is ready.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import click
from werkzeug import Request, Response

from bench.scale.fleet import EXTERNAL_ID, FleetSpec, role_arn
from bench.scale.wsgi import serve_kept_alive
from demo.aws.hardness import Hardness
from demo.aws.organization import Organization, Role
from demo.aws.world import Group, zones_of

_KEY = "emulated"
_LAUNCHED_S = 30 * 86_400
_THROTTLED = 503


@dataclass(frozen=True)
class CountingAws:
    """The WSGI application."""

    organization: Organization

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        match request.path:
            case "/_sim/counts":
                response = _json(self._counts())
            case "/_sim/acts":
                response = _json(self._acts(request.args.get("since", 0.0, type=float)))
            case _:
                return self.organization(environ, start_response)
        return response(environ, start_response)

    def _counts(self) -> Mapping[str, int]:
        counts = Counter({"AssumeRole": len(self.organization.assumed)})
        for emulator in self.organization.regions.values():
            counts.update(call.operation for call in list(emulator.log))
            counts["throttled"] += emulator.throttles
        return counts

    def _acts(self, since: float) -> list[list[object]]:
        return sorted(
            [call.time, call.target, call.operation]
            for emulator in self.organization.regions.values()
            for call in list(emulator.calls)
            if call.time >= since
        )


def _json(body: object) -> Response:
    return Response(json.dumps(body), content_type="application/json")


def organization_of(spec: FleetSpec, now: float) -> Organization:
    """The fleet, whose instances run for a month, with EC2's own limits for calls."""
    hub = spec.account_ids[0]
    organization = Organization(
        time.time, keys={_KEY: hub}, hardness=Hardness(documented_limits=True)
    )
    for account in spec.account_ids:
        arn = role_arn(account)
        organization.roles[arn] = Role(arn, {hub}, EXTERNAL_ID)
    for place in spec.places:
        organization.add(place.account, place.region).trail_from = now
    for group in spec.groups:
        world = organization.regions[group.place.account, group.place.region].world
        size = len(group.ids)
        made = Group(group.name, size // 2, 2 * size, size, zones=zones_of(group.place.region))
        world.add_group(made, group.ids, now - _LAUNCHED_S)
    return organization


def main() -> None:
    port = serve_kept_alive(CountingAws(organization_of(FleetSpec.parse(), time.time())))
    # The parent process reads it.
    click.echo(json.dumps({"url": f"http://127.0.0.1:{port}"}))
    threading.Event().wait()


if __name__ == "__main__":
    main()
