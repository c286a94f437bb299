"""Goals of mild hyperthermia: a held temperature, and no thermal lesion."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import HoldSettings

ABLATION = ("coverage", "t90_cem43_min", "time_to_t90_s")  # goals of an ablation


@dataclass(frozen=True)
class Goal:
    """One entry of a hyperthermia treatment's metrics, and the range in which it should lie.

    Attributes
    ----------
    key : in `metrics.json`.  label : as shown.  scale, digits, unit : of the shown value.
    low, high : ends of the range, None where it is open; both None: shown without a verdict.
    source : key of the patient file that sets the range.
    """

    key: str
    label: str
    scale: float
    digits: int
    unit: str
    low: float | None = None
    high: float | None = None
    source: str = ""

    def show(self, value: float) -> str:
        """A value as text, in the shown unit."""
        return f"{value * self.scale:,.{self.digits}f}{self.unit}"

    @property
    def limit(self) -> str:
        """The range in words."""
        if self.low is None and self.high is None:
            return ""
        if self.low is None:
            return f"at most {self.show(self.high)}"
        if self.high is None:
            return f"at least {self.show(self.low)}"
        return f"{self.show(self.low)} to {self.show(self.high)}"

    def reached(self, value: float) -> bool:
        """Whether a value lies in the range, both as shown: smaller differences are rounding."""
        shown, low, high = (None if one is None else round(one * self.scale, self.digits)
                            for one in (value, self.low, self.high))
        return (low is None or shown >= low) and (high is None or shown <= high)


def is_hyperthermia(metrics: dict) -> bool:
    """Whether the metrics are those of a hyperthermia treatment, which holds a temperature."""
    return "held_mean_c" in metrics


def hyperthermia_goals(settings: HoldSettings) -> list[Goal]:
    """The goals set by the section `hyperthermia` of a patient file."""
    wanted, window, spread = settings.temperature, settings.window, settings.spread
    return [
        Goal("held_mean_c", "Target's mean temperature while it was held", 1, 1, " °C",
             wanted - window, wanted + window, "hyperthermia.temperature_c, window_k"),
        Goal("held_t90_c", "Temperature that 90 % of the target were above (T90)", 1, 1, " °C",
             wanted - spread, None, "hyperthermia.spread_k"),
        Goal("held_t50_c", "50 % of the target (T50)", 1, 1, " °C"),
        Goal("held_t10_c", "10 % of the target (T10)", 1, 1, " °C", None, wanted + spread,
             "hyperthermia.spread_k"),
        Goal("time_in_window_fraction", "Part of that time with the mean in its window", 100, 1,
             " %", settings.in_window, None, "hyperthermia.in_window"),
        Goal("held_s", "Time for which the temperature was held", 1, 0, " s", settings.hold, None,
             "hyperthermia.hold_s")]
