"""Settings of the transducer, the plan and the field, in SI units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hifuflow.settings import BeamTissue, Written, metres, unless_auto


@dataclass(frozen=True)
class Travel:
    """Range of the transducer's motion from its pose, across and along its axis [m]."""

    lateral: float
    axial: float


@dataclass(frozen=True)
class TransducerSettings:
    """Settings of a transducer file, from which a `transducer.Transducer` is made.

    Attributes
    ----------
    name : what the transducer is called in the files made with it.
    kind : of the layout of its elements, see `layouts.lay_out`.
    frequency : [Hz].  radius_of_curvature, aperture : [m].
    hole : diameter of a hole around the axis [m]; 0: none.
    n_elements : number of independently driven elements.
    element_radius : of disc-shaped elements on a bowl [m]; None for other kinds.
    seed : of random positions; None for other kinds.
    rings : (n_elements, 2) inner and outer distance of annular elements from the axis [m].
    discs : (n_elements, 7) centre [m], unit normal and radius [m] of listed elements.
    weights : (n_elements,) amplitude of each element over that at full drive.
    max_lateral, max_axial : largest steering from the geometric focus [m].
    travel : range of the transducer's motion.
    switch_time, move_time : time to steer to another focus, and to move there [s].
    """

    name: str
    kind: str
    frequency: float
    radius_of_curvature: float
    aperture: float
    hole: float
    n_elements: int
    element_radius: float | None
    seed: int | None
    rings: tuple[tuple[float, float], ...] = field(repr=False)
    discs: tuple[tuple[float, ...], ...] = field(repr=False)
    weights: tuple[float, ...] = field(repr=False)
    max_lateral: float
    max_axial: float
    travel: Travel
    switch_time: float
    move_time: float
    written: Written

    @classmethod
    def read(cls, device: dict) -> TransducerSettings:
        """Settings from the dictionary that `study.transducer_file.load_device` returns."""
        steering, travel = device["max_steering_m"], device["max_travel_m"]
        return cls(device["name"], device["kind"], device["frequency_hz"],
                   device["radius_of_curvature_m"], device["aperture_m"],
                   device["inner_aperture_m"], device["n_elements"],
                   device.get("element_radius_m"), device.get("seed"),
                   tuple(tuple(ring) for ring in device.get("rings_m", ())),
                   tuple(tuple(disc) for disc in device.get("elements", ())),
                   tuple(device["weights"]), steering["lateral"], steering["axial"],
                   Travel(travel["lateral"], travel["axial"]), device["switch_time_s"],
                   device["move_time_s"], Written(device["file"], "", device))


@dataclass(frozen=True)
class FociSettings:
    """Settings of the placement of foci.

    Attributes
    ----------
    spacing : of neighbouring foci in a plane [m]; None: from the size of the focus.
    plane_offsets : of planes from the target's centre along the axis [m]; None: as many as needed.
    plane_spacing : largest spacing of automatic planes [m]; None: from the size of the focus.
    explicit : (n, 3) foci instead of a lattice [m], or None.
    skin_distance : foci of a lattice nearer to the skin than this are left out [m].
    max_left_out : largest fraction of a lattice's foci that may be left out; automatic ones are
        judged by what they reach.
    """

    spacing: float | None
    plane_offsets: tuple[float, ...] | None
    plane_spacing: float | None
    explicit: tuple[tuple[float, float, float], ...] | None
    skin_distance: float
    max_left_out: float
    written: Written

    @classmethod
    def read(cls, written: Written) -> FociSettings:
        """Settings from the section `foci`."""
        section = written.values
        return cls(metres(unless_auto(section["spacing_mm"])),
                   metres(unless_auto(section["plane_offsets_mm"])),
                   metres(section.get("plane_spacing_mm")), metres(section.get("explicit_mm")),
                   metres(section["skin_distance_mm"]), section["max_left_out_fraction"], written)

    @property
    def automatic(self) -> bool:
        """Whether foci are placed by what of the target they reach."""
        return self.plane_offsets is None and self.explicit is None


@dataclass(frozen=True)
class PlanSettings:
    """All settings of `plan.plan_treatment`.

    Attributes
    ----------
    standoff : distance from the apex to the skin along the axis [m]; None: the geometric focus
        falls on the target.
    max_blocked : largest fraction of a focus's beam that may be blocked.
    tissues : by name.  water_speed : speed of sound in water [m/s].
    pose : the section with the pose of the transducer, as written.
    """

    transducer: TransducerSettings
    standoff: float | None
    max_blocked: float
    foci: FociSettings
    tissues: Mapping[str, BeamTissue]
    water_speed: float
    pose: Written

    @classmethod
    def read(cls, section: dict) -> PlanSettings:
        """Settings from the section of the rule `plan`."""
        written = Written(section["file"], "", section)
        pose = written.part("transducer")
        return cls(TransducerSettings.read(section["device"]),
                   metres(unless_auto(pose.values["standoff_mm"])),
                   pose.values["max_blocked_fraction"], FociSettings.read(written.part("foci")),
                   BeamTissue.read_all(section["tissues"]),
                   section["water"]["speed_of_sound_m_s"], pose)


@dataclass(frozen=True)
class AcousticTissue:
    """Acoustic properties of a tissue or of water.

    Attributes
    ----------
    density : [kg/m3].  speed : of sound [m/s].
    attenuation, absorption : of the amplitude at 1 MHz [Np/m]; absorption is the part that heats.
    exponent : power of the frequency with which both grow.
    """

    density: float
    speed: float
    attenuation: float
    absorption: float
    exponent: float

    @classmethod
    def read(cls, section: dict) -> AcousticTissue:
        """Properties from an entry of the tissue table."""
        return cls(section["density_kg_m3"], section["speed_of_sound_m_s"],
                   section["attenuation_np_m_mhz"], section["absorption_np_m_mhz"],
                   section["attenuation_exponent"])

    def attenuation_at(self, frequency: float) -> float:
        """[Np/m] at a frequency [Hz]."""
        return self.attenuation * self._growth(frequency)

    def absorption_at(self, frequency: float) -> float:
        """[Np/m] at a frequency [Hz]."""
        return self.absorption * self._growth(frequency)

    def _growth(self, frequency: float) -> float:
        return (frequency * 1e-6) ** self.exponent


@dataclass(frozen=True)
class HeatingSettings:
    """All settings of `heating.compute_heating`.

    Attributes
    ----------
    tissues : by name, and "water".
    spacing : of the beam's grid [m]; None: half a wavelength in water.
    phases : of the elements, "geometric" or "conjugated", see `phasing`.
    fields : "by_focus", "by_element" or "auto", see `heating.superpose`.
    written : the section `acoustics` as written, for messages.
    """

    transducer: TransducerSettings
    tissues: Mapping[str, AcousticTissue]
    spacing: float | None
    phases: str
    fields: str
    written: Written

    @classmethod
    def read(cls, section: dict) -> HeatingSettings:
        """Settings from the section of the rule `heating`."""
        acoustics = section["acoustics"]
        return cls(TransducerSettings.read(section["device"]),
                   {name: AcousticTissue.read(values)
                    for name, values in section["tissues"].items()},
                   metres(unless_auto(acoustics["spacing_mm"])), acoustics["phases"],
                   acoustics["fields"], Written(acoustics["file"], "acoustics", acoustics))

    @property
    def water(self) -> AcousticTissue:
        """Acoustic properties of the water."""
        return self.tissues["water"]
