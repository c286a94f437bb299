"""A folder with one file per organ: names, overlaps, one grid, wrong input."""

import nibabel as nib
import numpy as np
import pytest
from patient_maps import AFFINE, anatomy_of, block, section, write_itk, write_nifti

from hifuflow.anatomy.labelmap import read_label_map
from hifuflow.errors import InputError
from hifuflow.provenance import ROOT

ABDOMEN = ROOT.parent / "shared" / "data" / "abdomen_labels.nii.gz"
ORGANS = {"body": lambda labels: labels > 0, "wall": lambda labels: labels == 7,
          "lump.v2": lambda labels: labels == 3, "spleen": lambda labels: labels == 99}


def organs(folder, value=1, suffix=".nii.gz"):
    folder.mkdir(exist_ok=True)
    for name, of in ORGANS.items():
        write = write_nifti if ".nii" in suffix else write_itk
        write(folder / f"{name}{suffix}", (value * of(block())).astype(np.int16), AFFINE)
    (folder / "statistics.json").write_text("{}")
    (folder / ".hidden.nii").write_text("no image")
    return folder


def config(folder, order=("lump", "muscle", "fat")):
    base = section(folder)
    labels = {"lump": "lump.v2", "muscle": "wall", "fat": "body"}
    base["regions"] = {name: {**base["regions"][name], "labels": [labels[name]]}
                       for name in order}
    return base


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mhd", ".seg.nrrd", ".hdr"])
@pytest.mark.parametrize("value", [1, 255])
def test_the_same_anatomy_as_one_map(tmp_path, suffix, value):
    write_nifti(tmp_path / "map.nii.gz", block(), AFFINE)
    expected = anatomy_of({**section(tmp_path / "map.nii.gz"),
                           "regions": {name: section("")["regions"][name]
                                       for name in ("lump", "muscle", "fat")}})
    if suffix == ".hdr":
        (tmp_path / "o").mkdir()
        for name, of in ORGANS.items():
            nib.save(nib.Nifti1Pair((value * of(block())).astype(np.int16), AFFINE),
                     tmp_path / "o" / f"{name}.img")
    anatomy = anatomy_of(config(tmp_path / "o" if suffix == ".hdr"
                                else organs(tmp_path / "o", value, suffix)))
    np.testing.assert_array_equal(anatomy.labels, expected.labels)
    assert anatomy.regions == expected.regions


@pytest.mark.skipif(not ABDOMEN.is_file(), reason=f"no label map at {ABDOMEN}")
def test_a_real_abdomen_organ_by_organ(tmp_path):
    """As TotalSegmentator writes it without `--ml`: the same map, whatever its values."""
    whole, image = read_label_map(ABDOMEN), nib.load(ABDOMEN)
    voxels, names = np.asarray(image.dataobj), {one.label: one.name for one in whole.segments}
    for label, name in names.items():
        nib.save(nib.Nifti1Image((voxels == label).astype(np.uint8), image.affine),
                 tmp_path / f"{name}.nii.gz")
    organs = read_label_map(tmp_path)
    numbers = {one.name: one.label for one in organs.segments}
    table = np.zeros(max(names) + 1, int)
    table[list(names)] = [numbers[name] for name in names.values()]
    (layer,) = organs.layers
    np.testing.assert_array_equal(layer, table[whole.layers[0]])
    np.testing.assert_array_equal(organs.affine, whole.affine)


def test_of_overlapping_organs_the_first_region_has_the_voxel(tmp_path):
    folder = organs(tmp_path / "o")
    assert len(read_label_map(folder).layers) == 2
    with pytest.raises(InputError, match=r"regions\.lump: all of its \d+ voxels belong to regions"):
        anatomy_of(config(folder, ("fat", "lump", "muscle")))


def test_an_organ_without_a_voxel_is_known_by_name(tmp_path):
    wrong = config(organs(tmp_path / "o"))
    wrong["regions"]["fat"]["labels"] = ["body", "spleen"]
    with pytest.raises(InputError, match="the segment of this name has no voxel"):
        anatomy_of(wrong)


def moved(folder):
    affine = AFFINE.copy()
    affine[0, 3] += 0.1
    write_nifti(folder / "liver.nii.gz", (block() == 1).astype(np.uint8), affine)


def larger(folder):
    write_nifti(folder / "liver.nii.gz", np.pad(block() == 1, 1).astype(np.uint8), AFFINE)


def of_several(folder):
    write_nifti(folder / "all.nii.gz", block(), AFFINE)


def a_scan(folder):
    write_nifti(folder / "ct.nii.gz", np.random.default_rng(0).normal(size=block().shape), AFFINE)


def twice(folder):
    write_itk(folder / "wall.mha", (block() == 7).astype(np.uint8), AFFINE)


def damaged(folder):
    (folder / "wall.nii.gz").write_bytes((folder / "wall.nii.gz").read_bytes()[:300])


def surface(folder):
    (folder / "skin.stl").write_text("solid")


def dicom(folder):
    (folder / "a.dcm").write_bytes(bytes(128) + b"DICM")


@pytest.mark.parametrize("fault, words", [
    (moved, r"not on one grid: liver\.nii\.gz differ from body\.nii\.gz"),
    (larger, r"not on one grid: liver\.nii\.gz differ from body\.nii\.gz"),
    (of_several, r"all\.nii\.gz.*holds 3 labels \(1, 3, 7\)"),
    (a_scan, r"ct\.nii\.gz.*labels"), (twice, "several files for one organ: wall"),
    (damaged, r"wall\.nii\.gz"),
    (surface, r"label maps \(.*and 0|label maps \(.*surfaces \(skin\.stl\)"),
    (dicom, r"label maps \(.*DICOM files \(a\.dcm\)")])
def test_wrong_folders_are_one_error(tmp_path, fault, words):
    folder = organs(tmp_path / "o")
    fault(folder)
    with pytest.raises(InputError, match=words):
        anatomy_of(config(folder))


def test_an_empty_folder_is_one_error(tmp_path):
    with pytest.raises(InputError, match="holds no label map and no DICOM file"):
        anatomy_of(config(tmp_path))
    for name in ("a", "b"):
        write_nifti(tmp_path / f"{name}.nii", 0 * block(), AFFINE)
    with pytest.raises(InputError, match="the label map is empty"):
        anatomy_of(config(tmp_path))
