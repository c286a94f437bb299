"""The treatment as DICOM objects: read back by pydicom, highdicom, dcmqi (as in 3D Slicer)."""

import json
import subprocess
import warnings
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
from patient_maps import ct_series, multi_frame
from structure_sets import save_series

from hifuflow.errors import InputError
from hifuflow.formats.images import open_image
from hifuflow.report.exports.dicom import export_dicom
from hifuflow.report.exports.images import export_images

LPS = np.diag([-1.0, -1, 1, 1])
TILT = np.array([[1, 0, 0, 0], [0, 1, 0.3, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])  # of a gantry
TURN = np.eye(4)
TURN[:3, :3] = [[0.96, 0.28, 0], [-0.28, 0.96, 0], [0, 0, 1]]


def scan_affine(anatomy, kind):
    """A scan around the anatomy, R, A, S [mm], and its shape."""
    low = anatomy.affine[:3, 3] * 1e3
    extent = np.array(anatomy.labels.shape) * anatomy.spacing * 1e3
    affine = np.diag([-1.5, -1.7, 2.5, 1.0])
    affine[:3, 3] = low + np.array([extent[0] + 9, extent[1] + 11, -26])
    shape = (66, 62, 46)
    if kind == "turned":
        middle = np.eye(4)
        middle[:3, 3] = low + extent / 2
        affine = middle @ TURN @ np.linalg.inv(middle) @ affine
    if kind == "tilted":
        middle = np.eye(4)
        middle[:3, 3] = low + extent / 2
        affine = middle @ TILT @ np.linalg.inv(middle) @ affine
    return affine, shape


def written(plain_case, tmp_path, kind="straight", names=None):
    affine, shape = scan_affine(plain_case.anatomy, kind)
    series = ct_series(shape, affine)
    folder = save_series(series if names is None else [series[k] for k in names],
                         tmp_path / "series")
    paths = [tmp_path / name for name in ("lesion.dcm", "peak.dcm", "dose.dcm")]
    export_dicom(plain_case.anatomy, plain_case.trajectory, 240.0, folder, *paths)
    return series, paths


def voxels(folder, plain_case, tmp_path):
    """What the NIfTI export puts on the same series."""
    export_images(plain_case.anatomy, plain_case.trajectory, folder, tmp_path / "p.nii.gz",
                  tmp_path / "d.nii.gz")
    return [nib.load(tmp_path / name) for name in ("p.nii.gz", "d.nii.gz")]


def place_of(frame):
    """Position of a frame's first pixel, L, P, S [mm]."""
    position = frame.PlanePositionSequence[0].ImagePositionPatient
    return np.array(position, float)


@pytest.mark.parametrize("kind", ["straight", "turned", "tilted"])
def test_every_frame_is_that_of_its_slice(plain_case, tmp_path, kind):
    rng = np.random.default_rng(0)
    series, paths = written(plain_case, tmp_path, kind, rng.permutation(46))
    slices = {tuple(np.round(np.array(one.ImagePositionPatient, float), 3)): one for one in series}
    images = voxels(tmp_path / "series", plain_case, tmp_path)
    to_index = [np.linalg.inv(image.affine) for image in images]
    for path, image, back in zip(paths[1:], images, to_index, strict=True):
        data, values = pydicom.dcmread(path), np.asarray(image.dataobj)
        assert data.Rows == series[0].Rows and data.Columns == series[0].Columns
        assert data.FrameOfReferenceUID == series[0].FrameOfReferenceUID
        assert data.StudyInstanceUID == series[0].StudyInstanceUID
        pixels, seen = data.pixel_array, set()
        for frame, found in zip(data.PerFrameFunctionalGroupsSequence, pixels, strict=True):
            place = place_of(frame)
            own = slices[tuple(np.round(place, 3))]
            assert own.SOPInstanceUID == (frame.DerivationImageSequence[0].SourceImageSequence[0]
                                          .ReferencedSOPInstanceUID)
            k = np.rint(back @ LPS @ [*place, 1])[2]
            np.testing.assert_array_equal(found, values[..., int(k)].T)
            seen.add(int(k))
        left_out = sorted(set(range(values.shape[2])) - seen)
        assert left_out and np.ptp(values[..., left_out]) == 0  # only where the model is not


@pytest.mark.parametrize("kind", ["straight", "turned", "tilted"])
def test_segments_are_target_and_lesion(plain_case, tmp_path, kind):
    _, (path, _, _) = written(plain_case, tmp_path, kind)
    with warnings.catch_warnings(action="ignore"):
        data = highdicom.seg.segread(path)
    assert [one.SegmentLabel for one in data.SegmentSequence] == ["Planned target", "Lesion"]
    source = open_image(path)
    layers = source.labels()
    voxel = abs(np.linalg.det(source.affine[:3, :3]))

    def middle(segment):
        mask = np.any([layer == segment for layer in layers], axis=0)
        place = np.argwhere(mask).mean(axis=0) @ source.affine[:3, :3].T + source.affine[:3, 3]
        return place * 1e3, mask.sum()

    _, dose = voxels(tmp_path / "series", plain_case, tmp_path)
    treated = np.argwhere(np.asarray(dose.dataobj) >= 240)
    place, count = middle(2)
    assert count == len(treated)
    np.testing.assert_allclose(place, nib.affines.apply_affine(dose.affine, treated.mean(axis=0)),
                               atol=1e-3)
    target = plain_case.anatomy.position(np.argwhere(plain_case.anatomy.target_mask))
    place, count = middle(1)
    assert count * voxel == pytest.approx(len(target) * plain_case.anatomy.voxel_volume, rel=0.06)
    np.testing.assert_allclose(place, target.mean(axis=0) * 1e3, atol=0.6)


def test_values_say_what_they_are(plain_case, tmp_path):
    _, (_, peak, dose) = written(plain_case, tmp_path)
    for path, unit, code in ((peak, "Cel", "PEAK_TEMPERATURE"), (dose, "min", "CEM43")):
        data = pydicom.dcmread(path)
        mapping = data.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == unit
        assert mapping.LUTLabel == code
        assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
        assert "simulated" in data.SeriesDescription and data.ContentQualification == "RESEARCH"
        values = data.pixel_array
        assert values.dtype == np.float32
        image = voxels(tmp_path / "series", plain_case, tmp_path)[unit == "min"]
        assert values.max() == np.asarray(image.dataobj).max() > 50


def dcmqi(program, path, folder):
    """3D Slicer reads these objects with dcmqi."""
    import dcmqi

    folder.mkdir()
    found = Path(dcmqi.__file__).parent / "bin" / program
    subprocess.run([found, "--inputDICOM", str(path), "--outputDirectory", str(folder),
                    "-t", "nii"], check=True, capture_output=True)
    return folder


def test_dcmqi_reads_them_as_slicer_does(plain_case, tmp_path):
    _, (lesion, _, dose) = written(plain_case, tmp_path)
    folder = dcmqi("segimage2itkimage", lesion, tmp_path / "s")
    told = json.loads(next(folder.glob("*.json")).read_text())
    labels = [one["SegmentLabel"] for group in told["segmentAttributes"] for one in group]
    assert sorted(labels) == ["Lesion", "Planned target"]
    source = open_image(lesion)
    target = nib.load(sorted(folder.glob("*.nii*"))[0])
    mask = np.asarray(target.dataobj) > 0
    layers = source.labels()
    assert mask.sum() == sum((layer == 1).sum() for layer in layers)
    centre = nib.affines.apply_affine(target.affine, np.argwhere(mask).mean(axis=0))
    own = np.argwhere(layers[0] == 1).mean(axis=0) @ source.affine[:3, :3].T + source.affine[:3, 3]
    np.testing.assert_allclose(centre, own * 1e3, atol=1e-3)
    folder = dcmqi("paramap2itkimage", dose, tmp_path / "p")
    image = nib.load(next(folder.glob("*.nii*")))
    values = pydicom.dcmread(dose).pixel_array
    np.testing.assert_allclose(np.sort(np.asarray(image.dataobj).ravel()), np.sort(values.ravel()))


def test_the_same_treatment_has_the_same_identifiers(plain_case, tmp_path):
    _, paths = written(plain_case, tmp_path)
    first = [pydicom.dcmread(path).SOPInstanceUID for path in paths]
    export_dicom(plain_case.anatomy, plain_case.trajectory, 240.0, tmp_path / "series", *paths)
    assert [pydicom.dcmread(path).SOPInstanceUID for path in paths] == first
    assert len(set(first)) == 3


def test_a_series_in_one_file_of_frames(plain_case, tmp_path):
    """Enhanced multi-frame: as on the same slices one by one, whatever the order of its frames."""
    series, (_, _, expected) = written(plain_case, tmp_path)
    order = np.random.default_rng(1).permutation(len(series))
    multi_frame(series, order).save_as(tmp_path / "frames.dcm")
    paths = [tmp_path / name for name in "abc"]
    export_dicom(plain_case.anatomy, plain_case.trajectory, 240.0, tmp_path / "frames.dcm", *paths)

    def by_place(path):
        data = pydicom.dcmread(path)
        return {float(place_of(frame)[2]): pixels for frame, pixels in zip(
            data.PerFrameFunctionalGroupsSequence, data.pixel_array, strict=True)}

    found, expected = by_place(paths[2]), by_place(expected)
    assert len(found) == len(series) and set(expected) <= set(found)
    for place, pixels in found.items():
        np.testing.assert_array_equal(pixels, expected.get(place, 0 * pixels))
    mask = [np.any([layer == 2 for layer in open_image(path).labels()], axis=0).sum()
            for path in (paths[0], tmp_path / "lesion.dcm")]
    assert mask[0] == mask[1] > 0


def without_study(series):
    for one in series:
        del one.StudyInstanceUID


def half(series):
    del series[:23]


@pytest.mark.parametrize("fault, words", [(without_study, "give no StudyInstanceUID"),
                                          (half, "of the target's .* lie beside the series")])
def test_a_series_that_cannot_be_referred_to_is_refused(plain_case, tmp_path, fault, words):
    affine, shape = scan_affine(plain_case.anatomy, "straight")
    series = ct_series(shape, affine)
    fault(series)
    folder = save_series(series, tmp_path / "series")
    with pytest.raises(InputError, match=words) as caught:
        export_dicom(plain_case.anatomy, plain_case.trajectory, 240.0, folder,
                     *[tmp_path / name for name in "abc"])
    assert caught.value.key == "export.dicom_series"
    assert not (tmp_path / "a").exists()


def test_headers_may_lack_what_may_be_empty(plain_case, tmp_path):
    affine, shape = scan_affine(plain_case.anatomy, "straight")
    series = ct_series(shape, affine)
    for one in series:
        for name in ("PatientName", "StudyID", "AccessionNumber", "PatientBirthDate"):
            delattr(one, name)
    folder = save_series(series, tmp_path / "series")
    export_dicom(plain_case.anatomy, plain_case.trajectory, 240.0, folder,
                 *[tmp_path / name for name in "abc"])
    assert pydicom.dcmread(tmp_path / "a").PatientID == "1"
