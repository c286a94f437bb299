import inspect
import json
from dataclasses import replace

import numpy as np
import pytest
from small_treatment import settings_of, treat

from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.loop import run_treatment
from hifuflow.controller.methods.base import Controller
from hifuflow.controller.methods.option import NoOptions
from hifuflow.controller.methods.paper import PaperController
from hifuflow.controller.methods.registry import OPTIONS, YARDSTICKS, built_in
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.settings import Prescription

CONTRACT_KEYS = {
    "treatment_time_s", "time_to_t90_s", "on_time_s", "energy_j", "coverage", "t90_cem43_min",
    "max_constraint_temperature_c", "max_overshoot_k", "overshoot_k_s", "max_target_temperature_c",
    "damaged_normal_volume_m3", "estimator_rmse_k", "step_time_p50_s", "step_time_p99_s", "n_foci",
    "n_constraints", "rom_order", "status", "min_temperature_c", "max_baseline_undershoot_k"}
FULL = Prescription(240.0, 0.9, 15.0, 600.0)


@pytest.fixture
def paper(model):
    return PaperController(model, FULL, PaperController.Options())


def _estimate(model, state=None, dose=0.0, time=0.0):
    state = np.zeros(len(model.A)) if state is None else state
    temperature = model.C @ state + model.outputs.baseline
    n = int(model.outputs.target.sum())
    return Estimate(time, state, temperature[model.outputs.constraint],
                    temperature[model.outputs.target], np.broadcast_to(dose, n).astype(float),
                    np.zeros(int(model.outputs.constraint.sum())))


def _heated(model, power, samples=5):
    state = np.zeros(len(model.A))
    for _ in range(samples):
        state = model.A @ state + model.B @ power
    return state


def test_highest_power_equals_brute_force(model, paper):
    state = _heated(model, np.full(5, 3.0))
    rows = model.outputs.constraint
    for focus, found in enumerate(paper.highest_power(state)):
        low, high = 0.0, 1e5
        for _ in range(80):
            middle = (low + high) / 2
            following = model.A @ state + model.B[:, focus] * middle
            ok = (model.C @ following + model.outputs.baseline <= model.outputs.limit)[rows].all()
            low, high = (middle, high) if ok else (low, middle)
        assert found == pytest.approx(low, rel=1e-6)


def test_no_power_while_a_constraint_is_above_its_limit(model, paper):
    hot = _heated(model, np.full(5, 15.0), 60)
    assert not paper.highest_power(hot).any()
    assert not paper.decide(_estimate(model, hot)).any()


def test_starts_at_the_first_focus_with_full_power(model, paper):
    assert paper.decide(_estimate(model)).tolist() == [15.0, 0, 0, 0, 0]


def test_moves_to_the_hottest_untreated_focus_when_the_dose_is_reached(model, paper):
    paper.decide(_estimate(model))
    dose = np.where(paper._owned[:, 0], 500.0, 0.0)
    state = _heated(model, np.eye(5)[4] * 5)
    assert paper.decide(_estimate(model, state, dose)).argmax() == 4


def test_keeps_the_focus_although_another_is_hotter(model, paper):
    paper.decide(_estimate(model))
    assert paper.decide(_estimate(model, _heated(model, np.eye(5)[4] * 5))).argmax() == 0


def test_reduced_power_where_full_power_can_never_be_allowed(model):
    strong = PaperController(model, Prescription(240.0, 0.9, 1e4, 600.0),
                             PaperController.Options())
    power = strong.decide(_estimate(model))
    highest = strong.highest_power(np.zeros(len(model.A)))
    assert power.max() == pytest.approx(highest.max())
    assert np.count_nonzero(power) == 1


def test_gives_up_without_progress(model):
    paper = PaperController(model, FULL, PaperController.Options(patience=100))
    paper.decide(_estimate(model, time=0.0))
    paper.decide(_estimate(model, time=90.0))
    assert not paper.unreachable
    paper.decide(_estimate(model, time=102.0))
    assert paper.unreachable


def test_closed_loop_completes_within_the_limits(small_rom, small_patient, treatment_config):
    trajectory, metrics = treat(small_rom, small_patient, "paper", treatment_config)
    assert metrics["status"] == "complete"
    assert metrics["coverage"] >= 0.9
    assert metrics["max_overshoot_k"] < 0.3
    assert metrics["estimator_rmse_k"] < 0.05
    assert CONTRACT_KEYS <= metrics.keys()
    json.dumps(metrics, allow_nan=False)
    assert not trajectory.power[-1].any()
    assert trajectory.power.sum(axis=1).max() <= 15 * (1 + 1e-9)
    assert len({len(getattr(trajectory, name)) for name in
                ("t", "power", "coverage", "target_dose", "measured_temperature")}) == 1
    assert trajectory.event[-1].startswith(("end", "all constraints", "constraint"))


def test_images_show_means_over_voxels(small_rom, small_patient, treatment_config):
    """In the patient and in the controller's model alike: here 0.8 of the value, from 36 degC."""
    treatment_config["prescription"]["max_time_s"] = 60
    treatment_config["thermometry"]["voxel_mm"] = [0.1, 0.1, 0.1]  # each holds one output
    outputs = replace(small_patient.outputs, mean_baseline=np.full(small_patient.C.shape[0], 36.0))
    rom = replace(small_rom, C_mean=0.8 * small_rom.C, outputs=outputs)
    plant = replace(small_patient, C_mean=0.8 * small_patient.C, outputs=outputs)
    trajectory, metrics = treat(rom, plant, "paper", treatment_config)
    truth = np.hstack([trajectory.constraint_temperature, trajectory.target_temperature])
    order = np.argsort(np.linalg.norm(outputs.position[:, None] - trajectory.measured_position,
                                      axis=2), axis=1)[:, 0]
    np.testing.assert_allclose(trajectory.measured_temperature[:, order],
                               36 + 0.8 * (truth - 37), atol=1e-9)
    assert metrics["estimator_rmse_k"] < 0.05


def test_same_seed_same_treatment(small_rom, small_patient, treatment_config):
    treatment_config["thermometry"]["noise_c"] = 0.5
    treatment_config["prescription"]["max_time_s"] = 60
    runs = [treat(small_rom, small_patient, "paper", treatment_config)[0]
            for _ in range(2)]
    treatment_config["thermometry"]["seed"] = 2
    other = treat(small_rom, small_patient, "paper", treatment_config)[0]
    np.testing.assert_array_equal(runs[0].power, runs[1].power)
    np.testing.assert_array_equal(runs[0].measured_temperature, runs[1].measured_temperature)
    assert not np.array_equal(runs[0].measured_temperature[0], other.measured_temperature[0])


def test_timeout(small_rom, small_patient, treatment_config):
    treatment_config["prescription"]["max_time_s"] = 4
    trajectory, metrics = treat(small_rom, small_patient, "paper", treatment_config)
    assert metrics["status"] == "timeout"
    assert metrics["treatment_time_s"] == 4.0
    assert metrics["time_to_t90_s"] is None
    assert not trajectory.power[2:].any()


def test_unreachable(small_rom, small_patient, treatment_config):
    treatment_config["prescription"].update(max_power_w=0.01)
    _, metrics = treat(small_rom, small_patient, "paper", treatment_config, patience=30)
    assert metrics["status"] == "unreachable"


@pytest.mark.parametrize("command", [np.nan, -1.0, 100.0])
def test_aborted_on_an_invalid_command(small_rom, small_patient, treatment_config, monkeypatch,
                                       command):
    monkeypatch.setattr(PaperController, "decide", lambda self, estimate: np.full(5, command))
    trajectory, metrics = treat(small_rom, small_patient, "paper", treatment_config)
    assert metrics["status"] == "aborted"
    assert not trajectory.power.any()


def test_controllers_never_see_the_plant(small_rom, small_patient, treatment_config):
    seen = []

    class Spy(Controller):
        def __init__(self, *arguments):
            seen.extend(arguments)
            super().__init__(*arguments)

        def decide(self, estimate):
            seen.append(estimate)
            return np.zeros(len(self.model.foci))

    treatment_config["prescription"]["max_time_s"] = 4
    settings = settings_of(treatment_config, "paper")
    run_treatment(small_rom, small_patient, replace(settings, controller=Spy, options=NoOptions()))
    assert {type(item) for item in seen} == {DiscreteModel, Prescription, NoOptions, Estimate}
    for kind in built_in().values():
        assert list(inspect.signature(kind.decide).parameters) == ["self", "estimate"]


def test_what_a_controller_is_handed_cannot_be_written_to(small_rom, small_patient,
                                                          treatment_config):
    """Otherwise it could change what the estimator knows, or what the treatment is judged by."""
    refused = []

    class Vandal(Controller):
        def decide(self, estimate):
            for array in (estimate.state, estimate.target_dose, estimate.gain,
                          estimate.absorbed.lately, self.model.A, self.model.outputs.limit):
                try:
                    array[:] = 0
                except ValueError:
                    refused.append(array)
            return np.zeros(len(self.model.foci))

    treatment_config["prescription"]["max_time_s"] = 4
    settings = replace(settings_of(treatment_config, "paper"), controller=Vandal)
    run_treatment(small_rom, small_patient, settings)
    assert len(refused) == 6 * 2
    small_rom.outputs.limit[:1] = small_rom.outputs.limit[:1]  # only the controller's copy is


def test_raster_dwells_and_cools_in_turn(small_rom, small_patient, treatment_config):
    treatment_config["prescription"]["coverage"] = 1.0
    trajectory, metrics = treat(small_rom, small_patient, "raster", treatment_config, power=10,
                                dwell=6, cooling=20, passes=1)
    power = trajectory.power[:26]
    assert (power[[0, 1, 2], 0] == 10).all() and not power[3:13].any()
    assert power[13].max() == 10 and np.count_nonzero(power[13]) == 1
    assert metrics["status"] in ("complete", "unreachable")


def test_the_registry_lists_every_controller_with_its_options():
    """The light lists that the many processes of a run need are those of the classes."""
    assert {name: kind.Options for name, kind in built_in().items()} == OPTIONS
    assert tuple(name for name, kind in built_in().items() if kind.yardstick) == YARDSTICKS
