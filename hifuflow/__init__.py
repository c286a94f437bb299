"""Focused-ultrasound treatments from segmented anatomy to closed-loop control, in simulation.

The functions of the stages and the records between them, in the order of the data; a patient's
treatment from Python is in docs/python.md. Each is loaded when it is first asked for.
"""

from pathlib import Path

import lazy_loader

# One name for all: in a checkout the stages' folders stand beside this one, in a wheel inside it;
# either way `hifuflow.fem` is the folder `fem`.
if not (Path(__file__).parent / "fem").is_dir():
    __path__.append(str(Path(__file__).resolve().parent.parent))

# What `from hifuflow import ...` offers is listed in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
