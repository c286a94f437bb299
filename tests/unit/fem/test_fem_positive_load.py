"""Loads that cool nothing."""

import numpy as np
import pytest
from test_fem_model import build

from hifuflow.fem.positive_load import positive_load
from hifuflow.numerics.cholesky import ShiftedSolver


def rates(model, load):
    return ShiftedSolver(model.E, model.K).factor(0.0, 1.0).solve(load)


@pytest.fixture(params=["mesh_path", "fine_mesh_path"])
def mesh(request):
    return request.getfixturevalue(request.param)


def test_no_place_is_cooled_by_heating(mesh, anatomy):
    found = build(mesh, anatomy)
    heating = rates(found, found.B)
    assert heating.min() > -1e-9 * heating.max()


def spots(found):
    """Point sources at the foci, the narrowest there are, in a wide beam."""
    narrow = found.cells.interpolation(found.foci)[:, :len(found.baseline)].toarray().T
    distance = np.linalg.norm(found.dof_coordinates[:, None] - found.foci, axis=2)
    return 0.2 * narrow / narrow.sum(axis=0) + found.E @ np.exp(-(distance / 0.008) ** 2)


def test_power_and_centroid_are_kept(fine_mesh_path, anatomy):
    found = build(fine_mesh_path, anatomy)
    load = spots(found)
    assert rates(found, load).min() < -0.05 * rates(found, load).max()
    mended = positive_load(found.E, load, found.dof_coordinates)
    np.testing.assert_allclose(mended.sum(axis=0), load.sum(axis=0), rtol=1e-10)
    np.testing.assert_allclose(found.dof_coordinates.T @ mended / mended.sum(axis=0),
                               found.dof_coordinates.T @ load / load.sum(axis=0), atol=1e-10)
    assert rates(found, mended).min() > -1e-9 * rates(found, mended).max()


def test_a_load_without_negative_rates_stays(fine_mesh_path, anatomy):
    found = build(fine_mesh_path, anatomy)
    smooth = found.E @ np.exp(-np.sum((found.dof_coordinates[:, None] - found.foci) ** 2, axis=2)
                              / (2 * 0.01**2))
    np.testing.assert_allclose(positive_load(found.E, smooth, found.dof_coordinates), smooth,
                               rtol=1e-9, atol=1e-12 * smooth.max())
