"""Heating of an array of which elements are dead, driven by somebody who does not know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.heating import Heating
from hifuflow.records.plan import Plan

from .heating import compute_heating
from .settings import HeatingSettings, TransducerSettings
from .transducer import Transducer


def without_elements(device: TransducerSettings, count: int, seed: int) -> TransducerSettings:
    """The transducer with `count` of its working elements dead, drawn without replacement.

    Raises
    ------
    InputError : no element would be left.
    """
    weights = np.array(device.weights)
    working = np.flatnonzero(weights)
    if count >= len(working):
        raise InputError("leaves nothing of the array", file=device.written.file,
                         key="dead_elements.count", value=count,
                         allowed=f"below {len(working)}, the elements that work")
    weights[np.random.default_rng(seed).choice(working, count, replace=False)] = 0.0
    return replace(device, weights=tuple(weights.tolist()))


def radiated_fraction(device: TransducerSettings, whole: TransducerSettings, density: float,
                      speed: float) -> float:
    """Power of a transducer over that of the `whole` one at the same drive of each element.

    At a power P the drive is p0 ~ sqrt(P), see `Transducer.surface_pressure`: the fraction is the
    square of the ratio of the drives that both need for the same power.
    """
    needed, given = (Transducer.of(one).surface_pressure(1.0, density, speed)
                     for one in (device, whole))
    return (given / needed) ** 2


def compute_dead_heating(anatomy: Anatomy, plan: Plan, settings: HeatingSettings, count: int,
                         seed: int, threads: int = 1, allocate=None) -> Heating:
    """Heating of every focus at a command of 1 W while elements are dead.

    The other elements are driven as ever, with the phases and amplitudes that all were to have:
    the dead ones' power is missing, and so are their waves at the focus.

    Parameters
    ----------
    count, seed : of the dead elements, see `without_elements`; the others are those of
        `heating.compute_heating`.

    Raises
    ------
    InputError, NumericalError : as `heating.compute_heating`, or no element would be left.
    """
    device, water = without_elements(settings.transducer, count, seed), settings.water
    power = radiated_fraction(device, settings.transducer, water.density, water.speed)
    log.info("%d of %d elements are dead: %.1f %% of the power is radiated", count,
             np.count_nonzero(settings.transducer.weights), 100 * power)
    return compute_heating(anatomy, plan, replace(settings, transducer=device), threads, allocate,
                           power)
