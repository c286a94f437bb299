"""A patient file to start from, made from a segmentation."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hifuflow.errors import InputError

from .inspect_labels import known_tissues
from .patient import check_name
from .region_guesses import FILL_IN, Region, guess_regions
from .starter_source import Segmentation, look_at
from .transducer_file import TRANSDUCERS
from .yaml_file import parse_yaml

SUFFIXES = (".gz", ".nii", ".seg", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".hdr", ".img",
            ".mgh", ".mgz", ".msh", ".vtu", ".vtk", ".xdmf", ".stl", ".obj", ".ply",
            ".vtp")  # what a segmentation's name ends in
GUESS = "a guess from its name"


def write_starter(segmentation, output=None) -> tuple[Path, list[str]]:
    """Write a patient file for a segmentation; an existing file is never overwritten.

    Parameters
    ----------
    segmentation : all that `anatomy.labels`, `anatomy.surfaces` and `anatomy.mesh` take.
    output : of the patient file; by default in the working folder, with the segmentation's name.

    Returns
    -------
    path, missing : where it is, and the keys in it that are still to be filled in.

    Raises
    ------
    InputError : no segmentation, or one of too many labels; a file that is there already or cannot
        be written, or whose name cannot be a patient's.
    """
    segmentation = Path(segmentation)
    path = Path(output) if output else Path(f"{_patient_name(segmentation)}.yaml")
    check_name(path)
    if path.exists():  # said before a large map is read
        raise _exists(path)
    if not segmentation.exists():
        raise InputError("no such file", file=segmentation)
    found = look_at(segmentation, _relative(segmentation, path))
    regions = guess_regions(found.rows, found.layered, known_tissues(), found.by_name)
    text, missing = starter(found, path.name, regions, known_tissues())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = open(path, "x", encoding="utf-8")
    except OSError as error:
        if path.exists():
            raise _exists(path) from None
        raise InputError(f"cannot be written: {error.strerror}", file=path,
                         allowed="another one: --output FILE") from error
    with stream:
        stream.write(text)
    return path, missing


def _exists(path: Path) -> InputError:
    return InputError("is there already, and is not overwritten", file=path,
                      allowed="another one: --output FILE")


def _patient_name(segmentation: Path) -> str:
    """A patient's name from the name of a segmentation."""
    name = segmentation.name
    while name.lower().endswith(SUFFIXES):
        name = name.rpartition(".")[0]
    usable = "".join(c if c.isascii() and c.isalnum() else "_" for c in name).strip("_")
    return usable or "patient"


def _relative(segmentation: Path, patient_file: Path) -> str:
    """Path of the segmentation as the patient file names it."""
    segmentation, folder = segmentation.resolve(), patient_file.parent.resolve()
    if os.path.commonpath([segmentation, folder]) == os.sep:  # they have nothing in common
        return str(segmentation)
    return os.path.relpath(segmentation, folder)


def starter(found: Segmentation, file_name: str, regions: list[Region],
            tissues: list[str]) -> tuple[str, list[str]]:
    """Text of a patient file, and the keys in it that are still to be filled in.

    Parameters
    ----------
    found : the segmentation.  file_name : of the patient file.
    """
    devices = ", ".join(sorted({file.stem for file in TRANSDUCERS.glob("*.yaml")} - {"random256"}))
    body = [region for region in regions if not region.outside]
    outside = [region.label for region in regions if region.outside]
    targets = [region for region in body if region.target]
    chosen = targets[0].name if len(targets) == 1 else FILL_IN
    missing = [f"regions.{region.name}.tissue" for region in body if region.tissue == FILL_IN]
    missing += ["target.region"] if chosen == FILL_IN else []
    lines = [
        f"# A patient file to start from. Go through it, replace every {FILL_IN}, then:",
        f"#   hifuflow validate {file_name}",
        "# All keys with meaning, unit and default: hifuflow document",
        "anatomy:",
        *_source(found),
    ]
    if outside:
        lines += [_with_comment(f"  outside: [{', '.join(outside)}]", f"no body: {GUESS}")]
    lines += [
        "# Every label of the map, and the tissue that it is made of:",
        f"#   {', '.join(tissues)}",
        "# (or one that `tissues:` below defines). Of a label that is no body, such as the air",
        "# around it, delete the line and put the label into `outside: [...]` of `anatomy:`.",
        "regions:",
        *(_with_comment(f"  {region.line()}", _remark(region)) for region in body),
        "target:",
        _with_comment(f"  region: {chosen}", _target_remark(chosen, targets)),
        *_component(targets, chosen),
        "transducer:",
        _with_comment("  name: random256", f"or {devices}, ./my_array.yaml"),
        _with_comment("  axis: auto", "where most of the beam arrives; or [R, A, S]"),
        _with_comment("  standoff_mm: auto", "geometric focus on the target's centre"),
        "foci:",
        _with_comment("  plane_offsets_mm: auto", "as many planes as the target needs"),
        "# Regions at which the model ends, e.g. the chest wall:",
        "# cut_regions: [muscle]",
        "# Values that differ in this patient, or further tissues:",
        "# tissues: {liver: {perfusion_kg_m3_s: 12}}",
    ]
    return "\n".join(lines) + "\n", missing


def _source(found: Segmentation) -> list[str]:
    """Where the anatomy comes from."""
    (kind, value), = found.keys.items()
    if isinstance(value, str):
        return [_with_comment(f"  {kind}: {scalar(value)}", _relation(value))]
    path = next(iter(value))
    remarks = {path: _relation(value[path]), "unit": "a guess from its size"}
    return [f"  {kind}:", *(_with_comment(f"    {key}: {scalar(item)}" if isinstance(item, str)
                                          else f"    {key}: {item}", remarks.get(key, ""))
                            for key, item in value.items())]


def _relation(path: str) -> str:
    return "" if os.path.isabs(path) else "relative to this file"


def _with_comment(text: str, comment: str) -> str:
    return f"{text:<58}  # {comment}" if comment else text


def _remark(region: Region) -> str:
    """Comment on a region's line, with its name in the header where that was changed."""
    name = json.dumps(region.header_name, ensure_ascii=False) if region.header_name else "no name"
    if region.tissue == FILL_IN:
        return f"FILL IN the tissue ({name}, {region.ml:.3g} ml)"
    return "" if region.certain else f"tissue: {GUESS}, {name}"


def _target_remark(chosen: str, targets: list[Region]) -> str:
    if chosen != FILL_IN:
        return GUESS
    names = ", ".join(region.name for region in targets)
    return "FILL IN the region to be treated" + (f": {names}" if names else "")


def _component(targets: list[Region], chosen: str) -> list[str]:
    """Comment on how to choose one of several pieces of the target."""
    if chosen == FILL_IN or targets[0].components == 1:
        return []
    return [f"  # It has {targets[0].components} pieces, and all are treated; for one of them:",
            "  # largest_component: true        or at_mm: [R, A, S], a point in it "
            "(hifuflow inspect)"]


def scalar(text: str) -> str:
    """A text as YAML, in quotes only where it would mean something else without them."""
    try:
        plain = parse_yaml(f"key: {text}  # comment") == {"key": text}
    except InputError:
        plain = False
    return text if plain else json.dumps(text, ensure_ascii=False)
