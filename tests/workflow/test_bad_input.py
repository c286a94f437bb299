"""What a user can get wrong ends in one clear error, early, and leaves nothing half finished."""

import subprocess
import sys
import zipfile

import nibabel as nib
import numpy as np
import pytest
import yaml

from hifuflow.provenance import ROOT

BODY, TUMOUR = 1, 2


def label_map(path, tumour=True, at=(20, 20, 12)):
    """A half ball of body with a tumour, on a 3 mm grid, beam along +z."""
    i, j, k = np.meshgrid(*(np.arange(n) for n in (41, 41, 24)), indexing="ij")
    labels = np.where((i - 20) ** 2 + (j - 20) ** 2 + (k - 22) ** 2 <= 20 ** 2, BODY, 0)
    if tumour:
        ball = (i - at[0]) ** 2 + (j - at[1]) ** 2 + (k - at[2]) ** 2 <= 3 ** 2
        labels[ball] = TUMOUR
    nib.save(nib.Nifti1Image(labels.astype(np.int16), np.diag([3.0, 3, 3, 1])), path)


@pytest.fixture
def patient(tmp_path):
    """Write a patient file with its label map; keyword arguments replace whole sections."""
    def write(labels="map.nii.gz", map_options=None, **sections):
        content = {
            "anatomy": {"labels": labels},
            "regions": {"fat": {"labels": [BODY], "tissue": "fat"},
                        "tumour": {"labels": [TUMOUR], "tissue": "tumour"}},
            "target": {"region": "tumour"}, **sections}
        if not (tmp_path / "map.nii.gz").exists():
            label_map(tmp_path / "map.nii.gz", **(map_options or {}))
        path = tmp_path / "patient.yaml"
        path.write_text(yaml.safe_dump(content))
        return path
    return write


def validate(path):
    return subprocess.run([sys.executable, "-m", "hifuflow", "validate", str(path)], cwd=ROOT,
                          capture_output=True, text=True)


def check_refused(path, *words, faults=1):
    done = validate(path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    assert len(lines) == faults, done.stderr
    for word in words:
        assert word in lines[0], (word, lines[0])


def test_good_patient_is_usable(patient):
    done = validate(patient())
    assert done.returncode == 0, done.stderr
    assert "usable" in done.stdout


def test_missing_label_map(patient):
    check_refused(patient(labels="nowhere.nii.gz"), "patient.yaml", "anatomy.labels",
                  "nowhere.nii.gz")


def test_corrupt_label_map(patient, tmp_path):
    (tmp_path / "map.nii.gz").write_bytes(b"\x1f\x8b not a gzip file")
    check_refused(patient(), "map.nii.gz")


def test_absent_label(patient):
    regions = {"fat": {"labels": [BODY], "tissue": "fat"},
               "tumour": {"labels": [7], "tissue": "tumour"}}
    check_refused(patient(regions=regions), "regions.tumour.labels", "7", "1 (", "2 (", faults=2)


def test_empty_target(patient):
    check_refused(patient(map_options={"tumour": False}), "regions.tumour.labels", "1 (")


def test_label_that_no_region_names(patient):
    regions = {"tumour": {"labels": [TUMOUR], "tissue": "tumour"}}
    check_refused(patient(regions=regions), "regions", "1 (")


def test_target_outside_the_body(patient):
    check_refused(patient(map_options={"at": (4, 4, 4)}), "target")


def test_focus_outside_the_reach(patient):
    check_refused(patient(foci={"explicit_mm": [[60, 60, 36], [100, 60, 50]]}), "foci.explicit_mm",
                  "patient.yaml")


def test_constraints_outside_the_body(patient):
    check_refused(patient(constraints={"clearance_mm": 30}), "constraints.clearance_mm", "30")


def test_limit_below_the_baseline(patient):
    check_refused(patient(constraints={"limit_c": 36}), "constraints.limit_c", "36", "37")


def test_nan_property(patient):
    check_refused(patient(tissues={"fat": {"conductivity_w_m_k": float("nan")}}),
                  "tissues.fat.conductivity_w_m_k", "nan")


def test_mesh_that_cannot_hold_the_target(patient):
    check_refused(patient(mesh={"control": {"cells": 200}, "plant": {"cells": 400}}),
                  "patient.yaml", "mesh.control.cells", "200", "whole number from")


def test_plant_mesh_that_nobody_can_compute_with(patient):
    check_refused(patient(mesh={"plant": {"cells": 2_000_000}}), "mesh.plant.cells", "2000000")


def test_acoustic_grid_too_coarse_for_the_wave(patient):
    check_refused(patient(acoustics={"spacing_mm": 2}), "patient.yaml", "acoustics.spacing_mm",
                  "wavelengths")


@pytest.mark.parametrize(("sections", "words"), [
    ({"mesh": {"control": {"cells": 100}}}, ("mesh.control.cells", "100", "at least 200")),
    ({"reduction": {"order": 19000}}, ("reduction.order", "19000")),
    ({"foci": {"explicit_mm": [[60, 60, 36], [100, 60, 50]]}}, ("foci.explicit_mm",)),
])
def test_run_stops_with_one_error_and_nothing_finished(checkout, patient, tmp_path, sections,
                                                       words):
    path = patient(**sections)
    done = checkout.snakemake(patients_dir=path.parent, results_dir=str(tmp_path / "out"),
                              names=("patient",))
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in text
    for word in words:
        assert word in text, text
    written = {p.name for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert not written & {"heating.h5", "control.msh", "rom.h5", "metrics.json", "index.html"}
    assert not [name for name in written if name.startswith(".")]


def test_one_patient_that_fails_stops_no_other_and_is_named(checkout, patient, tmp_path):
    bad = patient(constraints={"clearance_mm": 30}).rename(tmp_path / "bad.yaml")
    good = patient().rename(tmp_path / "good.yaml")
    done = checkout.snakemake("--until", "constraints", patients_dir=bad.parent, names="all",
                              results_dir=str(tmp_path / "out"))
    assert done.returncode != 0
    assert (tmp_path / "out" / good.stem / "anatomy" / "constraints.json").is_file()
    assert not (tmp_path / "out" / bad.stem / "anatomy" / "constraints.json").exists()
    failed = [line for line in done.stdout.splitlines() if "FAILED" in line]
    assert len(failed) == 1
    assert failed[0].startswith("bad: FAILED in constraints: bad.yaml: constraints.clearance_mm")
    page = (tmp_path / "out" / "summary.html").read_text()
    assert "bad.yaml: constraints.clearance_mm" in page and "bad/logs/constraints.log" in page
    # What is written at the end of a failed run is no result: the rule makes it anew.
    assert (tmp_path / "out" / "summary.html").stat().st_mtime == 0


def test_a_report_holds_those_patients_that_have_a_page(checkout, patient, tmp_path):
    patient().rename(tmp_path / "bad.yaml")
    patient().rename(tmp_path / "good.yaml")
    options = {"patients_dir": tmp_path, "names": "all", "results_dir": str(tmp_path / "out")}
    none = checkout.snakemake("--report", str(tmp_path / "report.zip"), **options)
    assert none.returncode != 0 and "no patient has a page" in none.stdout + none.stderr
    page = tmp_path / "out" / "good" / "report" / "index.html"
    (page.parent / "figures").mkdir(parents=True)
    page.write_text("<html>the good patient</html>")
    (page.parent / "figures" / "dose.png").write_bytes(b"PNG")
    (tmp_path / "out" / "summary.html").write_text("<html>both</html>")
    done = checkout.snakemake("--report", str(tmp_path / "report.zip"), **options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no page, and not in the report: bad" in done.stderr
    with zipfile.ZipFile(tmp_path / "report.zip") as report:
        content = [report.read(name) for name in report.namelist()]
    assert any(b"the good patient" in one for one in content)
