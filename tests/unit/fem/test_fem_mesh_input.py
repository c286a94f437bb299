"""Reading meshes: named groups, and each way in which a file can be wrong."""

import numpy as np
import pytest
from box_patient import BOX, TUMOUR, write_gmsh
from dolfinx import mesh as dmesh

from hifuflow.errors import InputError
from hifuflow.fem.mesh_input import read_mesh
from hifuflow.meshes.build import mesh_anatomy
from hifuflow.meshes.settings import MeshSettings
from hifuflow.numerics.tetrahedra import signed_volumes
from hifuflow.records.anatomy import Anatomy
from hifuflow.report.figures.models import read_tetrahedra
from hifuflow.settings import Written


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


def test_a_region_may_be_called_like_a_surface(tmp_path):
    """A ball whose outer region is `skin` and whose target is `cut`, in water from below."""
    x, y, z = np.indices((24, 24, 24)) - 11.5
    radius = np.sqrt(x**2 + y**2 + z**2)
    labels = np.where(radius <= 9, np.where(radius <= 4, 2, 1), 0).astype(np.int16)
    volume = np.bincount(labels.ravel()) * 8e-9
    anatomy = Anatomy(labels, np.diag([2e-3, 2e-3, 2e-3, 1]), {
        "skin": {"label": 1, "tissue": "skin", "volume_m3": volume[1]},
        "cut": {"label": 2, "tissue": "tumour", "volume_m3": volume[2]}}, ["cut"],
        (labels == 0) & (z < 0), np.array([0, 0, 1.0]), "")
    settings = MeshSettings(900, (), Written("p.yaml", "mesh.control", {"cells": 900}))
    record = mesh_anatomy(anatomy, None, settings, tmp_path / "ball.msh")
    assert sorted(record["regions"]) == ["cut", "skin"]
    mesh = read_mesh(tmp_path / "ball.msh")
    assert sorted(mesh.regions) == ["cut", "skin"]
    size = np.abs(signed_volumes(mesh.cell_vertices))
    for name, label in (("skin", 1), ("cut", 2)):
        assert size[mesh.regions[name]].sum() == pytest.approx(volume[label], rel=0.05)
    below = dmesh.compute_midpoints(mesh.domain, 2, mesh.facets["skin"])[:, 2].mean()
    above = dmesh.compute_midpoints(mesh.domain, 2, mesh.facets["cut"])[:, 2].mean()
    assert below < 0.023 < above
    assert set(read_tetrahedra(tmp_path / "ball.msh")[2]) == {"skin", "cut"}
