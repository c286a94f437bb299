"""What the configuration says of the anatomy and of the constraints, in SI units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from hifuflow.numerics.sphere import cone_angle
from hifuflow.settings import BeamTissue, Written, metres, unless_auto

from .source_settings import MeshMapSettings, PhantomSettings, ScanSettings, SurfaceSettings

CLEARANCE = metres(9)  # of a constraint that does not say: the reference study's [m]


@dataclass(frozen=True)
class RegionSettings:
    """A region: its labels or names of segments in the map, and its tissue."""

    name: str
    labels: tuple[int | str, ...]
    tissue: str
    written: Written

    @classmethod
    def read(cls, name: str, written: Written) -> RegionSettings:
        section = written.values
        return cls(name, tuple(section["labels"]), section["tissue"], written)


@dataclass(frozen=True)
class Ellipsoid:
    """A drawn target.

    Attributes
    ----------
    centre, semi_axes : (3,) [m].
    first_axis, second_axis : (3,) directions of the first two semi-axes; what of the second is
        normal to the first counts.
    """

    centre: tuple[float, float, float]
    semi_axes: tuple[float, float, float]
    first_axis: tuple[float, float, float]
    second_axis: tuple[float, float, float]
    written: Written

    @classmethod
    def read(cls, written: Written) -> Ellipsoid:
        """From the section of an ellipsoid, or of a sphere."""
        section = written.values
        if "radius_mm" in section:
            return cls(metres(section["centre_mm"]), (metres(section["radius_mm"]),) * 3,
                       (1, 0, 0), (0, 1, 0), written)
        return cls(metres(section["centre_mm"]), metres(section["semi_axes_mm"]),
                   tuple(section["first_axis"]), tuple(section["second_axis"]), written)


@dataclass(frozen=True)
class TargetSettings:
    """What is treated: a region or one component of it, or a drawn shape.

    Attributes
    ----------
    region : its name, or None.
    at : (3,) point in the component that is meant [m], or None: all of the region, or its largest
        component.
    shape : the drawn one, or None.
    margin : what lies so near to it is treated as well [m].
    max_left_out : part of the target that may be left out where the model ends.
    chosen : key of the section that says what the target is, for messages.
    """

    region: str | None
    at: tuple[float, float, float] | None
    largest_component: bool
    shape: Ellipsoid | None
    margin: float
    max_left_out: float
    chosen: str
    written: Written

    @classmethod
    def read(cls, written: Written) -> TargetSettings:
        section = written.values
        drawn = next((name for name in ("ellipsoid", "sphere") if name in section), None)
        chosen = next(name for name in ("region", "sphere", "ellipsoid", "at_mm")
                      if name in section)
        return cls(section.get("region"), metres(section.get("at_mm")),
                   section["largest_component"],
                   Ellipsoid.read(written.part(drawn)) if drawn else None,
                   metres(section["margin_mm"]), section.get("max_left_out_fraction", 0),
                   chosen, written)


@dataclass(frozen=True)
class PoseSettings:
    """From where the beam comes.

    Attributes
    ----------
    axis : (3,) direction in which the ultrasound travels, or None: to be found.
    max_blocked : part of the beam that may be blocked.
    """

    axis: tuple[float, float, float] | None
    max_blocked: float
    written: Written

    @classmethod
    def read(cls, written: Written) -> PoseSettings:
        axis = unless_auto(written.values["axis"])
        return cls(None if axis is None else tuple(axis), written.values["max_blocked_fraction"],
                   written)


@dataclass(frozen=True)
class BeamSettings:
    """The transducer as far as the way of its beam depends on it.

    Attributes
    ----------
    frequency : [Hz].  radius_of_curvature, aperture : [m].
    max_axial : how far along the axis a focus may be steered [m].
    water : least distance between the plane of the rim and the body [m].
    reach_lateral, reach_axial : how far a focus may be from the geometric one, by steering or by
        moving the transducer [m].
    """

    frequency: float
    radius_of_curvature: float
    aperture: float
    max_axial: float
    water: float = 0.0
    reach_lateral: float = inf
    reach_axial: float = inf

    @classmethod
    def read(cls, section: dict) -> BeamSettings:
        steering, travel = section["max_steering_m"], section.get("max_travel_m")
        reach = {name: max(steering[name], travel[name]) if travel else inf
                 for name in ("lateral", "axial")}
        return cls(section["frequency_hz"], section["radius_of_curvature_m"],
                   section["aperture_m"], steering["axial"],
                   2 * section.get("element_radius_m", 0.0), reach["lateral"], reach["axial"])

    @property
    def half_angle(self) -> float:
        """Between the axis and the rim, seen from the geometric focus [rad]."""
        return cone_angle(self.aperture, self.radius_of_curvature)


@dataclass(frozen=True)
class CleaningSettings:
    """Up to which size pieces of a segmentation are noise [m3]; 0: all pieces are kept.

    Attributes
    ----------
    specks : of a region that is cut, or of a tissue that blocks.
    stray_target : of the target, beside the rest of it.  holes : in the body.
    """

    specks: float = 0
    stray_target: float = 0
    holes: float = 0

    @classmethod
    def read(cls, section: dict) -> CleaningSettings:
        return cls(*(section[f"{name}_mm3"] * 1e-9 for name in ("specks", "stray_target", "holes")))


@dataclass(frozen=True)
class AnatomySettings:
    """All that `build.build_anatomy` depends on.

    Attributes
    ----------
    source : where the anatomy comes from.
    outside : labels or names of segments that are not body.
    cleaning : what of the segmentation is noise.
    crop_margin : how far the model reaches beyond the beam's way to the target [m].
    body_extent : smallest and largest longest edge of the body [m], or None: those of a body.
    regions : in the order of the file: where segments overlap, the first holds the voxel.
    cut_regions : names of the regions that are left out with all that lies behind them.
    tissues : by their names, those of the regions.
    series : path of the DICOM series that results will refer to, or None.
    written : the patient file.
    """

    source: PhantomSettings | MeshMapSettings | SurfaceSettings | ScanSettings
    outside: tuple[int | str, ...]
    cleaning: CleaningSettings
    crop_margin: float
    body_extent: tuple[float, float] | None
    regions: tuple[RegionSettings, ...]
    cut_regions: tuple[str, ...]
    target: TargetSettings
    pose: PoseSettings
    beam: BeamSettings
    tissues: Mapping[str, BeamTissue]
    series: str | None
    written: Written

    @classmethod
    def read(cls, section: dict) -> AnatomySettings:
        """From the section of the rule `anatomy`."""
        written = Written(section["file"], "", section)
        anatomy, regions = written.part("anatomy"), written.part("regions")
        if "phantom" in anatomy.values:
            source = PhantomSettings.read(anatomy.part("phantom"))
        elif "mesh" in anatomy.values:
            source = MeshMapSettings.read(anatomy.part("mesh"))
        elif "surfaces" in anatomy.values:
            source = SurfaceSettings.read(anatomy.part("surfaces"))
        else:
            source = ScanSettings.read(anatomy)
        cleaning = anatomy.values.get("cleaning")
        return cls(source, tuple(anatomy.values.get("outside", ())),
                   CleaningSettings.read(cleaning) if cleaning else CleaningSettings(),
                   metres(anatomy.values["crop_margin_mm"]),
                   metres(anatomy.values.get("body_extent_mm")),
                   tuple(RegionSettings.read(name, regions.part(name)) for name in regions.values),
                   tuple(section["cut_regions"]), TargetSettings.read(written.part("target")),
                   PoseSettings.read(written.part("transducer")),
                   BeamSettings.read(section["device"]), BeamTissue.read_all(section["tissues"]),
                   section.get("series"), written)


@dataclass(frozen=True)
class Constraint:
    """Where tissue must stay cool, and how cool.

    Attributes
    ----------
    name : what results call it.  surface : kind of surface that carries its points.
    region : name of the region whose surface it is; "" for other kinds.
    clearance : distance of the surface from the target [m].
    follows : whether points that would lie outside of the body are brought in beneath its surface.
    depth : of the points beneath the skin or the cut [m].
    reach : only what lies so near to the target counts [m].
    points : their number.
    limit : highest temperature [degC].  dose_limit : highest dose [CEM43 min], or None.
    soft : whether the limits may be exceeded.
    """

    name: str
    surface: str
    region: str
    clearance: float
    follows: bool
    depth: float
    reach: float
    points: int
    limit: float
    dose_limit: float | None
    soft: bool
    written: Written

    @classmethod
    def read(cls, written: Written) -> Constraint:
        section = written.values
        clearance = metres(unless_auto(section["clearance_mm"]))
        return cls(section["name"], section["surface"], section["region"],
                   CLEARANCE if clearance is None else clearance, clearance is None,
                   metres(section["depth_mm"]),
                   metres(section["reach_mm"]), section["points"], section["limit_c"],
                   section["dose_limit_cem43_min"], section["soft"], written)


@dataclass(frozen=True)
class ConstraintSettings:
    """All that `constraints.place_constraints` depends on.

    Attributes
    ----------
    constraints : in the order of the file.
    half_angle : between the beam's axis and its rim [rad]; None if no constraint needs it.
    """

    constraints: tuple[Constraint, ...]
    half_angle: float | None

    @classmethod
    def read(cls, section: dict) -> ConstraintSettings:
        """From the section of the rule `constraints`."""
        device = section["device"]
        return cls(tuple(Constraint.read(Written(section["file"], one["key"], one))
                         for one in section["constraints"]),
                   cone_angle(device["aperture_m"], device["radius_of_curvature_m"])
                   if device else None)
