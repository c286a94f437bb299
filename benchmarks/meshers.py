"""Quality, volume error, time of the mesher against fTetWild on the same surfaces.

`uv run --with pytetwild --with pyvista python benchmarks/meshers.py`, part of `make bench`, where
it is left out without these packages. CPU seconds. Nothing is asserted.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.settings import AnatomySettings
from hifuflow.formats.mesh_file import read_mesh_file
from hifuflow.meshes.build import mesh_anatomy
from hifuflow.meshes.compartments import Compartments
from hifuflow.meshes.routes import SurfaceRoute
from hifuflow.meshes.settings import MeshSettings
from hifuflow.numerics.tetrahedra import (
    signed_volumes,
    smallest_dihedral,
)
from hifuflow.study.patient import load_patient

CELLS = 16_500
EDGE = 0.05  # fTetWild's edge length over the diagonal of the box: gives about as many cells


def main() -> None:
    try:
        import pytetwild
    except ImportError as error:
        print(f"fTetWild left out: {error}")
        return
    patient = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")
    anatomy = build_anatomy(AnatomySettings.read(patient.section("anatomy")))
    settings = replace(MeshSettings.read(patient.section("mesh", "plant")), cells=CELLS)
    print(f"{'mesher':10} {'cells':>8} {'target':>8} {'body':>8} {'angle':>6} {'1 %':>6} "
          f"{'CPU s':>7} {'GB':>5}")
    with tempfile.TemporaryDirectory() as folder:
        start = cpu_seconds()
        mesh_anatomy(anatomy, None, settings, Path(folder) / "mesh.msh")
        seconds = cpu_seconds() - start
        mesh = read_mesh_file(Path(folder) / "mesh.msh", None, "")
    inside = np.isin([mesh.names[tag] for tag in mesh.tags], anatomy.target)
    row("hifuflow", mesh.points, mesh.cells, inside, anatomy, seconds)
    compartments = Compartments.of(anatomy, settings)
    route = SurfaceRoute(compartments)
    surfaces = [mask.surface(volume) for mask, volume in zip(route.masks, route.volumes,
                                                             strict=True)]
    offsets = np.cumsum([0, *(len(points) for points, _ in surfaces)])
    points = np.concatenate([points for points, _ in surfaces])
    faces = np.concatenate([triangles + offset for (_, triangles), offset
                            in zip(surfaces, offsets, strict=False)])
    start = cpu_seconds()
    points, cells = pytetwild.tetrahedralize(points, faces.astype(np.int32), edge_length_fac=EDGE)
    seconds = cpu_seconds() - start
    cells = np.asarray(cells)[:, :4]
    if np.median(signed_volumes(points[cells])) < 0:
        cells = cells[:, [0, 2, 1, 3]]
    target = route.masks[1]
    level = target.level(route.volumes[1])
    row("fTetWild", points, cells, target(points[cells].mean(axis=1)) > level, anatomy, seconds)


def row(name, points, cells, inside, anatomy, seconds) -> None:
    """One line: count, volume errors, angles, cost."""
    volume, angle = signed_volumes(points[cells]), smallest_dihedral(points, cells)
    voxels = np.array([anatomy.target_mask.sum(), anatomy.body_mask.sum()]) * anatomy.voxel_volume
    target, body = 100 * (np.array([volume[inside].sum(), volume.sum()]) / voxels - 1)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF,
                                                             resource.RUSAGE_CHILDREN))
    print(f"{name:10} {len(cells):8d} {target:+7.2f}% {body:+7.2f}% {angle.min():6.1f} "
          f"{np.percentile(angle, 1):6.1f} {seconds:7.1f} {peak / 1e6:5.2f}", flush=True)


def cpu_seconds() -> float:
    """User time of this process and of those it has waited for."""
    return sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF,
                                                            resource.RUSAGE_CHILDREN))


if __name__ == "__main__":
    main()
