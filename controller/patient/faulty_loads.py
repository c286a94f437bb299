"""Loads of the foci while the array's field is not the one that was planned."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from hifuflow.errors import InputError
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.faulty_load import FaultyLoad

from .drawn import translated
from .faults import DeadElements, Fault, FocalShift, present


@dataclass(frozen=True)
class Field:
    """A field of the array.

    Attributes
    ----------
    dead : whether elements are dead.  shift : (3,) of the foci [m].
    """

    dead: bool
    shift: tuple[float, float, float]


def field_at(faults: Iterable[Fault], time: float) -> Field:
    """The field that is there at a time [s]."""
    shifts = [fault.shift for fault in present(faults, FocalShift, time)]
    return Field(bool(present(faults, DeadElements, time)),
                 tuple(np.sum([(0.0, 0.0, 0.0), *shifts], axis=0).tolist()))


def fields_of(faults: Iterable[Fault]) -> list[Field]:
    """The different fields of a treatment; a single one without faults of the field."""
    faults = [fault for fault in faults if isinstance(fault, FocalShift | DeadElements)]
    times = sorted({0.0, *(time for fault in faults for time in (fault.start, fault.end))})
    return list(dict.fromkeys(field_at(faults, time) for time in times if math.isfinite(time)))


def with_faulty_loads(model: BioheatModel, faults: Iterable[Fault],
                      faulty: FaultyLoad | None = None) -> BioheatModel:
    """The plant's model with one block of foci for each of `fields_of(faults)`.

    A shift moves the loads of all foci as `drawn.translated` does. Dead elements have loads of
    their own, from the field that the other elements make.

    Parameters
    ----------
    faulty : loads with the dead elements.

    Raises
    ------
    InputError : elements are dead, and their loads are missing or of another model.
    """
    fields = fields_of(faults)
    if len(fields) == 1 and not fields[0].dead and not any(fields[0].shift):
        return model
    return replace(model, B=np.hstack([_load(model, field, faulty) for field in fields]))


def _load(model: BioheatModel, field: Field, faulty: FaultyLoad | None) -> np.ndarray:
    """(n, n_foci) loads in one field."""
    if field.dead and (faulty is None or faulty.B.shape != model.B.shape):
        raise InputError("the loads of an array with dead elements are missing or of another model",
                         key="faults", allowed="the fem/load_dead_COUNT_SEED.h5 of this patient")
    return translated(replace(model, B=faulty.B) if field.dead else model, np.array(field.shift))
