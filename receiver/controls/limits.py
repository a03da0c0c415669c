"""Limits that people set on a playbook and a target, checked again before each call."""

from collections.abc import Iterator, Sequence

from actions.reasons import Reason
from actions.refusal import Refusal
from receiver.controls.records import ArmedMode, Effect, Override
from receiver.settings import Mode


def require_no_hold(overrides: Sequence[Override] | None, now: float) -> Refusal | None:
    r"""No override that applies may be a hold; None is unknown, and is refused.

    ## override_hold

    A person set an override that matches this alert, or an instance that the step may take out of
    the group. `outcome` has the person's name and comment, `next_act_at` when the override ends or
    next does not apply; what Alertmanager still lists is then decided again within a minute.

    A silence in Alertmanager that this service did not set is such a hold of alerts, not of runs by
    hand: the person who set it works on the alert. While Alertmanager does not answer, the silences
    that it listed last count, and before its first answer none does.

    ```console
    $ curl -H "$H" $S/api/v1/overrides \
        | jq '.items[] | {id, effect, matchers, ends_at, created_by, comment}'
    ```

    **To lift it:** wait for the override's end, or ask the person who set it and end it:

    ```console
    $ curl -X DELETE -H "$H" "$S/api/v1/overrides/$OVERRIDE?comment=over"
    ```
    """
    if overrides is None:
        return Refusal(Reason.STATE_UNKNOWN, "the overrides cannot be read")
    for override in overrides:
        if override.effect is Effect.HOLD:
            detail = f"{override.created_by} set a hold: {override.comment}"
            return Refusal(Reason.OVERRIDE_HOLD, detail, override.lasts_until(now))
    return None


def override_modes(overrides: Sequence[Override]) -> Iterator[tuple[Mode, str]]:
    """The modes to which overrides limit a run, each with its source."""
    for override in overrides:
        if override.effect is Effect.OBSERVE:
            yield Mode.OBSERVE, f"override {override.id}"
        elif override.effect is Effect.ASK:
            yield Mode.APPROVE, f"override {override.id}"


def require_mode(overrides: Sequence[Override], *, approved: bool) -> Refusal | None:
    """No override that applies may limit the run to observe, or to ask without an approval."""
    for mode, source in override_modes(overrides):
        if mode is Mode.OBSERVE or not approved:
            return Refusal(Reason.OVERRIDE_HOLD, f"{mode}, set by {source}")
    return None


def require_armed(
    arming: ArmedMode | None, playbook: str, target: str, *, approved: bool
) -> Refusal | None:
    """The arming must allow the step on this target, at least with a person's approval.

    ## disarmed

    After the decision and before the call, somebody [disarmed](rollout.md#disarm) the playbook,
    lowered its arming or changed its file. `arming` in `/api/v1/playbooks` and the audit
    (`/api/v1/audit?run=…`) have the person, the time and the comment.
    **To lift it:** nothing to do: the alert's next repeat is decided in the new mode.
    """
    if arming is None:
        return Refusal(Reason.STATE_UNKNOWN, "the playbook's arming cannot be read")
    mode, source = arming.limit(playbook, target)
    if mode is Mode.OBSERVE or (mode is Mode.APPROVE and not approved):
        return Refusal(Reason.DISARMED, f"{mode}, set by {source}")
    return None
