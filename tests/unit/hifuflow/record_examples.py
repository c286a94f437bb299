"""A filled example of every record, and where two records differ.

No two entries of an example are equal, so that none can be exchanged unseen.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from hifuflow import records
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.bioheat_model import BioheatModel, Voxels
from hifuflow.records.cells import Cells
from hifuflow.records.faulty_load import FaultyLoad
from hifuflow.records.heating import Heating
from hifuflow.records.outputs import Outputs
from hifuflow.records.plan import Plan
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.records.trajectory import Trajectory

N, N_FOCI, N_POINTS, N_VOXELS = 7, 3, 2, 4  # unknowns, foci, constraint points, target voxels
P = N_POINTS + N_VOXELS


class Values:
    """Numbers and texts that were not given out before."""

    def __init__(self):
        self._given = 0

    def floats(self, *shape) -> np.ndarray:
        """Multiples of 1/8 that count on: exact in single precision too."""
        size = int(np.prod(shape))
        values = (self._given + 1 + np.arange(size)) / 8
        self._given += size
        return values.reshape(shape)

    def number(self) -> float:
        return float(self.floats(1)[0])

    def integers(self, *shape, dtype=np.int32) -> np.ndarray:
        return (8 * self.floats(*shape)).astype(dtype)

    def text(self, *shape) -> np.ndarray:
        return np.array([f"tissue é {n}" for n in self.integers(*shape).flat]).reshape(shape)

    def flags(self, *shape) -> np.ndarray:
        """Yes and no in an order that repeats nowhere in this file."""
        values = np.random.default_rng(int(8 * self.number())).random(shape) < 0.5
        values.flat[0], values.flat[1] = True, False
        return values

    def csr(self, *shape) -> sp.csr_array:
        """Stored entries in every row but the first, among them a zero."""
        full = self.floats(*shape) * (np.add.outer(*map(np.arange, shape)) % 2)
        full[0] = 0
        matrix = sp.csr_array(full)
        matrix.data[-1] = 0
        return matrix

    def outputs(self) -> Outputs:
        limit, dose_limit = self.floats(P), self.floats(P)
        limit[N_POINTS:], dose_limit[1:] = np.nan, np.nan
        return Outputs(
            kind=np.array(["constraint"] * N_POINTS + ["target"] * N_VOXELS),
            position=self.floats(P, 3), volume=self.floats(P), baseline=self.floats(P),
            limit=limit, name=self.text(P), region=self.text(P), dose_limit=dose_limit,
            soft=self.flags(P), mean_baseline=self.floats(P))

    def voxels(self) -> Voxels:
        return Voxels(interpolation=self.csr(5, N), index=self.integers(5, 3),
                      baseline=self.floats(5), target=self.flags(5), volume=self.number())

    def cells(self) -> Cells:
        return Cells(nodes=self.integers(3, 10), vertices=self.floats(3, 4, 3),
                     regions=["fat", "tumour"], share=self.floats(3, 2),
                     conductivity=self.floats(2), perfusion=self.floats(2),
                     held_baseline=self.floats(6), arterial=self.number())

    def anatomy(self) -> Anatomy:
        labels = np.arange(60).reshape(3, 4, 5) % 4
        affine = np.diag([*self.floats(3) / 1024, 1])
        affine[:3, 3] = self.floats(3)
        regions = {name: {"label": label, "tissue": f"tissue of {name}", "volume_m3": self.number()}
                   for label, name in enumerate(("fat", "tumour", "cyst"), 1)}
        coupling = self.flags(3, 4, 5)
        return Anatomy(labels=labels.astype(np.int16), affine=affine, regions=regions,
                       target=["tumour", "cyst"], coupling=coupling,
                       axis=self.floats(3), source_sha256="source",
                       beam={"blocked_fraction": self.number(), "blocked_by": {"rib": 0.5}},
                       record={"crop": {"margin_m": [self.number(), self.number()]}, "note": None},
                       air=self.flags(3, 4, 5) & ~coupling)

    def plan(self) -> Plan:
        return Plan(apex=self.floats(3), axis=self.floats(3), foci=self.floats(N_FOCI, 3),
                    spacing_m=self.number(), apex_shift=self.floats(N_FOCI, 3),
                    focal_width_m=self.number(), focal_length_m=self.number(),
                    coverage=self.number(), spread_coverage=self.number(),
                    left_out=[{"position_m": [self.number()] * 3, "reason": "out of reach"}],
                    warnings=["the beam passes a rib"], switch_time_s=self.number(),
                    move_time_s=self.number())

    def heating(self) -> Heating:
        return Heating(q=self.floats(N_FOCI, 4, 5, 19).astype(np.float32), affine=self.floats(4, 4),
                       foci=self.floats(N_FOCI, 3), focal_pressure_pa=self.floats(N_FOCI),
                       absorbed_fraction=self.floats(N_FOCI), frequency_hz=self.number(),
                       transducer="sphère",
                       balance={"absorbed": self.floats(N_FOCI), "sideways": self.floats(N_FOCI)},
                       steering={"gain": self.floats(2, 4, 5), "focus_m": self.floats(3)})

    def bioheat_model(self) -> BioheatModel:
        return BioheatModel(E=self.csr(N, N), K=self.csr(N, N), B=self.floats(N, N_FOCI),
                            C=self.csr(P, N), dof_coordinates=self.floats(N, 3),
                            baseline=self.floats(N), outputs=self.outputs(),
                            foci=self.floats(N_FOCI, 3), voxels=self.voxels(), cells=self.cells(),
                            C_mean=self.csr(P, N))

    def faulty_load(self) -> FaultyLoad:
        return FaultyLoad(B=self.floats(N, N_FOCI), foci=self.floats(N_FOCI, 3))

    def reduced_model(self) -> ReducedModel:
        return ReducedModel(A=self.floats(4, 4), B=self.floats(4, N_FOCI), C=self.floats(P, 4),
                            hsv=self.floats(6), error_bound=self.floats(6), method="by hand",
                            outputs=self.outputs(), foci=self.floats(N_FOCI, 3),
                            C_mean=self.floats(P, 4), D=self.floats(P, N_FOCI))

    def trajectory(self, n_t: int = 300) -> Trajectory:
        """With more than a thousand entries where there is one for each time and voxel."""
        return Trajectory(
            t=self.floats(n_t), power=self.floats(n_t, N_FOCI),
            constraint_temperature=self.floats(n_t, N_POINTS),
            target_temperature=self.floats(n_t, N_VOXELS),
            target_dose=self.floats(n_t, N_VOXELS),
            estimated_constraint_temperature=self.floats(n_t, N_POINTS),
            measured_temperature=self.floats(n_t, 5), measured_position=self.floats(5, 3),
            coverage=self.floats(n_t), event_time=self.floats(2), event=self.text(2),
            voxel_index=self.integers(6, 3), voxel_peak_temperature=self.floats(6),
            voxel_dose=self.floats(6), snapshot_t=self.floats(3),
            snapshot_temperature=self.floats(3, N), snapshot_voxel=self.integers(2, dtype=np.int64),
            snapshot_dose=self.floats(3, 2), outputs=self.outputs(), foci=self.floats(N_FOCI, 3))


def all_records() -> dict[str, type]:
    """Every dataclass of `hifuflow/records/`, by name."""
    modules = [importlib.import_module(f"{records.__name__}.{module.name}")
               for module in pkgutil.iter_modules(records.__path__)]
    return {name: kind for module in modules for name, kind in vars(module).items()
            if is_dataclass(kind) and isinstance(kind, type) and kind.__module__ == module.__name__}


def entries(record) -> dict:
    """Field -> value."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def optional(kind) -> list[str]:
    """Fields of a record that may be left out."""
    return [field.name for field in fields(kind)
            if field.default is not MISSING or field.default_factory is not MISSING]


def without(record, names):
    """The record made anew without these fields."""
    return type(record)(**{name: value for name, value in entries(record).items()
                           if name not in names})


# Records that are a file of their own, with its name; the others are parts of these.
FILES = {"anatomy": "anatomy", "plan": "plan.json", "heating": "heating.h5",
         "bioheat_model": "plant.h5", "faulty_load": "load.h5", "reduced_model": "rom.h5",
         "trajectory": "trajectory.h5"}
HDF5 = [name for name, file in FILES.items() if file.endswith(".h5")]


def example(name: str):
    """A new example of the record of this name in `FILES`."""
    return getattr(Values(), name)()


def save(record, folder) -> Path:
    """Write a record into a folder; returns where."""
    path = folder / FILES[next(name for name in FILES if isinstance(record, type(example(name))))]
    record.save(path, *(("someone", "hash") if path.suffix == ".h5" else ()))
    return path


# Stored with seven digits: temperatures and doses, whose number makes up a trajectory's size.
SINGLE = {"snapshot_temperature", "snapshot_dose", "target_temperature", "target_dose",
          "measured_temperature", "constraint_temperature", "estimated_constraint_temperature"}


def differences(found, expected, name: str = "") -> list[str]:
    """Fields and entries in which two records differ, in type, shape or by the last bit."""
    if is_dataclass(expected) and type(found) is type(expected):
        return differences(entries(found), entries(expected), name)
    if isinstance(expected, dict) and isinstance(found, dict) and set(found) == set(expected):
        return [one for key, value in expected.items()
                for one in differences(found[key], value, f"{name}/{key}")]
    if sp.issparse(expected):
        same = (sp.issparse(found) and found.format == expected.format
                and found.nnz == expected.nnz and _same_array(found.toarray(), expected.toarray()))
    elif isinstance(expected, np.ndarray):
        if name.split("/")[-1] in SINGLE:
            expected = expected.astype(np.float32)
        # A NIfTI header's affine is in millimetres and single precision.
        same = _same_array(found, expected, 1e-6 if name == "/affine" else 0.0)
    else:
        same = isinstance(found, type(expected)) and found == expected
    return [] if same else [name]


def _same_array(found, expected, tolerance: float = 0.0) -> bool:
    """Of one shape, one type (texts may be wider) and equal entries; NaN equals NaN."""
    kind = expected.dtype.kind
    if not isinstance(found, np.ndarray) or found.shape != expected.shape or (
            found.dtype.kind != kind if kind == "U" else found.dtype != expected.dtype):
        return False
    if kind != "f":
        return np.array_equal(found, expected)
    return np.allclose(found, expected, rtol=tolerance, atol=0, equal_nan=True)
