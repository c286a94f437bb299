import numpy as np
import pytest
import scipy.linalg as la
import scipy.sparse as sp

from hifuflow.controller.patient.plant import AT_ONCE, HeatedPatient, Plant
from hifuflow.controller.patient.reachable import reachable_space
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


def _reached(E, K, loads, tolerance, power=1.0, times=(0.05, 100.0)):
    return reachable_space(sp.csr_array(E), sp.csr_array(K), loads, power, times, tolerance)


@pytest.mark.parametrize("tolerance", [1e-1, 1e-2, 1e-4])
def test_a_response_meets_the_tolerance(tolerance):
    E, K = _stiff_system()
    loads = np.random.default_rng(1).standard_normal((len(E), 2)) * 10
    reached = _reached(E, K, loads, tolerance)
    assert reached.error <= tolerance
    times, power = np.array([0.5, 2.0, 7.0, 20.0, 500.0]), np.array([1.0, -0.5])
    found = reached.modes @ reached.after(np.zeros(len(reached.rate)), power, times)
    exact = np.column_stack([_exact(E, K, loads @ power, t) for t in times])
    assert np.abs(found - exact).max() < 5 * tolerance


def test_a_sharper_tolerance_needs_more_modes():
    E, K = _stiff_system()
    loads = np.ones((len(E), 1))
    sizes = [len(_reached(E, K, loads, tolerance).rate) for tolerance in (1.0, 1e-2, 1e-4)]
    assert sizes == sorted(set(sizes)) and sizes[-1] < len(E)


def test_modes_are_orthonormal_and_decay_for_any_step():
    E, K = _stiff_system()
    reached = _reached(E, K, np.random.default_rng(2).standard_normal((len(E), 3)), 1e-4)
    modes = reached.modes
    np.testing.assert_allclose(modes.T @ E @ modes, np.eye(len(reached.rate)), atol=1e-9)
    np.testing.assert_allclose(modes.T @ K @ modes, np.diag(reached.rate),
                               atol=1e-9 * reached.rate.max())
    start = reached.after(np.zeros(len(reached.rate)), np.ones(3), np.array([5.0]))[:, 0]
    left = reached.after(start, np.zeros(3), np.array([0.0, 1.0, 5.0, 20.0, 1e4]))
    energy = (left ** 2).sum(axis=0)  # that of the states in E, whose modes these are
    np.testing.assert_allclose(left[:, 0], start)
    assert np.all(np.diff(energy) <= 0) and energy[-1] < 1e-4 * energy[0]


def test_the_longest_and_the_shortest_times_count():
    """A slow and a fast mode beside those that the shifts are meant for."""
    E, K = np.eye(3), np.diag([1e-3, 0.3, 30.0])
    reached = _reached(E, K, np.ones((3, 1)), 1e-8)
    np.testing.assert_allclose(reached.rate, [1e-3, 0.3, 30.0])


def test_inputs_that_heat_nothing_give_nothing():
    E, K = _stiff_system(10)
    some = _reached(E, K, np.column_stack([np.zeros(10), np.ones(10)]), 1e-6)
    assert not some.load[:, 0].any() and some.load[:, 1].any()
    none = _reached(E, K, np.zeros((10, 2)), 1e-6)
    assert none.after(np.zeros(0), np.ones(2), np.array([1.0, 2.0])).shape == (0, 2)


def test_what_cannot_be_reached_is_refused():
    E, K = _stiff_system(20)
    with pytest.raises(NumericalError, match="not positive definite"):
        _reached(-E, K, np.ones((20, 1)), 1e-3)
    with pytest.raises(NumericalError, match="load of the plant is not finite"):
        _reached(E, K, np.full((20, 1), np.nan), 1e-3)
    with pytest.raises(NumericalError, match=r"not found to 1e-25 K: .* of 20 dimensions"):
        _reached(E, K, np.ones((20, 1)), 1e-25)


def test_plant_follows_the_exact_exponential_through_switching(small_patient):
    plant = Plant(small_patient, 2.0, 0.5, 20.0)
    rate, modes = la.eigh(small_patient.K.toarray(), small_patient.E.toarray())
    decay = np.exp(-2.0 * rate)[:, None] * modes.T @ small_patient.E.toarray()
    state, rng = np.zeros(len(rate)), np.random.default_rng(5)
    for _ in range(2 * AT_ONCE + 5):
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
                               rtol=2e-5, atol=1e-12)  # single precision
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


class Given(HeatedPatient):
    """A patient whose state is given: a rise of 20 K everywhere."""

    @property
    def state(self):
        return np.full(len(self._model.baseline), 20.0)

    def advance(self, power):
        before = self.state if self._samples else 0 * self.state
        self._observe(np.full((len(self.temperature), self._substeps), 20.0))
        self._follow(before, np.tile(self.state[:, None], self._substeps))
        self._count()


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
