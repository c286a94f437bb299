"""A ready mesh becomes the label map that its cells describe."""

import meshio
import numpy as np
import pytest
from patient_maps import anatomy_of, section
from scipy.spatial import Delaunay

from hifuflow.anatomy.mesh_map import PAD, voxel_cells
from hifuflow.errors import InputError
from hifuflow.meshes.facets import boundary_facets
from hifuflow.meshes.msh import write_msh

KUHN = [[0, 1, 3, 7], [0, 1, 5, 7], [0, 2, 3, 7], [0, 2, 6, 7], [0, 4, 5, 7], [0, 4, 6, 7]]


def bricks(nodes):
    """Six tetrahedra in each brick of a grid of nodes (n, n, n) at `nodes` along each axis."""
    n = [len(a) for a in nodes]
    points = np.stack(np.meshgrid(*nodes, indexing="ij"), -1).reshape(-1, 3)
    number = np.arange(np.prod(n)).reshape(n)
    corner = np.stack([number[i:n[0] - 1 + i, j:n[1] - 1 + j, k:n[2] - 1 + k].ravel()
                       for i in (0, 1) for j in (0, 1) for k in (0, 1)], -1)
    return points, corner[:, KUHN].reshape(-1, 4)


def body():
    """A box of 60 x 50 x 40 mm with a lump of 12 x 10 x 8 mm, wall behind 30 mm; in mm."""
    x, y, z = (np.unique([*np.linspace(0, n, 6), a, b])
               for n, a, b in ((60, 24, 36), (50, 20, 30), (40, 12, 20)))
    z = np.unique([*z, 30, 32])
    points, cells = bricks((x, y, z))
    centre = points[cells].mean(axis=1)
    lump = (np.abs(centre - [30, 25, 16]) < [6, 5, 4]).all(axis=1)
    wall = (centre[:, 2] > 30) & (centre[:, 2] < 32)
    return points, cells, np.select([lump, wall], [3, 7], 1)


NAMES = {1: "fat tissue", 3: "lump", 7: "wall"}


def config(path, names=False, unit="mm", axes="RAS", voxel_size_mm=1.0, **options):
    base = section(path)
    for entry in base["regions"].values():
        entry["labels"] = [NAMES[label] if names else label for label in entry["labels"]]
    base["anatomy"] = {"mesh": {"file": str(path), "unit": unit, "axes": axes,
                                "voxel_size_mm": voxel_size_mm, **options},
                       "crop_margin_mm": 100, "outside": []}
    return base


def write(path, points, cells, tags, name="gmsh:physical", **options):
    names = {text: np.array([tag, 3]) for tag, text in NAMES.items()}
    extra = {"gmsh:geometrical": [tags.astype(np.int32)]} if name == "gmsh:physical" else {}
    mesh = meshio.Mesh(points, [("tetra", cells)], cell_data={name: [tags.astype(np.int32)],
                                                              **extra}, field_data=names)
    meshio.write(path, mesh, **options)


def check(anatomy):
    lump = anatomy.position(np.argwhere(anatomy.target_mask)) * 1e3
    np.testing.assert_allclose([lump.min(axis=0), lump.max(axis=0)],
                               [[24.5, 20.5, 12.5], [35.5, 29.5, 19.5]], atol=1e-6)
    assert anatomy.regions["lump"]["volume_m3"] == pytest.approx(12 * 10 * 8 * 1e-9)
    assert anatomy.regions["fat"]["volume_m3"] == pytest.approx((60 * 50 * 30 - 960) * 1e-9)
    assert anatomy.record["source"]["n_cells"] > 0
    assert anatomy.record["source"]["format"] == "mesh"


@pytest.mark.parametrize("name, options", [
    ("m.msh", {"file_format": "gmsh22", "binary": False}), ("m.msh", {"file_format": "gmsh22"}),
    ("m.vtu", {}), ("m.vtk", {}), ("m.xdmf", {}),
])
def test_formats(tmp_path, name, options):
    tags = "gmsh:physical" if name.endswith("msh") else "regions"
    write(tmp_path / name, *body(), tags, **options)
    check(anatomy_of(config(tmp_path / name)))
    if name.endswith("msh"):
        check(anatomy_of(config(tmp_path / name, names=True)))


def test_the_meshers_own_format_in_metres(tmp_path):
    points, cells, tags = body()
    facets = boundary_facets(cells)
    middle = points[facets].mean(axis=1)
    side = np.abs(middle[:, 0] - 30) > 29.9
    group = np.where(side, "cut", "skin")
    groups = np.array([NAMES[tag] for tag in tags])
    write_msh(tmp_path / "m.msh", points * 1e-3, cells, groups, facets, group)
    anatomy = anatomy_of(config(tmp_path / "m.msh", names=True, unit="m"))
    check(anatomy)
    # no water where the mesh is cut off, water beside all other faces
    x, y, z = (anatomy.position(np.argwhere(anatomy.coupling)) * 1e3).T
    beside = (z > 1) & (y > 1) & (y < 49)
    assert not (beside & ((np.abs(x + 0.5) < 0.1) | (np.abs(x - 60.5) < 0.1))).any()
    assert (np.abs(y + 0.5) < 0.1).any() and (np.abs(z + 0.5) < 0.1).any()


def test_axes_of_the_coordinates(tmp_path):
    points, cells, tags = body()
    write(tmp_path / "m.vtu", points * [-1, -1, 1], cells, tags, "regions")
    check(anatomy_of(config(tmp_path / "m.vtu", axes="LPS")))


@pytest.mark.parametrize("seed", range(4))
def test_every_voxel_is_in_the_cell_that_another_library_finds(seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(60, 3)) * 0.02
    mesh = Delaunay(points)
    spacing = 0.002 if seed else 0.011  # also voxels larger than most cells
    owner, affine = voxel_cells(points, mesh.simplices, spacing)
    centres = np.argwhere(np.ones(owner.shape, bool)) * spacing + affine[:3, 3]
    expected = mesh.find_simplex(centres).reshape(owner.shape)
    np.testing.assert_array_equal(owner, expected)
    assert (owner >= 0).any()
    assert not (owner[:PAD] >= 0).any() and not (owner[..., -PAD:] >= 0).any()


def test_voxels_converge_to_the_cells_volume():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(40, 3)) * 0.02
    cells = Delaunay(points).simplices
    edges = points[cells[:, 1:]] - points[cells[:, :1]]
    volume = np.abs(np.linalg.det(edges)).sum() / 6
    errors = [abs((voxel_cells(points, cells, h)[0] >= 0).sum() * h**3 / volume - 1)
              for h in (4e-3, 1e-3)]
    assert errors[1] < 3e-3 and errors[1] < errors[0] / 4


def test_second_order_cells_count_as_straight(tmp_path):
    points, cells, tags = body()
    middles = np.array([points[cells[:, [i, j]]].mean(axis=1)
                        for i, j in ((0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3))])
    more = len(points) + np.arange(6 * len(cells)).reshape(6, -1).T
    mesh = meshio.Mesh(np.vstack([points, middles.reshape(-1, 3)]),
                       [("tetra10", np.hstack([cells, more]))], cell_data={"r": [tags]})
    mesh.write(tmp_path / "m.vtu")
    check(anatomy_of(config(tmp_path / "m.vtu")))


def broken(kind):
    points, cells, tags = body()
    if kind == "hexahedra":
        return meshio.Mesh(points, [("hexahedron", cells[:, [0, 1, 2, 3, 0, 1, 2, 3]])],
                           cell_data={"r": [tags]})
    if kind == "surface":
        return meshio.Mesh(points, [("triangle", cells[:, :3])], cell_data={"r": [tags]})
    data = {"none": {}, "float": {"r": [tags + 0.5]}, "two": {"r": [tags], "s": [tags]},
            "zero": {"r": [tags - 1]}}[kind]
    return meshio.Mesh(points, [("tetra", cells)], cell_data=data)


@pytest.mark.parametrize("kind, words", [
    ("hexahedra", "cells of kind hexahedron"), ("surface", "no tetrahedra"),
    ("none", "no region tags"), ("float", "no region tags"), ("two", "tags one of: r, s"),
    ("zero", "region tags from 0 to 6"),
])
def test_unusable_meshes_are_refused(tmp_path, kind, words):
    broken(kind).write(tmp_path / "m.vtu")
    with pytest.raises(InputError, match=words) as caught:
        anatomy_of(config(tmp_path / "m.vtu"))
    assert caught.value.key == "anatomy.mesh"
    if kind == "two":
        check(anatomy_of(config(tmp_path / "m.vtu", tags="s")))


def test_impossible_sizes_and_files_are_refused(tmp_path):
    write(tmp_path / "m.vtu", *body(), "regions")
    with pytest.raises(InputError, match=r"mesh\.unit.*measures 6e\+04 x 5e\+04"):
        anatomy_of(config(tmp_path / "m.vtu", unit="m"))
    with pytest.raises(InputError, match=r"region 7.*holds no voxel's centre"):
        anatomy_of(config(tmp_path / "m.vtu", voxel_size_mm=8.0))
    whole = (tmp_path / "m.vtu").read_bytes()
    for name in ("m.vtu", "m.msh", "m.xdmf", "m.vtk"):
        for content in (whole[:len(whole) // 2], b"", b"text"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(InputError, match="not a readable mesh"):
                anatomy_of(config(tmp_path / name))
