"""Segmented anatomy: `anatomy/labels.nii.gz`, `coupling.nii.gz`, `regions.json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import ndimage

from hifuflow.job import atomic, read_json, write_json

WATER, AIR = 1, 2  # outside voxels in coupling.nii.gz


@dataclass
class Anatomy:
    """Segmented anatomy in RAS+ order, from `labels.nii.gz`, `coupling.nii.gz`, `regions.json`.

    Attributes
    ----------
    labels : (nx, ny, nz) int16; 0 is outside the body, other values are regions.
    affine : (4, 4), voxel index to patient position [m]; diagonal and positive (RAS+).
    regions : region name -> {"label", "tissue", "volume_m3"}.
    target : names of the regions that make up the target (never empty).
    coupling : (nx, ny, nz) bool; outside voxels on the transducer's side, filled with water.
    axis : (3,) unit vector, the direction in which the ultrasound travels.
    source_sha256 : hash of its source.
    beam : obstacles of a beam from the transducer to the target, on the whole label map:
        "blocked_fraction", "blocked_by" (obstacle -> fraction), "arriving_fraction" (of the power).
    record : of its making, further entries of `regions.json`.
    air : (nx, ny, nz) bool; other outside voxels at the body's free surface; by default none.
        Outside voxels that are neither water nor air lie beyond a cut, where the body continues.
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
    air: np.ndarray | None = None

    def __post_init__(self):
        if self.air is None:
            self.air = np.zeros_like(self.coupling)

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
        """Look-up table from label to a number by tissue, for `table(...)[labels]`."""
        table = np.full(int(self.labels.max()) + 1, outside)
        for region in self.regions.values():
            table[region["label"]] = values[region["tissue"]]
        return table

    def save(self, folder) -> None:
        """Write the two images and `regions.json` into a folder."""
        import nibabel as nib  # here, as in `load`, because treatments do not need it

        folder = Path(folder)
        millimetres = self.affine.copy()
        millimetres[:3] *= 1e3
        for name, data in (("labels", self.labels.astype(np.int16)),
                           ("coupling", np.where(self.air, AIR, self.coupling).astype(np.uint8))):
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
        from hifuflow.formats.packed_nifti import read_packed_nifti

        folder = Path(folder)
        record = read_json(folder / "regions.json")
        image, filled = (read_packed_nifti(folder / f"{name}.nii.gz")
                         for name in ("labels", "coupling"))
        affine = image.affine.astype(float)
        affine[:3] *= 1e-3
        coupling = np.asarray(filled.dataobj)
        regions, target, axis, source_sha256, beam = (
            record.pop(key) for key in ("regions", "target", "axis", "source_sha256", "beam"))
        return cls(np.asarray(image.dataobj).astype(np.int16), affine, regions, target["regions"],
                   coupling == WATER, np.array(axis), source_sha256, beam, record, coupling == AIR)
