"""The readings of a label's value as the name of an instance."""

import ipaddress
import re
from dataclasses import dataclass

# At the end of a value, so also in an ARN, and in Kubernetes' "aws:///us-east-1a/i-…".
_ID = re.compile(r"(?:^|/)(i-(?:[0-9a-f]{17}|[0-9a-f]{8}))(?:\.[a-z0-9.-]+)?$")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")
_HOST_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62})(?:\.[a-z0-9](?:[a-z0-9-]{0,62}))+")
# A host's own name, without the domain: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/
_IP_NAME = re.compile(r"ip-(\d{1,3}-\d{1,3}-\d{1,3}-\d{1,3})")
# How public names end in each partition of AWS.
_PUBLIC = (
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".amazonaws.eu",
    ".c2s.ic.gov",
    ".cloud.adc-e.uk",
    ".csp.hci.ic.gov",
    ".sc2s.sgov.gov",
)
_TAG = "tag:"


@dataclass(frozen=True, kw_only=True)
class Name:
    """A name of an instance: EC2's filter, and the value to look for; an id has no filter.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
    """

    filter: str
    value: str


def read_name(value: str, reading: str) -> Name | None:
    """The name that the value is in this reading (`id`, `address`, `dns_name`, `tag:KEY`)."""
    match reading:
        case "id":
            found = _ID.search(host_of(value) or value)
            return Name(filter="", value=found[1]) if found else None
        case "address":
            return _address(host_of(value))
        case "dns_name":
            return _dns_name(host_of(value).lower().rstrip("."))
    return Name(filter=reading, value=host_of(value)) if host_of(value) else None


def host_of(value: str) -> str:
    """The host in a scrape target or a URL ("10.0.1.7:9100", "https://[fd00::1]/health")."""
    if scheme := _SCHEME.match(value):
        value = value[scheme.end() :].split("/", maxsplit=1)[0].rpartition("@")[2]
    if value.startswith("["):
        return value[1:].partition("]")[0]
    host, colon, port = value.rpartition(":")
    return host if colon and port.isdecimal() and ":" not in host else value


def _address(host: str) -> Name | None:
    """Only the primary address counts: a further one may be a pod's, which is not the instance."""
    if name := _IP_NAME.fullmatch(host):
        host = name[1].replace("-", ".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.is_loopback or address.is_link_local or address.is_unspecified:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return Name(filter="network-interface.ipv6-addresses.ipv6-address", value=str(address))
    return Name(filter="ip-address" if address.is_global else "private-ip-address", value=host)


def _dns_name(host: str) -> Name | None:
    if not _HOST_NAME.fullmatch(host) or host.rpartition(".")[2].isdecimal():
        return None
    return Name(filter="dns-name" if host.endswith(_PUBLIC) else "private-dns-name", value=host)
