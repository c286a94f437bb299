"""`inspect` on label maps, scans and meshes tells what a patient file needs."""

import json
import subprocess
import sys

import meshio
import nibabel as nib
import numpy as np
import pytest
import yaml

from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.settings import AnatomySettings
from hifuflow.errors import InputError
from hifuflow.provenance import ROOT
from hifuflow.study.command_line import main
from hifuflow.study.inspect import describe, quality_table
from hifuflow.study.patient import load_patient

AFFINE = np.diag([-1.0, 2, 1, 1])


@pytest.fixture
def label_map(tmp_path):
    labels = np.zeros((30, 30, 30), np.int16)
    labels[4:26, 4:26, 4:26] = 1
    labels[8:12, 8:12, 8:12] = labels[18:20, 8:10, 8:10] = -5
    image = nib.Nifti1Image(labels, AFFINE)
    table = '<LabelTable><Label Key="-5">Tumor, left</Label><Label Key="1">Fat</Label></LabelTable>'
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, table.encode()))
    nib.save(image, tmp_path / "m.nii.gz")
    return tmp_path / "m.nii.gz"


def test_label_map(label_map):
    text = describe(label_map, quality_table)
    assert "voxel 1 x 2 x 1 mm, axes L,A,S" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["-5", "72", "0.144", "2"] in [row[:4] for row in rows]
    assert "Tumor, left" in text


def test_the_regions_block_makes_a_patient_file(label_map):
    text = describe(label_map, quality_table)
    block = yaml.safe_load(text[text.index("# for a patient file"):])
    assert block == {"regions": {"tumour_left": {"labels": [-5], "tissue": "tumour"},
                                 "fat": {"labels": [1], "tissue": "fat"}}}
    patient = label_map.parent / "p.yaml"
    patient.write_text(yaml.safe_dump({**block, "anatomy": {"labels": "m.nii.gz"}, "target": {
        "region": "tumour_left", "largest_component": True}}))
    anatomy = build_anatomy(AnatomySettings.read(load_patient(patient).section("anatomy")))
    assert anatomy.target_mask.sum() == 64


def test_points_of_components_lie_in_them(label_map):
    lines = [line for line in describe(label_map, quality_table).splitlines() if "0.1" in line]
    points = [json.loads(line[line.index("["):line.index("]") + 1]) for line in lines[:2]]
    labels = np.asarray(nib.load(label_map).dataobj)
    for point in points:
        index = np.rint(np.linalg.inv(AFFINE) @ [*point, 1])[:3].astype(int)
        assert labels[tuple(index)] == -5


def test_scan(tmp_path):
    values = np.random.default_rng(1).normal(0, 300, (12, 12, 12)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "ct.nii")
    text = describe(tmp_path / "ct.nii", quality_table)
    assert "a scan, not a label map" in text and f"100 %: {values.max():.5g}" in text
    assert "regions:" not in text


@pytest.mark.parametrize("value, words", [
    (np.nan, "1 voxels are not whole numbers"), (70000, "labels from 0 to 70000"), (0, "empty"),
])
def test_what_keeps_a_map_from_being_one_is_said(tmp_path, value, words):
    values = np.zeros((6, 6, 6), np.float32)
    values[1, 2, 3] = value
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "m.nii")
    assert words in describe(tmp_path / "m.nii", quality_table)


@pytest.mark.parametrize("kind", ["complex64", [("R", "u1"), ("G", "u1"), ("B", "u1")]])
def test_colours_and_complex_numbers_are_refused(tmp_path, kind):
    nib.save(nib.Nifti1Image(np.zeros((6, 6, 6), kind), AFFINE), tmp_path / "m.nii")
    with pytest.raises(InputError, match=r"voxels of type .*one real number"):
        describe(tmp_path / "m.nii", quality_table)


def test_mesh(tmp_path):
    points = np.array([[0, 0, 0], [9, 0, 0], [0, 8, 0], [0, 0, 7], [9, 9, 9.0]])
    meshio.Mesh(points, [("tetra", [[0, 1, 2, 3], [1, 2, 3, 4]])],
                cell_data={"organ": [np.array([4, 9])]}).write(tmp_path / "m.vtu")
    text = describe(tmp_path / "m.vtu", quality_table)
    rows = [line.split() for line in text.splitlines()]
    assert ["4", "1", "84"] in [row[:3] for row in rows]
    assert "2 tetrahedra" in text and "quality" in text


def test_every_file_is_reported(label_map, tmp_path, capsys):
    (tmp_path / "bad.nrrd").write_text("no")
    assert main(["inspect", str(tmp_path / "bad.nrrd"), str(label_map)]) == 2
    shown = capsys.readouterr()
    assert "bad.nrrd: not a readable image" in shown.err and "regions:" in shown.out
    with pytest.raises(InputError, match="no such file"):
        describe(tmp_path / "nowhere", quality_table)


def test_a_closed_pipe_ends_it_quietly(label_map):
    done = subprocess.run(f"'{sys.executable}' -m hifuflow inspect '{label_map}' | true; "
                          "echo ${PIPESTATUS[0]}", shell=True, executable="bash", cwd=ROOT,
                          capture_output=True, text=True)
    assert done.stdout.strip() == "141" and not done.stderr
