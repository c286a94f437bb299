"""The fixtures of the finite-element tests."""

from hifuflow import fem  # noqa: F401 # isort: skip
import pytest
from box_patient import box_anatomy, write_gmsh


@pytest.fixture(scope="session")
def mesh_path(tmp_path_factory):
    """The box with its tumour, as the meshing stage would leave it."""
    path = tmp_path_factory.mktemp("mesh") / "control.msh"
    write_gmsh(path, 0.008)
    return path


@pytest.fixture(scope="session")
def fine_mesh_path(tmp_path_factory):
    """The same with cells of the size of a focus."""
    path = tmp_path_factory.mktemp("fine") / "control.msh"
    write_gmsh(path, 0.0025)
    return path


@pytest.fixture
def anatomy():
    """Label map of the same box."""
    return box_anatomy()
