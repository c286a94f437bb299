"""Meshes as VTK, PyVista, Gmsh and DOLFINx write them are the mesh that was written."""

import gmsh
import meshio
import numpy as np
import pytest
import pyvista as pv
from patient_maps import anatomy_of, section
from test_mesh_as_input import body, config
from vtkmodules.vtkIOLegacy import vtkUnstructuredGridWriter
from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter

from hifuflow.errors import InputError
from hifuflow.formats.curved import divided, exact_volumes
from hifuflow.formats.mesh_file import read_mesh_file
from hifuflow.numerics.tetrahedra import signed_volumes


def grid():
    points, cells, tags = body()
    made = pv.UnstructuredGrid({pv.CellType.TETRA: cells}, points)
    made.cell_data["region"] = tags.astype(np.int32)
    return made


def assert_body(mesh):
    points, cells, tags = body()
    np.testing.assert_allclose(mesh.points, points, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(mesh.cells, cells)
    np.testing.assert_array_equal(mesh.tags, tags)


@pytest.mark.parametrize("version", [42, 51])
@pytest.mark.parametrize("binary", [False, True])
def test_legacy_vtk(tmp_path, version, binary):
    writer = vtkUnstructuredGridWriter()
    writer.SetFileName(str(tmp_path / "m.vtk"))
    writer.SetFileVersion(version)
    (writer.SetFileTypeToBinary if binary else writer.SetFileTypeToASCII)()
    writer.SetInputData(grid())
    writer.Write()
    assert_body(read_mesh_file(tmp_path / "m.vtk"))


@pytest.mark.parametrize("name", ["m.vtk", "m.vtu"])
@pytest.mark.parametrize("binary", [False, True])
def test_pyvista(tmp_path, name, binary):
    grid().save(tmp_path / name, binary=binary)
    assert_body(read_mesh_file(tmp_path / name))


@pytest.mark.parametrize("compressor", ["None", "ZLib", "LZ4", "LZMA"])
@pytest.mark.parametrize("mode", ["Ascii", "Binary", "Appended", "Appended without base64"])
def test_vtu(tmp_path, compressor, mode):
    writer = vtkXMLUnstructuredGridWriter()
    writer.SetFileName(str(tmp_path / "m.vtu"))
    getattr(writer, f"SetDataModeTo{mode.split()[0]}")()
    writer.SetEncodeAppendedData("without" not in mode)
    writer.SetCompressorType({"None": 0, "ZLib": 1, "LZ4": 2, "LZMA": 3}[compressor])
    writer.SetInputData(grid())
    writer.Write()
    assert_body(read_mesh_file(tmp_path / "m.vtu"))


@pytest.mark.parametrize("name", ["m.vtk", "m.vtu"])
def test_a_damaged_file_is_an_error_and_nothing_more(tmp_path, name, capfd):
    grid().save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for content in (whole[:len(whole) // 2], whole[:-200], b"", b"text", bytes(1000)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="not a readable mesh") as caught:
            read_mesh_file(tmp_path / name, key="anatomy.mesh")
        assert "\n" not in str(caught.value)
    said = capfd.readouterr()
    assert said.out == "" and said.err == ""


def test_cells_of_other_kinds_are_named(tmp_path):
    points = np.random.default_rng(0).normal(size=(20, 3))
    cells = {pv.CellType.HEXAHEDRON: np.arange(8)[None], pv.CellType.TETRA: np.arange(4)[None],
             pv.CellType.LINE: np.arange(2)[None]}
    pv.UnstructuredGrid(cells, points).save(tmp_path / "m.vtk")
    with pytest.raises(InputError, match="cells of kind hexahedron"):
        read_mesh_file(tmp_path / "m.vtk")


@pytest.fixture
def geometry():
    """Gmsh with a box and a ball in it, 60 x 50 x 40 mm; volumes 1 the ball, 2 the rest."""
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    box, ball = gmsh.model.occ.addBox(0, 0, 0, 60, 50, 40), gmsh.model.occ.addSphere(22, 20, 17, 8)
    _, parts = gmsh.model.occ.fragment([(3, box)], [(3, ball)])
    gmsh.model.occ.synchronize()
    gmsh.option.setNumber("Mesh.MeshSizeMax", 6)
    inside = parts[1][0][1]
    rest = next(tag for _, tag in gmsh.model.getEntities(3) if tag != inside)
    yield inside, rest
    gmsh.finalize()


def groups(*named):
    for number, (name, dimension, entities) in enumerate(named, 1):
        gmsh.model.addPhysicalGroup(dimension, entities, number)
        if name:
            gmsh.model.setPhysicalName(dimension, number, name)


def write(path, version=4.1, binary=True, order=1, save_all=False):
    gmsh.option.setNumber("Mesh.MshFileVersion", version)
    gmsh.option.setNumber("Mesh.Binary", binary)
    gmsh.option.setNumber("Mesh.SaveAll", save_all)
    gmsh.model.mesh.generate(3)
    gmsh.model.mesh.setOrder(order)
    gmsh.write(str(path))


def true_volumes(inside, rest):
    """Volumes by Gmsh's own quadrature of its cells, of any order."""
    result = {}
    for entity in (inside, rest):
        total = 0.0
        for kind in gmsh.model.mesh.getElementTypes(3, entity):
            points, weights = gmsh.model.mesh.getIntegrationPoints(kind, "Gauss6")
            _, determinants, _ = gmsh.model.mesh.getJacobians(kind, points, entity)
            total += float(np.sum(determinants.reshape(-1, len(weights)) @ weights))
        result[entity] = total
    return result


def volume_of(mesh, tag):
    inside = np.any([layer == tag for layer in mesh.layers], axis=0)
    return np.abs(signed_volumes(mesh.points[mesh.cells[inside]])).sum()


@pytest.mark.parametrize("version, binary", [(2.2, False), (2.2, True), (4.0, False),
                                             (4.1, False), (4.1, True)])
@pytest.mark.parametrize("named", [True, False])
def test_cells_in_two_physical_groups(tmp_path, geometry, version, binary, named):
    inside, rest = geometry
    groups(("body" * named, 3, [inside, rest]), ("tumour" * named, 3, [inside]))
    write(tmp_path / "m.msh", version, binary)
    true = true_volumes(inside, rest)
    mesh = read_mesh_file(tmp_path / "m.msh")
    assert mesh.names == ({1: "body", 2: "tumour"} if named else {})
    assert len(mesh.layers) == 2 and mesh.n_cells == len(mesh.cells)
    assert len(np.unique(np.sort(mesh.cells, axis=1), axis=0)) == len(mesh.cells)
    assert volume_of(mesh, 1) == pytest.approx(60 * 50 * 40, rel=1e-9)
    assert volume_of(mesh, 2) == pytest.approx(true[inside], rel=1e-6)


def two_groups(path, first):
    labels = {"lump": "tumour", "fat": "body"}
    made = config(path)
    made["regions"] = {name: {"labels": [labels[name]], "tissue": "fat"}
                       for name in (first, *({"lump", "fat"} - {first}))}
    return {**made, "cut_regions": []}


def test_the_region_written_first_holds_a_cell_of_two_groups(tmp_path, geometry, caplog):
    inside, rest = geometry
    groups(("body", 3, [inside, rest]), ("tumour", 3, [inside]))
    write(tmp_path / "m.msh")
    with caplog.at_level("INFO", logger="hifuflow"):
        anatomy = anatomy_of(two_groups(tmp_path / "m.msh", "lump"))
    assert "cells are in several of the physical groups body, tumour" in caplog.text
    assert anatomy.regions["lump"]["volume_m3"] == pytest.approx(
        true_volumes(inside, rest)[inside] * 1e-9, rel=0.02)
    with pytest.raises(InputError, match=r"regions\.lump: all of its \d+ voxels belong to regions"):
        anatomy_of(two_groups(tmp_path / "m.msh", "fat"))


@pytest.mark.parametrize("version", [2.2, 4.1])
def test_a_facet_in_two_groups_is_a_cut_if_one_of_them_is(tmp_path, geometry, version):
    inside, rest = geometry
    faces = {tuple(np.round(gmsh.model.occ.getCenterOfMass(2, tag)).astype(int)): tag
             for _, tag in gmsh.model.getEntities(2)}
    outside = [tag for place, tag in faces.items() if place != (22, 20, 17)]
    groups(("tumour", 3, [inside]), ("body", 3, [rest]), ("outside", 2, outside),
           ("cut", 2, [faces[30, 25, 40]]))
    write(tmp_path / "m.msh", version)
    anatomy = anatomy_of(two_groups(tmp_path / "m.msh", "lump"))
    x, y, z = anatomy.position(np.argwhere(anatomy.coupling | anatomy.air)).T * 1e3
    over = (x > 1) & (x < 59) & (y > 1) & (y < 49)
    assert (np.abs(z[over] + 0.5) < 0.1).any() and not (np.abs(z[over] - 40.5) < 0.1).any()


@pytest.mark.parametrize("version, words", [
    (2.2, "no region tags"), (4.1, "in no physical group, others are")])
def test_cells_outside_of_all_groups_are_refused(tmp_path, geometry, version, words):
    groups(("tumour", 3, [geometry[0]]))
    write(tmp_path / "m.msh", version, save_all=True)
    with pytest.raises(InputError, match=words):
        read_mesh_file(tmp_path / "m.msh")


def test_gmsh_as_vtk(tmp_path, geometry):
    inside, rest = geometry
    groups(("body", 3, [rest]), ("tumour", 3, [inside]))
    write(tmp_path / "m.vtk")
    mesh = read_mesh_file(tmp_path / "m.vtk")
    true = true_volumes(inside, rest)
    for tag, entity in ((1, rest), (2, inside)):
        assert volume_of(mesh, tag) == pytest.approx(true[entity], rel=1e-6)


@pytest.mark.parametrize("name", ["m.msh", "m.vtk", "m.vtu"])
def test_curved_cells_keep_their_volume(tmp_path, geometry, name, caplog):
    """A coarse ball of second order: straight cells would lose several percent of it."""
    inside, rest = geometry
    gmsh.option.setNumber("Mesh.MeshSizeMax", 8)
    groups(("tumour", 3, [inside]), ("body", 3, [rest]))
    if name == "m.vtk":
        write(tmp_path / name, order=2, binary=False)
    else:
        write(tmp_path / "m.msh", order=2)
        if name == "m.vtu":
            mesh = meshio.gmsh.read(str(tmp_path / "m.msh"))
            cells = [(b.type, b.data) for b in mesh.cells if b.type == "tetra10"]
            tags = [t for b, t in zip(mesh.cells, mesh.cell_data["gmsh:physical"], strict=True)
                    if b.type == "tetra10"]
            meshio.Mesh(mesh.points, cells, cell_data={"r": tags}).write(tmp_path / name)
    true = true_volumes(inside, rest)
    assert true[inside] == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.02)
    with caplog.at_level("INFO", logger="hifuflow"):
        mesh = read_mesh_file(tmp_path / name)
    for tag, entity in ((1, inside), (2, rest)):
        assert volume_of(mesh, tag) == pytest.approx(true[entity], rel=5e-3)
    assert mesh.record["curved_cells"] > 0 and mesh.n_cells < len(mesh.cells)
    assert "curved second-order cells are cut into straight ones" in caplog.text
    corners = volume_of(straight(tmp_path / name), 1)
    assert corners < 0.95 * true[inside]  # what the corners alone would give


def straight(path):
    """The same file without the middles of its edges."""
    from hifuflow.formats import mesh_file
    parts = mesh_file._read(path, {"file": path, "key": None})
    parts.middles[:] = -1
    layers, names = mesh_file._layers(parts, None, {"file": path, "key": None})
    return mesh_file.MeshFile(parts.points, parts.cells, tuple(layers), names, parts.facets,
                              parts.facet_names, len(parts.cells))


def test_quadratic_volumes_are_those_of_scikit_fem():
    import skfem

    rng = np.random.default_rng(0)
    mesh = skfem.MeshTet.init_tensor(*[np.linspace(0, 1, 3)] * 3)
    curved = skfem.MeshTet2.from_mesh(mesh)
    nodes = curved.doflocs + 0.02 * rng.normal(size=curved.doflocs.shape)
    curved = skfem.MeshTet2(nodes, curved.t)
    basis = skfem.CellBasis(curved, skfem.ElementTetP0(), intorder=4)
    expected = basis.dx.sum(axis=1)
    # skfem's nodes of a cell: corners, and middles of the edges 01 12 02 03 13 23
    cells = curved.dofs.element_dofs.T
    volume, least = exact_volumes(nodes.T, cells[:, :4], cells[:, 4:])
    np.testing.assert_allclose(np.abs(volume), expected, rtol=1e-12)
    assert (least > 0).all()
    points, small, parent, record = divided(nodes.T, cells[:, :4], cells[:, 4:])
    parts = np.bincount(parent, np.abs(signed_volumes(points[small])))
    error = np.abs(parts - expected).sum() / expected.sum()
    assert record["curved_volume_error"] == pytest.approx(error, rel=1e-6) and error <= 5e-3


def test_dolfinx_mesh_and_tags(tmp_path):
    from mpi4py import MPI  # noqa: I001  (before the libraries that are linked to it)
    from dolfinx.io import XDMFFile
    from dolfinx.mesh import CellType, create_box, meshtags

    mesh = create_box(MPI.COMM_SELF, [[0, 0, 0], [60, 50, 40]], [12, 10, 8], CellType.tetrahedron)
    cells = mesh.topology.index_map(3).size_local
    mesh.topology.create_connectivity(3, 3)
    middle = mesh.geometry.x[mesh.geometry.dofmaps[0]].mean(axis=1)
    lump = (np.abs(middle - [30, 25, 20]) < [10, 10, 10]).all(axis=1)
    tags = {"regions": np.where(lump, 3, 1), "other": np.full(cells, 5)}
    mesh.topology.create_connectivity(2, 3)
    facets = meshtags(mesh, 2, np.arange(10, dtype=np.int32), np.full(10, 7, np.int32))
    facets.name = "facets"

    def write_file(names, chosen=slice(None)):
        with XDMFFile(mesh.comm, tmp_path / "m.xdmf", "w") as file:
            file.write_mesh(mesh)
            file.write_meshtags(facets, mesh.geometry)
            for name in names:
                held = meshtags(mesh, 3, np.arange(cells, dtype=np.int32)[chosen],
                                tags[name].astype(np.int32)[chosen])
                held.name = name
                file.write_meshtags(held, mesh.geometry)

    write_file(["regions"])
    found = read_mesh_file(tmp_path / "m.xdmf")
    volume = np.abs(signed_volumes(found.points[found.cells]))
    assert len(found.cells) == cells and volume.sum() == pytest.approx(60 * 50 * 40)
    inside = found.points[found.cells].mean(axis=1)
    np.testing.assert_array_equal(
        found.tags == 3, (np.abs(inside - [30, 25, 20]) < [10, 10, 10]).all(axis=1))
    write_file(["regions", "other"])
    with pytest.raises(InputError, match="tags one of: regions, other"):
        read_mesh_file(tmp_path / "m.xdmf")
    np.testing.assert_array_equal(read_mesh_file(tmp_path / "m.xdmf", "regions").tags, found.tags)
    write_file(["regions"], lump)
    made = section("")
    made["anatomy"] = {"mesh": {"file": str(tmp_path / "m.xdmf"), "unit": "mm", "axes": "RAS",
                                "voxel_size_mm": 2}, "crop_margin_mm": 100, "outside": []}
    with pytest.raises(InputError, match="region tags from 0 to 3"):  # cells without a tag
        anatomy_of(made)
