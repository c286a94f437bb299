"""Studies: which patients they name, and where the results go."""

from pathlib import Path

import pytest

from hifuflow.errors import InvalidConfig
from hifuflow.provenance import ROOT
from hifuflow.study.study import Study

REFERENCE = ROOT / "config" / "patients" / "breast_reference.yaml"


def test_study_names_unknown_patients():
    with pytest.raises(InvalidConfig, match="breast_reference"):
        Study.from_config({"patients": ["nobody"], "patients_dir": str(REFERENCE.parent)})


def test_study_takes_all_patients_of_a_folder():
    study = Study.from_config({"patients": "all", "patients_dir": str(REFERENCE.parent)})
    assert sorted(study.patients) == sorted(p.stem for p in REFERENCE.parent.glob("*.yaml"))


def test_study_takes_files_of_several_folders_beside_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one/anna.yaml", "two/bob.yml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(REFERENCE.read_text())
    study = Study.from_config({
        "patients": ["one/anna.yaml", str(tmp_path / "two" / "bob.yml"), "breast_planes"],
        "patients_dir": str(REFERENCE.parent)})
    assert {name: patient.file for name, patient in study.patients.items()} == {
        "anna": Path("one/anna.yaml"), "bob": tmp_path / "two" / "bob.yml",
        "breast_planes": REFERENCE.with_name("breast_planes.yaml")}
    assert list(Study.from_config({"patients": "one/anna.yaml"}).patients) == ["anna"]


@pytest.mark.parametrize(("patients", "message"), [
    (["one/anna.yaml", "two/anna.yaml"], "two patients are called 'anna'"),
    (["one/anna.yaml", "./one/anna.yaml"], "two patients are called 'anna'"),
    (["one/breast_planes.yaml", "breast_planes"], "two patients are called 'breast_planes'"),
    (["one/nobody.yaml"], "one/nobody.yaml: .*no such patient file"),
    (["one"], "one.yaml: .*no such patient file.*breast_planes"),
    (["one/"], "not a usable name"),
    (["one/anna.txt"], "not a usable name"),
    (["one/odd name.yaml"], "not a usable name.*letters, digits"),
])
def test_patients_that_cannot_be_told_apart_or_found_are_one_error(tmp_path, monkeypatch, patients,
                                                                   message):
    monkeypatch.chdir(tmp_path)
    for name in ("one/anna", "two/anna", "one/breast_planes", "one/odd name"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(REFERENCE.read_text())
    with pytest.raises(InvalidConfig, match=message) as caught:
        Study.from_config({"patients": patients, "patients_dir": str(REFERENCE.parent)})
    assert len(caught.value.faults) == 1


def test_an_empty_folder_of_patients_is_an_error(tmp_path):
    with pytest.raises(InvalidConfig, match="holds no patient file"):
        Study.from_config({"patients": "all", "patients_dir": str(tmp_path)})


def test_results_dir_is_taken_the_same_with_and_without_a_slash():
    folders = {Study.from_config({"patients_dir": str(REFERENCE.parent), "results_dir": given}
                                 ).results_dir for given in ("out", "out/", "./out")}
    assert folders == {"out"}
    with pytest.raises(InvalidConfig, match="results_dir"):
        Study.from_config({"patients_dir": str(REFERENCE.parent), "results_dir": "out{x}"})
