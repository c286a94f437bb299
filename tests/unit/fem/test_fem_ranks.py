"""A model built on two MPI ranks is that of one rank; launchers that do not make ranks are told."""

import base64
import importlib
import json
import pickle

from hifuflow import fem  # noqa: F401 # isort: skip
import h5py
import numpy as np
import pytest
from box_patient import CONFIG, box_anatomy, gaussian_heating, settings

from hifuflow.errors import InputError, NumericalError
from hifuflow.fem import heating_load, ranks
from hifuflow.fem.model import write_model
from hifuflow.fem.ranks import run_on_ranks

POINTS = {"position_m": [[0.02, 0.02, 0.008]], "limit_c": [43.0], "name": ["ellipsoid"],
          "dose_limit_cem43_min": [None], "soft": [False]}
# The skin is cooler than the blood, so that there is a baseline to solve for.
BATH = {**CONFIG["boundary"], "skin": {"temperature_c": 20.0}}


@pytest.fixture
def files(mesh_path, tmp_path):
    """What the stages before leave: mesh, anatomy, heating, constraints."""
    box_anatomy().save(tmp_path / "anatomy")
    gaussian_heating(0.00075, 0.0015, n=48).save(tmp_path / "heating.h5", "box", "hash")
    (tmp_path / "constraints.json").write_text(json.dumps(POINTS))
    return mesh_path, tmp_path / "anatomy", tmp_path / "heating.h5", tmp_path / "constraints.json"


def written(folder, name, launcher, ranks, files) -> dict:
    run_on_ranks(launcher, ranks, folder / ".ranks", write_model, folder / name, "box", *files,
                 settings(boundary=BATH), "hash")
    assert not list(folder.glob(".ranks*"))
    found = {}
    with h5py.File(folder / name) as file:
        file.visititems(lambda path, item: found.update({path: item[()]})
                        if isinstance(item, h5py.Dataset) else None)
    return found


def test_two_ranks_write_what_one_writes(files, tmp_path):
    voxels = 48**3
    assert voxels > 2 * heating_load.VOXELS_AT_ONCE  # both ranks have some of the load
    one = written(tmp_path, "one.h5", None, 1, files)
    two = written(tmp_path, "two.h5", "mpirun", 2, files)
    assert one.keys() == two.keys() and np.ptp(one["baseline"]) > 1
    for name, values in one.items():
        if values.dtype.kind == "f":
            largest = np.abs(values).max(where=~np.isnan(values), initial=0)
            np.testing.assert_allclose(two[name], values, 0, 1e-11 * largest, err_msg=name)
        else:
            np.testing.assert_array_equal(two[name], values, name)


def test_launcher_of_another_mpi_is_told(tmp_path):
    foreign = tmp_path / "mpirun"
    foreign.write_text('#!/bin/sh\nshift 2\n"$@" & "$@"; wait\n')
    foreign.chmod(0o755)
    with pytest.raises(InputError, match=r"communicator of 1 instead of 2 ranks.*MPICH"):
        run_on_ranks(str(foreign), 2, tmp_path / ".ranks", len, "never called")


def test_fault_on_one_rank_ends_all_in_its_own_words(tmp_path, monkeypatch):
    (tmp_path / "faulty.py").write_text(
        "from hifuflow.errors import InputError\n"
        "def fail_on_last(comm):\n"
        "    if comm.rank == 1: raise InputError('bad', file='x.h5', key='q')\n"
        "    comm.Barrier()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    function = importlib.import_module("faulty").fail_on_last
    with pytest.raises(InputError, match=r"x\.h5: q: bad"):
        run_on_ranks("mpirun", 2, tmp_path / ".ranks", function)


def test_missing_launcher_is_named(tmp_path):
    with pytest.raises(InputError, match="mpi = 'nompirun': no such command"):
        run_on_ranks("nompirun", 2, tmp_path / ".ranks", len)


def test_nothing_that_others_can_write_is_run(tmp_path):
    """The call is in no file, and the folder of the answer may be entered by its owner only."""
    spy = tmp_path / "mpirun"
    spy.write_text(f'#!/bin/sh\nstat -c %a "$6" > {tmp_path}/mode\nls -A "$6" > {tmp_path}/files\n'
                   f'cat > {tmp_path}/call\nexit 3\n')
    spy.chmod(0o755)
    with pytest.raises(NumericalError, match="ended with status 3"):
        run_on_ranks(str(spy), 2, tmp_path / ".ranks", write_model, tmp_path / "a.h5", {"x": 0.1})
    assert (tmp_path / "mode").read_text() == "700\n" and not (tmp_path / "files").read_text()
    call = pickle.loads(base64.b64decode((tmp_path / "call").read_text()))
    assert call == (write_model, (tmp_path / "a.h5", {"x": 0.1}))


def test_an_answer_goes_into_no_folder_of_somebody_else(tmp_path, capsys):
    open_to_all, link = tmp_path / "open", tmp_path / "link"
    open_to_all.mkdir(mode=0o755)
    ranks._leave(open_to_all, InputError("bad"))
    assert "not a private folder: bad" in capsys.readouterr().err
    link.symlink_to(tmp_path)
    with pytest.raises(OSError):
        ranks._leave(link, InputError("bad"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "open"]
    assert not list(open_to_all.iterdir())


def test_a_launcher_that_hands_nothing_on_is_told(tmp_path):
    silent = tmp_path / "mpirun"
    silent.write_text('#!/bin/sh\nexec mpiexec "$@" < /dev/null\n')
    silent.chmod(0o755)
    with pytest.raises(InputError, match="not pass standard input"):
        run_on_ranks(str(silent), 2, tmp_path / ".ranks", len)
