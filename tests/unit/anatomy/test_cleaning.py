"""Noise of a segmentation changes nothing but a word in the log; what is no noise stays."""

import numpy as np
import pytest
from patient_maps import anatomy_of, section, write_nifti

from hifuflow.errors import InputError
from hifuflow.provenance import ROOT
from hifuflow.study.patient import load_patient

SIZES = {"specks_mm3": 30, "stray_target_mm3": 10, "holes_mm3": 30}
CASES = ROOT.parent / "shared" / "cases" / "patients" / "specks_of_muscle"


def body():
    """Fat with a ball of tumour, muscle behind it; 1 mm voxels, the beam along +S."""
    labels = np.zeros((34, 34, 40), np.int16)
    labels[4:30, 4:30, 4:36] = 1
    labels[4:30, 4:30, 32:36] = 7
    index = np.indices(labels.shape)
    labels[((index - np.array([17, 17, 18])[:, None, None, None]) ** 2).sum(axis=0) <= 25] = 3
    return labels


def built(tmp_path, labels, cleaning=SIZES, **changes):
    write_nifti(tmp_path / "m.nii", labels, np.eye(4))
    config = section(tmp_path / "m.nii", **changes)
    config["anatomy"]["cleaning"] = cleaning
    return anatomy_of(config)


@pytest.mark.parametrize("specks", [[(17, 17, 8)], [(25, 25, 10), (9, 9, 30), (17, 16, 24)],
                                    [(17, 17, 8), (17, 17, 9), (18, 18, 10)]])
def test_specks_of_a_cut_region_cut_nothing(tmp_path, specks, caplog):
    clean, noisy = body(), body()
    for voxel in specks:
        noisy[voxel] = 7
    expected = built(tmp_path, clean)
    assert expected.record["notes"] == []
    found = built(tmp_path, noisy)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.coupling, expected.coupling)
    assert f"speck(s) of muscle of at most 30 mm3 or one voxel, {len(specks)} voxel" in caplog.text
    assert len(found.record["notes"]) == 1
    assert found.record["left_out_voxels"]["fat"]["cleaning"] == -len(specks)
    kept = built(tmp_path, noisy, {**SIZES, "specks_mm3": 0},
                 target={"region": "lump", "margin_mm": 0, "largest_component": False,
                         "max_left_out_fraction": 0.9})
    assert kept.body_mask.sum() < expected.body_mask.sum()  # and so they did


def test_a_thin_oblique_sheet_is_no_speck(tmp_path):
    labels = body()
    for i in range(4, 30):
        labels[i, 4:30, 26 + i % 2] = 7  # its voxels touch by edges alone
    sheet = built(tmp_path, labels)
    assert sheet.body_mask[:, :, :].sum() < built(tmp_path, body()).body_mask.sum()
    assert sheet.record["notes"] == []


@pytest.mark.parametrize("size, kept", [(10, False), (0, True)])
def test_stray_bits_of_the_target_are_not_treated(tmp_path, size, kept):
    labels = body()
    labels[9, 9, 9] = labels[25, 24:26, 12] = 3
    anatomy = built(tmp_path, labels, {**SIZES, "stray_target_mm3": size})
    whole = (body() == 3).sum()
    assert anatomy.target_mask.sum() == whole + 3 * kept
    assert ("2 stray bit(s) of lump" in " ".join(anatomy.record["notes"])) != kept


def test_a_second_lesion_is_no_stray_bit(tmp_path):
    labels = body()
    labels[8:11, 8:11, 9:12] = 3  # 27 mm3: above the size
    labels[15:20, 15:20, 15:20][labels[15:20, 15:20, 15:20] == 3] = 1  # what is left is small, too
    assert built(tmp_path, labels).target_mask.sum() == (labels == 3).sum()


def test_holes_are_filled_up_to_their_size(tmp_path):
    labels = body()
    labels[10, 10, 10] = labels[25, 25, 25] = labels[25, 25, 26] = 0
    labels[8:12, 20:24, 20:24] = 0  # 64 mm3
    labels[17, 17, 18] = 0  # within the tumour
    anatomy = built(tmp_path, labels)
    assert anatomy.record["enclosed_outside_voxels"] == 64
    assert anatomy.target_mask.sum() == (body() == 3).sum()
    assert "3 hole(s) in the body of at most 30 mm3 or one voxel, 4 voxel(s)" in " ".join(
        anatomy.record["notes"])


def test_a_target_partly_behind_a_cut_is_treated_without_that_part(tmp_path):
    labels = body()
    labels[22:28, 14:21, 8:12] = 7  # in front of its rim, seen along the beam
    lost = sum((labels[i, j, 12:] == 3).sum() for i in range(22, 28) for j in range(14, 21))
    whole = (labels == 3).sum()
    assert 0 < lost < 0.1 * whole
    target = {"region": "lump", "margin_mm": 0, "largest_component": False}
    anatomy = built(tmp_path, labels, target={**target, "max_left_out_fraction": 0.1})
    assert anatomy.target_mask.sum() == whole - lost
    assert f"{lost} of the target's {whole} voxels lie behind the cut" in anatomy.record["notes"][0]
    with pytest.raises(InputError, match=f"{lost} of the target's.*at most 0% is left out"):
        built(tmp_path, labels, target={**target, "max_left_out_fraction": 0.0})


def test_an_organ_without_its_body_is_named(tmp_path):
    regions = {"lump": {"labels": [3], "tissue": "tumour"},
               "kidney": {"labels": [1, 7], "tissue": "kidney"}}
    tissues = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml").tissues
    bare = built(tmp_path, body(), regions=regions, cut_regions=[], tissues=tissues)
    assert "100% kidney: an organ without its body" in bare.record["notes"][0]
    inside = body()
    inside[4:30, 4:30, 4:8] = inside[:8][inside[:8] > 0] = 9
    inside[26:30][inside[26:30] > 0] = inside[:, :8][inside[:, :8] > 0] = 9
    inside[:, 26:][inside[:, 26:] > 0] = inside[..., 32:][inside[..., 32:] > 0] = 9
    regions["fat"] = {"labels": [9], "tissue": "fat"}
    regions["kidney"]["labels"] = [1]
    assert built(tmp_path, inside, regions=regions, cut_regions=[],
                 tissues=tissues).record["notes"] == []


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no sample data at {CASES}")
@pytest.mark.parametrize("name", ["speck_beside_target", "speck_in_front_of_target", "ten_specks"])
def test_specks_of_the_shared_case(name):
    clean, noisy = (anatomy_of(load_patient(CASES / f"{file}.yaml").section("anatomy"))
                    for file in ("clean", name))
    np.testing.assert_array_equal(noisy.labels, clean.labels)
    assert clean.record["notes"] == [] and "of muscle" in noisy.record["notes"][0]
