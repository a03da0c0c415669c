"""How a shop scrapes and labels its hosts: each incident happens in one that the seed draws."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from demo.fleet.workload import Host, Moments

# Ours, public rule sets', and Prometheus' examples': its default is a minute.
_INTERVALS_S = (5.0, 15.0, 30.0)


class Naming(StrEnum):
    """Which labels say who a host is.

    `own` are those of the shipped configuration. The others are what Prometheus' discovery of EC2
    writes to `instance` by default, and what people write there:
    https://prometheus.io/docs/prometheus/latest/configuration/configuration/#ec2_sd_config
    """

    OWN = "own"
    ADDRESS = "address"
    DNS_NAME = "DNS name"
    ID = "id"


@dataclass(frozen=True, kw_only=True)
class Shop:
    """The interval between scrapes, when in it they happen (both in seconds), and the labels."""

    interval_s: float
    offset_s: float
    naming: Naming

    def labels(self, host: Host) -> Mapping[str, str]:
        """The labels of a host's series."""
        job = {"job": "node"}
        match self.naming:
            case Naming.OWN:
                place = {"asg": host.group, "az": host.az, "region": "us-east-1"}
                instance = {"instance": f"{host.address}:9100", "instance_id": host.instance_id}
                return job | instance | place
            case Naming.ADDRESS:
                return job | {"instance": f"{host.address}:9100"}
            case Naming.DNS_NAME:
                name = f"ip-{host.address.replace('.', '-')}.ec2.internal"
                return job | {"instance": f"{name}:9100", "availability_zone": host.az}
            case Naming.ID:
                return job | {"instance": host.instance_id}

    def selectors(self, host: Host) -> str:
        return ",".join(f'{name}="{value}"' for name, value in self.labels(host).items())

    def scrapes(self, at: float) -> bool:
        """Whether a scrape happens at this moment."""
        return (at - self.offset_s) % self.interval_s == 0

    def scraped(self, at: Moments) -> NDArray[np.bool_]:
        """Which of the moments have a scrape: the first one of each interval."""
        turn = np.floor((at - self.offset_s) / self.interval_s)
        return np.diff(turn, prepend=turn[0] - 1) > 0


def draw_shop(chance: random.Random) -> Shop:
    """A shop, any as likely as another."""
    interval_s = chance.choice(_INTERVALS_S)
    offset_s = chance.randrange(0, int(interval_s), 5)
    return Shop(interval_s=interval_s, offset_s=offset_s, naming=chance.choice([*Naming]))
