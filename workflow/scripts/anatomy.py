from pathlib import Path

from hifuflow.job import job
from meshes.anatomy import build_anatomy

with job("anatomy", snakemake.log[0]):
    anatomy = build_anatomy(snakemake.params.config)
    anatomy.save(Path(snakemake.output.regions).parent)
