"""Two MPI ranks against one, and both against the direct solver."""

import os
import subprocess
import sys
from pathlib import Path

from hifuflow import fem as stage  # isort: skip
import numpy as np
import pytest
from distributed_bioheat import DistributedBioheat, gathered_matrix, gathered_values
from dolfinx import fem
from dolfinx import mesh as dmesh

from hifuflow.fem.properties import CellProperties
from hifuflow.numerics.cholesky import ShiftedSolver
from hifuflow.provenance import ROOT

EDGE, CELLS, STEP, STEPS = 0.04, 5, 0.5, 6


def model(comm) -> tuple[DistributedBioheat, np.ndarray]:
    """A box held at its bottom with properties that change in space, and a load."""
    domain = dmesh.create_box(comm, [np.zeros(3), np.full(3, EDGE)], [CELLS] * 3)
    space = fem.functionspace(domain, ("Lagrange", 2))
    centre = domain.geometry.x[domain.geometry.dofmaps[0]].mean(axis=1) / EDGE
    properties = CellProperties(3e6 + 1e6 * centre[:, 0], 0.4 + 0.3 * centre[:, 1],
                                3000 * centre[:, 2])
    held = fem.locate_dofs_geometrical(space, lambda x: np.isclose(x[2], 0))
    bioheat = DistributedBioheat(space, properties, held, tolerance=1e-11)
    own = space.tabulate_dof_coordinates()[:space.dofmap.index_map.size_local]
    return bioheat, 1e-3 * np.exp(-((own - 0.5 * EDGE) ** 2).sum(axis=1) / 0.005**2)


def solved(comm):
    """Everything in the order of the nodes' coordinates, on rank 0."""
    bioheat, load = model(comm)
    state = np.zeros(len(load))
    for _ in range(STEPS):
        state = bioheat.advance(state, load, STEP)
    matrices = [gathered_matrix(bioheat.space, matrix) for matrix in (bioheat.E, bioheat.K)]
    values = [gathered_values(bioheat.space, part)
              for part in (load, state, bioheat.steady(load))]
    return None if comm.rank else (*(matrix for _, matrix in matrices), *values)


@pytest.fixture(scope="module")
def alone():
    return solved(stage.MPI.COMM_SELF)


def test_two_ranks_agree_with_one(alone, tmp_path):
    mpirun = Path(sys.executable).with_name("mpirun")
    code = ("import sys, numpy as np, test_distributed_bioheat as t\n"
            "comm = t.stage.MPI.COMM_WORLD\n"
            "assert comm.size == 2\nfound = t.solved(comm)\n"
            "if found: np.savez(sys.argv[1], E=found[0].toarray(), K=found[1].toarray(), "
            "x=np.array(found[2:]))")
    subprocess.run([mpirun, "-n", "2", sys.executable, "-c", code, tmp_path / "two.npz"],
                   check=True, cwd=Path(__file__).parent, timeout=300,
                   env={**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")})
    with np.load(tmp_path / "two.npz") as two:
        for name, matrix in (("E", alone[0]), ("K", alone[1])):
            assert abs(two[name] - matrix).max() < 1e-12 * abs(matrix).max()
        for found, expected in zip(two["x"], alone[2:], strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-8 * expected.max())


def test_iterative_solutions_are_those_of_direct_solvers(alone):
    E, K, load, state, steady = alone
    free = E.diagonal() > 0
    E, K, gamma = E[free][:, free], K[free][:, free], 1 - np.sqrt(0.5)
    direct = ShiftedSolver(E, K)
    np.testing.assert_allclose(steady[free], direct.factor(1.0, 0.0).solve(load[free]),
                               atol=1e-8 * steady.max())
    solver, x, heat = direct.factor(gamma * STEP, 1.0), 0 * load[free], gamma * STEP * load[free]
    for _ in range(STEPS):
        first = solver.solve(E @ x + heat)
        x = solver.solve(E @ (x + (1 - gamma) / gamma * (first - x)) + heat)
    np.testing.assert_allclose(state[free], x, atol=1e-8 * x.max())
    assert np.abs(state[~free]).max() == 0 and np.abs(steady[~free]).max() < 1e-10
