"""The whole stage on a small body: power, turning, cuts, partial cells, storage."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from cube_patient import REFERENCE, plan_settings, transducer

from hifuflow.acoustics import grid as grid_module
from hifuflow.acoustics.angular_spectrum import EDGE
from hifuflow.acoustics.frame import beam_frame
from hifuflow.acoustics.grid import check_grid, place_grid, sample_medium
from hifuflow.acoustics.heating import check_balance, compute_heating, superpose
from hifuflow.acoustics.medium import Balance
from hifuflow.acoustics.phasing import geometric
from hifuflow.acoustics.plan import plan_treatment
from hifuflow.acoustics.settings import HeatingSettings, PlanSettings
from hifuflow.acoustics.storage import choose_box, rounded
from hifuflow.acoustics.superposition import element_fields
from hifuflow.acoustics.transducer import Transducer
from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.settings import AnatomySettings
from hifuflow.errors import InputError, NumericalError
from hifuflow.records.anatomy import Anatomy
from hifuflow.study.patient import load_patient


def settings(device, tissues, **changes):
    """Those of the reference patient with another device and tissues on a grid of 0.85 mm;
    `changes` replace keys of the section."""
    section = REFERENCE.section("heating")
    section = {**section, "acoustics": {**section["acoustics"], "spacing_mm": 0.85, **changes}}
    return replace(HeatingSettings.read(section), transducer=device, tissues=tissues)


def heated(anatomy, device, tissues, offsets=((0, 0, 0), (3, -2, 1)), **changes):
    """Heating of foci given as offsets [mm] from the target's centroid in the beam's frame."""
    centroid = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0)
    points = centroid * 1e3 + np.array(offsets, dtype=float) @ beam_frame(anatomy.axis).T
    plan = plan_treatment(anatomy, plan_settings(device, anatomy.axis.tolist(), 108,
                                                 explicit_mm=points.tolist()))
    return plan, compute_heating(anatomy, plan, settings(device, tissues, **changes), threads=2)


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
    lossless = {name: replace(tissue, speed=1500, density=1000, attenuation=1e-3, absorption=1e-3)
                for name, tissue in tissues.items()}
    lossy = {name: replace(tissue, attenuation=0 if name == "water" else 10,
                           absorption=0 if name == "water" else 5)
             for name, tissue in lossless.items()}
    _, clear = heated(cube(), device, lossless, [(0, 0, 0)])
    _, dimmed = heated(cube(), device, lossy, [(0, 0, 0)])
    array = Transducer.of(device)
    assert 0.6e6 < clear.focal_pressure_pa[0] < 0.9e6 and len(array.positions) == 256
    # 17 mm of tissue before the focus, on paths some 1.08 times as long as the axis.
    loss = dimmed.focal_pressure_pa[0] / clear.focal_pressure_pa[0]
    assert np.exp(-10 * 0.017 * 1.2) < loss < np.exp(-10 * 0.017 * 0.95)


def test_absorption_is_kept_apart_from_attenuation(cube, device, tissues):
    half = {name: replace(tissue, absorption=tissue.attenuation / 2)
            for name, tissue in tissues.items()}
    _, full = heated(cube(), device, tissues, [(0, 0, 0)])
    _, halved = heated(cube(), device, half, [(0, 0, 0)])
    np.testing.assert_allclose(halved.focal_pressure_pa, full.focal_pressure_pa, rtol=1e-6)
    np.testing.assert_allclose(halved.absorbed_fraction, full.absorbed_fraction / 2, rtol=1e-3)


def test_medium_is_water_before_the_body_and_continues_behind_a_cut(cube, device, tissues):
    anatomy = cube()
    plan = plan_treatment(anatomy, plan_settings(device, standoff=108, spacing_mm=2))
    grid = place_grid(anatomy, plan, Transducer.of(device), 1e-3, tissues)
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
    plan = plan_treatment(anatomy, plan_settings(device, standoff=108, spacing_mm=2))
    grid = place_grid(anatomy, plan, Transducer.of(device), 1e-3, tissues)
    medium = sample_medium(anatomy, grid, tissues, 1e6)
    volumes = {label: (anatomy.labels == label).sum() * anatomy.voxel_volume for label in (1, 2)}
    total = medium.absorption.sum(dtype=float) * 1e-9
    assert total == pytest.approx(8.6 * volumes[1] + 13.3 * volumes[2], rel=0.02)
    assert medium.attenuation[-1].min() > 0  # tissue goes on there, without counted heat


@pytest.mark.parametrize("value", [0.1, 1.2])
def test_spacing_that_does_not_suit_the_wave_is_refused(cube, device, tissues, value):
    with pytest.raises(InputError, match=r"acoustics\.spacing_mm") as caught:
        compute_heating(cube(), None, settings(device, tissues, spacing_mm=value))
    assert caught.value.file == REFERENCE.file.name and caught.value.value == value


def test_grid_that_no_machine_holds_is_refused(cube, device, tissues, monkeypatch):
    monkeypatch.setattr(grid_module, "CELL_LIMIT", 1000)
    with pytest.raises(InputError, match=r"acoustics\.spacing_mm = 0\.85.*1000 cells"):
        heated(cube(), device, tissues)


def test_tissue_that_absorbs_nothing_is_refused(cube, device, tissues):
    tissues = {name: replace(tissue, absorption=0) for name, tissue in tissues.items()}
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


def test_rounding_keeps_each_value_and_the_sum():
    field = np.random.default_rng(0).lognormal(0, 5, (20, 30, 40)).astype(np.float32)
    found = rounded(field)
    np.testing.assert_allclose(found, field, rtol=1e-3)
    even = np.random.default_rng(1).random((50, 50, 50))
    assert rounded(even).sum(dtype=float) == pytest.approx(even.sum(), rel=1e-5)
    assert (found.view(np.uint32) & 0x3FFF == 0).all() and rounded(np.zeros(3)).sum() == 0


def test_both_ways_to_the_fields_give_the_same_heating(cube, device, tissues):
    device = replace(device, n_elements=24, weights=(1.0,) * 24)
    (_, one), (_, other) = (heated(cube(), device, tissues, fields=fields)
                            for fields in ("by_focus", "by_element"))
    np.testing.assert_allclose(other.q, one.q, rtol=4e-3, atol=1e-5 * one.q.max())
    np.testing.assert_allclose(other.focal_pressure_pa, one.focal_pressure_pa, rtol=1e-3)
    for name, values in one.balance.items():
        np.testing.assert_allclose(other.balance[name], values, rtol=1e-2, atol=1e-5)


def test_phasings_of_the_elements_fields_heat_as_the_foci_do(cube, device, tissues):
    device = replace(device, n_elements=24, weights=(1.0,) * 24)
    anatomy = cube()
    plan, heating = heated(anatomy, device, tissues)
    elements = element_fields(anatomy, plan, settings(device, tissues), 3e-3, threads=2)
    water, array = tissues["water"], Transducer.of(device)
    foci = (plan.foci - plan.apex) @ beam_frame(plan.axis)
    q = elements.heating(geometric(array, foci, 1.0, water.density, water.speed))
    first = np.linalg.solve(heating.affine, elements.affine)[:3, 3]
    low = np.rint(first).astype(int)
    np.testing.assert_allclose(first, low, atol=1e-6)
    box = tuple(slice(a, a + n) for a, n in zip(low, q.shape[1:], strict=True))
    np.testing.assert_allclose(q, heating.q[:, *box], rtol=4e-3, atol=1e-5 * q.max())


def test_fields_of_elements_that_move_are_refused(cube, device, tissues):
    anatomy = cube()
    plan = plan_treatment(anatomy, plan_settings(device, standoff=108, spacing_mm=2))
    shift = np.zeros((len(plan.foci), 3))
    shift[0, 0] = 1e-3
    with pytest.raises(InputError, match="is moved between the foci"):
        element_fields(anatomy, replace(plan, apex_shift=shift), settings(device, tissues), 3e-3)


def test_superposition_is_chosen_where_it_costs_less():
    assert superpose(20, 8, "auto") and not superpose(5, 8, "auto")
    assert not superpose(10_000, 256, "auto") and superpose(1, 256, "by_element")


def test_power_of_every_focus_adds_up(cube, device, tissues):
    _, heating = heated(cube(), device, tissues)
    balance = heating.balance
    rest = balance["entered"] - sum(balance[name] for name in (
        "absorbed", "scattered", "reflected", "sideways", "transmitted"))
    assert (np.abs(rest) < 0.01 * balance["entered"]).all()
    assert (balance["entered"] > 0.85).all() and (balance["entered"] < 1.01).all()


def test_power_that_does_not_add_up_is_named():
    with pytest.raises(NumericalError, match=r"focus 3: 10\.00% .*absorbed 0\.5000"):
        check_balance(2, Balance(1.0, 0.5, 0.1, 0.1, 0.1, 0.1))
    with pytest.raises(NumericalError, match="more power enters"):
        check_balance(2, Balance(1.1, 1.1, 0.0, 0.0, 0.0, 0.0))


def test_conjugated_phases_restore_the_focus_behind_aberrating_tissue(cube, device, tissues):
    """A lens of slow fat on one side of the beam; the corrected focus is the stronger one."""
    anatomy = cube()
    anatomy.labels[5:12, 5:21, 5:9] = 3
    anatomy.regions["lens"] = {"label": 3, "tissue": "lens", "volume_m3": 1.0}
    tissues["lens"] = replace(tissues["fat"], speed=1380.0)
    (_, plain), (_, corrected) = (
        heated(anatomy, device, tissues, [(0, 0, 0)], phases=phases)
        for phases in ("geometric", "conjugated"))
    assert corrected.focal_pressure_pa[0] > 1.15 * plain.focal_pressure_pa[0]


def test_failed_elements_take_their_part_of_the_beam(cube, device, tissues):
    """At equal power n of 256 elements in phase give sqrt(n/256) of the pressure."""
    half = replace(device, weights=(1.0,) * 128 + (0.0,) * 128)
    (_, whole), (_, failed) = (heated(cube(), d, tissues, [(0, 0, 0)]) for d in (device, half))
    assert failed.focal_pressure_pa[0] == pytest.approx(
        whole.focal_pressure_pa[0] * np.sqrt(0.5), rel=0.03)


def test_moved_transducer_heats_as_one_that_stands_there(cube, device, tissues):
    plan, still = heated(cube(), device, tissues, [(0, 0, 0)])
    shift = 0.85e-3 * np.array([[6, -3, 2]])  # whole cells, so that both sample the body alike
    moved = compute_heating(cube(), replace(plan, apex=plan.apex - shift[0], apex_shift=shift),
                            settings(device, tissues), threads=2)
    np.testing.assert_allclose(moved.focal_pressure_pa, still.focal_pressure_pa, rtol=0.02)
    np.testing.assert_allclose(moved.absorbed_fraction, still.absorbed_fraction, rtol=0.02)


def test_a_bowl_for_the_skin_at_20_mhz_has_a_grid_of_its_own(cube, tissues):
    """75 micrometre waves: half of that as spacing; closed form of the focal pressure."""
    device = transducer("skin20")
    anatomy = cube(voxel=1e-4)
    centre = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0)
    depth = centre[2] - anatomy.position([0, 0, 5])[2] + 0.5e-4
    plan = plan_treatment(anatomy, plan_settings(device, standoff=15 - depth * 1e3,
                                                 explicit_mm=[(centre * 1e3).tolist()]))
    tissues = {name: replace(tissue, speed=1500, density=1000) for name, tissue in tissues.items()}
    heating = compute_heating(anatomy, plan, settings(device, tissues, spacing_mm="auto"), 2)
    assert heating.affine[2, 2] == pytest.approx(0.0375e-3)
    height = 0.015 * (1 - np.sqrt(1 - 0.4**2))
    gain = 2 * np.pi * 20e6 / 1500 * height  # O'Neil, at the centre of curvature
    water = gain * np.sqrt(2 * 1000 * 1500 / (2 * np.pi * 0.015 * height))
    loss = heating.focal_pressure_pa[0] / water
    assert np.exp(-20 * 13.3 * depth * 1.1) < loss < np.exp(-20 * 8.6 * depth)


def test_skin_bowl_on_the_smallest_phantom_stays_within_the_cell_limit(tmp_path):
    """A drawn lesion 1 to 4 mm under the skin: the beam behind it is wide, but has faded."""
    patient = {"anatomy": {"phantom": {"kind": "breast", "voxel_size_mm": 0.5,
                                       "breast_radius_mm": 20, "tumour_centre_mm": [109.5, 87, 12],
                                       "tumour_semi_axes_mm": [2, 2, 2]}, "crop_margin_mm": 5},
               "regions": {"tumour": {"labels": [2], "tissue": "tumour"},
                           "fat": {"labels": [1], "tissue": "fat"}},
               "target": {"sphere": {"centre_mm": [109.5, 87, 2.5], "radius_mm": 1.5}},
               "transducer": {"name": "skin20", "axis": [0, 0, 1], "standoff_mm": "auto"},
               "foci": {"spacing_mm": 1}, "prescription": {"max_power_w": 1}}
    (tmp_path / "skin.yaml").write_text(yaml.safe_dump(patient))
    config = load_patient(tmp_path / "skin.yaml")
    heating = HeatingSettings.read(config.section("heating"))
    anatomy = build_anatomy(AnatomySettings.read(config.section("anatomy")))
    plan = plan_treatment(anatomy, PlanSettings.read(config.section("plan")))
    grid = check_grid(anatomy, plan, heating)
    assert len(plan.foci) >= 9 and grid.spacing == pytest.approx(0.0375e-3)
    # It still holds the cones of all foci from the skin to where a tenth of the power is left.
    foci = grid.to_beam(plan.foci)
    depth = grid.z[0] + np.log(10) / (2 * 20 * heating.tissues["fat"].attenuation)
    half = np.abs(foci[:, :2]).max() + np.tan(Transducer.of(heating.transducer).half_angle) * max(
        depth - foci[:, 2].min(), foci[:, 2].max() - grid.z[0])
    assert half < (1 - 2 * EDGE) * grid.x[-1] < 1.6 * half
    assert grid.z[-1] > foci[:, 2].max() + 8e-3


def test_attenuation_grows_with_the_tissues_own_power_of_frequency(tissues):
    tissue = replace(tissues["fat"], attenuation=8.0, absorption=6.0, exponent=1.5)
    assert (tissue.attenuation_at(4e6), tissue.absorption_at(4e6)) == (64.0, 48.0)
