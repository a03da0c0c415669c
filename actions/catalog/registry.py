"""The catalogue: every action, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from actions.base import Action
from actions.catalog.autoscaling.attach_instance import AttachInstance
from actions.catalog.autoscaling.detach_instance import DetachInstance
from actions.catalog.autoscaling.enter_standby import EnterStandby
from actions.catalog.autoscaling.exit_standby import ExitStandby
from actions.catalog.autoscaling.replace_instance import ReplaceInstance
from actions.catalog.autoscaling.resume_processes import ResumeProcesses
from actions.catalog.autoscaling.scale_in import ScaleIn
from actions.catalog.autoscaling.set_desired_capacity import SetDesiredCapacity
from actions.catalog.autoscaling.suspend_processes import SuspendProcesses
from actions.catalog.ec2.emergency_shutdown import EmergencyShutdown
from actions.catalog.ec2.end_emergency_shutdown import EndEmergencyShutdown
from actions.catalog.ec2.quarantine_instance import QuarantineInstance
from actions.catalog.ec2.reboot_instance import RebootInstance
from actions.catalog.ec2.release_quarantine import ReleaseQuarantine
from actions.catalog.ec2.start_instance import StartInstance
from actions.catalog.ec2.stop_instance import StopInstance
from actions.catalog.instance_refresh.cancel_instance_refresh import CancelInstanceRefresh
from actions.catalog.instance_refresh.restore_version import RestoreVersion
from actions.catalog.instance_refresh.rollback_instance_refresh import RollbackInstanceRefresh
from actions.catalog.instance_refresh.start_instance_refresh import StartInstanceRefresh
from actions.catalog.load_balancing.cancel_zonal_shift import CancelZonalShift
from actions.catalog.load_balancing.deregister_target import DeregisterTarget
from actions.catalog.load_balancing.register_target import RegisterTarget
from actions.catalog.load_balancing.shift_traffic import ShiftTraffic
from actions.catalog.load_balancing.start_zonal_shift import StartZonalShift
from actions.catalog.people.create_silence import CreateSilence
from actions.catalog.people.expire_silence import ExpireSilence
from actions.catalog.people.notify import Notify
from actions.catalog.people.page import PagePeople
from actions.catalog.retired import RetiredAction
from actions.catalog.ssm.capture import Capture
from actions.catalog.ssm.restart_service import RestartService
from actions.catalog.ssm.run_document import RunDocument

_ACTIONS: tuple[Action, ...] = (
    AttachInstance(),
    CancelInstanceRefresh(),
    Capture(),
    CancelZonalShift(),
    CreateSilence(),
    DeregisterTarget(),
    DetachInstance(),
    EmergencyShutdown(),
    EndEmergencyShutdown(),
    EnterStandby(),
    ExitStandby(),
    ExpireSilence(),
    Notify(),
    PagePeople(),
    QuarantineInstance(),
    RebootInstance(),
    RegisterTarget(),
    ReleaseQuarantine(),
    ReplaceInstance(),
    RestartService(),
    RestoreVersion(),
    ResumeProcesses(),
    RollbackInstanceRefresh(),
    RunDocument(),
    ScaleIn(),
    SetDesiredCapacity(),
    ShiftTraffic(),
    StartInstance(),
    StartInstanceRefresh(),
    StartZonalShift(),
    StopInstance(),
    SuspendProcesses(),
)

CATALOG: Mapping[str, Action] = MappingProxyType({action.name: action for action in _ACTIONS})


def find_action(name: str) -> Action:
    """The action of this name; a RetiredAction where the catalogue no longer has it."""
    return CATALOG.get(name) or RetiredAction(name)
