"""The workflow with its finite-element models assembled on two MPI ranks."""

import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import slurm_cluster
import yaml

from hifuflow.provenance import ROOT

TARGET = "fem/control.h5"
PROFILE = ROOT / "workflow" / "profiles" / "slurm" / "config.yaml"
# What runs in a job as Snakemake's: of SLURM it knows only the job's number.
JOB = """#!/bin/sh
cd {folder}
exec env -i PATH="$PATH" HOME="$HOME" SLURM_JOB_ID="$SLURM_JOB_ID" PYTHONPATH={root}:{folder} \\
    {python} -c "import counted; from hifuflow.fem.ranks import run_on_ranks; \\
run_on_ranks('{launcher}', 2, '{folder}/ranks', counted.count, '{folder}/size')"
"""
COUNTED = """
def count(comm, path):
    ranks = comm.allgather(comm.rank)
    if comm.rank == 0:
        open(path, "w").write(str(ranks))
"""


@pytest.fixture
def slurm(tmp_path):
    reason = slurm_cluster.why_not()
    if reason:
        pytest.skip(f"no SLURM here: {reason}")
    cluster = slurm_cluster.Slurm(tmp_path / "slurm")
    yield cluster
    cluster.stop()


def test_two_ranks_give_the_model_of_one(checkout, coarse_run, patients_dir):
    again = checkout.folder / "on_two_ranks" / coarse_run.name
    shutil.copytree(coarse_run, again)
    (again / TARGET).unlink()
    command = checkout.command(f"on_two_ranks/{coarse_run.name}/{TARGET}",
                               patients_dir=patients_dir, results_dir="on_two_ranks")
    done = subprocess.run([*command, "mpi_ranks=2"], cwd=checkout.folder, text=True,
                          env=checkout.environment, capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    log = (again / "logs" / "assemble_control.log").read_text()
    assert "2 ranks, started by mpirun\n" in log
    check_same(datasets(coarse_run / TARGET), datasets(again / TARGET))


def test_slurm_starts_ranks_as_the_profile_says_and_plain_srun_is_told(slurm, tmp_path):
    (tmp_path / "counted.py").write_text(COUNTED)
    rule, _, launcher = yaml.safe_load(PROFILE.read_text())["set-resources"][0].partition(":mpi=")
    assert rule == "assemble_mpi"
    assert said(tmp_path, launcher.strip('"')) == ""
    assert (tmp_path / "size").read_text() == "[0, 1]"
    assert "made a communicator of 1 instead of 2 ranks" in said(tmp_path, "srun --mpi=none")


def said(folder, launcher) -> str:
    """What a SLURM job of two tasks prints that starts two ranks."""
    job = JOB.format(folder=folder, root=ROOT, python=sys.executable, launcher=launcher)
    subprocess.run(["sbatch", "--wait", "--ntasks=2", "--mem=900", "--output", folder / "said"],
                   input=job, text=True, capture_output=True, timeout=120)
    return (folder / "said").read_text()


def datasets(path) -> dict:
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]})
                        if isinstance(item, h5py.Dataset) else None)
    return found


def check_same(one: dict, two: dict) -> None:
    assert one.keys() == two.keys()
    for name, values in one.items():
        if values.dtype.kind == "f":
            largest = np.abs(values).max(where=~np.isnan(values), initial=0)
            np.testing.assert_allclose(two[name], values, 0, 1e-11 * largest, err_msg=name)
        else:
            np.testing.assert_array_equal(two[name], values, name)
