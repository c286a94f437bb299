"""Tables of plan, meshes and certificate for the page."""

from __future__ import annotations

import numpy as np

from .facts import MISSING
from .inputs import ReportInputs


def plan_table(inputs: ReportInputs) -> list[tuple[str, str]]:
    """Rows (label, text) of the plan."""
    plan, prescription, view = inputs.plan, inputs.prescription, inputs.view
    anatomy = inputs.anatomy
    heights = np.unique(np.round(plan.foci @ view.upright * 1e3, 1))
    axis = ", ".join(f"{value:g}" for value in np.round(plan.axis, 3))
    apex = ", ".join(f"{value * 1e3:.1f}" for value in plan.apex)
    volume = anatomy.target_mask.sum() * anatomy.voxel_volume * 1e6
    rows = [
        ("Target", f"{', '.join(anatomy.target)}, {volume:.2f} ml"),
        ("Regions", ", ".join(f"{name} ({region['tissue']})"
                              for name, region in anatomy.regions.items())),
        ("Prescribed dose", f"{prescription.dose:g} CEM43 to "
                            f"{100 * prescription.coverage:.0f} % of the target"),
        ("Highest power, longest time", f"{prescription.max_power:g} W, "
                                        f"{prescription.max_time:,.0f} s"),
        ("Foci", f"{len(plan.foci)}, {plan.spacing_m * 1e3:.3g} mm apart, on "
                 f"{view.name(view.upright)} = {', '.join(f'{h:g}' for h in heights)} mm"),
        ("Focus in water (-6 dB)", f"{plan.focal_width_m * 1e3:.1f} x "
                                   f"{plan.focal_length_m * 1e3:.1f} mm; the foci cover "
                                   f"{100 * plan.coverage:.0f} % of the target, with the "
                                   f"spread of heat {100 * plan.spread_coverage:.0f} %"),
        ("Transducer's apex, direction", f"({apex}) mm, ({axis})"),
        ("Constrained locations", ", ".join(f"{surface['n_points']} on {surface['name']}"
                                            for surface in inputs.constraints["surfaces"])),
        ("Thermometry", f"every {inputs.settings.imaging_interval:g} s"),
    ]
    said = [*anatomy.record.get("notes", []), *inputs.constraints.get("notes", []), *plan.warnings]
    return rows + [("Warning", warning) for warning in said]


def mesh_table(inputs: ReportInputs) -> dict:
    """Model -> rows of (label, text) with the region volumes against those of the label map."""
    tables = {}
    for model, record in inputs.mesh_records.items():
        rows = [("Tetrahedra", number(record.get("n_cells"))),
                ("Vertices", number(record.get("n_vertices"))),
                ("Unknowns", number(inputs.unknowns.get(model))),
                ("Lowest quality", number(record.get("min_quality"))),
                ("Quality, first percentile", number(record.get("quality_p01"))),
                ("Smallest dihedral angle (degrees)", number(record.get("min_dihedral_deg"))),
                ("Its first percentile over cells", number(record.get("dihedral_p01_deg"))),
                ("Made by", number(record.get("method", {}).get("route")))]
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
    """Rows (label, text) of the reduction's certificate, known entries first, nested ones flat."""
    certificate = dict(certificate)
    reason = certificate.pop("not_certified_because", None)
    if "certified" in certificate:
        certificate["certified"] = ("against the full model" if certificate["certified"]
                                    else f"not certified: {reason}")
    known = [key for key in CERTIFICATE if key in certificate]
    drawn = ("error_against_order",)  # shown as a figure
    others = [key for key in certificate if key not in CERTIFICATE and key not in drawn]
    rows = []
    for key in known + others:
        label, value = CERTIFICATE.get(key, key), certificate[key]
        if isinstance(value, dict):
            rows += [(f"{label}, {part}", text) for part, text in flatten(value)]
        else:
            rows.append((label, number(value)))
    return rows


def flatten(values: dict, prefix: str = ""):
    """Yield (label, text) of all entries; labels of nested entries are joined."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key} · ")
        else:
            yield f"{prefix}{key}", number(value)


def number(value) -> str:
    """A value as text."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


CERTIFICATE = {
    "certified": "Certified", "model": "Made elsewhere, read from", "method": "Method",
    "order": "Order", "full_order": "Order of the full model",
    "hinf_error_relative": "H-infinity error, relative",
    "hinf_bound_relative": "H-infinity bound, relative",
    "max_output_error_k": "Largest output error in a replayed treatment (K)",
    "stable": "Stable", "seconds": "Seconds", "peak_memory_bytes": "Peak memory (bytes)",
    "rom_sha256": "Reduced model (sha256)", "full_model_sha256": "Full model (sha256)",
}
