"""The workflow with its finite-element models assembled on two MPI ranks."""

import shutil
import subprocess

import h5py
import numpy as np
import pytest
import slurm_cluster

TARGET = "fem/control.h5"
SLURM = ("--workflow-profile", "workflow/profiles/slurm",
         "--slurm-init-seconds-before-status-checks", "1")


@pytest.fixture
def slurm(tmp_path):
    reason = slurm_cluster.why_not()
    if reason:
        pytest.skip(f"no SLURM here: {reason}")
    cluster = slurm_cluster.Slurm(tmp_path / "slurm")
    yield
    cluster.stop()


@pytest.fixture
def on_two_ranks(checkout, coarse_run, patients_dir):
    """Makes one model of the coarse run again, and checks it against that of one rank."""
    def run(results, launcher, *options):
        again = checkout.folder / results / coarse_run.name
        shutil.copytree(coarse_run, again)
        (again / TARGET).unlink()
        command = checkout.command(*options, f"{results}/{coarse_run.name}/{TARGET}",
                                   patients_dir=patients_dir, results_dir=results)
        done = subprocess.run([*command, "mpi_ranks=2"], cwd=checkout.folder, text=True,
                              env=checkout.environment, capture_output=True,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout + done.stderr
        log = (again / "logs" / "assemble_control.log").read_text()
        assert f"2 ranks, started by {launcher}\n" in log
        check_same(datasets(coarse_run / TARGET), datasets(again / TARGET))

    return run


def test_two_ranks_give_the_model_of_one(on_two_ranks):
    on_two_ranks("on_two_ranks", "mpirun")


def test_two_ranks_of_a_slurm_job_give_the_model_of_one(slurm, on_two_ranks):
    on_two_ranks("on_slurm", "srun --mpi=pmi2", *SLURM)


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
