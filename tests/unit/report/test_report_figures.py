"""The figures show what their captions say: read back from what was drawn."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from hifuflow.numerics.tetrahedra import smallest_dihedral
from hifuflow.records.heating import Heating
from hifuflow.report.figures.acoustics import (
    beam_over_anatomy,
    central_heating,
    focal_gain,
    full_width,
    heating_pattern,
    steering_gain,
    steers,
)
from hifuflow.report.figures.anatomy import ellipsoid_mesh, geometry, planned_foci, surface
from hifuflow.report.figures.models import (
    cut_tetrahedra,
    hankel,
    mesh_angles,
    mesh_cuts,
    read_tetrahedra,
    truncation_errors,
)
from hifuflow.report.figures.treatment import (
    compare_controllers,
    dose_histogram,
    dose_volume,
    lesion,
    treatment_course,
    worst_points,
)
from hifuflow.report.figures.view import View, ellipsoid_value


def artists(figure, gid):
    return figure.findobj(lambda artist: artist.get_gid() == gid)


def area(contours):
    """Area of filled contours by the shoelace formula over all their rings [units squared]."""
    total = 0.0
    for path in contours.get_paths():
        for ring in path.to_polygons():
            x, y = ring.T
            total += 0.5 * np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])
    return abs(total)


def test_geometry_shows_every_constrained_point(case):
    figure = geometry(case.anatomy, case.constraints, View.of(case.anatomy.axis))
    shown = [artists(figure, f"constraints {side}")[0] for side in ("behind", "in front")]
    assert sum(len(line.get_data_3d()[0]) for line in shown) == 24
    assert all(len(line.get_data_3d()[0]) > 3 for line in shown)
    # The beam comes from above: the axis is turned so that depth grows downwards.
    low, high = figure.axes[0].get_zlim()
    assert (low > high) == (case.anatomy.axis.sum() > 0)


def test_a_target_of_a_few_voxels_has_a_surface(plain_case):
    """Smoothed for the picture, eight voxels are nowhere half full any more; nor is one."""
    for edge in (1, 2):
        mask = np.zeros(plain_case.anatomy.labels.shape, bool)
        mask[20:20 + edge, 18:18 + edge, 13:13 + edge] = True
        for coarse in (False, True):
            vertices, faces = surface(plain_case.anatomy, mask, coarse)
            centre = plain_case.anatomy.position(np.argwhere(mask)).mean(axis=0)
            np.testing.assert_allclose(vertices.mean(axis=0), centre, atol=2e-4)
            assert len(faces) > 4


def test_ellipsoid_mesh_lies_on_the_ellipsoid(plain_case):
    surface = plain_case.constraints["surface"]
    vertices, faces = ellipsoid_mesh(surface)
    np.testing.assert_allclose(ellipsoid_value(vertices, surface), 1)
    corners = vertices[faces] - surface["centre_m"]
    volume = np.abs(np.linalg.det(corners)).sum() / 6
    assert volume == pytest.approx(4 / 3 * np.pi * np.prod(surface["semi_axes_m"]), rel=0.02)


def test_planned_foci_are_all_marked_where_they_are(case):
    view = View.of(case.anatomy.axis)
    figure = planned_foci(case.anatomy, case.plan, view)
    (marks,) = artists(figure, "foci")
    expected = case.plan.foci @ np.column_stack(view.across) * 1e3
    np.testing.assert_allclose(np.column_stack(marks.get_data()), expected)
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert numbers == [str(i + 1) for i in range(9)]


def test_planned_foci_one_panel_per_plane(plain_case):
    plan = plain_case.plan
    two = type(plan)(plan.apex, plan.axis, np.vstack([plan.foci, plan.foci + 0.004 * plan.axis]),
                     plan.spacing_m)
    figure = planned_foci(plain_case.anatomy, two, View.of(plan.axis))
    assert [len(line.get_xdata()) for line in artists(figure, "foci")] == [9, 9]


def test_heating_shows_the_central_focus_at_the_power(case):
    view = View.of(case.anatomy.axis)
    heating = central_heating(case.heating_path, case.anatomy)
    np.testing.assert_allclose(heating.foci, case.plan.foci[[4]])
    figure = heating_pattern(heating, case.anatomy, 22, view)
    images = [ax.images[0].get_array() for ax in figure.axes[:3]]
    # 2e6 W/m3/W at the focus, whose nearest voxel is a little off it, times 22 W.
    assert max(image.max() for image in images) == pytest.approx(44, rel=0.2)
    along = figure.axes[8].lines[0]
    assert along.get_ydata().max() == pytest.approx(max(image.max() for image in images), rel=0.01)
    low, high = figure.axes[0].get_ylim()
    assert (low > high) == (case.anatomy.axis.sum() > 0)


def test_beam_is_drawn_over_the_anatomy_in_decibels(case):
    view = View.of(case.anatomy.axis)
    figure = beam_over_anatomy(central_heating(case.heating_path, case.anatomy), case.anatomy, view)
    heat = figure.axes[0].images[1].get_array()
    assert heat.max() == pytest.approx(0, abs=1) and heat.min() >= -30
    low, high = figure.axes[0].get_ylim()
    assert (low > high) == (case.anatomy.axis.sum() > 0)


def test_focal_gain_shows_every_focus_and_all_the_power(case):
    view = View.of(case.anatomy.axis)
    figure = focal_gain(case.heating_path, case.plan.apex, case.plan.axis, view)
    (dots,) = (part for part in figure.axes[0].collections if part.get_gid() == "gain")
    gain = np.linspace(6, 4, 9) ** 2 / 36
    np.testing.assert_allclose(np.sort(dots.get_array()), np.sort(gain))
    bars = [bar.get_width() for bar in figure.axes[2].patches]
    assert sum(bars) == pytest.approx(100) and bars[0] == pytest.approx(40)


def test_steering_map_marks_every_focus_where_it_is_steered(plain_case, tmp_path):
    plan, view = plain_case.plan, View.of(plain_case.anatomy.axis)
    assert not steers(plain_case.heating_path)
    lateral, axial = np.linspace(-0.02, 0.02, 9), np.linspace(-0.03, 0.03, 7)
    gain = np.exp(-(lateral / 0.02) ** 2) * np.exp(-(axial[:, None] / 0.03) ** 2)
    steering = {"gain": np.stack([gain, gain / 2]), "lateral_m": lateral, "axial_m": axial,
                "across": np.eye(3)[:2], "limit_m": np.array([0.016, 0.024]),
                "focus_m": plan.foci.mean(axis=0) - [0, 0, 0.005]}
    heating = replace(Heating.load(plain_case.heating_path), steering=steering)
    heating.save(tmp_path / "heating.h5", "test", "0" * 64)
    assert steers(tmp_path / "heating.h5")
    figure = steering_gain(tmp_path / "heating.h5", plan, view)
    for i, ax in enumerate(figure.axes[:2]):
        (dots,) = (line for line in ax.lines if line.get_gid() == "steered foci")
        np.testing.assert_allclose(sorted(dots.get_xdata()), np.repeat([-4, 0, 4], 3), atol=1e-9)
        np.testing.assert_allclose(dots.get_ydata(), 5)
        (shown,) = (part for part in ax.collections if part.get_gid() == "steering gain")
        np.testing.assert_allclose(shown.get_array(), steering["gain"][i])
        (limits,) = ax.patches
        assert (limits.get_width(), limits.get_height()) == pytest.approx((32, 48))
        assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the beam comes from above


def test_full_width_of_a_gaussian():
    x = np.linspace(-0.02, 0.02, 401)
    sigma = 0.0017
    width = full_width(x, np.exp(-x**2 / (2 * sigma**2)))
    assert width == pytest.approx(sigma * np.sqrt(8 * np.log(2)), rel=1e-3)


def test_lesion_area_is_that_of_the_dose(case):
    figure = lesion(case.anatomy, case.trajectory, case.constraints, 240,
                    View.of(case.anatomy.axis))
    drawn = sum(area(contours) for contours in artists(figure, "lesion"))
    voxels = dose_volume(case.anatomy, case.trajectory) >= 240
    assert drawn == pytest.approx(voxels.sum() * 4.0, rel=0.06)


def test_lesion_is_shown_to_its_end(case):
    """A burn far from the target is on a slice of its own, and inside the picture."""
    index = case.trajectory.voxel_index
    view, dose = View.of(case.anatomy.axis), case.trajectory.voxel_dose.copy()
    place = case.anatomy.position(index)
    far = np.argsort(np.linalg.norm(place - place.mean(axis=0), axis=1))[-12:]
    dose[far] = 1e4
    burnt = replace(case.trajectory, voxel_dose=dose)
    figure = lesion(case.anatomy, burnt, case.constraints, 240, view)
    panels = [ax for ax in figure.axes if ax.get_title("left")]
    heights = [float(ax.get_title("left").split()[-2]) for ax in panels]
    spots, along = place[far] * 1e3, place[far] @ view.upright * 1e3
    assert along.min() > min(heights) - 1 and along.max() < max(heights) + 1
    for axis, limits in zip(view.across, (panels[0].get_xlim(), panels[0].get_ylim()),
                            strict=True):
        assert min(limits) < (spots @ axis).min() and (spots @ axis).max() < max(limits)
    assert not all(ax.get_title("right") for ax in panels)  # no target there, no share of it


def test_lesion_marks_the_untreated_part(case):
    figure = lesion(case.anatomy, case.trajectory, case.constraints, 240,
                    View.of(case.anatomy.axis))
    missing = artists(figure, "untreated")
    left = case.anatomy.target_mask & (dose_volume(case.anatomy, case.trajectory) < 240)
    assert sum(area(contours) for contours in missing) == pytest.approx(left.sum() * 4, rel=0.25)
    shares = [ax.get_title("right") for ax in figure.axes if ax.get_title("right")]
    assert shares[0] == "0 %" and shares[-1] == "100 %"


def test_lesion_shows_constrained_points_without_a_surface(case):
    surface = {"name": "skin", "kind": "skin", "n_points": 24}
    constraints = {**case.constraints, "name": ["skin"] * 24, "surface": surface,
                   "surfaces": [surface]}
    view = View.of(case.anatomy.axis)
    figure = lesion(case.anatomy, case.trajectory, constraints, 240, view)
    points = np.asarray(constraints["position_m"]) * 1e3
    shown = [xy for ax in figure.axes for line in ax.lines
             if line.get_gid() == "constrained points" for xy in line.get_xydata()]
    assert len(shown) > 3
    across = points @ np.column_stack(view.across)
    for xy in shown:
        assert np.linalg.norm(across - xy, axis=1).min() < 1e-6
    assert not any(line.get_linestyle() == "-." for ax in figure.axes for line in ax.lines)


def test_course_shows_power_limit_and_coverage(case):
    trajectory = case.trajectory
    figure = treatment_course(trajectory, case.settings.prescription)
    for line in artists(figure, "limit"):
        assert set(line.get_ydata()) == {43.0}
    assert len(artists(figure, "limit")) == 2
    for line in artists(figure, "power"):
        np.testing.assert_array_equal(line.get_ydata(), trajectory.power.sum(axis=1))
    for line in artists(figure, "coverage"):
        np.testing.assert_array_equal(line.get_ydata(), trajectory.coverage)
    marks = artists(figure, "foci")[0].get_offsets()
    assert len(marks) == np.count_nonzero(trajectory.power)
    assert figure.axes[0].get_xlim() == (0, 500)
    assert worst_points(trajectory)[0] == 7


def test_course_shorter_than_the_early_part_has_one_column(plain_case):
    trajectory = plain_case.trajectory
    figure = treatment_course(trajectory, plain_case.settings.prescription, early=1e4)
    assert len(figure.axes) == 4


def test_comparison_has_a_line_per_controller(plain_case):
    figure = compare_controllers({"a": plain_case.trajectory, "b": plain_case.trajectory},
                                 plain_case.settings.prescription)
    over = figure.axes[1].lines[0].get_ydata()
    assert over.max() == pytest.approx(plain_case.trajectory.constraint_temperature.max() - 43)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["a", "b"]


def test_dose_histogram_passes_through_the_coverage(plain_case):
    trajectory = plain_case.trajectory
    figure = dose_histogram({"paper": trajectory}, plain_case.settings.prescription)
    dose, share = artists(figure, "histogram")[0].get_data()
    assert share[0] == pytest.approx(1)
    assert share[dose >= 240].max() == pytest.approx(trajectory.coverage[-1])


def test_cut_of_a_cube_has_the_cross_sections_area():
    corners = np.array(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")).reshape(3, -1).T * 1.0
    cells = np.array([[0, 1, 3, 7], [0, 1, 5, 7], [0, 2, 3, 7], [0, 2, 6, 7], [0, 4, 5, 7],
                      [0, 4, 6, 7]])
    for normal, height, expected in (((0, 0, 1), 0.3, 1.0), ((1, 1, 1), 1.5, 1.299038),
                                     ((0, 0, 1), 1.0, 1.0)):
        normal = np.array(normal) / np.linalg.norm(normal)
        height = height / np.linalg.norm((1, 1, 1)) if normal[0] else height
        polygons, owner = cut_tetrahedra(corners, cells, normal, height)
        total = sum(0.5 * np.linalg.norm(sum(np.cross(p[i] - p[0], p[i + 1] - p[0])
                                             for i in range(1, len(p) - 1))) for p in polygons)
        assert total == pytest.approx(expected, rel=1e-5)
        assert len(owner) == len(polygons)


def test_mesh_cuts_are_coloured_by_region(case):
    _, cells, regions = read_tetrahedra(case.mesh_paths["plant"])
    assert set(regions) == {"fat", "tumour"} and cells.shape[1] == 4
    figure = mesh_cuts(case.mesh_paths, case.anatomy, View.of(case.anatomy.axis))
    for ax in figure.axes:
        (cut,) = (c for c in ax.collections if isinstance(c, PolyCollection))
        assert len(np.unique(cut.get_facecolor(), axis=0)) == 2


def test_truncation_plot_shows_each_method():
    record = {"order": [10, 30, 90], "balanced_k": [1.0, 0.1, 1e-3], "modal_k": [9.0, 5.0, 2.0],
              "reachable_space_k": [2.0, 0.2, 2e-3]}
    lines = {line.get_gid(): line for line in truncation_errors(record, 90).axes[0].lines}
    for key in ("balanced_k", "modal_k", "reachable_space_k"):
        np.testing.assert_array_equal(lines[key].get_xydata(), list(zip(record["order"],
                                                                        record[key], strict=True)))


def test_hankel_plot_shows_values_and_bound():
    hsv = 10.0 ** -np.arange(8)
    bound = 2 * np.append(np.cumsum(hsv[::-1])[::-1][1:], 0)
    figure = hankel(hsv, bound, 5, 1000)
    np.testing.assert_allclose(artists(figure, "hsv")[0].get_ydata(), hsv)
    np.testing.assert_allclose(artists(figure, "bound")[0].get_ydata(), bound[:-1])


def test_angles_of_known_tetrahedra(case):
    regular = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])
    corner = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    cells = np.array([[0, 2, 1, 3], [4, 5, 6, 7]])
    angles = smallest_dihedral(np.vstack([regular, corner]), cells)
    np.testing.assert_allclose(angles, np.degrees(np.arccos([1 / 3, 1 / np.sqrt(3)])))
    figure = mesh_angles(case.mesh_paths)
    for name in case.mesh_paths:
        shape, = artists(figure, f"angles {name}")
        # Every bin's height stands twice in its outline; all cells are in some bin.
        assert shape.get_xy()[:, 1].sum() == pytest.approx(2)
