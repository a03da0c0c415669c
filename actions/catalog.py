"""Every action there is, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from actions.action import Action
from actions.attach_instance import AttachInstance
from actions.cancel_instance_refresh import CancelInstanceRefresh
from actions.create_silence import CreateSilence
from actions.deregister_target import DeregisterTarget
from actions.detach_instance import DetachInstance
from actions.emergency_shutdown import EmergencyShutdown
from actions.end_emergency_shutdown import EndEmergencyShutdown
from actions.enter_standby import EnterStandby
from actions.exit_standby import ExitStandby
from actions.expire_silence import ExpireSilence
from actions.notify import Notify
from actions.page import PagePeople
from actions.quarantine_instance import QuarantineInstance
from actions.reboot_instance import RebootInstance
from actions.register_target import RegisterTarget
from actions.release_quarantine import ReleaseQuarantine
from actions.replace_instance import ReplaceInstance
from actions.restart_service import RestartService
from actions.resume_processes import ResumeProcesses
from actions.rollback_instance_refresh import RollbackInstanceRefresh
from actions.run_document import RunDocument
from actions.scale_in import ScaleIn
from actions.set_desired_capacity import SetDesiredCapacity
from actions.shift_traffic import ShiftTraffic
from actions.start_instance import StartInstance
from actions.start_instance_refresh import StartInstanceRefresh
from actions.stop_instance import StopInstance
from actions.suspend_processes import SuspendProcesses

_ACTIONS: tuple[Action, ...] = (
    AttachInstance(),
    CancelInstanceRefresh(),
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
    ResumeProcesses(),
    RollbackInstanceRefresh(),
    RunDocument(),
    ScaleIn(),
    SetDesiredCapacity(),
    ShiftTraffic(),
    StartInstance(),
    StartInstanceRefresh(),
    StopInstance(),
    SuspendProcesses(),
)

CATALOG: Mapping[str, Action] = MappingProxyType({action.name: action for action in _ACTIONS})
