"""The random array and the direct Rayleigh sum, against geometry and closed forms."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from cube_patient import transducer
from scipy.spatial.distance import pdist

from hifuflow.acoustics.angular_spectrum import plane_power
from hifuflow.acoustics.rayleigh import rayleigh_pressure
from hifuflow.acoustics.source import source_plane
from hifuflow.acoustics.transducer import Transducer
from hifuflow.errors import InputError

DENSITY, SPEED = 1000.0, 1500.0


def test_discs_lie_on_the_bowl_inside_the_aperture_and_do_not_touch(device):
    array = Transducer.of(device)
    assert array.positions.shape == (256, 3)
    centre = np.array([0, 0, 0.13])
    np.testing.assert_allclose(np.linalg.norm(array.positions - centre, axis=1), 0.13, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(array.normals, axis=1), 1, rtol=1e-12)
    assert pdist(array.positions).min() > 2 * array.radii.max()
    tilt = array.normals[:, 2]
    outer = np.hypot(array.positions[:, 0], array.positions[:, 1]) + array.radii * tilt
    assert outer.max() < array.aperture / 2


def test_discs_cover_the_cap_evenly(device):
    array = Transducer.of(device)
    # Equal heights are equal areas: each quarter of the cap's height holds a quarter of the discs.
    height = array.positions[:, 2] / array.rim_depth
    counts = np.histogram(height, bins=4, range=(0, 1))[0]
    assert counts.min() > 48 and counts.max() < 80
    assert np.abs(array.positions[:, :2].mean(axis=0)).max() < 3e-3


def test_same_seed_same_array_other_seed_other_array(device):
    first, again = (Transducer.of(device).positions for _ in range(2))
    other = Transducer.of(replace(device, seed=2)).positions
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_discs_that_do_not_fit_are_refused_with_file_and_key(device):
    with pytest.raises(InputError) as error:
        Transducer.of(replace(device, element_radius=0.0035))
    assert error.value.key == "element_radius_m"
    assert error.value.file == "config/transducers/random256.yaml"


def bowl(radius, aperture, frequency=1e6, **changes):
    """A whole bowl that is driven as one."""
    return Transducer.of(transducer("jc200", radius_of_curvature=radius, aperture=aperture,
                                    frequency=frequency, **changes))


def test_tiles_of_a_bowl_have_its_area_and_are_small_against_the_wavelength():
    array = bowl(0.165, 0.2)
    depth = 0.165 - np.sqrt(0.165**2 - 0.1**2)
    assert array.rim_depth == pytest.approx(depth)
    np.testing.assert_allclose(array.areas, [2 * np.pi * 0.165 * depth], rtol=1e-12)
    assert array.n_elements == 1 and array.radii.max() < 0.3 * SPEED / 1e6
    np.testing.assert_allclose(np.linalg.norm(array.positions - [0, 0, 0.165], axis=1), 0.165)
    # One driven element: wherever the focus, all discs get one phase.
    assert np.ptp(array.drive([[0.003, 0, 0.16]], SPEED)) == 0


def test_rings_are_driven_apart_and_focus_along_the_axis():
    """Eight rings steered 1 cm in depth reach nearly the gain that free phases would give."""
    edges = np.linspace(0.01, 0.065, 9)
    array = bowl(0.13, 0.13, kind="annular", rings=tuple(pairwise(edges)), weights=(1.0,) * 8)
    assert array.n_elements == 8 and array.aperture == 0.13
    heights = 0.13 - np.sqrt(0.13**2 - edges**2)
    np.testing.assert_allclose(array.areas, 2 * np.pi * 0.13 * np.diff(heights), rtol=1e-12)
    focus = np.array([0, 0, 0.14])
    p0 = array.surface_pressure(1.0, DENSITY, SPEED)
    gain = np.abs(rayleigh_pressure(array, focus, focus[None], 1.0, DENSITY, SPEED, 1))[0] / p0
    distance = np.linalg.norm(array.positions - focus, axis=1)
    best = array.wavenumber(SPEED) / (2 * np.pi) * (np.pi * array.radii**2 / distance).sum()
    assert 0.8 * best < gain < best


def test_rayleigh_sum_of_a_bowl_is_oneils_closed_form_on_the_axis():
    """O'Neil, J. Acoust. Soc. Am. 21 (1949): |p/p0| = 2/|1 - z/R| |sin(k (B - z)/2)|."""
    array = bowl(0.13, 0.13)
    z = np.array([0.09, 0.1, 0.115, 0.122, 0.128, 0.1301, 0.135, 0.142, 0.15])
    points = np.column_stack([0 * z, 0 * z, z])
    gain = np.abs(rayleigh_pressure(array, [0, 0, 0.13], points, 1.0, DENSITY, SPEED, 1))
    gain /= array.surface_pressure(1.0, DENSITY, SPEED)
    to_rim = np.hypot(z - array.rim_depth, 0.065)
    k = 2 * np.pi * 1e6 / SPEED
    exact = np.abs(2 / (1 - z / 0.13) * np.sin(k * (to_rim - z) / 2))
    np.testing.assert_allclose(gain, exact, rtol=2e-3, atol=2e-3 * exact.max())
    # 1 W over the bowl's face is p0 = sqrt(2 rho c W/area): 1.059 MPa at the focus.
    area = 2 * np.pi * 0.13 * array.rim_depth
    assert gain.max() * np.sqrt(2 * DENSITY * SPEED / area) == pytest.approx(1.059e6, rel=3e-3)


def test_a_single_disc_radiates_the_power_it_is_driven_with(device):
    """The power through a plane is the piston's: the radiation resistance is part of p0."""
    array = Transducer.of(device)
    piston = replace(array, positions=np.zeros((1, 3)), normals=np.array([[0, 0, 1.0]]),
                     radii=np.array([0.004]), element=np.zeros(1, int), weights=np.ones(1))
    x = 0.0006 * np.arange(-150, 151)
    pressure = source_plane(piston, np.array([[0, 0, 0.13]]), x, x, 0.03, 1.0, DENSITY, SPEED)
    power = plane_power(pressure[0], piston.wavenumber(SPEED), DENSITY * SPEED, (6e-4, 6e-4))
    assert power == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("depth", [0.11, None])
def test_source_plane_matches_the_rayleigh_sum(device, depth):
    """The tabulated disc field holds the Rayleigh integral at all angles, amplitude and phase."""
    array = Transducer.of(device)
    depth = depth or array.first_depth
    x = np.linspace(-0.07, 0.07, 13)
    focus = np.array([0.01, 0, 0.12])
    plane = source_plane(array, focus[None], x, x, depth, 1.0, DENSITY, SPEED)[0]
    points = np.stack(np.meshgrid(x, x, [depth], indexing="ij"), axis=-1).reshape(-1, 3)
    exact = rayleigh_pressure(array, focus, points, 1.0, DENSITY, SPEED, 400).reshape(plane.shape)
    assert np.linalg.norm(plane - exact) < 1e-4 * np.linalg.norm(exact)
