"""The files between stages, one dataclass each: what it holds, in which units, how it is stored.

Stages meet only here. SI units, temperatures in degrees Celsius, thermal dose in CEM43 minutes,
positions in the patient frame (RAS+, metres).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
import scipy.sparse as sp
from scipy import ndimage

from .cells import Cells
from .hdf5 import create, get_csr, get_text, open_artifact, put, put_csr
from .job import atomic, read_json, write_json

PLANES_IN_CHUNK = 16  # of a heating's q that are packed and read together


@dataclass
class Anatomy:
    """Segmented anatomy in RAS+ order: `labels.nii.gz`, `coupling.nii.gz`, `regions.json`.

    Attributes
    ----------
    labels : (nx, ny, nz) int16; 0 is outside the body, other values are regions.
    affine : (4, 4), voxel index to patient position [m]; diagonal and positive (RAS+).
    regions : region name -> {"label", "tissue", "volume_m3"}.
    target : names of the regions that make up the target (never empty).
    coupling : (nx, ny, nz) bool; outside voxels on the transducer's side, filled with water.
        Outside voxels that are not coupling lie behind a cut, where nothing is coupled.
    axis : (3,) unit vector, the direction in which the ultrasound travels.
    source_sha256 : hash of what this came from.
    beam : what is in the way of a beam from the transducer to the target, on the whole label map:
        "blocked_fraction", "blocked_by" (obstacle -> fraction), "arriving_fraction" (of the power).
    record : how it came about, further entries of `regions.json`.
    """

    labels: np.ndarray
    affine: np.ndarray
    regions: dict
    target: list
    coupling: np.ndarray
    axis: np.ndarray
    source_sha256: str
    beam: dict = field(default_factory=dict)
    record: dict = field(default_factory=dict)

    @property
    def spacing(self) -> np.ndarray:
        """(3,) voxel edge lengths [m]."""
        return np.diag(self.affine)[:3].copy()

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel [m3]."""
        return float(np.prod(self.spacing))

    @cached_property
    def body_mask(self) -> np.ndarray:
        """(nx, ny, nz) bool: voxels of any region."""
        return self.labels > 0

    @cached_property
    def target_mask(self) -> np.ndarray:
        """(nx, ny, nz) bool: voxels of the target."""
        return np.isin(self.labels, [self.regions[name]["label"] for name in self.target])

    @cached_property
    def target_components(self) -> list[float]:
        """Volumes of the target's face-connected components, largest first [m3]."""
        component, n = ndimage.label(self.target_mask)
        voxels = np.bincount(component.ravel(), minlength=n + 1)[1:]
        return (np.sort(voxels)[::-1] * self.voxel_volume).tolist()

    def position(self, index) -> np.ndarray:
        """Positions [m] of voxel indices (..., 3); voxel centres have whole-number indices."""
        return np.asarray(index) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def index(self, position) -> np.ndarray:
        """Fractional voxel indices of positions (..., 3) [m]."""
        return (np.asarray(position) - self.affine[:3, 3]) / self.spacing

    def table(self, values: dict, outside: float) -> np.ndarray:
        """Look-up table from label to a number: `table(...)[labels]` maps tissue -> value."""
        table = np.full(int(self.labels.max()) + 1, outside)
        for region in self.regions.values():
            table[region["label"]] = values[region["tissue"]]
        return table

    def save(self, folder) -> None:
        """Write the two images and `regions.json` into a folder."""
        import nibabel as nib  # here and in `load` only: treatments are spared its loading

        folder = Path(folder)
        millimetres = self.affine.copy()
        millimetres[:3] *= 1e3
        for name, data in (("labels", self.labels.astype(np.int16)),
                           ("coupling", self.coupling.astype(np.uint8))):
            image = nib.Nifti1Image(data, millimetres)
            image.header.set_xyzt_units("mm", "sec")
            with atomic(folder / f"{name}.nii.gz") as temporary:
                nib.save(image, temporary)
        target = self.target_mask
        centroid = self.position(np.argwhere(target)).mean(axis=0)
        write_json(folder / "regions.json", {
            "regions": self.regions,
            "target": {"regions": self.target,
                       "volume_m3": float(target.sum()) * self.voxel_volume,
                       "centroid_m": centroid.tolist(),
                       "n_components": len(self.target_components),
                       "component_volume_m3": self.target_components},
            "axis": self.axis.tolist(),
            "source_sha256": self.source_sha256,
            "beam": self.beam,
            **self.record,
        })

    @classmethod
    def load(cls, folder) -> Anatomy:
        """Read what `save` wrote."""
        import nibabel as nib

        folder = Path(folder)
        record = read_json(folder / "regions.json")
        image = nib.load(folder / "labels.nii.gz")
        affine = image.affine.astype(float)
        affine[:3] *= 1e-3
        coupling = np.asarray(nib.load(folder / "coupling.nii.gz").dataobj).astype(bool)
        regions, target, axis, source_sha256, beam = (
            record.pop(key) for key in ("regions", "target", "axis", "source_sha256", "beam"))
        return cls(np.asarray(image.dataobj).astype(np.int16), affine, regions, target["regions"],
                   coupling, np.array(axis), source_sha256, beam, record)


@dataclass
class Plan:
    """Where the transducer stands and where it will focus: `acoustics/plan.json`.

    While focus i is treated, the transducer's apex is at apex + apex_shift[i] (its axis stays), so
    in the transducer's own frame of that moment the focus lies at
    rotation.T @ (foci[i] - apex - apex_shift[i]). The shift is zero wherever electronic steering
    alone reaches the focus.

    Attributes
    ----------
    apex : (3,) centre of the transducer's bowl [m].
    axis : (3,) unit vector from the apex to the geometric focus.
    foci : (n_foci, 3) planned foci [m], in raster order.
    spacing_m : distance between neighbouring foci [m].
    apex_shift : (n_foci, 3) how far the transducer is moved for each focus [m].
    focal_width_m, focal_length_m : of the focus in water, at half its pressure [m].
    coverage : fraction of the target that lies inside the foci's ellipsoids of these sizes.
    spread_coverage : the same for ellipsoids twice as wide, into which heat spreads by conduction.
    left_out : foci that were not planned: {"position_m", "reason"}.
    warnings : what a person should know before treating, in words.
    switch_time_s, move_time_s : to steer, and to move, to another focus [s].
    """

    apex: np.ndarray
    axis: np.ndarray
    foci: np.ndarray
    spacing_m: float
    apex_shift: np.ndarray | None = None
    focal_width_m: float = 0.0
    focal_length_m: float = 0.0
    coverage: float = 0.0
    spread_coverage: float = 0.0
    left_out: list = field(default_factory=list)
    warnings: list = field(default_factory=list)
    switch_time_s: float = 0.0
    move_time_s: float = 0.0

    NUMBERS: ClassVar = ("spacing_m", "focal_width_m", "focal_length_m", "coverage",
                         "spread_coverage", "switch_time_s", "move_time_s")

    def __post_init__(self):
        if self.apex_shift is None:
            self.apex_shift = np.zeros_like(self.foci)

    def save(self, path) -> None:
        write_json(path, {"apex_m": self.apex.tolist(), "axis": self.axis.tolist(),
                          "foci_m": self.foci.tolist(), "apex_shift_m": self.apex_shift.tolist(),
                          "n_foci": len(self.foci),
                          **{name: getattr(self, name) for name in self.NUMBERS},
                          "left_out": self.left_out, "warnings": self.warnings})

    @classmethod
    def load(cls, path) -> Plan:
        record = read_json(path)
        foci, shift = (np.array(record[name]).reshape(-1, 3)
                       for name in ("foci_m", "apex_shift_m"))
        return cls(np.array(record["apex_m"]), np.array(record["axis"]), foci,
                   apex_shift=shift, left_out=record["left_out"], warnings=record["warnings"],
                   **{name: record[name] for name in cls.NUMBERS})


@dataclass
class Heating:
    """Absorbed power density per watt of acoustic power, for each focus: `acoustics/heating.h5`.

    Attributes
    ----------
    q : (n_foci, nx, ny, nz) float32 [W/m3 per W]; an array, or the file's open data set.
    affine : (4, 4) index to patient position [m]; the grid may be rotated.
    foci : (n_foci, 3) [m].
    focal_pressure_pa : (n_foci,) pressure amplitude at the planned focus at 1 W [Pa].
    absorbed_fraction : (n_foci,) integral of q over the body at 1 W [W/W], never above 1.
    frequency_hz, transducer : attributes.
    balance : where each focus's power goes: name -> (n_foci,) [W/W].
    steering : focal gain in water of an array that steers, else empty: `gain` (2, n_axial,
        n_lateral) intensity of a focus steered there over that of the geometric focus `focus_m`
        (3,), on the planes of the beam and each of two directions `across` (2, 3); `lateral_m`,
        `axial_m` distances from it; `limit_m` (2,) of steering, lateral and axial.
    """

    q: np.ndarray | h5py.Dataset
    affine: np.ndarray
    foci: np.ndarray
    focal_pressure_pa: np.ndarray
    absorbed_fraction: np.ndarray
    frequency_hz: float
    transducer: str
    balance: dict = field(default_factory=dict)
    steering: dict = field(default_factory=dict)

    def save(self, path, patient: str, config_sha256: str) -> None:
        with HeatingFile.create(path, patient, config_sha256) as file:
            file.allocate(self.q.shape)[:] = self.q
            file.complete(self)

    @classmethod
    def load(cls, path) -> Heating:
        with cls.opened(path) as heating:
            return replace(heating, q=heating.q[:])

    @classmethod
    @contextmanager
    def opened(cls, path):
        """A heating whose `q` stays in the file, to be read part by part inside the block."""
        with open_artifact(path, "heating") as file:
            names = ("affine", "foci", "focal_pressure_pa", "absorbed_fraction")
            yield cls(file["q"], *(file[name][:] for name in names),
                      float(file.attrs["frequency_hz"]), str(file.attrs["transducer"]),
                      *({name: file[f"{group}/{name}"][:] for name in file[group]}
                        if group in file else {} for group in ("balance", "steering")))


@dataclass
class HeatingFile:
    """A heating that is written while it is computed, as all foci may not fit into memory."""

    file: h5py.File

    @classmethod
    @contextmanager
    def create(cls, path, patient: str, config_sha256: str):
        with create(path, "heating", patient, config_sha256) as file:
            yield cls(file)

    def allocate(self, shape):
        """The data set `q` of this shape, to be filled."""
        chunk = (1, *shape[1:3], min(shape[3], PLANES_IN_CHUNK))
        q = self.file.create_dataset("q", shape, np.float32, chunks=chunk, compression="lzf",
                                     shuffle=True)
        q.attrs.update(units="W/m3/W",
                       description="absorbed power density per watt of acoustic power")
        return q

    def complete(self, heating: Heating) -> None:
        """Write all but `q`."""
        file = self.file
        file.attrs.update(frequency_hz=heating.frequency_hz, transducer=heating.transducer)
        put(file, "affine", heating.affine, "m", "voxel index to patient position")
        put(file, "foci", heating.foci, "m", "planned foci")
        put(file, "focal_pressure_pa", heating.focal_pressure_pa, "Pa",
            "pressure amplitude at the planned focus at 1 W")
        put(file, "absorbed_fraction", heating.absorbed_fraction, "1",
            "absorbed power over acoustic power")
        group = file.create_group("balance")
        for name, values in heating.balance.items():
            put(group, name, values, "1", f"power {name} over acoustic power")
        group = file.create_group("steering")
        for name, values in heating.steering.items():
            put(group, name, values, "m" if name.endswith("_m") else "1",
                f"{name.removesuffix('_m')} of the map of focal gain in water")


@dataclass
class Outputs:
    """What y = C x means, row by row: constraint points first, then target voxels.

    Attributes
    ----------
    kind : (p,) str, "constraint" or "target".
    position : (p, 3) [m].
    volume : (p,) [m3]; 0 for constraint points.
    baseline : (p,) [degC], the temperature at x = 0.
    limit : (p,) [degC]; NaN on the target.
    name : (p,) str, the constraint that a point belongs to; "" on the target.
    region : (p,) str, the region that it lies in.
    dose_limit : (p,) highest allowed dose [CEM43 min]; NaN where there is none.
    soft : (p,) bool, limits that are wished for and may be exceeded.
    mean_baseline : (p,) [degC], mean of the baseline over a target voxel; at points the baseline.
    """

    kind: np.ndarray
    position: np.ndarray
    volume: np.ndarray
    baseline: np.ndarray
    limit: np.ndarray
    name: np.ndarray | None = None
    region: np.ndarray | None = None
    dose_limit: np.ndarray | None = None
    soft: np.ndarray | None = None
    mean_baseline: np.ndarray | None = None

    def __post_init__(self):
        p = len(self.kind)
        if self.mean_baseline is None:
            self.mean_baseline = self.baseline
        for field_name, absent in (("name", ""), ("region", ""), ("dose_limit", np.nan),
                                   ("soft", False)):
            if getattr(self, field_name) is None:
                setattr(self, field_name, np.full(p, absent))

    @property
    def constraint(self) -> np.ndarray:
        """(p,) bool: rows that are constraint points."""
        return self.kind == "constraint"

    @property
    def target(self) -> np.ndarray:
        """(p,) bool: rows that are target voxels."""
        return self.kind == "target"

    @property
    def hard_limit(self) -> np.ndarray:
        """(p,) [degC], limits that must be kept: infinite where they are soft."""
        return np.where(self.soft, np.inf, self.limit)

    def write(self, file) -> None:
        group = file.create_group("outputs")
        put(group, "kind", self.kind.astype(str), "1", "constraint or target")
        put(group, "position", self.position, "m", "where the temperature is taken")
        put(group, "volume", self.volume, "m3", "volume of the target voxel, 0 for constraints")
        put(group, "baseline", self.baseline, "degC", "temperature at x = 0")
        put(group, "limit", self.limit, "degC", "highest allowed temperature, NaN on the target")
        put(group, "name", self.name.astype(str), "1", "constraint that a point belongs to")
        put(group, "region", self.region.astype(str), "1", "region that it lies in")
        put(group, "dose_limit", self.dose_limit, "min", "highest allowed CEM43, NaN for none")
        put(group, "soft", self.soft, "1", "whether the limit may be exceeded")
        put(group, "mean_baseline", self.mean_baseline, "degC",
            "temperature at x = 0, mean over the target voxel")

    @classmethod
    def read(cls, file) -> Outputs:
        group = file["outputs"]
        # Models from elsewhere need not name regions and constraints.
        further = {name: get_text(group[name]) for name in ("name", "region") if name in group}
        further |= {name: group[name][:] for name in ("dose_limit", "soft", "mean_baseline")
                    if name in group}
        return cls(get_text(file["outputs/kind"]), *(file[f"outputs/{name}"][:] for name in (
            "position", "volume", "baseline", "limit")), **further)


@dataclass
class Voxels:
    """The body's voxels inside a finite-element model, to map its temperatures onto the image.

    Attributes
    ----------
    interpolation : (n_voxels, n) CSR; temperature rise at voxel centres = interpolation @ x.
    index : (n_voxels, 3) int32 index into `anatomy/labels.nii.gz`.
    baseline : (n_voxels,) [degC].  target : (n_voxels,) bool.  volume : of one voxel [m3].
    """

    interpolation: sp.csr_array
    index: np.ndarray
    baseline: np.ndarray
    target: np.ndarray
    volume: float


@dataclass
class BioheatModel:
    """E x' = -K x + B u, y = C x with x = T - baseline [K]: `fem/{model}.h5`.

    Dirichlet unknowns are eliminated; E and K are symmetric positive definite.

    Attributes
    ----------
    E : (n, n) CSR [J/K].  K : (n, n) CSR [W/K].  B : (n, n_foci) [W per W acoustic].
    C : (p, n) CSR [1].  dof_coordinates : (n, 3) [m].  baseline : (n,) [degC].
    outputs : what the p rows of C are.  foci : (n_foci, 3) [m].  voxels : see `Voxels`.
    cells : what K is made of, for a plant that departs from it; see `Cells`.
    C_mean : (p, n) CSR [1], like C, but in the target the mean over each voxel, as an image shows
        it; by default C.
    """

    E: sp.csr_array
    K: sp.csr_array
    B: np.ndarray
    C: sp.csr_array
    dof_coordinates: np.ndarray
    baseline: np.ndarray
    outputs: Outputs
    foci: np.ndarray
    voxels: Voxels
    cells: Cells | None = None
    C_mean: sp.csr_array | None = None

    def __post_init__(self):
        if self.C_mean is None:
            self.C_mean = self.C

    def save(self, path, patient: str, config_sha256: str) -> None:
        with create(path, "bioheat_model", patient, config_sha256) as file:
            put_csr(file, "E", self.E, "J/K", "heat capacity matrix")
            put_csr(file, "K", self.K, "W/K", "conduction and perfusion matrix")
            put_csr(file, "C", self.C, "1", "output matrix")
            put_csr(file, "C_mean", self.C_mean, "1", "output matrix, means over target voxels")
            put(file, "B", self.B, "W/W", "heating of each unknown per watt of acoustic power")
            put(file, "dof_coordinates", self.dof_coordinates, "m", "position of each unknown")
            put(file, "baseline", self.baseline, "degC", "temperature of each unknown at x = 0")
            put(file, "foci", self.foci, "m", "focus of each input")
            self.outputs.write(file)
            group = file.create_group("voxels")
            put_csr(group, "interpolation", self.voxels.interpolation, "1",
                    "from unknowns to temperatures at voxel centres")
            put(group, "index", self.voxels.index, "1", "voxel index into anatomy/labels.nii.gz")
            put(group, "baseline", self.voxels.baseline, "degC", "temperature at x = 0")
            put(group, "target", self.voxels.target, "1", "whether the voxel is in the target")
            put(group, "volume", self.voxels.volume, "m3", "volume of one voxel")
            if self.cells is not None:
                self.cells.write(file)

    @classmethod
    def load(cls, path) -> BioheatModel:
        with open_artifact(path, "bioheat_model") as file:
            voxels = Voxels(get_csr(file, "voxels/interpolation"),
                            *(file[f"voxels/{name}"][:] for name in (
                                "index", "baseline", "target")), float(file["voxels/volume"][()]))
            return cls(get_csr(file, "E"), get_csr(file, "K"), file["B"][:], get_csr(file, "C"),
                       file["dof_coordinates"][:], file["baseline"][:], Outputs.read(file),
                       file["foci"][:], voxels, Cells.read(file) if "cells" in file else None,
                       get_csr(file, "C_mean") if "C_mean" in file else None)


@dataclass
class ReducedModel:
    """x' = A x + B u, y = C x with the outputs of the full model: `reduction/rom.h5`.

    Attributes
    ----------
    A : (r, r) [1/s].  B : (r, n_foci).  C : (p, r).
    hsv : Hankel singular values, all that were computed, descending.
    error_bound : (len(hsv),) H-infinity error bound of the model truncated to order i + 1.
    method : how it was made.  outputs, foci : as in `BioheatModel`.
    C_mean : (p, r), see `BioheatModel`; by default C.
    """

    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    hsv: np.ndarray
    error_bound: np.ndarray
    method: str
    outputs: Outputs
    foci: np.ndarray
    C_mean: np.ndarray | None = None

    def __post_init__(self):
        if self.C_mean is None:
            self.C_mean = self.C

    @property
    def order(self) -> int:
        """Number of states r."""
        return len(self.A)

    @property
    def truncation_bound(self) -> np.ndarray:
        """(len(hsv),) bound 2 (hsv[i + 1] + ...) on what keeping only i + 1 states changes [K/W].

        The states of a balanced model come in falling order of importance. Source: see
        `reduction.balance`.
        """
        return 2 * (self.hsv.sum() - np.cumsum(self.hsv))

    def save(self, path, patient: str, config_sha256: str) -> None:
        with create(path, "reduced_model", patient, config_sha256) as file:
            file.attrs.update(order=self.order, method=self.method)
            put(file, "A", self.A, "1/s", "state matrix")
            put(file, "B", self.B, "1", "input matrix")
            put(file, "C", self.C, "1", "output matrix")
            put(file, "C_mean", self.C_mean, "1", "output matrix, means over target voxels")
            put(file, "hsv", self.hsv, "K/W", "Hankel singular values")
            put(file, "error_bound", self.error_bound, "K/W",
                "H-infinity error bound of the truncation to each order")
            put(file, "foci", self.foci, "m", "focus of each input")
            self.outputs.write(file)

    @classmethod
    def load(cls, path) -> ReducedModel:
        with open_artifact(path, "reduced_model") as file:
            return cls(*(file[name][:] for name in ("A", "B", "C", "hsv", "error_bound")),
                       str(file.attrs["method"]), Outputs.read(file), file["foci"][:],
                       file["C_mean"][:] if "C_mean" in file else None)


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
        with create(path, "trajectory", patient, config_sha256) as file:
            for name, (units, description) in self.DATASETS.items():
                value = np.asarray(getattr(self, name))
                if name in self.SINGLE_PRECISION:
                    value = value.astype(np.float32)
                options = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
                put(file, name, value, units, description, **(options if value.size > 1000 else {}))
            put(file, "event", np.asarray(self.event, dtype=str), "1", "what happened")
            self.outputs.write(file)

    @classmethod
    def load(cls, path) -> Trajectory:
        with open_artifact(path, "trajectory") as file:
            return cls(**{name: file[name][:] for name in cls.DATASETS},
                       event=get_text(file["event"]), outputs=Outputs.read(file))
