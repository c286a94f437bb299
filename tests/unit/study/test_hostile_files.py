"""Patient and device files that nobody should be able to hang, crash or fool the program with."""

import re
import subprocess
import sys
import time

import pytest
import yaml
from mutations import mutated

from hifuflow.acoustics.focal_zone import focal_size
from hifuflow.acoustics.settings import TransducerSettings
from hifuflow.acoustics.transducer import Transducer
from hifuflow.errors import HifuflowError, InputError, InvalidConfig
from hifuflow.provenance import ROOT
from hifuflow.study import patient as configuration
from hifuflow.study.command_line import main
from hifuflow.study.patient import load_patient
from hifuflow.study.study import Study
from hifuflow.study.transducer_file import TRANSDUCERS, load_device
from hifuflow.study.yaml_file import read_yaml

REFERENCE = ROOT / "config" / "patients" / "breast_reference.yaml"
CASES = ROOT.parent / "shared" / "cases" / "config"
DEVICE = read_yaml(TRANSDUCERS / "random256.yaml")
SECONDS = 2
RINGS = {"description": "d", "source": "s", "kind": "annular", "frequency_hz": 1e6,
         "radius_of_curvature_m": 0.1, "rings_m": [[0, 0.01], [0.011, 0.02], [0.021, 0.03]],
         "max_power_w": 10, "max_steering_m": {"lateral": 0, "axial": 0.02}}
LIST = {**{key: value for key, value in RINGS.items() if key != "rings_m"}, "kind": "elements",
        "elements": "discs.csv", "failed_elements": [1], "apodisation": [1, 1, 0.5]}
DISCS = ("x_m,y_m,z_m,nx,ny,nz,radius_m\n0,0,0,0,0,1,0.003\n0.01,0,0.0005,-0.1,0,0.995,0.004\n"
         "-0.01,0,0,0,0,2,0.003\n")
OFTEN_LEFT_OUT = {
    "constraints": [{"surface": "skin", "depth_mm": 3}, {
        "surface": "region", "region": "fat", "dose_limit_cem43_min": 17, "soft": True}],
    "foci": {"explicit_mm": [[109.5, 87, 24], [111, 87, 24]], "spacing_mm": 3.0},
    "plant": {"tissue": "responsive", "regions": {"fat": {"perfusion_factor": 0}}},
    "ensemble": {"draws": 3, "controllers": ["mintime"], "spread": {"perfusion": 0.1}},
    "controllers": ["mintime", "hyperthermia", "optimum", "raster"],
    "boundary": {"skin": {"temperature_c": 15, "coefficient_w_m2_k": 100}},
    "target": {"region": "tumour", "margin_mm": 2},
    "tissues": {"fat": {"density_kg_m3": 930.0, "response": {"source": "y",
                                                             "perfusion": [[37, 1], [45, 3]]}}},
    "transducer": {"name": "random256", "axis": "auto", "failed_elements": [1, 2]},
    "thermometry": {"lost_s": [[10, 20]], "no_signal_regions": ["fat"]},
    "export": {"dicom_series": "none"}}


def device_faults(folder, **changes):
    """Of the reference array with some keys changed; a name beside it is the patient's."""
    content = {key: value for key, value in {**DEVICE, **changes}.items() if value is not None}
    (folder / "own.yaml").write_text(yaml.safe_dump(content))
    start = time.process_time()
    device, faults = load_device({"name": "./own.yaml", "failed_elements": []},
                                 folder / "anna.yaml")
    if not faults:
        try:
            Transducer.of(TransducerSettings.read(device))
        except InputError as error:
            faults = [error]
    assert time.process_time() - start < SECONDS
    return faults


@pytest.mark.parametrize(("changes", "key", "allowed"), [
    ({"max_steering_m": {"lateral": 15, "axial": 30}}, "max_steering_m.lateral", "at most 1"),
    ({"max_steering_m": {"lateral": 0.02, "axial": 0.5}}, "max_steering_m.axial", "at most 0.13"),
    ({"aperture_m": 1e-9}, "aperture_m", "at least 0.0001"),
    ({"aperture_m": 0.001, "element_radius_m": 1e-4}, "aperture_m", "at least 0.0015"),
    ({"element_radius_m": 0.066}, "element_radius_m", "at most 0.065"),
    ({"element_radius_m": 0.02}, "element_radius_m", "at most 54.9%"),
    ({"n_elements": 10_000, "element_radius_m": 0.0005}, "element_radius_m", "at most 54.7%"),
    ({"n_elements": 10_000, "element_radius_m": 0.00049}, "element_radius_m", "smaller elements"),
    ({"n_elements": 10_000_000}, "n_elements", "at most 10000"),
    ({"kind": "fermat_spiral", "seed": None, "element_radius_m": 0.005}, "element_radius_m",
     "at most 90.9%"),
    ({"kind": "fermat_spiral", "seed": None, "n_elements": 1, "inner_aperture_m": 0.12,
      "element_radius_m": 0.01}, "element_radius_m", "below"),
    ({"max_power_w": 1e30}, "max_power_w", "at most 10000"),
    ({"kind": "elements", "elements": "~nosuchuser/b.csv", "aperture_m": None,
      "n_elements": None, "element_radius_m": None, "seed": None}, "elements", "relative to"),
    ({"kind": "elements", "elements": "/dev/zero", "aperture_m": None, "n_elements": None,
      "element_radius_m": None, "seed": None}, None, "a text file"),
])
def test_impossible_transducers_are_refused_at_once(tmp_path, changes, key, allowed):
    faults = device_faults(tmp_path, **changes)
    assert any(fault.key == key and allowed in fault.allowed for fault in faults), faults


def test_ten_thousand_small_elements_are_laid_out_at_once(tmp_path):
    assert device_faults(tmp_path, n_elements=10_000, element_radius_m=0.00045) == []


def patient_faults(folder, **changes):
    path = folder / "patient.yaml"
    path.write_text(yaml.safe_dump({**read_yaml(REFERENCE), **changes}))
    with pytest.raises(InvalidConfig) as caught:
        load_patient(path)
    return {fault.key: fault for fault in caught.value.faults}


@pytest.mark.parametrize(("changes", "key", "words"), [
    ({"transducer": {"name": "~nosuchuser/x.yaml"}}, "transducer.name", "no such transducer"),
    ({"transducer": {"name": "x" * 5000 + ".yaml"}}, "transducer.name", "no such transducer"),
    ({"anatomy": {"labels": "~nosuchuser/x.nii"}}, "anatomy.labels", "no such file"),
    ({"anatomy": {"labels": "x" * 300}}, "anatomy.labels", "no such file"),
    ({"constraints": {"name": "neck\n"}}, "constraints.name", "wrong form"),
    ({"regions": {"fat": {"labels": [1], "tissue": "fat"},
                  "skin_region": {"labels": [2], "tissue": "tumour"}},
      "target": {"region": "skin_region"}}, "regions.skin_region", "volume of a region 'skin'"),
    ({"boundary": {"skin": "insulated"}, "tissues": {
        "fat": {"perfusion_kg_m3_s": 0}, "tumour": {"perfusion_kg_m3_s": 0}}}, "boundary.skin",
     "nothing fixes the temperature of the control model"),
    ({"boundary": {"skin": "insulated"}, "plant": {"perfusion_factor": 0}}, "boundary.skin",
     "nothing fixes the temperature of the plant model"),
    ({"anatomy": {"phantom": {"kind": "breast", "voxel_size_mm": 0.5, "breast_radius_mm": 150}}},
     "anatomy.phantom.voxel_size_mm", "million voxels"),
    ({"foci": {"explicit_mm": [[1e9, 0, 0]]}}, "foci.explicit_mm.0.0", "out of range"),
    ({"foci": {"plane_offsets_mm": list(range(-100, 101))}}, "foci.plane_offsets_mm", "too many"),
    ({"thermometry": {"seed": 2**40}}, "thermometry.seed", "out of range"),
    ({"description": "x" * 5000, "target": {"region": "y" * 5000}}, "target.region", " ... "),
])
def test_impossible_patients_are_refused(tmp_path, changes, key, words):
    faults = patient_faults(tmp_path, **changes)
    assert key in faults and words in str(faults[key]), faults


def test_a_thousand_faults_are_not_a_thousand_lines(tmp_path):
    foci = {"explicit_mm": ["x"] * 4000}
    (tmp_path / "patient.yaml").write_text(yaml.safe_dump({**read_yaml(REFERENCE), "foci": foci}))
    with pytest.raises(InvalidConfig, match=r"and \d+ more faults$") as caught:
        load_patient(tmp_path / "patient.yaml")
    assert len(str(caught.value).splitlines()) < 30


def test_lists_of_many_unlike_things_are_compared_at_once(tmp_path):
    mixed = [[n, float(n), str(n)] for n in range(5000)]
    start = time.process_time()
    patient_faults(tmp_path, foci={"explicit_mm": mixed})
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize(("key", "value"), [
    ("results_dir", "~nosuchuser/x"), ("results_dir", "x\0y"), ("results_dir", "x" * 5000),
    ("patients_dir", "~nosuchuser"), ("patients", ["a\n"]), ("patients", [True]),
    ("patients", {"a": 1}), ("mpi_ranks", True), ("mpi_ranks", 10**9)])
def test_impossible_studies_are_refused(key, value):
    with pytest.raises(InvalidConfig) as caught:
        Study.from_config({key: value})
    assert all(fault.key.split(".")[0] == key for fault in caught.value.faults)


# What each of the sample files must say; those of devices are named by their patient files.
SAID = {
    "bigdisc": "would cover 2035.*of the bowl", "date": "reads as a date", "deep": "deeper than",
    "insulated_no_perfusion": "nothing fixes the temperature", "latin1": "not UTF-8",
    "laughs": "more than 50,000 values", "manydisc": "55.2% of the bowl",
    "nul": "control character", "steer": "max_steering_m.lateral = 15",
    "tagbool": "!!bool", "tagint": "!!int", "tagts": "!!timestamp", "tinyap": "aperture_m = 1e-09"}


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no sample files at {CASES}")
@pytest.mark.parametrize("name", SAID)
def test_sample_files_end_in_one_clear_error_within_a_second(name, capsys):
    start = time.process_time()
    assert main(["validate", str(CASES / f"{name}.yaml")]) == 2
    assert time.process_time() - start < 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines and all(line.startswith("ERROR") and ".yaml" in line for line in lines)
    assert len(lines) <= 2 and any(re.search(SAID[name], line) for line in lines), lines


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no sample files at {CASES}")
def test_sample_patients_that_are_odd_but_usable_get_a_warning(capsys):
    files = [CASES / f"repro_{name}.yaml" for name in ("one_focus_no_warning",
                                                       "region_named_skin")]
    assert main(["validate", *map(str, files)]) == 0
    said = capsys.readouterr().err
    assert "one_focus_no_warning.yaml: the only focus reaches 4% of the target" in said
    assert "region_named_skin.yaml: region 'skin'" in said and "'skin_region'" in said


def test_a_faulty_file_costs_no_loading_of_the_stages(tmp_path):
    """`validate` answers at once: it loads neither scans' nor meshes' libraries for a typo."""
    (tmp_path / "patient.yaml").write_text("anatomy: 1\n")
    code = ("import sys\nfrom hifuflow.study.command_line import main\n"
            f"assert main(['validate', {str(tmp_path / 'patient.yaml')!r}]) == 2\n"
            "assert not {'nibabel', 'gmsh', 'scipy', 'h5py'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)


def sections(patient):
    """What the workflow makes of a patient before the first job, and what is cheap of the rest."""
    for rule in ("anatomy", "constraints", "plan", "heating", "reduce", "export", "export_dicom",
                 "report", "draw"):
        patient.section(rule)
    for model in ("control", "plant"):
        patient.section("mesh", model), patient.section("assemble", model)
    patient.section("control")
    device = Transducer.of(TransducerSettings.read(patient.section("plan")["device"]))
    focal_size(device, patient.water["speed_of_sound_m_s"])


def test_a_patient_of_an_impossibly_long_name_is_one_error():
    content = read_yaml(ROOT / "config" / "config.yaml")
    with pytest.raises(InvalidConfig, match="no such patient file"):
        Study.from_config({**content, "patients": ["a" * 5000]})


def try_patient(folder, seed, monkeypatch):
    texts = [REFERENCE.read_text(), yaml.safe_dump(load_patient(REFERENCE).config),
             yaml.safe_dump({**load_patient(REFERENCE).config, **OFTEN_LEFT_OUT})]
    (folder / "patient.yaml").write_bytes(mutated(texts[seed % 3], seed))
    return lambda: sections(load_patient(folder / "patient.yaml"))


def try_device(folder, seed, monkeypatch):
    (folder / "discs.csv").write_text(DISCS)
    texts = [*(file.read_text() for file in sorted(TRANSDUCERS.glob("*.yaml"))),
             yaml.safe_dump(RINGS), yaml.safe_dump(LIST)]
    (folder / "own.yaml").write_bytes(mutated(texts[seed % len(texts)], seed))
    (folder / "patient.yaml").write_text(
        f"{REFERENCE.read_text()}transducer: {{name: ./own.yaml}}\n"
        "prescription: {max_power_w: 0.5}\n")
    return lambda: sections(load_patient(folder / "patient.yaml"))


def try_tissues(folder, seed, monkeypatch):
    (folder / "tissues.yaml").write_bytes(mutated(configuration.TISSUES.read_text(), seed))
    monkeypatch.setattr(configuration, "TISSUES", folder / "tissues.yaml")
    return lambda: sections(load_patient(REFERENCE))


def try_study(folder, seed, monkeypatch):
    text = (ROOT / "config" / "config.yaml").read_text()
    (folder / "config.yaml").write_bytes(mutated(text, seed))
    return lambda: Study.from_config(read_yaml(folder / "config.yaml"))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("attempt", "count"), [(try_patient, 150), (try_device, 90),
                                                (try_tissues, 50), (try_study, 50)])
def test_mutated_files_are_taken_or_refused_and_nothing_else(tmp_path, attempt, count):
    refused = 0
    for seed in range(count):
        with pytest.MonkeyPatch.context() as monkeypatch:
            call, start = attempt(tmp_path, seed, monkeypatch), time.process_time()
            try:
                call()
            except HifuflowError as error:
                refused += 1
                assert len(str(error)) < 20_000, seed
            except Exception as error:
                raise AssertionError(f"seed {seed} of {attempt.__name__}") from error
            assert time.process_time() - start < SECONDS, seed
    assert 0 < refused < count
