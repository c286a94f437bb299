"""Exported files, opened with other libraries: images, segments, time series, meshes."""

import csv

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from hifuflow.errors import InputError
from hifuflow.report.exports.images import export_images, export_segments, export_series
from hifuflow.report.exports.vtkhdf import _node_dose, quadratic


def names(folder):
    return folder / "peak_temperature.nii.gz", folder / "dose.nii.gz"


def source_image(path, anatomy):
    """A larger image of the patient, stored with axes (S, L, P) and a permuted, flipped affine."""
    pad = ((3, 2), (1, 4), (5, 0))
    data = np.pad(anatomy.labels, pad)
    origin = anatomy.affine[:3, 3] - np.array([p[0] for p in pad]) * anatomy.spacing
    affine = np.diag([*anatomy.spacing, 1.0])
    affine[:3, 3] = origin
    image = nib.Nifti1Image(data, affine)
    affine_mm = affine.copy()
    affine_mm[:3] *= 1e3
    image = nib.Nifti1Image(data, affine_mm)
    codes = nib.orientations.axcodes2ornt(("S", "L", "P"))
    turned = image.as_reoriented(nib.orientations.ornt_transform(
        nib.io_orientation(affine_mm), codes))
    turned.set_sform(turned.affine, 1)
    turned.set_qform(turned.affine, 1)
    nib.save(turned, path)
    return turned


def test_images_on_a_permuted_and_flipped_grid(case, tmp_path):
    source = source_image(tmp_path / "source.nii.gz", case.anatomy)
    assert nib.aff2axcodes(source.affine) == ("S", "L", "P")
    export_images(case.anatomy, case.trajectory, tmp_path / "source.nii.gz",
                  *names(tmp_path))
    for name, values, outside in (
            ("dose", case.trajectory.voxel_dose, 0.0),
            ("peak_temperature", case.trajectory.voxel_peak_temperature, 37.0)):
        image = nib.load(tmp_path / f"{name}.nii.gz")
        assert image.shape == source.shape
        np.testing.assert_allclose(image.affine, source.affine, atol=1e-4)
        assert image.get_data_dtype() == np.float32
        assert image.header.get_xyzt_units()[0] == "mm"
        data = np.asarray(image.dataobj)
        assert np.isfinite(data).all()
        # Every voxel of the model, found through positions in the patient.
        position = case.anatomy.position(case.trajectory.voxel_index) * 1e3
        index = nib.affines.apply_affine(np.linalg.inv(source.affine), position)
        found = data[tuple(np.rint(index).astype(int).T)]
        np.testing.assert_allclose(found, values.astype(np.float32))
        assert (data != outside).sum() == (values.astype(np.float32) != outside).sum()
        # Outside the label map's body there is nothing.
        assert (data[np.asarray(source.dataobj) == 0] == outside).all()


@pytest.mark.parametrize("name", ["source.nrrd", "source.mha"])
def test_grid_of_a_source_of_another_format(case, tmp_path, name):
    source = source_image(tmp_path / "source.nii.gz", case.anatomy)
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "source.nii.gz")), str(tmp_path / name))
    results = {}
    for path in (tmp_path / "source.nii.gz", tmp_path / name):
        export_images(case.anatomy, case.trajectory, path, *names(tmp_path))
        results[path.name] = nib.load(tmp_path / "dose.nii.gz")
        results[path.name].get_fdata()  # before the next one replaces it
    image, expected = results[name], results["source.nii.gz"]
    assert image.shape == source.shape
    np.testing.assert_allclose(image.affine, source.affine, atol=1e-4)
    np.testing.assert_array_equal(image.get_fdata(), expected.get_fdata())


@pytest.mark.parametrize("unit, scale", [("meter", 1e-3), ("micron", 1e3)])
def test_source_in_another_unit_lands_in_the_same_place(case, tmp_path, unit, scale):
    source = source_image(tmp_path / "source.nii.gz", case.anatomy)
    export_images(case.anatomy, case.trajectory, tmp_path / "source.nii.gz", *names(tmp_path))
    expected = nib.load(tmp_path / "dose.nii.gz").get_fdata()
    other = nib.Nifti1Image(source.dataobj, np.diag([scale, scale, scale, 1]) @ source.affine)
    other.header.set_xyzt_units(unit)
    nib.save(other, tmp_path / "other.nii.gz")
    export_images(case.anatomy, case.trajectory, tmp_path / "other.nii.gz", *names(tmp_path))
    image = nib.load(tmp_path / "dose.nii.gz")
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.affine, source.affine, rtol=1e-5, atol=1e-4)
    assert expected.any()
    np.testing.assert_array_equal(image.get_fdata(), expected)


def test_phantom_is_exported_on_its_own_grid(plain_case, tmp_path):
    export_images(plain_case.anatomy, plain_case.trajectory, None, *names(tmp_path))
    image = nib.load(tmp_path / "dose.nii.gz")
    assert image.shape == plain_case.anatomy.labels.shape
    np.testing.assert_allclose(image.affine[:3, :3], 2 * np.eye(3), atol=1e-5)
    np.testing.assert_allclose(image.affine[:3, 3], [20, -10, 4], atol=1e-5)


def test_source_that_is_not_an_image_is_refused(plain_case, tmp_path):
    (tmp_path / "notes.nii.gz").write_text("not an image")
    with pytest.raises(InputError, match=r"notes\.nii\.gz"):
        export_images(plain_case.anatomy, plain_case.trajectory, tmp_path / "notes.nii.gz",
                      *names(tmp_path))


def test_segments_for_slicer_on_a_permuted_grid(case, tmp_path):
    source = source_image(tmp_path / "source.nii.gz", case.anatomy)
    path = tmp_path / "treatment.seg.nrrd"
    export_segments(case.anatomy, case.trajectory, 240.0, tmp_path / "source.nii.gz", path)
    data, header = nrrd.read(str(path))
    assert header["kinds"] == ["list", "domain", "domain", "domain"]
    assert [header[f"Segment{i}_Name"] for i in (0, 1)] == ["Planned target", "Lesion"]
    assert [header[f"Segment{i}_Layer"] for i in (0, 1)] == ["0", "1"]
    assert data.shape == (2, *source.shape)
    # Positions in the patient are L, P, S there and R, A, S here.
    affine = np.eye(4)
    affine[:3, :3] = header["space directions"][1:].T
    affine[:3, 3] = header["space origin"]
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ affine, source.affine, atol=1e-4)
    target = np.isin(np.asarray(source.dataobj), [2])
    np.testing.assert_array_equal(data[0].astype(bool), target)
    assert data[1].sum() == (case.trajectory.voxel_dose >= 240).sum() > 0
    # ITK, with which Slicer reads, sees the same two layers at the same place.
    image = sitk.ReadImage(str(path))
    assert image.GetNumberOfComponentsPerPixel() == 2 and image.GetSize() == source.shape
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).transpose(3, 2, 1, 0), data)
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((1, 2, 3)),
                               (affine @ [1, 2, 3, 1])[:3], atol=1e-4)


def test_time_series(plain_case, tmp_path):
    export_series(plain_case.trajectory, tmp_path / "series.csv")
    with open(tmp_path / "series.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    trajectory = plain_case.trajectory
    assert len(rows) == len(trajectory.t)
    for name, values in (("time_s", trajectory.t), ("power_w", trajectory.power.sum(axis=1)),
                         ("target_at_dose_fraction", trajectory.coverage),
                         ("constraint_max_c", trajectory.constraint_temperature.max(axis=1))):
        np.testing.assert_allclose([float(row[name]) for row in rows], values, rtol=1e-5)
    last = rows[-1]
    assert last["hottest_constraint"] == "8"  # see conftest
    assert float(last["room_to_limit_k"]) == pytest.approx(43 - float(last["constraint_max_c"]),
                                                           abs=1e-3)
    on = trajectory.power.any(axis=1)
    assert [row["focus"] == "0" for row in rows] == (~on).tolist()


def test_quadratic_cells_have_their_middle_nodes_where_vtk_expects_them():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1.0]])
    nodes, cells = quadratic(points, np.array([[0, 1, 2, 3], [1, 2, 3, 4]]))
    assert len(nodes) == 5 + 9  # three edges belong to both cells
    for cell in cells:
        for middle, (a, b) in zip(cell[4:], ((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)),
                                  strict=True):
            np.testing.assert_allclose(nodes[middle], (nodes[cell[a]] + nodes[cell[b]]) / 2)


def test_dose_at_nodes_is_that_of_the_voxels_around_them(plain_case):
    anatomy, trajectory = plain_case.anatomy, plain_case.trajectory
    most = trajectory.voxel_dose.argsort()[-30:]
    points = anatomy.position(trajectory.voxel_index[most])
    at_voxels = _node_dose(points, anatomy, trajectory)
    np.testing.assert_allclose(at_voxels[-1], trajectory.voxel_dose[most]
                               * trajectory.snapshot_t[-1] / trajectory.t[-1], rtol=1e-5)
    assert (at_voxels[0] == 0).all()
    between = _node_dose(points + anatomy.spacing * [0.5, 0, 0], anatomy, trajectory)[-1]
    assert np.median(between / at_voxels[-1]) == pytest.approx(1, abs=0.5)
