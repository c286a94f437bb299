"""Whether a body has the size of a body: a wrong unit of length is a wrong treatment."""

from __future__ import annotations

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log

from .settings import AnatomySettings
from .source_settings import MeshMapSettings, SurfaceSettings

KEY = "anatomy.body_extent_mm"
SMALLEST, LARGEST, WIDEST = 0.01, 2.2, 0.8  # longest edge; second longest edge [m]
SMALL = 0.05  # a longest edge of less is named: centimetres in a header of millimetres [m]


def check_extent(extent, settings: AnatomySettings) -> None:
    """Hold the edges of the box around a body against what a body part can measure.

    Parameters
    ----------
    extent : (3,) [m].

    Raises
    ------
    InputError : no body part has this size, or it is not the one that the patient file tells.
    """
    largest, second, _ = np.sort(extent)[::-1]
    size = " x ".join(f"{edge * 1e3:.4g}" for edge in extent) + " mm"
    if settings.body_extent:
        low, high = settings.body_extent
        if not low <= largest <= high:
            raise settings.written.part("anatomy").error(
                f"the body measures {size}", "body_extent_mm",
                allowed="limits that hold its longest edge")
        return
    source = settings.source
    if isinstance(source, MeshMapSettings | SurfaceSettings):
        kind = "mesh" if isinstance(source, MeshMapSettings) else "surfaces"
        file, unit = source.path, f"anatomy.{kind}.unit"
    else:
        file, unit = source.labels or source.image, "its unit of length"
    if not SMALLEST <= largest <= LARGEST or second > WIDEST:
        raise InputError(
            f"the body measures {size}", file=file, key="anatomy",
            allowed=f"a longest edge of {SMALLEST * 1e3:g} to {LARGEST * 1e3:g} mm and a second "
                    f"one of at most {WIDEST * 1e3:g} mm: is {unit} right? A body that is meant to "
                    f"be of this size is let through by {KEY}")
    if largest < SMALL:
        log.warning("%s: the body measures only %s; if that is not meant, %s is wrong (%s says "
                    "that it is meant)", file, size, unit, KEY)
    else:
        log.info("the body measures %s", size)
