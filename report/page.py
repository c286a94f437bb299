"""The page: one self-contained HTML file with everything about a treatment."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from hifuflow.job import Progress, atomic

from . import live_figures
from .facts import MISSING, compare_with_paper
from .figures import Drawn, draw_all
from .inputs import ReportInputs
from .limits import limit_table, status_cell
from .model_difference import model_differences, what_differs
from .scene import build_scene

DPI = 170
CSS_PIXELS_PER_INCH = 122  # on screen a figure of a journal's width fills the page's column
MAX_EVENTS = 200
SECTIONS = ("treatment", "plan", "models", "ensemble")  # with figures, as they follow on the page

CERTIFICATE = {
    "order": "Order", "full_order": "Order of the full model",
    "hinf_error_relative": "H-infinity error, relative",
    "hinf_bound_relative": "H-infinity bound, relative",
    "max_output_error_k": "Largest output error in a replayed treatment (K)",
    "stable": "Stable", "seconds": "Seconds", "peak_memory_bytes": "Peak memory (bytes)",
}


def write_report(inputs: ReportInputs, out_dir) -> Path:
    """Draw all figures (`figures/*.png`) and write `index.html`; returns the page's path.

    Raises
    ------
    InputError : a file that the report needs cannot be read.
    """
    out_dir = Path(out_dir)
    figures = []
    runs = len(inputs.treatments)
    of_models = 9 + ("error_against_order" in inputs.certificate) + bool(inputs.ensembles)
    of_treatments = 2 * runs + 1 + (runs > 1) if runs else 0
    with Progress("report", total=of_models + of_treatments, unit="figures") as progress:
        for drawn in draw_all(inputs):
            figures.append(_store(drawn, out_dir / "figures"))
            progress.advance(note=drawn.name)
    figures.sort(key=lambda figure: SECTIONS.index(figure["section"]))
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("index.html.j2").render(**_context(inputs, figures))
    with atomic(out_dir / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out_dir / "index.html"


def _store(drawn: Drawn, folder: Path) -> dict:
    """Write the figure as PNG; returns what the template shows of it."""
    buffer = io.BytesIO()
    drawn.figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    with atomic(folder / f"{drawn.name}.png") as temporary:
        temporary.write_bytes(buffer.getvalue())
    return {"name": drawn.name, "section": drawn.section, "title": drawn.title,
            "caption": drawn.caption,
            "wide": drawn.figure.get_size_inches()[0] > 6,
            "width": round(drawn.figure.get_size_inches()[0] * CSS_PIXELS_PER_INCH),
            "data": base64.b64encode(buffer.getvalue()).decode()}


def _context(inputs: ReportInputs, figures: list[dict]) -> dict:
    return {
        "patient": inputs.patient,
        "description": inputs.config.get("description", ""),
        "statuses": {name: status_cell(metrics.get("status"))
                     for name, (_, metrics) in inputs.treatments.items()},
        "controllers": list(inputs.treatments),
        "rows": limit_table(inputs),
        "paper": compare_with_paper(inputs),
        "plan": plan_table(inputs),
        "figures": figures,
        "meshes": mesh_table(inputs),
        "certificate": certificate_table(inputs.certificate),
        "differences": model_differences(inputs), "what_differs": what_differs(inputs),
        "events": {name: _events(trajectory)
                   for name, (trajectory, _) in inputs.treatments.items()},
        "provenance": list(_flatten(inputs.provenance)),
        "config": json.dumps(inputs.config, indent=2, ensure_ascii=False, default=str),
        "missing": MISSING,
        "dose": f"{inputs.prescription['dose_cem43_min']:g}",
        "ensemble": any(figure["section"] == "ensemble" for figure in figures),
        **_live(inputs),
    }


def _live(inputs: ReportInputs) -> dict:
    """The interactive figures and the viewer's frames, and the library that draws them."""
    figures = {f"course_{name}": live_figures.course(trajectory, inputs.prescription)
               for name, (trajectory, _) in inputs.treatments.items()}
    viewer, frames = None, b""
    if inputs.treatments:
        trajectories = {name: pair[0] for name, pair in inputs.treatments.items()}
        figures["dose"] = live_figures.histogram(trajectories, inputs.prescription)
        if len(trajectories) > 1:
            figures["controllers"] = live_figures.compare(trajectories, inputs.prescription)
        viewer, packed = build_scene(inputs)
        figures |= viewer.pop("figures")
        viewer["index"], frames = packed.index, packed.content
    if inputs.hsv is not None and len(inputs.hsv):
        figures["reduction"] = live_figures.hankel(inputs.hsv, inputs.error_bound,
                                                   inputs.rom_order)
    if "error_against_order" in inputs.certificate:
        figures["truncation"] = live_figures.truncation(inputs.certificate["error_against_order"],
                                                        inputs.rom_order)
    plain = {name: json.loads(figure.update_layout(template="none").to_json())
             for name, figure in figures.items()}
    content = json.dumps({"figures": plain, "viewer": viewer}, allow_nan=False)
    return {"live": set(figures), "viewer": viewer, "plotly": _deflated(get_plotlyjs().encode()),
            "live_data": _deflated(content.encode()), "frame_data": _deflated(frames)}


def _deflated(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()


def plan_table(inputs: ReportInputs) -> list[tuple[str, str]]:
    """What is planned, line by line."""
    plan, prescription, view = inputs.plan, inputs.prescription, inputs.view
    anatomy = inputs.anatomy
    heights = np.unique(np.round(plan.foci @ view.upright * 1e3, 1))
    axis = ", ".join(f"{value:g}" for value in np.round(plan.axis, 3))
    apex = ", ".join(f"{value * 1e3:.1f}" for value in plan.apex)
    volume = anatomy.target_mask.sum() * anatomy.voxel_volume * 1e6
    interval = inputs.config.get("thermometry", {}).get("interval_s")
    rows = [
        ("Target", f"{', '.join(anatomy.target)}, {volume:.2f} ml"),
        ("Regions", ", ".join(f"{name} ({region['tissue']})"
                              for name, region in anatomy.regions.items())),
        ("Prescribed dose", f"{prescription['dose_cem43_min']:g} CEM43 to "
                            f"{100 * prescription['coverage']:.0f} % of the target"),
        ("Highest power, longest time", f"{prescription['max_power_w']:g} W, "
                                        f"{prescription['max_time_s']:,.0f} s"),
        ("Foci", f"{len(plan.foci)}, {plan.spacing_m * 1e3:.3g} mm apart, on "
                 f"{view.name(view.upright)} = {', '.join(f'{h:g}' for h in heights)} mm"),
        ("Focus in water (-6 dB)", f"{plan.focal_width_m * 1e3:.1f} x "
                                   f"{plan.focal_length_m * 1e3:.1f} mm; the foci cover "
                                   f"{100 * plan.coverage:.0f} % of the target, with the "
                                   f"spread of heat {100 * plan.spread_coverage:.0f} %"),
        ("Transducer's apex, direction", f"({apex}) mm, ({axis})"),
        ("Constrained locations", ", ".join(f"{surface['n_points']} on {surface['name']}"
                                            for surface in inputs.constraints["surfaces"])),
        ("Thermometry", f"every {interval:g} s" if interval else MISSING),
    ]
    return rows + [("Warning", warning) for warning in plan.warnings]


def mesh_table(inputs: ReportInputs) -> dict:
    """Model -> rows of (label, text) with the region volumes against those of the label map."""
    tables = {}
    for model, record in inputs.mesh_records.items():
        rows = [("Tetrahedra", _number(record.get("n_cells"))),
                ("Vertices", _number(record.get("n_vertices"))),
                ("Unknowns", _number(inputs.unknowns.get(model))),
                ("Lowest quality", _number(record.get("min_quality"))),
                ("Quality, first percentile", _number(record.get("quality_p01"))),
                ("Smallest dihedral angle (degrees)", _number(record.get("min_dihedral_deg"))),
                ("Its first percentile over cells", _number(record.get("dihedral_p01_deg"))),
                ("Made by", _number(record.get("method", {}).get("route")))]
        for name, region in record.get("regions", {}).items():
            volume, voxels = region.get("volume_m3"), region.get("label_volume_m3")
            text = MISSING
            if volume is not None and voxels:
                off = 100 * (volume / voxels - 1)
                text = f"{volume * 1e6:,.2f} ml ({off:+.1f} % against the label map)"
            lumped = [part for part in region.get("lumped", []) if part != name]
            label = f"Volume of {name}" + (f", with {', '.join(lumped)}" if lumped else "")
            rows.append((label, text))
        tables[model] = rows
    return tables


def certificate_table(certificate: dict) -> list[tuple[str, str]]:
    """The reduction's certificate, known entries first; nested entries are spread out."""
    known = [key for key in CERTIFICATE if key in certificate]
    drawn = ("error_against_order",)  # shown as a figure
    others = [key for key in certificate if key not in CERTIFICATE and key not in drawn]
    rows = []
    for key in known + others:
        label, value = CERTIFICATE.get(key, key), certificate[key]
        if isinstance(value, dict):
            rows += [(f"{label}, {part}", text) for part, text in _flatten(value)]
        else:
            rows.append((label, _number(value)))
    return rows


def _flatten(values: dict, prefix: str = ""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key} · ")
        else:
            yield f"{prefix}{key}", _number(value)


def _number(value) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _events(trajectory) -> dict:
    rows = [(f"{time:,.0f}", str(text))
            for time, text in zip(trajectory.event_time, trajectory.event, strict=True)]
    return {"rows": rows[:MAX_EVENTS], "total": len(rows)}
