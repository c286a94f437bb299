"""A small array's data sheet, tissues and a small body, shared by the tests of the acoustics."""

import numpy as np
import pytest

from hifuflow.artifacts import Anatomy


@pytest.fixture
def device():
    return {"name": "random256", "kind": "random_spherical", "frequency_hz": 1.0e6,
            "radius_of_curvature_m": 0.13, "aperture_m": 0.13, "n_elements": 256,
            "element_radius_m": 0.003, "seed": 1, "max_power_w": 22,
            "max_steering_m": {"lateral": 0.015, "axial": 0.02}}


@pytest.fixture
def tissues():
    return {
        "water": {"density_kg_m3": 1000, "speed_of_sound_m_s": 1500, "attenuation_np_m_mhz": 0,
                  "absorption_np_m_mhz": 0},
        "fat": {"density_kg_m3": 937, "speed_of_sound_m_s": 1480, "attenuation_np_m_mhz": 8.6,
                "absorption_np_m_mhz": 8.6},
        "tumour": {"density_kg_m3": 1064, "speed_of_sound_m_s": 1560,
                   "attenuation_np_m_mhz": 13.3, "absorption_np_m_mhz": 13.3},
    }


def cube_of_fat(axis=(0, 0, 1), voxel=2e-3):
    """A 32 mm cube of fat with a tumour off its middle, in 10 mm of air or water on all sides.

    Made for sound along +z and then turned so that the sound travels along `axis`.
    """
    labels = np.zeros((26, 26, 26), dtype=np.int16)
    labels[5:21, 5:21, 5:21] = 1
    labels[10:15, 11:15, 11:17] = 2
    coupling = labels == 0
    coupling[:, :, 21:] = False
    axis = np.array(axis)
    if tuple(axis) == (1, 0, 0):  # the beam's (x, y, z) become the patient's (y, z, x)
        labels, coupling = (a.transpose(2, 0, 1) for a in (labels, coupling))
    elif tuple(axis) == (0, -1, 0):  # (x, y, z) become (x, z, -y)
        labels, coupling = (a.transpose(0, 2, 1)[:, ::-1] for a in (labels, coupling))
    regions = {"fat": {"label": 1, "tissue": "fat", "volume_m3": 1.0},
               "tumour": {"label": 2, "tissue": "tumour", "volume_m3": 1.0}}
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = -0.0253
    return Anatomy(labels.copy(), affine, regions, ["tumour"], coupling.copy(),
                   axis.astype(float), "")


@pytest.fixture
def cube():
    return cube_of_fat
