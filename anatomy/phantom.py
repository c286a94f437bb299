"""Built-in breast phantom: a hemispheric breast of fat that holds one irregular tumour."""

from __future__ import annotations

import numpy as np
from scipy.special import sph_harm_y

from .source_settings import PhantomSettings

FAT, TUMOUR = 1, 2


def breast_phantom(settings: PhantomSettings):
    """Label map of a breast of radius R with its skin apex at z = 0 and its chest wall at z = R.

    A voxel is breast where (x - x_a)^2 + (y - y_a)^2 + (z - R)^2 <= R^2 and z <= R. The tumour is
    star-shaped about its centre,

        r(u) = s r_e(u) exp(irregularity * f(u)),

    with r_e the ellipsoid of the semi-axes, f a seeded random sum of real spherical harmonics
    (degrees 2 to `irregularity_degree`) of unit variance, and s such that the ellipsoid's volume
    is kept. It is then moved until its centroid is `tumour_centre`.

    Returns
    -------
    labels : (nx, ny, nz) int16; 0 outside, 1 fat, 2 tumour. Voxel centres lie at whole multiples
        of the voxel size.
    affine : (4, 4), voxel index to position [m].
    wall : (nx, ny, nz) bool; voxels behind the chest wall, where the model ends.

    Raises
    ------
    InputError : the tumour leaves the breast.
    """
    size, radius, margin = settings.voxel_size, settings.breast_radius, settings.water_margin
    axis_point = np.array(settings.breast_axis)
    lower = np.floor((np.append(axis_point - radius, 0.0) - margin) / size)
    upper = np.ceil((np.append(axis_point + radius, radius) + margin) / size)
    x, y, z = (size * np.arange(a, b + 1) for a, b in zip(lower, upper, strict=True))
    shape = (len(x), len(y), len(z))
    x, y, z = x[:, None, None], y[None, :, None], z[None, None, :]
    wall = np.broadcast_to(z > radius, shape)
    squared = (x - axis_point[0]) ** 2 + (y - axis_point[1]) ** 2 + (z - radius) ** 2
    # the tolerance keeps voxel centres that lie on the sphere itself, such as the apex
    breast = (squared <= radius**2 * (1 + 1e-9)) & ~wall
    tumour = _tumour_mask(settings, x, y, z)
    if (tumour & ~breast).any():
        raise settings.written.error(
            "the tumour reaches out of the breast", "tumour_centre_mm",
            allowed="centre and semi-axes that keep the tumour inside the breast")
    labels = np.where(tumour, TUMOUR, np.where(breast, FAT, 0)).astype(np.int16)
    affine = np.diag([size, size, size, 1.0])
    affine[:3, 3] = size * lower
    return labels, affine, wall.copy()


def _tumour_mask(settings: PhantomSettings, x, y, z):
    """Voxels with |p - c| <= r((p - c) / |p - c|), c such that the centroid is where it should."""
    centre, semi_axes = np.array(settings.tumour_centre), np.array(settings.tumour_semi_axes)
    directions, weights = _sphere_quadrature()
    radius = _star_radius(settings, semi_axes)
    r = radius(directions)
    scale = (np.prod(semi_axes) / (weights @ r**3 / (4 * np.pi))) ** (1 / 3)
    # centroid of a star-shaped body: integral of u r^4 / 4 over integral of r^3 / 3
    offset = scale * (3 / 4) * (weights * r**4) @ directions / (weights @ r**3)
    points = np.stack(np.broadcast_arrays(*(a - c for a, c in
                                            zip((x, y, z), centre - offset, strict=True))), -1)
    distance = np.linalg.norm(points, axis=-1)
    near = distance <= scale * r.max() * 1.05
    mask = np.zeros(distance.shape, bool)
    u = points[near] / np.maximum(distance[near], 1e-12)[:, None]
    mask[near] = distance[near] <= scale * radius(u)
    return mask


def _star_radius(settings: PhantomSettings, semi_axes):
    """Function of unit vectors (n, 3): ellipsoid radius times exp(irregularity * f)."""
    degrees = range(2, settings.irregularity_degree + 1)
    random = np.random.default_rng(settings.seed)
    # the amplitude falls as 1 / degree, so that lobes stay wider than a voxel
    terms = [(n, m, random.standard_normal() / n) for n in degrees for m in range(-n, n + 1)]
    # the harmonics are orthonormal: the variance over the sphere is sum(c^2) / (4 pi)
    norm = np.sqrt(sum(c**2 for _, _, c in terms) / (4 * np.pi))

    def radius(u):
        theta, phi = np.arccos(np.clip(u[:, 2], -1, 1)), np.arctan2(u[:, 1], u[:, 0])
        f = sum(c * _real_harmonic(n, m, theta, phi) for n, m, c in terms) / norm
        ellipsoid = 1 / np.linalg.norm(u / semi_axes, axis=1)
        return ellipsoid * np.exp(settings.irregularity * f)

    return radius


def _real_harmonic(n, m, theta, phi):
    """Orthonormal real spherical harmonic of degree n and order m."""
    value = sph_harm_y(n, abs(m), theta, phi)
    if m == 0:
        return value.real
    return np.sqrt(2) * (value.real if m > 0 else value.imag)


def _sphere_quadrature(n: int = 60):
    """Unit vectors (2 n^2, 3) and weights (sum 4 pi): Gauss in cos(theta), uniform in phi."""
    cosine, weight = np.polynomial.legendre.leggauss(n)
    phi = np.arange(2 * n) * np.pi / n
    sine = np.sqrt(1 - cosine**2)
    u = np.stack([np.outer(sine, np.cos(phi)), np.outer(sine, np.sin(phi)),
                  np.outer(cosine, np.ones(2 * n))], -1)
    return u.reshape(-1, 3), np.repeat(weight * np.pi / n, 2 * n)
