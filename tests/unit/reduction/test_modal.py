"""Real modal form against dense algebra and the matrix exponential."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg as la

from hifuflow.errors import NumericalError
from hifuflow.reduction.modal import HeldModel, modal_realization, partners


@pytest.fixture
def model():
    """Nine states with two pairs of complex eigenvalues, in coordinates that hide them."""
    random = np.random.default_rng(2)
    blocks = la.block_diag([[-0.3, 0.2], [-0.2, -0.3]], [[-2.0]], [[-0.1, 0.05], [-0.05, -0.1]],
                           np.diag([-0.02, -0.5, -1.0, -7.0]))
    basis = np.eye(9) + 0.2 * random.standard_normal((9, 9))
    return (basis @ blocks @ np.linalg.inv(basis), random.standard_normal((9, 3)),
            random.standard_normal((4, 9)))


def test_transfer_function_is_kept_and_slow_modes_come_first(model):
    modal = modal_realization(*model)
    for w in (0.0, 0.1, 3.0):
        full, small = (c @ np.linalg.solve(1j * w * np.eye(9) - a, b) for a, b, c in (model, modal))
        np.testing.assert_allclose(small, full, rtol=1e-9)
    a = modal[0]
    assert np.count_nonzero(a) == 9 + 4 and np.count_nonzero(partners(a) - np.arange(9)) == 4
    assert (np.diff(np.diag(a)) <= 1e-12).all()
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(a)), np.sort(np.linalg.eigvals(model[0])))


@pytest.mark.parametrize("interval", [1e-3, 2.0, 500.0])
def test_held_model_is_the_matrix_exponential(model, interval):
    a, b, c = modal_realization(*model)
    held = HeldModel.sampled(SimpleNamespace(A=a, B=b, C=c), interval)
    exact = la.expm(interval * np.block([[a, b], [np.zeros((3, 12))]]))
    x, u = np.arange(9.0), np.array([1.0, 0.0, -2.0])
    np.testing.assert_allclose(held(x, u), exact[:9, :9] @ x + exact[:9, 9:] @ u, rtol=1e-9,
                               atol=1e-12)


def test_integrator_is_a_mode_like_any_other():
    one = np.ones((1, 1))
    held = HeldModel.sampled(SimpleNamespace(A=0 * one, B=one, C=one), 3.0)
    np.testing.assert_allclose(held(np.array([1.0]), np.array([2.0])), [7.0])


def test_what_has_no_modal_form_is_refused(model):
    with pytest.raises(NumericalError, match="no accurate modal form"):
        modal_realization(np.array([[-1.0, 1.0], [0.0, -1.0]]), np.ones((2, 1)), np.ones((1, 2)))
    for matrix in (model[0], np.diag([1.0, 1.0], -1) - np.eye(3), np.eye(3)[::-1] - np.eye(3)):
        with pytest.raises(NumericalError, match="not in real modal form"):
            partners(matrix)
