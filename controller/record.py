"""Record of a treatment while it runs."""

from __future__ import annotations

import numpy as np

from hifuflow.controller.patient.plant import HeatedPatient
from hifuflow.controller.patient.snapshots import Snapshots
from hifuflow.job import log
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.records.trajectory import Trajectory

from .dose import covered


class Record:
    """Record of a treatment: its samples and events, of which it makes the `Trajectory`."""

    def __init__(self, rom: ReducedModel, plant: HeatedPatient, dose: float):
        self._rom, self._plant, self._dose = rom, plant, dose
        self._rows: dict[str, list] = {name: [] for name in (
            "t", "power", "constraint_temperature", "target_temperature", "target_dose",
            "estimated_constraint_temperature", "measured_temperature", "coverage")}
        self._events: list[tuple[float, str]] = []
        self._over_limit = False
        self._snapshots = Snapshots(plant)

    def sample(self, time: float, power, estimated_constraint_temperature, measured) -> None:
        """Add one sample: what the controller knew and did, and the truth from the plant."""
        outputs, temperature = self._rom.outputs, self._plant.temperature
        values = {
            "t": time, "power": power, "measured_temperature": measured,
            "constraint_temperature": temperature[outputs.constraint],
            "target_temperature": temperature[outputs.target],
            "target_dose": self._plant.target_dose,
            "estimated_constraint_temperature": estimated_constraint_temperature,
            "coverage": covered(self._plant.target_dose, self._dose,
                                outputs.volume[outputs.target]),
        }
        for name, value in values.items():
            self._rows[name].append(np.array(value))
        self._watch_limits(time, temperature)
        self._snapshots.offer(time)

    def end(self, time: float, status: str) -> None:
        """The treatment is over, and what follows is cooling: pictures show this very moment."""
        self.event(time, f"end: {status}")
        self._snapshots.keep(time)

    def event(self, time: float, text: str) -> None:
        """Add an event; it also goes to the log's debug level."""
        self._events.append((time, text))
        log.debug("%.0f s: %s", time, text)

    def trajectory(self, voxel_index: np.ndarray, measured_position: np.ndarray) -> Trajectory:
        """All that was recorded, with the last sample's power set to 0."""
        rows = {name: np.array(values) for name, values in self._rows.items()}
        rows["power"][-1] = 0.0
        outputs, voxels = self._rom.outputs, self._plant.voxels
        return Trajectory(**rows, **self._snapshots.arrays(rows["t"][-1]),
                          measured_position=measured_position,
                          event_time=np.array([time for time, _ in self._events]),
                          event=np.array([text for _, text in self._events], dtype=str),
                          voxel_index=voxel_index, voxel_peak_temperature=voxels.peak,
                          voxel_dose=voxels.dose, outputs=outputs, foci=self._rom.foci)

    def _watch_limits(self, time: float, temperature: np.ndarray) -> None:
        outputs = self._rom.outputs
        excess = (temperature - outputs.limit)[outputs.constraint]
        over = bool(excess.size and excess.max() > 0)
        if over and not self._over_limit:
            self.event(time, f"constraint {int(excess.argmax()) + 1} above its limit by "
                             f"{excess.max():.2g} K")
        elif self._over_limit and not over:
            self.event(time, "all constraints below their limits again")
        self._over_limit = over


