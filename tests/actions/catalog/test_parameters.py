"""What a playbook may write into a step."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from actions.catalog.registry import CATALOG
from tests.actions.catalog.catalog_fixtures import BLUE, GREEN, RULE

_HOSTILE = ("a; reboot", "$(reboot)", "`reboot`", "a\nb", "a'b", 'a"b', "a|b", "a>b", "{{x}}")
_WRONG: list[tuple[str, Mapping[str, Any]]] = [
    *(
        ("restart_service", {"service": service})
        for service in ("", "a b", "a/b", "x" * 65, *_HOSTILE)
    ),
    ("restart_service", {}),
    ("restart_service", {"service": "app", "document": "AWS-RunShellScript"}),
    *(
        ("run_document", {"document": document})
        for document in (
            "AWS-RunShellScript",
            "SmartCloudOps-",
            "xSmartCloudOps-A",
            "SmartCloudOps-a/b",
        )
    ),
    *(
        ("run_document", {"document": "SmartCloudOps-A", "parameters": {"Path": text}})
        for text in _HOSTILE
    ),
    ("run_document", {"document": "SmartCloudOps-A", "parameters": {"a b": "x"}}),
    ("run_document", {"document": "SmartCloudOps-A", "parameters": {"Days": 1}}),
    ("deregister_target", {"target_groups": ["blue"]}),
    ("register_target", {"target_groups": [RULE]}),
    ("shift_traffic", {"rule": RULE, "weights": {}}),
    ("shift_traffic", {"rule": RULE, "weights": {BLUE: 0, GREEN: 0}}),
    ("shift_traffic", {"rule": RULE, "weights": {BLUE: 1000, GREEN: 0}}),
    ("shift_traffic", {"rule": RULE, "weights": {BLUE: -1, GREEN: 1}}),
    ("shift_traffic", {"rule": BLUE, "weights": {BLUE: 1, GREEN: 1}}),
    ("quarantine_instance", {}),
    ("quarantine_instance", {"security_group": "default"}),
    ("release_quarantine", {"groups": {}}),
    ("release_quarantine", {"groups": {"eni-0123456789abcdef0": []}}),
    ("emergency_shutdown", {"security_group": "sg-1"}),
    ("notify", {"to": "On Call", "message": "x"}),
    ("notify", {"to": "oncall", "message": ""}),
    ("notify", {"to": "oncall", "message": "x" * 1001}),
    ("page", {"topic": "oncall", "message": "x"}),
    ("create_silence", {"alertnames": []}),
    ("create_silence", {"alertnames": [".*"]}),
    ("create_silence", {"alertnames": ["A"], "duration_s": 14_401}),
    ("expire_silence", {"silences": []}),
    ("expire_silence", {"silences": ["../silences"]}),
]


@pytest.mark.parametrize(("name", "params"), _WRONG)
def test_what_a_parameter_may_not_be(name: str, params: Mapping[str, Any]) -> None:
    """Nothing that a shell, a pattern or an empty list could make more of."""
    with pytest.raises(ValidationError):
        CATALOG[name].params.model_validate(params)


@pytest.mark.parametrize("group", ["web@prod", "_web", "web+api (blue)", "w" * 255])
def test_a_group_is_named_as_aws_names_it(group: str) -> None:
    assert CATALOG["attach_instance"].params.model_validate({"group": group})
