"""Ultrasound fields against the Rayleigh sum, closed forms, published arrays and k-Wave."""

from __future__ import annotations

from dataclasses import replace
from math import asin, pi, sqrt
from pathlib import Path

import breast_medium as breast
import numpy as np
from run import Check, at_most, within
from scipy import ndimage

from hifuflow.acoustics.angular_spectrum import HybridAngularSpectrum, transmission
from hifuflow.acoustics.medium import Medium
from hifuflow.acoustics.rayleigh import rayleigh_pressure
from hifuflow.acoustics.settings import TransducerSettings
from hifuflow.acoustics.source import source_plane
from hifuflow.acoustics.transducer import Transducer
from hifuflow.provenance import ROOT
from hifuflow.study.transducer_file import load_device

DENSITY, SPEED = 1000.0, 1500.0
RAYLEIGH = "direct Rayleigh sum over the discs"
FOCI = {"unsteered": (0, 0, 0.13), "1.5 cm sideways": (0.015, 0, 0.13),
        "1.5 cm deeper": (0, 0, 0.145), "1.5 cm nearer": (0, 0, 0.115)}
# O'Neil bowls at 1 W in water: radius of curvature, aperture [m], frequency [Hz], focal pressure
# [Pa], -6 dB widths across and along [m]; by the Rayleigh integral, evaluated apart from this code.
BOWLS = {"R13 D13, 1 MHz": (0.13, 0.13, 1e6, 1.059e6, 2.12e-3, 13.49e-3),
         "R13 D15.4, 1 MHz": (0.13, 0.154, 1e6, 1.276e6, 1.79e-3, 9.31e-3),
         "R16.5 D20, 1 MHz": (0.165, 0.2, 1e6, 1.309e6, 1.75e-3, 8.85e-3),
         "R14 D13.6, 1.2 MHz": (0.14, 0.136, 1.2e6, 1.232e6, 1.82e-3, 11.97e-3)}


def checks() -> list[Check]:
    """All of them."""
    return [*_homogeneous(), *_bowls(), *_steered_arrays(), *_layers(), *_heterogeneous()]


def device(name: str, **changes) -> Transducer:
    """A transducer of config/transducers, with single values changed."""
    content, faults = load_device({"name": name, "failed_elements": []}, ROOT / "patient.yaml")
    if faults:
        raise faults[0]
    return Transducer.of(replace(TransducerSettings.read(content), **changes))


def uniform(shape, frequency: float, attenuation=0.0) -> Medium:
    """Water with an attenuation [Np/m] that broadcasts to (nz, nx, ny)."""
    def full(value):
        return np.broadcast_to(np.float32(value), shape)
    loss = full(attenuation)
    return Medium(full(2 * pi * frequency / SPEED), full(DENSITY * SPEED), loss, loss)


def _homogeneous() -> list[Check]:
    array, found = device("random256"), []
    for spacing, allowed in ((0.5e-3, 0.005), (0.75e-3, 0.01)):
        for name, focus in FOCI.items():
            error, peak = _against_rayleigh(array, np.array(focus), spacing)
            what = f"water, {spacing * 1e3:g} mm, {name}"
            found.append(at_most(f"{what}: field error over its peak", error, allowed, RAYLEIGH))
            found.append(within(f"{what}: focal pressure at 1 W [Pa]", *peak, 0.005, RAYLEIGH))
    return found


def _against_rayleigh(array, focus, spacing):
    """Largest error over the peak on lines through the focus, and the peak of both."""
    count, first = round(0.128 / spacing), 0.07
    x = spacing * (np.arange(count) - count // 2)
    z = first + spacing * np.arange(round((focus[2] + 0.015 - first) / spacing))
    source = source_plane(array, focus[None], x, x, first, 1.0, DENSITY, SPEED)[0]
    march = HybridAngularSpectrum(uniform((len(z), count, count), 1e6), [spacing] * 3, source)
    j, jx, jy = (int(np.argmin(np.abs(axis - value)))
                 for axis, value in ((z, focus[2]), (x, focus[0]), (x, focus[1])))
    middle, along, across = slice(count // 5, -(count // 5)), [], []
    for plane, pressure in enumerate(march.planes(source)):
        along.append(abs(pressure[jx, jy]))
        if plane == j:
            across = np.abs(pressure[middle, jy])
    points = np.vstack([np.stack([x[middle], 0 * x[middle] + x[jy], 0 * x[middle] + z[j]], axis=1),
                        np.stack([0 * z + x[jx], 0 * z + x[jy], z], axis=1)])
    exact = np.abs(rayleigh_pressure(array, focus, points, 1.0, DENSITY, SPEED, 100))
    found = np.concatenate([across, along])
    return np.abs(found - exact).max() / exact.max(), (found.max(), exact.max())


def _bowls() -> list[Check]:
    found = []
    for name, (radius, aperture, frequency, pressure, width, length) in BOWLS.items():
        bowl = device("jc200", radius_of_curvature=radius, aperture=aperture,
                      frequency=frequency)
        beam = FocalLines(bowl, np.array([0, 0, radius]), 0.04)
        angle = asin(aperture / 2 / radius)
        face = 2 * pi * radius**2 * (1 - np.cos(angle))
        gain = 2 * pi * frequency / SPEED * radius * (1 - np.cos(angle))  # O'Neil, at the centre
        closed = gain * sqrt(2 * DENSITY * SPEED / face)
        origin = "O'Neil (1949), J. Acoust. Soc. Am. 21: Rayleigh integral of a bowl"
        found += [within(f"bowl {name}: pressure at its centre [Pa]", beam.centre, closed, 0.01,
                         "O'Neil (1949), J. Acoust. Soc. Am. 21: k h sqrt(2 rho c W/area)"),
                  within(f"bowl {name}: focal pressure [Pa]", beam.peak, pressure, 0.01, origin),
                  within(f"bowl {name}: -6 dB width [m]", beam.width(0.5), width, 0.02, origin),
                  within(f"bowl {name}: -6 dB length [m]", beam.length(0.5), length, 0.02, origin)]
    return found


class FocalLines:
    """Pressure on fine lines across and along the axis through the strongest point of a focus.

    `ahead` : distance of the first plane from the focus [m]; `attenuation` [Np/m] from there on.
    """

    def __init__(self, array, focus, ahead: float, attenuation: float = 0.0):
        spacing = SPEED / array.frequency / 4
        half = ahead * np.tan(array.half_angle) + np.abs(focus[:2]).max() + 0.012
        count = 2 * round(half / 0.84 / spacing)
        x = spacing * (np.arange(count) - count // 2)
        z = focus[2] - ahead + spacing * np.arange(round((ahead + 0.02) / spacing))
        source = source_plane(array, focus[None], x, x, z[0], 1.0, DENSITY, SPEED)[0]
        medium = uniform((len(z), count, count), array.frequency, attenuation)
        squared, _ = HybridAngularSpectrum(medium, [spacing] * 3, source).intensity(source)
        self.pressure = np.sqrt(2 * DENSITY * SPEED * squared)
        self.spacing = spacing
        at = (focus[[2, 0, 1]] - [z[0], x[0], x[0]]) / spacing
        self.centre = self._sample(at[:, None])[0]
        fine = np.arange(-12, 12, 0.02)
        axial = at[:, None] + np.outer([1, 0, 0], np.arange(-at[0] / 1.5, 19e-3 / spacing, 0.02))
        self._along = self._sample(axial)
        self._across = self._sample(axial[:, [self._along.argmax()]] + np.outer([0, 1, 0], fine))
        self.peak = max(self._along.max(), self._across.max())

    def _sample(self, index):
        return ndimage.map_coordinates(self.pressure, index, order=3, mode="nearest")

    def width(self, level: float) -> float:
        """Full width across the axis at a level of the pressure [m]."""
        return self._lobe(self._across, level)

    def length(self, level: float) -> float:
        """Full length along the axis at a level of the pressure [m]."""
        return self._lobe(self._along, level)

    def _lobe(self, line, level):
        top = line.argmax()
        below = line < level * line[top]
        after = below[top:].argmax()
        before = below[top::-1].argmax()
        return 0.02 * self.spacing * (after + before)


# Table 2 of PMC3166338 (A. Payne, U. Vyas, N. Todd et al., Med. Phys. 38(9), 2011), at 2 W/cm2 of
# radiating surface: aperture, disc radius [m], frequency [Hz]; peak Q [W/m3] unsteered, steered
# 1 cm sideways and 1 cm in depth; focal size across and along [m].
STEERED = {"15.4 cm, 1 MHz": (0.154, 0.0033, 1e6, (1.15e8, 0.66e8, 0.88e8), (1.6e-3, 7.2e-3)),
           "10.3 cm, 1 MHz": (0.103, 0.0022, 1e6, (0.25e8, 0.18e8, 0.19e8), (2.4e-3, 15.3e-3)),
           "15.4 cm, 0.5 MHz": (0.154, 0.0033, 0.5e6, (0.2e8, 0.16e8, 0.16e8), (3.3e-3, 14.5e-3))}
TISSUE = 0.05, 5.76  # before the focus [m], Np/m/MHz (0.5 dB/cm/MHz): what all nine values agree on
SURFACE_INTENSITY = 2e4  # [W/m2]


def _steered_arrays() -> list[Check]:
    """The table does not tell the tissue: one depth and one attenuation must serve all of it.

    Its absolute values are those of Q = alpha I, half of what is computed everywhere here.
    Sideways the published ratios (0.57, 0.72, 0.80) are below the directivity of the discs (0.76,
    0.88, 0.93), the only loss that such a beam has; the closed form is the reference. What could be
    behind it, tried on the sum over the discs: tissue of 1450 or 1570 m/s changes nothing (0.76);
    discs 1.36 times as wide would cover 79 % of the bowl and give 0.61, 0.79, 0.88; the square of
    the ratio, a focus 1 cm away along each of two axes (1.4 cm), or a peak read half a voxel of
    1 mm beside the focus (exp(-4 ln 2 (0.5 mm / width)^2) of the widths below) gives 0.58, 0.78,
    0.87, which is the published loss for the first array and lies 8 to 9 % above it for the others
    (3 % beyond their rounding). How the table defines it cannot be told from its numbers.
    """
    found, table = [], "PMC3166338, Table 2"
    ahead, alpha = TISSUE
    for name, (aperture, disc, frequency, peaks, size) in STEERED.items():
        array = device("random256_154", aperture=aperture, element_radius=disc,
                       frequency=frequency)
        loss = alpha * frequency * 1e-6
        power = SURFACE_INTENSITY * array.areas.sum()
        beams = [FocalLines(array, np.array(focus), ahead + focus[2] - 0.13, loss)
                 for focus in ((0, 0, 0.13), (0.01, 0, 0.13), (0, 0, 0.14))]
        heat = [loss * beam.peak**2 / (2 * DENSITY * SPEED) * power for beam in beams]
        found += [within(f"array {name}: peak of alpha I [W/m3]", heat[0], peaks[0], 0.2, table),
                  within(f"array {name}: steered 1 cm in depth over unsteered", heat[2] / heat[0],
                         peaks[2] / peaks[0], 0.05, table),
                  within(f"array {name}: steered 1 cm sideways over unsteered", heat[1] / heat[0],
                         _directivity(array, 0.01), 0.03,
                         "(2 J1(x)/x)^2 of the discs; GOAL 5 % of the table's "
                         f"{peaks[1] / peaks[0]:.2f}, which a focus 1 cm away along both axes "
                         "would come near"),
                  within(f"array {name}: length at half of Q [m]", beams[0].length(sqrt(0.5)),
                         size[1], 0.1, table),
                  Check(f"array {name}: width at half of Q [m]", beams[0].width(sqrt(0.5)),
                        size[0], 0.75 * size[0], 1.1 * size[0],
                        f"{table}; GOAL 10 %: at which level it was measured is not told, and "
                        "the Rayleigh sum has this width")]
    return found


def _directivity(array, sideways: float) -> float:
    """Square of what the discs send to a point beside the centre over what they send there."""
    steered = np.array([sideways, 0, array.radius_of_curvature])
    discs = [replace(array, positions=array.positions[[i]], normals=array.normals[[i]],
                     radii=array.radii[[i]], element=np.zeros(1, int), weights=np.ones(1))
             for i in range(0, array.n_elements, 4)]
    centre = np.array([0, 0, array.radius_of_curvature])
    sums = [sum(abs(rayleigh_pressure(disc, point, point[None], 1.0, DENSITY, SPEED, 60)[0])
                for disc in discs) for point in (steered, centre)]
    return (sums[0] / sums[1]) ** 2


def _layers() -> list[Check]:
    """A broad beam through a layer, at normal incidence and at 11 and 16 degrees."""
    found, count, d = [], 256, 5e-4
    x = d * (np.arange(count) - count // 2)
    shape, k = (15, count, count), 2 * pi * 1e6 / SPEED
    speed, density = np.full((15, 1, 1), SPEED), np.full((15, 1, 1), DENSITY)
    speed[5:10], density[5:10] = 1800.0, 1300.0
    layered = replace(uniform(shape, 1e6),
                      wavenumber=np.broadcast_to(np.float32(2 * pi * 1e6 / speed), shape),
                      impedance=np.broadcast_to(np.float32(speed * density), shape))
    for order in (0, 16, 24):
        across = 2 * pi * order / (count * d)
        source = np.exp(1j * across * x[:, None] - (x[:, None]**2 + x**2) / 0.03**2)
        through, free = (np.array([np.abs(p).max() for p in
                                   HybridAngularSpectrum(m, [d] * 3, source).planes(source)])
                         for m in (layered, uniform(shape, 1e6)))
        n1, n2 = (z / np.sqrt(1 - (across * c / (2 * pi * 1e6)) ** 2)
                  for z, c in ((SPEED * DENSITY, SPEED), (1800.0 * 1300.0, 1800.0)))
        degrees = np.degrees(np.arcsin(across / k))
        for what, plane, exact in (("into", 7, 2 * n2 / (n1 + n2)),
                                   ("through", 12, 4 * n1 * n2 / (n1 + n2) ** 2)):
            found.append(within(f"layer at {degrees:.0f} degrees, pressure {what} it",
                                through[plane] / free[plane], exact, 0.01,
                                "transmission of a plane wave"))
    z1, z2 = SPEED * DENSITY, 7.0e6
    found.append(within("power transmitted from water into bone, normal incidence",
                        transmission((k, z1), (k, z2), 0.0) ** 2, 4 * z1 * z2 / (z1 + z2) ** 2,
                        1e-6, "transmission of a plane wave"))
    return found


WAVELENGTH = 3  # in cells of the mixture
STANDING = ("; GOAL 2 %: the rest are standing waves of what is reflected, which a march "
            "forwards lacks")


def _heterogeneous() -> list[Check]:
    """k-Wave's amplitudes, stored by `kwave_reference.py`, on the same medium and source.

    k-Wave also has the waves that interfaces of 17 % in impedance throw back. They stand against
    the beam with a period of half a wavelength and move single voxels by a few per cent, in the
    water before the body, where nothing else differs, by up to 10 %; a mean over a wavelength is
    free of them.
    """
    found, inner = [], slice(breast.LAYER, -breast.LAYER)
    source = breast.beam()[inner, inner]
    for name, structure, rms, heat in (("4mm", 4e-3, 0.01, 0.02), ("2mm", 2e-3, 0.02, 0.1)):
        stored = np.load(Path(__file__).with_name(f"kwave_{name}.npz"))
        medium = breast_medium(structure)
        march = HybridAngularSpectrum(medium, [breast.SPACING] * 3, source)
        intensity, balance = march.intensity(source)
        pressure = np.sqrt(2 * medium.impedance * intensity)
        error = (pressure[::4, 1::3, 1::3] - stored["coarse"])[1:, 3:-3, 3:-3]
        peak, plane = stored["planes_x"].max(), stored["peak"][1]
        weight = (medium.absorption / medium.impedance)[:, plane]
        ours, theirs = (weight * np.square(p) for p in (pressure[:, plane], stored["planes_x"]))
        means = [ndimage.uniform_filter(q, WAVELENGTH).max() for q in (ours, theirs)]
        origin = "k-Wave 0.6.2, stored with its script"
        found += [at_most(f"breast-like, {name}: rms error over the peak",
                          np.sqrt(np.mean(error**2)) / peak, rms, origin),
                  within(f"breast-like, {name}: peak Q, mean over a wavelength [W/m3]", *means,
                         heat, origin),
                  within(f"breast-like, {name}: peak Q of one voxel [W/m3]", ours.max(),
                         theirs.max(), max(heat, 0.05), origin + STANDING * (heat < 0.05)),
                  at_most(f"breast-like, {name}: power unaccounted for", abs(balance.missing),
                          0.01, "absorbed + reflected + sideways + transmitted = entered")]
    return found


def breast_medium(structure) -> Medium:
    """The mixture without its absorbing layers, planes along the beam."""
    mixture, inner = breast.mixture(structure), slice(breast.LAYER, -breast.LAYER)

    def planes(values):
        part = values[inner, inner, inner].transpose(2, 0, 1)
        return np.ascontiguousarray(part, dtype=np.float32)
    loss = planes(mixture.attenuation)
    return Medium(planes(2 * pi * breast.FREQUENCY / mixture.speed),
                  planes(mixture.density * mixture.speed), loss, loss)
