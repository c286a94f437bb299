# From segmented anatomy to a controlled focused-ultrasound treatment, for every patient listed in
# config/config.yaml. `python -m hifuflow validate PATIENT.yaml` checks a patient file by itself.
import sys

from hifuflow.config import InvalidConfig, Study
from hifuflow.provenance import code_hash
from hifuflow.resume import clear_stale_locks
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


try:
    study = Study.from_config(config)
except InvalidConfig as error:
    sys.exit(f"The configuration cannot be used:\n{error}")

if workflow.is_main_process:
    clear_stale_locks()

RESULTS = f"{study.results_dir}/{{patient}}"


wildcard_constraints:
    patient="|".join(study.patients),
    model="control|plant",
    controller="[a-z]+",


include: "workflow/rules/common.smk"
include: "workflow/rules/anatomy.smk"
include: "workflow/rules/acoustics.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/treatment.smk"


rule all:
    default_target: True
    input:
        [f"{study.results_dir}/{name}/report/index.html" for name in study.patients],


onsuccess:
    shell("{sys.executable} -m hifuflow summary {study.results_dir} " + " ".join(study.patients))
