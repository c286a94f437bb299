"""A wrong unit of length is noticed by the size of the body; a small body that is meant is not."""

import numpy as np
import pytest
from patient_maps import AFFINE, anatomy_of, block, section, write_itk, write_nifti
from test_mesh_as_input import body, config, write

from hifuflow.errors import InputError

BODY = np.array([16 * 2, 18 * 1.5, 18])  # edges of the block's body [mm]


def scaled(path, by, **changes):
    """The block `by` times as large; its body measures 32 x 27 x 18 mm times that."""
    write_nifti(path, block(), np.diag([by, by, by, 1]) @ AFFINE)
    made = section(path)
    made["anatomy"].update({"crop_margin_mm": 2000, **changes})
    made["transducer"] = {**made["transducer"], "max_blocked_fraction": 1}
    return made


@pytest.mark.parametrize("by, words", [
    (0.1, "measures 3.2 x 2.7 x 1.8 mm.*is its unit of length right"),  # cm under a header of mm
    (0.3, "measures 9.6 x 8.1 x 5.4 mm")])
def test_no_body_has_this_size(tmp_path, by, words):
    with pytest.raises(InputError, match=words) as caught:
        anatomy_of(scaled(tmp_path / "m.nii", by))
    assert str(caught.value.file).endswith("m.nii") and "body_extent_mm" in caught.value.allowed


@pytest.mark.parametrize("edges, words", [((60, 45, 30), "1080 x 810 x 540 mm"),
                                          ((130, 20, 20), "2340 x 360 x 360 mm")])
def test_no_body_is_as_large(tmp_path, edges, words):
    """Millimetres in a header of centimetres."""
    labels = np.zeros(np.array(edges) + 10, np.int16)
    labels[tuple(slice(5, 5 + n) for n in edges)] = 1
    labels[10:13, 10:13, 10:13] = 3
    write_nifti(tmp_path / "m.nii", labels, np.diag([18, 18, 18, 1]))
    made = section(tmp_path / "m.nii", cut_regions=[])
    del made["regions"]["muscle"]
    with pytest.raises(InputError, match=words):
        anatomy_of(made)


@pytest.mark.parametrize("by, small", [(0.4, True), (1, True), (2, False), (20, False)])
def test_parts_of_a_body_pass(tmp_path, by, small, caplog):
    anatomy = anatomy_of(scaled(tmp_path / "m.nii", by))
    assert anatomy.regions["lump"]["volume_m3"] == pytest.approx(
        (block() == 3).sum() * 3e-9 * by**3)
    assert ("the body measures only" in caplog.text) == small


def test_the_patient_file_says_otherwise(tmp_path, caplog):
    """A slab of skin in voxels of 0.1 mm."""
    anatomy = anatomy_of(scaled(tmp_path / "m.nii", 0.1, body_extent_mm=[2, 5]))
    assert anatomy.spacing.min() == pytest.approx(1e-4) and "measures only" not in caplog.text
    with pytest.raises(InputError, match=r"body_extent_mm = \[2, 5\].*measures 32 x 27 x 18 mm"):
        anatomy_of(scaled(tmp_path / "m.nii", 1, body_extent_mm=[2, 5]))


def test_what_is_no_body_does_not_count(tmp_path):
    labels = np.full((40, 40, 40), 4, np.int16)
    labels[18:22, 18:22, 18:22] = 1
    labels[19:21, 19:21, 19:21] = 3
    write_itk(tmp_path / "m.nrrd", labels, np.eye(4))
    made = section(tmp_path / "m.nrrd", cut_regions=[])
    del made["regions"]["muscle"]
    made["anatomy"]["outside"] = [4]
    with pytest.raises(InputError, match="measures 4 x 4 x 4 mm"):
        anatomy_of(made)


def test_a_mesh_as_well(tmp_path):
    points, cells, tags = body()
    write(tmp_path / "m.vtu", points * 0.1, cells, tags, "regions")  # centimetres
    with pytest.raises(InputError, match=r"measures 6 x 5 x .*anatomy\.mesh\.unit"):
        anatomy_of(config(tmp_path / "m.vtu", voxel_size_mm=0.1))
    made = config(tmp_path / "m.vtu", voxel_size_mm=0.1)
    made["anatomy"]["body_extent_mm"] = [3, 10]
    assert anatomy_of(made).body_mask.sum() == 60 * 50 * 30  # before the cut region
