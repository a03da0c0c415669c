"""Base of actions whose effect cannot be read back, such as a sent message."""

from actions.base import Action, Call, CallResult, Impact, Observation, Outcome, TargetKind


class Unobservable(Action):
    target = TargetKind.ANY
    impact = Impact.HARMLESS

    def observe(self, call: Call) -> Observation:
        del call
        return Observation(already=False, before={})

    def read_back(self, call: Call) -> CallResult:
        del call
        return CallResult(Outcome.UNKNOWN)


def title_of(call: Call) -> str:
    """The first line of a message to people."""
    return f"SmartCloudOps: {call.target}"


def text_of(call: Call) -> str:
    run_id = call.token.partition("/")[0]
    return f"{call.params['message']}\nTarget {call.target}, run {run_id}"
