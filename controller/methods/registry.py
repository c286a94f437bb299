"""Controllers by their names: the built-in ones, and those of a user's own file.

A patient file names built-in controllers by their keys in `OPTIONS`, own ones as `./FILE.py:CLASS`.
To add one to the built-in ones, write its class and options and name both here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import options as of
from .own import load_class

if TYPE_CHECKING:
    from .base import Controller

OPTIONS = {"raster": of.RasterOptions, "paper": of.PaperOptions, "mintime": of.MintimeOptions,
           "hyperthermia": of.HyperthermiaOptions, "optimum": of.OptimumOptions}
YARDSTICKS = ("optimum",)  # they carry out a plan and treat nobody, see `Controller.yardstick`


def built_in() -> dict[str, type[Controller]]:
    """Name -> class. The classes are loaded here and not with this file, because most of a run's
    processes need names and options only."""
    from .hyperthermia import HyperthermiaController
    from .mintime import MintimeController
    from .optimum import Optimum
    from .paper import PaperController
    from .raster import RasterController

    return {"raster": RasterController, "paper": PaperController, "mintime": MintimeController,
            "hyperthermia": HyperthermiaController, "optimum": Optimum}


def controller_class(source: dict) -> type[Controller]:
    """The class of a controller.

    Parameters
    ----------
    source : {"name"} of a built-in controller, {"name", "file", "class"} of an own one.

    Raises
    ------
    InputError : see `own.load_class`.
    """
    if "file" in source:
        return load_class(source["file"], source["class"])
    return built_in()[source["name"]]
