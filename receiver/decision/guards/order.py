"""All guards in the order of their checks: the safety argument on one page.

A run must pass EARLY, KNOWN and LATE before any step. Guards without cost come first, so that a
storm of alerts is refused without reads of AWS or the model. If several guards would refuse, the
first one gives the reason. A guard refuses if a fact that it needs is unknown.

A new guard is a function in the file of its topic and a line here. If it refuses for a new reason,
its docstring needs a section `## reason`, and `make reference` adds both to the page and to the
enumeration.
"""

from receiver.decision.guards import (
    alert,
    dependencies,
    people,
    recent_acts,
    step,
    storm,
    target,
    verdict,
)
from receiver.decision.guards.base import Guards

# These guards read only the alert and the playbooks: no database, AWS or Prometheus.
PLAIN: Guards = (
    # Refuses malformed labels or times, because all later guards rely on them.
    ("alert", alert.require_well_formed),
    # Refuses without exactly one playbook, because later guards read its limits and steps.
    ("playbook", alert.require_one_playbook),
    # Refuses the next step if the ladder was edited since its first step, which renumbers rungs.
    ("unchanged", alert.require_unchanged_playbook),
    # Refuses labels without a target, because later guards look up claims and AWS by target.
    ("target", alert.require_target),
    # Refuses to begin outside the playbook's window; the alert's repeats wait for it.
    ("window", alert.require_window),
)

# These guards read the service's own records, in one transaction.
EARLY: Guards = (
    *PLAIN,
    # Refuses while the service is paused: a person's stop comes before every other record.
    ("paused", people.require_not_paused),
    # Refuses under a hold: a person's order on this target comes before recorded facts.
    ("override", people.require_no_hold),
    # Refuses an alert that did not fire recently: it may need no action.
    ("firing", alert.require_firing),
    # Refuses an alert that a recent action caused; before `free`, whose cooldown would hide this.
    ("self_inflicted", recent_acts.require_not_self_inflicted),
    # Refuses a target that another run holds or that is in its cooldown.
    ("free", recent_acts.require_target_free),
    # Refuses actions beyond the rate limits: an action that does not help must not be repeated.
    ("rate", recent_acts.require_within_rates),
    # Refuses a playbook whose last runs failed, on any target.
    ("breaker", recent_acts.require_breaker_closed),
    # Refuses if the arming is unknown; last, because a known arming only lowers the mode.
    ("arming", people.require_arming_known),
)

# These guards read AWS, before the costly verdict.
KNOWN: Guards = (
    # Refuses an instance or group that AWS does not confirm as the alert's target and as opted in.
    ("proven", target.require_proven_target),
    # Refuses an instance that the service's own scaling just launched; needs its launch time.
    ("newborn", target.require_not_newborn),
    # Refuses steps on instances while a whole group alerts; needs the group's size from AWS.
    ("storm", storm.require_step_beyond_instances),
)

# Run before KNOWN if many instances of a group alert: the group, read once, is enough to refuse
# most alerts.
STORM: Guards = (
    # Refuses an instance outside the group that its alert names, without a read of AWS.
    ("member", target.require_membership),
    # As in KNOWN.
    ("storm", storm.require_step_beyond_instances),
)

# These guards read the verdict and the chosen step.
LATE: Guards = (
    # Refuses an alert that was reported as resolved, unless Prometheus still fires it.
    ("over", verdict.require_not_over),
    # Refuses a refuted verdict, and an undecided one if the playbook never acts on it.
    ("verdict", verdict.require_not_refuted),
    # Refuses a target whose trouble comes from what it depends on: no step on it would help.
    ("cause", dependencies.require_own_cause),
    # Refuses if no remaining step's condition holds; the guards below read the chosen step.
    ("step", step.require_step),
    # Refuses an instance that is not in the state, or the group, in which the step acts.
    ("place", target.require_place_of_step),
    # Refuses to take instances out of a group with a held one; only here is the step known.
    ("held_members", people.require_no_hold_of_members),
    # Refuses to take out an instance that no group replaces, unless the playbook is `standalone`.
    ("group", step.require_group),
    # Refuses an undecided verdict if the playbook does not allow the chosen step on it.
    ("certain", verdict.require_certainty),
    # Refuses a step whose target (perhaps the group) is claimed or over its rate limits.
    ("step_free", step.require_step_target_free),
    # Refuses a step on an instance in a storm; only here is the step known.
    ("step_in_storm", storm.require_step_off_instances),
    # Refuses while a person or a deployment changes the target, as both changes would interfere.
    ("change", step.require_no_other_change),
    # Refuses to reboot on failed hardware, which stays failed.
    ("hardware", step.require_sound_hardware),
    # Refuses to destroy an instance with termination protection.
    ("protected", step.require_unprotected),
    # Refuses to take out more instances than the budget; the claim checks it again under its lock.
    ("blast_radius", step.require_disruption_budget),
)
