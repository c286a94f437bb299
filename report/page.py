"""The report page: one self-contained HTML file with everything about a treatment."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path

from plotly.offline import get_plotlyjs

from hifuflow.errors import HifuflowError
from hifuflow.job import Progress, atomic, log
from hifuflow.report.browser.scene import build_scene
from hifuflow.report.figures.captions import Drawn, all_figures
from hifuflow.report.figures.model_difference import model_differences, what_differs

from .browser import curves as live_figures
from .facts import MISSING, compare_with_paper
from .html_page import write_page
from .inputs import ReportInputs
from .limits import limit_table, status_cell
from .tables import certificate_table, flatten, mesh_table, plan_table

DPI = 170  # of the figures' PNG files
CSS_PIXELS_PER_INCH = 122  # a figure of a journal's width then fills the page's column
MAX_EVENTS = 200  # listed for one treatment
NARROWEST_WIDE = 6  # inches; wider figures take the whole column
SECTIONS = ("treatment", "plan", "models", "ensemble")  # with figures, in the order of the page
# The page without interactive figures.
STILL = {"live": set(), "viewer": None, "plotly": "", "live_data": "", "frame_data": ""}


def write_report(inputs: ReportInputs, out_dir) -> Path:
    """Draw all figures (`figures/*.png`) and write `index.html`; returns the page's path.

    A figure that cannot be drawn does not affect the others or the tables: the page names it.

    Raises
    ------
    HifuflowError : a file that the report needs cannot be read, or a result cannot be written.
    """
    out_dir, undrawn = Path(out_dir), []
    figures = _draw_figures(inputs, out_dir / "figures", undrawn)
    live = _attempt("the moving pictures", undrawn, _live, inputs) or STILL
    write_page(out_dir / "index.html", "index.html.j2", **_context(inputs, figures), **live,
               undrawn=undrawn)
    return out_dir / "index.html"


def _draw_figures(inputs: ReportInputs, folder: Path, undrawn: list) -> list[dict]:
    """Draw and write every figure; returns their template entries in the order of the page."""
    figures, to_draw = [], all_figures(inputs)
    with Progress("report", total=len(to_draw), unit="figures") as progress:
        for draw in to_draw:
            name = "_".join([draw.func.__name__.strip("_"), *draw.keywords.values()])
            stored = _attempt(f"figure {name}", undrawn, lambda draw: _store(draw(), folder), draw)
            figures += [stored] if stored else []
            progress.advance(note=name)
    return sorted(figures, key=lambda figure: SECTIONS.index(figure["section"]))


def _attempt(what: str, undrawn: list, function, *arguments):
    """Result of a function that draws; None, and a line in `undrawn`, if the program is at fault.

    Faults of a file are raised.
    """
    try:
        return function(*arguments)
    except (HifuflowError, OSError):
        raise
    except Exception as error:
        undrawn.append(f"{what}: {type(error).__name__}: {error}")
        log.warning("%s could not be drawn: a fault of the program, please report it", what,
                    exc_info=True)
        return None


def _store(drawn: Drawn, folder: Path) -> dict:
    """Write the figure as PNG; returns its entry for the template."""
    buffer = io.BytesIO()
    drawn.figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    with atomic(folder / f"{drawn.name}.png") as temporary:
        temporary.write_bytes(buffer.getvalue())
    return {"name": drawn.name, "section": drawn.section, "title": drawn.title,
            "caption": drawn.caption,
            "wide": drawn.figure.get_size_inches()[0] > NARROWEST_WIDE,
            "width": round(drawn.figure.get_size_inches()[0] * CSS_PIXELS_PER_INCH),
            "data": base64.b64encode(buffer.getvalue()).decode()}


def _context(inputs: ReportInputs, figures: list[dict]) -> dict:
    return {
        "patient": inputs.patient,
        "description": inputs.settings.description,
        "faults": inputs.settings.faults,
        "statuses": {name: status_cell(metrics.get("status"))
                     for name, (_, metrics) in inputs.treatments.items()},
        "reasons": {name: metrics["status_reason"]
                    for name, (_, metrics) in inputs.treatments.items()
                    if metrics.get("status_reason")},
        "controllers": list(inputs.treatments),
        "rows": limit_table(inputs),
        "paper": compare_with_paper(inputs),
        "plan": plan_table(inputs),
        "figures": figures,
        "meshes": mesh_table(inputs),
        "certificate": certificate_table(inputs.certificate),
        "certificate_note": inputs.certificate_note,
        "differences": model_differences(inputs), "what_differs": what_differs(inputs),
        "events": {name: _events(trajectory)
                   for name, (trajectory, _) in inputs.treatments.items()},
        "provenance": list(flatten(inputs.provenance)),
        "config": json.dumps(inputs.settings.config, indent=2, ensure_ascii=False, default=str),
        "missing": MISSING,
        "dose": f"{inputs.prescription.dose:g}",
        "ensemble": any(figure["section"] == "ensemble" for figure in figures),
    }


def _live(inputs: ReportInputs) -> dict:
    """Template entries of the interactive figures and the viewer, with the library for them."""
    figures = {f"course_{name}": live_figures.course(trajectory, inputs.prescription,
                                                     inputs.hold_settings(name))
               for name, (trajectory, _) in inputs.treatments.items()}
    viewer, frames = None, b""
    if inputs.treatments:
        trajectories = {name: pair[0] for name, pair in inputs.treatments.items()}
        figures["dose"] = live_figures.histogram(trajectories, inputs.prescription)
        if len(trajectories) > 1:
            figures["controllers"] = live_figures.compare(trajectories, inputs.prescription,
                                                          inputs.holding)
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


def _events(trajectory) -> dict:
    rows = [(f"{time:,.0f}", str(text))
            for time, text in zip(trajectory.event_time, trajectory.event, strict=True)]
    return {"rows": rows[:MAX_EVENTS], "total": len(rows)}
