"""Properties per cell: exact averages where they are known."""

import numpy as np
import pytest
from box_patient import BOX, SETTINGS, TUMOUR, box_mesh, settings

from hifuflow.fem.properties import region_properties
from hifuflow.numerics.cell_shares import subdivided_centroids
from hifuflow.numerics.tetrahedra import signed_volumes


@pytest.mark.parametrize("m", [1, 2, 5, 12])
def test_subdivision_integrates_linear_functions_exactly(m):
    points = subdivided_centroids(m)
    assert points.shape == (m**3, 4)
    assert len(np.unique(points.round(12), axis=0)) == m**3
    assert points.min() > 0
    np.testing.assert_allclose(points.sum(axis=1), 1)
    np.testing.assert_allclose(points.mean(axis=0), 0.25)


def test_subdivision_error_of_quadratics_falls_with_the_square():
    exact = 1 / 10  # mean of lambda^2 over a tetrahedron
    errors = [abs((subdivided_centroids(m) ** 2).mean(axis=0) - exact).max() for m in (4, 8)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] < 1e-3


def test_integrals_over_the_body_are_those_of_the_label_map(anatomy):
    """Cells that cut across the tumour's faces take averages, so that nothing is lost."""
    mesh = box_mesh(7)
    found = region_properties(mesh.cell_vertices, anatomy, SETTINGS).cells
    volume = np.abs(signed_volumes(mesh.cell_vertices))
    tumour = (TUMOUR[1] - TUMOUR[0]) ** 3
    for values, of in ((found.heat_capacity, lambda t: t.density * t.specific_heat),
                       (found.conductivity, lambda t: t.conductivity),
                       (found.perfusion, lambda t: 4000 * t.perfusion)):
        fat, lesion = of(SETTINGS.tissues["fat"]), of(SETTINGS.tissues["tumour"])
        total = fat * (BOX**3 - tumour) + lesion * tumour
        excess = abs(lesion - fat) * tumour
        assert abs(values @ volume - total) < 0.01 * excess
        assert values.min() >= min(fat, lesion) - 1e-9 * fat
        assert values.max() <= max(fat, lesion) + 1e-9 * fat
    assert len(np.unique(found.perfusion)) > 2


def test_cells_outside_the_body_take_the_nearest_body_voxel(anatomy):
    far = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]]) * 0.001
    shift = np.array([[-0.01, 0.02, 0.02]])  # in the water beside the box, and off the grid
    anatomy.labels[1, 11:13, 11:13] = 2
    found = region_properties(far + shift, anatomy, SETTINGS).cells
    assert found.conductivity[0] == SETTINGS.tissues["tumour"].conductivity


def test_water_inside_a_cell_does_not_count(anatomy):
    cell = np.array([[[-0.002, 0, 0], [0.004, 0.0, 0], [0, 0.004, 0], [0, 0, 0.004]]])
    found = region_properties(cell, anatomy, SETTINGS).cells
    np.testing.assert_allclose(found.conductivity, SETTINGS.tissues["fat"].conductivity)


def test_deviations_scale_their_term_only(anatomy):
    vertices = box_mesh(2).cell_vertices
    plain = region_properties(vertices, anatomy, SETTINGS)
    other = region_properties(vertices, anatomy, settings(deviations={
        "perfusion_factor": 1.5, "conductivity_factor": 0.8,
        "regions": {"tumour": {"perfusion_factor": 2.0, "absorption_factor": 1.2}}}))
    tumour = np.array([name == "tumour" for name in plain.names])
    np.testing.assert_allclose(other.perfusion, np.where(tumour, 3.0, 1.5) * plain.perfusion)
    np.testing.assert_allclose(other.conductivity, 0.8 * plain.conductivity)
    np.testing.assert_allclose(other.absorption, np.where(tumour, 1.2, 1.0))
    np.testing.assert_array_equal(other.heat_capacity, plain.heat_capacity)
    np.testing.assert_allclose(other.cells.conductivity, 0.8 * plain.cells.conductivity)
