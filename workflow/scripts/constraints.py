from pathlib import Path

from hifuflow.anatomy.constraints import place_constraints
from hifuflow.job import job, write_json
from hifuflow.records.anatomy import Anatomy

with job("constraints", snakemake.log[0]):
    anatomy = Anatomy.load(Path(snakemake.input[0]).parent)
    write_json(snakemake.output[0], place_constraints(anatomy, snakemake.params.config))
