from pathlib import Path

from hifuflow.acoustics.plan import plan_treatment
from hifuflow.job import job
from hifuflow.records.anatomy import Anatomy

with job("plan", snakemake.log[0]):
    anatomy = Anatomy.load(Path(snakemake.input[0]).parent)
    config = snakemake.params.config
    plan_treatment(anatomy, config["device"], config).save(snakemake.output[0])
