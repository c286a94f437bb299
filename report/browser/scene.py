"""The treatment in space: 3-D view and slices, with frames for the time slider."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from hifuflow.report.figures.acoustics import central_heating
from hifuflow.report.figures.anatomy import SKIN, isosurface, surface
from hifuflow.report.figures.style import LESION, ORANGE, TARGET, region_colours
from hifuflow.report.figures.treatment import LOWEST_DOSE, constraint_limits
from hifuflow.report.goals import is_hyperthermia
from hifuflow.report.inputs import ReportInputs

from .frames import (
    CELSIUS_STEP,
    DOSE_STEP,
    LENGTH_STEP,
    Packed,
    VoxelTemperatures,
    nearest_region,
    pack_controller,
    shown_box,
    slice_axes,
)

BEAM_LEVEL = 0.1  # of the central focus's highest heating
# The scale of the figures, with the coldest end transparent so that the anatomy shows.
OVERLAY = [[0, "rgba(255,255,255,0)"], [0.08, "rgba(253,227,180,0.55)"],
           [0.3, "rgba(246,169,90,0.85)"], [0.55, "rgba(217,98,43,0.92)"],
           [0.8, "rgba(156,42,40,0.96)"], [1, "rgba(74,18,54,1)"]]
ROOM = [[0, "#c9dced"], [0.5, "#56b4e9"], [0.857, "#0072b2"], [0.858, "#d55e00"], [1, "#d55e00"]]
AXES = "xyz"
ZOOM = 1.4
PLANES = {2: "axial", 1: "coronal", 0: "sagittal"}


def build_scene(inputs: ReportInputs) -> tuple[dict, Packed]:
    """Figures and description of the viewer, and the frames of every controller.

    Returns
    -------
    scene : {"figures": {"scene", "slice0", ...}, "controllers": {name: times and numbers of each
        frame}, and the steps and limits for reading the frames}.
    packed : the frames, see `frames.pack_controller`.
    """
    anatomy, prescription = inputs.anatomy, inputs.prescription
    temperatures = (VoxelTemperatures.load(inputs.plant_path)
                    if inputs.plant_path else None)
    dose = prescription.dose
    lesions = [trajectory.voxel_index[trajectory.voxel_dose >= dose]
               for trajectory, _ in inputs.treatments.values()]
    box = shown_box(anatomy, inputs.constraints, lesions)
    planes, packed = slice_axes(anatomy, box), Packed()
    said = {name: {**pack_controller(packed, name, trajectory, anatomy, box, planes, temperatures,
                                     dose), "held": is_hyperthermia(metrics),
                   **_end(metrics.get("treatment_time_s"), trajectory)}
            for name, (trajectory, metrics) in inputs.treatments.items()}
    hottest = max(max(frames["hottest"]) for frames in said.values())
    figures = {"scene": view3d(inputs, box)}
    for number, plane in enumerate(planes):
        figures[f"slice{number}"] = slice_figure(inputs, plane, hottest, dose)
    limits = constraint_limits(next(iter(inputs.treatments.values()))[0])
    return {"figures": figures, "controllers": said, "origin_mm": _millimetres(
                anatomy.position(box[0])).tolist(),
            "length_mm": LENGTH_STEP * 1e3, "celsius": CELSIUS_STEP, "log_dose": DOSE_STEP,
            "hottest": hottest, "has_temperature": temperatures is not None,
            "log_prescribed": float(np.log10(dose)), "log_lowest": float(np.log10(LOWEST_DOSE)),
            "limits": [float(limit) if np.isfinite(limit) else None for limit in limits],
            "overlay": OVERLAY}, packed


def _end(time: float | None, trajectory) -> dict:
    """Time at which the treatment ended, and the nearest frame; without a time, the last frame."""
    frames = trajectory.snapshot_t
    if time is None:
        return {"ended_s": None, "end": len(frames) - 1}
    return {"ended_s": round(time, 3), "end": int(np.abs(frames - time).argmin())}


def view3d(inputs: ReportInputs, box) -> go.Figure:
    """3-D view of body, target, constrained points, foci and beam; the slider adds the lesion."""
    anatomy, view = inputs.anatomy, inputs.view
    figure = go.Figure()
    _mesh(figure, "body", surface(anatomy, anatomy.body_mask, coarse=True), SKIN, 0.22)
    _mesh(figure, "target", surface(anatomy, anatomy.target_mask), TARGET, 0.25)
    beam = _beam(inputs)
    if beam is not None:
        _mesh(figure, "beam", beam, ORANGE, 0.28)
    _mesh(figure, "lesion", (np.zeros((0, 3)), np.zeros((0, 3), int)), LESION, 1.0)
    points = _millimetres(np.asarray(inputs.constraints["position_m"]).reshape(-1, 3))
    _points(figure, "constrained points", points, "location", {
        "size": 3.5, "color": np.zeros(len(points)), "cmin": -6, "cmax": 1, "colorscale": ROOM})
    _points(figure, "foci", _millimetres(inputs.plan.foci), "focus", {
        "size": np.full(len(inputs.plan.foci), 3.0), "color": ORANGE, "symbol": "diamond",
        "line": {"color": "#5a3a00", "width": 1}})
    low, high = (_millimetres(anatomy.position(corner)) for corner in box)
    up = -view.depth
    eye = 1.05 * view.across[0] - 1.15 * view.across[1] + 0.6 * up
    labels = [view.label(unit) for unit in np.eye(3)]
    figure.update_layout(
        height=560, margin={"l": 0, "r": 0, "t": 0, "b": 0},
        legend={"orientation": "h", "y": 0, "yanchor": "top"},
        scene={"aspectmode": "manual", "aspectratio": _aspect(low, high),
               "camera": {"up": _vector(up), "eye": _vector(eye),
                          "projection": {"type": "orthographic"}},
               **{f"{name}axis": {"title": {"text": label}, "range": [a, b], "nticks": 5}
                  for name, label, a, b in zip(AXES, labels, low, high, strict=True)}})
    body = _millimetres(anatomy.position(np.argwhere(anatomy.body_mask)))
    figure.update_layout(meta={name: {
        **{f"scene.{axis}axis.range": [float(a), float(b)]
           for axis, a, b in zip(AXES, start, end, strict=True)},
        "scene.aspectratio": _aspect(start, end)}
        for name, start, end in (("near", low, high),
                                 ("whole", body.min(axis=0) - 5, body.max(axis=0) + 5))})
    return figure


def slice_figure(inputs: ReportInputs, plane: dict, hottest: float, dose: float) -> go.Figure:
    """One plane: anatomy, the slider's quantity over it, outlines of target and lesion."""
    anatomy, view = inputs.anatomy, inputs.view
    right, up, normal = plane["right"], plane["up"], plane["normal"]
    x, y = (anatomy.affine[axis, 3] * 1e3 + anatomy.spacing[axis] * 1e3 * ticks
            for axis, ticks in zip((right, up), plane["ticks"], strict=True))
    labels = nearest_region(anatomy, plane)
    colours = region_colours(anatomy)
    scale, numbers, names = [], np.full(labels.shape, np.nan), list(colours)
    for number, name in enumerate(names):
        numbers[labels == anatomy.regions[name]["label"]] = number
        tint = "#f6c4a8" if name in anatomy.target else colours[name]
        scale += [[number / len(names), tint], [(number + 1) / len(names), tint]]
    figure = go.Figure()
    figure.add_heatmap(x=x, y=y, z=numbers.astype(np.float32), zmin=-0.5, zmax=len(names) - 0.5,
                       colorscale=scale, showscale=False, hoverinfo="skip", name="anatomy")
    empty = np.zeros(labels.shape, dtype=np.float32)
    figure.add_heatmap(x=x, y=y, z=empty, zmin=37, zmax=hottest, zsmooth="best",
                       colorscale=OVERLAY, showscale=False, name="shown",
                       hovertemplate="%{x:.1f}, %{y:.1f} mm: %{z:.1f}<extra></extra>")
    target = np.isin(labels, [anatomy.regions[name]["label"] for name in anatomy.target])
    for z, level, name, colour, dash, width in (
            (target.astype(np.float32), 0.5, "target", TARGET, "dash", 2),
            (empty - 3, float(np.log10(dose)), "lesion", LESION, "solid", 3)):
        figure.add_contour(x=x, y=y, z=z, autocontour=False, showscale=False, hoverinfo="skip",
                           contours={"coloring": "none", "start": level, "end": level, "size": 1},
                           line={"color": colour, "width": width, "dash": dash}, name=name)
    at = (anatomy.affine[normal, 3] + anatomy.spacing[normal] * plane["at"]) * 1e3
    name = PLANES[normal] if view.anatomical else f"{AXES[right]}–{AXES[up]}"
    figure.update_layout(height=330, margin={"l": 48, "r": 8, "t": 30, "b": 40}, showlegend=False,
                         title={"text": f"{name}, {AXES[normal]} = {at:.1f} mm",
                                "font": {"size": 13}, "x": 0.02, "y": 0.97})
    units = np.eye(3)
    figure.update_xaxes(title_text=view.label(units[right]), showgrid=False, zeroline=False,
                        constrain="domain")
    figure.update_yaxes(title_text=view.label(units[up]), showgrid=False, zeroline=False,
                        scaleanchor="x", constrain="domain")
    if abs(view.depth[up]) > 0.7 and view.deeper_is_larger:
        figure.update_yaxes(autorange="reversed")  # the beam comes from above, as everywhere
    return figure


def _beam(inputs: ReportInputs):
    """Surface where the heating is `BEAM_LEVEL` of the central focus's maximum, or None."""
    if inputs.heating_path is None:
        return None
    heating = central_heating(inputs.heating_path, inputs.anatomy)
    q = heating.q[0]
    if q.max() <= 0:
        return None
    vertices, faces = isosurface(np.pad(q, 1), BEAM_LEVEL * float(q.max()), 2)
    return (vertices - 1) @ heating.affine[:3, :3].T + heating.affine[:3, 3], faces


def _mesh(figure, name, mesh, colour, opacity) -> None:
    vertices, faces = mesh
    x, y, z = np.round(_millimetres(vertices), 2).astype(np.float32).T
    i, j, k = (np.ascontiguousarray(column, dtype=np.int32) for column in faces.T)
    figure.add_mesh3d(x=x, y=y, z=z, i=i, j=j, k=k, color=colour, opacity=opacity, name=name,
                      showlegend=True, hoverinfo="skip", flatshading=False,
                      lighting={"ambient": 0.55, "diffuse": 0.7, "specular": 0.15})


def _points(figure, name, points, word, marker) -> None:
    x, y, z = points.astype(np.float32).T
    figure.add_scatter3d(x=x, y=y, z=z, mode="markers", name=name, marker=marker,
                         text=[f"{word} {n}" for n in range(1, len(points) + 1)],
                         hovertemplate="%{text}<br>%{x:.1f}, %{y:.1f}, %{z:.1f} mm<extra></extra>")


def _aspect(low, high) -> dict:
    """Aspect ratio of the box, true to scale, with a longest edge of `ZOOM`."""
    return _vector(ZOOM * (high - low) / (high - low).max())


def _millimetres(points) -> np.ndarray:
    return np.asarray(points) * 1e3


def _vector(values) -> dict:
    return dict(zip(AXES, map(float, values), strict=True))
