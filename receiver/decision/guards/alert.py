"""Guards on the alert itself: its form, its playbook, its target, and whether it still fires."""

from actions.reasons import Reason
from actions.refusal import Refusal
from receiver.decision.guards.base import GuardInput, require_named
from receiver.playbooks.public_alerts import why_no_playbook
from receiver.playbooks.time_intervals import ChangeCalendars

# Labels of alerts whose sender tells changes only: CloudWatch's alarms, and Grafana's own alerts.
_OF_UNREPEATED = frozenset({"alarm_arn", "grafana_folder"})


def require_well_formed(inputs: GuardInput) -> str | Refusal:
    """The alert's labels and times must have the form on which all other guards rely.

    ## malformed_alert

    The alert has no `alertname`, a label that is not a string, or an invalid timestamp. The service
    stores it unchanged.
    **To lift it:** fix the rule, or the program that posts to Alertmanager. This alert stays
    refused.
    """
    malformed = inputs.trigger.malformed
    return "well-formed" if malformed is None else Refusal(Reason.MALFORMED_ALERT, malformed)


def require_one_playbook(inputs: GuardInput) -> str | Refusal:
    """Exactly one playbook must match; all later guards read its limits and steps.

    ## no_playbook

    No playbook matches the alert's labels; for a [public alert](public-rules.md) `outcome` says why
    none is right. Compare the labels with the matchers of the loaded playbooks:

    ```console
    $ curl -H "$H" $S/api/v1/playbooks | jq '.items[] | {name, match}'
    ```

    **To lift it:** [write a playbook](playbooks.md#from-an-alert-to-a-playbook), or remove the
    label `remediation` from the rule. If the playbook's file exists already, run `smartcloudops
    check`: a folder with findings is not loaded.

    ## ambiguous_playbook

    Several playbooks match the alert's labels; `outcome` names them.
    **To lift it:** make their matchers exclude each other (`severity="critical"`,
    `severity!="critical"`), add a test with the alert's labels, and run `smartcloudops check &&
    smartcloudops test`.
    """
    names = [playbook.name for playbook in inputs.playbooks]
    if not names:
        why = why_no_playbook(inputs.trigger.labels.get("alertname", ""))
        detail = "no playbook matches the alert's labels"
        return Refusal(Reason.NO_PLAYBOOK, f"{detail}: {why}" if why else detail)
    if len(names) > 1:
        detail = f"more than one playbook matches: {', '.join(names)}"
        return Refusal(Reason.AMBIGUOUS_PLAYBOOK, detail)
    return names[0]


def require_unchanged_playbook(inputs: GuardInput) -> str | Refusal:
    """A ladder continues only with the playbook version with which it began.

    ## playbook_changed

    The playbook was edited while the run was between two steps. The run lists the steps taken; the
    numbers of the remaining steps now mean other steps. People are notified, and the run ends.
    **To lift it:** look at the target; a repeat of the alert begins the new ladder.
    """
    begun_with = inputs.trigger.playbook_digest
    if begun_with is not None and begun_with != inputs.playbooks[0].digest:
        detail = f"the playbook {inputs.playbooks[0].name} was changed since the run's first step"
        return Refusal(Reason.PLAYBOOK_CHANGED, detail)
    return "no step was executed by another version of the playbook"


def require_target(inputs: GuardInput) -> str | Refusal:
    r"""The labels must identify a target: claims, overrides and AWS are looked up by target.

    ## no_target

    The labels name no target, or not the kind of target that the step, or a query of the playbook,
    needs; or AWS has no such instance, has several, or has it elsewhere than the labels tell.
    [targets.yaml](configuration.md#targets) says which labels are read. Check whether an
    aggregation in the rule drops the labels:

    ```console
    $ curl -G $P/api/v1/query --data-urlencode 'query=ALERTS{remediation!=""}' \
        | jq '.data.result[].metric'
    ```

    **To lift it:** keep the labels in every `by (...)` of the rule, or name yours in the file.
    """
    if inputs.snapshot.target is None and inputs.snapshot.unread:
        return Refusal(Reason.STATE_UNKNOWN, f"AWS did not answer {inputs.snapshot.unread[0]}")
    if inputs.snapshot.target is None:
        doubt = inputs.snapshot.doubt or "the labels identify no instance and no group"
        return Refusal(Reason.NO_TARGET, doubt)
    playbook = inputs.playbooks[0]
    refused = require_named(inputs, *playbook.recheck, *playbook.facts.values())
    return refused or inputs.snapshot.target


def require_window(inputs: GuardInput) -> str | Refusal:
    """A run begins only in its playbook's window; one that has begun, or a person's, goes on.

    ## outside_window

    The playbook has a `window`, and it is closed. `next_act_at` says when it opens.
    **Do:** nothing: what Alertmanager lists, or repeats, is decided again once the window is open,
    one alert after the other. If it cannot wait, run the playbook by hand. A change calendar that
    AWS does not tell counts as closed: look at its name, and at the permission
    `ssm:GetCalendarState`.
    """
    window, trigger = inputs.playbooks[0].window, inputs.trigger
    if window is None or trigger.request is not None or trigger.playbook_digest is not None:
        return "the run may begin at any time"
    if isinstance(window, ChangeCalendars):
        return _require_open(window, inputs)
    opens_at = window.opens_at(inputs.now)
    if opens_at is None:
        detail = f"the window of {inputs.playbooks[0].name} does not open any more"
        return Refusal(Reason.OUTSIDE_WINDOW, detail)
    if opens_at <= inputs.now:
        return f"in {window}"
    detail = f"the window of {inputs.playbooks[0].name} opens in {opens_at - inputs.now:.0f} s"
    return Refusal(Reason.OUTSIDE_WINDOW, detail, opens_at)


def _require_open(window: ChangeCalendars, inputs: GuardInput) -> str | Refusal:
    state = inputs.snapshot.calendar
    if state is None:
        why = inputs.snapshot.calendar_error or "AWS tells no state"
        return Refusal(Reason.OUTSIDE_WINDOW, f"{window} is unknown, so it is closed: {why}")
    if state.open:
        return f"{window} is open"
    until = f" for {state.changes_at - inputs.now:.0f} s more" if state.changes_at else ""
    return Refusal(Reason.OUTSIDE_WINDOW, f"{window} is closed{until}", state.changes_at)


def require_firing(inputs: GuardInput) -> str | Refusal:
    """The alert must still fire.

    ## stale

    Alertmanager has not repeated the alert for longer than `SMARTCLOUDOPS_EPISODE_GAP_S`, and its
    API, at `SMARTCLOUDOPS_ALERTMANAGER_URL`, does not list it as active. Check whether the service
    has a backlog (`RemediatorBacklog`, `RemediatorNobodyActs`):

    ```console
    $ curl $S/readyz
    $ curl $S/metrics | grep -E 'inbox_backlog|runs_open'
    ```

    **To lift it:** wait for the next repeat, if the alert still fires. If alerts that fire become
    stale, let the service reach Alertmanager's API. CloudWatch and Grafana tell an alert's end and
    do not repeat it: a plan about theirs waits as long as a person may approve it.
    """
    snapshot, request = inputs.snapshot, inputs.trigger.request
    if snapshot.resolved is None or snapshot.last_seen_at is None:
        return Refusal(Reason.STATE_UNKNOWN, "the alert's episode cannot be read")
    last_seen = f"requested by {request.by}" if request else "last seen firing"
    age_s, limit_s = inputs.now - snapshot.last_seen_at, snapshot.gap_s
    if not inputs.trigger.labels.keys().isdisjoint(_OF_UNREPEATED):
        limit_s += inputs.playbooks[0].approval_s
    if age_s > limit_s:
        limit = f"the limit is {limit_s:.0f} s"
        return Refusal(Reason.STALE, f"{last_seen} {age_s:.0f} s ago, {limit}")
    return f"{last_seen} {max(0.0, age_s):.1f} s ago"
