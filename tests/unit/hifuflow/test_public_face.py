"""`from hifuflow import ...`: every name is there, is loaded late, and is what the stages use."""

import ast
import importlib
import subprocess
import sys

import pytest

import hifuflow
from hifuflow.provenance import PACKAGE, ROOT, STAGES

STUB = PACKAGE / "__init__.pyi"
NAMES = {alias.name: node.module for node in ast.parse(STUB.read_text()).body
         if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_the_stub_is_what_is_offered():
    assert sorted(NAMES) == hifuflow.__all__ == dir(hifuflow)
    assert {"load_patient", "build_anatomy", "plan_treatment", "compute_heating", "build_model",
            "reduce_model", "run_treatment"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_the_object_of_its_module(name):
    assert getattr(hifuflow, name) is getattr(importlib.import_module(f"hifuflow.{NAMES[name]}"),
                                              name)


def test_all_names_come_with_a_star():
    namespace = {}
    exec("from hifuflow import *", namespace)
    assert set(NAMES) <= set(namespace)


def test_an_unknown_name_is_an_error():
    with pytest.raises(ImportError, match="no_such_name"):
        from hifuflow import no_such_name  # noqa: F401


def test_importing_the_package_loads_no_library_and_no_stage():
    code = ("import sys, hifuflow\nloaded = set(sys.modules)\n"
            "assert 'numpy' not in loaded, 'numpy'\n"
            "assert [n for n in loaded if n.startswith('hifuflow.')] == []\n"
            "from hifuflow import InputError\nassert 'numpy' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_project_itself_uses_the_modules():
    """A rule that took a name from here would not be rerun when that name's code changes."""
    files = [path for folder in ("hifuflow", "study", *STAGES, "workflow/scripts")
             for path in (ROOT / folder).rglob("*.py")]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "hifuflow":
                assert not {alias.name for alias in node.names} & {*NAMES, "*"}, path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.value.id != "hifuflow" or node.attr not in NAMES, path


def test_types_are_announced():
    assert (PACKAGE / "py.typed").is_file()
