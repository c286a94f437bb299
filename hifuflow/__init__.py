"""Focused-ultrasound treatments from segmented anatomy to closed-loop control, in simulation."""

from pathlib import Path

# One name for all: in a checkout the stages' folders stand beside this one, in a wheel inside it;
# either way `hifuflow.fem` is the folder `fem`.
if not (Path(__file__).parent / "fem").is_dir():
    __path__.append(str(Path(__file__).resolve().parent.parent))
