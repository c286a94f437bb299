"""The set-up script and the Makefile, on small copies of the checkout with uv and apt replaced."""

import importlib
import os
import re
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from hifuflow.provenance import STAGES

REPOSITORY = Path(__file__).resolve().parents[2]
# The tests may themselves run under make, which hands its own variables down.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "HIFUFLOW_"))}

# Stands for uv: makes a real environment whose packages are empty modules, and keeps a record.
FAKE_UV = """#!/bin/sh
if [ "$1" = --version ]; then echo "uv 0.8.0"; exit; fi
echo "$@" >>"$RECORDS/uv"
while [ "$1" != --python ]; do shift; done
"$2" -m venv --without-pip .venv || exit 1
if [ -e "$RECORDS/interrupt" ]; then rm "$RECORDS/interrupt"; touch .venv/half; exit 1; fi
echo "$RECORDS/modules" >"$(ls -d .venv/lib/python3*/site-packages)/modules.pth"
"""
FAKE_APT = """#!/bin/sh
echo "$@" >>"$RECORDS/apt"
case $1 in install) touch "$RECORDS/compiler" ;; esac
"""
FAKE_COMPILER = """#!/bin/sh
[ -e "$RECORDS/compiler" ] && exec gcc "$@"
exit 1
"""
INSTALL_COMPILER = "install -y --no-install-recommends gcc libc6-dev"


class Checkout:
    """A copy of what the set-up reads, and the commands it finds first on PATH."""

    def __init__(self, folder: Path):
        self.root = folder / "clone with space"
        self.records = folder / "records"
        self.environment = {
            **ENVIRONMENT,
            "RECORDS": str(self.records),
            "PATH": f"{folder / 'bin'}:{ENVIRONMENT['PATH']}",
        }
        for name in ("Makefile", "pyproject.toml", "uv.lock", "workflow/envs/setup.sh"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, self.root / name)
        for name in ("mpi4py", "dolfinx", "petsc4py", "gmsh", "slycot"):
            (self.records / "modules").mkdir(parents=True, exist_ok=True)
            (self.records / "modules" / f"{name}.py").write_text("MPI = None\n")
        (folder / "bin").mkdir()
        self.bin = folder / "bin"
        self.command("uv", FAKE_UV)

    def command(self, name: str, text: str) -> Path:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)
        return self.bin / name

    def without_compiler(self, user: int) -> None:
        self.command("apt-get", FAKE_APT)
        self.command("id", f"#!/bin/sh\necho {user}\n")
        self.environment["CC"] = str(self.command("compiler", FAKE_COMPILER))

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(
            ["make", "setup"], cwd=self.root, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )

    def setup(self) -> tuple[int, str]:
        process = self.start()
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def calls(self, name: str = "uv") -> list[str]:
        record = self.records / name
        return record.read_text().splitlines() if record.exists() else []


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_second_run_has_nothing_to_do(checkout):
    assert checkout.setup()[0] == 0
    began = time.perf_counter()
    status, output = checkout.setup()
    assert (status, output) == (0, "")
    assert time.perf_counter() - began < 2
    assert len(checkout.calls()) == 1


def test_changed_lock_is_installed(checkout):
    checkout.setup()
    with open(checkout.root / "uv.lock", "a") as lock:
        lock.write("# changed\n")
    assert checkout.setup()[0] == 0
    assert len(checkout.calls()) == 2


def test_interrupted_environment_is_made_anew(checkout):
    (checkout.records / "interrupt").touch()
    assert checkout.setup()[0] != 0
    assert (checkout.root / ".venv/half").exists()
    assert checkout.setup()[0] == 0
    assert not (checkout.root / ".venv/half").exists()


def test_moved_checkout_gets_its_own_environment(checkout):
    checkout.setup()
    moved = checkout.root.with_name("moved")
    checkout.root = checkout.root.rename(moved)
    assert checkout.setup()[0] == 0
    assert f"{moved}/.venv" in (moved / ".venv/bin/activate").read_text()


def test_two_at_once_install_once(checkout):
    processes = [checkout.start(), checkout.start()]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]
    assert len(checkout.calls()) == 1


def test_package_that_does_not_load_stops_the_setup(checkout):
    (checkout.records / "modules/gmsh.py").write_text("raise OSError('libGLU.so.1')\n")
    status, output = checkout.setup()
    assert status != 0
    assert "do not load: import gmsh" in output
    assert checkout.setup()[0] != 0


def test_user_is_told_the_command_for_missing_packages(checkout):
    checkout.without_compiler(user=1000)
    status, output = checkout.setup()
    assert status != 0
    assert f"sudo apt-get update && sudo apt-get {INSTALL_COMPILER}\n" in output
    assert checkout.calls("apt") == checkout.calls() == []


def test_root_installs_missing_packages(checkout):
    checkout.without_compiler(user=0)
    status, output = checkout.setup()
    assert status == 0, output
    update, install = checkout.calls("apt")
    assert update == "update"
    assert install.startswith(INSTALL_COMPILER)
    assert len(checkout.calls()) == 1


def test_unusable_interpreter_is_refused(checkout):
    old = checkout.command("old-python", "#!/bin/sh\nexit 0\n")
    checkout.environment["HIFUFLOW_PYTHON"] = str(old)
    status, output = checkout.setup()
    assert status != 0
    assert f"HIFUFLOW_PYTHON={old} is not a 64-bit CPython >= 3.12" in output


def test_help_names_every_target():
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    text = subprocess.run(
        ["make"], cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True
    ).stdout
    assert set(targets) == set(re.findall(r"^  ([a-z]+)  +\S", text, re.MULTILINE)), text


def test_lock_is_that_of_the_project():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = tomllib.loads((REPOSITORY / "uv.lock").read_text())["package"]
    locked = next(p for p in packages if p["name"] == project["project"]["name"])["metadata"]

    def written(requirements):
        return {re.sub(r"\s", "", r).lower() for r in requirements}

    def recorded(entries):
        return {entry["name"] + entry.get("specifier", "") for entry in entries}

    assert recorded(locked["requires-dist"]) == written(project["project"]["dependencies"])
    assert recorded(locked["requires-dev"]["dev"]) == written(project["dependency-groups"]["dev"])


def test_stages_are_those_of_this_checkout():
    for stage in STAGES:
        module = importlib.import_module(f"hifuflow.{stage}")
        assert Path(module.__path__[0]) == REPOSITORY / stage


def test_licence_and_version_agree():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert (citation["license"], citation["version"]) == (project["license"], project["version"])
    assert "Version 2, June 1991" in (REPOSITORY / "LICENSE").read_text()
