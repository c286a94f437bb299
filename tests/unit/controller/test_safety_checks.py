"""The checks by themselves: what each finds, how soon, and how often it is wrong."""

import re

import numpy as np
import pytest

from hifuflow.controller.estimation.innovation import Innovation
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.controller.safety.cusum import ALARM, ChangeTest
from hifuflow.controller.safety.drift import AVERAGED, DriftCheck, common_error
from hifuflow.controller.safety.learned import IN_A_ROW, LearnedCheck
from hifuflow.controller.safety.noise import NoiseCheck
from hifuflow.controller.safety.place import PlaceCheck, gradient
from hifuflow.controller.safety.response import ResponseCheck

NOISE = 0.5
GRID = 1.5e-3 * np.stack(np.meshgrid(*[np.arange(8.0)] * 3, indexing="ij"), -1).reshape(-1, 3)
FOCI = np.array([[3.0, 5, 5], [8.0, 5, 5]]) * 1e-3


def spot(centre, width=2.5e-3):
    """(n_m,) heating of a focus [K/W]."""
    return 0.2 * np.exp(-((GRID - centre) ** 2).sum(axis=1) / width ** 2)


HEATING = np.stack([spot(one) for one in FOCI], axis=1)


class Samples:
    """Innovations of images of a patient that is heated otherwise than expected."""

    def __init__(self, seed=0):
        self.random = np.random.default_rng(seed)

    def next(self, power, more=0.0, gain=(1.0, 1.0), deviation=0.02, spread=0.0, taken=True):
        """`more` (n_m,) is what the image shows beyond what was expected [K]."""
        power, gain = np.array(power, dtype=float), np.array(gain)
        heat = HEATING @ (gain * power)
        value = more + NOISE * self.random.standard_normal(len(GRID))
        return Innovation(value, value + heat, heat, np.full(len(GRID), spread), power, gain,
                          deviation, taken)


@pytest.fixture
def samples():
    return Samples()


@pytest.fixture
def response():
    return ResponseCheck(HEATING, NOISE ** 2)


def images_until(check, innovation, most=30):
    """(number of images, what is said) until a check finds something."""
    for number in range(1, most + 1):
        found = check.fault(innovation())
        if found:
            return number, found
    return None, ""


ON, OFF = [10.0, 0.0], [0.0, 0.0]


@pytest.mark.parametrize(("share", "words"), [
    (0.0, "the images show no heat where 10 W were sent"),
    (0.4, r"the images show \d\d% of the heat where 10 W were sent"),
    (2.0, r"the images show \d\.\d times the heat where 10 W were sent")])
def test_h15_h16_heat_that_is_missing_or_too_much(samples, response, share, words):
    more = (share - 1) * HEATING @ ON
    assert images_until(response, lambda: samples.next(ON), 20)[0] is None
    number, found = images_until(response, lambda: samples.next(ON, more))
    assert number <= (3 if share in (0.0, 2.0) else 12)
    assert re.fullmatch(words, found)


def test_h17_heat_without_command(samples, response):
    for _ in range(3):
        response.fault(samples.next(ON))
    assert images_until(response, lambda: samples.next(OFF), 20)[0] is None
    number, found = images_until(response, lambda: samples.next(OFF, HEATING @ ON))
    assert number <= 3 and found == "the images show heat without command"


def test_h18_heat_at_the_other_focus(samples, response):
    more = HEATING @ [-10.0, 10.0]
    number, found = images_until(response, lambda: samples.next(ON, more))
    assert number <= 3 and ("where 10 W were sent" in found or "another place" in found)
    both = ResponseCheck(HEATING, NOISE ** 2)  # what is commanded arrives, and more beside it
    number, found = images_until(both, lambda: samples.next(ON, HEATING @ [0.0, 10.0]))
    assert number <= 4 and found == "the images show heat at another place than commanded"


def test_a_gain_that_learns_the_fault_does_not_hide_it(samples, response):
    for _ in range(8):
        response.fault(samples.next(ON))
    gains = iter([1.0, 1.6, 1.9, 2.0, 2.0, 2.0])

    def learned():
        gain = next(gains)
        return samples.next(ON, (2.0 - gain) * HEATING @ ON, (gain, 1.0))
    number, found = images_until(response, learned, 6)
    assert number <= 4 and "times the heat" in found


def test_a_gain_that_is_not_known_yet_is_no_fault(samples, response):
    gains = iter([1.0, 1.8, *[2.0] * 20])

    def learned():
        gain = next(gains)
        return samples.next(ON, (2.0 - gain) * HEATING @ ON, (gain, 1.0),
                            0.33 if gain == 1.0 else 0.05)
    assert images_until(response, learned, 20)[0] is None


def test_where_much_earlier_heat_spreads_less_is_concluded(samples, response):
    """The model is wrong by 15 % of a change that is ten times that by the power."""
    wrong = 0.15 * 10 * HEATING @ ON

    def cooling():
        one = samples.next(ON, wrong)
        return Innovation(one.value, one.rise, one.heat, -10 * one.heat, one.power, one.gain,
                          one.gain_deviation, True)
    assert images_until(response, cooling, 5)[0] is None


def test_images_after_a_missing_one_are_left_out(samples, response):
    for _ in range(30):
        assert response.fault(samples.next(ON, taken=False)) == ""
        assert response.fault(samples.next(ON, -HEATING @ ON)) == ""


def test_false_alarms_of_the_answer_are_as_rare_as_stated():
    """Lorden: at least exp(h) samples to an alarm. At h = 4 that can be counted."""
    random, lengths = np.random.default_rng(1), []
    for _ in range(300):
        test, number = ChangeTest(1.0, 0.3), 0
        while test.sum.max() <= 4.0:
            number += 1
            test.add(1 + 0.5 * random.standard_normal(1), 0.25)
        lengths.append(number)
    assert np.mean(lengths) >= np.exp(4.0)
    assert np.exp(ALARM) > 1e8


def test_no_single_image_raises_an_alarm():
    test = ChangeTest(0.0, 1.0)
    assert not test.add(1e6, 1e-6) and test.add(1e6, 1e-6)


def test_many_sound_images_raise_no_alarm(response):
    """With gains, shares and spreading that are wrong within what is doubted."""
    samples = Samples(seed=2)
    place = PlaceCheck(GRID, np.ones(len(GRID), dtype=bool), NOISE ** 2, 2.5e-3)
    for k in range(2000):
        power = [ON, [4.0, 4.0], OFF, [0.0, 7.0]][k // 5 % 4]
        more = 0.1 * np.sin(k / 7) * HEATING @ power
        innovation = samples.next(power, more)
        assert response.fault(innovation) == "" and place.fault(innovation) == ""


@pytest.mark.parametrize("shift", [[1, 0, 0], [0, -1, 0], [0, 0, 1.5], [0, 4, 0], [0, 0, -4]])
def test_h13_the_place_of_the_heat_is_found(shift):
    check = PlaceCheck(GRID, np.ones(len(GRID), dtype=bool), NOISE ** 2, 2.5e-3)
    samples, shift = Samples(), 1e-3 * np.array(shift)
    more = 10 * (spot(FOCI[0] + shift) - spot(FOCI[0]))
    number, found = images_until(check, lambda: samples.next(ON, more), 20)
    found_shift, deviation = check.shift()
    size = np.linalg.norm(shift)
    if size < 2e-3:
        assert found == ""
        np.testing.assert_allclose(found_shift, shift, atol=0.6e-3 + 3 * deviation)
    else:
        assert number <= 6 and "mm from the focus" in found
        assert found_shift @ shift > 0.8 * np.linalg.norm(found_shift) * size


def test_the_gradient_of_a_plane_is_exact():
    slope = np.array([3.0, -2.0, 0.5])
    found = [one @ (GRID @ slope + 7.0) for one in gradient(GRID)]
    np.testing.assert_allclose(np.transpose(found), np.broadcast_to(slope, GRID.shape), atol=1e-8)


@pytest.fixture
def level():
    """A drift check of a patient in which nothing flows: the state is the heat at each voxel."""
    model = DiscreteModel(np.eye(2), np.eye(2), HEATING, 2.0, None, FOCI, np.ones(2))

    def make(highest=0.6):
        return DriftCheck(model, HEATING, NOISE ** 2, highest)
    return make


def rises(samples, k, power, drift=0.0, scale=1.0):
    """Innovation of image k of a patient heated from image 1 on, with an error of all voxels."""
    rise = scale * k * (HEATING @ power) + drift + NOISE * samples.random.standard_normal(len(GRID))
    nothing = np.zeros(len(GRID))
    return Innovation(nothing, rise, nothing, nothing, np.array(power) if k else np.zeros(2),
                      np.ones(2), 0.1, True)


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.5])
def test_h05_drift_is_found_and_other_heating_is_not_drift(samples, level, scale):
    power = [5.0, 0.0]
    check = level()
    assert [check.fault(rises(samples, k, power, scale=scale)) for k in range(40)] == [""] * 40
    for sign, word in ((1, "hot"), (-1, "cold")):
        check = level()
        for k in range(40):
            found = check.fault(rises(samples, k, power, sign * 0.1 * k, scale))
            if found:
                break
        assert k <= 6 / 0.6 + 2 and found.endswith(f"too {word} where nothing is heated")


def test_h06_a_jump_is_found_within_three_images(samples, level):
    check = level()
    for k in range(20):
        assert check.fault(rises(samples, k, [5.0, 0.0])) == ""
    found = [check.fault(rises(samples, k, [5.0, 0.0], 3.0)) for k in range(20, 20 + AVERAGED)]
    assert found[-1].startswith("the images drift")


def test_the_common_error_is_that_of_what_is_not_heated():
    random = np.random.default_rng(0)
    predicted = np.concatenate([np.zeros(100), np.linspace(5, 60, 100)])
    rise = 0.4 + 1.3 * predicted + 0.1 * random.standard_normal(200)
    rise[110:120] += 20.0  # where the model is wrong
    found, deviation, warmth = common_error(rise, predicted, 0.01)
    assert found == pytest.approx(0.4, abs=4 * deviation) and deviation < 0.02
    assert warmth < 0.5


def test_h10_noise(samples):
    check = NoiseCheck(NOISE, 0.1)
    assert all(check.fault(samples.next(OFF)) == "" for _ in range(500))
    noisy = [check.fault(samples.next(OFF, 3 * samples.random.standard_normal(len(GRID))))
             for _ in range(2)]
    assert noisy[0] == "" and noisy[1].startswith("the images are noisier than stated: 3")
    assert check.fault(samples.next(OFF)) == ""


def test_h19_what_is_learned_is_bounded(samples):
    check = LearnedCheck((0.2, 4.0))
    for gain, words in ((0.2, "no heat where 10 W were sent"), (4.0, "more than 4 times")):
        found = [check.fault(samples.next(ON), np.array([gain, 1.0])) for _ in range(IN_A_ROW)]
        assert found[:-1] == [""] * (IN_A_ROW - 1) and words in found[-1]
        assert check.fault(samples.next(ON), np.ones(2)) == ""
    assert check.fault(samples.next(OFF), np.array([0.2, 0.2])) == ""
