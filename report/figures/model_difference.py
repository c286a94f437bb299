"""Error of the controller's model in each treatment, as text for the report."""

from __future__ import annotations

from hifuflow.report.facts import MISSING
from hifuflow.report.inputs import ReportInputs

KINDS = {"constraint": "Constrained points", "target": "Target"}
# Measured by tests/validation/bioheat_meshes.py.
FINER_MESH = ("The finer one flattens the focus itself: on the reference patient's 16,400 cells "
              "the hottest voxel's rise is 10 % too small at the end of a pulse of 6 s and 1 % too "
              "small 20 s later, and the mean over the focus is 0.2 % off.")


def model_differences(inputs: ReportInputs) -> dict:
    """Controller -> rows (label, text), from `model_difference` of the metrics."""
    records = {name: metrics.get("model_difference")
               for name, (_, metrics) in inputs.treatments.items()}
    return {name: _rows(record) for name, record in records.items() if record}


def what_differs(inputs: ReportInputs) -> str:
    """Cause of the difference, in words: the mesh alone, or the patient's tissue too."""
    control, plant = (inputs.mesh_records.get(model, {}).get("n_cells")
                      for model in ("control", "plant"))
    cells = f" ({control:,} and {plant:,} cells)" if control and plant else ""
    text = ("The powers of each treatment, replayed through the controller's model, against the "
            "patient's temperatures. ")
    deviating = inputs.settings.deviations
    if deviating:
        return text + (f"The two differ in their meshes{cells} and in what the patient file says "
                       f"of the patient: {', '.join(deviating)}.")
    return text + (f"The two differ in their meshes alone{cells}: this is the discretization "
                   "error of the controller's model, measured by the finer one. " + FINER_MESH)


def _rows(record: dict) -> list[tuple[str, str]]:
    rows = []
    for kind, label in KINDS.items():
        rows += [(f"{label}, {name}", _off(record[kind][f"{key}_k"],
                                           record[kind][f"{key}_fraction"], whole))
                 for name, key, whole in (("root mean square", "rms", "root mean square"),
                                          ("largest", "max", "largest"))]
    time, ratio = record["time_to_t90_s"], record["t90_ratio"]
    return [*rows,
            ("Dose that 90 % of the target got, model over patient",
             MISSING if ratio is None else f"{ratio:.2f}"),
            ("Time until 90 % had the dose, model and patient",
             " and ".join("never" if time[who] is None else f"{time[who]:,.0f} s"
                          for who in ("model", "patient")))]


def _off(value, fraction, whole: str) -> str:
    if value is None:
        return "no such points"
    share = "" if fraction is None else f" ({fraction:.1%} of the {whole} rise)"
    return f"{value:.3f} K{share}"
