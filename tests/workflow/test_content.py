"""Content decides: a flipped bit, a replaced file, a copied folder, whatever time stamps say."""

import os
import shutil
import sys

import nibabel as nib
import numpy as np
import pytest
import yaml

from hifuflow.job import read_json
from hifuflow.provenance import ROOT
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.certificate import read_certificate
from hifuflow.records.heating import Heating
from hifuflow.records.mesh import check_mesh
from hifuflow.records.plan import Plan
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.records.trajectory import Trajectory

sys.path.append(str(ROOT / "tests" / "unit" / "hifuflow"))
from flips import silent_flips


def anatomy(path):
    return Anatomy.load(path.parent)


READERS = {
    "anatomy/labels.nii.gz": anatomy, "anatomy/coupling.nii.gz": anatomy,
    "anatomy/regions.json": anatomy, "anatomy/constraints.json": read_json,
    "acoustics/plan.json": Plan.load, "acoustics/heating.h5": Heating.load,
    "mesh/control.msh": lambda path: check_mesh(path).read_bytes(),
    "mesh/plant.msh": lambda path: check_mesh(path).read_bytes(),
    "mesh/control.json": read_json, "mesh/plant.json": read_json,
    "fem/control.h5": BioheatModel.load, "fem/plant.h5": BioheatModel.load,
    "reduction/rom.h5": ReducedModel.load,
    "reduction/certificate.json": lambda path: read_certificate(path, path.with_name("rom.h5")),
    "control/paper/trajectory.h5": Trajectory.load, "control/paper/metrics.json": read_json}
ALL = {"anatomy", "constraints", "plan", "mesh", "heating", "assemble", "reduce", "control",
       "export", "treatment_mesh", "report", "summary"}


@pytest.fixture
def copied(checkout, coarse_run, tmp_path):
    """Copy the coarse run's results, as `cp -a` or `cp -r` do; returns the results folder."""
    def copy(tool=shutil.copy2):
        shutil.copytree(coarse_run, tmp_path / "copy" / coarse_run.name, copy_function=tool,
                        symlinks=True)
        results = coarse_run.parent
        for name in ("summary.html", "summary.csv", "provenance", "benchmarks"):
            if (results / name).is_dir():
                shutil.copytree(results / name, tmp_path / "copy" / name, copy_function=tool)
            else:
                tool(results / name, tmp_path / "copy" / name)
        return tmp_path / "copy"
    return copy


def test_every_intermediate_is_among_those_whose_bits_are_flipped(coarse_run):
    there = {str(path.relative_to(coarse_run)) for path in coarse_run.rglob("*") if path.is_file()
             and path.relative_to(coarse_run).parts[0] in {
                 name.partition("/")[0] for name in READERS}}
    assert {name.replace("mintime", "paper") for name in there} == set(READERS)


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_one_error_or_changes_nothing(copied, coarse_run, name):
    file = copied() / coarse_run.name / name
    n = 12 if name.endswith(".h5") else 60
    assert silent_flips(file, READERS[name], n, seed=len(name)) == []


@pytest.mark.parametrize("name", ["fem/plant.h5", "mesh/plant.msh", "anatomy/labels.nii.gz"])
def test_a_run_refuses_a_flipped_bit_and_makes_again_what_is_deleted(
        checkout, copied, coarse_run, patients_dir, name):
    results = copied()
    file = results / coarse_run.name / name
    content, status = bytearray(file.read_bytes()), file.stat()
    content[len(content) // 2] ^= 16
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    done = checkout.snakemake("--forcerun", "export", patients_dir=patients_dir,
                              results_dir=results)
    text = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in text
    assert f"{file}: is damaged or was replaced" in text and "delete it" in text
    file.unlink()
    maker = {"fem/plant.h5": "assemble", "mesh/plant.msh": "mesh"}.get(name, "anatomy")
    done = checkout.snakemake("--dry-run", "--quiet", "reason", "--forcerun", "export",
                              patients_dir=patients_dir, results_dir=results)
    assert done.returncode == 0 and f"rule {maker}:" in done.stdout + done.stderr


@pytest.mark.parametrize("tool", [shutil.copy2, shutil.copyfile], ids=["cp -a", "cp -r"])
def test_a_copied_results_folder_is_taken_as_far_as_it_fits(checkout, copied, tmp_path,
                                                            patients_dir, tool):
    results, where = copied(tool), {"patients_dir": tmp_path / "patients"}
    shutil.copytree(patients_dir, where["patients_dir"])
    assert checkout.planned_rules(results_dir=results, **where) == set()
    patient = where["patients_dir"] / "breast_small.yaml"
    text = patient.read_text()
    patient.write_text(text.replace("order: 150", "order: 140"))
    after = {"control", "export", "treatment_mesh", "report", "summary"}
    assert checkout.planned_rules(results_dir=results, **where) == {"reduce"} | after
    patient.write_text(text.replace("max_time_s: 60", "max_time_s: 30"))
    assert checkout.planned_rules(results_dir=results, **where) == after


def test_another_patients_folder_under_this_name_is_not_taken(checkout, copied, tmp_path,
                                                             patients_dir):
    results = copied()
    (results / "breast_small").rename(results / "other")
    (tmp_path / "other.yaml").write_text(
        (patients_dir / "breast_small.yaml").read_text().replace("points: 60", "points: 55"))
    planned = checkout.planned_rules(patients_dir=tmp_path, results_dir=results, names=("other",))
    assert planned == ALL


def test_a_replaced_reduced_model_is_refused(checkout, copied, coarse_run, patients_dir):
    file = copied() / coarse_run.name / "reduction" / "rom.h5"
    status = file.stat()
    model = ReducedModel.load(file)
    model.B *= 2
    model.save(file, coarse_run.name, "0" * 64)  # in itself a good file
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns - 10**12))
    done = checkout.snakemake("--dry-run", patients_dir=patients_dir,
                              results_dir=file.parents[2])
    assert done.returncode == 1
    assert "rom.h5: is damaged or was replaced" in done.stdout + done.stderr
    assert read_certificate(file.with_name("certificate.json"), file)[0] == {}


def test_a_label_map_replaced_by_an_older_one_reruns_the_patient(checkout, tmp_path):
    labels = np.zeros((41, 41, 24), np.int16)
    i, j, k = np.indices(labels.shape)
    labels[(i - 20) ** 2 + (j - 20) ** 2 + (k - 22) ** 2 <= 400] = 1
    labels[(i - 20) ** 2 + (j - 20) ** 2 + (k - 12) ** 2 <= 9] = 2
    (tmp_path / "patients").mkdir()
    image = tmp_path / "patients" / "map.nii.gz"
    nib.save(nib.Nifti1Image(labels, np.diag([3.0, 3, 3, 1])), image)
    (tmp_path / "patients" / "anna.yaml").write_text(yaml.safe_dump({
        "anatomy": {"labels": "map.nii.gz"}, "target": {"region": "tumour"},
        "regions": {"fat": {"labels": [1], "tissue": "fat"},
                    "tumour": {"labels": [2], "tissue": "tumour"}}}))
    where = {"patients_dir": tmp_path / "patients", "results_dir": tmp_path / "results",
             "names": ("anna",)}
    record = tmp_path / "results" / "anna" / "anatomy" / "regions.json"

    def run():
        done = checkout.snakemake("--until", "anatomy", **where)
        assert done.returncode == 0, done.stdout + done.stderr
        return read_json(record)["regions"]["tumour"]["volume_m3"]

    volume = run()
    os.utime(image)  # newer, and the same
    assert "anatomy" not in checkout.planned_rules(**where)
    labels[20, 20, 15] = 1
    nib.save(nib.Nifti1Image(labels, np.diag([3.0, 3, 3, 1])), image)
    os.utime(image, (10**9, 10**9))  # as `cp -p`, `rsync -a` and `unzip` leave it
    assert checkout.planned_rules(**where) == ALL
    assert run() < volume
    assert "anatomy" not in checkout.planned_rules(**where)
