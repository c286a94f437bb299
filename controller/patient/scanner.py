"""Simulated scanner: it takes the images, stamps them and hands them over, each with its faults."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from hifuflow.controller.imaging import Image

from .faults import (
    ClockBackwards,
    ClockStuck,
    Drift,
    Fault,
    FrozenImage,
    Jump,
    LateImage,
    LostImages,
    NoImage,
    Noise,
    present,
)
from .thermometry import Thermometry


class Scanner:
    """Simulated scanner: an image each interval, which arrives `imaging.delay` intervals later.

    Parameters
    ----------
    thermometry : what a sound scanner measures.
    interval : time between images [s].
    faults : all of the treatment; those of the array are ignored.
    seed : of the images that are lost at random.
    """

    def __init__(self, thermometry: Thermometry, interval: float, faults: Iterable[Fault] = (),
                 seed: int = 0):
        self._thermometry, self._interval, self._seed = thermometry, interval, seed
        self._faults = tuple(faults)
        imaging = thermometry.imaging
        self._blank = np.full(len(imaging.position), np.nan)
        along = imaging.position[:, 0]
        self._half = along > np.median(along)
        self._shown: dict[int, np.ndarray] = {}  # fault -> what its frozen images show
        self._valid = self._blank  # the last image that was not lost
        self._underway: list[tuple[int, int, Image]] = []  # number of arrival, own number, image
        self._newest = -1

    def image(self, number: int, temperature: np.ndarray) -> Image:
        """Take image `number`, and hand over the newest that has arrived by then.

        Parameters
        ----------
        number, temperature : see `Thermometry.image`.

        Returns
        -------
        The image; where none has arrived it is NaN throughout, acquired at -inf.
        """
        self._underway.append((number + self._delay(number), number,
                               self._taken(number, temperature)))
        arrived = [(own, image) for arrival, own, image in self._underway
                   if arrival <= number and own > self._newest]
        self._underway = [one for one in self._underway if one[0] > number]
        if not arrived:
            return Image(-math.inf, self._blank)
        self._newest, image = max(arrived, key=lambda one: one[0])
        return image

    def _delay(self, number: int) -> int:
        """Number of intervals until an image arrives."""
        late = sum(fault.delay for fault in self._present(LateImage, number))
        return self._thermometry.imaging.delay + math.ceil(late / self._interval - 1e-9)

    def _taken(self, number: int, temperature: np.ndarray) -> Image:
        time = number * self._interval
        noise = [fault.deviation for fault in self._present(Noise, number)]
        shown = self._thermometry.image(number, temperature, noise[-1] if noise else None)
        for fault in self._faults:
            if isinstance(fault, Drift) and time >= fault.start:
                shown = shown + fault.rate * (min(time, fault.end) - fault.start)
        shown = shown + sum(fault.excess for fault in self._present(Jump, number))
        shown = self._frozen(number, shown)
        if self._is_lost(number):
            shown = self._blank
        if not np.isnan(shown).all():
            self._valid = shown
        return self._stamped(Image(time, shown))

    def _frozen(self, number: int, shown: np.ndarray) -> np.ndarray:
        """What an image shows in place of `shown` where it is frozen."""
        time = number * self._interval
        for i, fault in enumerate(self._faults):
            if not isinstance(fault, FrozenImage):
                continue
            if not fault.at(time):
                self._shown.pop(i, None)
                continue
            if i not in self._shown:
                last = shown if np.isnan(self._valid).all() else self._valid
                if np.isnan(last).all():
                    continue  # nothing to show yet
                self._shown[i] = last
            shown = np.where(self._half, self._shown[i], shown) if fault.half else self._shown[i]
        return shown

    def _is_lost(self, number: int) -> bool:
        if any(self._present(NoImage, number)):
            return True
        # Of each image from a generator of its own, as its noise is.
        drawn = np.random.default_rng([self._seed, number, 1]).random(len(self._faults))
        return any(isinstance(fault, LostImages) and fault.at(number * self._interval)
                   and chance < fault.fraction
                   for fault, chance in zip(self._faults, drawn, strict=True))

    def _stamped(self, image: Image) -> Image:
        """The image with the time stamp of a clock that may stand still or run backwards."""
        for fault in self._faults:
            if fault.at(image.acquired) and isinstance(fault, ClockStuck | ClockBackwards):
                ahead = image.acquired - fault.start
                stamp = fault.start - (ahead if isinstance(fault, ClockBackwards) else 0.0)
                return replace(image, acquired=stamp)
        return image

    def _present(self, kind: type, number: int) -> list:
        return present(self._faults, kind, number * self._interval)
