"""200 synthetic patients with default settings, from validation to the control mesh."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from run import ROOT, Check, at_most

sys.path.insert(0, str(ROOT / "tests" / "synthetic"))

PATIENTS = 200
REFUSED = 0.05  # of them: targets behind bone, or out of any transducer's way
OUTSIDE = 0.5  # voxels that a constraint point may lie outside of the mesh


def checks() -> list[Check]:
    """Every one treatable or refused with a reason, and how well."""
    from outcomes import outcome
    from synthetic_patients import write_patient

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(PATIENTS):
            found.append(outcome(write_patient(seed, Path(folder)), mesh=True))
            print(f"{found[-1].name}: reach {found[-1].reach:.2f} {found[-1].refusal}")
    refused = [one for one in found if one.refusal]
    for reason, number in Counter(one.refusal.split(":")[1] for one in refused).items():
        print(f"{number} refused: {reason}")
    treated = [one for one in found if not one.refusal]
    reach = np.array([one.reach for one in treated])
    return [at_most("synthetic patients: part that is refused", len(refused) / PATIENTS, REFUSED,
                    "defaults that fit"),
            Check("synthetic patients: median reach of the foci", float(np.median(reach)), None,
                  0.97, 1.0, "goal"),
            Check("synthetic patients: worst reach of the foci", float(reach.min()), None, 0.9,
                  1.0, "goal"),
            at_most("synthetic patients: constraint points outside of the mesh [voxels]",
                    max(one.outside for one in treated), OUTSIDE, "what the model lets pass")]
