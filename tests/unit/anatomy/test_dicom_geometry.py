"""Every slice and frame lies where its own header puts it, or the series is refused."""


import highdicom
import numpy as np
import pydicom
import pytest
from patient_maps import AFFINE, LPS, NAMES, block, ct_series, dicom_seg, multi_frame, write_itk
from pydicom.uid import JPEGLSLossless, RLELossless, generate_uid

from hifuflow.errors import InputError
from hifuflow.formats.dicom_frames import _decoded_by_itk
from hifuflow.formats.images import open_image

SHAPE = (7, 6, 9)


def values(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(-1000, 1000, shape)


def save(series, folder, names=None):
    folder.mkdir(exist_ok=True)
    for number, one in enumerate(series):
        name = names[number] if names else f"{number:03d}.dcm"
        one.save_as(folder / name, enforce_file_format=True)
    return folder


def assert_voxels_in_place(image, series):
    """By header arithmetic (PS3.3 C.7.6.2.1.1), pixel by pixel and without the reader's affine."""
    volume = image.layers()[0]
    to_index = np.linalg.inv(image.affine) @ np.diag([1e-3, 1e-3, 1e-3, 1]) @ LPS
    for one in series:
        rows, columns = np.mgrid[:one.Rows, :one.Columns]
        right, down = np.array(one.ImageOrientationPatient, float).reshape(2, 3)
        place = (np.array(one.ImagePositionPatient, float)
                 + columns[..., None] * right * float(one.PixelSpacing[1])
                 + rows[..., None] * down * float(one.PixelSpacing[0]))
        index = place @ to_index[:3, :3].T + to_index[:3, 3]
        assert np.abs(index - np.rint(index)).max() < 0.1
        found = volume[tuple(np.rint(index).astype(int).reshape(-1, 3).T)]
        np.testing.assert_array_equal(found, one.pixel_array.ravel())


def tilted(angle, shift=(0, 0, 0)):
    """Slices turned about R without turning the stack, as of a tilted gantry [mm]."""
    c, s = np.cos(angle), np.sin(angle)
    affine = np.array([[1, 0, 0, -30], [0, c, 0, 12], [0, s, 1, 5], [0, 0, 0, 1.0]])
    affine[:3, 2] += shift
    return affine @ np.diag([2, 1.5, 2.5, 1])


OBLIQUE = np.array([[0.8, 0.6, 0, 3], [-0.6, 0.8, 0, 4], [0, 0, 1, 5], [0, 0, 0, 1.0]])
AFFINES = {"straight": AFFINE, "oblique": OBLIQUE @ AFFINE, "tilted": tilted(0.26),
           "tilted the other way": tilted(-0.5), "shifted": tilted(0, (0.4, 0.2, 0)),
           "left-handed": AFFINE @ np.diag([1, 1, -1, 1])}


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("order", ["as scanned", "reversed", "any"])
def test_series_by_header_arithmetic(tmp_path, name, order):
    series = ct_series(SHAPE, AFFINES[name], values())
    order = {"as scanned": range(9), "reversed": range(8, -1, -1),
             "any": np.random.default_rng(1).permutation(9)}[order]
    image = open_image(save([series[k] for k in order], tmp_path / "s"))
    assert sorted(image.shape) == sorted(SHAPE)
    assert_voxels_in_place(image, series)
    np.testing.assert_allclose(abs(np.linalg.det(image.affine)),
                               abs(np.linalg.det(AFFINES[name])) * 1e-9, rtol=1e-9)


def test_regular_series_is_the_volume_of_highdicom(tmp_path):
    series = ct_series(SHAPE, OBLIQUE @ AFFINE, values())
    volume = highdicom.get_volume_from_series(series)
    image = open_image(save(series, tmp_path / "s"))
    to_index = np.linalg.inv(volume.affine) @ np.diag([-1e3, -1e3, 1e3, 1]) @ image.affine
    index = np.argwhere(np.ones(image.shape, bool))
    there = np.rint(index @ to_index[:3, :3].T + to_index[:3, 3]).astype(int)
    np.testing.assert_array_equal(image.layers()[0].ravel(), volume.array[tuple(there.T)])


@pytest.mark.parametrize("distance", [2.2, 3.3, 0.7, 4 / 3, 0.625, 5])
@pytest.mark.parametrize("digits", [1, 2, 4, 12])
def test_rounded_positions_are_even(tmp_path, distance, digits):
    """Positions with the digits that scanners write; the volume is that of the true distance."""
    affine = np.diag([1.0, 1, distance, 1])
    series = ct_series((4, 4, 60), affine, values((4, 4, 60)))
    for one in series:
        one.ImagePositionPatient = [round(float(x), digits) for x in one.ImagePositionPatient]
    image = open_image(save(series, tmp_path / "s"))
    assert image.spacing[2] == pytest.approx(distance * 1e-3, rel=1e-3)
    assert_voxels_in_place(image, series)


def test_each_slice_is_rescaled_by_its_own_header(tmp_path):
    series = ct_series(SHAPE, AFFINE, values())
    for k, one in enumerate(series):
        one.RescaleSlope, one.RescaleIntercept = 1 + k / 8, -100 * k
    volume = open_image(save(series, tmp_path / "s")).layers()[0]
    for k, one in enumerate(series):
        expected = one.pixel_array.T * (1 + k / 8) - 100 * k
        np.testing.assert_allclose(volume[:, :, k], expected, rtol=1e-6)


def edited(series, change, where=(3,)):
    for k in where:
        change(series[k])
    return series


def moved(*by):
    return lambda one: setattr(one, "ImagePositionPatient", [
        float(a) + b for a, b in zip(one.ImagePositionPatient, by, strict=True)])


def put(name, value):
    return lambda one: setattr(one, name, value)


def without(name):
    return lambda one: delattr(one, name)


def bent(series):
    for k, one in enumerate(series):
        moved(0.05 * k**2, 0, 0)(one)
    return series


def turn_a_little(one):
    one.ImageOrientationPatient = [1, 0, 0, 0, 0.9994, 0.0346]


FAULTY = {
    "a slice is missing": (lambda s: s[:4] + s[5:], "slices are missing"),
    "half of them are missing": (lambda s: s[:3] + s[7:], "slices are missing"),
    "a slice is moved along": (lambda s: edited(s, moved(0, 0, 0.5)), "missing|beside its place"),
    "a slice is moved sideways": (lambda s: edited(s, moved(0.8, 0, 0)), "003.*beside its place"),
    "bent stack": (lambda s: bent(s), "beside its place"),
    "two in one place": (lambda s: s + ct_series((*SHAPE[:2], 2), AFFINE), "lie in one place"),
    "another spacing": (lambda s: edited(s, put("PixelSpacing", [3, 4]), range(5, 9)),
                        r"differ in PixelSpacing: 1.5\\2, but 3\\4"),
    "another size": (lambda s: edited(s, put("Rows", 3)), "differ in Rows and Columns"),
    "turned": (lambda s: edited(s, put("ImageOrientationPatient", [0, 1, 0, 0, 0, -1])),
               "differ in ImageOrientationPatient.*003"),
    "turned a little": (lambda s: edited(s, turn_a_little), "ImageOrientationPatient"),
    "all turned askew": (lambda s: edited(s, put("ImageOrientationPatient", [1, 0, 0, 0, 2, 0]),
                                          range(9)), "no pair of perpendicular unit vectors"),
    "no position": (lambda s: edited(s, without("ImagePositionPatient")),
                    "no ImagePositionPatient"),
    "no orientation": (lambda s: edited(s, without("ImageOrientationPatient"), range(9)),
                       "no ImageOrientationPatient"),
    "no spacing": (lambda s: edited(s, without("PixelSpacing"), range(9)), "no PixelSpacing"),
    "spacing of one number": (lambda s: edited(s, put("PixelSpacing", [2])), "no PixelSpacing"),
    "spacing of zero": (lambda s: edited(s, put("PixelSpacing", [0, 2]), range(9)), "PixelSpacing"),
    "another frame of reference": (lambda s: edited(s, put("FrameOfReferenceUID", generate_uid())),
                                   "2 frames of reference"),
    "one slice": (lambda s: s[:1], "three-dimensional"),
    "colour": (lambda s: edited(s, put("SamplesPerPixel", 3), range(9)), "3 values a pixel"),
    "pixels cut short": (lambda s: edited(s, put("PixelData", b"\0" * 20)), "not a readable image"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_irregular_series_are_refused_with_the_reason(tmp_path, fault):
    change, words = FAULTY[fault]
    series = change(ct_series(SHAPE, AFFINE, values()))
    for one in series:
        one.SeriesInstanceUID = series[0].SeriesInstanceUID
        if fault == "two in one place":
            one.FrameOfReferenceUID = series[0].FrameOfReferenceUID
    save(series, tmp_path / "s")
    with pytest.raises(InputError, match=words) as caught:
        open_image(tmp_path / "s", "anatomy.image").layers()
    assert caught.value.key == "anatomy.image" and caught.value.allowed


def test_what_is_no_slice_is_left_out_and_named(tmp_path, caplog):
    series = ct_series(SHAPE, AFFINE, values())
    scout = ct_series((5, 5, 1), OBLIQUE)[0]
    scout.SeriesInstanceUID = series[0].SeriesInstanceUID
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(series, tmp_path / "s")
    save([scout], tmp_path / "s", ["scout.dcm"])
    seg = dicom_seg(series, np.zeros(SHAPE[::-1], np.uint8) + 1, ["all"])
    seg.save_as(tmp_path / "s" / "seg.dcm")
    (tmp_path / "s" / "README.txt").write_text("no DICOM file")
    (tmp_path / "s" / "copy.dcm").write_bytes((tmp_path / "s" / "003.dcm").read_bytes())
    with caplog.at_level("INFO", logger="hifuflow"):
        image = open_image(tmp_path / "s")
    assert_voxels_in_place(image, series)
    assert "no images: seg.dcm" in caplog.text and "localizers: scout.dcm" in caplog.text
    assert "copy.dcm is a copy of 003.dcm" in caplog.text
    other = pydicom.dcmread(tmp_path / "s" / "copy.dcm")
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(tmp_path / "s" / "copy.dcm")
    with pytest.raises(InputError, match="one instance with two contents"):
        open_image(tmp_path / "s")


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_a_damaged_slice_is_not_left_out(tmp_path, content):
    """At an end of the stack nothing else would tell that it is missing."""
    save(ct_series(SHAPE, AFFINE, values()), tmp_path / "s")
    file = tmp_path / "s" / "008.dcm"
    file.write_bytes(file.read_bytes()[:200] if content is None else content)
    with pytest.raises(InputError, match=r"not a readable image: 008\.dcm"):
        open_image(tmp_path / "s")


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("as_folder", [False, True])
def test_frames_by_their_own_positions(tmp_path, name, as_folder):
    series = ct_series(SHAPE, AFFINES[name], values())
    for one in series:
        one.RescaleIntercept = 0
    made = multi_frame(series, np.random.default_rng(2).permutation(9))
    made.save_as(tmp_path / "frames.dcm")
    image = open_image(tmp_path if as_folder else tmp_path / "frames.dcm", "anatomy.image")
    assert_voxels_in_place(image, series)


def test_frames_of_two_phases_are_refused(tmp_path):
    series = ct_series(SHAPE, AFFINE, values())
    made = multi_frame(series, range(9))
    groups = made.PerFrameFunctionalGroupsSequence
    for k in range(5, 9):
        groups[k].PlanePositionSequence = groups[k - 4].PlanePositionSequence
    made.save_as(tmp_path / "frames.dcm")
    with pytest.raises(InputError, match=r"frame 5 of frames\.dcm, frame 9.*lie in one place"):
        open_image(tmp_path / "frames.dcm")


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_pixels(tmp_path, syntax):
    series = ct_series(SHAPE, AFFINE, values())
    for one in series:
        one.RescaleSlope, one.RescaleIntercept = 2, -50
    raw = open_image(save(series, tmp_path / "raw")).layers()[0]
    for one in series:
        one.compress(syntax)
    image = open_image(save(series, tmp_path / "packed"))
    np.testing.assert_array_equal(image.layers()[0], raw)
    if syntax == JPEGLSLossless:  # as where pydicom has no decoder
        file = tmp_path / "packed" / "003.dcm"
        stored = _decoded_by_itk(file, pydicom.dcmread(file))[0]
        np.testing.assert_array_equal(2 * stored.T - 50, raw[:, :, 3])


def masks():
    body, tumour = block() > 0, block() == 3
    return body, tumour


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("source", ["as scanned", "reversed", "by name"])
@pytest.mark.parametrize("left_out", [False, True])
def test_segmentation_frames(tmp_path, name, source, left_out):
    """Frames that are left out are background of the whole scan, whatever lists its slices."""
    labels = block()
    labels[..., 9:12] = 0  # frames left out in between, too
    labels[8, 9, 10] = 3  # but for one of one segment
    series = ct_series(labels.shape, AFFINES[name])
    for k, one in enumerate(series):  # as scanners number them
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{k + 1}"
    order = {"as scanned": range(26), "reversed": range(25, -1, -1),
             "by name": sorted(range(26), key=str)}[source]
    pixels = np.stack([labels == key for key in NAMES], -1).transpose(2, 1, 0, 3).astype(np.uint8)
    seg = dicom_seg([series[k] for k in order], pixels[list(order)], NAMES.values(),
                    omit_empty_frames=left_out)
    seg.save_as(tmp_path / "m.dcm")
    image = open_image(tmp_path / "m.dcm")
    (found,) = image.labels()
    back = np.linalg.inv(AFFINES[name]) @ np.diag([1e3, 1e3, 1e3, 1]) @ image.affine
    index = np.argwhere(np.ones(found.shape, bool)) @ back[:3, :3].T + back[:3, 3]
    np.testing.assert_allclose(index, np.rint(index), atol=1e-6)
    assert found.shape == labels.shape
    number = np.array([0, 1, 0, 3, 0, 0, 0, 2])  # segments are numbered from 1 in their order
    there = tuple(np.rint(index).astype(int).T)
    np.testing.assert_array_equal(found.ravel(), number[labels][there])
    assert not image.sparse


def test_a_list_of_slices_in_no_order_is_said(tmp_path, caplog):
    labels = block()
    series = ct_series(labels.shape, AFFINE)
    order = np.random.default_rng(3).permutation(26)
    pixels = (labels == 3).transpose(2, 1, 0).astype(np.uint8)
    seg = dicom_seg([series[k] for k in order], pixels[order], ["T"], omit_empty_frames=True)
    seg.save_as(tmp_path / "m.dcm")
    image = open_image(tmp_path / "m.dcm")
    assert image.sparse and image.shape == (22, 24, 5)
    with caplog.at_level("WARNING", logger="hifuflow"):
        (found,) = image.labels()
    assert "does not tell how far the scan reached" in caplog.text
    np.testing.assert_array_equal(found, labels[..., 9:14] == 3)


def test_fractional_segments_are_cut_at_one_half(tmp_path, caplog):
    share = np.zeros(SHAPE)
    share[2:5, 2:4, 3:6] = 0.7
    share[2:5, 2:4, 6] = 0.4
    series = ct_series(SHAPE, AFFINE)
    seg = dicom_seg(series, share.transpose(2, 1, 0), ["T"], "FRACTIONAL",
                    fractional_type="PROBABILITY", max_fractional_value=200)
    seg.save_as(tmp_path / "m.dcm")
    with caplog.at_level("INFO", logger="hifuflow"):
        (found,) = open_image(tmp_path / "m.dcm").labels()
    np.testing.assert_array_equal(found, share.astype(np.float32) >= 0.5)
    assert "FRACTIONAL segmentation (PROBABILITY); values of at least 0.5" in caplog.text


def test_label_map_segmentation(tmp_path):
    labels = np.where(block() == 7, 2, block())
    seg = dicom_seg(ct_series(labels.shape, AFFINE), labels.transpose(2, 1, 0).astype(np.uint8),
                    ["a", "b", "c"], "LABELMAP")
    seg.save_as(tmp_path / "m.dcm")
    image = open_image(tmp_path / "m.dcm")
    np.testing.assert_array_equal(image.labels()[0], labels)
    assert [(s.label, s.name) for s in image.segments if s.label] == [(1, "a"), (2, "b"), (3, "c")]


def test_a_segmentation_is_the_volume_of_highdicom(tmp_path):
    series = ct_series(block().shape, OBLIQUE @ AFFINE)
    seg = dicom_seg(series, np.stack(masks(), -1).transpose(2, 1, 0, 3).astype(np.uint8),
                    ["body", "tumour"], omit_empty_frames=True)
    seg.save_as(tmp_path / "m.dcm")
    volume = highdicom.seg.segread(tmp_path / "m.dcm").get_volume()
    image = open_image(tmp_path / "m.dcm")
    layers = image.labels()
    to_index = np.linalg.inv(image.affine) @ np.diag([-1e-3, -1e-3, 1e-3, 1]) @ volume.affine
    index = np.argwhere(np.ones(volume.spatial_shape, bool))
    there = np.rint(index @ to_index[:3, :3].T + to_index[:3, 3]).astype(int)
    for number, layer in enumerate(layers, 1):
        np.testing.assert_array_equal(layer[tuple(there.T)] == number,
                                      volume.array[..., number - 1].ravel() > 0)
        assert (layer > 0).sum() == (volume.array[..., number - 1] > 0).sum()


def test_a_map_and_a_series_stay_apart(tmp_path):
    write_itk(tmp_path / "m.nrrd", block(), AFFINE)
    with pytest.raises(InputError, match="0 DICOM series"):
        open_image(tmp_path)
