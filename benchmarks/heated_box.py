"""A box of tissue with 45 foci in any number of unknowns, to measure how the reduction scales."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import skfem
from skfem.models.poisson import laplace, mass

from hifuflow.records.bioheat_model import BioheatModel, Voxels
from hifuflow.records.outputs import Outputs

SIDE, SPACING, WIDTH = 0.08, 0.003, 0.003  # m; WIDTH: standard deviation of a focus's heating
CONDUCTIVITY, CAPACITY, PERFUSION = 0.5, 3.3e6, 2000.0  # W/m/K, J/m3/K, W/m3/K; assumed
FOCI, POINTS = 45, 209


def heated_box(cells: int) -> BioheatModel:
    """P2 tetrahedra on a box held at 37 degC all around: (2 cells - 1)^3 unknowns.

    45 Gaussian foci in a plane, 209 constraint points on a sphere, 729 target points between.
    """
    basis = skfem.Basis(skfem.MeshTet.init_tensor(*3 * [np.linspace(0, SIDE, cells + 1)]),
                        skfem.ElementTetP2(), intorder=4)
    rest = basis.complement_dofs(basis.get_dofs())
    unit = mass.assemble(basis)
    stiffness = CONDUCTIVITY * laplace.assemble(basis) + PERFUSION * unit
    lattice = np.stack(np.meshgrid(*2 * [np.arange(-3, 4) * SPACING]), axis=-1).reshape(-1, 2)
    nearest = np.argsort(np.linalg.norm(lattice, axis=1), kind="stable")[:FOCI]
    foci = SIDE / 2 + np.column_stack([lattice[nearest], np.zeros(FOCI)])
    heat = np.exp(-((basis.doflocs[:, :, None] - foci.T[:, None]) ** 2).sum(axis=0)
                  / (2 * WIDTH**2))
    heat = unit @ heat
    inside = np.stack(np.meshgrid(*3 * [np.linspace(-0.009, 0.009, 9)]), axis=-1).reshape(-1, 3)
    golden = np.arange(POINTS) * np.pi * (3 - np.sqrt(5))
    height = 1 - (2 * np.arange(POINTS) + 1) / POINTS
    ring = np.sqrt(1 - height**2)
    around = 0.02 * np.column_stack([ring * np.cos(golden), ring * np.sin(golden), height])
    position = SIDE / 2 + np.concatenate([around, inside])
    kind = np.array(["constraint"] * POINTS + ["target"] * len(inside))
    # A few points at a time: each is sought in all cells where it lies on the face of one.
    measured = sp.csr_array(sp.vstack([basis.probes(few.T) for few in
                                       np.array_split(position, len(position) // 16)])
                            .tocsr()[:, rest])
    p = len(kind)
    outputs = Outputs(kind, position, np.zeros(p), np.full(p, 37.0), np.full(p, np.nan))
    voxels = Voxels(measured[:0], np.zeros((0, 3), np.int32), np.zeros(0), np.zeros(0, bool), 0.0)
    return BioheatModel(
        sp.csr_array(CAPACITY * unit[rest][:, rest]), sp.csr_array(stiffness[rest][:, rest]),
        0.5 * (heat / heat.sum(axis=0))[rest], measured, basis.doflocs[:, rest].T.copy(),
        np.full(len(rest), 37.0), outputs, foci, voxels)
