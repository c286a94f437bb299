"""Response of tissue: perfusion, conductivity and absorption over temperature and coagulation."""

from __future__ import annotations

import numpy as np

from hifuflow.controller.settings import PatientSettings


class TissueResponse:
    """Response of tissue to heat: factors of the values at rest, region by region.

    Attributes
    ----------
    boiling : highest temperature [degC].
    highest_conductivity : (n_regions,) bound of the factor, over that at any other temperature.

    Parameters
    ----------
    settings : coagulation, boiling and curves count; regions without curves change with
        coagulation only.
    regions : names, in the order of the factors.
    """

    def __init__(self, settings: PatientSettings, regions: list):
        self.boiling, self._coagulation = settings.boiling, settings.coagulation
        self._curves = [settings.curves.get(name) for name in regions]
        self.highest_conductivity = np.ones(len(regions))
        for region, curves in enumerate(self._curves):
            if curves is not None:
                factor = np.array(curves.conductivity)[:, 1]
                self.highest_conductivity[region] = (
                    factor.max() / factor.min() * max(1.0, curves.coagulated_conductivity))

    def factors(self, temperature: np.ndarray, dose: np.ndarray) -> tuple:
        """Of conductivity, perfusion and absorption, each (n, n_regions).

        Parameters
        ----------
        temperature : (n,) [degC].  dose : (n,) [CEM43 min].
        """
        coagulated = -np.expm1(-dose / self._coagulation)
        factors = np.ones((3, len(self._curves), len(temperature)))
        factors[1] = 1 - coagulated
        for region, curves in enumerate(self._curves):
            if curves is None:
                continue
            for row, curve in enumerate((curves.conductivity, curves.perfusion, curves.absorption)):
                factors[row, region] *= np.interp(temperature, *np.transpose(curve))
            for row, factor in ((0, curves.coagulated_conductivity),
                                (2, curves.coagulated_absorption)):
                factors[row, region] *= 1 + (factor - 1) * coagulated
        return tuple(np.swapaxes(factors, 1, 2))
