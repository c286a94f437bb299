"""`hifuflow new` on a segmentation of any kind: the file it writes can be treated as it is."""

import meshio
import numpy as np
import pytest
from patient_maps import ct_series, dicom_seg, write_nifti
from scipy.spatial import Delaunay
from structure_sets import rtstruct, save, save_series
from vtkmodules.vtkFiltersSources import vtkCubeSource, vtkSphereSource
from vtkmodules.vtkIOGeometry import vtkSTLWriter

from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.settings import AnatomySettings
from hifuflow.study.command_line import main
from hifuflow.study.patient import load_patient
from hifuflow.study.yaml_file import read_yaml

AFFINE = np.diag([3.0, 3, 3, 1])
SHAPE = (41, 41, 26)


def parts():
    """A half ball of fat with a tumour in it, and the tumour; as drawn, they overlap."""
    i, j, k = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    body = ((i - 20) ** 2 + (j - 20) ** 2 + (k - 22) ** 2 <= 19 ** 2) & (k > 0)
    return {"fat": body, "tumour": (i - 20) ** 2 + (j - 20) ** 2 + (k - 12) ** 2 <= 3 ** 2}


def circles(mask):
    """Contours of a mask whose slices are discs, between its voxels and the next; in L, P, S."""
    found = []
    for k in np.flatnonzero(mask.any(axis=(0, 1))):
        radius = 3 * np.sqrt(((np.argwhere(mask[..., k]) - 20) ** 2).sum(axis=1).max() + 0.5)
        angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        found.append(np.column_stack([-60 + radius * np.cos(angle), -60 + radius * np.sin(angle),
                                      np.full(90, 3.0 * k)]))
    return found


def organ_folder(folder):
    folder.mkdir()
    for name, mask in parts().items():
        write_nifti(folder / f"{name}.nii.gz", mask.astype(np.uint8), AFFINE)
    return folder


def dicom_folder(folder, kind):
    series = ct_series(SHAPE, AFFINE)
    save_series(series, folder)
    if kind == "seg":
        pixels = np.stack(list(parts().values()), -1).transpose(2, 1, 0, 3).astype(np.uint8)
        dicom_seg(series, pixels, list(parts()), omit_empty_frames=True).save_as(
            folder / "seg.dcm")
    else:
        structures = {name: circles(mask) for name, mask in parts().items()}
        save(rtstruct(structures, series[0].FrameOfReferenceUID), folder / "rs.dcm")
    return folder


def stl(path, source):
    writer = vtkSTLWriter()
    writer.SetFileName(str(path))
    writer.SetInputConnection(source.GetOutputPort())
    writer.Write()


def surface_folder(folder):
    folder.mkdir()
    box, ball = vtkCubeSource(), vtkSphereSource()
    box.SetBounds(0, 120, 0, 120, 0, 60)
    ball.SetCenter(60, 60, 25)
    ball.SetRadius(9)
    ball.SetThetaResolution(40)
    ball.SetPhiResolution(40)
    stl(folder / "fat.stl", box)
    stl(folder / "tumour.stl", ball)
    return folder


def mesh_file(path):
    points = np.stack(np.meshgrid(*[np.linspace(0, 0.12, 13)] * 3, indexing="ij"), -1
                      ).reshape(-1, 3)
    points += np.random.default_rng(0).uniform(-1e-4, 1e-4, points.shape)
    cells = Delaunay(points).simplices
    tags = np.where(np.linalg.norm(points[cells].mean(axis=1) - 0.06, axis=1) < 0.015, 2, 1)
    meshio.write(path, meshio.Mesh(points, [("tetra", cells)], cell_data={
        "gmsh:physical": [tags.astype(np.int32)], "gmsh:geometrical": [tags.astype(np.int32)]},
        field_data={"fat": np.array([1, 3]), "tumour": np.array([2, 3])}), file_format="gmsh22")
    return path


KINDS = {"organs": organ_folder, "seg": lambda path: dicom_folder(path, "seg"),
         "rtstruct": lambda path: dicom_folder(path, "rtstruct"), "surfaces": surface_folder,
         "mesh": lambda path: mesh_file(path.with_suffix(".msh"))}


@pytest.mark.parametrize("kind", KINDS)
def test_what_new_writes_can_be_treated(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    path = KINDS[kind](tmp_path / "anna")
    assert main(["new", path.name]) == 0
    assert "to be filled in" not in capsys.readouterr().out
    written = read_yaml("anna.yaml")
    assert written["regions"]["tumour"]["labels"] == ["tumour"]  # by name, whatever its value is
    assert next(iter(written["regions"])) == "tumour" or kind == "mesh"
    anatomy = build_anatomy(AnatomySettings.read(load_patient("anna.yaml").section("anatomy")))
    volume = anatomy.target_mask.sum() * anatomy.voxel_volume
    expected = {"surfaces": 4 / 3 * np.pi * 9e-3**3}.get(kind, parts()["tumour"].sum() * 27e-9)
    if kind != "mesh":
        assert volume == pytest.approx(expected, rel=0.05)
    assert main(["inspect", f"{path.name}/tumour.stl" if kind == "surfaces" else path.name]) == 0


def test_units_are_guessed_from_the_size(tmp_path):
    path = mesh_file(tmp_path / "anna.msh")
    assert main(["new", str(path), "--output", str(tmp_path / "anna.yaml")]) == 0
    assert read_yaml(tmp_path / "anna.yaml")["anatomy"] == {
        "mesh": {"file": "anna.msh", "unit": "m"}}
    assert "a guess from its size" in (tmp_path / "anna.yaml").read_text()
