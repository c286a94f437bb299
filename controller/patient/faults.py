"""Faults of the simulated array and scanner, which no controller, estimator or supervisor knows of.

A patient file lists them under `faults`. What each does is in `scanner` (images and their time
stamps), `array` (power) and `faulty_loads` (where the heat goes).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A fault that lasts from a time on, until another.

    Attributes
    ----------
    start, end : since the treatment began [s]; it is there from the former on, and gone at the
        latter, which is infinite for one that lasts.
    """

    start: float
    end: float

    def at(self, time: float) -> bool:
        """Whether it is there at a time [s]."""
        return self.start <= time < self.end


@dataclass(frozen=True)
class FrozenImage(Fault):
    """Every image shows what the last one before the fault did; `half`: only in one half of it."""

    half: bool


@dataclass(frozen=True)
class NoImage(Fault):
    """No image arrives."""


@dataclass(frozen=True)
class LostImages(Fault):
    """A `fraction` of the images, drawn at random, does not arrive."""

    fraction: float


@dataclass(frozen=True)
class LateImage(Fault):
    """Images arrive later by a `delay` [s], with the time at which they were acquired."""

    delay: float


@dataclass(frozen=True)
class Drift(Fault):
    """Apparent temperature that grows by a `rate` [K/s], the same everywhere, and that no
    correction removes; after the end it stays."""

    rate: float


@dataclass(frozen=True)
class Jump(Fault):
    """All of an image is too hot by `excess` [K]."""

    excess: float


@dataclass(frozen=True)
class Noise(Fault):
    """The standard deviation of a voxel's noise is another, `deviation` [K]."""

    deviation: float


@dataclass(frozen=True)
class ClockStuck(Fault):
    """The time stamps of the images stand still."""


@dataclass(frozen=True)
class ClockBackwards(Fault):
    """The time stamps of the images run backwards."""


@dataclass(frozen=True)
class FocalShift(Fault):
    """All foci lie off their places by (R, A, S) `shift` [m]."""

    shift: tuple[float, float, float]


@dataclass(frozen=True)
class DeadElements(Fault):
    """`count` elements of the array, drawn with `seed`, do not radiate."""

    count: int
    seed: int


@dataclass(frozen=True)
class PowerFactor(Fault):
    """The array radiates `factor` times the commanded power."""

    factor: float


@dataclass(frozen=True)
class PowerStuck(Fault):
    """The array keeps to the power it gives when the fault begins, or to the next if that is none,
    whatever is commanded; only the end of the treatment, which cuts its supply, ends it."""


@dataclass(frozen=True)
class SwappedFoci(Fault):
    """The foci are addressed in reverse order: the last gets the power of the first."""


def present(faults: Iterable[Fault], kind: type, time: float) -> list:
    """The faults of a kind that are there at a time [s]."""
    return [fault for fault in faults if isinstance(fault, kind) and fault.at(time)]
