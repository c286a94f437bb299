"""The cache of compiled forms survives killed and concurrent compilations."""

import subprocess
import sys
import time

import ufl
from box_patient import box_mesh
from dolfinx import fem

from hifuflow.fem.jit import compile_form

COMPILE = """
import sys
from pathlib import Path
from hifuflow import fem
from hifuflow.fem.jit import compile_form
import ufl
from dolfinx import fem as dfem, mesh
domain = mesh.create_unit_cube(fem.MPI.COMM_SELF, 1, 1, 1)
space = dfem.functionspace(domain, ("Lagrange", 1))
compile_form(ufl.TestFunction(space) * ufl.dx, Path(sys.argv[1]))
"""


def test_a_killed_compilation_does_not_block_later_ones(tmp_path):
    form = ufl.TestFunction(fem.functionspace(box_mesh(1).domain, ("Lagrange", 1))) * ufl.dx
    compile_form(form, tmp_path)
    for file in tmp_path.glob("*"):  # what FFCx leaves when killed: the source alone
        if not file.name.endswith(".c"):
            file.unlink()
    start = time.monotonic()
    compiled = compile_form(form, tmp_path)
    assert abs(fem.assemble_vector(compiled).array.sum()) > 0
    assert list(tmp_path.glob("*.c.cached"))
    assert time.monotonic() - start < 60


def test_two_jobs_may_compile_at_once(tmp_path):
    jobs = [subprocess.Popen([sys.executable, "-c", COMPILE, str(tmp_path)]) for _ in range(2)]
    assert [job.wait(timeout=120) for job in jobs] == [0, 0]
    assert len(list(tmp_path.glob("*.c.cached"))) == 1
