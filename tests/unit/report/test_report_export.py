"""Exported images, opened with nibabel on the patient's own grid."""

import nibabel as nib
import numpy as np
import pytest

from hifuflow.errors import InputError
from report.export import export_images


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
    import SimpleITK as sitk

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
