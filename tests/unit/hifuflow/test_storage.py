"""Full disks and folders that cannot be written to: one line that names them, nothing half-written.

The full disk is a small one of its own, where this user may mount one (`unshare`).
"""

import errno
import subprocess
import sys

import pytest

from hifuflow.errors import StorageError
from hifuflow.job import atomic, job, write_json
from hifuflow.provenance import ROOT
from hifuflow.storage import full_disk
from hifuflow.study.locks import claim

MOUNT = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
WRITERS = {
    "json": "from hifuflow.job import write_json\nwrite_json(path, {'a': list(range(100_000))})",
    "hdf5": "from hifuflow.formats.hdf5 import create, put\n"
            "with create(path, 'x', 'p', 's') as file: put(file, 'a', values, '1', 'd')",
    "hdf5 compressed": "from hifuflow.formats.hdf5 import create, put\n"
            "with create(path, 'x', 'p', 's') as file:\n"
            "    put(file, 'a', values, '1', 'd', compression='gzip', shuffle=True)",
    "mesh": "from hifuflow.meshes.msh import write_msh\n"
            "cells = np.arange(20_000).reshape(-1, 4)\n"
            "write_msh(path, values[:60_000].reshape(-1, 3), cells, np.array(['a'] * 5000),"
            " cells[:, :3], np.array(['s'] * 5000))",
    "image": "import nibabel as nib\nfrom hifuflow.job import atomic\n"
             "with atomic(path) as file: nib.save(nib.Nifti1Image("
             "values.reshape(50, 40, 50), np.eye(4)), file)"}
SUFFIX = {"json": "a.json", "hdf5": "a.h5", "hdf5 compressed": "a.h5", "mesh": "a.msh",
          "image": "a.nii.gz"}


def on_a_small_disk(folder, code):
    """Run Python with `folder` on a disk of 64 kB; what it did, and what is left there."""
    (folder / "small").mkdir()
    (folder / "code.py").write_text(code)
    done = subprocess.run([*MOUNT, f"mount -t tmpfs -o size=64k none '{folder}/small' || exit 77; "
                           f"'{sys.executable}' '{folder}/code.py'; status=$?; "
                           f"ls -A '{folder}/small'; exit $status"],
                          capture_output=True, text=True, cwd=ROOT)
    if done.returncode in (1, 77) and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip(f"no disk of our own: {done.stderr.strip()}")
    return done, done.stdout.split()


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, kind):
    code = "\n".join([
        "import numpy as np", "from hifuflow.job import job",
        f"path = r'{tmp_path}/small/{SUFFIX[kind]}'", "values = np.random.rand(100_000)",
        f"with job('test', r'{tmp_path}/small/logs/test.log'):",
        *(f"    {line}" for line in WRITERS[kind].splitlines())])
    done, left = on_a_small_disk(tmp_path, code)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and len(lines) == 1, done.stderr
    assert "ERROR" in lines[0] and f"{tmp_path}/small: the disk is full" in lines[0]
    assert "MB are free" in lines[0] and left == ["logs"]


def test_a_log_on_a_full_disk_loses_lines_and_no_more(tmp_path):
    code = ("from hifuflow.job import job\n"
            f"with job('test', r'{tmp_path}/small/test.log') as log:\n"
            "    for number in range(3000): log.info('%d ' + 'x' * 50, number)\n")
    done, left = on_a_small_disk(tmp_path, code)
    assert done.returncode == 0 and left == ["test.log"]
    assert "Traceback" not in done.stderr and "Logging error" not in done.stderr


def test_only_full_disks_are_full(tmp_path):
    assert full_disk(OSError(errno.ENOENT, "no such file"), tmp_path) is None
    assert full_disk(KeyError("x"), tmp_path) is None
    for error in (OSError(errno.ENOSPC, ""), OSError(errno.EDQUOT, ""),
                  RuntimeError("Can't decrement id (errno = 28, error message = '')")):
        assert "MB are free" in str(full_disk(error, tmp_path / "not" / "there"))


def test_errors_of_what_is_written_stay_themselves(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a"):
        (tmp_path / "nowhere").read_text()
    assert list(tmp_path.iterdir()) == []


def test_where_no_folder_can_be_is_said_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.json", tmp_path / ("x" * 300) / "a.json"):
        with pytest.raises(StorageError, match=r"cannot be written to: .* \(allowed: a folder"):
            write_json(path, {})
        with pytest.raises(StorageError, match="cannot be written to"):
            claim(path.parent, ["anna"])
        with pytest.raises(SystemExit), job("test", path):
            raise AssertionError("the job runs")
        said = capsys.readouterr().err.strip()
        assert len(said.splitlines()) == 1 and "cannot be written to" in said


def test_a_folder_in_the_place_of_a_result_is_told(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(StorageError, match=r"a\.json: cannot be written to"):
        write_json(tmp_path / "a.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
