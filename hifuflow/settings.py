"""Parts that the typed settings of several stages have in common.

A section of the configuration is read once, by `read` of a class in a stage's `settings.py`. From
then on it is a frozen dataclass in SI units without unit suffixes (temperatures stay in degC, doses
in CEM43 min). A value that only a stage can judge is refused through `Written`, in the words and
the unit of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import InputError

MILLIMETRE = 1e-3  # [m]


@dataclass(frozen=True)
class Written:
    """A section of a configuration file as it was written, to name a fault in it.

    Attributes
    ----------
    file : the file.  key : the section's dotted key; "" is the whole file.
    values : its content with all defaults filled in, in the file's units. Must not be changed.
    """

    file: str
    key: str
    values: dict = field(repr=False)

    def part(self, name: str) -> Written:
        """The section `name` of this one."""
        return Written(self.file, self._dotted(name), self.values[name])

    def error(self, problem: str, name: str = "", *, value=None, allowed=None) -> InputError:
        """The error for the value under `name`, or, without a name, for the whole section.

        `value` is shown instead of the written one, e.g. the faulty entry of a list.
        """
        if value is None and name:
            value = self.values[name]
        return InputError(problem, file=self.file, key=self._dotted(name), value=value,
                          allowed=allowed)

    def _dotted(self, name: str) -> str:
        return ".".join(filter(None, (self.key, name)))


@dataclass(frozen=True)
class BeamTissue:
    """Properties of a tissue along a straight ray.

    Attributes
    ----------
    attenuation : of the amplitude at 1 MHz [Np/m].
    blocks : kind of obstacle ("bone", "lung" or "gas"); "" lets the beam pass.
    exponent : power of the frequency with which the attenuation grows.
    """

    attenuation: float
    blocks: str = ""
    exponent: float = 1.0

    @classmethod
    def read_all(cls, section: dict) -> Mapping[str, BeamTissue]:
        """Name -> properties, from a table of tissues."""
        return {name: cls(values["attenuation_np_m_mhz"], values.get("blocks", ""),
                          values.get("attenuation_exponent", 1.0))
                for name, values in section.items()}

    def attenuation_at(self, frequency: float) -> float:
        """Of the amplitude at a frequency [Hz], in Np/m."""
        return self.attenuation * (frequency * 1e-6) ** self.exponent


@dataclass(frozen=True)
class Prescription:
    """Prescription of a treatment: its goal, and the limits of power and time.

    Attributes
    ----------
    dose : thermal dose that counts as treated [CEM43 min].
    coverage : fraction of the target's volume that must receive it.
    max_power : acoustic power of the array [W].
    max_time : the treatment ends here at the latest [s].
    """

    dose: float
    coverage: float
    max_power: float
    max_time: float

    @classmethod
    def read(cls, section: dict) -> Prescription:
        """Settings from the section `prescription` of a patient file."""
        return cls(float(section["dose_cem43_min"]), float(section["coverage"]),
                   float(section["max_power_w"]), float(section["max_time_s"]))


def metres(millimetres):
    """A length [m], or a tuple of lengths for a list of them; None stays None."""
    if isinstance(millimetres, list | tuple):
        return tuple(metres(value) for value in millimetres)
    return None if millimetres is None else millimetres * MILLIMETRE


def unless_auto(value):
    """The value; None for "auto", which leaves the choice to the stage."""
    return None if value == "auto" else value
