"""Records that are handed to code which must not change them."""

from __future__ import annotations

from copy import copy
from dataclasses import fields, is_dataclass

import numpy as np


def read_only(record):
    """Shallow copy of a dataclass, and of those in it, whose arrays cannot be written to."""
    locked = copy(record)
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, np.ndarray):
            value = value.view()
            value.flags.writeable = False
        elif is_dataclass(value):
            value = read_only(value)
        object.__setattr__(locked, field.name, value)
    return locked
