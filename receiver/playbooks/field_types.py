"""The types of a playbook's fields: durations, percentages, matchers, conditions, action names."""

import difflib
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from actions.base import Impact
from actions.catalog.registry import CATALOG
from receiver.durations import parse_duration
from receiver.playbooks.choices import check_choices
from receiver.playbooks.conditions import Condition, condition
from receiver.playbooks.matchers import Matcher, parse
from receiver.playbooks.placeholders import check_own_values, check_placeholders

_PERCENT = re.compile(r"(\d{1,2}|100)%")
# A longer duration is a mistake, and a later time could not be represented.
_LONGEST_S = 31 * 86_400.0


def _to_seconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _to_percent(value: object) -> object:
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("write a percentage, such as 10%")
    return float(match.group(1))


def _to_matcher(value: object) -> object:
    return parse(value) if isinstance(value, str) else value


def _to_condition(value: object) -> object:
    return condition(value) if isinstance(value, str) else value


def _check_action(value: object) -> object:
    if isinstance(value, str) and value not in CATALOG:
        similar = difflib.get_close_matches(value, CATALOG, 1)
        names = (
            f"did you mean {similar[0]}?" if similar else f"the actions are {', '.join(CATALOG)}"
        )
        raise ValueError(f"unknown action {value!r}; {names}")
    return value


def _check_harmless(value: str) -> str:
    harmless = [name for name, action in CATALOG.items() if action.impact is Impact.HARMLESS]
    if value not in harmless:
        raise ValueError(f"{value} does more than notify people; use {', '.join(harmless)}")
    return value


def _check_fits_before(value: str) -> str:
    fitting = [
        name for name, action in CATALOG.items() if action.released_at_end or not action.claims
    ]
    if value not in fitting:
        names = ", ".join(fitting)
        raise ValueError(f"{value} is not rolled back when the run ends; use {names}")
    return value


Seconds = Annotated[
    float, BeforeValidator(_to_seconds, json_schema_input_type=str), Field(ge=0, le=_LONGEST_S)
]
Percent = Annotated[
    float, BeforeValidator(_to_percent, json_schema_input_type=str), Field(ge=1, le=100)
]
Promql = Annotated[str, BeforeValidator(check_placeholders), StringConstraints(min_length=1)]
When = Annotated[Condition, BeforeValidator(_to_condition, json_schema_input_type=str)]
AlertMatcher = Annotated[Matcher, BeforeValidator(_to_matcher, json_schema_input_type=str)]
ActionName = Annotated[str, BeforeValidator(_check_action)]
HarmlessAction = Annotated[ActionName, AfterValidator(_check_harmless)]
TemporaryAction = Annotated[ActionName, AfterValidator(_check_fits_before)]
Parameters = Annotated[
    dict[str, Any], BeforeValidator(check_placeholders), AfterValidator(check_own_values)
]
ChosenParameters = Annotated[Parameters, AfterValidator(check_choices)]
