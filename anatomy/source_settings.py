"""What the configuration says of where the anatomy comes from, in SI units."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hifuflow.settings import MILLIMETRE, Written, metres


@dataclass(frozen=True)
class PhantomSettings:
    """The built-in breast, see `phantom.breast_phantom`.

    Attributes
    ----------
    voxel_size : edge of the voxels [m].  breast_radius : [m].
    breast_axis : (2,) x and y of the breast's axis [m].
    water_margin : outside voxels that are kept around the breast [m].
    tumour_centre : (3,) its centroid [m].  tumour_semi_axes : (3,) before it is deformed [m].
    irregularity : standard deviation of the logarithm of the deformation.
    irregularity_degree : highest degree of its spherical harmonics.  seed : of the deformation.
    """

    voxel_size: float
    breast_radius: float
    breast_axis: tuple[float, float]
    water_margin: float
    tumour_centre: tuple[float, float, float]
    tumour_semi_axes: tuple[float, float, float]
    irregularity: float
    irregularity_degree: int
    seed: int
    written: Written

    @classmethod
    def read(cls, written: Written) -> PhantomSettings:
        section = written.values
        return cls(metres(section["voxel_size_mm"]), metres(section["breast_radius_mm"]),
                   metres(section["breast_axis_mm"]), metres(section["water_margin_mm"]),
                   metres(section["tumour_centre_mm"]), metres(section["tumour_semi_axes_mm"]),
                   section["irregularity"], section["irregularity_degree"], section["seed"],
                   written)


@dataclass(frozen=True)
class MeshMapSettings:
    """A ready mesh that stands for a label map, see `mesh_map.read_mesh_map`.

    Attributes
    ----------
    path : of its file.  unit : of its coordinates [m].
    signs : (3,) of its coordinates against the patient's right, anterior and superior.
    tags : name of the cell data that hold the regions, or None: the reader finds them.
    voxel_size : edge of the voxels that it is turned into [m].
    written : the section; its faults are told of the mesh's file.
    """

    path: Path
    unit: float
    signs: tuple[int, int, int]
    tags: str | None
    voxel_size: float
    written: Written

    @classmethod
    def read(cls, written: Written) -> MeshMapSettings:
        section = written.values
        unit = {"m": 1.0, "mm": MILLIMETRE}[section["unit"]]
        signs = {"RAS": (1, 1, 1), "LPS": (-1, -1, 1)}[section["axes"]]
        path = Path(section["file"])
        return cls(path, unit, signs, section.get("tags"), metres(section["voxel_size_mm"]),
                   Written(path, written.key, section))


@dataclass(frozen=True)
class SurfaceSettings:
    """Closed surfaces that stand for a label map, see `surface_map.read_surface_map`.

    Attributes
    ----------
    path : of a surface, or of a folder with one for each region.
    unit : of their coordinates [m].
    axes : "RAS" or "LPS", their coordinates' directions; "" is what the files tell.
    voxel_size : edge of the voxels that they are turned into [m].
    """

    path: Path
    unit: float
    axes: str
    voxel_size: float
    written: Written

    @classmethod
    def read(cls, written: Written) -> SurfaceSettings:
        section = written.values
        unit = {"m": 1.0, "cm": 10 * MILLIMETRE, "mm": MILLIMETRE}[section["unit"]]
        axes = "" if section["axes"] == "auto" else section["axes"]
        return cls(Path(section["path"]), unit, axes, metres(section["voxel_size_mm"]), written)


@dataclass(frozen=True)
class ThresholdSettings:
    """A class of an image's intensities: at_least <= intensity < below, None: no such bound.

    Attributes
    ----------
    smallest_island : smaller pieces are dropped [m3].
    largest_component : whether only the largest connected piece counts.
    fill_holes : whether what the class encloses belongs to it.
    """

    name: str
    at_least: float | None
    below: float | None
    smallest_island: float
    largest_component: bool
    fill_holes: bool
    written: Written

    @classmethod
    def read(cls, name: str, written: Written) -> ThresholdSettings:
        section = written.values
        return cls(name, section.get("at_least"), section.get("below"),
                   section["smallest_island_mm3"] * 1e-9, section["largest_component"],
                   section["fill_holes"], written)


@dataclass(frozen=True)
class ScanSettings:
    """A label map, an image that is divided by its intensities, or both, see `thresholds`.

    Attributes
    ----------
    labels, image : paths; None if there is none.
    classes : of the image, in the order of the file.
    nifti_transform : which transform of a NIfTI header places its voxels.
    written : the section of these classes, or None.
    """

    labels: str | None
    image: str | None
    classes: tuple[ThresholdSettings, ...]
    nifti_transform: str
    written: Written | None

    @classmethod
    def read(cls, written: Written) -> ScanSettings:
        section = written.values
        transform = section.get("nifti_transform", "auto")
        if "image" not in section:
            return cls(section["labels"], None, (), transform, None)
        thresholds = written.part("thresholds")
        classes = tuple(ThresholdSettings.read(name, thresholds.part(name))
                        for name in thresholds.values)
        return cls(section.get("labels"), section["image"], classes, transform, thresholds)
