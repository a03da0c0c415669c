"""EC2's discovery, one instance's exporter and the receiver's webhook, on one loopback port."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

INSTANCE = "i-0123456789abcdef0"
_DISCOVERED = f"""<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item>
<reservationId>r-1</reservationId><ownerId>123456789012</ownerId><instancesSet><item>
<instanceId>{INSTANCE}</instanceId><imageId>ami-1</imageId><instanceType>t3.small</instanceType>
<instanceState><code>16</code><name>running</name></instanceState>
<privateDnsName>ip-10-0-0-7.ec2.internal</privateDnsName>
<privateIpAddress>10.0.0.7</privateIpAddress><subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId>
<placement><availabilityZone>us-east-1b</availabilityZone></placement>
<networkInterfaceSet/>
<tagSet><item><key>aws:autoscaling:groupName</key><value>web-asg</value></item></tagSet>
</item></instancesSet></item></reservationSet></DescribeInstancesResponse>"""
_ZONES = """<?xml version="1.0" encoding="UTF-8"?>
<DescribeAvailabilityZonesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
<availabilityZoneInfo><item><zoneName>us-east-1b</zoneName><zoneId>use1-az2</zoneId>
<regionName>us-east-1</regionName></item></availabilityZoneInfo>
</DescribeAvailabilityZonesResponse>"""


@dataclass
class FakeWorld:
    """What the chain sees and does: `busy` is the instance's CPU, `posts` what the webhook got."""

    busy: float = 0.3
    reachable: bool = True
    url: str = ""
    posts: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    _idle: float = 1000.0
    _at: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def metrics(self) -> str:
        with self._lock:
            now = time.monotonic()
            self._idle += (now - self._at) * (1 - self.busy)
            self._at = now
            return f'node_cpu_seconds_total{{cpu="0",mode="idle"}} {self._idle}\nnode_load1 0.5\n'

    def alerts(self, status: str) -> list[dict[str, Any]]:
        return [
            alert for post in self.posts for alert in post["alerts"] if alert["status"] == status
        ]


class _Handler(BaseHTTPRequestHandler):
    world: FakeWorld

    def do_GET(self) -> None:
        if self.path == f"/_sim/metrics/{INSTANCE}" and self.world.reachable:
            self._answer(200, self.world.metrics(), "text/plain; version=0.0.4")
        else:
            self._answer(503, "", "text/plain")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/webhook/alertmanager":
            self.world.arrivals.append(time.monotonic())
            self.world.authorizations.append(self.headers.get("Authorization"))
            self.world.posts.append(json.loads(body))
            self._answer(200, "{}", "application/json")
        else:
            zones = b"DescribeAvailabilityZones" in body
            self._answer(200, _ZONES if zones else _DISCOVERED, "text/xml")

    def _answer(self, status: int, text: str, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def fake_world() -> Iterator[FakeWorld]:
    world = FakeWorld()
    handler = type("Handler", (_Handler,), {"world": world})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        world.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield world
        finally:
            server.shutdown()
            thread.join()
