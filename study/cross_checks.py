"""Faults of a patient file that only two of its keys together show."""

from __future__ import annotations

import math
from pathlib import Path

from hifuflow.errors import InputError
from hifuflow.records.mesh_groups import region_of

SHORTEST_AXIS = 1e-6  # a vector shorter than this has no usable direction
MOST_VOXELS = 50_000_000  # of the phantom: minutes of computing, and gigabytes


def cross_check(config: dict, tissues: dict, device: dict, file) -> list[InputError]:
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
    _check_heat_balance(config, tissues, fault)
    boundary = config["boundary"]
    warmest = max([boundary["arterial_temperature_c"]]
                  + [surface["temperature_c"] for surface in (boundary["skin"], boundary["cut"])
                     if surface != "insulated"])
    _check_constraints(constraint_list(config["constraints"]), config["regions"], warmest, fault)
    _check_monitoring(config, fault)
    _check_faults(config["faults"], device, fault)
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
    tolerance = config["reduction"]["tolerance_k"]
    if order != "auto" and tolerance is not None:
        fault("give one of order and tolerance_k", "reduction.tolerance_k", tolerance,
              f"none beside an order ({order})")
    if config["reduction"]["model"] is not None and (order != "auto" or tolerance is not None):
        fault("is used as it is, with its own order", "reduction.model",
              config["reduction"]["model"], "no order and no tolerance_k beside it")
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


def _check_heat_balance(config: dict, tissues: dict, fault) -> None:
    """Something must fix the temperature: a surface, or blood."""
    boundary, regions = config["boundary"], config["regions"]
    if boundary["skin"] != "insulated" or boundary["cut"] != "insulated":
        return
    for model, deviations in (("control", {}), ("plant", config["plant"])):
        flow = [tissues[region["tissue"]]["perfusion_kg_m3_s"]
                * deviations.get("perfusion_factor", 1)
                * deviations.get("regions", {}).get(name, {}).get("perfusion_factor", 1)
                for name, region in regions.items() if region["tissue"] in tissues]
        if flow and not any(flow):
            fault(f"nothing fixes the temperature of the {model} model: both surfaces are "
                  "insulated and no tissue is perfused", "boundary.skin", boundary["skin"],
                  "temperature_c on a surface, or perfusion in a tissue")
            return


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
    latency, longest = config["thermometry"]["latency_s"], config["safety"]["max_gap_s"]
    if latency > longest:
        fault("images are older than power may be given without one: there would be none",
              "thermometry.latency_s", latency, f"at most {longest:g} (safety.max_gap_s)")
    for name in ("gain_range", "heating_range", "absorption_range"):
        lowest, highest = config["estimator"][name]
        if not lowest < 1 < highest:
            fault("does not hold 1, what the model says", f"estimator.{name}", [lowest, highest],
                  "lowest < 1 < highest")
    for name in config["thermometry"]["no_signal_regions"]:
        if name not in config["regions"]:
            fault("no such region", "thermometry.no_signal_regions", name,
                  ", ".join(config["regions"]))


def _check_faults(faults: list, device: dict, fault) -> None:
    for number, one in enumerate(faults):
        if one["until_s"] is not None and one["until_s"] <= one["from_s"]:
            fault("ends before it begins", f"faults.{number}.until_s", one["until_s"],
                  f"above {one['from_s']} (from_s), or null")
    dead = [number for number, one in enumerate(faults) if one["kind"] == "dead_elements"]
    if len(dead) > 1:
        fault("is there already", f"faults.{dead[1]}.kind", "dead_elements",
              f"one entry of this kind: faults.{dead[0]}")
    working = sum(weight > 0 for weight in device["weights"])
    for number in dead:
        if faults[number]["count"] >= working:
            fault("leaves nothing of the array", f"faults.{number}.count",
                  faults[number]["count"], f"below {working}, the elements of {device['name']} "
                  "that work" if working > 1 else "another kind: the transducer has one element")


def _check_anatomy(anatomy: dict, fault) -> None:
    kinds = {"image" if key == "labels" else key  # an image may have labels over it
             for key in anatomy if key in ("labels", "image", "mesh", "surfaces", "phantom")}
    if len(kinds) != 1:
        fault("give one of labels, image, mesh, surfaces and phantom", "anatomy", sorted(anatomy),
              "exactly one of them, or labels and image together")
    if ("image" in anatomy) != ("thresholds" in anatomy):
        fault("needs both image and thresholds", "anatomy", sorted(anatomy),
              "both of them or none")
    images = [anatomy[key] for key in ("labels", "image") if key in anatomy]
    if anatomy["nifti_transform"] != "auto":
        from hifuflow.formats.image import NIFTI  # here only: most patient files need no NumPy

        labels = Path(anatomy.get("labels", "a file.nii"))  # a folder may hold NIfTI files
        if not any(name.lower().endswith(NIFTI) for name in images) and labels.suffix:
            fault("is set, but no NIfTI file is read", "anatomy.nifti_transform",
                  anatomy["nifti_transform"], "auto, or a file with the suffix " + ", ".join(NIFTI))
    extent = anatomy.get("body_extent_mm", [0, 1])
    if extent[0] >= extent[1]:
        fault("is not a range of lengths", "anatomy.body_extent_mm", extent, "smallest < largest")
    for name, options in anatomy.get("thresholds", {}).items():
        low, high = options.get("at_least"), options.get("below")
        if (low is None and high is None) or (None not in (low, high) and low >= high):
            fault("is not a range of intensities", f"anatomy.thresholds.{name}",
                  [low, high], "at_least, below, or both with at_least < below")
    phantom = anatomy.get("phantom")
    if phantom:
        side, deep = (2 * phantom["breast_radius_mm"], phantom["breast_radius_mm"])
        voxels = math.prod((length + 2 * phantom["water_margin_mm"]) / phantom["voxel_size_mm"]
                           for length in (side, side, deep))
        if voxels > MOST_VOXELS:
            fault(f"gives the phantom {voxels / 1e6:.0f} million voxels",
                  "anatomy.phantom.voxel_size_mm", phantom["voxel_size_mm"],
                  f"at most {MOST_VOXELS / 1e6:.0f} million: larger voxels or a smaller breast")
    if phantom and min(phantom["tumour_semi_axes_mm"]) < phantom["voxel_size_mm"]:
        fault("is smaller than a voxel", "anatomy.phantom.tumour_semi_axes_mm",
              phantom["tumour_semi_axes_mm"], f"each at least {phantom['voxel_size_mm']} "
              "(voxel_size_mm)")


def _check_regions(config: dict, tissues: dict, fault) -> None:
    regions = config["regions"]
    owner: dict = {}
    for name, region in regions.items():
        if region_of(name) != name:
            fault(f"is what the mesh calls the volume of a region '{region_of(name)}'",
                  f"regions.{name}", name, "another name")
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
            fault("do not define two directions", "target.ellipsoid", [first, second],
                  "two vectors that are not zero and not parallel")
