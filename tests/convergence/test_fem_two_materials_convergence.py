"""Bioheat in two materials converges at the rates of quadratic elements, steady and in time.

On a cube of edge L with conductivity, capacity and perfusion that jump at x = L / 2,

    phi = X(x) sin(pi y / L) sin(pi z / L),   X = sin(a1 x) / sin(a1 L / 2) before the jump and
    sin(a2 (L - x)) / sin(a2 L / 2) behind it,   k (a^2 + 2 (pi / L)^2) + w = rho c lambda,

is an eigenmode when k1 a1 cot(a1 L / 2) = -k2 a2 cot(a2 L / 2). With the source rho c lambda phi
the steady state is phi, and a start from zero gives phi (1 - exp(-lambda t)).
The L2 error falls with h^3 and the H1 error with h^2 (P. G. Ciarlet, The Finite Element Method for
Elliptic Problems, theorem 3.2.2 and 3.2.5).
"""

from hifuflow import fem as stage  # isort: skip
import numpy as np
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh
from scipy.optimize import brentq

from hifuflow.controller.patient.reachable import reachable_space
from hifuflow.fem.pennes import assemble_matrices
from hifuflow.fem.properties import CellProperties
from hifuflow.numerics.cholesky import ShiftedSolver

EDGE = 0.04
CAPACITY, CONDUCTIVITY, PERFUSION = (3.3e6, 4.0e6), (0.25, 0.75), (8000.0, 2000.0)
ACROSS = 2 * (np.pi / EDGE) ** 2


def wave_number(rate: float, side: int) -> float:
    """a of one side for an eigenvalue lambda [1/m]."""
    squared = (CAPACITY[side] * rate - PERFUSION[side]) / CONDUCTIVITY[side] - ACROSS
    return np.sqrt(max(squared, 0.0))


def _flux_jump(rate: float) -> float:
    flux = [k * a / np.tan(a * EDGE / 2) for k, a in zip(
        CONDUCTIVITY, (wave_number(rate, 0), wave_number(rate, 1)), strict=True)]
    return flux[0] + flux[1]


LOWEST = max((PERFUSION[i] + CONDUCTIVITY[i] * ACROSS) / CAPACITY[i] for i in (0, 1))
RATES = np.linspace(1.0001 * LOWEST, 4 * LOWEST, 4000)
FIRST = next(i for i in range(len(RATES) - 1)
             if _flux_jump(RATES[i]) > 0 > _flux_jump(RATES[i + 1]))
RATE = brentq(_flux_jump, RATES[FIRST], RATES[FIRST + 1], xtol=1e-16)


def mode(x):
    """phi in UFL."""
    a = [wave_number(RATE, side) for side in (0, 1)]
    along = ufl.conditional(ufl.lt(x[0], EDGE / 2),
                            ufl.sin(a[0] * x[0]) / np.sin(a[0] * EDGE / 2),
                            ufl.sin(a[1] * (EDGE - x[0])) / np.sin(a[1] * EDGE / 2))
    return along * ufl.sin(np.pi * x[1] / EDGE) * ufl.sin(np.pi * x[2] / EDGE)


def errors(n: int) -> np.ndarray:
    """L2 and H1 errors over the solution's own, steady and at 1 / lambda, with n^3 cubes."""
    domain = dmesh.create_box(stage.MPI.COMM_SELF, [np.zeros(3), np.full(3, EDGE)], [n, n, n])
    space = fem.functionspace(domain, ("Lagrange", 2))
    side = (domain.geometry.x[domain.geometry.dofmaps[0]].mean(axis=1)[:, 0] > EDGE / 2) * 1
    properties = CellProperties(*(np.array(pair)[side] for pair in (
        CAPACITY, CONDUCTIVITY, PERFUSION)))
    E, K = assemble_matrices(space, properties)
    x = ufl.SpatialCoordinate(domain)
    capacity = ufl.conditional(ufl.lt(x[0], EDGE / 2), *CAPACITY)
    exact, dx = mode(x), ufl.dx(metadata={"quadrature_degree": 6})
    load = fem.assemble_vector(fem.form(
        capacity * RATE * exact * ufl.TestFunction(space) * dx)).array
    coordinates = space.tabulate_dof_coordinates()
    free = np.flatnonzero(~np.any(np.isclose(coordinates, 0) | np.isclose(coordinates, EDGE),
                                  axis=1))
    E, K = E[free][:, free], K[free][:, free]
    steady = ShiftedSolver(E, K).factor(1.0, 0.0).solve(load[free])
    reached = reachable_space(E, K, load[free][:, None], 1.0, (0.01 / RATE, 10 / RATE), 1e-6)
    warmed = reached.after(np.zeros(len(reached.rate)), np.ones(1), np.array([1 / RATE]))
    warming = reached.modes @ warmed[:, 0] / -np.expm1(-1)
    return np.array([_relative(space, free, values, exact, dx) for values in (steady, warming)])


def _relative(space, free, values, exact, dx) -> tuple[float, float]:
    found = fem.Function(space)
    found.x.array[free] = values

    def norm(field):
        return np.sqrt(fem.assemble_scalar(fem.form(ufl.inner(field, field) * dx)))

    return (norm(found - exact) / norm(exact),
            norm(ufl.grad(found) - ufl.grad(exact)) / norm(ufl.grad(exact)))


def rates(sizes) -> tuple[np.ndarray, np.ndarray]:
    """Observed rates (steady and in time, L2 and H1) between the two finest; errors of these."""
    found = [errors(n) for n in sizes]
    return np.log(found[-2] / found[-1]) / np.log(sizes[-1] / sizes[-2]), found[-1]


def test_two_materials_converge_with_h3_in_l2_and_h2_in_h1():
    observed, last = rates((4, 8))
    np.testing.assert_allclose(observed[:, 0], 3, atol=0.25)
    np.testing.assert_allclose(observed[:, 1], 2, atol=0.15)
    assert last[:, 0].max() < 2e-3
