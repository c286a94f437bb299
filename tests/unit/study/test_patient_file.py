"""Patient files: defaults, and one clear error for each kind of fault."""

from pathlib import Path

import pytest
import yaml

from hifuflow.errors import InputError, InvalidConfig
from hifuflow.provenance import ROOT
from hifuflow.study import patient as configuration
from hifuflow.study import transducer_file as devices
from hifuflow.study.command_line import main
from hifuflow.study.patient import load_patient
from hifuflow.study.study import Study
from hifuflow.study.yaml_file import read_yaml

REFERENCE = ROOT / "config" / "patients" / "breast_reference.yaml"
NAN = float("nan")


def variant(original, changes, path):
    """Write a variant of a file; keys are dotted, None removes one."""
    content = read_yaml(original)
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        section = content
        for key in parents:
            section = section.setdefault(key, {})
        if value is None:
            del section[last]
        else:
            section[last] = value
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def patient_file(tmp_path):
    return lambda changes: variant(REFERENCE, changes, tmp_path / "patient.yaml")


def assert_fault(caught, path, key, allowed):
    fault = next(fault for fault in caught.value.faults if fault.key == key)
    assert str(path) in str(fault)
    assert allowed in fault.allowed


def test_reference_has_the_papers_treatment():
    config = load_patient(REFERENCE).config
    assert config["prescription"]["dose_cem43_min"] == 240
    assert config["prescription"]["max_power_w"] == 22
    assert config["constraints"]["points"] == 209
    assert config["constraints"]["limit_c"] == 43
    assert config["constraints"]["clearance_mm"] == "auto"  # 9 mm: the body ends nowhere nearer
    assert config["thermometry"]["interval_s"] == 2
    assert config["transducer"]["standoff_mm"] == 110
    assert config["foci"]["spacing_mm"] == 3


def test_breast_planes_is_the_reference_with_its_foci_planned():
    planes = load_patient(REFERENCE.with_name("breast_planes.yaml"))
    reference = load_patient(REFERENCE)
    for section in ("description", "foci"):
        assert planes.config.pop(section) != reference.config.pop(section)
    assert planes.config == reference.config and planes.transducer == reference.transducer


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
    ({"regions.fat.tissue": "lard"}, "regions.fat.tissue", "skin, soft_tissue"),
    ({"regions.tumour.labels": [1]}, "regions.tumour.labels", "each label in one region"),
    ({"anatomy.labels": "x.nii.gz"}, "anatomy", "exactly one"),
    ({"constraints.limit_c": 36.5}, "constraints.limit_c", "above 37"),
    ({"constraints.limit_c": float("nan")}, "constraints.limit_c", "finite"),
    ({"constraints": [{}, {"name": "second", "limit_c": 36}]}, "constraints.1.limit_c",
     "above 37"),
    ({"constraints": [{}, {}]}, "constraints.1.name", "of its own"),
    ({"constraints": [{"limit": 43}]}, "constraints.0.limit", "limit_c"),
    ({"constraints": []}, "constraints", "at least 1"),
    ({"constraints.region": "fat"}, "constraints.region", "with the surface 'region'"),
    ({"constraints": [{"surface": "region", "region": "bone"}]}, "constraints.0.region",
     "fat, tumour"),
    ({"thermometry.no_signal_regions": ["lard"]}, "thermometry.no_signal_regions", "fat, tumour"),
    ({"thermometry.lost_s": [[9, 3]]}, "thermometry.lost_s", "start <= end"),
    ({"transducer.name": "random25"}, "transducer.name", "random256"),
    ({"transducer.axis": [0, 0, 0]}, "transducer.axis", "not zero"),
    ({"prescription.max_power_w": 999}, "prescription.max_power_w", "at most"),
    ({"tissues": {"fat": {"density_kg_m3": -1}}}, "tissues.fat.density_kg_m3", "at least 0.1"),
    ({"tissues": {"fat": {"perfusion_kg_m3_s": float("nan")}}}, "tissues.fat.perfusion_kg_m3_s",
     "finite"),
    ({"tissues": {"fat": {"absorption_np_m_mhz": 20}}}, "tissues.fat.absorption_np_m_mhz",
     "at most 8.6"),
    ({"tissues": {"scar": {"density_kg_m3": 1900}}}, "tissues.scar.conductivity_w_m_k",
     "at least 0.001"),
    ({"reduction.order": 0}, "reduction.order", "auto"),
    ({"reduction.order": 15000}, "reduction.order", "at most about 14550"),
    ({"reduction.order": 300, "reduction.tolerance_k": 0.01}, "reduction.tolerance_k", "none"),
    ({"reduction.tolerance_k": 0}, "reduction.tolerance_k", "at least 1e-06"),
    ({"reduction.solver": "amg"}, "reduction.solver", "iterative"),
    ({"controllers": ["papper"]}, "controllers.0", "paper"),
    ({"boundary.skin": "cold"}, "boundary.skin", "insulated"),
    ({"boundary.skin": 37}, "boundary.skin", "temperature_c"),
    ({"boundary.skin": {}}, "boundary.skin.temperature_c", "a number"),
    ({"boundary.skin": {"temperature": 37}}, "boundary.skin.temperature", "temperature_c"),
    ({"boundary.skin": {"temperature_c": NAN}}, "boundary.skin.temperature_c", "finite"),
    ({"boundary.skin": {"temperature_c": "37"}}, "boundary.skin", "insulated"),
    ({"prescription.coverage": 1.5}, "prescription.coverage", "at most 1"),
    ({"prescription.max_power_w": "22"}, "prescription.max_power_w", "a number"),
    ({"thermometry.interval_s": 0}, "thermometry.interval_s", "at least 0.1"),
    ({"plant.time_step_s": -1.0}, "plant.time_step_s", "at least"),
    ({"plant.conductivity_factor": 0}, "plant.conductivity_factor", "at least 0.1"),
    ({"plant.focal_shift_mm": [0, 30, 0]}, "plant.focal_shift_mm.1", "at most 20"),
    ({"plant.regions": {"fat": {"absorption_factor": 0}}}, "plant.regions.fat.absorption_factor",
     "at least 0.1"),
    ({"plant.regions": {"bone": {"absorption_factor": 1}}}, "plant.regions", "fat, tumour"),
    ({"plant.spread.perfusion": -1}, "plant.spread.perfusion", "at least 0"),
    ({"plant.tissue": "living"}, "plant.tissue", "responsive"),
    ({"boundary.skin": {"temperature_c": 15, "coefficient_w_m2_k": 0}},
     "boundary.skin.coefficient_w_m2_k", "at least 0.01"),
    ({"tissues": {"fat": {"response": {"source": "x", "perfusion": [[40, 1], [37, 2]]}}}},
     "tissues.fat.response.perfusion", "rising"),
    ({"estimator.measurement_floor_k": 0}, "estimator.measurement_floor_k", "at least 0.001"),
    ({"paper.focal_zone_level": 2}, "paper.focal_zone_level", "at most 1"),
    ({"acoustics.spacing_mm": 0}, "acoustics.spacing_mm", "at least 0.001"),
    ({"acoustics.spacing_mm": NAN}, "acoustics.spacing_mm", "finite"),
    ({"acoustics.spacing_mm": "0.75"}, "acoustics.spacing_mm", "a number"),
    ({"acoustics.spacing_mm": True}, "acoustics.spacing_mm", "a number"),
    ({"acoustics.spacing": 1}, "acoustics.spacing", "spacing_mm"),
    ({"tissues": {"fat": {"speed_of_sound_m_s": 0}}}, "tissues.fat.speed_of_sound_m_s",
     "at least 300"),
    ({"tissues": {"fat": {"attenuation_np_m_mhz": -1}}}, "tissues.fat.attenuation_np_m_mhz",
     "at least 0"),
    ({"tissues": {"fat": {"specific_heat_j_kg_k": -1.0}}}, "tissues.fat.specific_heat_j_kg_k",
     "at least 100"),
    ({"tissues": {"tumour": {"conductivity_w_m_k": 0.0}}}, "tissues.tumour.conductivity_w_m_k",
     "at least 0.001"),
    ({"tissues": {"tumour": {"perfusion_kg_m3_s": -0.5}}}, "tissues.tumour.perfusion_kg_m3_s",
     "at least 0"),
    ({"tissues": {"tumour": {"perfusion_kg_m3_s": "0.5"}}}, "tissues.tumour.perfusion_kg_m3_s",
     "a number"),
    ({"transducer.axis": [0, 0, NAN]}, "transducer.axis.2", "finite"),
    ({"transducer.axis": [0, 0, 1e-200]}, "transducer.axis", "not zero"),
    ({"transducer.standoff_mm": -5}, "transducer.standoff_mm", "at least 0"),
    ({"transducer.standoff_mm": NAN}, "transducer.standoff_mm", "finite"),
    ({"foci.spacing_mm": 0}, "foci.spacing_mm", "at least 0.5"),
    ({"foci.spacing_mm": "wide"}, "foci.spacing_mm", "auto"),
    ({"foci.plane_spacing_mm": 0}, "foci.plane_spacing_mm", "at least 0.5"),
    ({"foci.max_left_out_fraction": 2}, "foci.max_left_out_fraction", "at most 1"),
    ({"foci.skin_distance_mm": -1}, "foci.skin_distance_mm", "at least 0"),
    ({"transducer.axis": "north"}, "transducer.axis", "auto"),
    ({"transducer.standoff_mm": "near"}, "transducer.standoff_mm", "auto"),
    ({"transducer.max_blocked_fraction": NAN}, "transducer.max_blocked_fraction", "finite"),
    ({"transducer.failed_elements": [257]}, "transducer.failed_elements", "1 to 256"),
    ({"transducer.apodisation": [1, 1]}, "transducer.apodisation", "256 elements"),
    ({"transducer.failed_elements": [*range(1, 231)]}, "prescription.max_power_w", "at most 10.1"),
    ({"transducer.name": "./own.yaml"}, "transducer.name", "random256"),
    ({"foci.plane_offsets_mm": "0"}, "foci.plane_offsets_mm", "a list"),
    ({"foci.planes": [0]}, "foci.planes", "plane_offsets_mm"),
    ({"foci.explicit_mm": [[0, 0, 0], [0, 0, 0.0]]}, "foci.explicit_mm", "all different"),
    ({"foci.explicit_mm": [[0, 0]]}, "foci.explicit_mm.0", "of 3 entries"),
    ({"constraints.clearance_mm": 0}, "constraints.clearance_mm", "at least 1"),
    ({"constraints.points": 0}, "constraints.points", "at least 4"),
    ({"constraints.surface": "box"}, "constraints.surface", "ellipsoid"),
    ({"anatomy.phantom.seed": -1}, "anatomy.phantom.seed", "at least 0"),
    ({"anatomy.phantom.kind": "liver"}, "anatomy.phantom.kind", "breast"),
    ({"anatomy.phantom.colour": 3}, "anatomy.phantom.colour", "irregularity"),
    ({"anatomy.phantom.tumour_semi_axes_mm": [9, 9, 1]}, "anatomy.phantom.tumour_semi_axes_mm",
     "at least 1.5"),
    ({"regions.fat.labels": [0, 1]}, "regions.fat.labels", "other than 0"),
    ({"regions.fat.labels": ["fat", ""]}, "regions.fat.labels.1", "text"),
    ({"regions.fat.labels": ["1", 1.5]}, "regions.fat.labels.1", "a whole number"),
    ({"anatomy.mesh": {"file": "m.vtu"}}, "anatomy", "exactly one"),
    ({"anatomy.mesh": {"file": "m.vtu", "unit": "cm"}}, "anatomy.mesh.unit", "mm, m"),
    ({"anatomy.mesh": {"unit": "m"}}, "anatomy.mesh.file", "text"),
    ({"anatomy": {"image": "ct.nii"}}, "anatomy", "both"),
    ({"anatomy": {"labels": "m.nrrd", "nifti_transform": "qform"}}, "anatomy.nifti_transform",
     "auto"),
    ({"anatomy": {"labels": "m.nii", "nifti_transform": "both"}}, "anatomy.nifti_transform",
     "sform, qform"),
    ({"anatomy": {"labels": "m.nii", "body_extent_mm": [5, 2]}}, "anatomy.body_extent_mm",
     "smallest < largest"),
    ({"anatomy": {"labels": "m.nii", "body_extent_mm": [0, 2]}}, "anatomy.body_extent_mm.0",
     "above 0"),
    ({"anatomy": {"labels": "m.nii", "thresholds": {"a": {"below": 1}}}}, "anatomy", "both"),
    ({"anatomy": {"image": "ct.nii", "thresholds": {"a": {}}}}, "anatomy.thresholds.a", "below"),
    ({"anatomy": {"image": "ct.nii", "thresholds": {"a": {"at_least": 2, "below": 2}}}},
     "anatomy.thresholds.a", "at_least < below"),
    ({"anatomy": {"image": "ct.nii", "thresholds": {"a": {"above": 2}}}},
     "anatomy.thresholds.a.above", "at_least"),
    ({"target": {}}, "target", "exactly one"),
    ({"target.sphere": {"centre_mm": [0, 0, 0], "radius_mm": 5}}, "target", "exactly one"),
    ({"target": {"sphere": {"centre_mm": [0, 0, 0]}}}, "target.sphere.radius_mm", "at least 0.1"),
    ({"target": {"sphere": {"centre_mm": [0, 0], "radius_mm": 5}}}, "target.sphere.centre_mm",
     "of 3 entries"),
    ({"target": {"sphere": {"centre_mm": [0, 0, 0], "radius_mm": 5}, "at_mm": [0, 0, 0]}},
     "target", "with a region"),
    ({"target.at_mm": [0, 0, 0], "target.largest_component": True}, "target", "with a region"),
    ({"target": {"at_mm": [0, 0, 0], "largest_component": True}}, "target", "with a region"),
    ({"target": {"ellipsoid": {"centre_mm": [0, 0, 0], "semi_axes_mm": [9, 5, 5],
                               "first_axis": [0, 2, 0]}}}, "target.ellipsoid", "not parallel"),
    ({"cut_regions": ["tumour"]}, "cut_regions", "fat"),
    ({"cut_regions": ["muscle"]}, "cut_regions", "fat"),
    ({"target.margin_mm": -1}, "target.margin_mm", "at least 0"),
    ({"mesh.control.cells": 9300.5}, "mesh.control.cells", "a whole number"),
    ({"mesh.control.cells": 9300.0}, "mesh.control.cells", "a whole number"),
    ({"mesh.control.cells": True}, "mesh.control.cells", "a whole number"),
])
def test_fault_names_file_key_and_what_is_allowed(patient_file, changes, key, allowed):
    path = patient_file(changes)
    with pytest.raises(InvalidConfig) as caught:
        load_patient(path)
    assert_fault(caught, path, key, allowed)


@pytest.mark.parametrize(("changes", "key", "allowed"), [
    ({"aperture_m": 0.27}, "aperture_m", "below 0.26"),
    ({"element_radius_m": NAN}, "element_radius_m", "finite"),
    ({"n_elements": 0}, "n_elements", "at least 1"),
    ({"n_elements": 256.0}, "n_elements", "a whole number"),
    ({"kind": "anular"}, "kind", "random_spherical"),
    ({"frequency_hz": "1 MHz"}, "frequency_hz", "a number"),
    ({"frequency_mhz": 1}, "frequency_mhz", "frequency_hz"),
    ({"max_steering_m": {"lateral": 0.01}}, "max_steering_m.axial", "at least 0"),
    ({"seed": -1}, "seed", "at least 0"),
    ({"max_power_w": "100"}, "max_power_w", "a number"),
])
def test_faults_of_a_transducer_name_its_file(tmp_path, monkeypatch, changes, key, allowed):
    original = devices.TRANSDUCERS / "random256.yaml"
    path = variant(original, changes, tmp_path / "random256.yaml")
    monkeypatch.setattr(devices, "TRANSDUCERS", tmp_path)
    with pytest.raises(InvalidConfig) as caught:
        load_patient(REFERENCE)
    assert_fault(caught, path, key, allowed)


@pytest.mark.parametrize(("changes", "key", "allowed"), [
    ({"water.density_kg_m3": NAN}, "water.density_kg_m3", "finite"),
    ({"water.absorption_np_m_mhz": 1}, "water.absorption_np_m_mhz", "at most 0"),
    ({"blood.specific_heat_j_kg_k": None}, "blood.specific_heat_j_kg_k", "at least 100"),
    ({"tissues.fat.density_kg_m3": None}, "tissues.fat.density_kg_m3", "at least 0.1"),
])
def test_faults_of_the_tissue_table_name_its_file(tmp_path, monkeypatch, changes, key, allowed):
    path = variant(configuration.TISSUES, changes, tmp_path / "tissues.yaml")
    monkeypatch.setattr(configuration, "TISSUES", path)
    with pytest.raises(InvalidConfig) as caught:
        load_patient(REFERENCE)
    assert_fault(caught, path, key, allowed)


def test_all_faults_are_reported_at_once(patient_file):
    with pytest.raises(InvalidConfig) as caught:
        load_patient(patient_file({"mesh.control.cells": -3, "reduction.order": 0, "tpyo": 1}))
    assert {fault.key for fault in caught.value.faults} == {
        "mesh.control.cells", "reduction.order", "tpyo"}


def test_missing_label_map_is_named(patient_file):
    path = patient_file({"anatomy": {"labels": "nowhere.nii.gz"}})
    with pytest.raises(InvalidConfig, match=r"nowhere\.nii\.gz': no such file"):
        load_patient(path)


def test_folder_in_place_of_a_mesh_is_told(patient_file, tmp_path):
    (tmp_path / "map").mkdir()
    with pytest.raises(InvalidConfig, match=r"mesh\.file = 'map': is a folder"):
        load_patient(patient_file({"anatomy": {"mesh": {"file": "map"}}}))
    load_patient(patient_file({"anatomy": {"labels": "map"}}))  # one file per organ, or DICOM


def dicom(path, storage):
    path.write_bytes(bytes(128) + b"DICM" + bytes(40) + storage.encode() + b"\x00")


def test_which_dicom_series_results_refer_to(patient_file, tmp_path):
    """That of the labels or of the image; a segmentation alone, or another format, is none."""
    for name in ("ct", "seg", "mr"):
        (tmp_path / name).mkdir()
        if name != "mr":
            dicom(tmp_path / name / "seg.dcm", "1.2.840.10008.5.1.4.1.1.66.4")
        if name != "seg":
            dicom(tmp_path / name / "1.dcm", "1.2.840.10008.5.1.4.1.1.2")
    (tmp_path / "m.nii").write_text("")
    image = {"image": "mr", "thresholds": {"body": {"at_least": 0}}}

    def series(anatomy, **changes):
        patient = load_patient(patient_file({"anatomy": anatomy, **changes}))
        assert ("series" in patient.section("anatomy")) == (patient.dicom_series is not None)
        return patient.dicom_series and Path(patient.dicom_series).name

    assert series({"labels": "ct"}) == "ct"
    assert series({"labels": "seg"}) is None
    assert series({"labels": "m.nii"}) is None
    assert series({"labels": "m.nii", **image}) == "mr"
    assert series({"labels": "ct"}, **{"export.dicom_series": "none"}) is None
    assert series({"labels": "m.nii"}, **{"export.dicom_series": "ct"}) == "ct"
    with pytest.raises(InvalidConfig, match=r"export\.dicom_series = 'pet': .*no such file"):
        series({"labels": "m.nii"}, **{"export.dicom_series": "pet"})


def test_null_is_what_is_allowed_not_none(patient_file):
    with pytest.raises(InvalidConfig, match="allowed: null or a number"):
        load_patient(patient_file({"reduction.tolerance_k": "small"}))


def test_all_sources_are_found_beside_the_patient_file(patient_file, tmp_path):
    anatomy = {"image": "ct.nii", "thresholds": {"body": {"at_least": -300}}, "labels": "m.nii"}
    with pytest.raises(InvalidConfig) as caught:
        load_patient(patient_file({"anatomy": anatomy}))
    assert {fault.key for fault in caught.value.faults} == {"anatomy.labels", "anatomy.image"}
    for name in ("ct.nii", "m.nii", "m.vtu"):
        (tmp_path / name).write_bytes(b"")
    both = load_patient(patient_file({"anatomy": anatomy}))
    assert both.sources == [str(tmp_path / "m.nii"), str(tmp_path / "ct.nii")]
    assert both.scan == str(tmp_path / "m.nii")
    del anatomy["labels"]
    assert load_patient(patient_file({"anatomy": anatomy})).scan == str(tmp_path / "ct.nii")
    mesh = load_patient(patient_file({"anatomy": {"mesh": {"file": "m.vtu"}}}))
    assert mesh.sources == [str(tmp_path / "m.vtu")] and mesh.scan is None
    assert mesh.section("anatomy")["anatomy"]["mesh"]["unit"] == "mm"


def test_label_map_is_relative_to_the_patient_file(patient_file, tmp_path):
    (tmp_path / "map.nii.gz").write_bytes(b"")
    patient = load_patient(patient_file({"anatomy": {"labels": "map.nii.gz"}}))
    assert Path(patient.sources[0]) == tmp_path / "map.nii.gz"


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


def test_validate_says_what_a_run_would_say_of_the_name(tmp_path, capsys):
    path = tmp_path / "odd name.yaml"
    path.write_text(REFERENCE.read_text())
    assert main(["validate", str(path)]) == 2
    assert "not a usable name" in capsys.readouterr().err


def test_rules_get_only_what_they_use():
    patient = load_patient(REFERENCE)
    assert "conductivity_w_m_k" not in str(patient.section("heating"))
    assert "speed_of_sound_m_s" not in str(patient.section("assemble", "plant"))
    assert patient.section("assemble", "control")["deviations"] == {
        "perfusion_factor": 1, "conductivity_factor": 1, "absorption_factor": 1,
        "focal_shift_mm": [0, 0, 0], "regions": {}}
    assert not patient.section("control", "paper")["plant"]["response"]
    assert patient.section("mesh", "control")["cells"] == 9700


def test_every_missing_section_is_named(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("{}")
    with pytest.raises(InvalidConfig) as caught:
        load_patient(path)
    assert [fault.key for fault in caught.value.faults] == ["anatomy", "regions", "target"]


def test_keys_that_are_not_text_are_errors(tmp_path):
    for text in ("1: {labels: [1]}\n", "[a]: 1\n"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(InputError, match="not text"):
            read_yaml(tmp_path / "bad.yaml")


def test_water_and_blood_can_be_overridden(patient_file):
    path = patient_file({"tissues": {"water": {"speed_of_sound_m_s": 1524},
                                     "blood": {"specific_heat_j_kg_k": 3617}}})
    patient = load_patient(path)
    assert patient.section("heating")["tissues"]["water"]["speed_of_sound_m_s"] == 1524
    assert patient.section("assemble", "plant")["blood"]["specific_heat_j_kg_k"] == 3617
    assert patient.water["source"] == path.name


def test_where_a_patient_file_stands_changes_no_section(patient_file, monkeypatch):
    path = patient_file({})
    monkeypatch.chdir(path.parent)
    for rule in ("anatomy", "constraints", "plan", "heating", "reduce", "export", "report"):
        assert load_patient(path).section(rule) == load_patient(path.name).section(rule)


@pytest.mark.parametrize("given", ["33", 33])
def test_a_patient_may_be_called_by_a_number(patient_file, given):
    path = patient_file({})
    path.rename(path.with_name("33.yaml"))
    study = Study.from_config({"patients": given, "patients_dir": str(path.parent)})
    assert list(study.patients) == ["33"]


def test_odd_patient_names_are_refused(patient_file):
    path = patient_file({})
    path.rename(path.with_name("odd name!.yaml"))
    with pytest.raises(InvalidConfig, match="letters, digits"):
        Study.from_config({"patients": "all", "patients_dir": str(path.parent)})


def test_a_responsive_plant_gets_the_curves_of_its_tissues(tmp_path):
    path = tmp_path / "patient.yaml"
    content = yaml.safe_load(REFERENCE.read_text())
    content["plant"] = {"tissue": "responsive"}
    path.write_text(yaml.safe_dump(content))
    plant = load_patient(path).section("control", "paper")["plant"]
    assert sorted(plant["response"]) == ["fat", "tumour"]
    assert plant["response"]["fat"]["perfusion"][0] == [37, 1]
    assert plant["response"]["fat"]["coagulated_conductivity"] == 1


@pytest.mark.parametrize(("named", "expected"), [
    ("", ["mintime"]), (", controllers: [optimum]", ["optimum"])])
def test_ensembles_leave_the_yardstick_out_unless_it_is_named(tmp_path, named, expected):
    text = (ROOT / "config" / "patients" / "breast_reference.yaml").read_text()
    path = tmp_path / "patient.yaml"
    path.write_text(text + f"controllers: [mintime, optimum]\nensemble: {{draws: 2{named}}}\n")
    assert load_patient(path).ensemble_controllers == expected


def test_an_ensemble_that_nobody_treats_is_refused(patient_file):
    path = patient_file({"controllers": ["optimum"], "ensemble.draws": 2})
    with pytest.raises(InvalidConfig) as caught:
        load_patient(path)
    assert_fault(caught, path, "controllers", "ensemble.controllers")
