"""Reading of a tetrahedral mesh with its named groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dolfinx import mesh as dmesh
from dolfinx.io import gmsh as gmsh_io

from hifuflow.errors import InputError
from hifuflow.records.mesh_groups import SURFACES, region_of

from . import MPI


@dataclass
class TissueMesh:
    """A straight-sided tetrahedral mesh in the patient frame [m].

    Attributes
    ----------
    domain : the DOLFINx mesh (one process).
    regions : region name -> cell indices.
    facets : "skin" and "cut" -> facet indices; empty where the mesh has no such surface.
    path : file it came from, for messages.
    """

    domain: dmesh.Mesh
    regions: dict[str, np.ndarray]
    facets: dict[str, np.ndarray]
    path: Path

    @property
    def cell_vertices(self) -> np.ndarray:
        """(n_cells, 4, 3) vertex positions [m]."""
        geometry = self.domain.geometry
        return geometry.x[geometry.dofmaps[0]]


def read_mesh(path) -> TissueMesh:
    """Read an MSH 4.1 file with physical groups: volumes by region name, surfaces `skin`, `cut`.

    The order of cells and nodes is a function of the file alone.

    Raises
    ------
    InputError : the file does not exist or is no mesh; it has no tetrahedra or no `skin`; or its
        surfaces do not cover the boundary (facets in neither would silently be insulated).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such file", file=path)
    try:
        data = gmsh_io.read_from_msh(path, MPI.COMM_SELF, gdim=3)
    except Exception as error:  # Gmsh and its reader raise bare Exception, TypeError, IndexError
        raise InputError(f"not a readable mesh: {error}", file=path) from error
    regions = {region_of(name): cells for name, cells in
               _groups(data.physical_groups, 3, data.cell_tags).items()}
    if data.mesh.topology.dim != 3 or not regions:
        raise InputError("no tetrahedra in named volume groups", file=path,
                         key="physical groups", value=sorted(data.physical_groups),
                         allowed="one volume group per region")
    surfaces = _groups(data.physical_groups, 2, data.facet_tags)
    if "skin" not in surfaces:
        raise InputError("surface group missing", file=path, key="physical groups",
                         value=sorted(surfaces), allowed="surface groups 'skin' and 'cut'")
    facets = {name: surfaces.get(name, np.empty(0, dtype=np.int32)) for name in SURFACES}
    _check_boundary(data.mesh, facets, path)
    return TissueMesh(data.mesh, regions, facets, path)


def _groups(physical_groups: dict, dimension: int, tags) -> dict[str, np.ndarray]:
    if tags is None:
        return {}
    return {name: tags.find(group.tag) for name, group in physical_groups.items()
            if group.dim == dimension}


def _check_boundary(domain, facets: dict, path: Path) -> None:
    domain.topology.create_connectivity(2, 3)
    boundary = dmesh.exterior_facet_indices(domain.topology)
    untagged = np.setdiff1d(boundary, np.concatenate(list(facets.values())))
    if len(untagged):
        raise InputError(f"{len(untagged)} of {len(boundary)} boundary facets are in no surface "
                         "group", file=path, key="physical groups",
                         allowed="'skin' and 'cut' together cover the boundary")
