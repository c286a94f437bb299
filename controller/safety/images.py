"""Whether an image is one of now: its time stamp, and that it is no repetition of an earlier one.

Time stamps: they must grow, and each image must be as old as `thermometry.latency_s` says. An image
whose time cannot be true is withheld, as if it had been lost.

Repetitions: the noise of two images is independent, so that over the n voxels of a patch

    sum (y(k) - y(j))^2 / (2 noise^2)  >=  chi-square with n degrees of freedom,

whatever was heated in between, and so with the expected changes taken off. A patch below the
quantile `FALSE_ALARM`, or below `LEAST` of the mean, repeats image j. Real scanners are not exact
to the stated noise; a quarter of its variance says that they are half as noisy. Patches are groups
of neighbours, halves of the image, and all of it; wherever they lie, voxels that are the same to
the last digit are repeated if they are more than `SAME` of the image. What is repeated is withheld.
Where the scanner is said to have no noise, a patch repeats the last image when not one of its
voxels changed in the last digit while the model expects a change that it would show.

With 100 patches, an image every 2 s and treatments of an hour, `FALSE_ALARM` makes one false alarm
in some 2,000 treatments.
"""

from __future__ import annotations

import functools
from collections import deque

import numpy as np
import scipy.sparse as sp
from scipy.stats import chi2

from hifuflow.controller.imaging import Image, Imaging

from .patches import halves, patches

FALSE_ALARM = 1e-9  # probability, of a patch and an image that it is compared with
LEAST = 0.25  # of the stated variance
COMPARED = 3  # earlier images
SAME = 0.2  # share of voxels that are the same to the last digit
WHOLE = 0.95  # share of an image from which on it counts as all of it
SHOWN = 3.0  # least change of a voxel that an image without noise must show, in its other errors
SAME_TIME = 1e-6  # s


class ImageCheck:
    """Check of every image before the filter may see it.

    Parameters
    ----------
    imaging : see `Imaging`.  interval : between images [s].
    floor : error of a measurement beside its noise [K].
    """

    def __init__(self, imaging: Imaging, interval: float, floor: float):
        self._noise, self._shown = imaging.noise, SHOWN * floor
        self._age, self._late = imaging.delay * interval, interval / 2
        self._patches = [*patches(imaging.position), *halves(imaging.position),
                         np.arange(len(imaging.position))]
        rows = np.repeat(np.arange(len(self._patches)), [len(one) for one in self._patches])
        self._members = sp.csr_array(  # (n_patches, n_m), 1 where a measurement is in a patch
            (np.ones(len(rows)), (rows, np.concatenate(self._patches))),
            shape=(len(self._patches), len(imaging.position)))
        self._newest = -np.inf
        self._before: deque[tuple] = deque(maxlen=COMPARED)  # what was shown, and expected
        self._expected: np.ndarray | None = None  # when each voxel last changed

    def believed(self, time: float, image: Image,
                 expected: np.ndarray) -> tuple[np.ndarray, str, str]:
        """What may be taken in of an image (n_m,) [degC], the rest NaN; why its time cannot be
        true, and what of it is a repetition; both "" where all is well.

        Parameters
        ----------
        time : now [s].  expected : (n_m,) what the filter expects [degC].
        """
        shown = image.temperature
        if not np.isfinite(shown).any():
            return shown, "", ""
        fault = self._untimely(time, image.acquired)
        if fault:
            return np.full_like(shown, np.nan), fault, ""
        self._newest = image.acquired
        repeated = self._repeated(shown, expected)
        exact = bool(self._before) and 2 * np.count_nonzero(
            (shown == self._before[-1][0])[repeated]) > np.count_nonzero(repeated)
        self._before.append((shown, np.array(expected)))
        return np.where(repeated, np.nan, shown), "", _described(
            np.count_nonzero(repeated) / np.count_nonzero(np.isfinite(shown)), exact)

    def _still(self, square: np.ndarray) -> np.ndarray:
        """(n_m,) bool: voxels of patches whose squared changes (n_m,) are too small for noise."""
        seen = np.isfinite(square)
        count = self._members @ seen.astype(float)
        total = self._members @ np.where(seen, square, 0.0)
        least = np.array([least_change(int(n)) for n in count])
        return seen & (self._members.T @ ((total < least) & (count > 0)).astype(float) > 0)

    def _untimely(self, now: float, acquired: float) -> str:
        """What is wrong with a time stamp."""
        if not np.isfinite(acquired):
            return "the images have no time stamp"
        if acquired > now + SAME_TIME:
            return "the time stamps of the images are ahead of the clock"
        if acquired <= self._newest + SAME_TIME:
            return "the time stamps of the images " + (
                "stand still" if acquired > self._newest - SAME_TIME else "run backwards")
        if abs(now - acquired - self._age) > self._late:
            return (f"the images are {now - acquired:.3g} s old, "
                    f"and not {self._age:.3g} s (thermometry.latency_s)")
        return ""

    def _repeated(self, shown: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """(n_m,) bool: voxels of patches that show again what they showed before."""
        repeated = np.zeros(len(shown), dtype=bool)
        if self._noise > 0:
            for before, then in self._before:
                change = shown - before
                same = change == 0
                if np.count_nonzero(same) > max(SAME * np.count_nonzero(np.isfinite(change)), 3):
                    repeated |= same
                for one in (change, change - (expected - then)):
                    repeated |= self._still(one ** 2 / (2 * self._noise ** 2))
            return repeated
        if self._expected is None:
            self._expected = np.array(expected, dtype=float)
        same = np.isfinite(shown)
        if self._before:
            same &= shown == self._before[-1][0]
        self._expected[~same] = expected[~same]
        due = np.abs(expected - self._expected)
        for patch in self._patches:
            seen = patch[np.isfinite(shown[patch])]
            if len(seen) and same[seen].all() and due[seen].max() > self._shown:
                repeated[seen] = True
        return repeated


def _described(share: float, exact: bool) -> str:
    """What repetitions in this share of an image are called."""
    if not share:
        return ""
    what = "does not change" if exact else "changes less than by its noise"
    return f"the image {what}" if share > WHOLE else f"{share:.0%} of the image {what}"


@functools.cache
def least_change(n: int) -> float:
    """Least sum over n voxels of the squared change, over twice the variance of the noise."""
    return min(LEAST * n, float(chi2.ppf(FALSE_ALARM, n)))
