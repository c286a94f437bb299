"""Simulated patient of a treatment: the plant's model with the deviations drawn for it."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import scipy.sparse as sp

from hifuflow.controller.settings import PatientSettings, Spread
from hifuflow.numerics.cholesky import ShiftedSolver
from hifuflow.records.bioheat_model import BioheatModel

from .plant import HeatedPatient, Plant
from .responsive_plant import ResponsivePlant
from .tissue_response import TissueResponse


def simulated_patient(model: BioheatModel, settings: PatientSettings, interval: float,
                      max_power: float) -> HeatedPatient:
    """The patient that is to be treated.

    Parameters
    ----------
    model : of the plant.
    settings : of the patient; deviations of the whole patient file are in the model already.
    interval : length of a sample [s].
    max_power : highest power [W].
    """
    model = drawn(model, settings.spread, settings.seed)
    if not settings.responsive:
        return Plant(model, interval, settings.time_step, max_power)
    response = TissueResponse(settings, model.cells.regions)
    return ResponsivePlant(model, interval, settings.time_step, response)


def drawn(model: BioheatModel, spread: Spread, seed: int) -> BioheatModel:
    """The model with deviations from a distribution.

    Perfusion, conductivity and absorption of each region are multiplied by exp(s z), and the
    foci are moved by s z along each axis, z standard normal and s from `spread`. The draws of one
    quantity do not depend on the spread of another.
    """
    random = np.random.default_rng(seed)
    shift = spread.focal_shift * random.standard_normal(3)
    if not any(astuple(spread)):
        return model
    cells = model.cells
    conductivity, perfusion, absorption = (
        np.exp(deviation * random.standard_normal(len(cells.regions)))
        for deviation in (spread.conductivity, spread.perfusion, spread.absorption))
    changed = replace(cells, conductivity=cells.conductivity * conductivity,
                      perfusion=cells.perfusion * perfusion)
    n = len(model.baseline)
    heated = (cells.node_shares[:n] @ absorption)[:, None] * translated(model, shift)
    return _with_stiffness(replace(model, B=heated, cells=changed), cells.stiffness(
        cells.share @ (changed.conductivity - cells.conductivity),
        cells.share @ (changed.perfusion - cells.perfusion)))


def translated(model: BioheatModel, shift: np.ndarray) -> np.ndarray:
    """(n, n_foci) loads of foci that lie elsewhere by a shift (3,) [m].

    The load of each node is moved by the shift and handed to the nodes of the cell it gets into,
    in the shares of the quadratic shape functions there. They add up to one and reproduce
    parabolas, so power, centroid and width of a focus are kept.
    """
    if not np.any(shift):
        return model.B
    moved = model.cells.interpolation(model.dof_coordinates + shift)
    return sp.csr_array(moved[:, :len(model.baseline)].T) @ model.B


def _with_stiffness(model: BioheatModel, change: sp.csr_array) -> BioheatModel:
    """The model with another stiffness [W/K] between its nodes, and the baseline of that."""
    n, cells = len(model.baseline), model.cells
    K = sp.csr_array(model.K + change[:n, :n])
    above = np.concatenate([model.baseline, cells.held_baseline]) - cells.arterial
    lift = np.zeros(n)
    if np.any(above):
        lift = ShiftedSolver(model.E, K).factor(1.0, 0.0).solve(-(change @ above)[:n])
    outputs = replace(model.outputs, baseline=model.outputs.baseline + model.C @ lift,
                      mean_baseline=model.outputs.mean_baseline + model.C_mean @ lift)
    voxels = replace(model.voxels,
                     baseline=model.voxels.baseline + model.voxels.interpolation @ lift)
    return replace(model, K=K, baseline=model.baseline + lift, outputs=outputs, voxels=voxels)
