"""Settings of the finite-element models, in SI units and degC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hifuflow.settings import Written, metres


@dataclass(frozen=True)
class ThermalTissue:
    """Thermal properties of a tissue.

    Attributes
    ----------
    density : [kg/m3].  specific_heat : [J/kg/K].  conductivity : [W/m/K].
    perfusion : mass flow of blood per volume [kg/m3/s].
    """

    density: float
    specific_heat: float
    conductivity: float
    perfusion: float

    @classmethod
    def read(cls, section: dict) -> ThermalTissue:
        """Properties from an entry of the tissue table."""
        return cls(section["density_kg_m3"], section["specific_heat_j_kg_k"],
                   section["conductivity_w_m_k"], section["perfusion_kg_m3_s"])


@dataclass(frozen=True)
class Surface:
    """Thermal condition at a surface of the body.

    Attributes
    ----------
    temperature : of the surface, or of the water or air in front of it [degC].
    coefficient : of heat transfer to that [W/m2/K]; None: the surface itself has the temperature.
    """

    temperature: float
    coefficient: float | None = None

    @classmethod
    def read(cls, section: dict) -> Surface:
        """Condition from an entry of the section `boundary`."""
        return cls(section["temperature_c"], section.get("coefficient_w_m2_k"))


@dataclass(frozen=True)
class BoundarySettings:
    """Thermal conditions at the body's surfaces, and the temperature of the blood.

    Attributes
    ----------
    surfaces : name ("skin", "cut") -> condition; surfaces without one are insulated.
    arterial : temperature of the arterial blood [degC].
    """

    surfaces: Mapping[str, Surface]
    arterial: float
    written: Written

    @classmethod
    def read(cls, written: Written) -> BoundarySettings:
        """Settings from the section `boundary`."""
        section = written.values
        surfaces = {name: Surface.read(section[name]) for name in ("skin", "cut")
                    if section[name] != "insulated"}
        return cls(surfaces, section["arterial_temperature_c"], written)


@dataclass(frozen=True)
class Factors:
    """Factors of the perfusion, the conductivity and the absorbed power."""

    perfusion: float = 1
    conductivity: float = 1
    absorption: float = 1

    @classmethod
    def read(cls, section: dict) -> Factors:
        """Factors from a section of deviations; 1 where it has none."""
        return cls(section.get("perfusion_factor", 1), section.get("conductivity_factor", 1),
                   section.get("absorption_factor", 1))

    def times(self, other: Factors) -> Factors:
        """The products of these factors and others."""
        return Factors(self.perfusion * other.perfusion, self.conductivity * other.conductivity,
                       self.absorption * other.absorption)


@dataclass(frozen=True)
class Deviations:
    """Deviations of a patient from the tissue tables and the computed heating; none by default.

    Attributes
    ----------
    everywhere : factors in the whole body.  regions : further factors of single regions, by name.
    focal_shift : (3,) by which all foci lie off their places (R, A, S) [m].
    """

    everywhere: Factors = field(default_factory=Factors)
    regions: Mapping[str, Factors] = field(default_factory=dict)
    focal_shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def read(cls, section: dict) -> Deviations:
        """Deviations from the section of one of the models."""
        return cls(Factors.read(section),
                   {name: Factors.read(values) for name, values in section["regions"].items()},
                   metres(section["focal_shift_mm"]))

    def of(self, region: str) -> Factors:
        """All factors of a region, multiplied."""
        return self.everywhere.times(self.regions.get(region, Factors()))


@dataclass(frozen=True)
class ModelSettings:
    """All settings of `model.build_model`.

    Attributes
    ----------
    tissues : by name; the anatomy says which region is of which tissue.
    blood_specific_heat : [J/kg/K].
    boundary : conditions at the surfaces.  deviations : of this model from the tables.
    written : the section as written, for messages.
    """

    tissues: Mapping[str, ThermalTissue]
    blood_specific_heat: float
    boundary: BoundarySettings
    deviations: Deviations
    written: Written

    @classmethod
    def read(cls, section: dict) -> ModelSettings:
        """Settings from the section of the rule `assemble` for one of the models."""
        written = Written(section["file"], "", section)
        return cls({name: ThermalTissue.read(values)
                    for name, values in section["tissues"].items()},
                   section["blood"]["specific_heat_j_kg_k"],
                   BoundarySettings.read(written.part("boundary")),
                   Deviations.read(section["deviations"]), written)
