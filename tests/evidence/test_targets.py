"""Which instance an alert means, by any name that shops give it, and never one of elsewhere."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.loaders import Loader

from actions.base import TargetKind
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import ACCOUNT, REGION, VPC, AwsError, Group
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.target import Target
from receiver.evidence.targets import mapping
from receiver.evidence.targets.mapping import InvalidTargetsError
from receiver.evidence.targets.readings import Name, read_name
from receiver.evidence.targets.resolver import TargetResolver
from receiver.evidence.targets.rules import TargetRules
from tests.conftest import Clock

_HOSTS = [f"i-{number:017x}" for number in range(4)]
_ID, _ADDRESS, _DNS = _HOSTS[1], "10.0.0.2", "ip-10-0-0-2.ec2.internal"
_WEB = Target(id=_ID, kind=TargetKind.INSTANCE, group="web")


@pytest.fixture
def aws(clock: Clock) -> Emulator:
    aws = Emulator(Core(clock))
    aws.world.add_group(Group("web", 1, 8, 4), _HOSTS, 0.0)
    aws.world.instances[_ID].tags["Name"] = "web-7"
    return aws


@pytest.fixture
def resolver(aws: Emulator) -> Iterator[TargetResolver]:
    with ThreadPoolExecutor(2) as pool:
        reader = AwsReaders(aws_at=lambda _: clients(aws), pool=pool, trail=False)
        yield TargetResolver(aws=reader, rules=TargetRules(mapping.load(None)))


def _with_mapping(resolver: TargetResolver, tmp_path: Path, text: str) -> TargetResolver:
    file = tmp_path / "targets.yaml"
    file.write_text(text)
    return TargetResolver(aws=resolver.aws, rules=TargetRules(mapping.load(file)))


@pytest.mark.parametrize(
    "labels",
    [
        {"instance_id": _ID},
        {"ec2_instance_id": _ID},
        {"instanceId": _ID},
        {"aws_instance_id": _ID},
        {"host_id": _ID, "host_name": "web-7"},
        {"k8s_node_name": _DNS, "instance": "10.0.0.1:10250"},
        {"dimension_InstanceId": _ID, "instance": "cloudwatch-exporter:9106"},
        {"instance": _ID},
        {"instance": f"{_ID}:9100"},
        {"instance": f"{_ID}.ec2.internal:9100"},
        {"provider_id": f"aws:///us-east-1a/{_ID}"},
        {"instance_id": f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/{_ID}"},
        {"instance": f"{_ADDRESS}:9100"},
        {"instance": _ADDRESS},
        {"instance": f"http://{_ADDRESS}:8080/health"},
        {"instance": f"{_DNS}:9100"},
        {"instance": f"https://{_DNS}/metrics"},
        {"node": _DNS, "instance": "10.0.0.1:8080"},
        {"node": "ip-10-0-0-2"},
        {"private_ip": _ADDRESS},
        {"exported_instance": f"{_ADDRESS}:9100", "instance": "10.0.0.1:9090"},
        {"instance_id": "unknown", "instance": f"{_ADDRESS}:9100"},
        {"instance": _ADDRESS, "region": REGION, "az": "us-east-1b", "account": ACCOUNT},
        {"instance": _ADDRESS, "vpc_id": VPC, "dc": "us-east-1b", "datacenter": "us-east-1"},
        {"instance": _ADDRESS, "asg": "web"},
        {
            "instance": _ADDRESS,
            "cloud_provider": "aws",
            "cloud_region": REGION,
            "zone": "us-east-1b",
        },
    ],
    ids=lambda labels: ",".join(f"{name}={value}" for name, value in labels.items()),
)
def test_the_instance_is_found_by_any_usual_name(
    resolver: TargetResolver, labels: dict[str, str]
) -> None:
    """Its group comes from AWS where no label names it."""
    assert resolver.resolve(labels, ask=True) == _WEB


@pytest.mark.parametrize(
    ("dimension", "named"),
    [
        ({"dimension_AutoScalingGroupName": "web"}, "web"),
        ({"dimension_LoadBalancer": "app/web/50dc6c495c0c9188"}, None),
        ({"dimension_DBInstanceIdentifier": "orders"}, None),
    ],
    ids=["a group", "a balancer", "a database"],
)
def test_a_metric_of_cloudwatch_is_not_about_its_exporter(
    resolver: TargetResolver, dimension: dict[str, str], named: str | None
) -> None:
    """Its host is in `instance`: it must not be rebooted for what it only measures."""
    labels = {**dimension, "instance": f"{_ADDRESS}:5000", "region": REGION}
    target = resolver.resolve(labels, ask=True)
    assert (target.id, target.group) == (named, named)


@pytest.mark.parametrize(
    "label",
    [
        {"region": "eu-west-1"},
        {"aws_region": "emea"},
        {"az": "us-east-1a"},
        {"account_id": "9" * 12},
        {"vpc": "vpc-b"},
        {"datacenter": "cellar"},
        {"site": "cellar"},
        {"zone": "eu-west-1a"},
        {"topology_kubernetes_io_zone": "eu-west-1a"},
        {"cloud_account_id": "9" * 12},
        {"subnet_id": "subnet-9"},
        {"provider": "hetzner"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", [_ADDRESS, _DNS])
def test_a_name_of_elsewhere_is_no_target(
    resolver: TargetResolver, name: str, label: dict[str, str]
) -> None:
    """Neither ours of that name, nor the group that the alert names."""
    target = resolver.resolve({"instance": f"{name}:9100", "asg": "web", **label}, ask=True)
    ((where, value),) = label.items()
    assert target.id is None
    assert target.doubt.endswith(f"{name} is of {_ID}, which is elsewhere than {where}={value}")


@pytest.mark.parametrize(
    "labels",
    [
        {"instance": "10.0.0.99:9100", "asg": "web"},
        {"instance": "web-7.example.com:9100"},
        {"instance": "203.0.114.7:9100"},
        {"instance": "ec2-203-0-114-7.compute-1.amazonaws.com"},
        {"instance": "[fd00::7]:9100"},
        {"node": "ip-10-0-0-99.ec2.internal", "instance": f"{_ADDRESS}:8080"},
    ],
    ids=str,
)
def test_a_name_that_aws_does_not_know_is_no_target(
    resolver: TargetResolver, labels: dict[str, str]
) -> None:
    """The alert names a host: it is not about the group, nor about the next label's host."""
    target = resolver.resolve(labels, ask=True)
    assert target.id is None
    assert "AWS knows no live instance" in target.doubt


@pytest.mark.parametrize(
    "instance",
    ["localhost:9100", "127.0.0.1:9100", "169.254.169.254", "web-7", "10.0.0.4.5", "*"],
)
def test_what_names_no_instance_is_not_asked_for(
    resolver: TargetResolver, aws: Emulator, instance: str
) -> None:
    """Nor is a wildcard a name of all."""
    aws.trouble = lambda operation, _: pytest.fail(operation)
    assert resolver.resolve({"instance": instance}, ask=True) == Target()
    assert resolver.resolve({"instance": instance, "asg": "web"}, ask=True).id == "web"


def test_two_instances_of_one_address_are_none_unless_their_place_tells(
    resolver: TargetResolver, aws: Emulator
) -> None:
    """The same address in several VPCs."""
    aws.world.instances[_HOSTS[0]].address = _ADDRESS
    labels = {"instance": f"{_ADDRESS}:9100"}
    target = resolver.resolve(labels, ask=True)
    assert (target.id, target.doubt) == (
        None,
        f"2 instances have the private-ip-address {_ADDRESS}",
    )
    assert resolver.resolve({**labels, "az": "us-east-1b"}, ask=True) == _WEB


def test_without_leave_to_ask_only_an_id_is_a_target(
    resolver: TargetResolver, aws: Emulator
) -> None:
    """No playbook takes the alert."""
    aws.trouble = lambda operation, _: pytest.fail(operation)
    assert resolver.resolve({"instance": _ADDRESS, "asg": "web"}, ask=False) == Target()
    assert resolver.resolve({"instance": _ID}, ask=False).id == _ID


def test_no_answer_of_aws_is_unknown(resolver: TargetResolver, aws: Emulator) -> None:
    """It may be asked again."""

    def trouble(*_: str) -> None:
        raise AwsError("RequestLimitExceeded", status=503)

    aws.trouble = trouble
    assert resolver.resolve({"instance": _DNS}, ask=True) == Target(
        unread="DescribeInstances: RequestLimitExceeded"
    )


_OWN = """
instances:
  - {label: host, as: [dns_name, "tag:Name"]}
groups: [autoscaling_group]
where:
  - label: cluster
    places:
      blue: {region: us-east-1, az: us-east-1b}
      green: {region: eu-west-1}
"""


def test_a_tag_and_a_name_of_ones_own_for_a_place(
    resolver: TargetResolver, tmp_path: Path, aws: Emulator
) -> None:
    """An external label of each Prometheus tells the place; a label that is not listed, nothing."""
    own = _with_mapping(resolver, tmp_path, _OWN)
    labels = {"host": "web-7", "autoscaling_group": "web", "region": "elsewhere"}
    assert own.resolve(labels, ask=True) == _WEB
    assert own.resolve({**labels, "cluster": "blue"}, ask=True) == _WEB
    assert own.resolve({**labels, "cluster": "green"}, ask=True).id is None
    assert own.resolve({**labels, "cluster": "red"}, ask=True).id is None
    assert own.resolve({"instance_id": _ID}, ask=True) == Target()
    aws.world.instances[_HOSTS[2]].tags["Name"] = "web-7"
    assert own.resolve(labels, ask=True).id is None
    assert own.resolve({"host": "web-*"}, ask=True).id is None


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("where: []\n", ":1: instances: Field required"),
        ("instances:\n  - {label: a, as: [name]}\n", ":2: "),
        ("instances:\n  - {label: a, as: []}\n", ":2: "),
        ("instances:\n  - {label: a, as: [id]}\nwhere:\n  - {label: b}\n", ":4: "),
        ("instances:\n  - {label: a, as: [id]}\nwhere:\n  - {label: b, is: [rack]}\n", ":4: "),
        ("instances:\n  - {label: a, as: [id]}\nhosts: []\n", ":3: hosts: Extra inputs"),
        ("- a\n", ":1: the file is not a mapping"),
    ],
)
def test_a_faulty_file_is_refused_with_its_lines(tmp_path: Path, text: str, finding: str) -> None:
    """Nothing of it counts."""
    file = tmp_path / "targets.yaml"
    file.write_text(text)
    with pytest.raises(InvalidTargetsError) as caught:
        mapping.load(file)
    assert f"{file}{finding}" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://user:secret@ec2-203-0-114-7.compute-1.amazonaws.com:443/x", "dns-name"),
        ("IP-10-0-0-4.EC2.Internal.", "private-dns-name"),
        ("http://[fd00::7]:9100/metrics", None),
    ],
)
def test_a_dns_name_is_read_as_ec2_has_it(value: str, expected: str | None) -> None:
    """In lower case, without port, path and password."""
    name = read_name(value, "dns_name")
    assert (name.filter if name else None) == expected
    assert name is None or "secret" not in name.value
    assert read_name("203.0.114.7:80", "address") == Name(filter="ip-address", value="203.0.114.7")


def test_a_public_name_is_one_in_every_partition() -> None:
    """By botocore's table, which grows with an SDK."""
    for partition in Loader().load_data("partitions")["partitions"]:
        name = f"ec2-203-0-114-7.a-region-1.compute.{partition['outputs']['dnsSuffix']}"
        assert read_name(name, "dns_name") == Name(filter="dns-name", value=name)
