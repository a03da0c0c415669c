"""`smartcloudops pause`, `resume`, `hold` and `approve`: a person's orders to a running service."""

import time

import click

from actions.aws.instances import INSTANCE_ID
from receiver import settings
from receiver.cli.client.service import get, post
from receiver.cli.durations import Duration
from receiver.cli.error_translation import translate_errors
from receiver.cli.errors import FailedError
from receiver.cli.output import echo
from receiver.runtime.rfc3339 import rfc3339


@click.command("pause")
@click.argument("comment")
@click.option("--account", help="Only this account.")
@click.option("--region", help="Only this region.")
def pause_command(*, comment: str, account: str | None, region: str | None) -> None:
    """Start no new step until somebody resumes; COMMENT says why."""
    _switch("pause", comment, account, region)


@click.command("resume")
@click.argument("comment")
@click.option("--account", help="Only this account.")
@click.option("--region", help="Only this region.")
def resume_command(*, comment: str, account: str | None, region: str | None) -> None:
    """End a pause: alerts that still fire are decided again."""
    _switch("resume", comment, account, region)


@click.command("hold")
@click.argument("target")
@click.argument("comment")
@click.option("--for", "lasts", type=Duration(), default="2h", show_default=True)
def hold_command(*, target: str, comment: str, lasts: float) -> None:
    """Never act on TARGET, an instance id or a group's name, for a while; COMMENT says why."""
    name = "instance_id" if INSTANCE_ID.fullmatch(target) else "asg"
    body = {
        "matchers": [{"name": name, "value": target, "isRegex": False, "isEqual": True}],
        "effect": "hold",
        "ends_at": rfc3339(time.time() + lasts),
        "comment": comment,
    }
    with translate_errors():
        made = post(settings.load(), "/api/v1/overrides", body)
    echo(f"held until {made['ends_at']}: {name}={target} (override {made['id']})")


@click.command("approve")
@click.argument("run")
@click.argument("comment")
@click.option("--yes", is_flag=True, help="Do not ask.")
def approve_command(*, run: str, comment: str, yes: bool) -> None:
    """Approve the plan of RUN as it is now; COMMENT says why."""
    with translate_errors():
        configured = settings.load()
        story = get(configured, f"/api/v1/runs/{run}")
        if story["state"] != "awaiting_approval" or story["plan"] is None:
            raise FailedError(f"{run} waits for nobody: it is {story['state']}")
        echo(story["question"])
        if not yes:
            click.confirm("Approve?", abort=True, err=True)
        body = {"comment": comment, "plan": story["plan"]["digest"]}
        answered = post(configured, f"/api/v1/runs/{run}/approve", body)
    echo(f"approved; {run} is {answered['state']}")


def _switch(path: str, comment: str, account: str | None, region: str | None) -> None:
    body = {"comment": comment, "account": account, "region": region}
    sent = {name: value for name, value in body.items() if value is not None}
    with translate_errors():
        state = post(settings.load(), f"/api/v1/{path}", sent)
    where = " ".join(filter(None, (account, region))) or "everywhere"
    echo(f"{'paused' if state['paused'] else 'not paused'} {where}, by {state['changed_by']}")
