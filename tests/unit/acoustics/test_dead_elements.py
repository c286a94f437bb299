"""An array of which elements are dead, driven as if all were there."""

from dataclasses import replace

import numpy as np
import pytest
from test_heating import heated, settings

from hifuflow.acoustics.dead_elements import (
    compute_dead_heating,
    radiated_fraction,
    without_elements,
)
from hifuflow.acoustics.frame import beam_frame
from hifuflow.acoustics.phasing import geometric
from hifuflow.acoustics.superposition import element_fields
from hifuflow.acoustics.transducer import Transducer
from hifuflow.errors import InputError


def test_the_dead_are_drawn_from_those_that_work(device):
    partly = replace(device, weights=(0.0,) * 100 + (1.0,) * 156)
    found = np.array(without_elements(partly, 50, 3).weights)
    assert found.sum() == 106 and not found[:100].any()
    np.testing.assert_array_equal(found, without_elements(partly, 50, 3).weights)
    assert not np.array_equal(found, without_elements(partly, 50, 4).weights)
    with pytest.raises(InputError, match="below 156"):
        without_elements(partly, 156, 3)


def test_alike_elements_have_equal_shares_of_the_power(device):
    for count in (50, 200):
        fraction = radiated_fraction(without_elements(device, count, 1), device, 1000, 1500)
        assert fraction == pytest.approx(1 - count / 256)


def test_heating_is_that_of_the_other_elements_at_their_own_drive(cube, device, tissues):
    """Against the superposition of what each element makes at the whole array's drive."""
    anatomy, count, seed = cube(), 150, 2
    plan, whole = heated(anatomy, device, tissues)
    given = settings(device, tissues)
    dead = compute_dead_heating(anatomy, plan, given, count, seed, threads=2)
    elements = element_fields(anatomy, plan, given, 3e-3, threads=2)
    array, water = Transducer.of(device), given.water
    foci = (plan.foci - plan.apex) @ beam_frame(plan.axis)
    drives = geometric(array, foci, 1.0, water.density, water.speed)
    working = np.array(without_elements(device, count, seed).weights) > 0
    q = elements.heating(drives * working)
    low = np.rint(np.linalg.solve(dead.affine, elements.affine)[:3, 3]).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(low, q.shape[1:], strict=True))
    # The layers' mean media are those that the beam meets, which are others for other elements.
    np.testing.assert_allclose(dead.q[:, *box], q, rtol=0.1, atol=0.01 * q.max())
    cell = np.linalg.det(dead.affine[:3, :3])
    np.testing.assert_allclose(dead.q.sum(axis=(1, 2, 3), dtype=float) * cell,
                               dead.absorbed_fraction, rtol=1e-5)
    # n of N elements in phase at their own drive: n/N of the power, and of the focal pressure.
    np.testing.assert_allclose(dead.balance["entered"] / whole.balance["entered"], 106 / 256,
                               rtol=0.03)
    np.testing.assert_allclose(dead.focal_pressure_pa / whole.focal_pressure_pa, 106 / 256,
                               rtol=0.05)
