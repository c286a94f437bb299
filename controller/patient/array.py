"""Simulated array: what it radiates of what is commanded."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .faults import Fault, PowerFactor, PowerStuck, SwappedFoci, present
from .faulty_loads import field_at, fields_of


class Array:
    """Simulated array, with its faults.

    Parameters
    ----------
    n_foci : number of foci.
    faults : all of the treatment; those of the scanner are ignored.

    Attributes
    ----------
    off : (n_fields n_foci,) the power of an array without supply.
    """

    def __init__(self, n_foci: int, faults: Iterable[Fault] = ()):
        self._n_foci, self._faults = n_foci, tuple(faults)
        self._fields = fields_of(self._faults)
        self.off = np.zeros(n_foci * len(self._fields))
        self._commanded = np.zeros(n_foci)
        self._stuck: np.ndarray | None = None

    def radiated(self, time: float, command: np.ndarray) -> np.ndarray:
        """(n_fields n_foci,) power at the inputs of the patient's model during a sample [W].

        The model has the foci once for each field that `faulty_loads.fields_of` lists; all power
        is in the block of the one that is there now.

        Parameters
        ----------
        time : start of the sample [s].  command : (n_foci,) [W].
        """
        power = self._obeyed(time, np.array(command, dtype=float))
        if present(self._faults, SwappedFoci, time):
            power = power[::-1]
        for fault in present(self._faults, PowerFactor, time):
            power = power * fault.factor
        here = self._fields.index(field_at(self._faults, time))
        radiated = self.off.copy()
        radiated[here * self._n_foci:(here + 1) * self._n_foci] = power
        return radiated

    def _obeyed(self, time: float, command: np.ndarray) -> np.ndarray:
        """The command, or the power at which the array is stuck."""
        before, self._commanded = self._commanded, command
        if not present(self._faults, PowerStuck, time):
            self._stuck = None
            return command
        if self._stuck is None:
            if not (before.any() or command.any()):
                return command
            self._stuck = before if before.any() else command
        return self._stuck
