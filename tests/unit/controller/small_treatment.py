"""Treatments of small patients with the built-in controllers."""

from dataclasses import replace

from hifuflow.controller.loop import run_treatment
from hifuflow.controller.methods.registry import built_in
from hifuflow.controller.treatment_settings import TreatmentSettings


def settings_of(section, controller, **options) -> TreatmentSettings:
    """Settings with a controller, and with options that differ from its defaults."""
    settings = TreatmentSettings.read({**section, "controller": {"name": controller},
                                       "options": {}})
    return replace(settings, options=built_in()[controller].Options(**options))


def treat(rom, plant, controller, section, **options):
    """(trajectory, metrics), see `run_treatment`."""
    return run_treatment(rom, plant, settings_of(section, controller, **options))
