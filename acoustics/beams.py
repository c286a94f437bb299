"""The elements' fields before the body, their drives, and the medium prepared for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from hifuflow.records.plan import Plan

from .angular_spectrum import HybridAngularSpectrum
from .grid import BeamGrid
from .medium import Medium
from .phasing import conjugated, geometric
from .settings import AcousticTissue
from .source import element_planes
from .transducer import Transducer


@dataclass(frozen=True)
class Beam:
    """Drives and element fields of all foci that share one place of the transducer.

    Attributes
    ----------
    foci : (n,) numbers of the foci.  drives : (n, n_elements) complex surface pressure at 1 W [Pa].
    planes : (n_elements, nx, ny) field of each element on the first plane at p0 = 1 Pa.
    """

    foci: np.ndarray
    drives: np.ndarray
    planes: np.ndarray

    def source(self, i: int) -> np.ndarray:
        """(nx, ny) complex pressure of the beam's i-th focus on the first plane [Pa]."""
        return np.tensordot(self.drives[i], self.planes, 1)


def prepare_beams(plan: Plan, device: Transducer, grid: BeamGrid, medium: Medium,
                  water: AcousticTissue, phases: str, threads: int,
                  power: float = 1.0) -> tuple[list[Beam], HybridAngularSpectrum]:
    """One beam for each place of the transducer, and the propagator prepared for the middle one.

    `phases` : of the elements, "geometric" or "conjugated", see `phasing`. `power` : radiated [W].
    """
    speed, density = water.speed, water.density
    loss = water.attenuation_at(device.frequency)
    shifts = plan.apex_shift @ grid.rotation
    places, place = np.unique(np.round(shifts, 9), axis=0, return_inverse=True)
    foci, march, beams = grid.to_beam(plan.foci), None, []
    # The middle place comes first: its mean beam sets the mean media.
    for number in np.argsort(np.linalg.norm(places - places.mean(axis=0), axis=1), kind="stable"):
        shift, members = places[number], np.flatnonzero(place.ravel() == number)
        planes = element_planes(device, grid.x - shift[0], grid.y - shift[1],
                                grid.z[0] - shift[2], speed, loss, threads)
        local_foci = foci[members] - shift
        if march is None:
            middle = geometric(device, local_foci.mean(axis=0), power, density, speed)
            march = HybridAngularSpectrum(medium, np.full(3, grid.spacing),
                                          np.tensordot(middle, planes, 1))
        drives = geometric(device, local_foci, power, density, speed)
        if phases == "conjugated":
            with ThreadPoolExecutor(threads) as pool:
                drives = np.array(list(pool.map(conjugated, drives, repeat(march), repeat(planes),
                                                grid.index(foci[members]))))
        beams.append(Beam(members, drives, planes))
    return beams, march
