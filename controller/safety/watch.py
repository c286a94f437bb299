"""Watch over images, array and filter: whether what they say can be true.

Each check is a file of its own. Three findings end the treatment at once, since waiting cannot mend
them: heat that does not come, comes twice, elsewhere or without command (`response`, `place`), a
filter at the bounds of what it may learn (`learned`), and a limit that is exceeded by more than its
tolerance. All others hold the power off for as long as they last.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.estimation.kalman import KalmanFilter
from hifuflow.controller.imaging import Image, Imaging
from hifuflow.controller.settings import SafetySettings

from .drift import DriftCheck
from .finding import Finding
from .images import ImageCheck
from .learned import LearnedCheck
from .noise import NoiseCheck
from .place import PlaceCheck
from .response import ResponseCheck

IN_A_ROW = 2  # images with a point above its limit


class Watch:
    """Watch over one treatment.

    Parameters
    ----------
    settings : of the supervisor.  imaging : see `Imaging`.
    observer : the filter, whose settings hold the ranges of what it learns.
    note : takes the text of an event.
    """

    def __init__(self, settings: SafetySettings, imaging: Imaging, observer: KalmanFilter,
                 note: Callable[[str], None]):
        estimator, model = observer.settings, observer.model
        self._observer, self._note = observer, note
        self._images = ImageCheck(imaging, model.interval, estimator.measurement_floor)
        self._noise = NoiseCheck(imaging.noise, estimator.measurement_floor)
        self._response = ResponseCheck(observer.heating, observer.variance)
        self._place = PlaceCheck(imaging.position, np.isnan(imaging.limit), observer.variance,
                                 settings.max_focal_shift)
        self._drift = DriftCheck(model, observer.rows, observer.variance, settings.max_drift)
        self._learned = LearnedCheck(estimator.gain_range)
        outputs = model.outputs
        self._hard = (outputs.constraint & ~outputs.soft)[outputs.constraint]
        # (n_m, n_hard): which measurement is which point with a hard limit.
        self._of_point = imaging.averaging[:, np.flatnonzero(outputs.constraint & ~outputs.soft)]
        self._limit = outputs.hard_limit[outputs.constraint]
        self._tolerance, self._over = settings.overshoot_tolerance, 0
        self._factor = estimator.heating_range[1]
        self._blind = 0
        self._withheld, self._repeated = "", ""

    def believed(self, time: float, image: Image) -> Image:
        """What the filter may take in of an image; the rest is NaN."""
        shown, self._withheld, self._repeated = self._images.believed(
            time, image, self._observer.expected)
        self._say_blind(shown)
        return Image(image.acquired, shown)

    def finding(self, estimate: Estimate) -> Finding:
        """What is found, once the filter has taken in what is believed and made this estimate."""
        innovation, gains = self._observer.innovation, self._observer.gains
        final = (self._response.fault(innovation), self._place.fault(innovation),
                 self._learned.fault(innovation, gains), self._over_limit(estimate))
        passing = (self._repeated, self._noise.fault(innovation), self._drift.fault(innovation),
                   self._points())
        ending = next(filter(None, final), "")
        return Finding(ending or next(filter(None, passing), ""), bool(ending), self._withheld)

    def _over_limit(self, estimate: Estimate) -> str:
        """Whether a point is above its hard limit by more than any treatment may be that shall end
        as complete, in `IN_A_ROW` images, and by what is certain."""
        excess = np.max(estimate.constraint_temperature - estimate.constraint_deviation
                        - self._limit, initial=-np.inf)
        if not estimate.valid or excess <= self._tolerance:
            self._over = 0
            return ""
        self._over += 1
        return "" if self._over < IN_A_ROW else (
            f"normal tissue is {excess:.2g} K above its limit (safety.overshoot_tolerance_k)")

    def _points(self) -> str:
        """Whether a point with a hard limit heats more than may be learned."""
        if not (self._observer.most_heated & self._hard).any():
            return ""
        return (f"a constraint point heats more than {self._factor:.2g} times what the model says "
                "(estimator.heating_range, estimator.absorption_range)")

    def _say_blind(self, shown: np.ndarray) -> None:
        """Note when points with a hard limit are measured no longer, or again."""
        if not np.isfinite(shown).any():
            return  # a missing image is bridged, and then named
        n = self._of_point.shape[1]
        blind = n - np.count_nonzero(self._of_point.T @ np.isfinite(shown).astype(float))
        if blind > self._blind:
            self._note(f"{blind} of {n} constraint points are not measured: there the limits rest "
                       "on the model, what was learned elsewhere, and the margins")
        elif blind < self._blind:
            self._note(f"{n - blind} of {n} constraint points are measured again")
        self._blind = blind
