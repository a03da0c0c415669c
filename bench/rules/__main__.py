"""`make bench-rules RULES=FOLDER`: holds public rule sets against the shipped playbooks.

Each file of the folder is a rule set: a rule file, or a PrometheusRule of prometheus-operator. A
real Prometheus, with the past of broken hosts, evaluates each rule as it is, apart from its `for`;
an emulated AWS has the hosts. `build/rules.json` gets a row for each set, each way in which shops
name their hosts, and each scrape interval.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

from actions.aws.instances import read_instance
from actions.place import HOME
from bench.rules.broken_host import BrokenHost
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import Group
from demo.stack import tools
from demo.stack.processes import Processes, without_aws
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.targets import mapping
from receiver.evidence.targets.mapping import InstanceLabel
from receiver.evidence.targets.resolver import TargetResolver
from receiver.evidence.targets.rules import TargetRules
from receiver.playbooks.loader import Playbooks, load

_ROOT = Path(__file__).parents[2]
_OUT = Path("build/rules.json")
_SCRAPES_S = (15, 30)
# The instance's label as shops write it, for one broken host each.
_NAMED = ("address", "dns_name", "id", "tag")
_HOSTS = [f"i-{number:017x}" for number in range(8)]
_TAG = "web-{}"
_WITHIN_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Rule:
    name: str
    expr: str
    labels: Mapping[str, str]


def read_rules(path: Path) -> Sequence[Rule]:
    """The alerting rules of a file."""
    whole: Any = YAML(typ="safe").load(path)
    return [
        Rule(
            name=rule["alert"],
            expr=str(rule["expr"]),
            labels={name: str(text) for name, text in (rule.get("labels") or {}).items()},
        )
        for group in whole.get("spec", whole)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]


@dataclass(frozen=True, kw_only=True)
class Shop:
    """The hosts, by the way in which their label names them."""

    targets: TargetResolver
    labels: Mapping[str, str]
    ids: Mapping[str, str]

    @classmethod
    def make(cls) -> "Shop":
        aws = Emulator(Core(time.time))
        aws.world.add_group(Group("web", 1, 12, len(_HOSTS)), _HOSTS, 0.0)
        for number, host in enumerate(_HOSTS):
            aws.world.instances[host].tags["Name"] = _TAG.format(number)
        reads = AwsReaders(aws_at=lambda _: clients(aws), pool=ThreadPoolExecutor(1), trail=False)
        ids = dict(zip(_NAMED, _HOSTS, strict=False))
        addressed, named = (
            read_instance(reads.at(HOME).aws, ids[way]) for way in ("address", "dns_name")
        )
        private = min(name for name in named.names if name.endswith(".internal"))
        labels = {
            "address": f"{min(addressed.addresses)}:9100",
            "dns_name": f"{private}:9100",
            "id": ids["id"],
            "tag": _TAG.format(_NAMED.index("tag")),
        }
        shipped = mapping.load(None)
        readings = ["id", "address", "dns_name", "tag:Name"]
        tagged = InstanceLabel.model_validate({"label": "instance", "as": readings})
        own = shipped.model_copy(update={"instances": [tagged]})
        return cls(
            targets=TargetResolver(aws=reads, rules=TargetRules(own)), labels=labels, ids=ids
        )


def measure(folder: Path, scrapes_s: Sequence[int] = _SCRAPES_S) -> list[dict[str, Any]]:
    """A row for each set, naming and interval."""
    sets = {path.stem: read_rules(path) for path in sorted(folder.glob("*.y*ml"))}
    playbooks, shop = load(_ROOT / "playbooks"), Shop.make()
    rows: list[dict[str, Any]] = []
    for scrape_s in scrapes_s:
        with tempfile.TemporaryDirectory() as temporary, Processes(Path(temporary)) as processes:
            end = float(int(time.time()) // scrape_s * scrape_s)
            url = _serve(processes, Path(temporary), shop, end, scrape_s)
            with Prometheus(url, timeout_s=30.0) as prometheus:
                for name, rules in sets.items():
                    fired = [(rule, _firing(prometheus, rule, end)) for rule in rules]
                    for way in _NAMED:
                        row = _row(rules, fired, shop, playbooks, way)
                        rows.append({"set": name, "instance_as": way, "scrape_s": scrape_s, **row})
    return rows


def _serve(processes: Processes, folder: Path, shop: Shop, end: float, scrape_s: float) -> str:
    """A Prometheus that has the broken hosts' past. Returns its URL."""
    text, data = folder / "past.txt", folder / "data"
    with text.open("w") as file:
        for instance in shop.labels.values():
            for line in BrokenHost(instance=instance).lines(end, scrape_s):
                file.write(f"{line}\n")
        file.write("# EOF\n")
    command = (tools.find("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--quiet")
    processes.run("past", [*command, text, data], timeout_s=_WITHIN_S)
    config = folder / "prometheus.yml"
    config.write_text("global: {}\n")

    def serve(port: int) -> Sequence[str | Path]:
        return (
            tools.find("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address=127.0.0.1:{port}",
        )

    _, url = processes.start_on_port("prometheus", serve, ready="/-/ready", env=without_aws())
    return url


def _firing(prometheus: Prometheus, rule: Rule, at: float) -> list[dict[str, str]]:
    """The labels of the alerts that the rule has now; none where it cannot be evaluated."""
    try:
        samples = prometheus.instant_query(rule.expr, at=at)
    except PrometheusError:
        return []
    own = {"alertname": rule.name, **rule.labels}
    return [
        {**{k: v for k, v in sample.labels.items() if k != "__name__"}, **own} for sample in samples
    ]


def _row(
    rules: Sequence[Rule],
    fired: Sequence[tuple[Rule, Sequence[Mapping[str, str]]]],
    shop: Shop,
    playbooks: Playbooks,
    way: str,
) -> dict[str, Any]:
    """Counts of rules; one is right if each of its alerts about the host finds this host."""
    counts = dict.fromkeys(("fired", "right_target", "wrong_target", "no_target"), 0)
    covered = set()
    for rule, alerts in fired:
        about = [alert for alert in alerts if alert.get("instance") == shop.labels[way]]
        if not about:
            continue
        found = {shop.targets.resolve(alert, ask=True).id for alert in about}
        counts["fired"] += 1
        counts["right_target"] += found == {shop.ids[way]}
        counts["no_target"] += None in found
        counts["wrong_target"] += bool(found - {None, shop.ids[way]})
        if any(playbooks.matching(alert) for alert in about):
            covered.add(rule.name)
    names = sorted({rule.name for rule in rules})
    return {**counts, "with_playbook": len(covered), "names": names}


def as_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| set | names | `instance` as | scrape | fired | right | wrong | none | with playbook |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        yield (
            f"| {row['set']} | {len(row['names'])} | {row['instance_as']} | {row['scrape_s']} s |"
            f" {row['fired']} | {row['right_target']} | {row['wrong_target']} |"
            f" {row['no_target']} | {row['with_playbook']} |"
        )


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Measure the rule sets of FOLDER."""
    rows = measure(folder)
    if not rows:
        raise click.ClickException(f"{folder} has no rule file")
    _OUT.parent.mkdir(exist_ok=True)
    _OUT.write_text(json.dumps(rows, indent=2) + "\n")
    click.echo("\n".join(as_table(rows)))
    wrong = sum(row["wrong_target"] for row in rows)
    if wrong:
        raise click.ClickException(f"{wrong} rules find a wrong target")


if __name__ == "__main__":
    main()
