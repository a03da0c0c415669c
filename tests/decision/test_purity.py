"""The decision is a function of facts, also by what it imports."""

import subprocess
import sys

_PURE = "receiver.decision.decide", "actions.execution.rules", "receiver.controls.limits"
_IMPURE = "sqlalchemy", "boto3", "botocore", "dbos", "httpx", "fastapi", "structlog"


def test_deciding_loads_no_client_store_or_queue() -> None:
    """In a process of its own: this one has loaded everything."""
    code = (
        f"import sys, {', '.join(_PURE)}\n"
        f"print(*sorted(name for name in {_IMPURE!r} if name in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.split() == []
