"""Models for the tests of the reduction."""

import pytest
from heated_cube import heated_cube


@pytest.fixture
def cube():
    """343 unknowns, fresh for each test: some tests spoil it."""
    return heated_cube(cells=4)


@pytest.fixture(scope="session")
def fine_cube():
    """729 unknowns, not to be changed."""
    return heated_cube(cells=5)
