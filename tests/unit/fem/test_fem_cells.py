"""The model cell by cell against the assembled one."""

import numpy as np
import pytest
from box_patient import BOX, box_anatomy, gaussian_heating
from test_fem_model import build

from hifuflow.records.bioheat_model import BioheatModel


@pytest.fixture(scope="module")
def model(mesh_path):
    return build(mesh_path, box_anatomy())


def full_stiffness(cells):
    return cells.stiffness(cells.share @ cells.conductivity, cells.share @ cells.perfusion)


def test_stiffness_is_that_of_the_form_compiler(model):
    n, K = len(model.baseline), full_stiffness(model.cells)
    assert abs(K[:n, :n] - model.K).max() < 1e-12 * abs(model.K).max()
    assert model.cells.n_nodes > n  # the held skin
    assert model.cells.volume.sum() == pytest.approx(BOX**3, rel=1e-12)


def test_losses_are_the_stiffness_times_the_temperature(model):
    cells, random = model.cells, np.random.default_rng(1)
    temperature = random.standard_normal(cells.n_nodes)
    conductivity, perfusion = random.uniform(0, 1, (2, len(cells.nodes)))
    expected = cells.stiffness(conductivity, perfusion) @ temperature
    found = cells.losses(temperature, conductivity, perfusion)
    np.testing.assert_allclose(found, expected, atol=1e-13 * abs(expected).max())


def test_interpolation_reads_quadratics_exactly(model):
    points = np.random.default_rng(2).uniform(0.001, BOX - 0.001, (500, 3))
    n = len(model.baseline)
    nodes = np.full((model.cells.n_nodes, 3), np.nan)
    nodes[:n] = model.dof_coordinates
    corner = model.cells.vertices.reshape(-1, 3)
    nodes[model.cells.nodes[:, :4].ravel()] = corner

    def field(x):
        return x[:, 0] * x[:, 1] - 2 * x[:, 2] ** 2 + 1

    inner = ~np.isnan(nodes[:, 0])
    matrix = model.cells.interpolation(points)
    clear = matrix[:, ~inner].sum(axis=1) == 0  # middles of held edges are known by no position
    assert clear.sum() > 300
    found = matrix[:, inner] @ field(nodes[inner])
    np.testing.assert_allclose(found[clear], field(points)[clear], atol=1e-12)


def test_shares_of_nodes_average_the_cells(model, anatomy):
    shares = model.cells.node_shares
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    tumour = shares[:len(model.baseline), model.cells.regions.index("tumour")]
    middle = np.linalg.norm(model.dof_coordinates - BOX / 2, axis=1)
    assert tumour[middle < 0.003].min() == pytest.approx(1)
    assert tumour[middle > 0.015].max() < 0.05


def test_cells_survive_storage(model, tmp_path):
    model.save(tmp_path / "plant.h5", "box", "0" * 64)
    again = BioheatModel.load(tmp_path / "plant.h5").cells
    assert again.regions == model.cells.regions and again.arterial == 37.0
    for name in again.UNITS:
        np.testing.assert_array_equal(getattr(again, name), getattr(model.cells, name))


def test_deviations_of_a_region_and_of_the_place_are_assembled(fine_mesh_path, anatomy):
    mesh_path, model = fine_mesh_path, build(fine_mesh_path, anatomy)
    other = build(mesh_path, anatomy, focal_shift_mm=[2.0, -1.0, 1.5],
                  regions={"tumour": {"absorption_factor": 1.5, "perfusion_factor": 3.0}})
    shifted = build(mesh_path, anatomy, focal_shift_mm=[2.0, -1.0, 1.5])
    # The second focus of this heating is the first one moved by the same way.
    power = shifted.B.sum(axis=0)
    np.testing.assert_allclose(shifted.dof_coordinates.T @ shifted.B[:, 0] / power[0],
                               gaussian_heating(1e-3, 1e-3).foci[1], atol=1e-5)
    tumour = other.cells.node_shares[:len(other.baseline),
                                     other.cells.regions.index("tumour")]
    np.testing.assert_allclose(other.B, shifted.B * (1 + 0.5 * tumour[:, None]))
    change = other.cells.perfusion / model.cells.perfusion
    assert dict(zip(other.cells.regions, change.round(9), strict=True)) == {"fat": 1, "tumour": 3}
