"""Whether a treatment that ended as complete is complete in truth.

It ends as "aborted" instead, with the reason,

- where a hard limit was exceeded by more than its tolerance (`safety.overshoot_tolerance_k`);
- where `MOST` times as much tissue was destroyed outside the target as in it;
- where the target has the dose by belief only: `MISBELIEVED` of its volume less has it in truth.

The status is of four kinds only, and none of the others says that a treatment must not be trusted.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hifuflow.job import log
from hifuflow.records.trajectory import Trajectory

MISBELIEVED = 0.1  # of the target's volume
# By default a tumour of 4.4 ml loses about as much around it: a rim of 3 mm, which is wished for.
MOST = 2.0
FEW = 50e-9  # m3 outside the target that are not judged: some voxels at its edge


def verdict(trajectory: Trajectory, metrics: dict, believed: float, reason: str,
            tolerance: float) -> tuple[Trajectory, dict]:
    """The trajectory with an event for a status that changes, and `status` and `status_reason`.

    Parameters
    ----------
    metrics : `metrics.json` so far, with the status that the treatment ended with.
    believed : coverage by the estimate when the treatment ended.
    reason : why it was not complete; "" if it was.
    tolerance : how far a hard limit may have been exceeded [K].
    """
    if metrics["status"] != "complete":
        return trajectory, {"status": metrics["status"], "status_reason": reason or None}
    reason = _against(metrics, believed, tolerance)
    if not reason:
        return trajectory, {"status": "complete", "status_reason": None}
    log.warning("not complete in truth: %s", reason)
    after = trajectory.t[-1]
    return replace(trajectory, event_time=np.append(trajectory.event_time, after),
                   event=np.append(trajectory.event, f"not complete in truth: {reason}")), {
        "status": "aborted", "status_reason": reason}


def _against(metrics: dict, believed: float, tolerance: float) -> str:
    """What speaks against "complete"; "" if nothing does."""
    over, normal = metrics["max_overshoot_k"], metrics["damaged_normal_volume_m3"]
    target = metrics["damaged_target_volume_m3"]
    if over > tolerance:
        return f"a hard limit was exceeded by {over:.2g} K"
    if normal > max(MOST * target, FEW):
        return (f"{1e6 * normal:.2g} ml were destroyed outside the target, "
                f"and {1e6 * target:.2g} ml in it")
    if metrics["coverage"] < believed - MISBELIEVED:
        return (f"{believed:.0%} of the target were believed to have the dose, "
                f"and {metrics['coverage']:.0%} have it")
    return ""
