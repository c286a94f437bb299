"""The whole stage on a small body: power, turning, cuts, partial cells, storage."""

import numpy as np
import pytest
from cube_patient import REFERENCE, plan_config

import acoustics.heating
from acoustics.frame import beam_frame
from acoustics.grid import place_grid, sample_medium
from acoustics.heating import compute_heating
from acoustics.plan import plan_treatment
from acoustics.storage import choose_box, coarsen
from acoustics.transducer import Transducer
from hifuflow.artifacts import Anatomy
from hifuflow.errors import InputError

CONFIG = {**REFERENCE.section("heating")["acoustics"], "spacing_mm": 0.85}


def heated(anatomy, device, tissues, offsets=((0, 0, 0), (3, -2, 1))):
    """Heating of foci given as offsets [mm] from the target's centroid in the beam's frame."""
    centroid = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0)
    points = centroid * 1e3 + np.array(offsets, dtype=float) @ beam_frame(anatomy.axis).T
    plan = plan_treatment(anatomy, device, plan_config(anatomy.axis.tolist(), 108,
                                                       explicit_mm=points.tolist()))
    return plan, compute_heating(anatomy, plan, device, tissues, CONFIG, threads=2)


def test_heating_of_a_small_body(cube, device, tissues):
    anatomy = cube()
    plan, heating = heated(anatomy, device, tissues)
    cell = np.linalg.det(heating.affine[:3, :3])
    total = heating.q.sum(axis=(1, 2, 3), dtype=float) * cell
    np.testing.assert_allclose(total, heating.absorbed_fraction, rtol=1e-5)
    # 32 mm of fat take 1 - exp(-2 8.6 0.032) = 42 % of what passes through it.
    assert (heating.absorbed_fraction > 0.25).all() and (heating.absorbed_fraction < 0.45).all()
    np.testing.assert_allclose(heating.foci, plan.foci)
    # The hottest cell lies at the planned focus, within the length of the focal zone.
    for q, focus in zip(heating.q, plan.foci, strict=True):
        hottest = np.unravel_index(q.argmax(), q.shape)
        away = heating.affine[:3, :3] @ hottest + heating.affine[:3, 3] - focus
        assert np.abs(away[:2]).max() < 1.2e-3 and abs(away[2]) < 4e-3
    # Heat falls off outside the body to nothing.
    index = np.stack(np.meshgrid(*map(np.arange, heating.q.shape[1:]), indexing="ij"), axis=-1)
    position = index @ heating.affine[:3, :3].T + heating.affine[:3, 3]
    voxel = anatomy.index(position)
    beside = ((voxel < 3.9) | (voxel > 21.1)).any(axis=-1)
    assert (heating.q[:, beside] == 0).all() and (heating.q >= 0).all()


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, -1, 0)])
def test_turned_body_and_beam_give_the_same_heating(cube, device, tissues, axis):
    _, first = heated(cube(), device, tissues, [(1, 0, 0)])
    _, turned = heated(cube(axis), device, tissues, [(1, 0, 0)])
    np.testing.assert_allclose(turned.focal_pressure_pa, first.focal_pressure_pa, rtol=0.01)
    np.testing.assert_allclose(turned.absorbed_fraction, first.absorbed_fraction, rtol=0.01)
    assert turned.q.max() == pytest.approx(first.q.max(), rel=0.02)
    np.testing.assert_allclose(turned.affine[:3, 2] / 0.85e-3, axis, atol=1e-12)


def test_focal_pressure_falls_by_the_attenuation_on_the_way(cube, device, tissues):
    lossless = {name: {**tissue, "speed_of_sound_m_s": 1500, "density_kg_m3": 1000,
                       "attenuation_np_m_mhz": 1e-3, "absorption_np_m_mhz": 1e-3}
                for name, tissue in tissues.items()}
    lossy = {name: {**tissue, "attenuation_np_m_mhz": 0 if name == "water" else 10,
                    "absorption_np_m_mhz": 0 if name == "water" else 5}
             for name, tissue in lossless.items()}
    _, clear = heated(cube(), device, lossless, [(0, 0, 0)])
    _, dimmed = heated(cube(), device, lossy, [(0, 0, 0)])
    array = Transducer.from_config(device)
    assert 0.6e6 < clear.focal_pressure_pa[0] < 0.9e6 and len(array.positions) == 256
    # 17 mm of tissue before the focus, on paths some 1.08 times as long as the axis.
    loss = dimmed.focal_pressure_pa[0] / clear.focal_pressure_pa[0]
    assert np.exp(-10 * 0.017 * 1.2) < loss < np.exp(-10 * 0.017 * 0.95)


def test_absorption_is_kept_apart_from_attenuation(cube, device, tissues):
    half = {name: {**tissue, "absorption_np_m_mhz": tissue["attenuation_np_m_mhz"] / 2}
            for name, tissue in tissues.items()}
    _, full = heated(cube(), device, tissues, [(0, 0, 0)])
    _, halved = heated(cube(), device, half, [(0, 0, 0)])
    np.testing.assert_allclose(halved.focal_pressure_pa, full.focal_pressure_pa, rtol=1e-6)
    np.testing.assert_allclose(halved.absorbed_fraction, full.absorbed_fraction / 2, rtol=1e-3)


def test_medium_is_water_before_the_body_and_continues_behind_a_cut(cube, device, tissues):
    anatomy = cube()
    plan = plan_treatment(anatomy, device, plan_config(standoff=108, spacing_mm=2))
    grid = place_grid(anatomy, plan, Transducer.from_config(device), 1e-3, 1500.0)
    medium = sample_medium(anatomy, grid, tissues, 1e6)
    middle = np.argmin(np.abs(grid.x))
    speed = 2 * np.pi * 1e6 / medium.wavenumber[:, middle, middle]
    assert speed[0] == pytest.approx(1500) and medium.absorption[0].max() == 0
    assert speed[-1] == pytest.approx(1480)
    assert medium.attenuation[-1, middle, middle] == pytest.approx(8.6)
    assert medium.absorption[-1].max() == 0
    # Partial cells: the absorption adds up to the volumes of the tissues.
    total = medium.absorption.sum(dtype=float) * 1e-9
    volumes = {label: (anatomy.labels == label).sum() * anatomy.voxel_volume for label in (1, 2)}
    assert total == pytest.approx(8.6 * volumes[1] + 13.3 * volumes[2], rel=0.01)


def test_nothing_absorbs_beside_a_label_map_that_cuts_through_the_body(cube, device, tissues):
    whole = cube()
    keep = np.s_[:, 9:17, :]  # the body now touches two faces of its map
    anatomy = Anatomy(whole.labels[keep].copy(), whole.affine.copy(), whole.regions, whole.target,
                      whole.coupling[keep].copy(), whole.axis, "")
    anatomy.affine[1, 3] += 9 * whole.spacing[1]
    plan = plan_treatment(anatomy, device, plan_config(standoff=108, spacing_mm=2))
    grid = place_grid(anatomy, plan, Transducer.from_config(device), 1e-3, 1500.0)
    medium = sample_medium(anatomy, grid, tissues, 1e6)
    volumes = {label: (anatomy.labels == label).sum() * anatomy.voxel_volume for label in (1, 2)}
    total = medium.absorption.sum(dtype=float) * 1e-9
    assert total == pytest.approx(8.6 * volumes[1] + 13.3 * volumes[2], rel=0.02)
    assert medium.attenuation[-1].min() > 0  # tissue goes on there, without counted heat


@pytest.mark.parametrize("value", [0.1, 1.2])
def test_spacing_that_does_not_suit_the_wave_is_refused(cube, device, tissues, value):
    with pytest.raises(InputError, match=r"acoustics\.spacing_mm") as caught:
        compute_heating(cube(), None, device, tissues, {**CONFIG, "spacing_mm": value})
    assert caught.value.file == CONFIG["file"]


def test_grid_that_no_machine_holds_is_refused(cube, device, tissues, monkeypatch):
    monkeypatch.setattr(acoustics.heating, "CELL_LIMIT", 1000)
    with pytest.raises(InputError, match=r"acoustics\.spacing_mm = 0\.85.*1000 cells"):
        heated(cube(), device, tissues)


def test_tissue_that_absorbs_nothing_is_refused(cube, device, tissues):
    for tissue in tissues.values():
        tissue["absorption_np_m_mhz"] = 0
    with pytest.raises(InputError, match="absorption_np_m_mhz"):
        heated(cube(), device, tissues, [(0, 0, 0)])


def test_box_holds_what_it_promises_and_leaves_out_the_empty_rim():
    x = np.linspace(-1, 1, 60)
    field = np.exp(-40 * (x[:, None, None] ** 2 + x[:, None] ** 2 + (x / 2) ** 2))
    sums = [field.sum(axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]
    box = choose_box([sums], 0.999)
    assert field[box].sum() >= 0.999 * field.sum()
    assert field[box].size < 0.5 * field.size
    assert len(range(*box[2].indices(60))) > len(range(*box[0].indices(60)))


def test_coarsening_keeps_the_integral():
    field = np.random.default_rng(0).random((7, 8, 9)).astype(np.float32)
    assert coarsen(field, 2).shape == (4, 4, 5)
    assert coarsen(field, 2).sum() * 8 == pytest.approx(field.sum(), rel=1e-5)
