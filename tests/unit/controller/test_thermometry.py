import numpy as np
import pytest

from hifuflow.controller.imaging import Imaging
from hifuflow.controller.patient.thermometry import Thermometry
from hifuflow.controller.settings import ThermometrySettings
from hifuflow.errors import InputError
from hifuflow.records.outputs import Outputs


@pytest.fixture
def outputs():
    """Two constraint points in fat, and a block of 4 x 4 x 4 target voxels of 1.5 mm."""
    block = (np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3) + 0.5)
    position = np.vstack([[[0.03, 0, 0], [0, 0.03, 0]], 1.5e-3 * block])
    target = np.arange(66) >= 2
    return Outputs(np.where(target, "target", "constraint"), position,
                   np.where(target, 1.5e-3 ** 3, 0.0), np.full(66, 37.0),
                   np.where(target, np.nan, 43.0), region=np.where(target, "tumour", "fat"))


@pytest.fixture
def thermometry(treatment_config, outputs):
    def make(**changes):
        section = {**treatment_config["thermometry"], "noise_c": 0.0, **changes}
        settings = ThermometrySettings.read(section)
        return Thermometry(settings, Imaging(settings, outputs))
    return make


def test_target_voxels_are_means_and_points_are_points(thermometry, outputs):
    images = thermometry(voxel_mm=[1.5, 1.5, 3])
    depth = outputs.position[:, 2]
    found = images.image(0, 37 + 1000 * depth)
    assert len(found) == 2 + 4 * 4 * 2
    np.testing.assert_allclose(found[:2], 37)
    np.testing.assert_allclose(np.unique(found[2:].round(9)), [38.5, 41.5])
    np.testing.assert_allclose(images.imaging.position[2:, 2], (found[2:] - 37) / 1000, atol=1e-12)
    np.testing.assert_array_equal(images.imaging.limit[:2], 43.0)
    assert np.isnan(images.imaging.limit[2:]).all()
    outputs.soft[1] = True
    np.testing.assert_array_equal(thermometry().imaging.limit[:2], [43.0, np.inf])


def test_a_hot_spot_is_seen_colder_in_a_larger_voxel(thermometry, outputs):
    temperature = np.where(np.arange(66) == 30, 100.0, 37.0)
    peaks = [thermometry(voxel_mm=[size] * 3).image(0, temperature).max() for size in (1.5, 3, 6)]
    np.testing.assert_allclose(peaks, [100, 37 + 63 / 8, 37 + 63 / 64])


def test_noise_is_seeded_per_image(thermometry, outputs):
    truth = np.full(66, 40.0)
    first = thermometry(noise_c=0.5, seed=1).image(7, truth)
    np.testing.assert_array_equal(first, thermometry(noise_c=0.5, seed=1).image(7, truth))
    assert not np.array_equal(first, thermometry(noise_c=0.5, seed=2).image(7, truth))
    assert not np.array_equal(first, thermometry(noise_c=0.5, seed=1).image(8, truth))
    many = [thermometry(noise_c=0.5).image(k, truth) - truth[0] for k in range(200)]
    assert np.std(many) == pytest.approx(0.5, rel=0.03)


def test_lost_images(thermometry, outputs):
    truth = np.full(66, 40.0)
    images = thermometry(lost_s=[[4, 8]])
    assert [bool(np.isnan(images.image(k, truth)).all()) for k in range(6)] == [
        False, False, True, True, True, False]
    some = thermometry(loss_probability=0.3)
    lost = [np.isnan(some.image(k, truth)).all() for k in range(500)]
    assert np.mean(lost) == pytest.approx(0.3, abs=0.06)


def test_drift_and_its_correction(thermometry, outputs):
    truth = np.full(66, 40.0)
    plain, corrected = (thermometry(drift_c_per_min=0.6, drift_variation=0.1,
                                    drift_correction=correct).image(300, truth) - 40
                        for correct in (False, True))
    assert plain.mean() == pytest.approx(6.0)  # 0.6 K a minute for 10 minutes
    assert np.abs(corrected).max() == pytest.approx(0.6)
    np.testing.assert_allclose(plain - corrected, 6.0)


def test_no_signal_in_fat(thermometry, outputs):
    images = thermometry(no_signal_regions=["fat"], voxel_mm=[1.5, 1.5, 1.5])
    assert np.isnan(images.imaging.limit).all() and len(images.imaging.position) == 64
    with pytest.raises(InputError, match="no_signal_regions"):
        thermometry(no_signal_regions=["fat", "tumour"])


def test_useless_images(thermometry, outputs):
    images = thermometry(artefact_probability=1, artefact_c=30)
    assert np.std(images.image(0, np.full(66, 40.0))) == pytest.approx(30, rel=0.3)
