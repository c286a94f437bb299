import numpy as np
import pytest

from hifuflow.controller.dose import cem43_rate
from hifuflow.controller.metrics import (
    best_treatment,
    constraint_report,
    dose_to_fraction,
    time_to_limit,
    treatment_metrics,
)
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.records.outputs import Outputs
from hifuflow.records.trajectory import Trajectory
from hifuflow.settings import Prescription


@pytest.fixture
def trajectory():
    """Five samples, two foci, one constraint, four target voxels of unequal volume."""
    outputs = Outputs(np.array(["constraint"] + ["target"] * 4), np.zeros((5, 3)),
                      np.array([0.0, 1.0, 2.0, 3.0, 4.0]), np.full(5, 37.0),
                      np.array([43.0] + [np.nan] * 4))
    dose = np.array([[0, 0, 0, 0], [0, 0, 0, 300], [0, 0, 300, 400], [0, 300, 400, 500],
                     [100, 300, 400, 500.0]])
    return Trajectory(
        t=np.arange(5) * 2.0,
        power=np.array([[22, 0], [22, 0], [0, 22], [0, 10], [0, 0.0]]),
        constraint_temperature=np.array([[37], [42], [43.5], [44], [42.0]]),
        target_temperature=np.full((5, 4), 60.0), target_dose=dose,
        estimated_constraint_temperature=np.array([[37], [42], [43], [44], [42.0]]),
        measured_temperature=np.zeros((5, 5)), measured_position=np.zeros((5, 3)),
        coverage=np.array([0, 0.4, 0.7, 0.9, 0.9]), event_time=np.zeros(0),
        event=np.zeros(0, dtype=str), voxel_index=np.zeros((3, 3), dtype=int),
        voxel_peak_temperature=np.zeros(3), voxel_dose=np.zeros(3), snapshot_t=np.zeros(1),
        snapshot_temperature=np.zeros((1, 3)), snapshot_voxel=np.zeros(0, dtype=int),
        snapshot_dose=np.zeros((1, 0)), outputs=outputs,
        foci=np.zeros((2, 3)))


def test_metrics_of_a_hand_made_trajectory(trajectory):
    metrics = treatment_metrics(trajectory, Prescription(240.0, 0.99, 22.0, 8.0), "timeout", 8.0,
                                np.array([10.0, 240.0, 1e4]), 2.0, np.array([0.1, 0.2, 0.3]), 7)
    assert metrics.pop("lost_images") == 0
    assert metrics.pop("constraints").keys() == {""}
    assert metrics == {
        "treatment_time_s": 8.0, "time_to_t90_s": 6.0, "on_time_s": 8.0,
        "energy_j": pytest.approx(2 * (22 + 22 + 22 + 10)), "coverage": pytest.approx(0.9),
        "t90_cem43_min": 300.0, "max_constraint_temperature_c": 44.0,
        "max_overshoot_k": pytest.approx(1.0), "overshoot_k_s": pytest.approx(2 * 0.5 + 2 * 1.0),
        "max_target_temperature_c": 60.0, "damaged_normal_volume_m3": 4.0,
        "estimator_rmse_k": pytest.approx(0.5 / np.sqrt(5)), "step_time_p50_s": pytest.approx(0.2),
        "step_time_p99_s": pytest.approx(0.298), "n_foci": 2, "n_constraints": 1, "rom_order": 7,
        "status": "timeout", "first_focus_hold_s": 4.0, "full_power_s": 6.0}


def test_every_constraint_is_reported_and_soft_ones_are_no_overshoot(trajectory):
    """37, 42, 43.5, 44 and 42 degC at 2 s: dose by the exact integrals of 0.25 and 0.5 per K."""
    outputs = trajectory.outputs
    outputs.name = np.array(["bone"] + [""] * 4)
    outputs.soft[0], outputs.dose_limit[0] = True, 0.1
    report = constraint_report(trajectory)["bone"]
    fine = np.interp(np.linspace(0, 8, 800001), trajectory.t,
                     trajectory.constraint_temperature[:, 0])
    dose = cem43_rate(fine).mean() * 8 / 60
    assert report == {"n_points": 1, "soft": True, "max_temperature_c": 44.0,
                      "max_overshoot_k": pytest.approx(1.0), "dose_limit_cem43_min": 0.1,
                      "max_dose_cem43_min": pytest.approx(dose, rel=1e-4), "violated": 1}
    metrics = treatment_metrics(trajectory, Prescription(240.0, 0.99, 22.0, 8.0), "timeout", 8.0,
                                np.zeros(3), 2.0, np.array([0.1]), 7)
    assert metrics["max_overshoot_k"] == 0.0 and metrics["overshoot_k_s"] == 0.0


def test_time_to_the_limit_of_a_first_order_model(trajectory):
    """x' = -x/20 + u/10 at one constraint: 6 K are reached at -20 ln(1 - 6/44) = 2.93 s."""
    decay = np.exp(-2 / 20)
    model = DiscreteModel(np.array([[decay]]), np.array([[2 * (1 - decay), 0.0]]),
                          np.array([[1.0]] + 4 * [[0.0]]), 2.0, trajectory.outputs,
                          np.zeros((2, 3)), np.zeros(1))
    limits = Prescription(240.0, 0.99, 22.0, 60.0)
    assert time_to_limit(model, limits) == pytest.approx(-20 * np.log(1 - 6 / 44), rel=0.02)
    assert time_to_limit(model, Prescription(240.0, 0.99, 1.0, 60.0)) is None


def test_t90_is_weighted_by_volume():
    dose, volume = np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 1.0])
    assert dose_to_fraction(dose, volume, 0.9) == 2.0
    assert dose_to_fraction(dose, volume, 0.95) == 1.0


def _ended(**changes):
    return {"status": "complete", "max_overshoot_k": 0.1, "time_to_t90_s": 100.0, "coverage": 0.99,
            "treatment_time_s": 300.0, **changes}


@pytest.mark.parametrize(("better", "worse"), [
    ({"time_to_t90_s": 900.0}, {"status": "timeout"}),
    ({"time_to_t90_s": 900.0}, {"max_overshoot_k": 3.5}),  # hotter than the supervisor allows
    ({"max_overshoot_k": 2.9}, {"time_to_t90_s": 101.0}),
    ({}, {"time_to_t90_s": None}),
    ({"coverage": 0.995, "treatment_time_s": 400.0}, {}),
    ({"treatment_time_s": 299.0}, {}),
    ({}, {}),  # the one that is named first
    ({"status": "timeout", "coverage": 0.5, "time_to_t90_s": None},
     {"status": "timeout", "coverage": 0.4, "time_to_t90_s": None, "treatment_time_s": 1.0}),
])
def test_the_best_treatment(better, worse):
    assert best_treatment({"a": _ended(**better), "b": _ended(**worse)}, 3.0) == "a"
    if better != worse:
        assert best_treatment({"b": _ended(**worse), "a": _ended(**better)}, 3.0) == "a"
