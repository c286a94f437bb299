"""A small bioheat model by scikit-fem: a heated cube."""

import numpy as np
import scipy.sparse as sp
import skfem
from skfem.models.poisson import laplace, mass

from hifuflow.records.bioheat_model import BioheatModel, Voxels
from hifuflow.records.outputs import Outputs


def heated_cube(cells: int, n_foci: int = 5) -> BioheatModel:
    """P2 tetrahedra on a 6 cm cube held at 37 degC all around: (2 cells - 1)^3 unknowns."""
    mesh = skfem.MeshTet.init_tensor(*3 * [np.linspace(0, 0.06, cells + 1)])
    basis = skfem.Basis(mesh, skfem.ElementTetP2(), intorder=4)
    rest = basis.complement_dofs(basis.get_dofs())
    capacity = 937 * 3550 * mass.assemble(basis)
    stiffness = 0.5 * laplace.assemble(basis) + 2000 * mass.assemble(basis)
    foci = np.array([0.03, 0.03, 0.03]) + 0.006 * np.stack(
        [np.arange(n_foci) - n_foci // 2, np.arange(n_foci) % 2, np.zeros(n_foci)], axis=1)
    heating = []
    for focus in foci:
        source = skfem.LinearForm(lambda v, w, at=focus: v * np.exp(
            -((w.x - at[:, None, None]) ** 2).sum(axis=0) / (2 * 0.006**2))).assemble(basis)
        heating.append(0.5 * source / source.sum())
    around = 0.03 + 0.015 * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]])
    inside = 0.03 + 0.004 * np.stack(np.meshgrid(*3 * [[-1, 0, 1]]), axis=-1).reshape(-1, 3)
    position = np.concatenate([around, inside])
    kind = np.array(["constraint"] * len(around) + ["target"] * len(inside))
    volume = np.where(kind == "target", 0.004**3, 0.0)
    limit = np.where(kind == "target", np.nan, 43.0)
    outputs = Outputs(kind, position, volume, np.full(len(kind), 37.0), limit)
    measured = sp.csr_array(sp.csr_matrix(basis.probes(position.T))[:, rest])
    voxels = Voxels(measured, np.zeros((len(kind), 3), np.int32), np.full(len(kind), 37.0),
                    kind == "target", 0.004**3)
    return BioheatModel(
        sp.csr_array(capacity[rest][:, rest]), sp.csr_array(stiffness[rest][:, rest]),
        np.array(heating).T[rest], measured, basis.doflocs[:, rest].T.copy(),
        np.full(len(rest), 37.0), outputs, foci, voxels)
