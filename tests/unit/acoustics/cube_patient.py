"""A small body, and the reference patient's settings with changes, for the acoustics' tests."""

import copy
from dataclasses import replace

import numpy as np

from hifuflow.acoustics.settings import HeatingSettings, PlanSettings, TransducerSettings
from hifuflow.provenance import ROOT
from hifuflow.records.anatomy import Anatomy
from hifuflow.study.patient import load_patient
from hifuflow.study.transducer_file import load_device

REFERENCE = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")
HEATING = HeatingSettings.read(REFERENCE.section("heating"))


def plan_settings(device, axis=(0, 0, 1), standoff=105, **foci):
    """Those of the plan with another transducer and pose; `foci` replace keys of their section."""
    section = copy.deepcopy(REFERENCE.section("plan"))
    section["transducer"].update(axis=list(axis), standoff_mm=standoff)
    section["foci"].update(foci)
    return replace(PlanSettings.read(section), transducer=device)


def transducer(name, **changes):
    """A transducer of config/transducers; `changes` replace fields of its settings."""
    device, faults = load_device({"name": name, "failed_elements": []}, "anna.yaml")
    assert not faults
    return replace(TransducerSettings.read(device), **changes)


def cube_of_fat(axis=(0, 0, 1), voxel=2e-3):
    """A 32 mm cube of fat with a tumour off its middle, in 10 mm of air or water on all sides.

    Made for sound along +z and then turned so that the sound travels along `axis`.
    """
    labels = np.zeros((26, 26, 26), dtype=np.int16)
    labels[5:21, 5:21, 5:21] = 1
    labels[10:15, 11:15, 11:17] = 2
    coupling = labels == 0
    coupling[:, :, 21:] = False
    axis = np.array(axis)
    if tuple(axis) == (1, 0, 0):  # the beam's (x, y, z) become the patient's (y, z, x)
        labels, coupling = (a.transpose(2, 0, 1) for a in (labels, coupling))
    elif tuple(axis) == (0, -1, 0):  # (x, y, z) become (x, z, -y)
        labels, coupling = (a.transpose(0, 2, 1)[:, ::-1] for a in (labels, coupling))
    regions = {"fat": {"label": 1, "tissue": "fat", "volume_m3": 1.0},
               "tumour": {"label": 2, "tissue": "tumour", "volume_m3": 1.0}}
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = -0.0253
    return Anatomy(labels.copy(), affine, regions, ["tumour"], coupling.copy(),
                   axis.astype(float), "")
