from pathlib import Path

from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.settings import AnatomySettings
from hifuflow.job import job
from hifuflow.job_record import recorded

with job("anatomy", snakemake.log[0]), recorded(snakemake):
    anatomy = build_anatomy(AnatomySettings.read(snakemake.params.config))
    anatomy.save(Path(snakemake.output.regions).parent)
