"""Transducer files: reading, checks, and values that follow from the elements.

A transducer is a file of `config/transducers`, or a user's own file beside the patient file.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

from hifuflow.errors import InputError
from hifuflow.provenance import ROOT

from .paths import user_path
from .schema import check
from .yaml_file import MOST_BYTES, read_text, read_yaml

TRANSDUCERS = ROOT / "config" / "transducers"
PROSE = ("description", "source", "assumed")  # an edit there changes no result
COLUMNS = ("x_m", "y_m", "z_m", "nx", "ny", "nz", "radius_m")
MOST_ELEMENTS = 10_000
SMALLEST = 1e-5  # least radius of an element [m]
LARGEST = 1.0  # largest length in a list of elements [m]
LONGEST_NORMAL = 1e6  # largest component of a normal, before it is normalised
ON_BOWL = ("random_spherical", "fermat_spiral", "bowl")
WATER_SPEED = 1500.0  # [m/s], only to compare sizes with a wavelength
# Largest fraction of a plane that discs cover: placed at random until none fits (J. Feder, J.
# Theor. Biol. 87, 237 (1980)); in a hexagonal lattice, pi / sqrt(12).
MOST_FILLED = {"random_spherical": 0.547, "fermat_spiral": 0.907}
ROUNDING = 0.01  # fraction of the sum of two radii by which discs of a rounded list may overlap
KEYS = {  # required and optional keys of each kind, beside those that every kind has
    "elements": (("elements",), ()),
    "random_spherical": (("aperture_m", "n_elements", "element_radius_m"),
                         ("inner_aperture_m", "seed")),
    "fermat_spiral": (("aperture_m", "n_elements", "element_radius_m"), ("inner_aperture_m",)),
    "bowl": (("aperture_m",), ("inner_aperture_m",)),
    "annular": (("rings_m",), ()),
}


def load_device(choice: dict, patient_file) -> tuple[dict, list[InputError]]:
    """The transducer of a patient, and the list of all faults.

    Parameters
    ----------
    choice : section `transducer` of the patient file: its `name` is a file in
        `config/transducers`, or a path (with a slash, or ending in .yaml) relative to the patient
        file; `failed_elements` and `apodisation` are applied on top of those of the device.

    Returns
    -------
    The file's content, completed: `name`, `file`; `n_elements` and `aperture_m` for every kind;
    `elements` as rows of numbers in the order of `COLUMNS`; `weights` [1], one for each element.
    """
    name = choice["name"]
    is_path = "/" in name or name.endswith(".yaml")
    file = user_path(name if is_path else f"{TRANSDUCERS}/{name}.yaml", Path(patient_file).parent)
    if file is None or not file.is_file():
        known = ", ".join(sorted(path.stem for path in TRANSDUCERS.glob("*.yaml")))
        return {}, [InputError("no such transducer", file=patient_file, key="transducer.name",
                               value=name, allowed=f"{known}, or the path of a .yaml file "
                                                    "relative to the patient file")]
    content = read_yaml(file)
    device, faults = check(content, "transducer", file)
    faults = faults or _check_kind(content, file)
    if not faults:
        device, faults = _complete(device, file)
    if not faults:
        faults = _check_sizes(device, file) or _weigh(device, choice, file, patient_file)
    device = {key: value for key, value in device.items() if key not in PROSE}
    shown = name if is_path else f"config/transducers/{name}.yaml"
    return {"name": file.stem, "file": shown, **device}, faults


def _check_kind(content: dict, file) -> list[InputError]:
    """Faults of keys that a kind of layout requires, or that belong to other kinds."""
    required, optional = KEYS[content["kind"]]
    special = {key for keys in KEYS.values() for part in keys for key in part}
    faults = [InputError("is missing", file=file, key=key, allowed=f"needed by the kind "
                         f"{content['kind']}") for key in required if key not in content]
    return faults + [InputError(f"does not belong to the kind {content['kind']}", file=file,
                                key=key, value=content[key],
                                allowed=", ".join((*required, *optional)))
                     for key in sorted(special & content.keys() - {*required, *optional})]


def _complete(device: dict, file) -> tuple[dict, list[InputError]]:
    """Add the number of elements and the aperture, which some kinds do not state."""
    if device["kind"] == "elements":
        try:
            path = user_path(device["elements"], file.parent)
            if path is None:
                raise InputError("no file can have this name", file=file, key="elements",
                                 value=device["elements"], allowed="a path relative to this file")
            rows = read_elements(path, device["radius_of_curvature_m"])
        except InputError as fault:
            return device, [fault]
        reach = max(math.hypot(x, y) + radius * math.sqrt(max(0.0, 1 - (x * nx + y * ny) ** 2
                                                              / max(x * x + y * y, 1e-30)))
                    for x, y, _, nx, ny, _, radius in rows)
        return {**device, "elements": rows, "n_elements": len(rows), "aperture_m": 2 * reach}, []
    if device["kind"] == "annular":
        return {**device, "n_elements": len(device["rings_m"]),
                "aperture_m": 2 * max(rim for _, rim in device["rings_m"]),
                "inner_aperture_m": 2 * min(inner for inner, _ in device["rings_m"])}, []
    return {"n_elements": 1, **device}, []


def _check_sizes(device: dict, file) -> list[InputError]:
    """Faults of lengths that contradict each other."""
    faults, radius, aperture = [], device["radius_of_curvature_m"], device["aperture_m"]
    wide = {"annular": "rings_m", "elements": "elements"}.get(device["kind"], "aperture_m")
    wavelength = WATER_SPEED / device["frequency_hz"]

    def fault(problem, key, value, allowed):
        faults.append(InputError(problem, file=file, key=key, value=value, allowed=allowed))

    if device["kind"] != "elements" and aperture >= 2 * radius:
        fault("is wider than a hemisphere", wide, aperture,
              f"below {2 * radius:g}, twice radius_of_curvature_m")
    if aperture < wavelength:
        fault("is narrower than a wavelength and focuses nothing", wide, aperture,
              f"an aperture of at least {wavelength:.3g}")
    if device["kind"] in ON_BOWL and device["inner_aperture_m"] >= aperture:
        fault("leaves no room for the elements", "inner_aperture_m", device["inner_aperture_m"],
              f"below aperture_m ({aperture:g})")
    if device.get("element_radius_m", 0) > aperture / 2:
        fault("is more than the whole aperture", "element_radius_m", device["element_radius_m"],
              f"at most {aperture / 2:g}, half of aperture_m")
    if not faults and device["kind"] in MOST_FILLED:
        filled, most = _filled(device), MOST_FILLED[device["kind"]] + 0.5 / device["n_elements"]
        if filled > most:  # a few discs may cover more, as the rim around them counts
            fault(f"{device['n_elements']} discs would cover {filled:.1%} of the bowl without "
                  "touching", "element_radius_m", device["element_radius_m"],
                  f"fewer or smaller elements, at most {min(most, 1):.1%}")
    for name, limit in device["max_steering_m"].items():
        if limit > radius:
            fault("is farther than the geometric focus", f"max_steering_m.{name}", limit,
                  f"at most {radius:g}, the radius_of_curvature_m")
    before = 0.0
    for ring in device.get("rings_m", ()):
        if not before <= ring[0] < ring[1]:
            fault("rings overlap or are empty", "rings_m", ring, "rings from the axis outwards, "
                  "each [inner, outer], none beginning before the last one ends")
        before = ring[1]
    return faults


def _filled(device: dict) -> float:
    """Fraction of the bowl between hole and rim that the discs cover."""
    radius, discs = device["radius_of_curvature_m"], device["n_elements"]
    depth = math.sqrt(radius**2 - device["inner_aperture_m"] ** 2 / 4) - math.sqrt(
        radius**2 - device["aperture_m"] ** 2 / 4)
    return discs * device["element_radius_m"] ** 2 / (2 * radius * depth)


def _weigh(device: dict, choice: dict, file, patient_file) -> list[InputError]:
    """Fill in `weights` (failed elements 0, apodised ones less than 1) and reduce `max_power_w`."""
    count, faults = device["n_elements"], []
    weights = [1.0] * count
    for section, source, prefix in ((device, file, ""), (choice, patient_file, "transducer.")):
        apodisation = section.get("apodisation")
        if apodisation is not None and len(apodisation) != count:
            faults.append(InputError(f"has {len(apodisation)} numbers", file=source,
                                     key=f"{prefix}apodisation", allowed=f"one for each of the "
                                     f"{count} elements"))
        elif apodisation is not None:
            weights = list(apodisation)
    for section, source, prefix in ((device, file, ""), (choice, patient_file, "transducer.")):
        for number in section["failed_elements"]:
            if number > count:
                faults.append(InputError("no such element", file=source, value=number,
                                         key=f"{prefix}failed_elements",
                                         allowed=f"1 to {count}"))
            else:
                weights[number - 1] = 0.0
    if not faults and not any(weights):
        faults.append(InputError("no element is left", file=patient_file, key="transducer",
                                 allowed="failed_elements and apodisation that leave at least one"))
    if not faults:
        areas = _areas(device)
        whole = sum(areas)
        device["max_power_w"] *= sum(w**2 * a for w, a in zip(weights, areas, strict=True)) / whole
        device["weights"] = weights
    for key in ("failed_elements", "apodisation"):
        device.pop(key, None)
    return faults


def _areas(device: dict) -> list[float]:
    """Radiating area of each element, up to a common factor."""
    if device["kind"] == "elements":
        return [row[-1] ** 2 for row in device["elements"]]
    if device["kind"] == "annular":
        squared = device["radius_of_curvature_m"] ** 2
        return [math.sqrt(squared - inner**2) - math.sqrt(squared - rim**2)
                for inner, rim in device["rings_m"]]
    return [1.0] * device["n_elements"]


def read_elements(path, radius_of_curvature: float) -> list[list[float]]:
    """Rows of an element list: centre, unit normal and radius of discs, in the device's frame.

    The file is comma-separated text with the header `x_m,y_m,z_m,nx,ny,nz,radius_m`. The apex is
    the origin and the sound travels along +z.

    Raises
    ------
    InputError : the file does not exist or has another form; a value is not a finite number; a
        radius is not positive; a normal has no direction or points away from the focus; discs
        overlap. The message has the number of the line.
    """
    allowed = "a text file of comma-separated values"
    text = read_text(path, MOST_BYTES, allowed)
    try:
        lines = list(csv.reader(text.splitlines()))
    except csv.Error as error:
        raise InputError(f"cannot be read: {error}", file=path, key="elements",
                         allowed=allowed) from error
    if not lines or [cell.strip() for cell in lines[0]] != list(COLUMNS):
        raise InputError("line 1 is not the header", file=path, value=",".join(lines[0][:20])
                         if lines else "", key="elements", allowed=",".join(COLUMNS))
    numbered = [(number, line) for number, line in enumerate(lines[1:], start=2) if line]
    if not 1 <= len(numbered) <= MOST_ELEMENTS:
        raise InputError(f"holds {len(numbered)} elements", file=path, key="elements",
                         allowed=f"1 to {MOST_ELEMENTS}")
    rows = [_element(line, number, path, radius_of_curvature) for number, line in numbered]
    _check_apart(rows, [number for number, _ in numbered], path)
    return rows


def _element(line: list[str], number: int, path, radius_of_curvature: float) -> list[float]:
    def fault(problem, allowed):
        return InputError(f"line {number} {problem}", file=path, key="elements",
                          value=",".join(line), allowed=allowed)

    if len(line) != len(COLUMNS):
        raise fault(f"has {len(line)} values", ",".join(COLUMNS))
    try:
        values = [float(cell) for cell in line]
    except ValueError:
        raise fault("holds something that is not a number", "numbers") from None
    x, y, z, *normal, radius = values
    if not all(math.isfinite(value) for value in values) or (
            max(map(abs, (x, y, z, radius))) > LARGEST or max(map(abs, normal)) > LONGEST_NORMAL):
        raise fault("holds a number that is not finite, or too large",
                    f"lengths up to {LARGEST:g} m")
    length = math.hypot(*normal)
    if radius < SMALLEST:
        raise fault("has a radius that is not positive, or too small for an element",
                    f"radius_m from {SMALLEST:g}")
    if length < 1e-6:
        raise fault("has a normal without a direction", "nx, ny, nz not all 0")
    normal = [value / length for value in normal]
    if sum(n * d for n, d in zip(normal, (-x, -y, radius_of_curvature - z), strict=True)) <= 0:
        raise fault("faces away from the geometric focus",
                    f"normals towards (0, 0, {radius_of_curvature:g})")
    return [x, y, z, *normal, radius]


def _check_apart(rows: list, numbers: list, path) -> None:
    """Refuse discs that overlap; it suffices to compare neighbours in a list sorted by x."""
    order = sorted(range(len(rows)), key=lambda i: rows[i][0])
    widest = max(row[-1] for row in rows)
    for place, i in enumerate(order):
        for j in order[place + 1:]:
            if rows[j][0] - rows[i][0] >= rows[i][-1] + widest:
                break
            sum_of_radii = rows[i][-1] + rows[j][-1]
            gap = math.dist(rows[i][:3], rows[j][:3]) - sum_of_radii
            if gap < -ROUNDING * sum_of_radii:
                first, second = sorted((numbers[i], numbers[j]))
                raise InputError(f"the discs of lines {first} and {second} overlap by "
                                 f"{-gap * 1e3:.3g} mm", file=path, key="elements",
                                 allowed="discs that do not overlap")
