"""The reference array with a shorter reach, tissues and a small body."""

from dataclasses import replace

import pytest
from cube_patient import HEATING, cube_of_fat


@pytest.fixture
def device():
    return replace(HEATING.transducer, max_lateral=0.015, max_axial=0.02)


@pytest.fixture
def tissues():
    return dict(HEATING.tissues)


@pytest.fixture
def cube():
    return cube_of_fat
