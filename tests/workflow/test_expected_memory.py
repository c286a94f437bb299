"""What the jobs of a run take is what they were expected to take.

Only memory: seconds depend on the machine (`python benchmarks/resources.py` compares both).
"""

import importlib.util

from hifuflow.provenance import ROOT


def test_memory_is_within_a_factor_of_two(coarse_run, patients_dir):
    spec = importlib.util.spec_from_file_location("calibration", ROOT / "benchmarks/resources.py")
    calibration = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(calibration)
    rows = calibration.measured(patients_dir / "breast_small.yaml", coarse_run)
    assert {row["rule"] for row in rows} == set(calibration.TERMS)
    off = [f"{job}: {memory:.0f} MB, expected {expected:.0f} MB"
           for job, memory, expected, *_ in calibration.comparison(rows)
           if not 0.5 < expected / memory < 2
           and abs(expected - memory) > calibration.NEGLIGIBLE["memory_mb"]]
    assert not off, "python benchmarks/resources.py --add PATIENT.yaml RESULTS --fit: " + "; ".join(
        off)
