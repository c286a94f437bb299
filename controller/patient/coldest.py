"""Watch on a simulated patient's coldest temperatures; nothing may get colder than it was."""

from __future__ import annotations

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log
from hifuflow.numerics.undershoot import REFUSED, SAID, cells_for
from hifuflow.records.bioheat_model import BioheatModel


class Coldest:
    """Coldest temperatures of a treatment.

    Attributes
    ----------
    temperature : lowest of any output so far [degC].
    undershoot : by how much any node, output or voxel was colder than before treatment [K].
    """

    def __init__(self, model: BioheatModel):
        self._n_cells = len(model.cells.nodes) if model.cells else None
        self.temperature = float(model.outputs.baseline.min())
        self.undershoot = 0.0

    def watch(self, temperature: np.ndarray, *rises: np.ndarray) -> None:
        """Take in outputs (p, n_t) [degC] and rises above the baseline, of any shape [K]."""
        self.temperature = min(self.temperature, float(temperature.min()))
        self.undershoot = max(self.undershoot, *(-float(rise.min()) for rise in rises))

    def check(self) -> None:
        """End the treatment of a patient whose mesh is far too coarse for it.

        Raises
        ------
        InputError : see `hifuflow.numerics.undershoot`.
        """
        if self.undershoot > REFUSED:
            raise InputError(f"is too coarse for these foci and powers: tissue is computed "
                             f"{self.undershoot:.1f} K colder than before treatment",
                             key="mesh.plant.cells", value=self._n_cells, allowed=self._cells())

    def metrics(self) -> dict:
        """Entries of `metrics.json`; an undershoot that is more than a trifle is also a warning."""
        if self.undershoot > SAID:
            log.warning("WARNING the patient's mesh is coarse for these foci: tissue was computed "
                        "up to %.2f K colder than before treatment (mesh.plant.cells; %s would "
                        "bring it to %g K)", self.undershoot, self._cells(), SAID)
        return {"min_temperature_c": self.temperature, "max_baseline_undershoot_k": self.undershoot}

    def _cells(self) -> str:
        if self._n_cells is None:
            return "more cells"
        return f"about {cells_for(self.undershoot, self._n_cells):,} cells"
