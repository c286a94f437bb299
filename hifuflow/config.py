"""From configuration files to what each workflow rule gets.

A patient file, its transducer and the tissue table become one plain dict, checked, with every
default filled in. A rule then gets only the sections it uses (`Patient.section`), so editing one
section reruns only the rules that depend on it.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .devices import load_device
from .errors import InputError, InvalidConfig
from .provenance import ROOT
from .schema import check, read_yaml
from .side_files import with_side_files

PATIENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
TISSUES = ROOT / "config" / "tissues.yaml"
THERMAL = ("density_kg_m3", "specific_heat_j_kg_k", "conductivity_w_m_k", "perfusion_kg_m3_s")
SHORTEST_AXIS = 1e-6  # a vector shorter than this has no usable direction
FACTORS = ("perfusion_factor", "conductivity_factor", "absorption_factor")
PLACES = ("focal_shift_mm", "regions")
YARDSTICK = "optimum"  # the controller that carries out a plan and treats nobody
CURVES = ("perfusion", "conductivity", "absorption")
BEAM_PATH = ("attenuation_np_m_mhz", "blocks")
ACOUSTIC = ("density_kg_m3", "speed_of_sound_m_s", "attenuation_np_m_mhz", "absorption_np_m_mhz",
            "attenuation_exponent")


@dataclass(frozen=True)
class Patient:
    """One patient file, valid and complete.

    Attributes
    ----------
    name : the file's stem.  file : its path.
    config : every section of the patient file, with defaults and absolute paths.
    transducer : content of the transducer file.
    tissues : tissue -> properties, overrides applied.  water, blood : their properties.
    """

    name: str
    file: Path
    config: dict
    transducer: dict
    tissues: dict
    water: dict
    blood: dict

    @property
    def sources(self) -> list[str]:
        """Paths of all that the anatomy is made from; empty for the built-in phantom."""
        return [file for section, key, _ in _source_files(self.config["anatomy"])
                for file in with_side_files(section[key])]

    @property
    def scan(self) -> str | None:
        """Path of the image whose grid results are exported on; None where there is no image."""
        anatomy = self.config["anatomy"]
        return anatomy.get("labels", anatomy.get("image"))

    @property
    def controllers(self) -> list[str]:
        """Names of the controllers to run."""
        return self.config["controllers"]

    def section(self, rule: str, part: str | None = None) -> dict:
        """What a rule depends on, and nothing else; `part`: which model or which controller."""
        content = getattr(self, f"_{rule}")
        return content[part] if part else content

    def _pick(self, *keys) -> dict:
        return {key: self.config[key] for key in keys}

    def _used_tissues(self, keys) -> dict:
        used = {region["tissue"] for region in self.config["regions"].values()}
        return {name: {key: self.tissues[name][key] for key in keys if key in self.tissues[name]}
                for name in sorted(used)}

    @cached_property
    def _anatomy(self) -> dict:
        beam = ("frequency_hz", "radius_of_curvature_m", "aperture_m", "max_steering_m")
        return {"file": self.file.name,
                "transducer": {key: self.config["transducer"][key]
                               for key in ("axis", "max_blocked_fraction")},
                "device": {key: self.transducer[key] for key in beam},
                "tissues": self._used_tissues(BEAM_PATH),
                **self._pick("anatomy", "regions", "cut_regions", "target")}

    @cached_property
    def _constraints(self) -> dict:
        listed = constraint_list(self.config["constraints"])
        beam = {key: self.transducer[key] for key in ("aperture_m", "radius_of_curvature_m")
                if any(constraint["surface"] == "near_field" for constraint in listed)}
        return {"file": self.file.name, "constraints": listed, "device": beam}

    @cached_property
    def _plan(self) -> dict:
        return {"file": self.file.name, "device": self.transducer,
                "water": {"speed_of_sound_m_s": self.water["speed_of_sound_m_s"]},
                "tissues": self._used_tissues(BEAM_PATH),
                **self._pick("transducer", "foci")}

    @cached_property
    def _mesh(self) -> dict:
        organs = [name for name, region in self.config["regions"].items() if region["boundary"]]
        return {model: {"file": self.file.name, "key": f"mesh.{model}.cells",
                        "boundary_regions": organs, **sizes}
                for model, sizes in self.config["mesh"].items()}

    @cached_property
    def _heating(self) -> dict:
        return {"device": self.transducer,
                "tissues": {**self._used_tissues(ACOUSTIC),
                            "water": {key: self.water[key] for key in ACOUSTIC}},
                "acoustics": {"file": self.file.name, **self.config["acoustics"]}}

    @cached_property
    def _assemble(self) -> dict:
        shared = {"file": self.file.name, "tissues": self._used_tissues(THERMAL),
                  "blood": {"specific_heat_j_kg_k": self.blood["specific_heat_j_kg_k"]},
                  **self._pick("boundary")}
        deviations = {key: self.config["plant"][key] for key in (*FACTORS, *PLACES)}
        none = {**dict.fromkeys(FACTORS, 1), "focal_shift_mm": [0, 0, 0], "regions": {}}
        return {"control": {**shared, "deviations": none},
                "plant": {**shared, "deviations": deviations}}

    @cached_property
    def _reduce(self) -> dict:
        return {"file": self.file.name, **self.config["reduction"],
                "max_power_w": self.config["prescription"]["max_power_w"]}

    @cached_property
    def _control(self) -> dict:
        loop = {key: value for key, value in self.config["plant"].items()
                if key not in (*FACTORS, *PLACES)}  # these are in the plant's matrices
        tissues = self._used_tissues(("response",)) if loop["tissue"] == "responsive" else {}
        loop["response"] = {name: tissues[region["tissue"]]["response"]
                            for name, region in self.config["regions"].items()
                            if "response" in tissues.get(region["tissue"], {})}
        return {name: {"file": self.file.name, "plant": loop, "options": self.config[name],
                       **self._pick("prescription", "thermometry", "estimator", "safety")}
                for name in self.controllers}

    @property
    def treating(self) -> list[str]:
        """Names of the controllers that are no yardstick."""
        return [name for name in self.controllers if name != YARDSTICK]

    @property
    def ensemble_controllers(self) -> list[str]:
        """Names of the controllers whose treatments are repeated with other draws.

        The yardstick only where it is named: it would search for the same plan in every draw.
        """
        ensemble = self.config["ensemble"]
        return ensemble.get("controllers", self.treating) if ensemble["draws"] else []

    @cached_property
    def _draw(self) -> dict:
        drawn = {key: self.config["ensemble"][key] for key in ("seed", "spread")}
        return {name: {**self._control[name], "ensemble": drawn}
                for name in self.ensemble_controllers}

    @cached_property
    def _export(self) -> dict:
        return {"dose_cem43_min": self.config["prescription"]["dose_cem43_min"],
                **self._pick("boundary")}

    @cached_property
    def _report(self) -> dict:
        return {"file": self.file.name, "patient": self.config, "device": self.transducer,
                "tissues": self.tissues}


def load_patient(path) -> Patient:
    """Read and check a patient file and the tissue and transducer files it refers to.

    Raises
    ------
    InvalidConfig : every fault found, each with file, key, value and what is allowed.
    """
    path = Path(path)
    config, faults = check(read_yaml(path), "patient", path)
    if faults:
        raise InvalidConfig(faults)
    tissue_table, tissue_faults = _load_tissues(config["tissues"], path)
    device, device_faults = load_device(config["transducer"], path)
    faults = tissue_faults + device_faults or _cross_check(config, tissue_table["tissues"], device,
                                                           path)
    if faults:
        raise InvalidConfig(faults)
    _find_sources(config["anatomy"], path)
    return Patient(path.stem, path, config, device, tissue_table["tissues"],
                   tissue_table["water"], tissue_table["blood"])


def _source_files(anatomy: dict) -> list:
    """(section, key in it, dotted key) of each file that the anatomy is made from."""
    found = [(anatomy, key, f"anatomy.{key}") for key in ("labels", "image") if key in anatomy]
    return found + ([(anatomy["mesh"], "file", "anatomy.mesh.file")] if "mesh" in anatomy else [])


def _find_sources(anatomy: dict, patient_file) -> None:
    """Make the paths of an anatomy's files absolute; all must exist."""
    faults = []
    for section, key, dotted in _source_files(anatomy):
        given = section[key]
        try:
            found = (patient_file.parent / Path(given).expanduser()).resolve()
            folder = found.is_dir()
            exists = found.is_file() or (key == "image" and folder)
        except (RuntimeError, ValueError, OSError):  # no such user, a NUL byte, a loop of links
            exists = folder = False
        if exists:
            section[key] = str(found)
        else:
            faults.append(InputError(
                "is a folder" if folder else "no such file", file=patient_file, key=dotted,
                value=given, allowed="a file" if folder else "a path relative to the patient file"))
    if faults:
        raise InvalidConfig(faults)


def _load_tissues(overrides: dict, patient_file) -> tuple[dict, list]:
    """The tissue table with a patient's own values laid over it, checked as a whole."""
    content = read_yaml(TISSUES)
    table, faults = check(content, "tissues", TISSUES)
    if faults:
        return table, faults
    for name, values in overrides.items():
        part = table if name in ("water", "blood") else table["tissues"]
        part[name] = {**part.get(name, {}), "source": patient_file.name, **values}
    table, faults = check(table, "tissues", patient_file)
    if faults:
        return table, faults
    media = {f"tissues.{name}": (tissue, patient_file) for name, tissue in table["tissues"].items()}
    for key, (medium, file) in {**media, "water": (table["water"], TISSUES)}.items():
        for name, curve in medium.get("response", {}).items():
            if name in CURVES and any(a[0] >= b[0] for a, b in itertools.pairwise(curve)):
                faults.append(InputError("temperatures do not rise", file=file,
                                         key=f"{key}.response.{name}", value=curve,
                                         allowed="[degC, factor] by rising temperature"))
        loss, heat = medium["attenuation_np_m_mhz"], medium["absorption_np_m_mhz"]
        if heat > loss:
            faults.append(InputError(
                "absorption exceeds attenuation", file=file, key=f"{key}.absorption_np_m_mhz",
                value=heat, allowed=f"at most {loss}"))
    return table, faults


def _cross_check(config: dict, tissues: dict, device: dict, file) -> list[InputError]:
    """Faults that only two keys together show."""
    faults = []

    def fault(problem, key, value, allowed):
        faults.append(InputError(problem, file=file, key=key, value=value, allowed=allowed))

    _check_anatomy(config["anatomy"], fault)
    _check_regions(config, tissues, fault)
    _check_target(config["target"], config["regions"], fault)
    axis = config["transducer"]["axis"]
    if axis != "auto" and math.hypot(*axis) < SHORTEST_AXIS:
        fault("has no direction", "transducer.axis", axis,
              "a vector that is not zero")
    boundary = config["boundary"]
    warmest = max([boundary["arterial_temperature_c"]]
                  + [surface["temperature_c"] for surface in (boundary["skin"], boundary["cut"])
                     if surface != "insulated"])
    _check_constraints(constraint_list(config["constraints"]), config["regions"], warmest, fault)
    _check_monitoring(config, fault)
    if config["prescription"]["max_power_w"] > device["max_power_w"]:
        fault("is above what the transducer can radiate", "prescription.max_power_w",
              config["prescription"]["max_power_w"],
              f"at most {device['max_power_w']:g} ({device['name']})")
    for name in sorted(set(config["plant"]["regions"]) - set(config["regions"])):
        fault("no such region", "plant.regions", name, ", ".join(config["regions"]))
    order, cells = config["reduction"]["order"], config["mesh"]["control"]["cells"]
    most = 3 * cells // 2  # quadratic tetrahedra have 1.3 to 1.5 unknowns each
    if order != "auto" and order > most:
        fault("is more states than the control model has unknowns", "reduction.order", order,
              f"auto, or at most about {most} for {cells} cells (mesh.control.cells)")
    if order != "auto" and config["reduction"]["tolerance_k"] is not None:
        fault("give one of order and tolerance_k", "reduction.tolerance_k",
              config["reduction"]["tolerance_k"], f"none beside an order ({order})")
    if config["mesh"]["plant"]["cells"] <= config["mesh"]["control"]["cells"]:
        fault("the plant must be finer than the control model", "mesh.plant.cells",
              config["mesh"]["plant"]["cells"], f"above {config['mesh']['control']['cells']}")
    return faults


def constraint_list(section) -> list[dict]:
    """Every constraint with its `name` and its `key` in the patient file."""
    if isinstance(section, dict):
        section, keys = [section], ["constraints"]
    else:
        keys = [f"constraints.{number}" for number in range(len(section))]
    return [{"region": "", **constraint, "key": key,
             "name": constraint.get("name") or constraint.get("region") or constraint["surface"]}
            for key, constraint in zip(keys, section, strict=True)]


def _check_constraints(constraints: list, regions: dict, warmest: float, fault) -> None:
    names = set()
    for constraint in constraints:
        key, region = constraint["key"], constraint["region"]
        if constraint["limit_c"] <= warmest:
            fault("is not above the baseline temperature", f"{key}.limit_c",
                  constraint["limit_c"], f"above {warmest} (boundary)")
        if (constraint["surface"] == "region") != bool(region) or (region
                                                                   and region not in regions):
            fault("no such region, or not with this surface", f"{key}.region", region,
                  f"one of {', '.join(regions)} with the surface 'region'")
        if constraint["name"] in names:
            fault("two constraints have this name", f"{key}.name", constraint["name"],
                  "a name of its own for each")
        names.add(constraint["name"])


def _check_monitoring(config: dict, fault) -> None:
    for start, end in config["thermometry"]["lost_s"]:
        if start > end:
            fault("ends before it starts", "thermometry.lost_s", [start, end], "start <= end")
    for name in config["thermometry"]["no_signal_regions"]:
        if name not in config["regions"]:
            fault("no such region", "thermometry.no_signal_regions", name,
                  ", ".join(config["regions"]))
    ensemble, every = config["ensemble"], config["controllers"]
    if ensemble["draws"] and "controllers" not in ensemble and every == [YARDSTICK]:
        fault("draws patients, but no controller treats them", "controllers", YARDSTICK,
              f"another one, or {YARDSTICK} in ensemble.controllers too")
    for name in ensemble.get("controllers", []):
        if name not in config["controllers"]:
            fault("does not treat the patient", "ensemble.controllers", name,
                  ", ".join(config["controllers"]))


def _check_anatomy(anatomy: dict, fault) -> None:
    kinds = {"image" if key == "labels" else key for key in anatomy
             if key in ("labels", "image", "mesh", "phantom")}  # an image may have labels over it
    if len(kinds) != 1:
        fault("give one of labels, image, mesh and phantom", "anatomy", sorted(anatomy),
              "exactly one of them, or labels and image together")
    if ("image" in anatomy) != ("thresholds" in anatomy):
        fault("image and thresholds need each other", "anatomy", sorted(anatomy),
              "both of them or none")
    for name, options in anatomy.get("thresholds", {}).items():
        low, high = options.get("at_least"), options.get("below")
        if (low is None and high is None) or (None not in (low, high) and low >= high):
            fault("holds no range of intensities", f"anatomy.thresholds.{name}",
                  [low, high], "at_least, below, or both with at_least < below")
    phantom = anatomy.get("phantom")
    if phantom and min(phantom["tumour_semi_axes_mm"]) < phantom["voxel_size_mm"]:
        fault("is smaller than a voxel", "anatomy.phantom.tumour_semi_axes_mm",
              phantom["tumour_semi_axes_mm"], f"each at least {phantom['voxel_size_mm']} "
              "(voxel_size_mm)")


def _check_regions(config: dict, tissues: dict, fault) -> None:
    regions = config["regions"]
    owner: dict = {}
    for name, region in regions.items():
        if region["tissue"] not in tissues:
            fault("no such tissue", f"regions.{name}.tissue", region["tissue"],
                  ", ".join(sorted(tissues)))
        for label in region["labels"]:
            if label == 0:
                fault("0 is the outside of the body", f"regions.{name}.labels", region["labels"],
                      "labels other than 0")
            if label in owner:
                fault(f"label {label} already belongs to region '{owner[label]}'",
                      f"regions.{name}.labels", region["labels"], "each label in one region")
            owner[label] = name
    for name in config["cut_regions"]:
        if name not in regions or name == config["target"].get("region"):
            fault("no such region, or the target itself", "cut_regions", name,
                  ", ".join(sorted(set(regions) - {config["target"].get("region")})))


def _check_target(target: dict, regions: dict, fault) -> None:
    kinds = [key for key in ("region", "sphere", "ellipsoid") if key in target]
    if len(kinds) != 1 and not (not kinds and "at_mm" in target):
        fault("give one of region, sphere and ellipsoid, or at_mm", "target", sorted(target),
              "exactly one of them")
    if "region" in target and target["region"] not in regions:
        fault("no such region", "target.region", target["region"], ", ".join(regions))
    chosen = ["at_mm"] * ("at_mm" in target) + ["largest_component"] * target["largest_component"]
    if len(chosen) > 1 or (chosen and {"sphere", "ellipsoid"} & set(kinds)) or (
            target["largest_component"] and not kinds):
        fault("do not go together", "target", sorted(target),
              "at_mm or largest_component, with a region")
    if "ellipsoid" in target:
        first, second = (target["ellipsoid"][key] for key in ("first_axis", "second_axis"))
        cross = [first[i - 2] * second[i - 1] - first[i - 1] * second[i - 2] for i in range(3)]
        if math.hypot(*cross) < SHORTEST_AXIS:
            fault("give no two directions", "target.ellipsoid", [first, second],
                  "two vectors that are not zero and not parallel")


@dataclass(frozen=True)
class Study:
    """The patients of one run: `config/config.yaml` with the command line laid over it."""

    patients: dict[str, Patient]
    results_dir: str
    mpi_ranks: int

    @classmethod
    def from_config(cls, config: dict) -> Study:
        """Check the study and every patient file in it; all faults are reported together."""
        given = {key: str(value) if isinstance(value, int) and key != "mpi_ranks" else value
                 for key, value in config.items()}  # `--config patients=33` comes as a number
        config, faults = check(given, "study", "config/config.yaml or --config")
        if faults:
            raise InvalidConfig(faults)
        folder = _patients_folder(config["patients_dir"])
        known = sorted(path.stem for path in folder.glob("*.yaml"))
        names = config["patients"]
        names = known if names == "all" else [names] if isinstance(names, str) else names
        unusable = [name for name in names if not PATIENT_NAME.fullmatch(name)]
        if unusable:
            raise InvalidConfig([InputError(
                "is not a usable name of a patient", file=folder / f"{name}.yaml", key="patients",
                value=name, allowed="letters, digits, - and _") for name in unusable])
        patients = {}
        for name in names:
            if name not in known:
                faults.append(InputError("no such patient file", file=folder / f"{name}.yaml",
                                         key="patients", value=name,
                                         allowed=", ".join(known) or f"a .yaml file in {folder}"))
                continue
            try:
                patients[name] = load_patient(folder / f"{name}.yaml")
            except InvalidConfig as error:
                faults += error.faults
            except InputError as error:
                faults.append(error)
        if not names:
            faults.append(InputError("holds no patient file", file=folder, key="patients_dir",
                                     allowed="a folder with NAME.yaml files"))
        if faults:
            raise InvalidConfig(faults)
        return cls(patients, str(Path(config["results_dir"]).expanduser()),
                   config["mpi_ranks"])


def _patients_folder(given: str) -> Path:
    """A folder relative to where the run was started, or else to the project."""
    folder = Path(given).expanduser()
    return folder if folder.is_dir() or folder.is_absolute() else ROOT / folder
