"""What the generic profile makes of the answers of three schedulers."""

import os
import subprocess

import pytest

from hifuflow.provenance import ROOT

STATUS = ROOT / "workflow" / "profiles" / "generic" / "status.sh"
PBS = "Job Id: 7\n    job_state = {}\n    {}\n"


@pytest.mark.parametrize(("commands", "answer"), [
    ({"qstat": PBS.format("R", "")}, "running"),
    ({"qstat": PBS.format("F", "Exit_status = 0")}, "success"),
    ({"qstat": PBS.format("F", "Exit_status = 137")}, "failed"),
    ({"bjobs": "DONE"}, "success"), ({"bjobs": "EXIT"}, "failed"), ({"bjobs": "PEND"}, "running"),
    ({"qacct": "jobnumber 7\nexit_status  0", "qstat": None}, "success"),
    ({"qacct": "exit_status  1", "qstat": None}, "failed"),
    ({"qacct": "", "qstat": None}, "running"),
])
def test_status(tmp_path, commands, answer):
    for name, text in commands.items():
        script = "exit 1" if text is None else f"cat <<'END'\n{text}\nEND"
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(["sh", STATUS, "7"], capture_output=True, text=True,
                          env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.stdout == f"{answer}\n"
