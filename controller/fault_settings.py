"""Faults of the simulated array and scanner, as a patient file lists and names them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hifuflow.settings import metres

from .dose import SECONDS_PER_MINUTE
from .patient.faults import (
    ClockBackwards,
    ClockStuck,
    DeadElements,
    Drift,
    Fault,
    FocalShift,
    FrozenImage,
    Jump,
    LateImage,
    LostImages,
    NoImage,
    Noise,
    PowerFactor,
    PowerStuck,
    SwappedFoci,
)

_KINDS = {
    "frozen_image": (FrozenImage, lambda given: [given["part"] == "half"]),
    "no_image": (NoImage, lambda given: []),
    "lost_images": (LostImages, lambda given: [float(given["fraction"])]),
    "late_image": (LateImage, lambda given: [float(given["s"])]),
    "drift": (Drift, lambda given: [given["k_per_min"] / SECONDS_PER_MINUTE]),
    "jump": (Jump, lambda given: [float(given["k"])]),
    "noise": (Noise, lambda given: [float(given["k"])]),
    "clock_stuck": (ClockStuck, lambda given: []),
    "clock_backwards": (ClockBackwards, lambda given: []),
    "focal_shift": (FocalShift, lambda given: [metres(given["mm"])]),
    "dead_elements": (DeadElements, lambda given: [given["count"], given["seed"]]),
    "power_factor": (PowerFactor, lambda given: [float(given["value"])]),
    "power_stuck": (PowerStuck, lambda given: []),
    "swapped_foci": (SwappedFoci, lambda given: []),
}
KINDS = tuple(_KINDS)
_NAMES = {kind: name for name, (kind, _) in _KINDS.items()}


def read_faults(section: list[dict]) -> tuple[Fault, ...]:
    """From the section `faults` of a patient file."""
    faults = []
    for given in section:
        kind, further = _KINDS[given["kind"]]
        end = math.inf if given["until_s"] is None else float(given["until_s"])
        faults.append(kind(float(given["from_s"]), end, *further(given)))
    return tuple(faults)


def changes(faults: Iterable[Fault], before: float, now: float) -> list[str]:
    """What to write into the record of a treatment: faults that have begun or ended since
    `before` [s]; not for controllers."""
    return [f"simulated fault {verb}: {_NAMES[type(fault)]}" for fault in faults
            for time, verb in ((fault.start, "begins"), (fault.end, "ends"))
            if before < time <= now]
