"""Memory and CPU time of the workflow's jobs, measured and as `workflow/resources.yaml` expects.

    python benchmarks/resources.py                                  the table
    python benchmarks/resources.py --add PATIENT.yaml RESULTS ...   take in a finished run
    python benchmarks/resources.py --fit                            fit the coefficients anew

Measurements come from the `benchmark:` files of a run and are kept in benchmarks/resources.csv,
one line a job with the sizes of its model. The fit is least squares of the relative errors with
coefficients that are not negative.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hifuflow.job import DONE, read_json
from hifuflow.study import resources
from hifuflow.study.patient import load_patient

RECORD = ROOT / "benchmarks" / "resources.csv"
MODELS = ("control", "plant")
NEGLIGIBLE = {"memory_mb": 50, "cpu_s": 10}  # starting Python and loading libraries varies as much
# Jobs whose cost differs from that of the others of their rule.
APART = {("control", "mintime"), ("mesh", "control")}
# The sizes that each rule's memory and CPU time grow with.
TERMS = {
    "anatomy": (("base", "mvoxels"), ("base", "mvoxels")),
    "constraints": (("base", "mvoxels"), ("base", "mvoxels")),
    "plan": (("base", "mvoxels"), ("base", "mvoxels")),
    "mesh": (("base", "kcells"), ("base", "kcells")),
    "heating": (("base", "mcells_beam", "mcells_beam_foci"), ("base", "mcells_beam_foci")),
    "assemble": (("base", "kcells", "mcells_beam_foci"),
                 ("base", "kcells43", "mcells_beam_foci")),
    "reduce": (("base", "kcells", "kstates2"), ("base", "kcells", "kstates3")),
    "control": (("base", "kcells", "kstates2"),
                ("base", "ksamples_kcells", "ksamples_kstates2")),
    "export": (("base", "kcells", "mcells_beam"), ("base", "mcells_beam")),
    "report": (("base", "kcells", "mcells_beam"), ("base", "kcells", "mcells_beam")),
}


def measured(patient_file, folder) -> list[dict]:
    """One row for each benchmark file of a finished run."""
    patient, folder, rows = load_patient(patient_file), Path(folder), []
    for path in sorted((folder / "benchmarks").glob("*.tsv")):
        rule, _, part = path.stem.partition("_")
        if rule not in TERMS:
            continue
        metrics = folder / "control" / part / "metrics.json"
        treatment = read_json(metrics)["treatment_time_s"] if rule == "control" else None
        size = resources.sizes(patient, folder, part if part in MODELS else None, treatment)
        with open(path) as stream:
            job = list(csv.DictReader(stream, delimiter="\t"))[-1]
        # A benchmark file misses what processes that ended early have used; the log does not.
        done = DONE.search((folder / "logs" / f"{path.stem}.log").read_text().strip())
        seconds = max(float(job["cpu_time"]), float(done[1] or 0) if done else 0)
        rows.append({"patient": patient.name, "rule": rule, "part": part,
                     "memory_mb": float(job["max_rss"]), "cpu_s": seconds, **size})
    return rows


def read_record() -> list[dict]:
    """The measurements that are kept."""
    text = ("patient", "rule", "part")
    with open(RECORD) as stream:
        return [{key: value if key in text else float(value) for key, value in row.items()}
                for row in csv.DictReader(stream)]


def comparison(rows: list[dict]) -> list[tuple]:
    """(job, memory [MB]: measured, expected; CPU time [s]: measured, expected) of each row."""
    return [(f"{row['patient']}: {row['rule']} {row['part']}", row["memory_mb"], memory,
             row["cpu_s"], seconds)
            for row in rows
            for memory, seconds in [resources.expected(row["rule"], row["part"], row)]]


def group(row: dict) -> str:
    """Name under which a job's coefficients stand."""
    apart = (row["rule"], row["part"]) in APART
    return f"{row['rule']}_{row['part']}" if apart else row["rule"]


def fit(rows: list[dict]) -> dict:
    """Coefficients of every rule that has been measured."""
    groups: dict[str, list] = {}
    for row in rows:
        groups.setdefault(group(row), []).append(row)
    return {name: {what: _coefficients(rows, what, terms)
                   for what, terms in zip(("memory_mb", "cpu_s"), TERMS[re.split("_", name)[0]],
                                          strict=True)}
            for name, rows in groups.items()}


def _coefficients(rows, what, terms) -> dict:
    value = np.array([row[what] for row in rows])
    weight = 1 / (value + NEGLIGIBLE[what])
    matrix = np.array([[row[term] for term in terms] for row in rows])
    found, _ = nnls(matrix * weight[:, None], value * weight)
    return {term: float(f"{number:.3g}")
            for term, number in zip(terms, found, strict=True) if number}


def write_fit() -> None:
    """Replace `rules:` in workflow/resources.yaml; the rest of the file stays."""
    head = resources.TABLE.read_text().partition("\nrules:")[0]
    lines = []
    for name, parts in fit(read_record()).items():
        lines.append(f"  {name}:")
        for what, values in parts.items():
            content = ", ".join(f"{term}: {number:g}" for term, number in values.items())
            lines.append(f"    {what}: {{{content}}}")
    resources.TABLE.write_text(head + "\nrules:\n" + "\n".join(lines) + "\n")
    resources.table.cache_clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--add", nargs="+", metavar="PATIENT.yaml RESULTS")
    parser.add_argument("--fit", action="store_true")
    arguments = parser.parse_args()
    if arguments.add:
        rows = [row for patient, folder in zip(arguments.add[::2], arguments.add[1::2], strict=True)
                for row in measured(patient, folder)]
        kept = [row for row in (read_record() if RECORD.is_file() else [])
                if row["patient"] not in {new["patient"] for new in rows}]
        with open(RECORD, "w") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows({key: f"{value:.4g}" if isinstance(value, float) else value
                              for key, value in row.items()} for row in kept + rows)
    if arguments.fit:
        write_fit()
    print(f"{'job':<36}{'memory MB':>12}{'expected':>10}{'ratio':>7}"
          f"{'CPU s':>9}{'expected':>10}{'ratio':>7}")
    for job, memory, memory_expected, seconds, seconds_expected in comparison(read_record()):
        print(f"{job:<36}{memory:12.0f}{memory_expected:10.0f}{memory_expected / memory:7.2f}"
              f"{seconds:9.1f}{seconds_expected:10.1f}{seconds_expected / seconds:7.2f}")


if __name__ == "__main__":
    main()
