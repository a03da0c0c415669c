"""ARC's zonal shift: the traffic of a load balancer is moved away from one zone for a while."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from demo.aws.core import Core, moment
from demo.aws.world import ZONES, AwsError

_MINUTES = {"m": 1, "h": 60}
_LONGEST_MIN = 72 * 60


@dataclass
class ZonalShifts:
    """Only a balancer that is enabled for it is managed; it has one active shift at most.

    https://docs.aws.amazon.com/arc-zonal-shift/latest/api/API_StartZonalShift.html
    https://docs.aws.amazon.com/r53recovery/latest/dg/arc-zonal-shift.resource-types.html
    """

    core: Core

    def get_managed_resource(self, request: Mapping[str, Any]) -> dict[str, Any]:
        arn = self._managed(request["resourceIdentifier"])
        active = self._active(arn)
        away = {shift["awayFrom"] for shift in active}
        return {
            "arn": arn,
            "appliedWeights": {zone: float(zone not in away) for zone in zone_ids()},
            "zonalShifts": [{"appliedStatus": "APPLIED", **shift} for shift in active],
            "autoshifts": [],
            "zonalAutoshiftStatus": "DISABLED",
        }

    def start_zonal_shift(self, request: Mapping[str, Any]) -> dict[str, Any]:
        arn = self._managed(request["resourceIdentifier"])
        lasts = re.fullmatch(r"([1-9][0-9]*)(m|h)", request["expiresIn"])
        minutes = int(lasts[1]) * _MINUTES[lasts[2]] if lasts else 0
        if not 1 <= minutes <= _LONGEST_MIN:
            raise AwsError("ValidationException", "InvalidExpiresIn")
        if request["awayFrom"] not in zone_ids():
            raise AwsError("ValidationException", "InvalidAz")
        if self._active(arn):
            raise AwsError("ConflictException", "ZonalShiftAlreadyExists", HTTPStatus.CONFLICT)
        shift = {
            "zonalShiftId": self.core.new_id("shift"),
            "resourceIdentifier": arn,
            "awayFrom": request["awayFrom"],
            "comment": request["comment"],
            "startTime": moment(self.core.now),
            "expiryTime": moment(self.core.now + 60 * minutes),
        }
        self.core.world.shifts.append(shift)
        return {**shift, "status": "ACTIVE"}

    def cancel_zonal_shift(self, request: Mapping[str, Any]) -> dict[str, Any]:
        shifts, wanted = self.core.world.shifts, request["zonalShiftId"]
        shift = next((each for each in shifts if each["zonalShiftId"] == wanted), None)
        if shift is None:
            raise AwsError("ResourceNotFoundException", wanted, HTTPStatus.NOT_FOUND)
        if not self._is_active(shift):
            raise AwsError("ConflictException", "ZonalShiftStatusNotActive", HTTPStatus.CONFLICT)
        shifts.remove(shift)
        return {**shift, "status": "CANCELED"}

    def _managed(self, arn: str) -> str:
        if arn not in self.core.world.shiftable:
            raise AwsError("ResourceNotFoundException", arn, HTTPStatus.NOT_FOUND)
        return arn

    def _active(self, arn: str) -> list[dict[str, Any]]:
        return [
            shift
            for shift in self.core.world.shifts
            if shift["resourceIdentifier"] == arn and self._is_active(shift)
        ]

    def _is_active(self, shift: Mapping[str, Any]) -> bool:
        return bool(moment(self.core.now) < shift["expiryTime"])


def zone_ids() -> list[str]:
    return [f"use1-az{number}" for number, _ in enumerate(ZONES, 1)]
