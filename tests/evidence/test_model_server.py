"""Which model judges: chosen by a manifest, read again when that changes, absent when unsure."""

import json
import shutil
import time
from pathlib import Path
from unittest.mock import sentinel

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from prometheus_client import CollectorRegistry, generate_latest

from models.inference import artifact
from models.inference.verdict import Answer
from models.training.labelled_sets import read_set
from receiver.evidence.metrics import ModelMetrics
from receiver.evidence.model_server import ModelServer

EXCERPT = Path(__file__).parents[1] / "models/data" / "smd-excerpt"


class _Clients:
    """Only S3 is asked for."""

    def __init__(self) -> None:
        self.s3 = boto3.client(
            "s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact.SHIPPED, tmp_path / "models"))


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def _server(
    where: str | None,
    clock: list[float],
    manifest: Path | None = None,
    registry: CollectorRegistry | None = None,
) -> ModelServer:
    metrics = ModelMetrics(registry or CollectorRegistry())
    return ModelServer(where, manifest, lambda: sentinel.nobody, metrics, clock=lambda: clock[0])


def _metrics(server: ModelServer, registry: CollectorRegistry) -> str:
    server.refresh_gauges()
    return generate_latest(registry).decode()


def _rewrite(folder: Path, **change: object) -> None:
    path = folder / artifact.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def test_without_a_setting_the_shipped_model_judges(registry: CollectorRegistry) -> None:
    """It works out of the box, and tells its version."""
    server = _server(None, [0.0], registry=registry)
    alert, evidence = next(iter(read_set(EXCERPT)))
    verdict = server.judge(evidence, alert.roles)
    assert verdict.model == server.status()["version"]
    info = f'smartcloudops_model_info{{version="{verdict.model}"}} 1.0'
    assert info in _metrics(server, registry)
    assert "smartcloudops_model_usable 1.0" in _metrics(server, registry)


def test_a_damaged_model_is_none_and_says_so(folder: Path, registry: CollectorRegistry) -> None:
    """Undecided, a gauge at zero, and the reason in the story; nothing is raised."""
    next(folder.glob("*.npz")).write_bytes(b"x")
    server = _server(str(folder), [0.0], registry=registry)
    alert, evidence = next(iter(read_set(EXCERPT)))
    assert server.judge(evidence, alert.roles).answer is Answer.UNDECIDED
    assert "SHA-256" in server.status()["problem"]
    assert "smartcloudops_model_usable 0.0" in _metrics(server, registry)


def test_a_changed_manifest_is_read_without_a_restart(folder: Path) -> None:
    """Taken away and brought back, as a roll-back does; in between nothing is confirmed."""
    clock = [0.0]
    server = _server(str(folder), clock)
    good = json.loads((folder / artifact.MANIFEST).read_text())["active"]
    for active, usable in (("gone", False), (good, True)):
        time.sleep(0.01)
        _rewrite(folder, active=active)
        clock[0] += 60
        assert (server.loaded.active is not None) is usable


def test_a_shadow_judges_beside_and_is_counted(folder: Path, registry: CollectorRegistry) -> None:
    """The second model's answer changes nothing but a counter."""
    _rewrite(folder, shadow=json.loads((folder / artifact.MANIFEST).read_text())["active"])
    server = _server(str(folder), [0.0], registry=registry)
    alert, evidence = next(iter(read_set(EXCERPT)))
    answer = server.judge(evidence, alert.roles).answer
    server.close()
    line = f'smartcloudops_shadow_verdicts_total{{active="{answer}",shadow="{answer}"}} 1.0'
    assert line in _metrics(server, registry)


def test_a_broken_shadow_leaves_the_active_one_alone(folder: Path) -> None:
    """Only the watching stops."""
    _rewrite(folder, shadow="gone")
    server = _server(str(folder), [0.0])
    assert server.loaded.active is not None
    assert server.loaded.shadow is None


def test_a_model_in_s3_needs_a_manifest_kept_apart() -> None:
    """Who can write to the bucket must not be who vouches for what is in it."""
    server = _server("s3://models/prod", [0.0])
    assert "SMARTCLOUDOPS_MODEL_MANIFEST" in (server.loaded.problem or "")


def test_a_model_comes_from_s3(folder: Path) -> None:
    """The file below the prefix, its bytes checked against the local manifest."""
    data = next(folder.glob("*.npz"))
    clients = _Clients()
    with Stubber(clients.s3) as stub, data.open("rb") as body:
        answer = {"Body": StreamingBody(body, data.stat().st_size)}
        stub.add_response("get_object", answer, {"Bucket": "models", "Key": f"prod/{data.name}"})
        server = ModelServer("s3://models/prod", folder / artifact.MANIFEST, lambda: clients)  # type: ignore[arg-type, return-value]
        assert server.loaded.problem is None


def test_s3_that_refuses_is_no_model(folder: Path) -> None:
    """Its error's kind is told, and nothing is raised."""
    clients = _Clients()
    with Stubber(clients.s3) as stub:
        stub.add_client_error("get_object", "AccessDenied")
        server = ModelServer("s3://models/prod", folder / artifact.MANIFEST, lambda: clients)  # type: ignore[arg-type, return-value]
        assert "S3" in (server.loaded.problem or "")
        assert server.loaded.active is None
