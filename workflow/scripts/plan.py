from pathlib import Path

from acoustics.plan import plan_treatment
from hifuflow.artifacts import Anatomy
from hifuflow.job import job

with job("plan", snakemake.log[0]):
    anatomy = Anatomy.load(Path(snakemake.input[0]).parent)
    config = snakemake.params.config
    plan_treatment(anatomy, config["device"], config).save(snakemake.output[0])
