"""Difference between the controller's model and the patient under the powers of a treatment.

Where the patient's tissue does not deviate from the model's, this is the difference between their
two meshes.
"""

from __future__ import annotations

import numpy as np

from hifuflow.records.trajectory import Trajectory
from hifuflow.settings import Prescription

from .dose import cem43, covered
from .metrics import T90_FRACTION, dose_to_fraction, time_to_coverage
from .prediction import DiscreteModel


def model_difference(model: DiscreteModel, trajectory: Trajectory,
                     prescription: Prescription) -> dict:
    """What the model says of the outputs, less the patient's temperatures; JSON values.

    Returns
    -------
    "constraint", "target" : each with `rms_k` and `max_k` over points and samples, and the same
        over the root mean square and the largest rise, `rms_fraction` and `max_fraction`; None
        where there are no such points or no rise.
    "time_to_t90_s" : when 90 % of the target had the dose, by the model, with temperatures linear
        between samples, and by the patient, as in the metrics; None where they never had.
    "t90_ratio" : dose that 90 % of the target got, the model's over the patient's.
    """
    outputs = model.outputs
    predicted = predicted_temperature(model, trajectory.power)
    pairs = {"constraint": (predicted[:, outputs.constraint], trajectory.constraint_temperature),
             "target": (predicted[:, outputs.target], trajectory.target_temperature)}
    volume = outputs.volume[outputs.target]
    (model_time, model_dose), (_, dose) = (
        _dose(temperature, model.interval, prescription.dose, volume)
        for temperature in pairs["target"])
    time = time_to_coverage(trajectory, T90_FRACTION)
    return {**{kind: _compared(*pair) for kind, pair in pairs.items()},
            "time_to_t90_s": {"model": model_time, "patient": time},
            "t90_ratio": model_dose / dose if dose > 0 else None}


def predicted_temperature(model: DiscreteModel, power: np.ndarray) -> np.ndarray:
    """(n_t, p) temperatures [degC] of the outputs, by the model, under powers (n_t, n_foci) [W].

    In single precision, which costs some 1e-5 K.
    """
    step, heating = model.A.astype(np.float32), (power @ model.B.T).astype(np.float32)
    states = np.zeros((len(power), len(step)), dtype=np.float32)
    for k in range(1, len(power)):
        states[k] = step @ states[k - 1] + heating[k - 1]
    return states @ model.C.T.astype(np.float32) + model.outputs.baseline


def _compared(predicted: np.ndarray, truth: np.ndarray) -> dict:
    difference, rise = np.abs(predicted - truth), np.abs(truth - truth[0])
    result = {}
    for name, size in (("rms", lambda values: np.sqrt(np.mean(values ** 2))), ("max", np.max)):
        value, whole = ((float(size(part)) for part in (difference, rise)) if rise.size
                        else (None, None))
        result[f"{name}_k"] = value
        result[f"{name}_fraction"] = value / whole if whole else None
    return result


def _dose(temperature: np.ndarray, interval: float, prescribed: float, volume: np.ndarray):
    """(time to T90_FRACTION of the volume [s] or None, dose that this fraction got in the end)."""
    dose, time = np.zeros(len(volume)), None
    for k in range(1, len(temperature)):
        dose += cem43(temperature[k - 1], temperature[k], interval)
        if time is None and covered(dose, prescribed, volume) >= T90_FRACTION:
            time = k * interval
    return time, dose_to_fraction(dose, volume, T90_FRACTION)
