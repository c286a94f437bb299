# From segmented anatomy to a controlled focused-ultrasound treatment, for every patient listed in
# config/config.yaml. `python -m hifuflow validate PATIENT.yaml` checks a patient file by itself.
import math
import re
import subprocess
import sys

from hifuflow.config import InvalidConfig, Study
from hifuflow.errors import InputError
from hifuflow.provenance import code_hash
from hifuflow.resources import expected, requested, sizes, useful_threads
from hifuflow.resume import claim, clear_stale_locks
from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/config/config.yaml"


report: "workflow/report/workflow.rst"


try:
    study = Study.from_config(config)
except InvalidConfig as error:
    sys.exit(f"The configuration cannot be used:\n{error}")

if workflow.is_main_process:
    try:
        clear_stale_locks()
    except InputError as error:
        sys.exit(f"The run cannot start:\n{error}")

RESULTS = f"{study.results_dir}/{{patient}}"


wildcard_constraints:
    patient="|".join(map(re.escape, study.patients)),
    model="control|plant",
    controller="|".join(sorted({c for p in study.patients.values() for c in p.controllers})),


include: "workflow/rules/common.smk"
include: "workflow/rules/anatomy.smk"
include: "workflow/rules/acoustics.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/treatment.smk"
include: "workflow/rules/ensemble.smk"


rule all:
    default_target: True
    input:
        [f"{study.results_dir}/{name}/{file}" for name in study.patients
         for file in ("report/index.html", "export/treatment.vtkhdf")],
        f"{study.results_dir}/summary.html",
        [
            f"{study.results_dir}/{name}/ensemble/{controller}.json"
            for name, patient in study.patients.items()
            for controller in patient.ensemble_controllers
        ],


def print_summary():
    """How each treatment ended and where its report is, or why there is none."""
    subprocess.run(
        [sys.executable, "-m", "hifuflow", "summary", study.results_dir, *study.patients]
    )


onstart:
    try:
        claim(study.results_dir, study.patients)
    except InputError as error:
        sys.exit(f"The run cannot start:\n{error}")


onsuccess:
    print_summary()


onerror:
    print_summary()
