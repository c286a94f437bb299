from pathlib import Path

from hifuflow.acoustics.plan import plan_treatment
from hifuflow.acoustics.settings import PlanSettings
from hifuflow.job import job
from hifuflow.job_record import recorded
from hifuflow.records.anatomy import Anatomy

with job("plan", snakemake.log[0]), recorded(snakemake):
    anatomy = Anatomy.load(Path(snakemake.input[0]).parent)
    settings = PlanSettings.read(snakemake.params.config)
    plan_treatment(anatomy, settings).save(snakemake.output[0])
