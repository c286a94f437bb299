"""The bioheat model against closed forms, scikit-fem, a voxel solver and the balance of energy."""

from __future__ import annotations

import fem as stage  # isort: skip
import sys
import tempfile
from pathlib import Path

import gmsh
import numpy as np
import scipy.sparse as sp
import skfem
from dolfinx import fem as dolfinx_fem
from dolfinx import mesh as dmesh
from run import ROOT, Check, at_most, run_patient, within
from scipy.integrate import quad
from scipy.ndimage import distance_transform_edt
from skfem.helpers import dot, grad
from voxel_bioheat import VoxelBioheat

from controller.plant import Plant
from controller.responsive_plant import ResponsivePlant
from controller.tissue_response import TissueResponse
from fem.assembly import assemble_matrices
from fem.mesh_input import TissueMesh, read_mesh
from fem.pennes import assemble_bioheat
from fem.point_evaluation import PointEvaluator
from fem.properties import CellProperties, region_properties
from hifuflow.artifacts import Anatomy, BioheatModel, Heating, Trajectory
from hifuflow.cholesky import ShiftedSolver
from hifuflow.config import load_patient

sys.path.insert(0, str(ROOT / "tests" / "convergence"))
from test_fem_two_materials_convergence import rates

REFERENCE = ROOT / "config" / "patients" / "breast_reference.yaml"
RHO_C, K, W = 3.4e6, 0.5, 4000.0
SECONDS = 600.0  # of the reference patient's treatment that are compared
PROBES = (10, 60, 150, 300)  # samples after which temperatures are compared
INSULATED = {"file": "", "boundary": {"skin": "insulated", "cut": "insulated",
                                      "arterial_temperature_c": 37}}


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
    return [*found, *_matrices(folder), *_treatment(folder), *_pulse(folder)]


def _box(n: int, edge: float) -> TissueMesh:
    """Box of 6 n^3 tetrahedra; `skin` is z = 0."""
    domain = dmesh.create_box(stage.MPI.COMM_SELF, [np.zeros(3), np.full(3, edge)], [n, n, n])
    domain.topology.create_connectivity(2, 3)
    skin = dmesh.locate_entities_boundary(domain, 2, lambda x: np.isclose(x[2], 0))
    rest = np.setdiff1d(dmesh.exterior_facet_indices(domain.topology), skin)
    cells = np.arange(domain.topology.index_map(3).size_local, dtype=np.int32)
    return TissueMesh(domain, {"fat": cells}, {"skin": skin, "cut": rest}, Path("box"))


def _uniform(mesh: TissueMesh) -> CellProperties:
    return CellProperties(*(np.full(len(mesh.cell_vertices), value) for value in (RHO_C, K, W)))


def _gaussian() -> Check:
    """Q = q exp(-r^2 / 2 s^2) switched on in unbounded perfused tissue: at the centre
    int_0^t q / (rho c) exp(-w t' / (rho c)) (s^2 / (s^2 + 2 a t'))^(3/2) dt'."""
    edge, width, power, time = 0.05, 0.004, 1e7, 30.0
    mesh = _box(20, edge)
    bioheat = assemble_bioheat(mesh, _uniform(mesh), INSULATED)
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
    held = {"file": "", "boundary": {"skin": {"temperature_c": 37}, "cut": "insulated",
                                     "arterial_temperature_c": 37}}
    # The matrix of the "capacity" q gives the load of the heating: its rows add up to int q phi.
    bioheat = assemble_bioheat(mesh, CellProperties(np.full(n, 1.0), conductivity, np.zeros(n)),
                               held)
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
    bioheat = assemble_bioheat(mesh, _uniform(mesh), {
        "file": "", "boundary": {**INSULATED["boundary"],
                                 "skin": {"temperature_c": 15, "coefficient_w_m2_k": h}}})
    m = np.sqrt(W / K)
    exact = 22 * h / (h + K * m * np.tanh(m * edge))
    z = bioheat.space.tabulate_dof_coordinates()[:, 2]
    cooling = 37 - bioheat.baseline()[np.isclose(z, 0, atol=1e-9)].mean()
    return within("convective slab: cooling of the skin [K]", cooling, exact, 5e-3, "closed form")


def _matrices(folder: Path) -> list[Check]:
    """E and K of the reference patient's plant mesh, by scikit-fem as well."""
    mesh = read_mesh(folder / "mesh" / "plant.msh")
    config = load_patient(REFERENCE).section("assemble", "plant")
    properties = region_properties(mesh.cell_vertices, Anatomy.load(folder / "anatomy"),
                                   config["tissues"], config["blood"], config["deviations"]).cells
    bioheat = assemble_bioheat(mesh, properties, config)
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


def _treatment(folder: Path) -> list[Check]:
    """The powers of a treatment by `paper`, in the plant and in the voxel solver."""
    model = BioheatModel.load(folder / "fem" / "plant.h5")
    trajectory = Trajectory.load(folder / "control" / "paper" / "trajectory.h5")
    interval = float(trajectory.t[1] - trajectory.t[0])
    powers = trajectory.power[:round(SECONDS / interval)]
    plant = Plant(model, interval, 0.25, powers.sum(axis=1).max())
    capacity, loss = model.E.sum(axis=1), model.K.sum(axis=1)
    lost, rises = [0.0], []
    for sample, power in enumerate(powers):
        plant.advance(power)
        lost.append(loss @ plant.state)
        if sample + 1 in PROBES:
            rises.append(model.voxels.interpolation @ plant.state)
    lost = interval * (np.sum(lost) - 0.5 * lost[-1])
    deposited = interval * (powers @ model.B.sum(axis=0)).sum()
    balance = (capacity @ plant.state + lost) / deposited
    found = [within(f"{SECONDS:g} s of treatment: stored and lost over deposited energy", balance,
                    1, 1e-3, "energy is conserved")]
    voxel = _voxel_rises(folder, model, powers, interval)
    return found + _against_voxels(model, Anatomy.load(folder / "anatomy"), powers,
                                   np.array(rises), voxel)


def _voxel_rises(folder: Path, model: BioheatModel, powers, interval):
    """(n_probes, n_voxels) rises at the body's voxels by `VoxelBioheat` on the heating's grid."""
    anatomy, heating = (Anatomy.load(folder / "anatomy"),
                        Heating.load(folder / "acoustics" / "heating.h5"))
    config = load_patient(REFERENCE).section("assemble", "plant")
    # One voxel more on every side, as the skin may lie at the end of the heating's grid.
    shape, spacing = np.array(heating.q.shape[1:]) + 2, heating.affine[0, 0]
    origin = heating.affine[:3, 3] - spacing
    centre = np.indices(shape).reshape(3, -1).T * spacing + origin
    labels, water = (part.reshape(shape) for part in _labels_in_mesh(
        anatomy, folder / "mesh" / "plant.msh", centre))
    blood = config["blood"]["specific_heat_j_kg_k"]
    tables = [anatomy.table({name: value(tissue) for name, tissue in config["tissues"].items()},
                            0.0) for value in (
        lambda t: t["density_kg_m3"] * t["specific_heat_j_kg_k"],
        lambda t: t["conductivity_w_m_k"], lambda t: t["perfusion_kg_m3_s"] * blood)]
    solver = VoxelBioheat(*(table[labels] for table in tables), water, spacing)
    at, rises = (anatomy.position(model.voxels.index) - origin) / spacing, []
    for sample, power in enumerate(powers):
        q = np.zeros(shape, dtype=np.float32)
        for focus in np.flatnonzero(power):
            q[1:-1, 1:-1, 1:-1] += np.float32(power[focus]) * heating.q[focus]
        solver.advance(q, interval)
        if sample + 1 in PROBES:
            rises.append(solver.at(at))
    return np.array(rises)


def _labels_in_mesh(anatomy: Anatomy, mesh_path: Path, centre):
    """(n,) labels at points, and where there is water; the body is the mesh's, so that both models
    have the skin at the same place to half a voxel. Only points near the labelled surface are
    looked up in the mesh. What is behind the cut is no water."""
    mesh = read_mesh(mesh_path)
    evaluator = PointEvaluator(dolfinx_fem.functionspace(mesh.domain, ("Lagrange", 2)))
    index = tuple(np.clip(np.rint(anatomy.index(centre)).astype(int), 0,
                          np.array(anatomy.labels.shape) - 1).T)
    outside, nearest = distance_transform_edt(anatomy.labels == 0, return_indices=True)
    inside = distance_transform_edt(anatomy.labels > 0)[index]
    body = inside > 0
    close = np.flatnonzero((outside[index] < 2) & (inside < 2))
    body[close] = evaluator.locate(centre[close]).distance == 0
    behind = ~anatomy.coupling[index] & (anatomy.labels[index] == 0)
    return (np.where(body, anatomy.labels[tuple(nearest[(slice(None), *index)])], 0),
            ~body & ~behind)


def _against_voxels(model: BioheatModel, anatomy: Anatomy, powers, rises, voxel) -> list[Check]:
    """Outside the foci heated so far both must agree, but for 3 mm below the skin, where one has
    a smooth surface and the other stairs of voxels. In a focus, 2 mm wide, the plant's cells of 2
    to 3 mm keep the mean and flatten the peak; along the beam single voxels show the same."""
    position = anatomy.position(model.voxels.index)
    depth = distance_transform_edt(~anatomy.coupling, sampling=anatomy.spacing)[
        tuple(model.voxels.index.T)]
    found, origin = [], "finite volumes, 0.75 mm"
    for probe, ours, theirs in zip(PROBES, rises, voxel, strict=True):
        offset = position[:, None] - model.foci[powers[:probe].any(axis=0)]
        across, along = np.linalg.norm(offset[..., :2], axis=2), offset[..., 2]
        near, within_focus = (((across / width) ** 2 + (along / length) ** 2 < 1).any(axis=1)
                              for width, length in ((0.004, 0.010), (0.002, 0.007)))
        warm = np.isfinite(theirs) & (depth > 0.003) & ~near & (theirs > 0.1)
        off = np.abs(ours - theirs)[warm] / theirs[warm].max()
        name = f"sample {probe}, outside the foci, off over the largest rise:"
        found += [at_most(f"{name} rms", np.sqrt((off**2).mean()), 0.01, origin),
                  at_most(f"{name} 99 % of voxels", np.percentile(off, 99), 0.02, origin),
                  Check(f"{name} worst voxel", off.max(), 0, 0, np.inf, origin),
                  within(f"sample {probe}, mean rise in the foci [K]", ours[within_focus].mean(),
                         theirs[within_focus].mean(), 0.02, origin),
                  Check(f"sample {probe}, largest rise [K]", ours.max(), np.nanmax(theirs), 0,
                        np.inf, "the same; cells wider than the focus")]
    return found


def _pulse(folder: Path) -> list[Check]:
    """Full power into one focus for 6 s, then off: time steps of both kinds of plant."""
    model = BioheatModel.load(folder / "fem" / "plant.h5")
    section = load_patient(REFERENCE).section("control", "paper")
    power = section["prescription"]["max_power_w"]
    response = {**section["plant"], "response": _responses()}

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
    tissue = TissueResponse(response, model.cells.regions)
    responsive = [ResponsivePlant(model, 2.0, 0.25, tissue, tolerance)
                  for tolerance in (0.1, 0.1 / 4**3)]  # steps about four times finer
    return [at_most("pulse of 6 s: error of the linear plant [K]", off(*linear), 0.05,
                    "a thousand times smaller tolerance"),
            at_most("pulse of 6 s: error of the responsive plant [K]", off(*responsive), 0.05,
                    "steps four times finer")]


def _responses() -> dict:
    """What a patient file with `tissue: responsive` hands to the plant."""
    patient = load_patient(REFERENCE)
    patient.config["plant"]["tissue"] = "responsive"
    return patient.section("control", "paper")["plant"]["response"]
