"""Patients: configuration files, checked and divided into the sections of the workflow's rules.

A patient file, its transducer and the tissue table become one plain dict, checked, with every
default filled in. A rule then gets only the sections it uses (`Patient.section`), so editing one
section reruns only the rules that depend on it.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hifuflow.errors import InputError, InvalidConfig
from hifuflow.formats.side_files import holds_series, with_side_files
from hifuflow.provenance import ROOT

from .controllers import check_controllers, named_controllers, patient_schema
from .cross_checks import constraint_list, cross_check
from .paths import user_path
from .schema import check
from .transducer_file import load_device
from .yaml_file import read_yaml

SUFFIXES = (".yaml", ".yml")  # of patient files
# Keys that may name a folder.
FOLDERS = ("anatomy.labels", "anatomy.image", "anatomy.surfaces.path", "export.dicom_series")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
TISSUES = ROOT / "config" / "tissues.yaml"
THERMAL = ("density_kg_m3", "specific_heat_j_kg_k", "conductivity_w_m_k", "perfusion_kg_m3_s")
FACTORS = ("perfusion_factor", "conductivity_factor", "absorption_factor")
PLACES = ("focal_shift_mm", "regions")
CURVES = ("perfusion", "conductivity", "absorption")
BEAM_PATH = ("attenuation_np_m_mhz", "attenuation_exponent", "blocks")
ACOUSTIC = ("density_kg_m3", "speed_of_sound_m_s", "attenuation_np_m_mhz", "absorption_np_m_mhz",
            "attenuation_exponent")


@dataclass(frozen=True)
class Patient:
    """A patient file, checked and complete.

    Attributes
    ----------
    name : the file's stem.  file : its path.
    config : every section of the patient file, with defaults and absolute paths; `controllers` are
        plain names.
    named_controllers : name -> `NamedController`.
    transducer : content of the transducer file.
    tissues : tissue -> properties, overrides applied.  water, blood : their properties.
    """

    name: str
    file: Path
    config: dict
    named_controllers: dict
    transducer: dict
    tissues: dict
    water: dict
    blood: dict

    @property
    def sources(self) -> list[str]:
        """Paths of all files from which the anatomy is made; empty for the built-in phantom."""
        return [file for section, key, _ in _source_files(self.config["anatomy"])
                for file in with_side_files(section[key])]

    @property
    def reduced_model(self) -> str | None:
        """Path of a reduced model from elsewhere; None where the control model is reduced."""
        return self.config["reduction"]["model"]

    @property
    def scan(self) -> str | None:
        """Path of the image whose grid results are exported on; None where there is no image."""
        anatomy = self.config["anatomy"]
        return anatomy.get("labels", anatomy.get("image"))

    @cached_property
    def dicom_series(self) -> str | None:
        """Path of the DICOM series that results refer to; None where they refer to none."""
        given, anatomy = self.config["export"]["dicom_series"], self.config["anatomy"]
        if given != "auto":
            return None if given == "none" else given
        return next((anatomy[key] for key in ("labels", "image")
                     if key in anatomy and holds_series(anatomy[key])), None)

    @property
    def dead_elements(self) -> dict:
        """`count` and `seed` of the array's dead elements, a simulated fault; {} where none are."""
        return next(({key: fault[key] for key in ("count", "seed")}
                     for fault in self.config["faults"] if fault["kind"] == "dead_elements"), {})

    @property
    def controllers(self) -> list[str]:
        """Names of the controllers to run."""
        return self.config["controllers"]

    def section(self, rule: str, part: str | None = None) -> dict:
        """The settings that a rule depends on, and no others; `part`: its model or controller.

        They are plain values, because Snakemake compares them to decide what must run again. The
        `settings.py` of the rule's stage reads them.
        """
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
        beam = ("frequency_hz", "radius_of_curvature_m", "aperture_m", "max_steering_m",
                "max_travel_m", "element_radius_m")
        return {"file": self.file.name,
                "transducer": {key: self.config["transducer"][key]
                               for key in ("axis", "max_blocked_fraction")},
                "device": {key: self.transducer[key] for key in beam if key in self.transducer},
                "tissues": self._used_tissues(BEAM_PATH),
                **({"series": self.dicom_series} if self.dicom_series else {}),
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
        return {model: {"file": self.file.name, "key": f"mesh.{model}",
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
        return {name: {"file": self.file.name, "plant": loop,
                       "controller": self.named_controllers[name].source,
                       "options": self.config[name],
                       **self._pick("prescription", "thermometry", "estimator", "safety",
                                    "faults")}
                for name in self.controllers}

    @property
    def treating(self) -> list[str]:
        """Names of the controllers that treat: all but the yardsticks."""
        return [name for name, one in self.named_controllers.items() if not one.yardstick]

    @property
    def ensemble_controllers(self) -> list[str]:
        """Names of the controllers whose treatments are repeated with other draws.

        A yardstick is only included if it is named: it would find the same plan in every draw.
        """
        ensemble = self.config["ensemble"]
        return ensemble.get("controllers", self.treating) if ensemble["draws"] else []

    @cached_property
    def _draw(self) -> dict:
        drawn = {key: self.config["ensemble"][key] for key in ("seed", "spread")}
        return {name: {**self._control[name], "ensemble": drawn}
                for name in self.ensemble_controllers}

    @cached_property
    def _best(self) -> dict:
        return {"hard_excess_k": self.config["safety"]["hard_excess_k"],
                "controllers": self.treating or self.controllers}

    @cached_property
    def _summary(self) -> dict:
        return {"coverage": self.config["prescription"]["coverage"],
                **self._pick("controllers", "hyperthermia")}

    @cached_property
    def _export(self) -> dict:
        return {"dose_cem43_min": self.config["prescription"]["dose_cem43_min"],
                "nifti_transform": self.config["anatomy"]["nifti_transform"],
                **self._pick("boundary")}

    @cached_property
    def _export_dicom(self) -> dict:
        return {"file": self.file.name, "series": self.dicom_series,
                "dose_cem43_min": self.config["prescription"]["dose_cem43_min"]}

    @cached_property
    def _report(self) -> dict:
        return {"file": self.file.name, "patient": self.config, "device": self.transducer,
                "tissues": self.tissues, "controllers": self.controllers,
                "own_controllers": {name: f"{Path(one.source['file']).name}:{one.source['class']}, "
                                          f"sha256 {one.source['sha256']}"
                                    for name, one in self.named_controllers.items()
                                    if "file" in one.source}}


def check_name(file) -> None:
    """Refuse a file whose name cannot be that of a patient, under which results are kept.

    Raises
    ------
    InputError : the name has characters or an ending that are not allowed.
    """
    file = Path(file)
    if not NAME.fullmatch(file.stem) or file.suffix not in SUFFIXES:
        raise InputError("is not a usable name of a patient", file=file, key="patients",
                         value=file.name, allowed="letters, digits, - and _, and then "
                                                  + " or ".join(SUFFIXES))


def load_patient(path) -> Patient:
    """Read and check a patient file and the tissue and transducer files it refers to.

    Raises
    ------
    InvalidConfig : with every fault, each with file, key, value and what is allowed.
    """
    path = Path(path)
    content = read_yaml(path)
    named, unusable = named_controllers(content, path)
    config, faults = check(content, patient_schema(named), path)
    if unusable or faults:
        raise InvalidConfig(unusable + faults)
    tissue_table, tissue_faults = _load_tissues(config["tissues"], path)
    device, device_faults = load_device(config["transducer"], path)
    faults = tissue_faults + device_faults or (
        cross_check(config, tissue_table["tissues"], device, path)
        + check_controllers(config, named, path))
    if faults:
        raise InvalidConfig(faults)
    _find_sources(config, path)
    return Patient(path.stem, path, {**config, "controllers": list(named)}, named, device,
                   tissue_table["tissues"], tissue_table["water"], tissue_table["blood"])


def _source_files(anatomy: dict) -> list:
    """(section, key in it, dotted key) of each file from which the anatomy is made."""
    entries = [(anatomy, key, f"anatomy.{key}") for key in ("labels", "image") if key in anatomy]
    return entries + [(anatomy[key], name, f"anatomy.{key}.{name}")
                      for key, name in (("mesh", "file"), ("surfaces", "path")) if key in anatomy]


def _find_sources(config: dict, patient_file) -> None:
    """Make the paths of all that the patient file names absolute; all must exist."""
    faults, files = [], _source_files(config["anatomy"])
    if config["reduction"]["model"] is not None:
        files.append((config["reduction"], "model", "reduction.model"))
    if config["export"]["dicom_series"] not in ("auto", "none"):
        files.append((config["export"], "dicom_series", "export.dicom_series"))
    for section, key, dotted in files:
        entered = section[key]
        path = user_path(entered, patient_file.parent)
        folder = path is not None and path.is_dir()
        if path is not None and (path.is_file() or (dotted in FOLDERS and folder)):
            section[key] = str(path.resolve())
        else:
            faults.append(InputError(
                "is a folder" if folder else "no such file", file=patient_file, key=dotted,
                value=entered,
                allowed="a file" if folder else "a path relative to the patient file"))
    if faults:
        raise InvalidConfig(faults)


def _load_tissues(overrides: dict, patient_file) -> tuple[dict, list]:
    """The tissue table overridden by a patient's own values, checked as a whole."""
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


