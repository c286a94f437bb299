"""The import star: a stage imports hifuflow and never another stage; heavy libraries stay put."""

import ast
import subprocess
import sys

import pytest

from hifuflow.provenance import PACKAGES, ROOT

STAGES = [name for name in PACKAGES if name != "hifuflow"]
HOME = {"dolfinx": "fem", "mpi4py": "fem", "petsc4py": "fem", "basix": "fem", "ufl": "fem",
        "gmsh": "meshes", "slycot": "reduction"}


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_star(package):
    for path in modules(package):
        names = set(imported(path))
        if path.relative_to(ROOT).as_posix() != "hifuflow/__main__.py":  # the command line
            assert not names & (set(STAGES) - {package}), path
        assert not {n for n in names if HOME.get(n, package) != package}, path
        assert "snakemake" not in names, path


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_the_one_of_this_checkout(package):
    module = __import__(package)
    assert module.__file__.startswith(str(ROOT))


@pytest.mark.parametrize("package", ["hifuflow", "reduction", "controller", "meshes", "report"])
def test_loading_a_stage_does_not_start_mpi(package):
    files = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules(package)
             if path.name not in ("__init__.py", "__main__.py")]
    code = (f"import importlib, sys\nfor name in {files!r}: importlib.import_module(name)\n"
            "assert not {'mpi4py', 'dolfinx', 'petsc4py'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_workflow_and_config_are_not_packages():
    assert not (ROOT / "workflow" / "__init__.py").exists()
    assert not (ROOT / "config" / "__init__.py").exists()


def test_scripts_only_load_call_and_save():
    for path in (ROOT / "workflow" / "scripts").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 45, path
