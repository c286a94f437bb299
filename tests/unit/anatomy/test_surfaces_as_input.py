"""Closed surfaces as regions: cavities, overlaps, axes, and what is refused."""

import signal

import numpy as np
import pytest
from patient_maps import anatomy_of, section
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkIOGeometry import vtkSTLWriter
from vtkmodules.vtkIOPLY import vtkPLYWriter

from hifuflow.anatomy.source_settings import SurfaceSettings
from hifuflow.anatomy.surface_map import read_surface_map
from hifuflow.errors import InputError
from hifuflow.formats.vtk_mesh import apart
from hifuflow.settings import Written

QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def box(low, high, skip=(), flip=False):
    """Corners and triangles of a box."""
    corners = np.array([[(low, high)[b][i] for i, b in enumerate(bits)]
                        for bits in np.ndindex(2, 2, 2)], float)
    triangles = np.array([[q[0], q[a], q[b]] for n, q in enumerate(QUADS) if n not in skip
                          for a, b in ((1, 2), (2, 3))])
    return corners, triangles[:, ::-1] if flip else triangles


def write(path, *parts):
    points, cells, data = vtkPoints(), vtkCellArray(), vtkPolyData()
    for corners, triangles in parts:
        start = points.GetNumberOfPoints()
        for corner in corners:
            points.InsertNextPoint(corner)
        for triangle in triangles:
            cells.InsertNextCell(3)
            for node in triangle:
                cells.InsertCellPoint(start + int(node))
    data.SetPoints(points)
    data.SetPolys(cells)
    writer = vtkSTLWriter() if path.suffix == ".stl" else vtkPLYWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(data)
    if path.suffix == ".stl":
        writer.SetFileTypeToBinary()
    writer.Write()
    return path


def settings(path, **changes):
    return SurfaceSettings.read(Written("p.yaml", "anatomy.surfaces", {
        "path": str(path), "unit": "mm", "axes": "auto", "voxel_size_mm": 1, **changes}))


def volume(path, **changes):
    source = read_surface_map(settings(path, **changes))
    return {one.name: sum((layer == one.label).sum() for layer in source.layers)
            * np.linalg.det(source.affine[:3, :3]) * 1e9 for one in source.segments}


def test_boxes_have_their_volumes_and_places(tmp_path):
    write(tmp_path / "body.stl", box((-20, 0, 5), (20, 30, 45)))
    write(tmp_path / "lump.ply", box((-5, 10, 15), (5, 20, 25)))
    assert volume(tmp_path) == {"body": pytest.approx(48000), "lump": pytest.approx(1000)}
    source = read_surface_map(settings(tmp_path))
    assert len(source.layers) == 2  # they overlap
    centre = np.argwhere(source.layers[1] == 2).mean(axis=0) * 1e-3 + source.affine[:3, 3]
    np.testing.assert_allclose(centre, [0, 0.015, 0.020], atol=1e-9)


def test_a_whole_patient_of_surfaces(tmp_path):
    write(tmp_path / "body.stl", box((-30, -30, 0), (30, 30, 50)))
    write(tmp_path / "lump.stl", box((-5, -6, 15), (5, 6, 25)))
    write(tmp_path / "wall.stl", box((-30, -30, 45), (30, 30, 50)))
    base = section("")
    base["anatomy"] = {"surfaces": settings(tmp_path).written.values, "crop_margin_mm": 100,
                       "outside": []}
    for region, name in (("lump", "lump"), ("fat", "body"), ("muscle", "wall")):
        base["regions"][region]["labels"] = [name]
    base["regions"] = {name: base["regions"][name] for name in ("lump", "muscle", "fat")}
    anatomy = anatomy_of(base)
    assert anatomy.regions["lump"]["volume_m3"] == pytest.approx(1200e-9)
    assert anatomy.record["source"]["format"] == "surfaces"
    base["regions"] = {name: base["regions"][name] for name in ("fat", "lump", "muscle")}
    with pytest.raises(InputError, match="belong to regions written before it"):
        anatomy_of(base)


@pytest.mark.parametrize("flip", [False, True])
def test_a_shell_within_a_shell_is_a_cavity(tmp_path, flip):
    write(tmp_path / "a.stl", box((0, 0, 0), (30, 30, 30)), box((10, 10, 10), (20, 20, 20),
                                                                 flip=flip))
    assert volume(tmp_path / "a.stl")["a"] == pytest.approx(26000)


def test_pieces_apart_are_one_region(tmp_path):
    write(tmp_path / "a.stl", box((0, 0, 0), (10, 10, 10)), box((20, 0, 0), (30, 10, 10)))
    assert volume(tmp_path / "a.stl")["a"] == pytest.approx(2000)


def test_triangles_that_face_both_ways_are_turned(tmp_path):
    corners, triangles = box((0, 0, 0), (20, 20, 20))
    triangles[::3] = triangles[::3, ::-1]
    write(tmp_path / "a.stl", (corners, triangles))
    assert volume(tmp_path / "a.stl")["a"] == pytest.approx(8000)


def headed(path, text):
    content = path.read_bytes()
    path.write_bytes(text.encode().ljust(80) + content[80:])
    return path


def test_axes_that_a_header_tells(tmp_path, caplog):
    path = write(tmp_path / "a.stl", box((10, 20, 0), (20, 30, 10)))
    first = read_surface_map(settings(path)).affine[:3, 3]
    assert "nothing tells whether its coordinates are R, A, S" in caplog.text
    headed(path, "3D Slicer output. SPACE=LPS")
    caplog.clear()
    turned = read_surface_map(settings(path))
    assert not caplog.records
    place = np.argwhere(turned.layers[0]).mean(axis=0) * 1e-3 + turned.affine[:3, 3]
    np.testing.assert_allclose(place, [-0.015, -0.025, 0.005], atol=1e-9)
    with pytest.raises(InputError, match=r"anatomy\.surfaces\.axes = 'RAS'.*a\.stl is in LPS"):
        read_surface_map(settings(path, axes="RAS"))
    assert first[0] > 0


@pytest.mark.parametrize("parts, words", [
    ([box((0, 0, 0), (30, 30, 30), skip=(3,))], "is not closed: 4 of its edges belong to one"),
    ([box((0, 0, 0), (30, 30, 30)), box((15, 15, 15), (45, 45, 45))], "two of its shells cross"),
    ([box((0, 0, 0), (0.3, 0.3, 0.3)), ], "holds no voxel's centre"),
    ([box((0, 0, 0), (9000, 30, 30))], "the surfaces measure 9000 x 30 x 30 mm"),
    ([(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]]), np.array([[0, 1, 2]]))], "is not closed")])
def test_wrong_surfaces_are_one_error(tmp_path, parts, words):
    path = write(tmp_path / "a.stl", *parts)
    with pytest.raises(InputError, match=words):
        read_surface_map(settings(path))


def test_a_surface_that_crosses_itself_is_refused(tmp_path):
    """A prism over a bow tie: one half is turned inside out."""
    corners, triangles = box((0, 0, 0), (40, 30, 30))
    right = corners[:, 0] == 40
    corners[right, 1] = 30 - corners[right, 1]
    path = write(tmp_path / "a.stl", (corners, triangles))
    with pytest.raises(InputError, match="crosses itself"):
        read_surface_map(settings(path))


@pytest.mark.parametrize("suffix", [".stl", ".obj", ".ply", ".vtp"])
@pytest.mark.parametrize("content", [b"", b"text", b"ply\nformat ascii 1.0\nelement vertex 9\n"])
def test_damaged_files_are_one_error(tmp_path, suffix, content, capfd):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\{suffix}"):
        read_surface_map(settings(path))
    assert capfd.readouterr() == ("", "")


def test_folders_without_or_with_two_of_a_name(tmp_path):
    with pytest.raises(InputError, match="the folder holds no surface"):
        read_surface_map(settings(tmp_path))
    for name in ("a.stl", "a.ply"):
        write(tmp_path / name, box((0, 0, 0), (30, 30, 30)))
    with pytest.raises(InputError, match="several files for one region: a"):
        read_surface_map(settings(tmp_path))


def test_a_file_on_which_vtk_crashes_is_told_from_the_others():
    """The reader here is one that crashes, or not, by its argument."""
    found = apart(signal.raise_signal, [signal.SIGSEGV, signal.SIGURG])  # the latter is ignored
    assert found == [(None, "VTK crashes on it, so that it must be damaged"), (None, "")]
