"""A run that is killed and started again ends with the same result."""

import os
import shutil
import signal
import subprocess
import time

import numpy as np

from hifuflow.records.trajectory import Trajectory


def test_killed_run_resumes(checkout, coarse_run, patients_dir):
    folder = checkout.folder / "killed" / "breast_small"
    shutil.copytree(coarse_run, folder)
    for name in ("reduction", "control", "export", "report"):  # what is still to be done
        shutil.rmtree(folder / name)
    started = folder / "logs" / "control_paper.log"
    started.unlink()
    command = checkout.command("killed/breast_small/control/paper/trajectory.h5",
                               patients_dir=patients_dir, results_dir="killed")
    process = subprocess.Popen(command, cwd=checkout.folder, env=checkout.environment,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    deadline = time.monotonic() + 600
    while not started.exists():  # in the middle of things
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "control" / "paper" / "metrics.json").exists()

    done = subprocess.run(command, cwd=checkout.folder, env=checkout.environment,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rule heating" not in done.stdout + done.stderr  # what was finished is kept
    first = Trajectory.load(coarse_run / "control" / "paper" / "trajectory.h5")
    second = Trajectory.load(folder / "control" / "paper" / "trajectory.h5")
    np.testing.assert_array_equal(first.power, second.power)
    np.testing.assert_allclose(first.target_temperature, second.target_temperature, atol=1e-3)
    left = [path for path in folder.rglob(".*") if path.is_file()]
    assert left == [], "temporary files of the killed run"
