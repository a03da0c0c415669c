"""The alerts of public rule sets, and why no playbook is right for some of them."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

_FILE = Path(__file__).with_suffix(".yaml")


class Reason(BaseModel):
    """Why these alerts are for people."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    why: str
    alerts: Annotated[Sequence[str], Field(min_length=1)]


class PublicAlerts(BaseModel):
    """`sets` are names of alerts by the rule set that has them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sets: Mapping[str, Sequence[str]]
    reasons: Sequence[Reason]


@cache
def public_alerts() -> PublicAlerts:
    return PublicAlerts.model_validate(YAML(typ="safe").load(_FILE))


@cache
def _whys() -> Mapping[str, str]:
    return {name: reason.why for reason in public_alerts().reasons for name in reason.alerts}


def why_no_playbook(alertname: str) -> str:
    """Why people alone are told of a public alert; empty for any other."""
    return _whys().get(alertname, "")
