"""Memory and time that a workflow job needs, from the size of its model.

    memory [MB] = sum_k m_k s_k,    CPU time [s] = sum_k t_k s_k

over the sizes s_k of `sizes`. The coefficients, one set for each rule, are in
`workflow/resources.yaml`, fitted to measured runs by `benchmarks/resources.py`.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

from hifuflow.errors import InputError
from hifuflow.job import read_json
from hifuflow.provenance import ROOT

from .yaml_file import read_yaml

TABLE = ROOT / "workflow" / "resources.yaml"


@cache
def table() -> dict:
    """The coefficients of every rule, and the margins of what is requested."""
    return read_yaml(TABLE)


def sizes(patient, folder, part: str | None = None, treatment_s: float | None = None) -> dict:
    """Sizes of a patient's models, as far as they are known yet.

    Parameters
    ----------
    patient : study.patient.Patient.  folder : its results.
    part : mesh that the rule uses, "control" or "plant"; None for rules that use both.
    treatment_s : duration of the treatment [s]; None: the longest allowed.

    Returns
    -------
    dict of name -> number; before anatomy and plan exist, those of a large breast.
    """
    config, unknown, folder = patient.config, table()["unknown"], Path(folder)
    plan, regions = (_known(folder / name)
                     for name in ("acoustics/plan.json", "anatomy/regions.json"))
    explicit = config["foci"].get("explicit_mm")
    foci = (len(plan["foci_m"]) if plan
            else len(explicit) if explicit else unknown["foci"])
    volume = (sum(region["volume_m3"] for region in regions["regions"].values())
              if regions else unknown["body_ml"] * 1e-6)
    spacing = config["acoustics"]["spacing_mm"]
    if spacing == "auto":
        spacing = 500 * patient.water["speed_of_sound_m_s"] / patient.transducer["frequency_hz"]
    cells = {model: config["mesh"][model]["cells"] / 1e3 for model in ("control", "plant")}
    order = config["reduction"]["order"]
    states = (min(unknown["states_per_focus"] * foci, 500 * cells["control"])
              if order == "auto" else order) / 1e3
    samples = ((treatment_s or config["prescription"]["max_time_s"])
               / config["thermometry"]["interval_s"] / 1e3)
    k = cells[part] if part else sum(cells.values())
    beam = volume * 1e9 / spacing**3 / 1e6
    folders = {path for path in patient.sources if Path(path).is_dir()}
    images = [path for path in patient.sources if str(Path(path).parent) not in folders]
    return {"base": 1, "mvoxels": sum(map(_million_voxels, images)),
            "kcells": k, "kcells43": k ** (4 / 3),  # sparse factors in space grow like the latter
            "mcells_beam": beam, "mcells_beam_foci": beam * foci,
            "kstates2": states**2, "kstates3": states**3,
            "ksamples_kcells": samples * cells["plant"],
            "ksamples_kstates2": samples * states**2}


def _known(path: Path) -> dict:
    """Content of a result; empty if there is none yet or it is damaged, as its reader will say."""
    try:
        return read_json(path) if path.is_file() else {}
    except InputError:
        return {}


@cache
def _million_voxels(path: str) -> float:
    """Million voxels of a NIfTI file by its header, of others by their size at 2 bytes each.

    Of a folder of organs, which are read one after the other, those of one.
    """
    organs = sorted(Path(path).glob("*.nii*")) if Path(path).is_dir() else []
    if organs:
        return _million_voxels(str(organs[0]))
    if path.endswith((".nii", ".nii.gz")):
        import nibabel  # here only: most Snakemake processes need no images

        try:
            return math.prod(nibabel.load(path).shape) / 1e6
        except Exception:  # the first step reports what is wrong with the file
            return 0.0
    files = Path(path).rglob("*") if Path(path).is_dir() else [Path(path)]
    return sum(file.stat().st_size for file in files if file.is_file()) / 2e6


def expected(rule: str, part: str | None, size: dict) -> tuple[float, float]:
    """Memory [MB] and CPU time [s] of one job; `part` is its model or controller."""
    rules = table()["rules"]
    coefficients = rules.get(f"{rule}_{part}", rules[rule])
    return tuple(sum(value * size[name] for name, value in coefficients[what].items())
                 for what in ("memory_mb", "cpu_s"))


def requested(memory_mb: float, cpu_s: float, attempt: int) -> tuple[int, int]:
    """Memory [MB] and wall time [min] to request from a scheduler, more on each attempt."""
    asked = table()["requested"]
    memory = asked["memory_factor"] * memory_mb + asked["memory_overhead_mb"]
    minutes = (asked["time_factor"] * cpu_s + asked["time_overhead_s"]) / 60
    return 50 * math.ceil(memory * attempt / 50), math.ceil(minutes * attempt)


def useful_threads(cpu_s: float, share: float = math.inf) -> int:
    """Number of threads for a rule that can use several: more for longer jobs.

    `share` : cores for each patient of the run. Many patients use a machine better side by side, on
    one thread each, than one after the other on all.
    """
    asked = table()["requested"]
    most = min(asked["most_threads"], max(share, 1))
    return int(min(max(cpu_s / asked["cpu_s_per_thread"], 2), most))
