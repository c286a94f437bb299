"""The steady bioheat equation converges at the rates of quadratic elements.

Manufactured solution with perfusion and a conductivity jump-free in space; the L2 error falls
with h^3 and the H1 error with h^2 (P. G. Ciarlet, The Finite Element Method for Elliptic
Problems, theorem 3.2.2 and 3.2.5).
"""

import fem as stage  # isort: skip
import numpy as np
import scipy.sparse.linalg as spla
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh

from fem.pennes import assemble_matrices
from fem.properties import CellProperties

EDGE, K, W = 0.07, 0.5, 4000.0  # a breast's size and properties: m^2 W / k is about 40


def exact(x, module):
    """Temperature rise [K], written once for NumPy and UFL."""
    s = [x[i] / EDGE for i in range(3)]
    return 20 * module.sin(2 * s[0] + 0.3) * module.cos(3 * s[1]) * module.exp(s[2])


def errors(n: int) -> tuple[float, float]:
    """L2 and H1 seminorm errors relative to the solution's own, with n^3 cubes of 6 cells."""
    domain = dmesh.create_box(stage.MPI.COMM_SELF, [np.zeros(3), np.full(3, EDGE)], [n, n, n])
    space = fem.functionspace(domain, ("Lagrange", 2))
    n_cells = domain.topology.index_map(3).size_local
    properties = CellProperties(*(np.full(n_cells, value) for value in (1.0, K, W)))
    _, matrix = assemble_matrices(space, properties)

    x = ufl.SpatialCoordinate(domain)
    solution = exact(x, ufl)
    source = -ufl.div(K * ufl.grad(solution)) + W * solution
    load = fem.assemble_vector(fem.form(source * ufl.TestFunction(space)
                                        * ufl.dx(metadata={"quadrature_degree": 8}))).array
    coordinates = space.tabulate_dof_coordinates()
    on_boundary = np.any(np.isclose(coordinates, 0) | np.isclose(coordinates, EDGE), axis=1)
    free, fixed = np.flatnonzero(~on_boundary), np.flatnonzero(on_boundary)
    found = fem.Function(space)
    values = exact(coordinates.T, np)
    values[free] = spla.spsolve(matrix[free][:, free].tocsc(),
                                load[free] - matrix[free][:, fixed] @ values[fixed])
    found.x.array[:] = values

    def norm(field):
        return np.sqrt(fem.assemble_scalar(fem.form(
            ufl.inner(field, field) * ufl.dx(metadata={"quadrature_degree": 8}))))

    difference = found - solution
    return (norm(difference) / norm(solution),
            norm(ufl.grad(difference)) / norm(ufl.grad(solution)))


def test_quadratic_elements_converge_with_h3_in_l2_and_h2_in_h1():
    l2, h1 = np.array([errors(n) for n in (3, 6, 12)]).T
    np.testing.assert_allclose(np.log2(l2[:-1] / l2[1:]), 3, atol=0.15)
    np.testing.assert_allclose(np.log2(h1[:-1] / h1[1:]), 2, atol=0.1)
    assert l2[-1] < 2e-4
    assert h1[-1] < 5.5e-3
