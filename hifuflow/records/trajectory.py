"""A closed-loop treatment, sample by sample: `control/{controller}/trajectory.h5`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hifuflow.formats.hdf5 import create, get_text, open_artifact, put

from .outputs import Outputs


@dataclass
class Trajectory:
    """A closed-loop treatment: `control/{controller}/trajectory.h5`.

    Sample k holds the state at time t[k]; power[k] acts from t[k] to t[k+1].

    Attributes
    ----------
    t : (n_t,) [s].  power : (n_t, n_foci) acoustic power [W].
    constraint_temperature : (n_t, n_c) plant [degC].
    target_temperature, target_dose : (n_t, n_v) plant [degC], [CEM43 min].
    estimated_constraint_temperature : (n_t, n_c) what the controller believed [degC].
    measured_temperature : (n_t, n_m) thermometry [degC] at measured_position (n_m, 3) [m].
    coverage : (n_t,) fraction of the target's volume at the prescribed dose, plant.
    event : (n_e,) text; event_time : (n_e,) [s].
    voxel_index : (n_voxels, 3) index into anatomy/labels.nii.gz;
    voxel_peak_temperature [degC], voxel_dose [CEM43 min] : (n_voxels,) at the end, plant.
    snapshot_t : (n_s,) [s], times of the pictures of the whole plant that follow.
    snapshot_temperature : (n_s, n) [degC] of the plant's unknowns.
    snapshot_dose : (n_s, n_d) [CEM43 min] of the voxels that ever collect dose, the rows
        snapshot_voxel (n_d,) of voxel_index; all others have none.
    outputs, foci : as in `BioheatModel`.
    """

    t: np.ndarray
    power: np.ndarray
    constraint_temperature: np.ndarray
    target_temperature: np.ndarray
    target_dose: np.ndarray
    estimated_constraint_temperature: np.ndarray
    measured_temperature: np.ndarray
    measured_position: np.ndarray
    coverage: np.ndarray
    event_time: np.ndarray
    event: np.ndarray
    voxel_index: np.ndarray
    voxel_peak_temperature: np.ndarray
    voxel_dose: np.ndarray
    snapshot_t: np.ndarray
    snapshot_temperature: np.ndarray
    snapshot_voxel: np.ndarray
    snapshot_dose: np.ndarray
    outputs: Outputs
    foci: np.ndarray

    DATASETS: ClassVar = {
        "t": ("s", "time"),
        "power": ("W", "acoustic power into each focus from t[k] to t[k+1]"),
        "constraint_temperature": ("degC", "plant, constraint points"),
        "target_temperature": ("degC", "plant, target voxels"),
        "target_dose": ("min", "plant, thermal dose CEM43 of the target voxels"),
        "estimated_constraint_temperature": ("degC", "the controller's estimate"),
        "measured_temperature": ("degC", "simulated MR thermometry"),
        "measured_position": ("m", "where thermometry measures"),
        "coverage": ("1", "fraction of the target's volume at the prescribed dose"),
        "event_time": ("s", "when each event happened"),
        "voxel_index": ("1", "voxel index into anatomy/labels.nii.gz"),
        "voxel_peak_temperature": ("degC", "plant, highest temperature of each voxel"),
        "voxel_dose": ("min", "plant, final thermal dose CEM43 of each voxel"),
        "snapshot_t": ("s", "time of each snapshot"),
        "snapshot_temperature": ("degC", "plant, unknowns of fem/plant.h5 at each snapshot"),
        "snapshot_voxel": ("1", "rows of voxel_index that ever collect thermal dose"),
        "snapshot_dose": ("min", "plant, thermal dose CEM43 of these voxels at each snapshot"),
        "foci": ("m", "focus of each input"),
    }
    SINGLE_PRECISION: ClassVar = (
        "snapshot_temperature", "snapshot_dose",
        "target_temperature", "target_dose", "measured_temperature",
        "constraint_temperature", "estimated_constraint_temperature")

    def save(self, path, patient: str, config_sha256: str) -> None:
        """Write the treatment to `path`, with the patient's name and the hash of the settings."""
        with create(path, "trajectory", patient, config_sha256) as file:
            for name, (units, description) in self.DATASETS.items():
                value = np.asarray(getattr(self, name))
                if name in self.SINGLE_PRECISION:
                    value = single(value)
                options = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
                put(file, name, value, units, description, **(options if value.size > 1000 else {}))
            put(file, "event", np.asarray(self.event, dtype=str), "1", "what happened")
            self.outputs.write(file)

    @classmethod
    def load(cls, path) -> Trajectory:
        """Read a treatment that `save` wrote."""
        with open_artifact(path, "trajectory") as file:
            return cls(**{name: file[name][:] for name in cls.DATASETS},
                       event=get_text(file["event"]), outputs=Outputs.read(file))


def single(value: np.ndarray) -> np.ndarray:
    """In single precision; what is too large for it is its largest number, never infinite.

    Thermal dose doubles with every kelvin: linear tissue at 171 degC has too much after a minute.
    """
    return np.minimum(value, np.finfo(np.float32).max).astype(np.float32)
