"""Synthetic breasts, limbs and abdomens are treated with default settings, or refused rightly."""

from pathlib import Path

import numpy as np
import pytest
from outcomes import outcome
from synthetic_patients import KINDS, write_patient

from hifuflow.acoustics.grid import check_grid
from hifuflow.acoustics.plan import plan_treatment
from hifuflow.acoustics.settings import HeatingSettings, PlanSettings
from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.constraints import place_constraints
from hifuflow.anatomy.settings import AnatomySettings, ConstraintSettings
from hifuflow.provenance import ROOT
from hifuflow.study.patient import load_patient

SEEDS, MESHED = range(17), range(17, 20)
CASES = ROOT.parent / "shared" / "cases" / "patients"


@pytest.mark.parametrize("seed", SEEDS)
def test_defaults_fit(seed, tmp_path):
    found = outcome(write_patient(seed, tmp_path), mesh=False)
    assert found.refusal == ""
    assert found.reach >= 0.9 and found.points >= 60


@pytest.mark.parametrize("seed", MESHED)
def test_constraint_points_lie_in_the_mesh(seed, tmp_path):
    found = outcome(write_patient(seed, tmp_path), mesh=True)
    assert found.refusal == "" and found.reach >= 0.9
    assert found.outside <= 0.5  # voxels, what the model lets pass


def test_a_seed_makes_one_patient(tmp_path):
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(write_patient(4, tmp_path / folder))
    first, second = (build_anatomy(AnatomySettings.read(load_patient(path).section("anatomy")))
                     for path in paths)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert Path(paths[0]).read_text() == Path(paths[1]).read_text()
    assert {write_patient(seed, tmp_path).stem.rstrip("0123456789")
            for seed in range(len(KINDS))} == set(KINDS)


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no sample data at {CASES}")
@pytest.mark.parametrize("name, mesh", [("foci_auto_tails", False), ("thin_skin_grid", False),
                                        ("thin_sheet_dome", True)])
def test_shared_cases(name, mesh):
    found = outcome(CASES / name / "t.yaml", mesh)
    assert found.refusal == "" and found.outside <= 0.5
    if name == "foci_auto_tails":
        assert found.reach >= 0.95


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no sample data at {CASES}")
def test_an_automatic_axis_of_the_thin_skin():
    patient = load_patient(CASES / "thin_skin_grid" / "t.yaml")

    def along(rule):
        section = patient.section(rule)
        return {**section, "transducer": {**section["transducer"], "axis": "auto"}}

    anatomy = build_anatomy(AnatomySettings.read(along("anatomy")))
    place_constraints(anatomy, ConstraintSettings.read(patient.section("constraints")))
    plan = plan_treatment(anatomy, PlanSettings.read(along("plan")))
    check_grid(anatomy, plan, HeatingSettings.read(patient.section("heating")))
