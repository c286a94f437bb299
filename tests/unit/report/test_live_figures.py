"""What the browser is given: frames of the time slider, 3-D view, slices and curves."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from test_report_page import make_inputs

from hifuflow.records.heating import Heating
from hifuflow.report.browser import curves as live_figures
from hifuflow.report.browser.frames import (
    CELSIUS_STEP,
    DOSE_STEP,
    LENGTH_STEP,
    MARGIN,
    Packed,
    VoxelTemperatures,
    pack_controller,
    plane_index,
    shown_box,
    slice_axes,
)
from hifuflow.report.browser.scene import build_scene
from hifuflow.report.figures.treatment import target_shares

DOSE = 240.0


def unpacked(packed):
    """The arrays as the page's script reads them."""
    return {name: np.frombuffer(packed.content, entry["type"], int(np.prod(entry["shape"])),
                                entry["start"]).reshape(entry["shape"])
            for name, entry in packed.index.items()}


@pytest.fixture(scope="module")
def frames(plain_case):
    """Frames of a treatment whose voxels take the temperature of one unknown each."""
    anatomy, trajectory = plain_case.anatomy, plain_case.trajectory
    n_voxels, n = len(trajectory.voxel_index), trajectory.snapshot_temperature.shape[1]
    which = np.arange(n_voxels) % n
    interpolation = sp.csr_array((np.ones(n_voxels), (np.arange(n_voxels), which)))
    temperatures = VoxelTemperatures(interpolation, np.full(n_voxels, 37.0), np.full(n, 37.0))
    lesion = trajectory.voxel_index[trajectory.voxel_dose >= DOSE]
    box = shown_box(anatomy, plain_case.constraints, [lesion])
    planes, packed = slice_axes(anatomy, box), Packed()
    said = pack_controller(packed, "paper", trajectory, anatomy, box, planes, temperatures, DOSE)
    return box, planes, said, unpacked(packed)


def test_box_holds_target_constraints_and_lesion(plain_case, frames):
    box = frames[0]
    index = np.argwhere(plain_case.anatomy.target_mask)
    assert (index.min(axis=0) - MARGIN >= box[0]).all()
    assert (index.max(axis=0) + MARGIN <= box[1]).all()
    points = plain_case.anatomy.index(plain_case.constraints["position_m"])
    assert (points >= box[0] - 0.5).all() and (points <= box[1] + 0.5).all()


def test_slices_hold_the_voxels_doses_and_temperatures(plain_case, frames):
    _, planes, _, arrays = frames
    trajectory = plain_case.trajectory
    final = np.zeros(plain_case.anatomy.labels.shape)
    voxels = trajectory.voxel_index[trajectory.snapshot_voxel]
    final[tuple(voxels.T)] = trajectory.snapshot_dose[-1]
    inside = plain_case.anatomy.body_mask
    for number, plane in enumerate(planes):
        place = tuple(np.moveaxis(plane_index(plane), -1, 0))
        shown = 10.0 ** (arrays[f"paper.dose{number}"][-1] * DOSE_STEP)
        np.testing.assert_allclose(shown, np.maximum(final[place], 1e-3), rtol=0.012)
        temperature = arrays[f"paper.temperature{number}"] * CELSIUS_STEP
        expected = trajectory.snapshot_temperature[:, 0]
        np.testing.assert_allclose(temperature[:, inside[place]].max(axis=1), expected, atol=0.026)


def test_lesion_grows_to_the_treated_volume(plain_case, frames):
    anatomy, trajectory = plain_case.anatomy, plain_case.trajectory
    _, _, said, arrays = frames
    rows = arrays["paper.lesion"]
    assert len(rows) == len(said["t"]) == len(trajectory.snapshot_t)
    volumes = []
    for first_point, first_face, points, faces in rows:
        vertices = arrays["paper.vertices"][first_point:first_point + points] * LENGTH_STEP
        corners = vertices[arrays["paper.faces"][first_face:first_face + faces]]
        volumes.append(abs(np.linalg.det(corners).sum()) / 6)
    assert volumes[0] == 0 and (np.diff(volumes) >= -1e-9).all()
    treated = (trajectory.snapshot_dose[-1] >= DOSE).sum() * anatomy.voxel_volume
    assert volumes[-1] == pytest.approx(treated, rel=0.25)  # smooth against stairs


def test_each_frame_is_described(plain_case, frames):
    said, trajectory = frames[2], plain_case.trajectory
    sample = np.searchsorted(trajectory.t, trajectory.snapshot_t)
    np.testing.assert_allclose(said["coverage"], trajectory.coverage[sample], atol=1e-4)
    assert said["worst"][-1] == 8  # see conftest
    shares = frames[3]["paper.power"].astype(float) / 255 * trajectory.power.sum(axis=1).max()
    mean = trajectory.power[sample[0]:sample[1]].mean(axis=0)
    np.testing.assert_allclose(shares[1], mean, atol=0.1)


def test_scene_shows_what_is_planned(plain_case):
    scene, packed = build_scene(make_inputs(plain_case))
    traces = {trace.name: trace for trace in scene["figures"]["scene"].data}
    assert set(traces) == {"body", "target", "beam", "lesion", "constrained points", "foci"}
    assert len(traces["constrained points"].x) == 24
    np.testing.assert_allclose(np.column_stack([traces["foci"][axis] for axis in "xyz"]),
                               plain_case.plan.foci * 1e3, rtol=1e-5)
    # The beam comes from above.
    up = scene["figures"]["scene"].layout.scene.camera.up
    assert (up.x, up.y, up.z) == tuple(-plain_case.anatomy.axis)
    assert scene["has_temperature"] is False and "paper.temperature0" not in packed.index
    assert set(scene["controllers"]) == {"paper", "mintime"}


def test_scene_survives_a_focus_smaller_than_its_sampling(plain_case, tmp_path):
    """Of one cell, between every second one of the grid."""
    for hot in ((21, 17, 12), (20, 17, 13), (0, 0, 0)):
        with Heating.opened(plain_case.heating_path) as heating:
            q = np.zeros_like(heating.q[:])
            q[(slice(None), *hot)] = 2e6
            tiny = replace(heating, q=q)
            tiny.save(tmp_path / "heating.h5", "test", "0" * 64)
        scene, _ = build_scene(make_inputs(plain_case, heating_path=tmp_path / "heating.h5"))
        beam = next(trace for trace in scene["figures"]["scene"].data if trace.name == "beam")
        centre = np.mean([beam.x, beam.y, beam.z], axis=1)
        expected = plain_case.anatomy.position(np.array(hot)) * 1e3
        np.testing.assert_allclose(centre, expected, atol=0.1)


def test_shares_of_the_target_by_sorting_each_sample(plain_case):
    trajectory = plain_case.trajectory
    rng = np.random.default_rng(3)
    outputs = replace(trajectory.outputs, volume=rng.random(len(trajectory.outputs.volume)))
    hot = 37 + 8 * rng.random(trajectory.target_temperature.shape)
    found = target_shares(replace(trajectory, outputs=outputs, target_temperature=hot))
    volume = outputs.volume[outputs.target]
    for name, part in (("t90", 0.9), ("t50", 0.5), ("t10", 0.1)):
        above = np.array([volume[row >= level].sum() / volume.sum()
                          for row, level in zip(hot, found[name], strict=True)])
        next_above = np.array([volume[row > level].sum() / volume.sum()
                               for row, level in zip(hot, found[name], strict=True)])
        assert (above >= part - 1e-9).all() and (next_above < part).all()
    np.testing.assert_allclose(found["mean"], (hot * volume).sum(axis=1) / volume.sum())


def test_the_first_frame_is_the_end_of_the_treatment(plain_case):
    """One time for one thing: that of the table, not of the nearest regular picture."""
    t = plain_case.trajectory.snapshot_t
    metrics = dict(plain_case.metrics, treatment_time_s=float(t[7]))
    treatments = {"paper": (plain_case.trajectory, metrics),
                  "mintime": (plain_case.trajectory, {"status": "complete"})}
    scene, _ = build_scene(make_inputs(plain_case, treatments=treatments))
    assert scene["controllers"]["paper"]["end"] == 7
    assert scene["controllers"]["mintime"]["end"] == len(t) - 1


def test_curves_are_the_trajectorys(plain_case):
    trajectory, prescription = plain_case.trajectory, plain_case.settings.prescription
    traces = {trace.name: trace for trace in live_figures.course(trajectory, prescription).data}
    np.testing.assert_allclose(traces["power"].y, trajectory.power.sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(traces["location 8"].y, trajectory.constraint_temperature[:, 7],
                               rtol=1e-6)
    np.testing.assert_allclose(traces["all 24 locations"].y,
                               trajectory.constraint_temperature.max(axis=1), rtol=1e-6)
    both = {"paper": trajectory, "mintime": trajectory}
    compared = live_figures.compare(both, prescription).data
    assert [trace.y.max() for trace in compared] == pytest.approx([
        trajectory.coverage.max(), (trajectory.constraint_temperature - 43).max()] * 2, rel=1e-5)
    curve = live_figures.histogram({"paper": trajectory}, prescription).data[0]
    at = np.searchsorted(curve.x, prescription.dose)
    assert curve.y[at] == pytest.approx(trajectory.coverage[-1], abs=1e-5)


def test_lines_on_logarithmic_axes_are_named_where_they_stand(plain_case):
    figure = live_figures.histogram({"paper": plain_case.trajectory},
                                    plain_case.settings.prescription)
    assert figure.layout.shapes[0].x0 == DOSE
    assert figure.layout.annotations[0].x == pytest.approx(np.log10(DOSE))


def test_no_focus_vanishes_between_the_columns_of_the_course(plain_case):
    trajectory = plain_case.trajectory
    figure = live_figures.course(trajectory, plain_case.settings.prescription)
    drawn = next(trace for trace in figure.data if trace.type == "heatmap")
    assert len(drawn.x) == np.shape(drawn.z)[1] <= live_figures.COLUMNS < len(trajectory.t)
    np.testing.assert_allclose(np.nanmax(drawn.z, axis=1), trajectory.power.max(axis=0))
    letters = [note.text for note in figure.layout.annotations if note.text.startswith("<b>")]
    assert letters == [f"<b>{letter}</b>" for letter in "abcd"]
