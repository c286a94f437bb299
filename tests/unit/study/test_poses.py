"""`hifuflow validate --poses` lists directions, best first, and what each would come to."""

import re

import nibabel as nib
import numpy as np
import yaml

from hifuflow.study.command_line import main

ROW = re.compile(r" *\[(.*)\] +(\d+)%  +(.*)")


def test_ten_poses_with_their_outcome(tmp_path, capsys):
    labels = np.zeros((50, 50, 40), np.int16)
    labels[4:46, 4:46, 4:36] = 1
    labels[22:28, 22:28, 12:17] = 2
    labels[4:46, 4:46, 26:36] = 3
    nib.save(nib.Nifti1Image(labels, np.diag([2, 2, 2, 1])), tmp_path / "m.nii")
    patient = {"anatomy": {"labels": "m.nii"}, "target": {"region": "lump"},
               "regions": {"fat": {"labels": [1], "tissue": "fat"},
                           "lump": {"labels": [2], "tissue": "tumour"},
                           "muscle": {"labels": [3], "tissue": "muscle"}},
               "cut_regions": ["muscle"], "transducer": {"axis": "auto", "standoff_mm": "auto"},
               "foci": {"plane_offsets_mm": "auto"}}
    (tmp_path / "anna.yaml").write_text(yaml.safe_dump(patient))
    assert main(["validate", "--poses", str(tmp_path / "anna.yaml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [ROW.fullmatch(line).groups() for line in lines[2:]]
    assert 5 <= len(rows) <= 10 and rows[0][1] == "100"
    axes = np.array([[float(x) for x in row[0].split(",")] for row in rows])
    assert axes[0] @ [0, 0, 1] > 0.95  # towards the wall, the short way
    good = [row[2] for row in rows if not row[2].startswith("refused")]
    assert good and all(re.search(r"\d+ mm +\d+%  \d+, within reach of \d+%", text)
                        for text in good)
    assert 18 <= int(good[0].split()[0]) <= 24  # 16 to 26 mm deep, the centre at 21 mm
