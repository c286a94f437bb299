"""Faults of the simulated scanner: each changes of the images what it says, and nothing else."""

import math

import numpy as np
import pytest

from hifuflow.controller.fault_settings import KINDS, changes, read_faults
from hifuflow.controller.imaging import Imaging
from hifuflow.controller.patient.scanner import Scanner
from hifuflow.controller.patient.thermometry import Thermometry
from hifuflow.controller.settings import ThermometrySettings
from hifuflow.records.outputs import Outputs

INTERVAL = 2.0


def fault(kind, from_s=0, until_s=None, **further):
    return {"kind": kind, "from_s": from_s, "until_s": until_s, **further}


@pytest.fixture
def outputs():
    """Two constraint points and six target voxels along R, each its own voxel of the image."""
    position = np.array([[-0.03, 0, 0], [0.03, 0, 0], *([3e-3 * i - 7.5e-3, 0, 0]
                                                        for i in range(6))])
    target = np.arange(8) >= 2
    return Outputs(np.where(target, "target", "constraint"), position,
                   np.where(target, 1e-9, 0.0), np.full(8, 37.0), np.where(target, np.nan, 43.0),
                   region=np.where(target, "tumour", "fat"))


@pytest.fixture
def images(treatment_config, outputs):
    """`images(*faults, **thermometry)`: (acquired (n,), temperature (n, 8)) of 20 images of a
    patient that heats by 1 K each image."""
    def take(*faults, n=20, **changed):
        settings = ThermometrySettings.read({**treatment_config["thermometry"], "noise_c": 0.3,
                                             "voxel_mm": [1.5, 1.5, 1.5], **changed})
        scanner = Scanner(Thermometry(settings, Imaging(settings, outputs)), INTERVAL,
                          read_faults(list(faults)), settings.seed)
        taken = [scanner.image(k, np.full(8, 37.0 + k)) for k in range(n)]
        return (np.array([one.acquired for one in taken]),
                np.array([one.temperature for one in taken]))
    return take


def test_without_faults_images_are_those_of_the_thermometry(images, treatment_config, outputs):
    settings = ThermometrySettings.read({**treatment_config["thermometry"], "noise_c": 0.3,
                                         "voxel_mm": [1.5, 1.5, 1.5]})
    plain = Thermometry(settings, Imaging(settings, outputs))
    acquired, shown = images()
    np.testing.assert_array_equal(acquired, INTERVAL * np.arange(20))
    np.testing.assert_array_equal(shown, [plain.image(k, np.full(8, 37.0 + k)) for k in range(20)])


def test_latency_is_seen_in_the_time_of_acquisition(images):
    acquired, shown = images(latency_s=5)
    assert np.isneginf(acquired[:3]).all() and np.isnan(shown[:3]).all()
    np.testing.assert_array_equal(acquired[3:], INTERVAL * np.arange(17))
    np.testing.assert_array_equal(shown[3:], images()[1][:17])


def test_a_frozen_image_shows_the_last_one_before(images):
    plain, (acquired, shown) = images()[1], images(fault("frozen_image", 10, 20, part="all"))
    np.testing.assert_array_equal(shown[:5], plain[:5])
    np.testing.assert_array_equal(shown[5:10], np.repeat(plain[4:5], 5, axis=0))
    np.testing.assert_array_equal(shown[10:], plain[10:])
    np.testing.assert_array_equal(acquired, INTERVAL * np.arange(20))  # nothing to be seen there


def test_an_image_frozen_from_the_start_shows_the_first(images):
    plain, shown = images()[1], images(fault("frozen_image", part="all"))[1]
    np.testing.assert_array_equal(shown, np.repeat(plain[:1], 20, axis=0))
    lost = images(fault("frozen_image", part="all"), lost_s=[[0, 5]])[1]
    assert np.isnan(lost[:3]).all()
    np.testing.assert_array_equal(lost[3:], np.repeat(plain[3:4], 17, axis=0))


def test_half_of_an_image_freezes(images):
    plain, shown = images()[1], images(fault("frozen_image", 10, part="half"))[1]
    right = [1, 5, 6, 7]  # of the median R
    left = [0, 2, 3, 4]
    np.testing.assert_array_equal(shown[5:, right], np.repeat(plain[4:5, right], 15, axis=0))
    np.testing.assert_array_equal(shown[:, left], plain[:, left])


def test_no_image_and_lost_images(images):
    plain, shown = images()[1], images(fault("no_image", 10, 20))[1]
    assert np.isnan(shown[5:10]).all()
    np.testing.assert_array_equal(np.delete(shown, np.s_[5:10], 0),
                                  np.delete(plain, np.s_[5:10], 0))
    shown = images(fault("lost_images", 100, fraction=0.3), n=1050)[1]
    lost = np.isnan(shown).all(axis=1)
    assert not lost[:50].any() and lost[50:].mean() == pytest.approx(0.3, abs=0.04)
    assert np.array_equal(np.isnan(shown).any(axis=1), lost)
    two = images(fault("lost_images", fraction=0.3), fault("lost_images", fraction=0.3), n=1000)[1]
    assert np.isnan(two).all(axis=1).mean() == pytest.approx(1 - 0.7**2, abs=0.05)


def test_late_images_come_late_with_their_own_time(images):
    plain, (acquired, shown) = images()[1], images(fault("late_image", 10, 24, s=6))
    np.testing.assert_array_equal(shown[:5], plain[:5])
    assert np.isnan(shown[5:8]).all() and np.isneginf(acquired[5:8]).all()
    np.testing.assert_array_equal(acquired[8:12], INTERVAL * np.arange(5, 9))
    np.testing.assert_array_equal(shown[8:12], plain[5:9])
    # What comes together with a newer one, or after it, is not handed over.
    np.testing.assert_array_equal(acquired[12:], INTERVAL * np.arange(12, 20))
    np.testing.assert_array_equal(shown[12:], plain[12:])
    acquired, _ = images(fault("late_image", 10, 24, s=6), fault("late_image", 28, 30, s=60))
    assert np.isneginf(acquired[14])  # only image 11 arrives, and 13 is here already
    np.testing.assert_array_equal(acquired[[13, 15]], [26, 30])


def test_drift_grows_and_stays_even_where_drift_is_corrected(images):
    excess = images(fault("drift", 10, 30, k_per_min=3), drift_correction=True)[1] - images()[1]
    expected = 3 / 60 * np.clip(INTERVAL * np.arange(20) - 10, 0, 20)
    np.testing.assert_allclose(excess, np.repeat(expected[:, None], 8, axis=1), atol=1e-12)


def test_a_jump_lasts_as_long_as_it_says(images):
    excess = images(fault("jump", 10, 20, k=-4))[1] - images()[1]
    np.testing.assert_allclose(excess[5:10], -4)
    np.testing.assert_allclose(np.delete(excess, np.s_[5:10], 0), 0, atol=1e-12)


@pytest.mark.parametrize("k", [0, 5])
def test_noise_is_another(images, k):
    truth = 37.0 + np.arange(400)[:, None]
    shown = images(fault("noise", 100, k=k), n=400)[1] - truth
    assert np.std(shown[:50]) == pytest.approx(0.3, rel=0.1)
    assert np.std(shown[50:]) == pytest.approx(k, rel=0.05)


def test_clocks_stand_still_or_run_backwards(images):
    plain = images()[1]
    for kind, expected in (("clock_stuck", [10] * 5), ("clock_backwards", [10, 8, 6, 4, 2])):
        acquired, shown = images(fault(kind, 10, 20))
        np.testing.assert_array_equal(acquired[5:10], expected)
        np.testing.assert_array_equal(np.delete(acquired, np.s_[5:10]),
                                      np.delete(INTERVAL * np.arange(20), np.s_[5:10]))
        np.testing.assert_array_equal(shown, plain)


def test_several_faults_at_once(images):
    acquired, shown = images(fault("jump", 4, k=2), fault("frozen_image", 10, part="all"),
                             fault("clock_stuck", 20), fault("late_image", 0, s=2))
    plain = images()[1]
    np.testing.assert_allclose(shown[6:], np.repeat(plain[4:5] + 2, 14, axis=0))
    assert acquired[6:].tolist() == [10, 12, 14, 16, 18] + [20] * 9


def test_faults_are_told_when_they_begin_and_end():
    faults = read_faults([fault("no_image", 0, 4), fault("swapped_foci", 3)])
    assert [changes(faults, t - INTERVAL, t) for t in (0.0, 2.0, 4.0, 6.0)] == [
        ["simulated fault begins: no_image"], [],
        ["simulated fault ends: no_image", "simulated fault begins: swapped_foci"], []]
    assert math.isinf(faults[1].end) and len(KINDS) == 14
