"""One oblique ellipsoid in every format that is read: its place within 0.1 voxel, volume 1 %."""

from dataclasses import replace

import meshio
import nibabel as nib
import numpy as np
import pytest
from patient_maps import LPS, ct_series, dicom_seg, multi_frame, write_itk, write_nifti
from scipy.spatial import ConvexHull, Delaunay
from structure_sets import rtstruct, save, save_series
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkFiltersSources import vtkSphereSource
from vtkmodules.vtkIOGeometry import vtkOBJWriter, vtkSTLWriter
from vtkmodules.vtkIOPLY import vtkPLYWriter
from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

from hifuflow.anatomy.labelmap import read_label_map
from hifuflow.anatomy.mesh_map import read_mesh_map
from hifuflow.anatomy.source_settings import MeshMapSettings, ScanSettings, SurfaceSettings
from hifuflow.anatomy.surface_map import read_surface_map
from hifuflow.anatomy.thresholds import classified
from hifuflow.numerics.sphere import fibonacci_sphere
from hifuflow.settings import Written

CENTRE = np.array([4.31, -17.47, 23.18])  # R, A, S [mm]
SEMI_AXES = np.array([19.0, 13.0, 10.0])
VOLUME = 4 / 3 * np.pi * SEMI_AXES.prod()
TURN = np.linalg.qr(np.array([[2.0, 1, 0.3], [-1, 2, 0.7], [0.2, -0.9, 3]]))[0]
SHAPE = (60, 56, 44)
STRAIGHT = np.array([[-1.0, 0, 0, 34], [0, -1.1, 0, 14], [0, 0, 1.3, -5], [0, 0, 0, 1]])
TILT = np.eye(4)
TILT[:3, :3] = np.linalg.qr(np.array([[1.0, 0.25, 0], [-0.25, 1, 0.1], [0, -0.1, 1]]))[0]
TILT[:3, :3] *= np.sign(np.diag(TILT))[:3]
MIDDLE = np.eye(4)
MIDDLE[:3, 3] = CENTRE
OBLIQUE = MIDDLE @ TILT @ np.linalg.inv(MIDDLE) @ STRAIGHT
GRIDS = {"straight": STRAIGHT, "oblique": OBLIQUE}


def inside(affine, shape=SHAPE):
    """Voxels whose centres lie in the ellipsoid."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    own = (index @ affine[:3, :3].T + affine[:3, 3] - CENTRE) @ TURN
    return ((own / SEMI_AXES) ** 2).sum(axis=-1) <= 1


def contours(affine, shape=SHAPE, corners=400):
    """The ellipsoid's sections with the slices of a grid, in L, P, S: exact, not from voxels."""
    quadric = TURN @ np.diag(1 / SEMI_AXES**2) @ TURN.T
    columns, found = affine[:3, :2], []
    form = columns.T @ quadric @ columns
    for k in range(shape[2]):
        start = affine[:3, :3] @ [0, 0, k] + affine[:3, 3] - CENTRE
        middle = -np.linalg.solve(form, columns.T @ quadric @ start)
        level = 1 - (start @ quadric @ start - middle @ form @ middle)
        if level > 0:
            angle = 2 * np.pi * np.arange(corners) / corners
            circle = np.sqrt(level) * np.stack([np.cos(angle), np.sin(angle)])
            pixels = middle[:, None] + np.linalg.solve(np.linalg.cholesky(form).T, circle)
            found.append((start[:, None] + columns @ pixels).T + CENTRE)
    return [points * [-1, -1, 1] for points in found]


def surface(scale=1.0, signs=(1, 1, 1)):
    """The ellipsoid as triangles."""
    source = vtkSphereSource()
    source.SetRadius(1)
    source.SetThetaResolution(120)
    source.SetPhiResolution(120)
    source.SetOutputPointsPrecision(1)
    source.Update()
    sphere = source.GetOutput()
    points = np.array([sphere.GetPoint(i) for i in range(sphere.GetNumberOfPoints())])
    points = (points * SEMI_AXES @ TURN.T + CENTRE) * signs * scale
    moved = vtkPoints()
    moved.SetDataTypeToDouble()
    moved.SetData(numpy_to_vtk(points, deep=True))
    sphere.SetPoints(moved)
    return sphere


WRITERS = {".stl": vtkSTLWriter, ".obj": vtkOBJWriter, ".ply": vtkPLYWriter,
           ".vtp": vtkXMLPolyDataWriter}


def write_surface(data, path):
    writer = WRITERS[path.suffix]()
    writer.SetFileName(str(path))
    writer.SetInputData(data)
    writer.Write()
    return path


def assert_in_place(source, segment=0):
    """Of a label map: centroid within 0.1 of its voxels, volume within 1 %."""
    label = source.segments[segment].label if source.segments else 1
    mask = np.any([layer == label for layer in source.layers], axis=0)
    spacing = np.diag(source.affine)[:3] * 1e3
    centroid = np.argwhere(mask).mean(axis=0) * spacing + source.affine[:3, 3] * 1e3
    assert np.abs((centroid - CENTRE) / spacing).max() < 0.1
    assert mask.sum() * spacing.prod() == pytest.approx(VOLUME, rel=0.01)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz", "m.mgz", "m.nrrd", "m.seg.nrrd", "m.nhdr",
                                  "m.mha", "m.mhd"])
def test_label_maps(tmp_path, name, grid):
    labels = inside(GRIDS[grid]).astype(np.int16)
    if name.endswith("mgz"):
        nib.save(nib.MGHImage(labels, GRIDS[grid]), tmp_path / name)
    elif ".nii" in name:
        write_nifti(tmp_path / name, labels, GRIDS[grid])
    else:
        write_itk(tmp_path / name, labels, GRIDS[grid], {1: "lump"})
    assert_in_place(read_label_map(tmp_path / name))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kind", ["alone", "beside its series"])
def test_dicom_segmentations(tmp_path, kind, grid):
    series = ct_series(SHAPE, GRIDS[grid])
    folder = save_series(series if kind != "alone" else [], tmp_path / "s")
    seg = dicom_seg(series, inside(GRIDS[grid]).transpose(2, 1, 0).astype(np.uint8), ["lump"],
                    omit_empty_frames=True)
    seg.save_as(folder / "seg.dcm")
    assert_in_place(read_label_map(folder / "seg.dcm" if kind == "alone" else folder))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kind", ["alone", "beside its series"])
def test_structure_sets(tmp_path, kind, grid):
    series = ct_series(SHAPE, GRIDS[grid])
    folder = save_series(series if kind != "alone" else [], tmp_path / "s")
    data = rtstruct({"lump": contours(GRIDS[grid])}, series[0].FrameOfReferenceUID)
    path = save(data, folder / "rs.dcm")
    source = read_label_map(path if kind == "alone" else folder)
    assert_in_place(source)
    if kind != "alone" and grid == "straight":
        other = (source.layers[0][::-1, ::-1] == 1) != inside(STRAIGHT)
        assert other.sum() < 0.005 * inside(STRAIGHT).sum()


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_one_file_per_organ(tmp_path, suffix, grid):
    write = write_nifti if suffix == ".nii.gz" else write_itk
    mask = inside(GRIDS[grid])
    for name, part in (("body", np.ones(SHAPE, bool)), ("lump", mask), ("none", mask & False)):
        write(tmp_path / f"{name}{suffix}", part.astype(np.uint8), GRIDS[grid])
    source = read_label_map(tmp_path)
    assert [one.name for one in source.segments] == ["body", "lump", "none"]
    assert_in_place(source, 1)


@pytest.mark.parametrize("unit, scale, axes, signs", [
    ("mm", 1, "RAS", (1, 1, 1)), ("cm", 0.1, "LPS", (-1, -1, 1)), ("m", 1e-3, "RAS", (1, 1, 1))])
@pytest.mark.parametrize("suffix", WRITERS)
def test_surfaces(tmp_path, suffix, unit, scale, axes, signs):
    path = write_surface(surface(scale, signs), tmp_path / f"lump{suffix}")
    settings = SurfaceSettings.read(Written("p.yaml", "anatomy.surfaces", {
        "path": str(path), "unit": unit, "axes": axes, "voxel_size_mm": 1}))
    source = read_surface_map(settings)
    assert source.segments[0].name == "lump"
    assert_in_place(source)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kind", ["series", "frames", "file"])
def test_images(tmp_path, kind, grid):
    """Told apart by intensity: a DICOM series, an enhanced multi-frame file, a NIfTI image."""
    values = np.where(inside(GRIDS[grid]), 100, -20)
    if kind == "file":
        path = tmp_path / "scan.nii.gz"
        write_nifti(path, values.astype(np.int16), GRIDS[grid])
    else:
        series = ct_series(SHAPE, GRIDS[grid], values)
        path = tmp_path / "s" if kind == "series" else tmp_path / "frames.dcm"
        if kind == "series":
            save_series(series, path)
        else:
            multi_frame(series, np.random.default_rng(2).permutation(SHAPE[2])).save_as(path)
    classes = {"lump": {"at_least": 50, "smallest_island_mm3": 0, "largest_component": False,
                        "fill_holes": False}}
    settings = ScanSettings.read(Written("p.yaml", "anatomy", {"image": str(path),
                                                               "thresholds": classes}))
    assert_in_place(classified(settings, None))


@pytest.mark.parametrize("name", ["m.msh", "m.vtu", "m.vtk", "m.xdmf"])
def test_meshes(tmp_path, name):
    shells = np.concatenate([radius * fibonacci_sphere(int(1200 * radius**2))
                             for radius in (1, 0.9, 0.75, 0.5)] + [[[0, 0, 0]]])
    shells *= (4 / 3 * np.pi / ConvexHull(shells).volume) ** (1 / 3)  # flat faces, same volume
    cells = Delaunay(shells).simplices
    points = shells * SEMI_AXES @ TURN.T + CENTRE
    tags = np.full(len(cells), 3, np.int32)
    data = {"gmsh:physical": [tags], "gmsh:geometrical": [tags]} if name == "m.msh" else {
        "region": [tags]}
    meshio.write(tmp_path / name, meshio.Mesh(points, [("tetra", cells)], cell_data=data),
                 **({"file_format": "gmsh22"} if name == "m.msh" else {}))
    settings = MeshMapSettings.read(Written("p.yaml", "anatomy.mesh", {
        "file": str(tmp_path / name), "unit": "mm", "axes": "RAS", "voxel_size_mm": 1}))
    source = read_mesh_map(settings)
    assert_in_place(replace(source, layers=[(layer == 3) * 1 for layer in source.layers],
                            segments=()))


def test_the_ellipsoid_is_not_symmetric():
    """Of the test itself: a grid that is flipped or transposed puts it elsewhere."""
    assert abs(inside(STRAIGHT).sum() * np.prod([1, 1.1, 1.3]) / VOLUME - 1) < 0.01
    points = np.concatenate(contours(STRAIGHT)) @ LPS[:3, :3]
    own = (points - CENTRE) @ TURN / SEMI_AXES
    np.testing.assert_allclose((own**2).sum(axis=1), 1, atol=1e-9)
    assert (inside(STRAIGHT) != inside(STRAIGHT)[::-1]).sum() > 1000
