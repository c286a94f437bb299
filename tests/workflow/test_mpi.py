"""The workflow with its finite-element models assembled on two MPI ranks."""

import shutil
import subprocess

import h5py
import numpy as np

TARGET = "fem/control.h5"


def test_two_ranks_give_the_model_of_one(checkout, coarse_run, patients_dir):
    again = checkout.folder / "on_two_ranks" / coarse_run.name
    shutil.copytree(coarse_run, again)
    (again / TARGET).unlink()
    command = checkout.command(f"on_two_ranks/{coarse_run.name}/{TARGET}",
                               patients_dir=patients_dir, results_dir="on_two_ranks")
    done = subprocess.run([*command, "mpi_ranks=2"], cwd=checkout.folder, text=True,
                          env=checkout.environment, capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 ranks, started by mpirun" in (again / "logs/assemble_control.log").read_text()
    one, two = datasets(coarse_run / TARGET), datasets(again / TARGET)
    assert one.keys() == two.keys()
    for name, values in one.items():
        if values.dtype.kind == "f":
            largest = np.abs(values).max(where=~np.isnan(values), initial=0)
            np.testing.assert_allclose(two[name], values, 0, 1e-11 * largest, err_msg=name)
        else:
            np.testing.assert_array_equal(two[name], values, name)


def datasets(path) -> dict:
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]})
                        if isinstance(item, h5py.Dataset) else None)
    return found
