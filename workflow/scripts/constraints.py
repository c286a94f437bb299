from pathlib import Path

from hifuflow.anatomy.constraints import place_constraints
from hifuflow.anatomy.settings import ConstraintSettings
from hifuflow.job import job, write_json
from hifuflow.job_record import recorded
from hifuflow.records.anatomy import Anatomy

with job("constraints", snakemake.log[0]), recorded(snakemake):
    anatomy = Anatomy.load(Path(snakemake.input[0]).parent)
    settings = ConstraintSettings.read(snakemake.params.config)
    write_json(snakemake.output[0], place_constraints(anatomy, settings))
