"""How perfusion, conductivity and absorption follow temperature and coagulation."""

from __future__ import annotations

import numpy as np


class TissueResponse:
    """Factors of the values at rest, region by region.

    Attributes
    ----------
    boiling : highest temperature [degC].
    highest_conductivity : (n_regions,) bound of the factor, over that at any other temperature.

    Parameters
    ----------
    section : `coagulation_cem43_min`, `boiling_c`, and `response`: region name -> curves, see
        `response` in workflow/schemas/tissues.schema.yaml. Regions without one change with
        coagulation only.
    regions : names, in the order of the factors.
    """

    def __init__(self, section: dict, regions: list):
        self.boiling = float(section["boiling_c"])
        self._coagulation = float(section["coagulation_cem43_min"])
        self._regions = [section["response"].get(name) for name in regions]
        self.highest_conductivity = np.ones(len(regions))
        for region, response in enumerate(self._regions):
            if response is not None:
                factor = np.array(response["conductivity"])[:, 1]
                self.highest_conductivity[region] = (
                    factor.max() / factor.min() * max(1.0, response["coagulated_conductivity"]))

    def factors(self, temperature: np.ndarray, dose: np.ndarray) -> tuple:
        """Of conductivity, perfusion and absorption, each (n, n_regions).

        Parameters
        ----------
        temperature : (n,) [degC].  dose : (n,) [CEM43 min].
        """
        coagulated = -np.expm1(-dose / self._coagulation)
        found = np.ones((3, len(self._regions), len(temperature)))
        found[1] = 1 - coagulated
        for region, response in enumerate(self._regions):
            if response is None:
                continue
            for row, name in enumerate(("conductivity", "perfusion", "absorption")):
                found[row, region] *= np.interp(temperature, *np.transpose(response[name]))
            for row, name in ((0, "conductivity"), (2, "absorption")):
                found[row, region] *= 1 + (response[f"coagulated_{name}"] - 1) * coagulated
        return tuple(np.swapaxes(found, 1, 2))
