"""What the checks of one sample found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What the checks of images and answers found at one sample.

    Attributes
    ----------
    reason : why power must be off; "" where nothing was found.
    final : whether waiting cannot help, so that the treatment ends.
    withheld : why an image was not taken in; it then counts as a missing one.
    """

    reason: str = ""
    final: bool = False
    withheld: str = ""

    @property
    def because(self) -> str:
        """`withheld` as the end of a sentence."""
        return f": {self.withheld}" if self.withheld else ""


NOTHING = Finding()
