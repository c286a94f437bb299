"""DICOM structure sets: known areas, holes, several contours in a plane, gaps, wrong input."""

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from patient_maps import AFFINE, ct_series, dicom_seg
from structure_sets import ring, rtstruct, save, save_series

from hifuflow.anatomy.labelmap import read_label_map
from hifuflow.errors import InputError
from hifuflow.formats.filled import filled_contours
from hifuflow.formats.label_folder import open_labels

SHAPE = (60, 60, 21)
GRID = np.array([[-1.0, 0, 0, 30], [0, -1.0, 0, 30], [0, 0, 2, 0], [0, 0, 0, 1]])  # R, A, S
VOXEL = 2.0  # mm3


def folder_with(path, structures, kind="CLOSED_PLANAR", shape=SHAPE, affine=GRID, **changes):
    """A series with a structure set on it."""
    series = ct_series(shape, affine)
    save_series(series, path)
    data = rtstruct(structures, changes.get("frame_uid", series[0].FrameOfReferenceUID), kind)
    save(data, path / "rs.dcm")
    return path


def masks_of(path):
    """Name -> mask, in the order of the series' voxels."""
    image = open_labels(path)
    layers = image.labels()
    return {one.name: np.any([layer == one.label for layer in layers], axis=0)
            for one in image.segments}


def slab(contours_at, first=5, last=14):
    """The same contours on slices, each 2 mm thick."""
    return [points for k in range(first, last + 1) for points in contours_at(2.0 * k)]


def polygon(corners, place):
    return np.column_stack([corners, np.full(len(corners), place)])


STAR = np.array([[20.3 * r * np.cos(a), 20.3 * r * np.sin(a)] for r, a in
                 ((1 if i % 2 else 0.45, i * np.pi / 7) for i in range(14))])


def shoelace(corners):
    x, y = corners.T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def test_a_polygon_of_known_area_and_place(tmp_path):
    shifted = STAR + np.array([0.3, 0.7])
    folder = folder_with(tmp_path, {"star": slab(lambda z: [polygon(shifted, z)])})
    mask = masks_of(folder)["star"]
    assert mask.sum() * VOXEL == pytest.approx(shoelace(STAR) * 20, rel=0.01)
    centroid = np.argwhere(mask).mean(axis=0)
    np.testing.assert_allclose(centroid, [30.3, 30.7, 9.5], atol=0.1)


@pytest.mark.parametrize("corner", [0, 0.5])
@pytest.mark.parametrize("edge", [5, 9, 30])
def test_a_square_on_the_lattice_keeps_area_and_place(tmp_path, corner, edge):
    """Through the voxels' centres or between them: the same area, in its place."""
    square = corner + np.array([[0, 0], [edge, 0], [edge, edge], [0, edge]]) - edge // 2
    folder = folder_with(tmp_path, {"square": slab(lambda z: [polygon(square, z)])})
    mask = masks_of(folder)["square"]
    assert mask.sum() == pytest.approx(10 * edge**2, rel=0.01)
    middle = 30 + square.mean(axis=0)
    np.testing.assert_allclose(np.argwhere(mask).mean(axis=0)[:2], middle, atol=0.1)


def test_filled_as_another_library_does():
    """Holes and keyholes are parities of crossings, by Matplotlib's paths contour by contour."""
    rng = np.random.default_rng(0)
    grid = np.argwhere(np.ones((52, 52)))
    for _ in range(60):
        angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(5, 40)))
        radius = rng.uniform(5, 20, len(angle))
        outer = 25 + rng.uniform(0, 1, 2) + np.column_stack([radius * np.cos(angle),
                                                              radius * np.sin(angle)])
        inner = 25 + 0.3 * (outer - 25)
        keyhole = np.vstack([outer, outer[:1], inner[:1], inner[::-1]])
        expected = np.logical_xor(*(Outline(np.vstack([one, one[:1]]), closed=True)
                                    .contains_points(grid) for one in (outer, inner)))
        for contours in ([outer, inner], [keyhole]):
            found = filled_contours(contours, (52, 52))
            np.testing.assert_array_equal(found.ravel(), expected)


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_a_contour_within_another_is_a_hole(tmp_path, joined, kind):
    def pipe(z):
        outer, inner = ring((0.2, 0.4), (22, 18), z), ring((3, 1), (7.3, 8.1), z)
        return [np.vstack([outer, outer[:1], inner[::-1], inner[-1:]])] if joined else [
            outer, inner]

    mask = masks_of(folder_with(tmp_path, {"pipe": slab(pipe)}, kind))["pipe"]
    assert mask.sum() * VOXEL == pytest.approx(np.pi * (22 * 18 - 7.3 * 8.1) * 20, rel=0.01)
    assert not mask[33, 31, 10]


def test_several_contours_in_a_plane(tmp_path):
    both = slab(lambda z: [ring((-12.2, 0), (8, 9), z), ring((12.4, 3), (9, 7), z)])
    mask = masks_of(folder_with(tmp_path, {"kidneys": both}))["kidneys"]
    assert mask.sum() * VOXEL == pytest.approx(np.pi * (8 * 9 + 9 * 7) * 20, rel=0.01)


def test_every_second_slice_is_interpolated_and_said(tmp_path, caplog):
    def radius(z):
        return 14 + 0.3 * (z - 20)

    drawn = [ring((0, 0), (radius(z), radius(z)), z) for z in range(8, 33, 4)]
    folder = folder_with(tmp_path, {"cone": drawn})
    with caplog.at_level("INFO", logger="hifuflow"):
        mask = masks_of(folder)["cone"]
    assert "structure 'cone': 6 slices between its contours are interpolated" in caplog.text
    area = mask.sum(axis=(0, 1))
    for k in range(4, 17):
        assert area[k] == pytest.approx(np.pi * radius(2 * k) ** 2, rel=0.03)
    # Each contour stands for its 4 mm: half a slice more at both ends.
    whole = sum(np.pi * radius(z) ** 2 * 4 for z in range(8, 33, 4))
    assert mask.sum() * VOXEL == pytest.approx(whole, rel=0.01)


def test_a_gap_stays_a_gap_and_is_said(tmp_path, caplog):
    drawn = [ring((0, 0), (9, 9), 2.0 * k) for k in (2, 3, 4, 5, 10, 11, 12)]
    mask = masks_of(folder_with(tmp_path, {"two": drawn}))["two"]
    np.testing.assert_array_equal(np.flatnonzero(mask.any(axis=(0, 1))),
                                  [2, 3, 4, 5, 10, 11, 12])
    assert "1 gaps between its contours, of up to 5 slices, stay empty" in caplog.text


def test_one_forgotten_slice_is_filled_where_both_sides_overlap(tmp_path):
    drawn = [ring((0, 0), (9, 9), 2.0 * k) for k in (2, 3, 5, 6)]
    apart = [ring((-15 if k < 4 else 15, 0), (6, 6), 2.0 * k) for k in (2, 3, 5, 6)]
    masks = masks_of(folder_with(tmp_path, {"one": drawn, "other": apart}))
    assert masks["one"][..., 4].sum() == masks["one"][..., 3].sum()
    assert not masks["other"][..., 4].any()


def test_contours_between_slices_keep_their_place_and_volume(tmp_path):
    drawn = [ring((0, 0), (12, 10), 2.0 * k + 1) for k in range(4, 12)]
    mask = masks_of(folder_with(tmp_path, {"lump": drawn}))["lump"]
    assert mask.sum() * VOXEL == pytest.approx(np.pi * 120 * 16, rel=0.02)
    assert np.argwhere(mask)[:, 2].mean() == pytest.approx(8.0, abs=0.05)


def test_overlapping_structures_are_layers(tmp_path):
    body = slab(lambda z: [ring((0, 0), (25, 25), z)])
    lump = slab(lambda z: [ring((2, 1), (6, 6), z)], 8, 11)
    source = read_label_map(folder_with(tmp_path, {"EXTERNAL": body, "GTV": lump}))
    assert len(source.layers) == 2
    assert [(one.label, one.name) for one in source.segments] == [(1, "EXTERNAL"), (2, "GTV")]
    inside = source.layers[1] == 2
    assert (source.layers[0][inside] == 1).all()


def test_without_its_series_a_structure_set_is_on_its_own_slices(tmp_path, caplog):
    data = rtstruct({"lump": slab(lambda z: [ring((40.2, -7.7), (9, 12), z)])})
    with caplog.at_level("INFO", logger="hifuflow"):
        source = read_label_map(save(data, tmp_path / "rs.dcm"))
    assert "without its series: on slices 2 mm apart" in caplog.text
    spacing = np.diag(source.affine)[:3] * 1e3
    np.testing.assert_allclose(spacing, [1, 1, 2])
    mask = source.layers[0] == 1
    assert mask.sum() * VOXEL == pytest.approx(np.pi * 9 * 12 * 20, rel=0.01)
    centroid = np.argwhere(mask).mean(axis=0) * spacing + source.affine[:3, 3] * 1e3
    np.testing.assert_allclose(centroid, [-40.2, 7.7, 19], atol=0.1)
    assert source.sparse


def sagittal():
    return [ring((0, 0), (9, 9), 0)[:, [2, 0, 1]] + [2.0 * k, 0, 20] for k in range(5)]


def test_sagittal_contours_without_a_series(tmp_path):
    source = read_label_map(save(rtstruct({"lump": sagittal()}), tmp_path / "rs.dcm"))
    mask = source.layers[0] == 1
    volume = mask.sum() * np.linalg.det(source.affine[:3, :3]) * 1e9
    assert volume == pytest.approx(np.pi * 81 * 10, rel=0.01)


def points_only(data):
    for item in data.ROIContourSequence[0].ContourSequence:
        item.ContourGeometricType = "POINT"


def miscounted(data):
    data.ROIContourSequence[0].ContourSequence[1].NumberOfContourPoints = 7


def not_finite(data):
    data.ROIContourSequence[0].ContourSequence[1].ContourData[4] = "1e999"


def of_nothing(data):
    data.ROIContourSequence[0].ReferencedROINumber = 99


def no_contours(data):
    del data.ROIContourSequence


@pytest.mark.parametrize("fault, words", [
    (points_only, "none of its 1 structures has a closed contour"),
    (no_contours, "none of its 1 structures has a closed contour"),
    (miscounted, "a contour of structure 'lump' holds 600 numbers.*7 points"),
    (not_finite, "not a readable image|three finite numbers"),
    (of_nothing, r"structures that it does not name: \[99\]")])
@pytest.mark.parametrize("beside", [True, False])
def test_wrong_structure_sets_are_one_error(tmp_path, fault, words, beside):
    series = ct_series(SHAPE, GRID)
    if beside:
        save_series(series, tmp_path)
    data = rtstruct({"lump": slab(lambda z: [ring((0, 0), (9, 9), z)])},
                    series[0].FrameOfReferenceUID)
    fault(data)
    path = save(data, tmp_path / "rs.dcm")
    with pytest.raises(InputError, match=words):
        read_label_map(tmp_path if beside else path)


def test_a_contour_across_slices_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"structure 'lump' at .* lies across [\d.e+]+ slices"):
        read_label_map(folder_with(tmp_path, {"lump": sagittal()}))


def test_contours_in_one_plane_tell_no_thickness(tmp_path):
    path = save(rtstruct({"lump": [ring((0, 0), (9, 9), 4)]}), tmp_path / "rs.dcm")
    with pytest.raises(InputError, match="all its contours lie in one plane"):
        read_label_map(path)


def test_a_structure_beside_the_series_is_refused_and_one_partly_beside_is_said(tmp_path, caplog):
    far = slab(lambda z: [ring((300, 0), (9, 9), z)])
    with pytest.raises(InputError, match="'far' lies wholly beside the series"):
        read_label_map(folder_with(tmp_path / "a", {"far": far}))
    partly = slab(lambda z: [ring((28, 0), (9, 9), z)], 15, 25)
    mask = masks_of(folder_with(tmp_path / "b", {"partly": partly}))["partly"]
    assert "'partly' reaches beyond the series" in caplog.text
    assert 0 < mask.sum() * VOXEL < np.pi * 81 * 22


def test_another_frame_of_reference_is_refused(tmp_path):
    folder = folder_with(tmp_path, {"lump": slab(lambda z: [ring((0, 0), (9, 9), z)])},
                         frame_uid="1.2.3")
    with pytest.raises(InputError, match=r"rs\.dcm is of another frame of reference"):
        read_label_map(folder)


@pytest.mark.parametrize("with_scan", [True, False])
def test_a_dose_and_a_plan_beside_it_are_no_slices(tmp_path, with_scan):
    structures = {"lump": slab(lambda z: [ring((0, 0), (9, 9), z)])}
    folder = folder_with(tmp_path, structures)
    if not with_scan:
        for file in folder.glob("ct_*"):
            file.unlink()
    for modality in ("RTDOSE", "RTPLAN"):
        other = ct_series((20, 20, 1), AFFINE)[0]
        other.Modality = modality
        save(other, folder / f"{modality}.dcm")
    mask = masks_of(folder)["lump"]
    assert mask.sum() * VOXEL == pytest.approx(np.pi * 81 * 20, rel=0.01)


def test_two_segmentations_in_a_folder_are_named(tmp_path):
    folder = folder_with(tmp_path, {"lump": slab(lambda z: [ring((0, 0), (9, 9), z)])})
    (folder / "rs2.dcm").write_bytes((folder / "rs.dcm").read_bytes())
    with pytest.raises(InputError, match=r"2 segmentations: rs\.dcm, rs2\.dcm"):
        read_label_map(folder)


def test_a_segmentation_beside_its_series_has_the_series_extent(tmp_path):
    labels = np.zeros((12, 13, 14), np.uint8)
    labels[3:6, 4:9, 5:8] = 1
    series = ct_series(labels.shape, AFFINE)
    save_series(series, tmp_path)
    seg = dicom_seg(series[4:10], labels.transpose(2, 1, 0)[4:10], ["lump"],
                    omit_empty_frames=True)
    seg.save_as(tmp_path / "seg.dcm")
    source = read_label_map(tmp_path)
    assert not source.sparse
    np.testing.assert_array_equal(source.layers[0], labels)
    assert read_label_map(tmp_path / "seg.dcm").layers[0].shape != labels.shape
