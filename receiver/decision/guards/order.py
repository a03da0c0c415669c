"""Every guard in the order in which it is checked: the safety argument on one page.

A run passes all of EARLY, KNOWN and LATE before anything is done. What costs nothing comes first,
so that a storm of alerts is refused without asking AWS or the model. Where several guards would
refuse, the first one names the reason. A guard refuses where a fact that it needs is unknown.

A new guard is a function in the file of its topic and a line here. Where it refuses for a new
reason, its docstring has a section `## reason`, and `make reference` adds both to the page and to
the enumeration.
"""

from receiver.decision.guards import alert, people, recent_acts, step, storm, target, verdict
from receiver.decision.guards.base import Guards

# They read the alert and the playbooks alone: no query to the database, AWS or Prometheus.
PLAIN: Guards = (
    # Refuses labels or times that are malformed: nothing after it can trust them otherwise.
    ("alert", alert.require_well_formed),
    # Refuses no playbook or several: limits and steps of all later guards come from the one.
    ("playbook", alert.require_one_playbook),
    # Refuses labels that identify nothing: claims, overrides and AWS are looked up by the target.
    ("target", alert.require_target),
)

# They read our own records: one transaction of the database.
EARLY: Guards = (
    *PLAIN,
    # Refuses while the service is paused: a person's stop comes before every other record.
    ("paused", people.require_not_paused),
    # Refuses under a hold: what a person says of this target comes before what we recorded of it.
    ("override", people.require_no_hold),
    # Refuses an alert that resolved or was not seen for long: there is nothing left to act on.
    ("firing", alert.require_firing),
    # Refuses an alert that an action of ours caused; before `free`, whose cooldown would hide it.
    ("self_inflicted", recent_acts.require_not_self_inflicted),
    # Refuses a target that another run holds or that is in its cooldown.
    ("free", recent_acts.require_target_free),
    # Refuses more actions than the rate limits allow: repeating an action that does not help harms.
    ("rate", recent_acts.require_within_rates),
    # Refuses a playbook whose last runs failed, on whatever target.
    ("breaker", recent_acts.require_breaker_closed),
    # Refuses where the arming is unknown; last, because a known arming only lowers the mode.
    ("arming", people.require_arming_known),
)

# They read AWS, before the costly verdict is asked for.
KNOWN: Guards = (
    # Refuses an instance or group that AWS does not confirm as the one meant and as opted in.
    ("proven", target.require_proven_target),
    # Refuses an instance that our own scaling just launched; needs its launch time from AWS.
    ("newborn", target.require_not_newborn),
    # Refuses steps on instances while a whole group alerts; needs the group's size from AWS.
    ("storm", storm.require_step_beyond_instances),
)

# In place of KNOWN where many instances of a group alert: a group read a moment ago is enough to
# refuse more of its alerts, and never enough to act.
STORM: Guards = (
    # Refuses an instance that is not in the group its alert names: AWS need not be asked about it.
    ("member", target.require_membership),
    # Refuses as in KNOWN.
    ("storm", storm.require_step_beyond_instances),
)

# They read the verdict and the step that it leads to.
LATE: Guards = (
    # Refuses a refuted verdict, and an undecided one where the playbook never acts on it.
    ("verdict", verdict.require_not_refuted),
    # Refuses where no remaining step's condition holds; the guards below read the chosen step.
    ("step", step.require_step),
    # Refuses an undecided verdict where the playbook does not allow the chosen step on it.
    ("certain", verdict.require_certainty),
    # Refuses a step whose own target is claimed or over its rate limits: it may be the group.
    ("step_free", step.require_step_target_free),
    # Refuses a step on an instance in a storm: only now is it known which step it is.
    ("step_in_storm", storm.require_step_off_instances),
    # Refuses while a person or a deployment changes the target: the two would interfere.
    ("change", step.require_no_other_change),
    # Refuses to destroy an instance with termination protection.
    ("protected", step.require_unprotected),
    # Refuses to take out more instances than the budget; the claim checks it again under its lock.
    ("blast_radius", step.require_disruption_budget),
)
