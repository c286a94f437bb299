"""Poses and planned foci: published focal regions, real anatomy, treatment on several planes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import yaml
from run import ROOT, Check, run_patient, within
from scipy import ndimage

from hifuflow.acoustics.focal_zone import focal_size
from hifuflow.acoustics.settings import TransducerSettings
from hifuflow.acoustics.transducer import Transducer
from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.settings import AnatomySettings
from hifuflow.job import read_json
from hifuflow.records.plan import Plan
from hifuflow.study.patient import load_patient
from hifuflow.study.transducer_file import load_device

LIVER = ROOT.parent / "shared" / "data" / "liver_ircad01_labels.nii.gz"
WINDOW, BEHIND_RIBS = (268, 141, 93), (178, 337, 78)  # voxels of two of its tumours
REGIONS = {"tumour": ([451], "tumour"), "liver": ([449], "liver"), "body": ([1], "soft_tissue"),
           "vessels": ([17, 33, 97, 465, 481, 513], "soft_tissue"), "ribs": ([65], "bone"),
           "kidneys": ([129, 193], "kidney"), "lungs": ([257, 321], "lung"),
           "spleen": ([385], "spleen")}


def checks() -> list[Check]:
    """All of them; those on real anatomy where it is present."""
    device, _ = load_device({"name": "jc200", "failed_elements": []}, "")
    _, length = focal_size(Transducer.of(TransducerSettings.read(device)), 1500.0)
    found = [within("JC200: length of the focus [mm]", length * 1e3, 8, 0.15,
                    "BMC Surgery 21:308: focal region 3 x 3 x 8 mm"), *_planes()]
    if LIVER.is_file():
        found += _liver()
    else:
        print(f"no {LIVER}: the poses for its tumours are left out")
    return found


def _planes() -> list[Check]:
    """The reference patient with its foci on several planes against the paper's single one."""
    folder = run_patient("breast_planes", "config/patients")
    single = run_patient("breast_reference", "config/patients")
    plan, alone = (Plan.load(part / "acoustics" / "plan.json") for part in (folder, single))
    metrics, before = (read_json(part / "control" / "paper" / "metrics.json")
                       for part in (folder, single))
    return [Check("planned planes: target within reach of heat", plan.spread_coverage,
                  alone.spread_coverage, alone.spread_coverage, 1.0, "the paper's single plane"),
            Check("planned planes: fraction of the target treated", metrics["coverage"],
                  before["coverage"], 0.99, 1.0, "prescription"),
            Check("planned planes: time until 90 % is treated [s]", metrics["time_to_t90_s"],
                  before["time_to_t90_s"], 0, before["time_to_t90_s"], "the paper's single plane")]


def _liver() -> list[Check]:
    """A tumour under a clear window, and one behind the ribs."""
    image = nib.load(LIVER)
    data = np.asarray(image.dataobj)
    parts, _ = ndimage.label(np.isin(data, (451, 453)))
    found = []
    for voxel, low, high, name in ((WINDOW, 0, 0.02, "under a clear window"),
                                   (BEHIND_RIBS, 0.2, 1, "behind the ribs")):
        labels = np.where(parts > 0, np.where(parts == parts[voxel], 451, 449), data)
        with tempfile.TemporaryDirectory() as folder:
            nib.save(nib.Nifti1Image(labels.astype(np.int16), image.affine),
                     Path(folder) / "liver.nii.gz")
            content = {"anatomy": {"labels": "liver.nii.gz"}, "target": {"region": "tumour"},
                       "regions": {key: {"labels": values, "tissue": tissue}
                                   for key, (values, tissue) in REGIONS.items()},
                       "transducer": {"axis": "auto", "standoff_mm": "auto"}}
            file = Path(folder) / "liver.yaml"
            file.write_text(yaml.safe_dump(content))
            settings = AnatomySettings.read(load_patient(file).section("anatomy"))
            beam = build_anatomy(settings).beam
        found.append(Check(f"liver tumour {name}: part of the best beam that is blocked",
                           beam["blocked_fraction"], None, low, high, "label map"))
    return found
