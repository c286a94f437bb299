"""Metrics of a treatment, all from what the patient really got."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from hifuflow.job import read_json
from hifuflow.records.trajectory import Trajectory
from hifuflow.settings import Prescription

from .dose import cem43, covered
from .prediction import DiscreteModel

DAMAGE_DOSE = 240.0
T90_FRACTION = 0.9


def treatment_metrics(trajectory: Trajectory, prescription: Prescription, status: str,
                      end_time: float, normal_dose: np.ndarray, voxel_volume: float,
                      step_seconds: np.ndarray, rom_order: int) -> dict:
    """Content of `metrics.json`; what does not exist is None.

    Parameters
    ----------
    end_time : when the treatment ended [s]; samples after it are cooling with the power off.
    normal_dose : dose of the body's voxels outside the target [CEM43 min].
    voxel_volume : volume of each [m3].
    step_seconds : time that estimator and controller took, per sample [s].

    Notes
    -----
    `max_overshoot_k` is the largest excess of any constraint point over its limit, `overshoot_k_s`
    the integral over time of the excess of the worst point; soft limits do not count here, but
    are in `constraints` (see `constraint_report`). `estimator_rmse_k` compares estimated
    and true temperatures at the constraint points, over all samples. `first_focus_hold_s` is how
    long the first focus was kept, `full_power_s` how long full power lasted from the start.
    """
    t, outputs = trajectory.t, trajectory.outputs
    duration = np.diff(t, append=t[-1])
    total = trajectory.power.sum(axis=1)
    excess = np.maximum((trajectory.constraint_temperature
                         - outputs.hard_limit[outputs.constraint]).max(axis=1, initial=0.0), 0.0)
    error = trajectory.estimated_constraint_temperature - trajectory.constraint_temperature
    volume = outputs.volume[outputs.target]
    values = {
        "treatment_time_s": end_time,
        "time_to_t90_s": time_to_coverage(trajectory, T90_FRACTION),
        "on_time_s": duration[total > 0].sum(),
        "energy_j": (total * duration).sum(),
        "coverage": covered(trajectory.target_dose[-1], prescription.dose, volume),
        "t90_cem43_min": dose_to_fraction(trajectory.target_dose[-1], volume, T90_FRACTION),
        "max_constraint_temperature_c": trajectory.constraint_temperature.max(initial=-np.inf),
        "max_overshoot_k": excess.max(),
        "overshoot_k_s": (excess * duration).sum(),
        "max_target_temperature_c": trajectory.target_temperature.max(),
        "damaged_normal_volume_m3": damaged_volume(normal_dose, voxel_volume),
        "estimator_rmse_k": np.sqrt(np.mean(error ** 2)) if error.size else None,
        "step_time_p50_s": np.percentile(step_seconds, 50),
        "step_time_p99_s": np.percentile(step_seconds, 99),
        "n_foci": trajectory.power.shape[1],
        "n_constraints": int(outputs.constraint.sum()),
        "rom_order": rom_order,
        "status": status,
        "first_focus_hold_s": first_focus_hold(trajectory),
        "full_power_s": _until_first(total < prescription.max_power * (1 - 1e-9), t),
    }
    return {**{name: _plain(value) for name, value in values.items()},
            "lost_images": int(np.isnan(trajectory.measured_temperature).all(axis=1).sum()),
            "constraints": constraint_report(trajectory)}


def damaged_volume(dose: np.ndarray, voxel_volume: float) -> float:
    """Volume of the voxels with these doses (n,) [CEM43 min] that are destroyed [m3]."""
    return float(np.count_nonzero(dose >= DAMAGE_DOSE) * voxel_volume)


def constraint_report(trajectory: Trajectory) -> dict:
    """What each constraint's points got, by the plant's temperatures: name -> numbers.

    `violated` counts the points that exceeded their limit of temperature or of dose; the dose is
    linear in temperature from sample to sample.
    """
    outputs, temperature = trajectory.outputs, trajectory.constraint_temperature
    points, report = np.flatnonzero(outputs.constraint), {}
    excess = (temperature - outputs.limit[points]).max(axis=0, initial=-np.inf)
    duration = np.diff(trajectory.t)[:, None]
    dose = cem43(temperature[:-1], temperature[1:], duration).sum(axis=0)
    over_dose = dose > np.nan_to_num(outputs.dose_limit[points], nan=np.inf)
    for name in dict.fromkeys(outputs.name[points].tolist()):
        own = outputs.name[points] == name
        report[name] = {key: _plain(value) for key, value in {
            "n_points": int(own.sum()), "soft": bool(outputs.soft[points][own].all()),
            "max_temperature_c": temperature[:, own].max(),
            "max_overshoot_k": max(excess[own].max(), 0.0),
            "max_dose_cem43_min": dose[own].max(),
            "dose_limit_cem43_min": outputs.dose_limit[points][own].min(),
            "violated": int(((excess > 0) | over_dose)[own].sum())}.items()}
    return report


def time_to_coverage(trajectory: Trajectory, fraction: float) -> float | None:
    """First time at which this fraction of the target had the prescribed dose [s], or None."""
    reached = np.flatnonzero(trajectory.coverage >= fraction)
    return float(trajectory.t[reached[0]]) if len(reached) else None


def dose_to_fraction(dose: np.ndarray, volume: np.ndarray, fraction: float) -> float:
    """Largest dose that at least this fraction of the volume reached [CEM43 min]."""
    order = np.argsort(dose)[::-1]
    cumulative = np.cumsum(volume[order]) / volume.sum()
    return float(dose[order[np.searchsorted(cumulative, fraction - 1e-12)]])


def best_treatment(treatments: dict[str, dict], hard_excess: float) -> str:
    """Name of the best treatment of a patient, by `metrics.json` of each (name -> content).

    One that is complete comes before one that is not, one that exceeds no limit by more than
    `hard_excess` [K] before one that does; then the one that brought 90 % of the target to the dose
    first, that treated more, that ended first, that is named first.
    """
    def rank(name: str) -> tuple:
        metrics = treatments[name]
        t90 = metrics["time_to_t90_s"]
        return (metrics["status"] != "complete", metrics["max_overshoot_k"] > hard_excess,
                math.inf if t90 is None else t90, -metrics["coverage"],
                metrics["treatment_time_s"])

    return min(treatments, key=rank)


def link_best_treatment(names: list[str], metrics_files, meshes, hard_excess: float,
                        link: Path) -> None:
    """Let `link` lead to the mesh file, beside it, of the best treatment (`best_treatment`).

    Parameters
    ----------
    names : of the controllers.  metrics_files, meshes : paths, in the same order.
    """
    metrics = {name: read_json(path) for name, path in zip(names, metrics_files, strict=True)}
    best = best_treatment(metrics, hard_excess)
    link.unlink(missing_ok=True)
    link.symlink_to(Path(meshes[names.index(best)]).name)


def first_focus_hold(trajectory: Trajectory) -> float:
    """How long the focus with which the treatment began was kept without a break [s]."""
    first = int(trajectory.power[0].argmax())
    return _until_first(trajectory.power[:, first] <= 0, trajectory.t)


def time_to_limit(model: DiscreteModel, prescription: Prescription) -> float | None:
    """How long the first focus alone could be held at full power from the baseline until a
    constraint point is at its limit, by the reduced model [s]; None if it never is."""
    outputs, rows = model.outputs, model.constraint_rows
    room = (outputs.limit - outputs.baseline)[outputs.constraint]
    state, time = np.zeros(len(model.A)), 0.0
    heating = model.B[:, 0] * prescription.max_power
    left = room.min(initial=np.inf)
    while time < prescription.max_time:
        state = model.A @ state + heating
        before, left = left, (room - rows @ state).min(initial=np.inf)
        if left <= 0:  # linear between the samples
            return time + model.interval * before / (before - left)
        time += model.interval
    return None


def _until_first(condition: np.ndarray, t: np.ndarray) -> float:
    """Time of the first sample at which the condition holds; the last one if it never does."""
    return float(t[condition.argmax()] if condition.any() else t[-1])


def _plain(value):
    """A JSON value: numpy scalars unwrapped, what is not finite None."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
