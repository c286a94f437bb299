"""The laws of imports: who may know whom, followed to the end of every chain of imports."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from hifuflow.provenance import PACKAGE, ROOT, STAGES, imports

HOME = {"dolfinx": "fem", "mpi4py": "fem", "petsc4py": "fem", "basix": "fem", "ufl": "fem",
        "gmsh": "meshes", "slycot": "reduction"}
FOLDERS = ("hifuflow", "study", *STAGES)
ENTRY = PACKAGE / "__main__.py"  # hands the command line over to study/


def modules(folder) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if path != ENTRY)


@cache
def reached(path: Path) -> frozenset[Path]:
    """All files of the project that a module imports, directly or through others."""
    todo, seen = [path], set()
    while todo:
        for file in imports(todo.pop()):
            if file.suffix == ".py" and file not in seen:
                seen.add(file)
                todo.append(file)
    return frozenset(seen)


def top(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def names(path):
    """Top-level names of the libraries that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def crossings(files, forbidden) -> list[tuple[str, str]]:
    """(file, file that it reaches) for all that it must not reach."""
    return [(str(path.relative_to(ROOT)), str(other.relative_to(ROOT)))
            for path in files for other in sorted(reached(path)) if forbidden(other)]


def test_the_ground_knows_no_stage():
    assert crossings(modules("hifuflow"), lambda other: top(other) != "hifuflow") == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_knows_the_ground_and_itself(stage):
    assert crossings(modules(stage), lambda other: top(other) not in ("hifuflow", stage)) == []


def test_no_controller_reaches_the_simulated_patient():
    """Neither the methods nor what they estimate with, nor the supervisor; only the loop knows both
    sides, and what it simulates of faults."""
    files = [*modules("controller/methods"), *modules("controller/estimation"),
             *(ROOT / "controller").glob("safety*.py")]
    patient = ROOT / "controller" / "patient"
    assert crossings(files, lambda other: other.is_relative_to(patient)) == []


def test_limits_and_options_know_no_controller():
    """A user's own controller may take them without any of the built-in ones."""
    files = [ROOT / "controller" / "methods" / f"{name}.py" for name in ("limits", "option", "own")]
    methods = {ROOT / "controller" / "methods" / f"{name}.py" for name in (
        "raster", "paper", "mintime", "hyperthermia", "optimum")}
    assert crossings(files, lambda other: other in methods) == []
    assert crossings(files[:2], lambda other: other.name == "base.py") == []


def test_formats_and_numerics_know_no_record():
    files = [*modules("hifuflow/formats"), *modules("hifuflow/numerics")]
    records = PACKAGE / "records"
    assert crossings(files, lambda other: other.is_relative_to(records)) == []


def test_no_circle_of_files():
    for folder in FOLDERS:
        for path in modules(folder):
            assert path not in reached(path), path


@pytest.mark.parametrize("folder", FOLDERS)
def test_heavy_libraries_stay_at_home(folder):
    for path in modules(folder):
        used = set(names(path))
        assert not {name for name in used if HOME.get(name, folder) != folder}, path
        assert "snakemake" not in used or folder == "study", path


def test_everything_is_imported_under_one_name():
    """`hifuflow.fem`, never `fem`: otherwise a module could be loaded twice."""
    files = [*ROOT.glob("workflow/scripts/*.py"), *ROOT.glob("benchmarks/*.py"),
             *ROOT.glob("tests/**/*.py"), *(path for name in FOLDERS for path in modules(name))]
    for path in files:
        assert not set(names(path)) & {*STAGES, "study"}, path
        assert "hifuflow.hifuflow" not in path.read_text() or path.name == Path(__file__).name, path


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_package_is_the_one_of_this_checkout(folder):
    name = "hifuflow" if folder == "hifuflow" else f"hifuflow.{folder}"
    module = __import__(name, fromlist=["__file__"])
    assert Path(module.__file__).parent == ROOT / folder


@pytest.mark.parametrize("folder", [name for name in FOLDERS if name not in ("fem", "study")])
def test_loading_a_stage_does_not_start_mpi(folder):
    prefix = () if folder == "hifuflow" else ("hifuflow",)
    found = [".".join((*prefix, *path.relative_to(ROOT).with_suffix("").parts))
             for path in modules(folder) if path.name != "__init__.py"]
    code = (f"import importlib, sys\nfor name in {found!r}: importlib.import_module(name)\n"
            "assert not {'mpi4py', 'dolfinx', 'petsc4py'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_workflow_and_config_are_not_packages():
    assert not (ROOT / "workflow" / "__init__.py").exists()
    assert not (ROOT / "config" / "__init__.py").exists()


def test_no_file_is_longer_than_a_reader_keeps_in_mind():
    for folder in FOLDERS:
        for path in modules(folder):
            assert len(path.read_text().splitlines()) <= 400, path
