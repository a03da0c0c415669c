"""Rules that the guards check on a snapshot, and that the claim checks again on locked rows.

Each takes the facts and returns the refusal, or None where it allows the step. A fact that is None
is unknown, and is refused.

## state_unknown

The service could not read its own records, or AWS did not answer. The gate says which, and has the
call to AWS with its error code.

```console
$ curl $S/readyz
$ curl $S/metrics | grep smartcloudops_unreadable_total
```

**Do:** follow [RemediatorBlind](runbooks.md#remediatorblind).
**To lift it:** make the source readable. Then the alert's next repeat is decided again.
"""

from collections.abc import Collection, Mapping, Sequence

from actions.execution.records import Attempts, Breaker, Claim, Rates, Scope
from actions.reasons import Reason
from actions.refusal import Refusal

# How long an open breaker stays open before its trial run.
OPEN_S = 1_800.0


def require_not_paused(*, paused: bool | None) -> Refusal | None:
    """A person's stop comes before every other record.

    ## paused

    A person paused the service, or the service paused itself because of [distrusted
    records](audit.md#distrusted-records). This shows who did it, when and why:

    ```console
    $ curl -H "$H" "$S/api/v1/audit?limit=1000" | jq 'first(.items[] | select(.event == "paused"))'
    ```

    **To lift it:** ask that person, then resume. The service decides again on alerts that still
    fire.

    ```console
    $ curl -H "$H" -H 'Content-Type: application/json' -d '{"comment": "over"}' $S/api/v1/resume
    ```
    """
    if paused is None:
        return Refusal(Reason.STATE_UNKNOWN, "the kill switch cannot be read")
    return Refusal(Reason.PAUSED, "the service is paused") if paused else None


def require_not_held(claim: Claim | None, run_id: str) -> Refusal | None:
    r"""No other run may hold the claim; None is a target that was never claimed.

    ## target_busy

    Another run, named in `outcome`, holds the claim on this target or its group.

    ```console
    $ curl -H "$H" "$S/api/v1/runs?target=$INSTANCE&limit=5" \
        | jq '.items[] | {id, state, playbook, steps}'
    ```

    **To lift it:** wait until that run ends. If it does not, follow
    [RemediatorRunsStuck](runbooks.md#remediatorrunsstuck).
    """
    if claim is None or not claim.held or claim.run_id == run_id:
        return None
    return Refusal(Reason.TARGET_BUSY, f"run {claim.run_id} holds the claim on {claim.target}")


def require_claimable(claim: Claim | None, run_id: str, now: float) -> Refusal | None:
    """As `require_not_held`, and the cooldown of another run must be over.

    ## cooldown

    The run that `outcome` names acted on the target recently. Whether the act helps is not known
    yet.

    ```console
    $ curl -H "$H" $S/api/v1/cooldowns | jq .items
    ```

    **To lift it:** wait until `next_act_at`. If you know that the act did not help, end the
    cooldown:

    ```console
    $ curl -X DELETE -H "$H" "$S/api/v1/cooldowns/$INSTANCE?comment=not+over"
    ```
    """
    refusal = require_not_held(claim, run_id)
    cooling = claim is not None and claim.run_id != run_id and now < claim.cooldown_until
    if refusal is not None or claim is None or not cooling:
        return refusal
    left_s = claim.cooldown_until - now
    detail = f"run {claim.run_id} acted on {claim.target}; {left_s:.0f} s of the cooldown are left"
    return Refusal(Reason.COOLDOWN, detail, claim.cooldown_until)


def require_within_rates(attempts: Attempts | None, rates: Rates) -> Refusal | None:
    r"""One more attempt must not exceed a rate limit.

    ## rate_limit

    The service has acted on the target, in its group or by the playbook as often as the playbook's
    `limits` allow in an hour or a day.

    ```console
    $ curl -H "$H" "$S/api/v1/runs?target=$INSTANCE&limit=20" \
        | jq '.items[] | {received_at, playbook, state, outcome}'
    ```

    **Do:** find the cause, because the acts do not remove it. If users are affected, take the
    instance out of service by hand.
    **To lift it:** wait. Raise `limits` of [the playbook](playbooks.md#the-file) only if each of
    these acts was right.
    """
    if attempts is None:
        return Refusal(Reason.STATE_UNKNOWN, "the recent attempts cannot be counted")
    counted = (
        (attempts.target_hour, rates.target_per_hour, "an hour on this target"),
        (attempts.target_day, rates.target_per_day, "a day on this target"),
        (attempts.group_hour, rates.group_per_hour, "an hour in this group"),
        (attempts.playbook_hour, rates.playbook_per_hour, "an hour by this playbook"),
    )
    for count, limit, where in counted:
        if count >= limit:
            return Refusal(Reason.RATE_LIMIT, f"{count} of {limit} {where} are used up")
    return None


def require_breaker_closed(
    breaker: Breaker | None, run_id: str | None, now: float
) -> Refusal | None:
    """The breaker must be closed, or half open with this run as its trial or without a trial yet.

    ## breaker_open

    Three runs of the playbook in a row failed, so its circuit breaker opened. After half an hour
    one run may try; if it succeeds, the circuit breaker closes. If the playbook was
    [armed](rollout.md#disarm), it is also disarmed until a person arms it.
    **Do:** follow [RemediatorBreakerOpen](runbooks.md#remediatorbreakeropen).
    **To lift it:** wait. No button closes the circuit breaker, and a manual run passes the same
    guard.
    """
    if breaker is None:
        return Refusal(Reason.STATE_UNKNOWN, "the circuit breaker cannot be read")
    if breaker.opened_at is None:
        return None
    failed = f"{breaker.failures} runs in a row failed"
    left_s = breaker.opened_at + OPEN_S - now
    if left_s > 0:
        return Refusal(Reason.BREAKER_OPEN, f"{failed}; the next may try in {left_s:.0f} s")
    if breaker.probe is not None and breaker.probe != run_id:
        return Refusal(Reason.BREAKER_OPEN, f"{failed}, and run {breaker.probe} is the trial now")
    return None


def require_feasible(action: str, problem: str, *, known: bool) -> Refusal:
    """A person is asked only for a step that AWS would take; `known` is false without its answer.

    ## not_feasible

    AWS does not know a parameter of the step, or the target's state does not allow the action.
    `outcome` has what the action found. Nobody was asked for approval.
    **To lift it:** correct the step's `params`, or create what they name, and run
    `smartcloudops check`.
    """
    reason = Reason.NOT_FEASIBLE if known else Reason.STATE_UNKNOWN
    return Refusal(reason, f"{action}: {problem}")


def require_disruption_budget(
    scopes: Sequence[Scope] | None,
    reserved: Mapping[str, frozenset[str]] | None,
    target: str,
) -> Refusal | None:
    r"""Every scope must be able to spare the target; `reserved` has other runs' targets by scope.

    ## blast_radius

    The step would leave too many instances of the group, zone or target group out of service.
    Instances that other runs are about to take out count too. `outcome` has the count and the
    limit.

    ```sh
    aws autoscaling describe-auto-scaling-groups --auto-scaling-group-names "$ASG" \
        --output text --query \
        'AutoScalingGroups[].Instances[].[InstanceId,AvailabilityZone,LifecycleState,HealthStatus]'
    ```

    **To lift it:** bring the instances that are out back into service. By default
    `limits.blast_radius` is 10 %; one instance may always be out. Outside groups the limit is
    `SMARTCLOUDOPS_STANDALONE_BUDGET`; remove the opt-in tag of instances that are stopped on
    purpose.

    ## min_healthy

    The step would leave too few instances of the group, zone or target group in service. The
    minimum is the group's own, or `limits.min_healthy`. `outcome` has the count. To list the
    instances, use the command of [blast_radius](#blast_radius).
    **To lift it:** raise the group's desired capacity above its minimum. While both are equal, no
    instance can be taken out.
    """
    if scopes is None or reserved is None:
        return Refusal(Reason.STATE_UNKNOWN, "the number of instances out of service is unknown")
    for scope in scopes:
        others = reserved.get(scope.name, frozenset())
        reason = _exceeded(scope, target, others)
        if reason is not None:
            return Refusal(
                reason,
                f"{scope.name}: {len(scope.out | others)} of {len(scope.members)} instances are "
                f"out of service or reserved; at most {scope.limit} may be, "
                f"and at least {scope.floor}{' units' if scope.units else ''} must serve",
            )
    return None


def _exceeded(scope: Scope, target: str, reserved: Collection[str]) -> Reason | None:
    acting = {target, *reserved}
    if len(acting) > scope.limit:
        return Reason.BLAST_RADIUS
    # An instance out of service cannot be taken out again.
    if target in scope.out:
        return None
    out = scope.out | acting
    if scope.count(scope.members - out) < scope.floor:
        return Reason.MIN_HEALTHY
    return Reason.BLAST_RADIUS if len(out) > scope.limit else None
