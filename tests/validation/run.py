"""Long real runs held against reference values: `make validate`.

Prints computed | reference | allowed for every check and fails when one is off. Each check names
where its reference comes from. `make validate ARGS="fields meshing"` runs these parts only.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "validation"))

RESULTS = "results/validation"


@dataclass
class Check:
    """One computed number against its reference.

    Attributes
    ----------
    name : what is compared.  computed, reference : the two numbers.
    low, high : range that `computed` must lie in.  origin : where the reference is from.
    """

    name: str
    computed: float
    reference: float | None
    low: float
    high: float
    origin: str

    @property
    def passed(self) -> bool:
        return self.low <= self.computed <= self.high


def within(name, computed, reference, fraction, origin) -> Check:
    """A check of `computed` against `reference` to a relative tolerance."""
    margin = abs(reference) * fraction
    return Check(name, computed, reference, reference - margin, reference + margin, origin)


def at_most(name, computed, limit, origin) -> Check:
    """A check of `computed` against an upper limit."""
    return Check(name, computed, None, float("-inf"), limit, origin)


def run_patient(name: str, patients_dir: str) -> Path:
    """Run the whole workflow for a patient and return its folder of results."""
    subprocess.run([sys.executable, "-m", "snakemake", "--cores", "all", "--config",
                    f"patients=[{name}]", f"patients_dir={patients_dir}",
                    f"results_dir={RESULTS}"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    return ROOT / RESULTS / name


def print_table(checks: list[Check]) -> None:
    """Computed | reference | allowed, one line a check."""
    width = max(len(check.name) for check in checks)
    print(f"\n{'check':{width}}  {'computed':>12}  {'reference':>12}  {'allowed':>25}        "
          "origin")
    for check in checks:
        reference = "-" if check.reference is None else f"{check.reference:.6g}"
        allowed = (f"<= {check.high:.4g}" if check.low == float("-inf")
                   else f"{check.low:.5g} .. {check.high:.5g}")
        print(f"{check.name:{width}}  {check.computed:12.6g}  {reference:>12}  {allowed:>25}  "
              f"{'ok  ' if check.passed else 'OFF '}  {check.origin}")


PARTS = ("bioheat", "bioheat_meshes", "bioheat_treatment", "fields", "grids", "meshing", "models",
         "patients", "planning", "reduced", "synthetic", "treatments")


def main(wanted: list[str]) -> int:
    """Run the parts that are wanted (all if none is named): files beside this one."""
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        print(f"no such part: {', '.join(unknown)} (there are {', '.join(PARTS)})", file=sys.stderr)
        return 2
    checks: list[Check] = []
    for part in wanted or PARTS:
        checks += importlib.import_module(part).checks()
    print_table(checks)
    off = [check for check in checks if not check.passed]
    print(f"\n{len(checks) - len(off)} of {len(checks)} checks hold")
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
