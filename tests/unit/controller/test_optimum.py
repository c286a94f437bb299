from dataclasses import replace

import numpy as np
from small_treatment import treat


def test_no_controller_is_faster(small_rom, small_patient, treatment_config):
    """Little power, so that the treatment takes a minute and full power bounds the plan."""
    def treated(controller):
        treatment_config["prescription"]["max_power_w"] = 4
        return treat(small_rom, small_patient, controller, treatment_config)

    trajectory, best = treated("optimum")
    assert best["status"] == "complete"
    assert best["max_overshoot_k"] < 0.05
    assert trajectory.power.sum(axis=1).max() <= 4 * (1 + 1e-9)
    sample = treatment_config["thermometry"]["interval_s"]
    for controller in ("paper", "mintime"):
        assert best["time_to_t90_s"] <= treated(controller)[1]["time_to_t90_s"] + sample


def test_images_change_no_power(small_rom, small_patient, altered_patient, treatment_config):
    as_planned, _ = treat(small_rom, small_patient, "optimum", treatment_config, rounds=1)
    surprised, _ = treat(small_rom, altered_patient(perfusion=0.5), "optimum", treatment_config,
                         rounds=1)
    ends = [np.flatnonzero(one.power.any(axis=1))[-1] for one in (as_planned, surprised)]
    both = min(ends) + 1
    assert both > 3
    np.testing.assert_array_equal(as_planned.power[:both], surprised.power[:both])


def test_limits_of_dose_are_planned_for(small_rom, small_patient, treatment_config):
    outputs = small_rom.outputs
    limited = replace(outputs, dose_limit=np.where(outputs.constraint, 0.05, np.nan))
    metrics = [treat(replace(small_rom, outputs=one), replace(small_patient, outputs=one),
                     "optimum", treatment_config, rounds=2, block=2)[1]
               for one in (outputs, limited)]
    hottest = [one["max_constraint_temperature_c"] for one in metrics]
    assert hottest[1] < hottest[0] - 0.2


def test_a_plan_that_falls_short_ends_as_unreachable(small_rom, small_patient, treatment_config):
    coast = 60
    # One round keeps no limit of 37.1 degC.
    treatment_config["safety"]["overshoot_tolerance_k"] = 50
    outputs = replace(small_rom.outputs,
                      limit=np.where(small_rom.outputs.constraint, 37.1, np.nan))
    trajectory, metrics = treat(replace(small_rom, outputs=outputs),
                                replace(small_patient, outputs=outputs), "optimum",
                                treatment_config, rounds=1, horizon=80, block=4, coast=coast)
    assert metrics["status"] == "unreachable"
    assert metrics["treatment_time_s"] <= 80 + coast + 2
    assert metrics["treatment_time_s"] >= coast
    heated = trajectory.t[trajectory.power.any(axis=1)]
    assert heated[-1] < metrics["treatment_time_s"] - coast + 2
