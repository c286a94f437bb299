"""Patient files: defaults, and one clear error for each kind of fault."""

from pathlib import Path

import pytest
import yaml

from hifuflow.config import InvalidConfig, Study, load_patient
from hifuflow.errors import InputError
from hifuflow.provenance import ROOT
from hifuflow.schema import read_yaml

REFERENCE = ROOT / "config" / "patients" / "breast_reference.yaml"


@pytest.fixture
def patient_file(tmp_path):
    """Write a variant of the reference patient; keys are dotted, None removes one."""
    def write(changes):
        content = yaml.safe_load(REFERENCE.read_text())
        for dotted, value in changes.items():
            *parents, last = dotted.split(".")
            section = content
            for key in parents:
                section = section.setdefault(key, {})
            if value is None:
                del section[last]
            else:
                section[last] = value
        path = tmp_path / "patient.yaml"
        path.write_text(yaml.safe_dump(content))
        return path
    return write


def test_reference_has_the_papers_treatment():
    config = load_patient(REFERENCE).config
    assert config["prescription"]["dose_cem43_min"] == 240
    assert config["prescription"]["max_power_w"] == 22
    assert config["constraints"]["points"] == 209
    assert config["constraints"]["limit_c"] == 43
    assert config["constraints"]["clearance_mm"] == 9
    assert config["thermometry"]["interval_s"] == 2
    assert config["transducer"]["standoff_mm"] == 110
    assert config["foci"]["spacing_mm"] == 3


def test_tissue_table_is_the_papers():
    tissues = load_patient(REFERENCE).tissues
    assert tissues["tumour"]["density_kg_m3"] == 1064
    assert tissues["tumour"]["speed_of_sound_m_s"] == 1560
    assert tissues["fat"]["attenuation_np_m_mhz"] == 8.6  # 0.086 per cm
    assert tissues["fat"]["perfusion_kg_m3_s"] == 0.5


@pytest.mark.parametrize(("changes", "key", "allowed"), [
    ({"thermometri": {}}, "thermometri", "thermometry"),
    ({"mesh.control.cels": 9300}, "mesh.control.cels", "cells"),
    ({"mesh.control.cells": -3}, "mesh.control.cells", "at least"),
    ({"mesh.control.cells": 20000}, "mesh.plant.cells", "above 20000"),
    ({"target": None}, "target", "keys and values"),
    ({"target.region": "tumor"}, "target.region", "tumour"),
    ({"regions.fat.tissue": "lard"}, "regions.fat.tissue", "fat, tumour"),
    ({"regions.tumour.labels": [1]}, "regions.tumour.labels", "each label in one region"),
    ({"anatomy.labels": "x.nii.gz"}, "anatomy", "exactly one"),
    ({"constraints.limit_c": 36.5}, "constraints.limit_c", "above 37"),
    ({"constraints.limit_c": float("nan")}, "constraints.limit_c", "finite"),
    ({"transducer.name": "random25"}, "transducer.name", "random256"),
    ({"transducer.axis": [0, 0, 0]}, "transducer.axis", "not zero"),
    ({"prescription.max_power_w": 999}, "prescription.max_power_w", "at most"),
    ({"tissues": {"fat": {"density_kg_m3": -1}}}, "tissues.fat.density_kg_m3", "above 0"),
    ({"tissues": {"fat": {"perfusion_kg_m3_s": float("nan")}}}, "tissues.fat.perfusion_kg_m3_s",
     "finite"),
    ({"tissues": {"fat": {"absorption_np_m_mhz": 20}}}, "tissues.fat.absorption_np_m_mhz",
     "at most 8.6"),
    ({"tissues": {"bone": {"density_kg_m3": 1900}}}, "tissues.bone.conductivity_w_m_k", "above 0"),
    ({"reduction.order": 0}, "reduction.order", "auto"),
    ({"controllers": ["papper"]}, "controllers.0", "paper"),
    ({"boundary.skin": "cold"}, "boundary.skin", "insulated"),
])
def test_fault_names_file_key_and_what_is_allowed(patient_file, changes, key, allowed):
    path = patient_file(changes)
    with pytest.raises(InvalidConfig) as caught:
        load_patient(path)
    fault = next(fault for fault in caught.value.faults if fault.key == key)
    assert str(path) in str(fault)
    assert allowed in fault.allowed


def test_all_faults_are_reported_at_once(patient_file):
    with pytest.raises(InvalidConfig) as caught:
        load_patient(patient_file({"mesh.control.cells": -3, "reduction.order": 0, "tpyo": 1}))
    assert {fault.key for fault in caught.value.faults} == {
        "mesh.control.cells", "reduction.order", "tpyo"}


def test_missing_label_map_is_named(patient_file):
    path = patient_file({"anatomy": {"labels": "nowhere.nii.gz"}})
    with pytest.raises(InvalidConfig, match="nowhere.nii.gz"):
        load_patient(path)


def test_label_map_is_relative_to_the_patient_file(patient_file, tmp_path):
    (tmp_path / "map.nii.gz").write_bytes(b"")
    patient = load_patient(patient_file({"anatomy": {"labels": "map.nii.gz"}}))
    assert Path(patient.label_map) == tmp_path / "map.nii.gz"


@pytest.mark.parametrize(("text", "message"), [
    ("a: 1\na: 2\n", "given twice"),
    ("a: [1\n", "line 2"),
    ("- 1\n", "YAML mapping"),
])
def test_yaml_traps_are_errors(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_yaml(path)


def test_exponents_without_a_point_are_numbers(tmp_path):
    path = tmp_path / "number.yaml"
    path.write_text("a: 1e6\nb: -2.5e-3\nc: 7\n")
    assert read_yaml(path) == {"a": 1e6, "b": -2.5e-3, "c": 7}


def test_study_names_unknown_patients():
    with pytest.raises(InvalidConfig, match="breast_reference"):
        Study.from_config({"patients": ["nobody"], "patients_dir": str(REFERENCE.parent)})


def test_study_takes_all_patients_of_a_folder():
    study = Study.from_config({"patients": "all", "patients_dir": str(REFERENCE.parent)})
    assert sorted(study.patients) == sorted(p.stem for p in REFERENCE.parent.glob("*.yaml"))


def test_rules_get_only_what_they_use():
    patient = load_patient(REFERENCE)
    assert "conductivity_w_m_k" not in str(patient.section("heating"))
    assert "speed_of_sound_m_s" not in str(patient.section("assemble", "plant"))
    assert patient.section("assemble", "control")["deviations"] == {}
    assert patient.section("mesh", "control")["cells"] == 9700
