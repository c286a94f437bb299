"""A small patient for the finite-element tests: a box of fat with a box of tumour inside."""

import copy

from hifuflow import fem  # isort: skip
import gmsh
import numpy as np
from dolfinx import mesh as dmesh

from hifuflow.fem.mesh_input import TissueMesh
from hifuflow.fem.settings import ModelSettings
from hifuflow.provenance import ROOT
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.heating import Heating
from hifuflow.study.patient import load_patient

REFERENCE = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")
# The reference patient in a water bath at 37 degC, but both tissues conduct heat differently.
CONFIG = copy.deepcopy(REFERENCE.section("assemble", "control"))
CONFIG["tissues"]["tumour"]["conductivity_w_m_k"] = 0.6
SETTINGS = ModelSettings.read(CONFIG)

BOX = 0.04  # edge of the body [m]
TUMOUR = (0.014, 0.026)  # the tumour's range along every axis [m]


def settings(**changes) -> ModelSettings:
    """Those of CONFIG; `changes` replace its sections, keys of `deviations` single factors."""
    changes["deviations"] = {**CONFIG["deviations"], **changes.get("deviations", {})}
    return ModelSettings.read({**CONFIG, **changes})


def box_mesh(n: int, lengths=(BOX, BOX, BOX)) -> TissueMesh:
    """Box of 6 n^3 tetrahedra; `skin` is z = 0, `cut` the rest of the boundary."""
    domain = dmesh.create_box(fem.MPI.COMM_SELF, [np.zeros(3), np.array(lengths)], [n, n, n])
    domain.topology.create_connectivity(2, 3)
    boundary = dmesh.exterior_facet_indices(domain.topology)
    skin = dmesh.locate_entities_boundary(domain, 2, lambda x: np.isclose(x[2], 0))
    cells = np.arange(domain.topology.index_map(3).size_local, dtype=np.int32)
    return TissueMesh(domain, {"fat": cells}, {"skin": skin, "cut": np.setdiff1d(boundary, skin)},
                      "box")


def write_gmsh(path, size: float, groups=("fat", "tumour", "skin", "cut")) -> None:
    """Write the box with the tumour inside as MSH 4.1 binary with the named groups."""
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        occ = gmsh.model.occ
        body = occ.addBox(0, 0, 0, BOX, BOX, BOX)
        tumour = occ.addBox(*[TUMOUR[0]] * 3, *[TUMOUR[1] - TUMOUR[0]] * 3)
        occ.fragment([(3, body)], [(3, tumour)])
        occ.synchronize()
        volumes = sorted((occ.getMass(3, tag), tag) for _, tag in gmsh.model.getEntities(3))
        outer = gmsh.model.getBoundary(gmsh.model.getEntities(3), oriented=False)
        skin = [tag for _, tag in outer if occ.getCenterOfMass(2, tag)[2] < 1e-9]
        cut = [tag for _, tag in outer if tag not in skin]
        members = {"fat": (3, [volumes[1][1]]), "tumour": (3, [volumes[0][1]]),
                   "skin": (2, skin), "cut": (2, cut)}
        for name in groups:
            gmsh.model.addPhysicalGroup(members[name][0], members[name][1], name=name)
        gmsh.option.setNumber("Mesh.MeshSizeMax", size)
        gmsh.option.setNumber("Mesh.Binary", 1)
        gmsh.option.setNumber("Mesh.MshFileVersion", 4.1)
        gmsh.model.mesh.generate(3)
        gmsh.write(str(path))
    finally:
        gmsh.finalize()


def box_anatomy() -> Anatomy:
    """Label map of the box at 2 mm, with a layer of water around it."""
    spacing, n = 0.002, 22
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = -0.5 * spacing
    centre = spacing * (np.arange(n) - 0.5)
    body = (centre > 0) & (centre < BOX)
    tumour = (centre > TUMOUR[0]) & (centre < TUMOUR[1])

    def box(inside):
        return inside[:, None, None] & inside[None, :, None] & inside[None, None, :]

    labels = (box(body).astype(np.int16) + box(tumour)).astype(np.int16)
    regions = {"fat": {"label": 1, "tissue": "fat", "volume_m3": 0.0},
               "tumour": {"label": 2, "tissue": "tumour", "volume_m3": 0.0}}
    return Anatomy(labels, affine, regions, ["tumour"], labels == 0, np.array([0.0, 0.0, 1.0]),
                   "0" * 64)


def gaussian_heating(spacing: float, width: float, rotation=None, n: int = 24) -> Heating:
    """Two Gaussian spots (standard deviation `width`) of 0.5 W in the middle of the box."""
    rotation = np.eye(3) if rotation is None else rotation
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = 0.5 * BOX - rotation @ np.full(3, spacing * (n - 1) / 2)
    foci = 0.5 * BOX + np.array([[0.0, 0.0, 0.0], [0.002, -0.001, 0.0015]])
    index = np.indices((n, n, n)).reshape(3, -1).T
    position = index @ affine[:3, :3].T + affine[:3, 3]
    distance = np.linalg.norm(position - foci[:, None], axis=2).reshape(2, n, n, n)
    q = np.exp(-0.5 * (distance / width) ** 2)
    q *= 0.5 / (q.sum(axis=(1, 2, 3), keepdims=True) * spacing**3)
    return Heating(q.astype(np.float32), affine, foci, np.ones(2), np.full(2, 0.5), 1e6, "test")
