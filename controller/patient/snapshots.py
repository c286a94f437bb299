"""Snapshots of the whole patient during a treatment, few enough to keep whatever its length."""

from __future__ import annotations

import numpy as np

from hifuflow.records.trajectory import single

from .plant import HeatedPatient

FIRST_INTERVAL = 10.0  # s
MOST = 100


class Snapshots:
    """Snapshots of the temperature of every unknown and the dose of every voxel, evenly spaced.

    They begin `FIRST_INTERVAL` apart; whenever there are more than `MOST`, every second one is
    dropped and the interval doubled. The first and the latest sample are always among them, and
    those that are to be kept.
    """

    def __init__(self, plant: HeatedPatient):
        self._plant = plant
        self._interval, self._taken, self._kept = FIRST_INTERVAL, [], []

    def keep(self, time: float) -> None:
        """Take one now, whatever the interval, and do not drop it."""
        self._kept.append(self._now(time))

    def offer(self, time: float) -> None:
        """Consider one sample of the treatment."""
        if self._taken and time - self._taken[-1][0] < self._interval - 1e-9:
            return
        self._taken.append(self._now(time))
        if len(self._taken) > MOST:
            self._taken = self._taken[::2]
            self._interval *= 2

    def arrays(self, time: float) -> dict[str, np.ndarray]:
        """The snapshots as `Trajectory` holds them; `time` is that of the last sample."""
        kept = {row[0]: row for row in (*self._taken, *self._kept)}
        taken = [kept[when] for when in sorted(kept)]
        if taken[-1][0] < time:
            taken = [*taken, self._now(time)]
        dosed = np.flatnonzero(self._plant.voxels.dose > 0)
        dose = np.zeros((len(taken), len(dosed)), dtype=np.float32)
        for row, (_, _, voxels, values) in zip(dose, taken, strict=True):
            row[np.searchsorted(dosed, voxels)] = values
        return {"snapshot_t": np.array([row[0] for row in taken]),
                "snapshot_temperature": np.array([row[1] for row in taken]),
                "snapshot_voxel": dosed, "snapshot_dose": dose}

    def _now(self, time: float):
        dose = self._plant.voxels.dose
        dosed = np.flatnonzero(dose > 0)
        return (time, self._plant.node_temperature.astype(np.float32), dosed,
                single(dose[dosed]))
