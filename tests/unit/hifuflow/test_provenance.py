"""Hashes that decide what is computed again."""

import shutil
import subprocess
import sys

import pytest

from hifuflow import provenance
from hifuflow.provenance import config_hash


def test_config_hash_ignores_key_order_only():
    assert config_hash({"a": 1, "b": [1, 2]}) == config_hash({"b": [1, 2], "a": 1})
    assert config_hash({"a": 1, "b": [1, 2]}) != config_hash({"a": 1, "b": [2, 1]})


@pytest.fixture
def checkout(tmp_path):
    """A small project: script -> meshes.outer -> meshes.inner; meshes.other is not reached."""
    files = {
        "script.py": "from hifuflow.meshes.outer import f\n",
        "meshes/__init__.py": "",
        "meshes/outer.py": "def f():\n    from .inner import g\n    return g()\n",
        "meshes/inner.py": '"""Doc."""\ndef g():\n    """Doc."""\n    return 1\n',
        "meshes/other.py": "x = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "hifuflow").mkdir()
    for name in ("__init__.py", "__init__.pyi"):
        shutil.copy(provenance.PACKAGE / name, tmp_path / "hifuflow")
    shutil.copy(provenance.__file__, tmp_path / "hifuflow" / "provenance.py")

    def digest(**edits):
        for name, text in edits.items():
            (tmp_path / "meshes" / f"{name}.py").write_text(text)
        code = "from hifuflow.provenance import code_hash; print(code_hash('script.py'))"
        return subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True,
                              env={"PYTHONPATH": str(tmp_path)}, capture_output=True).stdout
    return digest


def test_code_hash_follows_imports(checkout):
    assert checkout() != checkout(inner="def g():\n    return 2\n")


def test_code_hash_ignores_what_is_not_reached(checkout):
    assert checkout() == checkout(other="x = 2\n")


def test_code_hash_ignores_comments_and_docstrings(checkout):
    assert checkout() == checkout(inner='# note\ndef g():\n    """Other."""\n    return 1\n')


def test_revision_is_that_of_the_checkout():
    command = ["git", "-C", str(provenance.ROOT), "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True)
    expected = done.stdout.strip() if done.returncode == 0 else "not a git checkout"
    assert provenance.revision().removesuffix("-dirty") == expected


def test_an_installed_package_has_no_revision(monkeypatch):
    """Not that of whichever repository the environment happens to stand in."""
    monkeypatch.setattr(provenance, "ROOT", provenance.PACKAGE)
    assert provenance.revision() == "not a git checkout"


def test_the_public_face_is_not_reached_through_the_package():
    """Every module imports the package, and would else depend on all stages."""
    scripts = provenance.ROOT / "workflow" / "scripts"
    reached = {path.relative_to(provenance.ROOT).parts[0]
               for path in provenance._reached(scripts / "constraints.py")}
    assert reached == {"workflow", "hifuflow", "anatomy"}
    assert provenance.code_hash(scripts / "plan.py") != provenance.code_hash(scripts / "mesh.py")
