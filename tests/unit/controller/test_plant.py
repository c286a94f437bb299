import numpy as np
import pytest
import scipy.linalg as la
import scipy.sparse as sp

from hifuflow.controller.patient.krylov import StepResponseSolver
from hifuflow.controller.patient.plant import SAMPLES_PER_BLOCK, HeatedPatient, Plant
from hifuflow.errors import NumericalError


def _stiff_system(n=60):
    """SPD pair with rates E^-1 K spread over nine decades."""
    rng = np.random.default_rng(3)
    Q = la.qr(rng.standard_normal((n, n)))[0]
    root = la.cholesky(Q @ np.diag(np.linspace(1, 3, n)) @ Q.T)
    E, K = root.T @ root, root.T @ Q @ np.diag(np.logspace(-3, 6, n)) @ Q.T @ root
    return (E + E.T) / 2, (K + K.T) / 2


def _exact(E, K, load, time):
    rate, modes = la.eigh(K, E)
    return modes @ (-np.expm1(-rate * time) / rate * (modes.T @ load))


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
def test_step_response_meets_its_tolerance(tolerance):
    E, K = _stiff_system()
    load = np.random.default_rng(1).standard_normal(len(E)) * 10
    response = StepResponseSolver(sp.csr_array(E), sp.csr_array(K), 20.0, tolerance).response(load)
    times = np.array([0.5, 2.0, 7.0, 20.0])
    found = response.basis @ response.coefficients(times)
    exact = np.column_stack([_exact(E, K, load, t) for t in times])
    assert np.abs(found - exact).max() < 10 * tolerance


def test_error_falls_geometrically_with_the_basis():
    E, K = _stiff_system(40)
    load = np.ones(len(E))
    sizes, errors = [], []
    for tolerance in (1e-2, 1e-4, 1e-6):
        response = StepResponseSolver(sp.csr_array(E), sp.csr_array(K), 20.0,
                                      tolerance).response(load)
        sizes.append(response.basis.shape[1])
        errors.append(np.abs(response.basis @ response.coefficients([20.0])[:, 0]
                             - _exact(E, K, load, 20.0)).max())
    assert np.log(errors[0] / errors[-1]) / (sizes[-1] - sizes[0]) > np.log(2)


def test_stiff_modes_are_damped_for_any_step():
    E, K = _stiff_system()
    solver = StepResponseSolver(sp.csr_array(E), sp.csr_array(K), 20.0, 1e-8)
    state = np.random.default_rng(2).standard_normal(len(E))
    response = solver.response(-(K @ state))
    energy = [z @ E @ z for z in
              (state[:, None] + response.basis @ response.coefficients([0, 1, 5, 20, 1e4])).T]
    assert np.all(np.diff(energy) <= 1e-9 * energy[0])
    assert energy[-1] < 1e-4 * energy[0]


def test_zero_load_gives_zero():
    E, K = _stiff_system(10)
    solver = StepResponseSolver(sp.csr_array(E), sp.csr_array(K), 5.0, 1e-6)
    response = solver.response(np.zeros(10))
    assert not np.any(response.basis @ response.coefficients([1.0, 5.0]))


def test_indefinite_matrix_is_refused():
    with pytest.raises(NumericalError):
        StepResponseSolver(sp.csr_array(-np.eye(4)), sp.csr_array(np.eye(4)), 1.0, 1e-3)


def test_plant_follows_the_exact_exponential_through_switching(small_patient):
    plant = Plant(small_patient, 2.0, 0.5, 20.0)
    rate, modes = la.eigh(small_patient.K.toarray(), small_patient.E.toarray())
    decay = np.exp(-2.0 * rate)[:, None] * modes.T @ small_patient.E.toarray()
    state, rng = np.zeros(len(rate)), np.random.default_rng(5)
    for _ in range(2 * SAMPLES_PER_BLOCK + 5):
        power = np.zeros(len(small_patient.foci))
        if rng.random() < 0.6:
            power[rng.integers(len(power), size=2)] = rng.uniform(0, 10, size=2)
        plant.advance(power)
        load = modes.T @ (small_patient.B @ power)
        state = modes @ (decay @ state + (1 - np.exp(-2.0 * rate)) / rate * load)
        np.testing.assert_allclose(plant.state, state, atol=0.02)
    np.testing.assert_allclose(plant.temperature, 37 + small_patient.C @ state, atol=0.02)
    assert state.max() > 10


def test_dose_and_peak_of_active_voxels_equal_those_of_all(small_patient):
    plant = Plant(small_patient, 2.0, 0.5, 20.0)
    power = np.zeros(len(small_patient.foci))
    power[2] = 20.0
    for k in range(30):
        plant.advance(power * (k < 8))
    target = small_patient.voxels.target
    outputs = small_patient.outputs.target
    assert target.sum() == outputs.sum()
    order = np.lexsort(small_patient.voxels.index[target].T[::-1])
    row = np.lexsort(small_patient.outputs.position[outputs].T[::-1])
    np.testing.assert_allclose(plant.voxels.dose[target][order], plant.target_dose[row],
                               rtol=1e-9, atol=1e-12)
    assert plant.target_dose.max() > 240
    assert plant.voxels.peak.max() > 55
    assert plant.voxels.dose[plant.voxels.peak < 39].max() == 0


def test_dose_converges_with_the_substep(small_patient):
    doses = []
    for substep in (1.0, 0.5, 0.25, 0.03125):
        plant = Plant(small_patient, 2.0, substep, 20.0, tolerance=1e-8)
        power = np.eye(len(small_patient.foci))[2] * 20
        for k in range(10):
            plant.advance(power * (k < 5))
        doses.append(plant.target_dose.max())
    errors = np.abs(np.array(doses[:3]) / doses[3] - 1)
    assert errors[1] < 0.35 * errors[0]
    assert errors[2] < 1e-4


def test_a_basis_that_fills_up_says_so():
    rates = sp.diags_array(np.geomspace(1e-3, 1e6, 400))
    solver = StepResponseSolver(sp.eye_array(400), rates, 20.0, 1e-30)
    with pytest.raises(NumericalError, match=r"did not reach 1e-30 K with 80 Krylov vectors"):
        solver.response(np.ones(400))


class Given(HeatedPatient):
    """A patient whose states are given: a rise of 20 K everywhere."""

    def _states_within(self, power, times):
        return np.full((len(self._state), len(times)), 20.0)


def test_no_output_voxel_or_image_is_above_the_cap(small_patient):
    """Between nodes, where quadratic shape functions exceed what no node does."""
    plant = Given(small_patient, 2.0, 0.5, highest=47.0)
    plant.advance(np.zeros(5))
    plant.advance(np.zeros(5))
    for found in (plant.temperature, plant.mean_temperature, plant.voxels.peak):
        assert (found == 47).all()
    plant.voxels.refresh_peak(plant.state)
    assert (plant.voxels.peak == 47).all()
    target = small_patient.voxels.target
    for dose in (plant.target_dose, plant.voxels.dose[target]):
        # The second sample is at 47 degC throughout, the first rises to it.
        assert (2 / 60 * 16 < dose).all() and (dose < 4 / 60 * 16).all()
