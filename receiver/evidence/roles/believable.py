"""The values that a machine can have; an exporter's other values are left out."""

from collections.abc import Mapping

from models.features.signals import Role, Unit

# A larger value comes from a broken exporter, a misread counter, or percent; no machine uses less
# than a megabyte of memory. Each has a margin for late scrapes.
_BELIEVABLE: Mapping[Unit, tuple[float, float]] = {
    Unit.RATIO: (-0.5, 1.5),
    Unit.BYTES: (2.0**20, 2.0**50),
    Unit.BYTES_PER_SECOND: (0, 2.0**43),
    Unit.COUNT: (0, 1e8),
    Unit.PER_SECOND: (0, 1e9),
    Unit.SECONDS: (0, 1e6),
}


def believable(role: Role) -> tuple[float, float]:
    """The least and the largest value of a machine."""
    return _BELIEVABLE[role.unit]


def is_believable(role: Role, value: float) -> bool:
    least, most = believable(role)
    return least <= value <= most
