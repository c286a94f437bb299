"""Reading meshes: named groups, and each way in which a file can be wrong."""

import numpy as np
import pytest
from box_patient import BOX, TUMOUR, write_gmsh
from dolfinx import mesh as dmesh

from hifuflow.errors import InputError
from hifuflow.fem.mesh_input import read_mesh
from hifuflow.numerics.tetrahedra import signed_volumes


def test_groups_are_read_by_name(mesh_path):
    mesh = read_mesh(mesh_path)
    assert sorted(mesh.regions) == ["fat", "tumour"]
    volume = np.abs(signed_volumes(mesh.cell_vertices))
    tumour = (TUMOUR[1] - TUMOUR[0]) ** 3
    assert volume[mesh.regions["tumour"]].sum() == pytest.approx(tumour, rel=1e-9)
    assert volume.sum() == pytest.approx(BOX**3, rel=1e-9)
    skin = dmesh.compute_midpoints(mesh.domain, 2, mesh.facets["skin"])
    cut = dmesh.compute_midpoints(mesh.domain, 2, mesh.facets["cut"])
    np.testing.assert_allclose(skin[:, 2], 0, atol=1e-12)
    assert cut[:, 2].min() > 0


def test_a_mesh_without_a_cut_is_fine_if_all_is_skin(tmp_path):
    path = tmp_path / "whole.msh"
    write_gmsh(path, 0.02)
    whole = tmp_path / "whole2.msh"
    write_gmsh(whole, 0.02, groups=("fat", "tumour", "skin"))
    assert len(read_mesh(path).facets["cut"])
    with pytest.raises(InputError, match="boundary facets are in no surface group"):
        read_mesh(whole)


@pytest.mark.parametrize("groups, message", [
    (("fat", "tumour", "cut"), "surface group missing"),
    (("fat", "tumour", "skin"), "boundary facets are in no surface group"),
])
def test_missing_surfaces_are_named(tmp_path, groups, message):
    path = tmp_path / "bad.msh"
    write_gmsh(path, 0.02, groups)
    with pytest.raises(InputError, match=message):
        read_mesh(path)


def test_missing_volume_groups_are_refused(tmp_path):
    path = tmp_path / "surface.msh"
    write_gmsh(path, 0.02, ("skin", "cut"))
    with pytest.raises(InputError) as caught:
        read_mesh(path)
    assert caught.value.file == path


def test_missing_and_unreadable_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_mesh(tmp_path / "none.msh")
    path = tmp_path / "garbage.msh"
    path.write_bytes(b"not a mesh")
    with pytest.raises(InputError, match="not a readable mesh"):
        read_mesh(path)
