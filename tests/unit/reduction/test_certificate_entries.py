"""What the certificate says of findings made by hand, entry by entry."""

import time
from types import SimpleNamespace as Made

import numpy as np
import pytest

from hifuflow.errors import NumericalError
from hifuflow.reduction.certificate import (
    Clock,
    certificate,
    check_bound,
    check_reduced_stable,
    error_bound,
    in_units_of,
    largest_by_kind,
)

BOUND = np.array([8.0, 4.0, 2.0, 1.0, 0.5])


def findings(**changes):
    """Of a model of 7 states and 3 outputs, reduced to 3."""
    clock = Clock()
    clock.seconds["replay"] = 1.5
    outputs = Made(kind=np.array(["constraint", "target", "target"]), temperatures=True)
    made = {"model": Made(outputs=outputs, B=np.zeros((7, 2))),
            "reduced": Made(A=np.zeros((3, 3))), "clock": clock,
            "truncation": Made(bound=lambda: BOUND, hsv=np.array([4.0, 2.0, 1.0, 0.5, 0.25]),
                               error=np.array([0.3, 0.1, 0.2]), weights=np.array([0.7, 0.6])),
            "projection": 0.125, "comparison": {"balanced_k": [1.0]},
            "sweep": Made(gain=np.array([5.0, 16.0]), error=np.array([1.0, 0.25]), slowest=-0.004,
                          projection=np.array([0.0625, 0.03125])),
            "modal": Made(rates=np.zeros(6)), "interval": (0.001, 20.0), "step": 0.5,
            "space": Made(residual=[1e-3, 1e-9], shifts=[1.0, 2.0, 3.0, 4.0]),
            "settings": Made(max_power=22)}
    return Made(**{**made, **changes})


def test_every_entry_is_the_finding_it_is_named_after():
    entries = certificate(findings())
    seconds, memory = entries.pop("seconds"), entries.pop("peak_memory_bytes")
    assert entries == {
        "certified": True, "order": 3, "full_order": 7, "reachable_order": 6, "minimal_order": 5,
        "n_frequencies": 2, "hinf_norm_k_w": 16.0, "hinf_error_relative": 1 / 16,
        "hinf_bound_relative": 2.125 / 16, "truncation_bound_relative": 2 / 16,
        "projection_bound_relative": 0.125 / 16, "projection_error_relative": 0.0625 / 16,
        "gramian_residual": 1e-9, "n_shifts": 4, "spectrum_per_s": [0.001, 20.0],
        "max_output_error_k": {"constraint": 0.3, "target": 0.2},
        "error_against_order": {"balanced_k": [1.0]}, "smallest_output_weight": 0.6,
        "replay_power_w": 22.0, "replay_step_s": 0.5, "stable": True,
        "slowest_rate_per_s": 0.004}
    assert seconds["replay"] == 1.5 and 0 <= seconds["total"] < 60
    assert 1e7 < memory < 1e12


def test_the_bound_is_the_sum_of_truncation_and_projection():
    np.testing.assert_array_equal(error_bound(findings()), BOUND + 0.125)


def test_a_model_from_elsewhere_names_no_unit():
    made = findings()
    made.model.outputs.temperatures = False
    entries = certificate(made)
    assert entries["hinf_norm"] == 16.0 and entries["max_output_error"]["target"] == 0.2
    assert entries["replay_input"] == 22.0 and entries["error_against_order"] == {"balanced": [1.0]}
    assert not any(key.endswith(("_k", "_k_w", "_w")) for key in entries)
    assert in_units_of(made.model.outputs, [1.0]) == [1.0]


def test_errors_by_kind_are_those_of_their_own_outputs():
    outputs = Made(kind=np.array(["target", "constraint", "target"]))
    assert largest_by_kind(np.array([1.0, 9.0, 2.0]), outputs) == {"constraint": 9.0, "target": 2.0}


def test_what_is_not_certified_is_an_error():
    check_bound(1.0, 1.0)
    with pytest.raises(NumericalError, match=r"off by 2\.000e\+00, more than its bound of "
                                             r"1\.000e\+00: .* changes this model as much$"):
        check_bound(2.0, 1.0)
    with pytest.raises(NumericalError, match="more than its bound"):
        check_bound(float("nan"), 1.0)
    with pytest.raises(NumericalError, match=r"order 3 is not stable: .* 0\.000e"):
        check_reduced_stable(3, 0.0)
    made = findings()
    made.sweep.error = np.array([2.126])
    with pytest.raises(NumericalError, match=r"more than its bound of 2\.125"):
        certificate(made)
    made = findings()
    made.sweep.slowest = 0.1
    with pytest.raises(NumericalError, match="not stable"):
        certificate(made)


def test_the_clock_counts_from_its_start():
    clock = Clock()
    with clock("step"):
        time.sleep(0.02)
    clock.reached("ready")
    assert 0.02 <= clock.seconds["step"] <= clock.seconds["ready"] <= clock.total() < 60
