"""The bioheat model against scikit-fem and NGSolve, and its cost up to a million unknowns.

`uv run --with ngsolve python benchmarks/bioheat.py` compares assembly, factorization and step on
one core (without NGSolve its row is left out). `python benchmarks/bioheat.py scale N...` adds
rows for boxes of about N unknowns to `bioheat.csv`, each in a process of its own, and draws
`bioheat.png`: a treatment of 600 s in samples of 2 s with 45 foci. Nothing is asserted.
"""

from __future__ import annotations

import csv
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hifuflow import fem as stage # isort: skip
import numpy as np
import skfem
from distributed_bioheat import DistributedBioheat
from dolfinx import fem
from dolfinx import mesh as dmesh
from scipy.sparse.linalg import splu
from skfem.helpers import dot, grad

from hifuflow.fem.pennes import assemble_matrices
from hifuflow.fem.properties import CellProperties
from hifuflow.numerics.cholesky import ShiftedSolver

EDGE, CAPACITY, CONDUCTIVITY, PERFUSION = 0.08, 3.4e6, 0.5, 2000.0
VARIATION = 0.3  # of the cells' coefficients around these, where libraries are compared
SHIFT, REPEATS, COMPARED = 0.3, 9, 12  # COMPARED: cubes along an edge, 15,625 nodes
SAMPLE, SAMPLES, WIDTH, POWER, DIRECT = 2.0, 300, 0.002, 1.5, 60_000
TABLE = ROOT / "benchmarks" / "bioheat.csv"
COLUMNS = ("unknowns", "ranks", "solver", "assembly_s", "setup_s", "treatment_s", "peak_gb",
           "highest_k")


def box(comm, cells: int, variation: float = 0.0):
    domain = dmesh.create_box(comm, [np.zeros(3), np.full(3, EDGE)], [cells] * 3)
    rng, n = np.random.default_rng(0), len(domain.geometry.dofmaps[0])
    return (fem.functionspace(domain, ("Lagrange", 2)), CellProperties(*(
        value * rng.uniform(1 - variation, 1 + variation, n)
        for value in (CAPACITY, CONDUCTIVITY, PERFUSION))))


def compare() -> None:
    """Seconds of each part, and over ours.

    All have the mesh, the space and the cells' coefficients; assembly is everything from there to
    E and K, patterns included. Factorization is that of E + `SHIFT` K, step a product with E and a
    solution.
    """
    space, properties = box(stage.MPI.COMM_SELF, COMPARED, VARIATION)
    points = space.mesh.geometry.x
    cells = space.mesh.geometry.dofmaps[0].astype(np.int64)
    rows = {"hifuflow": ours(space, properties),
            "scikit-fem": by_skfem(points, cells, properties)}
    try:
        rows["NGSolve"] = by_ngsolve(points, cells, properties)
    except ImportError as error:
        print(f"NGSolve left out: {error}")
    print(f"P2 on {len(cells)} tetrahedra, {space.dofmap.index_map.size_local} unknowns: seconds "
          "(over ours), and how far z E z and z K z differ, z the height of the nodes")
    print(f"  {'':12}{'assembly':>18}{'factorization':>18}{'step':>18}{'E, K':>18}")
    base, products = rows["hifuflow"]
    for name, (row, their) in rows.items():
        print(f"  {name:12}" + "".join(f"{one:10.4f} ({one / first:4.1f})" for one, first in zip(
            row, base, strict=True)) + f"{np.abs(their / products - 1).max():18.1g}", flush=True)


def ours(space, properties):
    E, K = assemble_matrices(space, properties)
    solver, x = ShiftedSolver(E, K).factor(SHIFT, 1.0), space.tabulate_dof_coordinates()[:, 2]
    return (seconds(lambda: assemble_matrices(space, properties)),
            seconds(lambda: ShiftedSolver(E, K).factor(SHIFT, 1.0)),
            seconds(lambda: solver.solve(E @ x), 15)), np.array([x @ E @ x, x @ K @ x])


def by_skfem(points, cells, properties):
    @skfem.BilinearForm
    def storage(u, v, w):
        return w.c * u * v

    @skfem.BilinearForm
    def loss(u, v, w):
        return w.k * dot(grad(u), grad(v)) + w.w * u * v

    mesh = skfem.MeshTet(points.T.copy(), cells.T.copy(), sort_t=False)
    capacity, conductivity, perfusion = (values[:, None] for values in (
        properties.heat_capacity, properties.conductivity, properties.perfusion))

    def assembled():  # a Basis evaluates the shape functions in all cells: part of assembly
        basis = skfem.Basis(mesh, skfem.ElementTetP2(), intorder=4)
        return (storage.assemble(basis, c=capacity),
                loss.assemble(basis, k=conductivity, w=perfusion)), basis.doflocs[2]

    (E, K), x = assembled()
    matrix = (E + SHIFT * K).tocsc()

    def factor():
        return splu(matrix, "MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
                    options={"SymmetricMode": True})

    solver = factor()
    return (seconds(assembled), seconds(factor, 1),
            seconds(lambda: solver.solve(E @ x), 15)), np.array([x @ E @ x, x @ K @ x])


def by_ngsolve(points, cells, properties):
    import ngsolve as ngs
    from netgen.meshing import Element3D, FaceDescriptor, MeshPoint, Pnt
    from netgen.meshing import Mesh as NetgenMesh

    ngs.SetNumThreads(1)
    mesh = NetgenMesh(dim=3)
    mesh.Add(FaceDescriptor(bc=1, domin=1, surfnr=1))
    numbers = [mesh.Add(MeshPoint(Pnt(*map(float, point)))) for point in points]
    edges = points[cells[:, 1:]] - points[cells[:, :1]]
    flipped = np.linalg.det(edges) > 0  # Netgen's tetrahedra are the other way round
    for cell, swap in zip(cells, flipped, strict=True):
        corners = cell[[1, 0, 2, 3]] if swap else cell
        mesh.Add(Element3D(1, [numbers[i] for i in corners]))
    mesh = ngs.Mesh(mesh)
    space, constants = ngs.H1(mesh, order=2), ngs.L2(mesh, order=0)
    u, v = space.TnT()

    def per_cell(values):
        function = ngs.GridFunction(constants)
        function.vec.FV().NumPy()[:] = values
        return function

    capacity, conductivity, perfusion = (per_cell(values) for values in (
        properties.heat_capacity, properties.conductivity, properties.perfusion))

    def assembled():
        E = ngs.BilinearForm(capacity * u * v * ngs.dx, symmetric=True)
        K = ngs.BilinearForm(conductivity * ngs.grad(u) * ngs.grad(v) * ngs.dx
                             + perfusion * u * v * ngs.dx, symmetric=True)
        return E.Assemble().mat, K.Assemble().mat

    E, K = assembled()
    total = ngs.BilinearForm((capacity + SHIFT * perfusion) * u * v * ngs.dx
                             + SHIFT * conductivity * ngs.grad(u) * ngs.grad(v) * ngs.dx,
                             symmetric=True).Assemble()

    def factor():
        return total.mat.Inverse(space.FreeDofs(), inverse="sparsecholesky")

    solver, y = factor(), E.CreateColVector()
    height = ngs.GridFunction(space)
    height.Set(ngs.z)
    x = height.vec

    def step():
        y.data = solver * (E * x).Evaluate()

    return (seconds(assembled), seconds(factor), seconds(step, 15)), np.array(
        [ngs.InnerProduct(x, (matrix * x).Evaluate()) for matrix in (E, K)])


def seconds(call, repeats: int = REPEATS) -> float:
    """Median CPU seconds: all are on one thread, and what else runs here does not count."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def scale(sizes: list[int]) -> None:
    for size in sizes:
        subprocess.run([sys.executable, __file__, "one", str(size)], check=True)
    draw()


def one(size: int) -> None:
    """A treatment of a box held all around, on all ranks; a row of the table, in CPU seconds."""
    comm, cells = stage.MPI.COMM_WORLD, round((size ** (1 / 3) - 1) / 2)
    start = time.process_time()
    space, properties = box(comm, cells)
    space.mesh.topology.create_connectivity(2, 3)
    held = fem.locate_dofs_topological(space, 2,
                                       dmesh.exterior_facet_indices(space.mesh.topology))
    n = space.dofmap.index_map.size_global
    direct = n <= DIRECT and comm.size == 1
    if direct:
        free = np.setdiff1d(np.arange(n), held)
        E, K = (matrix[free][:, free] for matrix in assemble_matrices(space, properties))
        storage, advance = (lambda values: E @ values), direct_step(E, K)
    else:
        model, free = DistributedBioheat(space, properties, held, 1e-6), slice(None)
        storage, advance = model.stored, lambda before, load: model.advance(before, load, SAMPLE)
    assembly, start = time.process_time() - start, time.process_time()
    own = space.tabulate_dof_coordinates()[:space.dofmap.index_map.size_local][free]
    loads = [focus(own, number, storage, comm) for number in range(45)]
    state = np.zeros(len(own))
    advance(state, loads[0])
    setup, start, highest = time.process_time() - start, time.process_time(), 0.0
    for sample in range(SAMPLES):  # each focus for two samples, as long off
        state = advance(state, (sample % 4 < 2) * loads[sample // 4 % 45])
        highest = max(highest, comm.allreduce(state.max(), op=stage.MPI.MAX))
        if sample % 30 == 29 and comm.rank == 0:
            print(f"{n} unknowns: {SAMPLE * (sample + 1):g} s treated in "
                  f"{time.process_time() - start:.0f} s", flush=True)
    peak = comm.allreduce(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
    if comm.rank == 0:
        row = (n, comm.size, "direct" if direct else "iterative",
               *(f"{value:.4g}" for value in (assembly, setup, time.process_time() - start, peak,
                                              highest)))
        fresh = not TABLE.exists()
        with TABLE.open("a", newline="") as file:
            csv.writer(file).writerows([COLUMNS, row] if fresh else [row])
        print(dict(zip(COLUMNS, row, strict=True)), flush=True)


def focus(own, number: int, storage, comm) -> np.ndarray:
    """Load of a Gaussian focus of a spiral around the middle, `POWER` in all [W]."""
    angle, radius = 2.4 * number, 0.0015 * np.sqrt(number)
    centre = EDGE / 2 + radius * np.array([np.cos(angle), np.sin(angle), 0.0])
    load = storage(np.exp(-((own - centre) ** 2).sum(axis=1) / (2 * WIDTH**2)))
    return POWER * load / comm.allreduce(load.sum())


def direct_step(E, K):
    """Alexander's time step with sparse Cholesky factors."""
    gamma = 1 - np.sqrt(0.5)
    solver = ShiftedSolver(E, K).factor(gamma * SAMPLE, 1.0)

    def advance(state, load):
        heat = gamma * SAMPLE * load
        first = solver.solve(E @ state + heat)
        return solver.solve(E @ (state + (1 - gamma) / gamma * (first - state)) + heat)
    return advance


def draw() -> None:
    import matplotlib.pyplot as plt

    rows = [row for row in csv.DictReader(TABLE.open()) if row["ranks"] == "1"]
    rows.sort(key=lambda row: int(row["unknowns"]))
    unknowns = [int(row["unknowns"]) for row in rows]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for column, label, marker in (("assembly_s", "mesh and assembly", "o"),
                                  ("setup_s", "loads and set-up", "s"),
                                  ("treatment_s", "600 s of treatment, 300 steps", "^")):
        axes[0].loglog(unknowns, [float(row[column]) for row in rows], marker=marker, label=label)
    axes[0].set(xlabel="unknowns", ylabel="CPU seconds")
    axes[0].set_ylim(top=3e4)
    axes[0].legend(frameon=False, loc="upper left")
    axes[1].loglog(unknowns, [float(row["peak_gb"]) for row in rows], marker="o", color="0.3")
    axes[1].set(xlabel="unknowns", ylabel="peak memory [GB]")
    for axis in axes:
        axis.axvline(DIRECT, color="0.7", linewidth=1)
        axis.text(DIRECT * 1.1, axis.get_ylim()[0] * 1.3, "iterative", color="0.4")
        axis.text(DIRECT / 1.1, axis.get_ylim()[0] * 1.3, "direct", color="0.4", ha="right")
        axis.grid(alpha=0.3)
    figure.savefig(TABLE.with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    if sys.argv[1:2] == ["scale"]:
        scale([int(size) for size in sys.argv[2:]])
    elif sys.argv[1:2] == ["one"]:
        one(int(sys.argv[2]))
    else:
        compare()
