"""Hybrid angular spectrum against the Rayleigh sum, closed forms and the balance of power."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import eval_legendre, spherical_jn, spherical_yn

from hifuflow.acoustics.angular_spectrum import HybridAngularSpectrum, edge_taper, plane_power
from hifuflow.acoustics.medium import Medium
from hifuflow.acoustics.rayleigh import rayleigh_pressure
from hifuflow.acoustics.source import source_plane
from hifuflow.acoustics.transducer import Transducer

FREQUENCY, SPEED, DENSITY = 1e6, 1500.0, 1000.0
K = 2 * np.pi * FREQUENCY / SPEED


def medium(shape, speed=SPEED, density=DENSITY, attenuation=0.0):
    speed, density, attenuation = (np.broadcast_to(np.float32(value), shape).copy()
                                   for value in (speed, density, attenuation))
    return Medium((2 * np.pi * FREQUENCY / speed).astype(np.float32), density * speed,
                  attenuation, attenuation)


def plane_wave(count):
    return np.ones((count, count), dtype=np.complex64)


@pytest.mark.parametrize("focus", [(0, 0, 0.13), (0.01, 0, 0.13), (0, 0, 0.14), (0, -0.01, 0.122)])
def test_homogeneous_water_matches_the_rayleigh_sum(device, focus):
    array = Transducer.of(device)
    spacing, first = 0.75e-3, 0.1
    x = spacing * (np.arange(144) - 72)
    focus = np.array(focus, dtype=float)
    source = source_plane(array, focus[None], x, x, first, 1.0, DENSITY, SPEED)[0]
    n_planes = round((focus[2] - first) / spacing) + 8
    beam = HybridAngularSpectrum(medium((n_planes, 144, 144)), [spacing] * 3, source)
    field = np.array(list(beam.planes(source)))
    z = first + spacing * np.arange(n_planes)
    jz, jx = np.argmin(np.abs(z - focus[2])), np.argmin(np.abs(x - focus[0]))
    jy = np.argmin(np.abs(x - focus[1]))
    across = np.stack([x, 0 * x + x[jy], 0 * x + z[jz]], axis=1)[24:120]
    along = np.stack([0 * z + x[jx], 0 * z + x[jy], z], axis=1)
    exact = np.abs(rayleigh_pressure(array, focus, np.vstack([across, along]), 1.0, DENSITY,
                                     SPEED, 40))
    found = np.abs(np.concatenate([field[jz, 24:120, jy], field[:, jx, jy]]))
    assert np.abs(found - exact).max() < 0.01 * exact.max()
    assert np.abs(field[jz, jx, jy]) == pytest.approx(exact.max(), rel=0.02)


def test_linear_attenuation_of_a_plane_wave():
    beam = HybridAngularSpectrum(medium((41, 128, 128), attenuation=8.6), [5e-4] * 3,
                                 plane_wave(128))
    intensity = beam.intensity(plane_wave(128))[0][:, 64, 64]
    expected = np.exp(-2 * 8.6 * 5e-4 * np.arange(41))
    np.testing.assert_allclose(intensity / intensity[0], expected, rtol=5e-3)


@pytest.mark.parametrize("order", [0, 16, 24])
def test_layer_transmits_as_a_plane_wave(order):
    """T = 2 N2/(N1 + N2), N = Z/cos(angle), at 0, 11 and 16 degrees; back out behind the layer.

    A broad Gaussian beam: in its middle it is the plane wave.
    """
    count, d = 256, 5e-4
    speed, density = np.full((15, 1, 1), SPEED), np.full((15, 1, 1), DENSITY)
    speed[5:10], density[5:10] = 1800.0, 1300.0
    x = d * (np.arange(count) - count // 2)
    across = 2 * np.pi * order / (count * d)
    source = np.exp(1j * across * x[:, None] - (x[:, None]**2 + x**2) / 0.03**2)
    shape = (15, count, count)
    beam = HybridAngularSpectrum(medium(shape, speed, density), [d] * 3, source)
    free = HybridAngularSpectrum(medium(shape), [d] * 3, source)
    pressure, incident = (np.array([np.abs(p).max() for p in b.planes(source)])
                          for b in (beam, free))
    (n1, _), (n2, _) = ((z / np.sqrt(1 - (across * c / (2 * np.pi * FREQUENCY)) ** 2), c)
                        for z, c in ((SPEED * DENSITY, SPEED), (1800.0 * 1300.0, 1800.0)))
    into, out = 2 * n2 / (n1 + n2), 2 * n1 / (n1 + n2)
    np.testing.assert_allclose((pressure / incident)[[3, 7, 12]], [1, into, into * out], rtol=6e-3)


def test_power_is_reflected_by_a_layer_as_the_interfaces_say():
    speed, density = np.full((12, 1, 1), SPEED), np.full((12, 1, 1), DENSITY)
    speed[4:], density[4:] = 2500.0, 1900.0
    x = 5e-4 * (np.arange(128) - 64)
    source = np.exp(-(x[:, None]**2 + x**2) / 0.012**2)
    beam = HybridAngularSpectrum(medium((12, 128, 128), speed, density), [5e-4] * 3, source)
    balance = beam.intensity(source)[1]
    z1, z2 = SPEED * DENSITY, 2500.0 * 1900.0
    assert balance.reflected / balance.entered == pytest.approx(((z2 - z1) / (z2 + z1)) ** 2,
                                                                rel=0.01)
    assert abs(balance.missing) < 1e-3


def converging(count, spacing):
    """A beam converging at up to 30 degrees, as the array's, that stays clear of the edge."""
    x = spacing * (np.arange(count) - count // 2)
    radius = np.hypot(x[:, None], x[None, :])
    return np.exp(-((radius / 0.012) ** 2) - 1j * K * np.hypot(radius, 0.03)).astype(np.complex64)


def test_power_adds_up_in_a_speckled_absorber():
    """Half of the attenuation is absorption; voxels differ at random by 5 % and 12 %."""
    shape, spacing = (50, 128, 128), 0.75e-3
    part = np.random.default_rng(3).random(shape) < 0.4
    tissue = medium(shape, np.where(part, 1560, 1480), np.where(part, 1064, 937),
                    np.where(part, 13.3, 8.6))
    tissue = replace(tissue, absorption=tissue.attenuation / 2)
    source = converging(128, spacing)
    beam = HybridAngularSpectrum(tissue, [spacing] * 3, source)
    intensity, balance = beam.intensity(source)
    assert abs(balance.missing) < 0.01
    assert balance.absorbed == pytest.approx(balance.scattered, rel=1e-4)
    layers = 2 * (tissue.absorption * intensity).sum(axis=(1, 2), dtype=float) * spacing**3
    assert balance.absorbed == pytest.approx(layers.sum() - (layers[0] + layers[-1]) / 2, rel=1e-4)
    assert balance.entered == pytest.approx(
        plane_power(source, K, DENSITY * SPEED, [spacing] * 2), rel=0.01)
    assert 0.1 < balance.absorbed / balance.entered < 0.5 and balance.reflected > 0


@pytest.mark.parametrize("inside", [True, False])
def test_power_adds_up_where_only_a_part_of_the_beam_is_attenuated(inside):
    """The rim of a converging beam crosses the cells at 30 degrees, its middle along the axis."""
    shape, spacing = (40, 96, 96), 0.75e-3
    x = spacing * (np.arange(96) - 48)
    core = np.hypot(x[:, None], x) < 0.006 * (1 - np.arange(40)[:, None, None] / 60)
    source = converging(96, spacing)
    beam = HybridAngularSpectrum(medium(shape, attenuation=np.where(core == inside, 20.0, 0)),
                                 [spacing] * 3, source)
    balance = beam.intensity(source)[1]
    assert balance.absorbed > 0.25 * balance.entered
    assert abs(balance.missing) < 2e-3  # 8e-3 with one obliquity for the whole plane


def test_superposed_elements_give_the_field_of_each_phasing():
    shape, spacing = (20, 64, 64), 0.75e-3
    generator = np.random.default_rng(0)
    tissue = medium(shape, speed=1500 + 60 * generator.random(shape), attenuation=5.0)
    whole = converging(64, spacing)
    elements = whole * np.array([np.roll(np.eye(4)[i].repeat(16), 5) for i in range(4)])[:, None]
    drives = np.exp(2j * np.pi * generator.random((3, 4)))
    beam = HybridAngularSpectrum(tissue, [spacing] * 3, whole)
    found = np.empty((3, *shape), np.float32)
    balances = beam.intensities(elements, drives, lambda j, i: found.__setitem__(np.s_[:, j], i))
    for drive, intensity, balance in zip(drives, found, balances, strict=True):
        exact, parts = beam.intensity(np.tensordot(drive, elements, 1))
        np.testing.assert_allclose(intensity, exact, atol=1e-4 * exact.max())
        assert balance.absorbed == pytest.approx(parts.absorbed, rel=1e-4)
        assert balance.sideways == pytest.approx(parts.sideways, rel=1e-3)


def test_sensitivity_is_the_pressure_at_the_point_for_any_source():
    shape, spacing = (20, 80, 80), 0.75e-3
    generator = np.random.default_rng(0)
    tissue = medium(shape, speed=1500 + 60 * generator.random(shape))
    source = converging(80, spacing)
    beam = HybridAngularSpectrum(tissue, [spacing] * 3, source)
    exact = list(beam.planes(source))[15]
    sensitivity = beam.sensitivity([15, 43, 38])
    for part in (np.s_[:], np.s_[:40], np.s_[30:, 40:]):
        only = np.zeros_like(source)
        only[part] = source[part]
        expected = list(beam.planes(only))[15][43, 38]
        assert abs((sensitivity * only).sum() - expected) < 0.02 * np.abs(exact).max()


def test_array_power_enters_through_the_first_plane(device):
    """At 1 W radiated the plane passes 1 W but for what leaves at wide angles, never more."""
    array = Transducer.of(device)
    x = 0.75e-3 * (np.arange(200) - 100)
    source = source_plane(array, np.array([[0, 0, 0.13]]), x, x, 0.06, 1.0, DENSITY, SPEED)[0]
    power = plane_power(source, K, DENSITY * SPEED, (0.75e-3, 0.75e-3))
    assert 0.93 < power < 1.01


def test_fields_superpose(device):
    generator = np.random.default_rng(0)
    tissue = medium((10, 64, 64), speed=1500 + 60 * generator.random((10, 64, 64)))
    beam = HybridAngularSpectrum(tissue, [5e-4] * 3, plane_wave(64))
    first, second = (generator.standard_normal((64, 64)).astype(np.complex64) for _ in range(2))
    last = [list(beam.planes(p))[-1] for p in (first, second, first + 2j * second)]
    np.testing.assert_allclose(last[2], last[0] + 2j * last[1],
                               atol=1e-5 * np.abs(last[2]).max())


def test_symmetric_medium_and_source_give_a_symmetric_field():
    x = 5e-4 * np.arange(-40, 41)
    radius = np.hypot(x[:, None], x[None, :])
    z = np.arange(20)[:, None, None]
    speed = np.where((radius < 6e-3) & (z > 4) & (z < 12), 1560.0, 1480.0)
    source = np.exp(-((radius / 0.008) ** 2) - 1j * K * radius**2 / 0.06).astype(np.complex64)
    beam = HybridAngularSpectrum(medium((20, 81, 81), speed), [5e-4] * 3, source)
    last = beam.intensity(source)[0][-1]
    for turned in (last[::-1], last[:, ::-1], last.T):
        np.testing.assert_allclose(turned, last, atol=1e-4 * last.max())


def sphere_series(points, radius, speed, density, terms=60):
    """Plane wave along +z on a fluid sphere at the origin: partial waves outside it.

    V. C. Anderson, J. Acoust. Soc. Am. 22 (1950); exp(-i w t), unit incident pressure.
    """
    distance = np.linalg.norm(points, axis=1)
    cosine = points[:, 2] / distance
    inner, total = 2 * np.pi * FREQUENCY / speed, np.exp(1j * K * points[:, 2])
    x, y = K * radius, inner * radius
    for n in range(terms):
        def hankel(t, derivative=False, n=n):
            return spherical_jn(n, t, derivative) + 1j * spherical_yn(n, t, derivative)
        own, outer = inner / density, K / DENSITY
        top = own * spherical_jn(n, y, True) * spherical_jn(n, x) - outer * spherical_jn(
            n, y) * spherical_jn(n, x, True)
        bottom = outer * spherical_jn(n, y) * hankel(x, True) - own * spherical_jn(
            n, y, True) * hankel(x)
        total = total + (1j**n * (2 * n + 1) * top / bottom * hankel(K * distance)
                         * eval_legendre(n, cosine))
    return total


def test_soft_sphere_in_water_matches_the_partial_wave_series():
    """A tumour-like sphere (1560 m/s, 1064 kg/m3), 5 mm in radius, focuses and shadows."""
    spacing, count, n_planes, middle = 3.75e-4, 180, 60, 20
    x = spacing * (np.arange(count) - count // 2)
    z = spacing * (np.arange(n_planes) - middle)
    fine = (np.arange(3) - 1) / 3 * spacing
    inside = np.mean([x[:, None]**2 + (x + dy)[None, :]**2 + ((z + dz)[:, None, None])**2 < 25e-6
                      for dy in fine for dz in fine], axis=0)
    tissue = medium(inside.shape, SPEED + 60 * inside, DENSITY + 64 * inside)
    beam = HybridAngularSpectrum(tissue, [spacing] * 3, plane_wave(count))
    behind = np.array(list(beam.planes(plane_wave(count))))[-6]
    line = slice(count // 2 - 24, count // 2 + 25)
    points = np.stack([x[line], 0 * x[line], 0 * x[line] + z[-6]], axis=1)
    exact = sphere_series(points, 5e-3, 1560.0, 1064.0)
    found = behind[line, count // 2]
    free = HybridAngularSpectrum(medium(inside.shape), [spacing] * 3, plane_wave(count))
    reference = np.array(list(free.planes(plane_wave(count))))[-6][count // 2, count // 2]
    ratio = np.abs(found / reference)
    assert np.ptp(np.abs(exact)) > 0.5  # the sphere matters
    assert np.sqrt(np.mean((ratio - np.abs(exact)) ** 2)) < 0.04


def test_taper_is_one_inside_and_zero_at_the_edge():
    taper = edge_taper(100)
    assert taper[0] == taper[-1] == 0 and (taper[10:90] == 1).all()
