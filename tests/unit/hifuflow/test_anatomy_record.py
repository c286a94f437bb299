"""What an anatomy tells of its label map, on maps small enough to count by hand."""

import nibabel as nib
import numpy as np
import pytest
from record_examples import save

from hifuflow.job import read_json
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.outputs import Outputs

SPACING = np.array([0.001, 0.0015, 0.002])
ORIGIN = np.array([0.01, -0.02, 0.03])


@pytest.fixture
def anatomy():
    """Fat with a target of two regions in two parts, of five and two voxels."""
    labels = np.ones((6, 5, 7), np.int16)
    labels[0] = 0
    labels[1, 1, 1:4], labels[1, 2, 1:3] = 2, 3
    labels[2, 3, 3], labels[3, 3, 3] = 2, 3  # touches the other part with a corner only
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = ORIGIN
    regions = {name: {"label": label, "tissue": tissue, "volume_m3": 1e-9} for label, (name, tissue)
               in enumerate([("fat", "fat"), ("tumour", "tumour"), ("cyst", "water")], 1)}
    return Anatomy(labels, affine, regions, ["tumour", "cyst"], labels == 0,
                   np.array([0.0, 0, 1]), "source")


def test_voxels(anatomy):
    np.testing.assert_allclose(anatomy.spacing, SPACING)
    assert anatomy.voxel_volume == pytest.approx(3e-9)
    assert anatomy.body_mask.sum() == 5 * 5 * 7 and not anatomy.body_mask[0].any()
    assert anatomy.target_mask.sum() == 7 and set(anatomy.labels[anatomy.target_mask]) == {2, 3}


def test_spacing_may_be_changed_without_changing_the_anatomy(anatomy):
    anatomy.spacing[:] = 0
    np.testing.assert_allclose(anatomy.spacing, SPACING)


def test_components_of_the_target_are_connected_by_faces_and_the_largest_is_first(anatomy):
    assert anatomy.target_components == pytest.approx([5 * 3e-9, 2 * 3e-9])


def test_positions_are_those_of_nibabel_and_indices_their_inverse(anatomy):
    index = np.array([[0, 0, 0], [1, 2, 3], [5, 4, 6]])
    expected = nib.affines.apply_affine(anatomy.affine, index)
    np.testing.assert_allclose(anatomy.position(index), expected, rtol=1e-12)
    np.testing.assert_allclose(anatomy.index(expected), index, atol=1e-9)
    np.testing.assert_allclose(anatomy.position([1, 2, 3]), ORIGIN + SPACING * [1, 2, 3])


def test_table_leads_from_labels_to_the_values_of_tissues(anatomy):
    table = anatomy.table({"fat": 0.2, "tumour": 0.5, "water": 0.6}, outside=-1.0)
    np.testing.assert_array_equal(table, [-1.0, 0.2, 0.5, 0.6])
    assert anatomy.table({"fat": 1, "tumour": 2, "water": 3}, 0).tolist() == [0, 1, 2, 3]


def test_regions_json_tells_of_the_target(anatomy, tmp_path):
    target = read_json(save(anatomy, tmp_path) / "regions.json")["target"]
    assert target["regions"] == ["tumour", "cyst"] and target["n_components"] == 2
    assert target["volume_m3"] == pytest.approx(7 * 3e-9)
    assert target["component_volume_m3"] == pytest.approx([5 * 3e-9, 2 * 3e-9])
    voxels = np.argwhere(anatomy.labels >= 2)
    np.testing.assert_allclose(target["centroid_m"], ORIGIN + voxels.mean(axis=0) * SPACING)


@pytest.mark.parametrize("name", ["labels", "coupling"])
def test_images_open_in_the_patients_frame_in_millimetres(anatomy, tmp_path, name):
    image = nib.load(save(anatomy, tmp_path) / f"{name}.nii.gz")
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert image.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(image.affine[:3, 3], ORIGIN * 1e3, rtol=1e-6)
    np.testing.assert_allclose(np.diag(image.affine), [*SPACING * 1e3, 1], rtol=1e-6)
    assert image.get_data_dtype() == (np.int16 if name == "labels" else np.uint8)


def test_outputs_tell_constraints_targets_and_limits_that_must_be_kept():
    outputs = Outputs(np.array(["constraint", "constraint", "target"]), np.zeros((3, 3)),
                      np.array([0, 0, 1e-9]), np.full(3, 37.0), np.array([43.0, 45.0, np.nan]),
                      soft=np.array([False, True, False]))
    assert outputs.constraint.tolist() == [True, True, False]
    assert outputs.target.tolist() == [False, False, True]
    np.testing.assert_array_equal(outputs.hard_limit, [43.0, np.inf, np.nan])
