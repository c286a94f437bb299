"""Fields of all elements in a box around the target; any phasing of them is a matrix product."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hifuflow.errors import InputError
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.plan import Plan

from .beams import prepare_beams
from .grid import check_grid, sample_medium
from .settings import HeatingSettings
from .transducer import Transducer

DRIVES_AT_ONCE = 50  # superposed together, which bounds the memory for their complex fields


@dataclass(frozen=True)
class ElementFields:
    """Field of each element alone in the cells of a box.

    Attributes
    ----------
    pressure : (n_elements, nx, ny, nz) complex64 at p0 = 1 Pa on the element's face [Pa].
    impedance, absorption : (nx, ny, nz) rho c [Pa s/m]; absorption of the amplitude [Np/m].
    affine : (4, 4) cell index to patient position [m].
    """

    pressure: np.ndarray
    impedance: np.ndarray
    absorption: np.ndarray
    affine: np.ndarray

    def heating(self, drives: np.ndarray) -> np.ndarray:
        """Absorbed power q = alpha_abs |sum_e d_e p_e|^2/(rho c) of many phasings [W/m3].

        Parameters
        ----------
        drives : (n, n_elements) complex surface pressure of the elements [Pa], as of
            `phasing.geometric`.

        Returns
        -------
        (n, nx, ny, nz) float32.
        """
        drives = np.asarray(drives, dtype=np.complex64)
        elements = self.pressure.reshape(len(self.pressure), -1)
        weight = (self.absorption / self.impedance).ravel()
        q = np.empty((len(drives), elements.shape[1]), dtype=np.float32)
        for start in range(0, len(drives), DRIVES_AT_ONCE):
            part = slice(start, start + DRIVES_AT_ONCE)
            field = drives[part] @ elements
            np.square(field.real, out=q[part])
            q[part] += np.square(field.imag)
            q[part] *= weight
        return q.reshape(-1, *self.impedance.shape)


def element_fields(anatomy: Anatomy, plan: Plan, settings: HeatingSettings, margin: float,
                   threads: int = 1) -> ElementFields:
    """Fields of all elements, propagated through the body, in a box around the target.

    Parameters
    ----------
    settings, threads : as for `heating.compute_heating`.
    margin : of the box around the target on each side, in the beam's frame [m].

    Raises
    ------
    InputError : as `check_grid`, or the plan moves the transducer from focus to focus.
    """
    if np.ptp(plan.apex_shift, axis=0).any():
        raise InputError("the transducer is moved between the foci, so that one set of fields "
                         "cannot serve them", file=settings.written.file, key="transducer.name",
                         value=settings.transducer.name, allowed="an array that steers")
    device = Transducer.of(settings.transducer)
    grid = check_grid(anatomy, plan, settings)
    medium = sample_medium(anatomy, grid, settings.tissues, device.frequency)
    (beam,), march = prepare_beams(plan, device, grid, medium, settings.water, settings.phases,
                                   threads)
    target = grid.index(grid.to_beam(anatomy.position(np.argwhere(anatomy.target_mask))))
    wide = margin / grid.spacing
    low = np.clip(np.floor(target.min(axis=0) - wide).astype(int), 0, None)
    high = np.minimum(np.ceil(target.max(axis=0) + wide).astype(int) + 1, grid.shape)
    box = tuple(map(slice, low.tolist(), high.tolist()))
    pressure = np.empty((len(beam.planes), *(high - low)[[1, 2, 0]]), dtype=np.complex64)

    def carry(element):
        pressure[element] = march.pressure_in(beam.planes[element], box).transpose(1, 2, 0)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(carry, range(len(pressure))))
    affine = grid.affine
    affine[:3, 3] += affine[:3, :3] @ low[[1, 2, 0]]
    return ElementFields(pressure, medium.impedance[box].transpose(1, 2, 0),
                         medium.absorption[box].transpose(1, 2, 0), affine)
