"""Many patients: two cores against one, what jobs cost beside their work, what 1,000 would take.

    python benchmarks/throughput.py [--patients 20] [--reference results/breast_reference]

Nothing is asserted. The last table is an extrapolation, and says so.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "workflow"))

import slurm_cluster

SMALL = ROOT / "tests" / "patients" / "breast_small.yaml"
GOAL = 1.8
CHAIN = 6  # SLURM jobs one after the other: prepare, heating, assemble, reduce, control, finish
SLURM = ("--cores", "2", "--workflow-profile", "workflow/profiles/slurm",
         "--slurm-init-seconds-before-status-checks", "1")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
               "MPLBACKEND": "Agg"}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)  # else every job compiles what it imports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--until", nargs="+", default=["all"], help="last rules, for a shorter run")
    parser.add_argument("--reference", type=Path, default=ROOT / "results" / "breast_reference")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = [f"p{i:02d}" for i in range(arguments.patients)]
        (folder / "patients").mkdir()
        for patient in ("first", *names):
            shutil.copy(SMALL, folder / "patients" / f"{patient}.yaml")
        until = ("--until", *arguments.until)
        run(folder, ["first"], "first", "--cores", "2", *until)  # compiles forms, warms the caches
        alone, _ = run(folder, names, "alone", "--cores", "1", *until)
        both, _ = run(folder, names, "both", "--cores", "2", *until)
        done = jobs(folder / "alone")
        print(f"{len(names)} small patients, {len(done)} jobs: one after the other {alone:.0f} s, "
              f"on two cores {both:.0f} s, {alone / both:.2f} times (goal {GOAL})")
        overhead = {"Snakemake, per rule": (alone - sum(job["s"] for job in done)) / len(done)}
        reason = slurm_cluster.why_not()
        if reason is None:
            cluster = slurm_cluster.Slurm(folder / "slurm")
            try:
                queued, said = run(folder, names[:1], "queued", *SLURM, *until)
            finally:
                cluster.stop()
            local, _ = run(folder, names[:1], "local", "--cores", "2", *until)
            submitted = min(said.count("submitted with SLURM jobid"), CHAIN)
            overhead["SLURM, per submitted job"] = (queued - local) / submitted
        for what, seconds in overhead.items():
            print(f"{what}: {seconds:.1f} s beside its work")
        if reason:
            print(f"SLURM: not measured ({reason})")
    if (arguments.reference / "benchmarks").is_dir():
        extrapolate(arguments.reference, max(overhead.values()))


def run(folder: Path, names, results: str, *options) -> tuple[float, str]:
    """Seconds on the clock that a run of these patients takes, and what it prints."""
    command = [sys.executable, "-m", "snakemake", *options, "--config",
               f"patients=[{','.join(names)}]", f"patients_dir={folder / 'patients'}",
               f"results_dir={folder / results}"]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.perf_counter() - start, done.stdout + done.stderr


def jobs(results: Path) -> list[dict]:
    """What the benchmark files say, one dict a job: seconds on the clock and of CPU."""
    found = []
    for path in sorted(results.rglob("benchmarks/*.tsv")):
        with open(path) as stream:
            row = list(csv.DictReader(stream, delimiter="\t"))[-1]
        found.append({"job": path.stem, "s": float(row["s"]), "cpu_s": float(row["cpu_time"])})
    return found


def extrapolate(reference: Path, overhead: float, patients: int = 1000) -> None:
    """What many patients like one finished one would take."""
    done = jobs(reference)
    work = sum(job["cpu_s"] for job in done) + overhead * CHAIN
    longest = sum(job["cpu_s"] for job in done if job["job"] != "control_paper") + overhead * CHAIN
    size = sum(path.stat().st_size for path in reference.rglob("*") if path.is_file())
    print(f"\nEXTRAPOLATED, not run: {patients:,} patients like {reference.name} "
          f"({work / 3600:.2f} core-hours and {size / 1e9:.2f} GB each)")
    print(f"{'cores':>8}{'hours':>10}{'core-hours':>12}{'storage':>10}")
    for cores in (10, 100, 1000):
        hours = max(work * patients / cores, longest) / 3600
        print(f"{cores:8,}{hours:10.1f}{work * patients / 3600:12,.0f}"
              f"{size * patients / 1e12:8.2f} TB")


if __name__ == "__main__":
    main()
