"""The map of focal gain against the full Rayleigh sum, and who has one."""

from dataclasses import replace

import numpy as np
import pytest
from cube_patient import plan_settings

from hifuflow.acoustics.plan import plan_treatment
from hifuflow.acoustics.rayleigh import rayleigh_pressure
from hifuflow.acoustics.steering import POINTS, steered_gain, steering_map
from hifuflow.acoustics.transducer import Transducer


def test_gain_of_steered_foci_matches_the_rayleigh_sum(device):
    array = Transducer.of(device)
    foci = np.array([[0, 0, 0.13], [0.015, 0, 0.13], [0, 0, 0.15], [0, -0.01, 0.115]])
    intensity = [abs(rayleigh_pressure(array, focus, focus[None], 1.0, 1000, 1500, 100)[0]) ** 2
                 for focus in foci]
    np.testing.assert_allclose(steered_gain(array, foci, 1500), np.array(intensity) / intensity[0],
                               rtol=2e-3)


def test_map_lies_around_the_geometric_focus_of_the_planned_pose(cube, device):
    array, anatomy = Transducer.of(device), cube((0, -1, 0))
    plan = plan_treatment(anatomy, plan_settings(device, (0, -1, 0), 108, spacing_mm=2))
    found = steering_map(plan, array, 1500)
    middle = POINTS // 2
    np.testing.assert_allclose(found["focus_m"], plan.apex - [0, 0.13, 0])
    np.testing.assert_allclose(found["across"], [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(found["gain"][:, middle, middle], 1)
    assert found["gain"].shape == (2, POINTS, POINTS)
    # Less beside the axis, less deeper; the limits of this array lie inside the map.
    beside, deeper = found["gain"][0, middle, middle:], found["gain"][1, middle:, middle]
    assert (np.diff(beside) < 0).all() and (np.diff(deeper) < 0).all()
    assert found["lateral_m"][-1] == pytest.approx(1.25 * found["limit_m"][0])


def test_transducer_that_does_not_steer_has_no_map(cube, device):
    array = replace(Transducer.of(device), max_lateral=0.0)
    assert steering_map(None, array, 1500) == {}
