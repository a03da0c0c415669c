"""`SMARTCLOUDOPS_WATCH`: matchers with commas, as they enter a query."""

import pytest

from receiver.settings import SettingsError
from receiver.watch.factory import parse_watch


@pytest.mark.parametrize(
    ("text", "matchers"),
    [
        ("", []),
        ('asg="web"', ['asg="web"']),
        ('asg=~"web-.*|api", env!=prod,', ['asg=~"web-.*|api"', 'env!="prod"']),
        (r'asg="a,\"b"', [r'asg="a,\"b"']),
    ],
)
def test_matchers_become_a_selector(text: str, matchers: list[str]) -> None:
    """Each is quoted, so that none adds to the query."""
    assert list(map(str, parse_watch(text))) == matchers


@pytest.mark.parametrize("text", ["web", 'a="b" c="d"', 'asg=~"(("', 'a="b"} or {c="d"'])
def test_what_is_no_matcher_is_named_with_its_setting(text: str) -> None:
    """So that `serve` does not start."""
    with pytest.raises(SettingsError, match="SMARTCLOUDOPS_WATCH: "):
        parse_watch(text)
