"""How deep and wide the beam is followed, and what to do where that takes too many cells."""

import re
from dataclasses import replace

import numpy as np
import pytest
from cube_patient import HEATING, plan_settings

from hifuflow.acoustics import grid as grids
from hifuflow.acoustics.fading import fading_depth, power_left
from hifuflow.acoustics.grid import check_grid
from hifuflow.acoustics.plan import plan_treatment
from hifuflow.acoustics.transducer import Transducer
from hifuflow.errors import InputError
from hifuflow.records.anatomy import Anatomy

FAT = replace(HEATING.tissues["fat"], attenuation=40.0, absorption=40.0, exponent=1.0)
TISSUES = {**HEATING.tissues, "fat": FAT, "tumour": FAT,
           "skin": replace(FAT, attenuation=0.5, absorption=0.5)}


def long_body(skin=False):
    """Fat, 240 mm long, with a target 40 mm deep, in water; with a layer of skin if wanted."""
    labels = np.zeros((40, 40, 130), np.int16)
    labels[4:36, 4:36, 8:128] = 1
    labels[18:22, 18:22, 26:30] = 2
    regions = {"fat": {"label": 1, "tissue": "fat"}, "tumour": {"label": 2, "tissue": "tumour"}}
    if skin:
        labels[4:36, 4:36, 8] = 3
        regions["skin"] = {"label": 3, "tissue": "skin"}
    return Anatomy(labels, np.diag([2e-3, 2e-3, 2e-3, 1]), regions, ["tumour"], labels == 0,
                   np.array([0, 0, 1.0]), "")


def planned(anatomy, device):
    plan = plan_treatment(anatomy, plan_settings(device, standoff="auto", spacing_mm=4))
    return plan, replace(HEATING, transducer=device, tissues=TISSUES)


def test_power_left_is_that_of_oblique_rays_through_fat(device):
    anatomy, bowl = long_body(), Transducer.of(device)
    # 2 mm of water between the first depth and the voxel faces at 15 mm; steps of 1 mm
    depth = np.arange(0.015 + 0.5e-3, 0.1, 1e-3)
    left = power_left(anatomy, np.array([[0.04, 0.04, 0.056]]), np.eye(3), depth, bowl, TISSUES)
    into = depth[:40] + 0.5e-3 - 0.015
    cosine = np.linspace(np.cos(bowl.half_angle), 1, 2001)  # equal areas on the sphere
    expected = [np.exp(-2 * 40 * d / cosine).mean() for d in into]
    np.testing.assert_allclose(left[:40], expected, rtol=0.02)
    assert fading_depth(left, depth, 0.5) == pytest.approx(np.interp(-0.5, -np.array(expected),
                                                                      depth[:40]), abs=2e-4)
    assert fading_depth(left, depth, 1e-300) == np.inf


def test_a_thin_layer_does_not_say_how_deep_the_beam_goes(device):
    plan, settings = planned(long_body(), device)
    deep = check_grid(long_body(), plan, settings)
    other = check_grid(long_body(skin=True), plan, settings)
    assert np.abs(np.subtract(deep.shape, other.shape)).max() <= 8  # the layer takes 2 mm of fat
    assert deep.z[-1] - deep.z[0] < 0.07  # 1 % is left after 58 mm of fat, not at the body's end


def test_too_many_cells_make_the_automatic_spacing_coarser(device, monkeypatch, caplog):
    plan, settings = planned(long_body(), device)
    fine = check_grid(long_body(), plan, settings)
    monkeypatch.setattr(grids, "CELL_LIMIT", int(0.7 * np.prod(fine.shape)))
    coarse = check_grid(long_body(), plan, settings)
    assert fine.spacing < coarse.spacing <= 1.2001 * fine.spacing
    assert np.prod(coarse.shape) <= grids.CELL_LIMIT and "instead of 0.75" in caplog.text
    assert coarse.z[-1] == pytest.approx(fine.z[-1], abs=2 * coarse.spacing)


def test_the_remedies_of_a_grid_that_is_too_large_work(device, monkeypatch):
    weak = {**TISSUES, "fat": replace(FAT, attenuation=5.0), "tumour": replace(FAT, attenuation=5)}
    anatomy = long_body()
    plan, settings = planned(anatomy, device)
    settings = replace(settings, tissues=weak, spacing=0.75e-3)
    monkeypatch.setattr(grids, "CELL_LIMIT", 10**9)
    fine = check_grid(anatomy, plan, settings)
    monkeypatch.setattr(grids, "CELL_LIMIT", int(0.65 * np.prod(fine.shape)))
    with pytest.raises(InputError, match="the beam's grid would have") as caught:
        check_grid(anatomy, plan, settings)
    spacing = re.search(r"a spacing of at least ([\d.]+) mm", str(caught.value)).group(1)
    check_grid(anatomy, plan, replace(settings, spacing=float(spacing) * 1e-3))
    margin = re.search(r"anatomy\.crop_margin_mm: (\d+)", str(caught.value)).group(1)
    last = 29 + int(np.ceil(int(margin) / 2))  # what the crop leaves behind the target
    shorter = long_body()
    shorter.labels[:, :, last + 1:] = 0
    shorter = replace(shorter, coupling=(np.indices(shorter.labels.shape)[2] < last)
                      & (shorter.labels == 0))
    check_grid(shorter, plan, settings)
    walled = long_body()
    walled.coupling[18:22, 18:22, 128:] = False  # a cut straight behind: a margin does not help
    with pytest.raises(InputError) as caught:
        check_grid(walled, plan, settings)
    assert "crop_margin" not in str(caught.value)
    monkeypatch.setattr(grids, "CELL_LIMIT", int(0.01 * np.prod(fine.shape)))
    with pytest.raises(InputError) as caught:
        check_grid(anatomy, plan, settings)
    assert "spacing of" not in str(caught.value) and "crop_margin" not in str(caught.value)
