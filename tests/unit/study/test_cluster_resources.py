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


def inside(row, others, terms) -> bool:
    """Whether every size that a job's cost grows with lies between those of other patients."""
    return all(min(sizes) <= row[term] <= max(sizes)
               for term in terms for sizes in [[other[term] for other in others]])


@pytest.mark.parametrize("what", ["memory_mb", "cpu_s"])
def test_patients_left_out_of_the_fit_need_what_it_expects(calibration, what):
    """Each patient in turn: what the others' measurements say of a job, within a factor of two."""
    record, compared, off = calibration.read_record(), set(), []
    for patient in {row["patient"] for row in record}:
        others = [row for row in record if row["patient"] != patient]
        table = calibration.fit(others)
        for row in (row for row in record if row["patient"] == patient):
            key = calibration.group(row)
            terms = calibration.TERMS[row["rule"]][what == "cpu_s"]
            alike = [other for other in others if calibration.group(other) == key]
            if not alike or not inside(row, alike, terms):
                continue  # the fit interpolates, it cannot know of sizes never measured
            expected = sum(value * row[term] for term, value in table[key][what].items())
            compared.add(key)
            if not (abs(expected - row[what]) < calibration.NEGLIGIBLE[what]
                    or 0.5 < expected / row[what] < 2):
                off.append((patient, key, row[what], expected))
    assert off == []
    assert compared == set(calibration.fit(record))


def test_table_is_that_of_the_record(calibration):
    rules = resources.table()["rules"]
    for name, parts in calibration.fit(calibration.read_record()).items():
        for what, values in parts.items():
            assert rules[name][what] == pytest.approx(values, rel=0.01), (name, what)


def test_expectation_is_the_sum_of_coefficients_times_sizes():
    rule = resources.table()["rules"]["assemble"]
    size = {name: 0.0 for part in rule.values() for name in part} | {"base": 1}
    assert resources.expected("assemble", "plant", size) == (
        rule["memory_mb"]["base"], rule["cpu_s"]["base"])
    memory, seconds = resources.expected("assemble", "plant", size | {"kcells": 2, "kcells43": 3})
    assert memory == pytest.approx(rule["memory_mb"]["base"] + 2 * rule["memory_mb"]["kcells"])
    assert seconds == pytest.approx(rule["cpu_s"]["base"] + 3 * rule["cpu_s"]["kcells43"])
    costly = {name: 1.0 for part in ("control", "control_mintime")
              for values in resources.table()["rules"][part].values() for name in values}
    assert resources.expected("control", "mintime", costly) != resources.expected(
        "control", "paper", costly)


def test_sizes_are_those_of_the_patient_file(tmp_path):
    patient = load_patient(PATIENT)
    patient.config["mesh"] = {"control": {"cells": 4000}, "plant": {"cells": 8000}}
    patient.config["reduction"]["order"] = 500
    patient.config["foci"]["explicit_mm"] = [[0, 0, 0], [0, 0, 1], [0, 0, 2]]
    patient.config["acoustics"]["spacing_mm"] = 0.5
    patient.config["prescription"]["max_time_s"], samples = 600, 0.3  # thousands, every 2 s
    patient.config["thermometry"]["interval_s"] = 2
    beam = 16.0  # million cells of (0.5 mm)^3 in the 2 l that are assumed before there is a plan
    assert resources.sizes(patient, tmp_path) == pytest.approx({
        "base": 1, "mvoxels": 0, "kcells": 12, "kcells43": 12 ** (4 / 3), "mcells_beam": beam,
        "mcells_beam_foci": 3 * beam, "kstates2": 0.25, "kstates3": 0.125,
        "ksamples_kcells": samples * 8, "ksamples_kstates2": samples * 0.25})
    one = resources.sizes(patient, tmp_path, "control", treatment_s=100)
    assert (one["kcells"], one["ksamples_kcells"]) == pytest.approx((4, 0.05 * 8))
    patient.config["reduction"]["order"] = "auto"  # 33 states a focus, as far as there are unknowns
    assert resources.sizes(patient, tmp_path)["kstates2"] == pytest.approx(0.099 ** 2)


def test_what_is_asked_for_is_more_than_what_is_expected():
    """1.5 times the memory and 350 MB; six times the CPU time and five minutes."""
    assert resources.requested(800, 60, 1) == (1550, 11)
    assert resources.requested(800, 60, 3) == (4650, 33)


def test_larger_models_ask_for_more(tmp_path):
    patient = load_patient(PATIENT)
    small = resources.sizes(patient, tmp_path, "plant")
    patient.config["mesh"]["plant"]["cells"] *= 100
    large = resources.sizes(patient, tmp_path, "plant")
    for rule in ("mesh", "assemble"):
        assert all(after > before for before, after in zip(
            resources.expected(rule, "plant", small), resources.expected(rule, "plant", large),
            strict=True))


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
