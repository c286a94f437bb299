"""The bioheat model against closed forms, scikit-fem and the balance of energy."""

from __future__ import annotations

from hifuflow import fem as stage  # isort: skip
import sys
import tempfile
from pathlib import Path

import gmsh
import numpy as np
import scipy.sparse as sp
import skfem
from dolfinx import mesh as dmesh
from run import ROOT, Check, at_most, run_patient, within
from scipy.integrate import quad
from skfem.helpers import dot, grad

from hifuflow.controller.patient.plant import Plant
from hifuflow.controller.patient.responsive_plant import ResponsivePlant
from hifuflow.controller.patient.tissue_response import TissueResponse
from hifuflow.controller.treatment_settings import TreatmentSettings
from hifuflow.fem.mesh_input import TissueMesh, read_mesh
from hifuflow.fem.pennes import assemble_bioheat, assemble_matrices
from hifuflow.fem.point_evaluation import PointEvaluator
from hifuflow.fem.properties import CellProperties, region_properties
from hifuflow.fem.settings import BoundarySettings, ModelSettings, Surface
from hifuflow.numerics.cholesky import ShiftedSolver
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.trajectory import Trajectory
from hifuflow.settings import Written
from hifuflow.study.patient import load_patient

sys.path.insert(0, str(ROOT / "tests" / "convergence"))
from test_fem_two_materials_convergence import rates

REFERENCE = ROOT / "config" / "patients" / "breast_reference.yaml"
RHO_C, K, W = 3.4e6, 0.5, 4000.0


def checks() -> list[Check]:
    """Closed forms first, then the reference patient."""
    observed, last = rates((4, 8, 16))
    found = []
    for row, name in enumerate(("steady", "in time")):
        found += [Check(f"two materials, {name}: rate in {norm}", observed[row, column], rate,
                        rate - 0.1, rate + 0.25, "quadratic elements")
                  for column, (norm, rate) in enumerate((("L2", 3), ("H1", 2)))]
    found.append(at_most("two materials: largest L2 error over the solution's", last[:, 0].max(),
                         3e-4, "finest of the meshes"))
    found += [_gaussian(), *_sphere(), _slab()]
    folder = run_patient("breast_reference", "config/patients")
    return [*found, *_matrices(folder), _energy(folder), *_pulse(folder)]


def _box(n: int, edge: float) -> TissueMesh:
    """Box of 6 n^3 tetrahedra; `skin` is z = 0."""
    domain = dmesh.create_box(stage.MPI.COMM_SELF, [np.zeros(3), np.full(3, edge)], [n, n, n])
    domain.topology.create_connectivity(2, 3)
    skin = dmesh.locate_entities_boundary(domain, 2, lambda x: np.isclose(x[2], 0))
    rest = np.setdiff1d(dmesh.exterior_facet_indices(domain.topology), skin)
    cells = np.arange(domain.topology.index_map(3).size_local, dtype=np.int32)
    return TissueMesh(domain, {"fat": cells}, {"skin": skin, "cut": rest}, Path("box"))


def _boundary(**surfaces: Surface) -> BoundarySettings:
    """Insulated but for these surfaces; blood at 37 degC."""
    return BoundarySettings(surfaces, 37, Written("", "boundary", {}))


def _uniform(mesh: TissueMesh) -> CellProperties:
    return CellProperties(*(np.full(len(mesh.cell_vertices), value) for value in (RHO_C, K, W)))


def _gaussian() -> Check:
    """Q = q exp(-r^2 / 2 s^2) switched on in unbounded perfused tissue: at the centre
    int_0^t q / (rho c) exp(-w t' / (rho c)) (s^2 / (s^2 + 2 a t'))^(3/2) dt'."""
    edge, width, power, time = 0.05, 0.004, 1e7, 30.0
    mesh = _box(20, edge)
    bioheat = assemble_bioheat(mesh, _uniform(mesh), _boundary())
    r2 = ((bioheat.space.tabulate_dof_coordinates() - edge / 2) ** 2).sum(axis=1)
    load = bioheat.E @ (power * np.exp(-r2 / (2 * width**2))) / RHO_C
    state, steps, gamma = np.zeros(len(load)), 60, 1 - np.sqrt(0.5)
    step = time / steps
    solver = ShiftedSolver(bioheat.E, bioheat.K).factor(gamma * step, 1.0)
    for _ in range(steps):
        heat = gamma * step * load
        first = solver.solve(bioheat.E @ state + heat)
        state = solver.solve(bioheat.E @ (state + (1 - gamma) / gamma * (first - state)) + heat)
    evaluator = PointEvaluator(bioheat.space)
    centre = evaluator.interpolation(evaluator.locate(np.full((1, 3), edge / 2))) @ state
    exact, _ = quad(lambda t: power / RHO_C * np.exp(-W * t / RHO_C)
                    * (width**2 / (width**2 + 2 * K / RHO_C * t)) ** 1.5, 0, time)
    return within("Gaussian source in perfused tissue, 30 s: centre [K]", centre[0], exact, 5e-3,
                  "closed form")


def _sphere() -> list[Check]:
    """A ball of 1 cm heated alike, in a shell of another conductivity held at its outside, 3 cm:
    q R^2 / (6 k1) (1 - r^2 / R^2) + q R^3 / (3 k2) (1 / max(r, R) - 1 / R2)."""
    q, k, radius = 1e5, (0.6, 0.3), (0.01, 0.03)
    with tempfile.TemporaryDirectory() as folder:
        mesh = read_mesh(_ball_in_ball(Path(folder) / "ball.msh", *radius))
    n = len(mesh.cell_vertices)
    conductivity, heated = np.full(n, k[1]), np.zeros(n)
    conductivity[mesh.regions["ball"]] = k[0]
    heated[mesh.regions["ball"]] = q
    # The matrix of the "capacity" q gives the load of the heating: its rows add up to int q phi.
    bioheat = assemble_bioheat(mesh, CellProperties(np.full(n, 1.0), conductivity, np.zeros(n)),
                               _boundary(skin=Surface(37)))
    source, _ = assemble_matrices(bioheat.space, CellProperties(heated, conductivity,
                                                                np.zeros(n)))
    free, rise = bioheat.free, np.zeros(bioheat.E.shape[0])
    rise[free] = ShiftedSolver(bioheat.E[free][:, free], bioheat.K[free][:, free]).factor(
        1.0, 0.0).solve(source.sum(axis=1)[free])
    evaluator = PointEvaluator(bioheat.space)
    found = []
    for r in (0.0, 0.005, 0.015):
        value = (evaluator.interpolation(evaluator.locate([[r, 0, 0]])) @ rise)[0]
        exact = (q * radius[0] ** 2 / (6 * k[0]) * max(0.0, 1 - (r / radius[0]) ** 2)
                 + q * radius[0] ** 3 / (3 * k[1]) * (1 / max(r, radius[0]) - 1 / radius[1]))
        found.append(within(f"heated ball of two materials, r = {1e3 * r:g} mm [K]", value, exact,
                            5e-3, "closed form"))
    return found


def _ball_in_ball(path: Path, inner: float, outer: float) -> Path:
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        occ = gmsh.model.occ
        balls = [(3, occ.addSphere(0, 0, 0, radius)) for radius in (outer, inner)]
        occ.fragment(balls[:1], balls[1:])
        occ.synchronize()
        (_, ball), (_, shell) = sorted((occ.getMass(3, tag), tag)
                                       for _, tag in gmsh.model.getEntities(3))
        skin = [tag for _, tag in gmsh.model.getBoundary(gmsh.model.getEntities(3),
                                                         oriented=False)]
        for dimension, tags, name in ((3, [ball], "ball"), (3, [shell], "shell"),
                                      (2, skin, "skin")):
            gmsh.model.addPhysicalGroup(dimension, tags, name=name)
        gmsh.option.setNumber("Mesh.MeshSizeFromPoints", 0)
        gmsh.option.setNumber("Mesh.MeshSizeFromCurvature", 70)
        gmsh.option.setNumber("Mesh.Binary", 1)
        gmsh.option.setNumber("Mesh.MshFileVersion", 4.1)
        gmsh.model.mesh.generate(3)
        gmsh.write(str(path))
    finally:
        gmsh.finalize()
    return path


def _slab() -> Check:
    """Skin in water at 15 degC, -k T' = h (T - T_e): T = T_a - A cosh(m (L - z))."""
    edge, h = 0.04, 60.0
    mesh = _box(8, edge)
    bioheat = assemble_bioheat(mesh, _uniform(mesh), _boundary(skin=Surface(15, h)))
    m = np.sqrt(W / K)
    exact = 22 * h / (h + K * m * np.tanh(m * edge))
    z = bioheat.space.tabulate_dof_coordinates()[:, 2]
    cooling = 37 - bioheat.baseline()[np.isclose(z, 0, atol=1e-9)].mean()
    return within("convective slab: cooling of the skin [K]", cooling, exact, 5e-3, "closed form")


def _matrices(folder: Path) -> list[Check]:
    """E and K of the reference patient's plant mesh, by scikit-fem as well."""
    mesh = read_mesh(folder / "mesh" / "plant.msh")
    settings = ModelSettings.read(load_patient(REFERENCE).section("assemble", "plant"))
    properties = region_properties(mesh.cell_vertices, Anatomy.load(folder / "anatomy"),
                                   settings).cells
    bioheat = assemble_bioheat(mesh, properties, settings.boundary)
    points, cells = mesh.domain.geometry.x, mesh.domain.geometry.dofmaps[0]
    basis = skfem.Basis(skfem.MeshTet(points.T.copy(), cells.T.astype(np.int64), sort_t=False),
                        skfem.ElementTetP2(), intorder=4)

    @skfem.BilinearForm
    def storage(u, v, w):
        return w.c * u * v

    @skfem.BilinearForm
    def loss(u, v, w):
        return w.k * dot(grad(u), grad(v)) + w.w * u * v

    capacity, conductivity, perfusion = (
        np.tile(values[:, None], (1, basis.X.shape[1])) for values in (
            properties.heat_capacity, properties.conductivity, properties.perfusion))
    theirs = (storage.assemble(basis, c=capacity), loss.assemble(basis, k=conductivity,
                                                                 w=perfusion))
    mine, other = (np.lexsort(np.round(coordinates, 9).T) for coordinates in (
        bioheat.space.tabulate_dof_coordinates(), basis.doflocs.T))
    found = []
    for name, ours, their in zip("EK", (bioheat.E, bioheat.K), theirs, strict=True):
        difference = ours[mine][:, mine] - sp.csr_array(their)[other][:, other]
        found.append(at_most(f"{name} of the reference patient's plant, largest difference over "
                             "its largest entry", abs(difference).max() / abs(ours).max(), 1e-10,
                             "scikit-fem, same mesh"))
    return found


def _energy(folder: Path) -> Check:
    """The powers of a whole treatment by `paper`, in the plant."""
    model = BioheatModel.load(folder / "fem" / "plant.h5")
    trajectory = Trajectory.load(folder / "control" / "paper" / "trajectory.h5")
    interval, powers = float(trajectory.t[1] - trajectory.t[0]), trajectory.power[:-1]
    plant = Plant(model, interval, 0.25, powers.sum(axis=1).max())
    capacity, loss = model.E.sum(axis=1), model.K.sum(axis=1)
    lost = [0.0]
    for power in powers:
        plant.advance(power)
        lost.append(loss @ plant.state)
    lost = interval * (np.sum(lost) - 0.5 * lost[-1])
    deposited = interval * (powers @ model.B.sum(axis=0)).sum()
    return within(f"treatment of {trajectory.t[-1]:,.0f} s: stored and lost over deposited energy",
                  (capacity @ plant.state + lost) / deposited, 1, 1e-3, "energy is conserved")


def _pulse(folder: Path) -> list[Check]:
    """Full power into one focus for 6 s, then off: time steps of both kinds of plant."""
    model = BioheatModel.load(folder / "fem" / "plant.h5")
    settings = _responsive_settings()
    power = settings.prescription.max_power

    def run(plant):
        states = []
        for sample in range(6):
            one = np.zeros(len(model.foci))
            one[0] = power if sample < 3 else 0.0
            plant.advance(one)
            states.append(plant.state)
        return np.array(states)

    def off(coarse, fine):
        return np.abs(run(coarse) - run(fine)).max()

    linear = [Plant(model, 2.0, 0.25, power, tolerance) for tolerance in (1e-3, 1e-6)]
    tissue = TissueResponse(settings.patient, model.cells.regions)
    responsive = [ResponsivePlant(model, 2.0, 0.25, tissue, tolerance)
                  for tolerance in (0.1, 0.1 / 4**3)]  # steps about four times finer
    return [at_most("pulse of 6 s: error of the linear plant [K]", off(*linear), 0.05,
                    "a thousand times smaller tolerance"),
            at_most("pulse of 6 s: error of the responsive plant [K]", off(*responsive), 0.05,
                    "steps four times finer")]


def _responsive_settings() -> TreatmentSettings:
    """Of a patient file with `tissue: responsive`."""
    patient = load_patient(REFERENCE)
    patient.config["plant"]["tissue"] = "responsive"
    return TreatmentSettings.read(patient.section("control", "paper"))
