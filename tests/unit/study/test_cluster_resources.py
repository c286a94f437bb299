"""What jobs ask a scheduler for, against what they were measured to need."""

import importlib.util
import nibabel as nib
import numpy as np
import pytest

from hifuflow.provenance import ROOT
from hifuflow.study import resources
from hifuflow.study.patient import load_patient

PATIENT = ROOT / "config" / "patients" / "breast_reference.yaml"


@pytest.fixture(scope="module")
def calibration():
    spec = importlib.util.spec_from_file_location("calibration", ROOT / "benchmarks/resources.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_within_two(job, measured, expected, negligible):
    assert abs(measured - expected) < negligible or 0.5 < expected / measured < 2, job


def test_expectations_are_within_a_factor_of_two_of_what_was_measured(calibration):
    for job, memory, memory_expected, seconds, seconds_expected in calibration.comparison(
            calibration.read_record()):
        check_within_two(job, memory, memory_expected, calibration.NEGLIGIBLE["memory_mb"])
        check_within_two(job, seconds, seconds_expected, calibration.NEGLIGIBLE["cpu_s"])


def test_table_is_that_of_the_record(calibration):
    rules = resources.table()["rules"]
    for name, parts in calibration.fit(calibration.read_record()).items():
        for what, values in parts.items():
            assert rules[name][what] == pytest.approx(values, rel=0.01), (name, what)


def test_larger_models_ask_for_more(tmp_path):
    patient = load_patient(PATIENT)
    small = resources.sizes(patient, tmp_path, "plant")
    patient.config["mesh"]["plant"]["cells"] *= 100
    large = resources.sizes(patient, tmp_path, "plant")
    for rule in ("mesh", "assemble"):
        assert all(after > before for before, after in zip(
            resources.expected(rule, "plant", small), resources.expected(rule, "plant", large),
            strict=True))


def test_every_attempt_asks_for_more():
    first, second = (resources.requested(800, 60, attempt) for attempt in (1, 2))
    assert first[0] > 800 and first[1] > 1
    assert second == (pytest.approx(2 * first[0], abs=50), pytest.approx(2 * first[1], abs=1))


def test_threads_follow_the_work():
    asked = resources.table()["requested"]
    each, most = asked["cpu_s_per_thread"], asked["most_threads"]
    counts = [resources.useful_threads(n * each) for n in range(most + 3)]
    assert counts == [2, 2, *range(2, most + 1), most, most]


def test_patients_share_the_cores_of_a_machine():
    assert [resources.useful_threads(1e6, cores // 2) for cores in (1, 2, 4, 8)] == [1, 1, 2, 4]


def test_plan_and_anatomy_replace_what_is_assumed(tmp_path):
    patient = load_patient(PATIENT)
    (tmp_path / "acoustics").mkdir()
    (tmp_path / "acoustics" / "plan.json").write_text('{"foci_m": [[0, 0, 0], [0, 0, 1]]}')
    (tmp_path / "anatomy").mkdir()
    (tmp_path / "anatomy" / "regions.json").write_text(
        '{"regions": {"fat": {"volume_m3": 1e-4}, "tumour": {"volume_m3": 2e-4}}}')
    size = resources.sizes(patient, tmp_path)
    wave = patient.water["speed_of_sound_m_s"] / 1e6
    assert size["mcells_beam"] == pytest.approx(3e-4 / (wave / 2) ** 3 / 1e6)
    assert size["mcells_beam_foci"] == pytest.approx(2 * size["mcells_beam"])


def test_voxels_are_those_of_the_source(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((50, 40, 30), np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    (tmp_path / "broken.nii.gz").write_bytes(b"\x1f\x8b no such thing")
    (tmp_path / "b.nrrd").write_bytes(bytes(3000))
    voxels = [resources._million_voxels(str(tmp_path / name))
              for name in ("a.nii.gz", "broken.nii.gz", "b.nrrd")]
    assert voxels == pytest.approx([0.06, 0, 0.0015])
