"""`validate` refuses, or warns of, what the workflow would stumble over later."""

import re
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import yaml

from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.settings import AnatomySettings
from hifuflow.errors import InputError
from hifuflow.records.anatomy import Anatomy
from hifuflow.study.look_ahead import check_surfaces, check_thoroughly, outside_mesh
from hifuflow.study.patient import load_patient

GEL = {"source": "test", "conductivity_w_m_k": 0.5, "density_kg_m3": 1000,
       "specific_heat_j_kg_k": 3600, "perfusion_kg_m3_s": 0, "speed_of_sound_m_s": 1500,
       "attenuation_np_m_mhz": 10, "absorption_np_m_mhz": 8}


@pytest.fixture
def patient(tmp_path):
    """A block in water with a ball in it, beam along +z; keyword arguments replace sections."""
    def load(labels=None, **changes):
        if labels is None:
            labels = np.zeros((40, 40, 40), np.int16)
            labels[5:35, 5:35, 6:36] = 1
            i, j, k = np.indices(labels.shape)
            labels[(i - 20) ** 2 + (j - 20) ** 2 + (k - 18) ** 2 <= 9] = 2
        nib.save(nib.Nifti1Image(labels, np.diag([2.0, 2, 2, 1])), tmp_path / "map.nii.gz")
        content = {
            "anatomy": {"labels": "map.nii.gz", "crop_margin_mm": 60},
            "regions": {"body": {"labels": [1], "tissue": "gel"},
                        "lump": {"labels": [2], "tissue": "gel"}},
            "target": {"region": "lump"}, "tissues": {"gel": GEL},
            "transducer": {"axis": [0, 0, 1], "standoff_mm": "auto"},
            "constraints": {"points": 30, "clearance_mm": 5},
            "mesh": {"control": {"cells": 4000}, "plant": {"cells": 5000}}, **changes}
        (tmp_path / "patient.yaml").write_text(yaml.safe_dump(content))
        return load_patient(tmp_path / "patient.yaml")
    return load


def test_a_good_patient_has_no_warning(patient):
    said, warnings = check_thoroughly(patient())
    assert said.startswith("Target 0.98 ml in 216 ml of body") and warnings == []


def test_what_was_done_to_fit_is_said(patient):
    """A speck of bone in the way, and a lump so near the skin that constraint points follow it."""
    labels = np.zeros((40, 40, 40), np.int16)
    labels[5:35, 5:35, 6:36] = 1
    i, j, k = np.indices(labels.shape)
    labels[(i - 20) ** 2 + (j - 20) ** 2 + (k - 11) ** 2 <= 9] = 2
    labels[20, 20, 7] = 3
    regions = {"body": {"labels": [1], "tissue": "gel"}, "lump": {"labels": [2], "tissue": "gel"},
               "speck": {"labels": [3], "tissue": "bone"}}
    said, warnings = check_thoroughly(patient(labels, regions=regions, constraints={"points": 30},
                                              foci={"plane_offsets_mm": "auto"}))
    assert "1 speck(s) of speck" in warnings[0] and "under the skin" in warnings[1]
    assert re.search(r", \d+ foci within reach of \d+% of the target, \d+ constraint points", said)


def test_one_focus_for_a_whole_target_is_a_warning_with_the_fraction(patient):
    _, warnings = check_thoroughly(patient(foci={"spacing_mm": 19}))
    assert len(warnings) == 1
    assert "the only focus reaches 15% of the target" in warnings[0], warnings


def test_perfusion_that_the_model_does_not_reach_fixes_no_temperature(patient):
    """The muscle that is perfused is cut off, with all that lies behind it."""
    labels = np.zeros((40, 40, 40), np.int16)
    labels[5:35, 5:35, 6:30] = 1
    labels[5:35, 5:35, 30:36] = 3
    labels[18:22, 18:22, 16:20] = 2
    options = {"regions": {"body": {"labels": [1], "tissue": "gel"},
                           "lump": {"labels": [2], "tissue": "gel"},
                           "muscle": {"labels": [3], "tissue": "muscle"}},
               "cut_regions": ["muscle"]}
    assert check_thoroughly(patient(labels, **options))[0]
    with pytest.raises(InputError, match="nothing fixes the temperature of the control model"):
        check_thoroughly(patient(labels, boundary={"skin": "insulated"}, **options))


def test_a_cut_can_be_held_only_where_there_is_one(patient):
    held = patient(boundary={"cut": {"temperature_c": 37}})
    anatomy = build_anatomy(AnatomySettings.read(held.section("anatomy")))
    before = (anatomy.labels == 0) & (np.indices(anatomy.labels.shape)[2] < 15)
    check_surfaces(replace(anatomy, coupling=before, air=None), held)
    with pytest.raises(InputError, match=r"patient\.yaml: boundary\.cut.*no such surface"):
        check_surfaces(replace(anatomy, coupling=anatomy.labels == 0, air=None), held)


def test_a_region_called_like_a_surface_is_told(patient):
    regions = {"skin": {"labels": [1], "tissue": "gel"}, "lump": {"labels": [2], "tissue": "gel"}}
    _, warnings = check_thoroughly(patient(regions=regions))
    assert len(warnings) == 1 and "region 'skin'" in warnings[0]


def test_points_on_a_fin_that_no_mesh_follows_are_told():
    labels = np.zeros((40, 40, 40), np.int16)
    labels[8:28, 8:32, 8:32] = 1
    labels[28:39, 20, 20] = 1  # one voxel thick, a hair for the mesh
    labels[16:20, 16:20, 16:20] = 2
    anatomy = Anatomy(labels, np.diag([1e-3, 1e-3, 1e-3, 1]), {}, [], labels == 0,
                      np.array([0, 0, 1.0]), "")
    at = {"position_m": [[0.015, 0.02, 0.02], [0.037, 0.02, 0.02]]}
    warnings = outside_mesh(anatomy, at)
    assert len(warnings) == 1 and "1 of 2 constraint points" in warnings[0]
    assert "(37.0, 20.0, 20.0) mm" in warnings[0]
    assert outside_mesh(anatomy, {"position_m": at["position_m"][:1]}) == []
