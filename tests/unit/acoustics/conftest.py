"""The reference array with a shorter reach, tissues and a small body."""

import copy

import pytest
from cube_patient import REFERENCE, cube_of_fat


@pytest.fixture
def device():
    device = copy.deepcopy(REFERENCE.section("heating")["device"])
    device["max_steering_m"] = {"lateral": 0.015, "axial": 0.02}
    return device


@pytest.fixture
def tissues():
    return copy.deepcopy(REFERENCE.section("heating")["tissues"])


@pytest.fixture
def cube():
    return cube_of_fat
