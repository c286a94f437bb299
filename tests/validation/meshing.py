"""Meshes of five real maps and twelve torture maps against their voxels.

Alone: `python tests/validation/meshing.py`; names of real patients, or torture, choose parts.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from run import ROOT, Check, at_most, print_table
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.stats import qmc
from skimage.measure import marching_cubes

from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.settings import AnatomySettings
from hifuflow.fem.properties import region_properties
from hifuflow.fem.settings import ModelSettings
from hifuflow.formats.mesh_file import read_mesh_file
from hifuflow.meshes.build import mesh_anatomy
from hifuflow.meshes.facets import interface_facets
from hifuflow.meshes.settings import MeshSettings
from hifuflow.numerics.tetrahedra import signed_volumes, smallest_dihedral
from hifuflow.settings import Written
from hifuflow.study.patient import load_patient

DATA = ROOT.parent / "shared" / "data"
SIZES = {"breast_exam33": (16_500, 200_000), "breast_exam25": (16_500,),
         "liver_component": (16_500,), "abdomen_femur": (16_500, 200_000),
         "abdomen_gluteus": (16_500,)}
TORTURE_CELLS = 12_000
TARGET = {16_500: 0.02, 200_000: 0.007}
SAMPLES = 2**17  # positions on each surface
SMOOTHING = 0.7  # voxels, standard deviation
LEAST_REGION = 1e-3  # of the body: smaller ones are reported only


def checks(names=(*SIZES, "torture")) -> list[Check]:
    """All of them; those on real maps where these are present."""
    found = []
    if not DATA.is_dir():
        print(f"no {DATA}: the meshes of real maps are left out")
    for name in names:
        if name == "torture":
            found += _torture()
        elif DATA.is_dir():
            for cells in SIZES[name]:
                found += _real(name, cells)
    return found


def _real(name, wanted) -> list[Check]:
    """One real map."""
    patient = load_patient(ROOT / "tests" / "patients" / f"{name}.yaml")
    anatomy = build_anatomy(AnatomySettings.read(patient.section("anatomy")))
    settings = replace(MeshSettings.read(patient.section("mesh", "plant")), cells=wanted)
    record, points, cells, tags = _meshed(f"{name}, {wanted}", anatomy, settings)
    found = _rows(f"{name}, {wanted} cells", [record], TARGET[wanted])
    volume = signed_volumes(points[cells])
    thermal = ModelSettings.read(patient.section("assemble", "control"))
    held = region_properties(points[cells], anatomy, thermal).cells
    for what, mine, value in (
            ("rho c", held.heat_capacity, lambda t: t.density * t.specific_heat),
            ("perfusion", held.perfusion, lambda t: t.perfusion * thermal.blood_specific_heat)):
        table = anatomy.table({tissue: value(properties)
                               for tissue, properties in thermal.tissues.items()}, 0.0)
        voxels = table[anatomy.labels].sum() * anatomy.voxel_volume
        found.append(at_most(f"{name}, {wanted} cells: integral of {what}, body",
                             abs(mine @ volume / voxels - 1), 0.005, "voxels"))
    body = sum(entry["label_volume_m3"] for entry in record["regions"].values())
    errors = {region: entry["averaged_volume_m3"] / entry["label_volume_m3"] - 1
              for region, entry in record["regions"].items()}
    print("  regions: " + ", ".join(f"{region} {100 * error:+.2f} %"
                                    for region, error in errors.items()))
    large = [region for region, entry in record["regions"].items()
             if entry["label_volume_m3"] >= LEAST_REGION * body]
    worst = max(large, key=lambda region: abs(errors[region]))
    found.append(at_most(f"{name}, {wanted} cells: integrals of any region, worst ({worst})",
                         abs(errors[worst]), 0.005, "voxels"))
    if wanted >= 100_000:
        inside = np.isin(tags, anatomy.target)
        found.append(at_most(f"{name}, {wanted} cells: 95 % Hausdorff distance [voxels]",
                             hausdorff(points, cells, inside, anatomy) / anatomy.spacing.min(),
                             0.5, "smoothed voxel surface"))
    return found


def _torture() -> list[Check]:
    """The twelve small maps; each row shows the worst of them."""
    sys.path.insert(0, str(ROOT / "tests" / "unit" / "meshes"))
    from torture import torture_maps

    records, names = [], []
    for name, (anatomy, organs) in torture_maps().items():
        settings = MeshSettings(TORTURE_CELLS, tuple(organs), Written("torture.yaml", "mesh.plant",
                                                                      {"cells": TORTURE_CELLS}))
        records.append(_meshed(f"{name}, {TORTURE_CELLS}", anatomy, settings)[0])
        names.append(name)
    return _rows(f"12 torture maps, {TORTURE_CELLS} cells", records, 0.02, names)


def _meshed(name, anatomy, settings: MeshSettings):
    """Record, points, cells and their regions of the mesh; prints what was reached."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mesh.msh"
        record = mesh_anatomy(anatomy, None, settings, file)
        mesh = read_mesh_file(file, None, "")
    record["wanted"] = settings.cells
    record["inverted"] = int((smallest_dihedral(mesh.points, mesh.cells) <= 0).sum())
    surfaces = ", ".join(f"{surface} {100 * entry['volume_error']:+.2f} %"
                         for surface, entry in record["surfaces"].items())
    print(f"{name}: {record['n_cells']} cells by {record['method']['route']}, angles "
          f"{record['min_dihedral_deg']:.1f}, first percentile {record['dihedral_p01_deg']:.1f} "
          f"degrees; {surfaces}; {len(record['method']['attempts'])} attempts, "
          f"{time.monotonic() - start:.0f} s; {record['method']['fallback_reason'] or ''}",
          flush=True)
    return record, mesh.points, mesh.cells, np.array([mesh.names[tag] for tag in mesh.tags])


def _rows(title, records, target, names=("",)) -> list[Check]:
    """Checks of the worst of some meshes."""
    rows = []
    for what, value, low, high in (
            ("count over the wanted", lambda r: r["n_cells"] / r["wanted"] - 1, -0.1, 0.1),
            ("target volume", lambda r: r["surfaces"]["target"]["volume_error"], -target, target),
            ("body volume", lambda r: r["surfaces"]["body"]["volume_error"], -0.01, 0.01),
            ("volume of organs with a boundary, worst", _worst_organ, -0.05, 0.05),
            ("organs too thin for the cells", lambda r: len(r["averaged"]), 0, 0),
            ("inverted cells", lambda r: r["inverted"], 0, 0),
            ("smallest dihedral angle [degrees]", lambda r: r["min_dihedral_deg"], 8, 70.6),
            ("its first percentile [degrees]", lambda r: r["dihedral_p01_deg"], 15, 70.6)):
        values = [value(record) for record in records]
        worst = int(np.argmin(values) if high == 70.6 else np.argmax(np.abs(values)))
        name = f" ({names[worst]})" if names[worst] else ""
        rows.append(Check(f"{title}: {what}{name}", values[worst], None, low, high, "goal"))
    return rows


def _worst_organ(record) -> float:
    """Largest error of a volume but the target's and the body's; 0 where there is no organ."""
    return max((entry["volume_error"] for surface, entry in record["surfaces"].items()
                if surface not in ("body", "target")), key=abs, default=0.0)


def hausdorff(points, cells, inside, anatomy) -> float:
    """95 % Hausdorff distance of the surface of cells to that of the smoothed target [m].

    The larger of the two 95th percentiles of the distances from one surface to the other, both
    sampled evenly; that of the voxels is where their mask, smoothed by a Gaussian, is 1/2.
    """
    facets, _ = interface_facets(cells[inside], np.ones(inside.sum(), np.int64))
    smooth = ndimage.gaussian_filter(anatomy.target_mask.astype(np.float32), SMOOTHING)
    vertices, triangles, *_ = marching_cubes(smooth, 0.5)
    mesh, voxels = _sampled(points[facets]), _sampled(anatomy.position(vertices)[triangles])
    return max(np.percentile(cKDTree(b).query(a)[0], 95)
               for a, b in ((mesh, voxels), (voxels, mesh)))


def _sampled(triangles):
    """(SAMPLES, 3) positions, evenly over triangles (n, 3, 3)."""
    a, b, c = np.moveaxis(triangles, 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).cumsum()
    u, v, w = qmc.Sobol(3, rng=0).random(SAMPLES).T
    k = np.searchsorted(area, u * area[-1], side="right").clip(max=len(area) - 1)
    v, w = np.where(v + w > 1, [1 - v, 1 - w], [v, w])
    return a[k] + v[:, None] * (b - a)[k] + w[:, None] * (c - a)[k]


if __name__ == "__main__":
    table = checks(*([sys.argv[1:]] if len(sys.argv) > 1 else []))
    print_table(table)
    sys.exit(any(not check.passed for check in table))
