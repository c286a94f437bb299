"""Images that are repeated, badly stamped, noisy or too still: found, and nothing else is."""

import numpy as np
import pytest
from scipy.stats import chi2

from hifuflow.controller.imaging import Image
from hifuflow.controller.safety.images import FALSE_ALARM, ImageCheck, least_change
from hifuflow.controller.safety.patches import patches

INTERVAL, FLOOR = 2.0, 0.1


def distance(position, centre):
    return np.linalg.norm(position[:, :2] - centre, axis=1)


class Layout:
    """What the check needs of `Imaging`: 400 voxels in a plane."""

    def __init__(self, noise=0.5, delay=0):
        grid = np.stack(np.meshgrid(np.arange(20), np.arange(20), [0]), axis=-1).reshape(-1, 3)
        self.position, self.noise, self.delay = 1.5e-3 * grid, noise, delay


class Scans:
    """A check, and images of a patient in which a spot gets hotter by 3 K each image."""

    def __init__(self, noise=0.5, delay=0, seed=0):
        self.layout = Layout(noise, delay)
        self.check = ImageCheck(self.layout, INTERVAL, FLOOR)
        self.random, self.k = np.random.default_rng(seed), -1
        self.spot = 3.0 * (distance(self.layout.position, 0.015) < 0.004)

    def shown(self):
        """What a sound image would show next."""
        return 37 + (self.k + 1) * self.spot + self.layout.noise * self.random.standard_normal(400)

    def next(self, shown=None, acquired=None):
        """(n_m,) what is believed, and both reasons."""
        shown = self.shown() if shown is None else shown
        self.k += 1
        now = INTERVAL * self.k
        image = Image(now - INTERVAL * self.layout.delay if acquired is None else acquired, shown)
        return self.check.believed(now, image, 37 + self.k * self.spot)


def test_sound_images_are_believed_as_they_are():
    scans = Scans()
    for _ in range(200):
        shown = scans.shown()
        believed, late, repeated = scans.next(shown)
        np.testing.assert_array_equal(believed, shown)
        assert (late, repeated) == ("", "")


def test_h03_a_repeated_image_is_withheld_at_once():
    scans = Scans()
    scans.next()
    shown = scans.shown()
    assert scans.next(shown)[2] == ""
    for _ in range(3):
        believed, _, repeated = scans.next(shown)
        assert repeated == "the image does not change" and np.isnan(believed).all()
    assert scans.next()[2] == ""  # and believed again once it changes


def test_h03_images_that_take_turns_are_no_new_images():
    scans = Scans()
    a, b = scans.shown(), scans.shown()
    scans.next(a), scans.next(b)
    assert [scans.next(one)[2] != "" for one in (a, b, a, b)] == [True] * 4


@pytest.mark.parametrize("part", [lambda p: p[:, 0] > 0.014, lambda p: p[:, 1] < 0.01,
                                  lambda p: distance(p, 0.02) < 0.008])
def test_h04_a_part_that_is_repeated_is_withheld_and_the_rest_is_not(part):
    scans = Scans()
    scans.next()
    frozen = scans.shown()
    scans.next(frozen)
    inside = part(scans.layout.position)
    shown = np.where(inside, frozen, scans.shown())
    believed, _, repeated = scans.next(shown)
    assert "of the image" in repeated
    withheld = np.isnan(believed)
    assert np.count_nonzero(withheld & inside) > 0.4 * np.count_nonzero(inside)
    assert np.count_nonzero(withheld & ~inside) < 0.1 * np.count_nonzero(~inside)


@pytest.mark.parametrize("factor", [0.0, 0.2, 0.4])
def test_h11_images_with_less_noise_than_a_scanner_has(factor):
    scans = Scans()
    scans.next()
    found = []
    for _ in range(3):
        scans.layout.noise = 0.5 * factor
        found.append(scans.next()[2])
    wanted = "changes less than by its noise" if factor else "does not change"
    assert found[-1] == f"the image {wanted}"


def test_h03_without_noise_what_should_change_and_does_not():
    scans = Scans(noise=0.0)
    for _ in range(3):
        assert scans.next()[2] == ""
    still = scans.shown()
    assert scans.next(still)[2] == ""
    found = [scans.next(still) for _ in range(2)]
    assert all(repeated and np.isnan(believed).all() for believed, _, repeated in found)
    assert scans.next()[2] == ""


def test_without_noise_a_patient_at_rest_may_look_the_same():
    scans = Scans(noise=0.0)
    scans.spot[:] = 0.0
    assert [scans.next()[1:] for _ in range(20)] == [("", "")] * 20


@pytest.mark.parametrize(("stamp", "reason"), [
    (2.0, "stand still"), (0.0, "run backwards"), (5.0, "ahead of the clock"),
    (np.nan, "no time stamp")])
def test_h08_h09_time_stamps_that_cannot_be_true(stamp, reason):
    scans = Scans()
    scans.next(), scans.next()
    believed, late, repeated = scans.next(acquired=stamp)
    assert reason in late and not repeated and np.isnan(believed).all()
    assert scans.next()[1] == ""


def test_h07_images_of_another_age_than_the_latency():
    scans = Scans(delay=2)
    assert [scans.next()[1] for _ in range(5)] == [""] * 5
    believed, late, _ = scans.next(acquired=5.0)
    assert late == "" and np.isfinite(believed).all()  # 5 s, between two images
    for stamp, age in ((5.1, 6.9), (10.0, 4.0), (15.9, 0.1)):
        believed, late, _ = scans.next(acquired=stamp)
        wrong = abs(age - 4) > 1
        assert (late == f"the images are {age:.3g} s old, and not 4 s (thermometry.latency_s)"
                if wrong else late == "")
        assert np.isnan(believed).all() == wrong


def test_a_missing_image_is_only_missing():
    scans = Scans()
    scans.next()
    for stamp in (-np.inf, 2.0):
        believed, late, repeated = scans.next(np.full(400, np.nan), stamp)
        assert (late, repeated) == ("", "") and np.isnan(believed).all()
    assert scans.next()[1:] == ("", "")


def test_false_alarms_are_as_rare_as_stated():
    """The quantile is that of the sum of squared changes of normal noise."""
    random, n = np.random.default_rng(3), 4
    change = np.diff(random.standard_normal((2, 400_000, n)), axis=0)[0]
    sums = (change ** 2 / 2).sum(axis=1)
    assert np.mean(sums < chi2.ppf(1e-3, n)) == pytest.approx(1e-3, rel=0.2)
    assert least_change(n) == pytest.approx(chi2.ppf(FALSE_ALARM, n))
    assert least_change(10_000) == 2500.0


def test_patches_hold_every_measurement_once():
    position = np.random.default_rng(0).standard_normal((777, 3))
    found = patches(position)
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(777))
    assert max(map(len, found)) <= 32 and min(map(len, found)) >= 16
    spread = np.mean([position[patch].std(axis=0).mean() for patch in found])
    assert spread < 0.5 * position.std()
