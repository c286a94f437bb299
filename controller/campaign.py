"""Fault campaigns: treatments with simulated faults, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hifuflow.errors import HifuflowError
from hifuflow.job import log
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.faulty_load import FaultyLoad
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.records.trajectory import Trajectory

from .failure import failure
from .fault_settings import read_faults
from .loop import run_treatment
from .patient.faults import DeadElements, PowerStuck, present
from .treatment_settings import TreatmentSettings

KEPT = ("status", "treatment_time_s", "time_to_t90_s", "energy_j", "coverage", "max_overshoot_k",
        "max_target_temperature_c", "damaged_normal_volume_m3")
OUTCOMES = ("kept", "stopped", "stopped late", "over", "silent", "failed")


def campaign_rows(rom: ReducedModel, plant: BioheatModel, settings: TreatmentSettings,
                  draws: list[dict], loads: Mapping[str, FaultyLoad], over: float) -> list[dict]:
    """One row for each treatment of a campaign, also for one that failed.

    Parameters
    ----------
    settings : of the treatment; its faults and the seed of its images are those of the draws.
    draws : of `study.campaign.Campaign.of`.
    loads : COUNT_SEED of dead elements -> the plant's loads.
    over : overshoot above which harm is done [K].
    """
    rows = []
    for draw in draws:
        row = {key: draw[key] for key in ("number", "fault", "sound", "begins_s", "faults")}
        try:
            row |= _treated(rom, plant, settings, draw, loads, over)
        except Exception as error:  # one treatment that fails takes nothing from the others
            if not isinstance(error, HifuflowError):
                log.warning("treatment %d failed", draw["number"], exc_info=True)
            row |= {"outcome": "failed", "reason": failure(error), "power_off_s": None,
                    **dict.fromkeys(KEPT)}
        rows.append(row)
    return rows


def _treated(rom, plant, settings: TreatmentSettings, draw: dict, loads, over: float) -> dict:
    faults = read_faults(draw["faults"])
    drawn = replace(settings, faults=faults,
                    thermometry=replace(settings.thermometry, seed=draw["seed"]))
    dead = next((fault for fault in faults if isinstance(fault, DeadElements)), None)
    trajectory, metrics = run_treatment(
        rom, plant, drawn, loads[f"{dead.count}_{dead.seed}"] if dead else None)
    stopped, end = was_stopped(trajectory, metrics), metrics["treatment_time_s"]
    off = end if present(faults, PowerStuck, end) else power_off(trajectory)
    return {"outcome": outcome(metrics["max_overshoot_k"] > over, stopped,
                               metrics["status"] == "complete"),
            "reason": metrics.get("status_reason") or "",
            "power_off_s": max(off - draw["begins_s"], 0.0) if stopped else None,
            **{key: metrics[key] for key in KEPT}}


def was_stopped(trajectory: Trajectory, metrics: dict) -> bool:
    """Whether the supervisor took the power away for good: it aborted the treatment, or held the
    power off when it ended, or there never was any."""
    held = "held off" in (metrics.get("status_reason") or "")
    return held or not trajectory.power.any() or "end: aborted" in trajectory.event.tolist()


def outcome(over: bool, stopped: bool, complete: bool) -> str:
    """What became of a treatment, one of `OUTCOMES`.

    "kept": it went on, and no constraint was exceeded by more than what counts as harm;
    "stopped": power went off for good, before harm was done; "stopped late": after it;
    "over": harm was done and power stayed; "silent": and the treatment even counts as complete.
    """
    if not over:
        return "stopped" if stopped else "kept"
    if stopped:
        return "stopped late"
    return "silent" if complete else "over"


def power_off(trajectory: Trajectory) -> float:
    """When the commanded power went off for good [s]."""
    on = np.flatnonzero(trajectory.power.any(axis=1))
    return float(trajectory.t[min(on[-1] + 1, len(trajectory.t) - 1)] if len(on) else 0.0)
