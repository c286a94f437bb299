"""What is known to be unsafe before a treatment begins: it is refused."""

from __future__ import annotations

from hifuflow.controller.treatment_settings import TreatmentSettings
from hifuflow.errors import InputError


def check_beforehand(settings: TreatmentSettings) -> None:
    """Refuse images that are older than power may be given without one.

    Raises
    ------
    InputError
    """
    thermometry, longest = settings.thermometry, settings.safety.max_gap
    if thermometry.latency > longest:
        raise InputError("images are older than power may be given without one, so there would be "
                         "none", file=settings.file, key="thermometry.latency_s",
                         value=thermometry.latency,
                         allowed=f"at most {longest:g} (safety.max_gap_s)")
