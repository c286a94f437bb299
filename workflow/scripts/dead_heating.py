from pathlib import Path

from hifuflow.acoustics.dead_elements import compute_dead_heating
from hifuflow.acoustics.settings import HeatingSettings
from hifuflow.job import job
from hifuflow.job_record import recorded
from hifuflow.provenance import config_hash
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.heating import HeatingFile
from hifuflow.records.plan import Plan

config, wildcards = snakemake.params.config, snakemake.wildcards
with (
    job("dead heating", snakemake.log[0], snakemake.threads), recorded(snakemake),
    HeatingFile.create(snakemake.output[0], wildcards.patient, config_hash(config)) as file,
):
    file.complete(compute_dead_heating(
        Anatomy.load(Path(snakemake.input.anatomy[0]).parent),
        Plan.load(snakemake.input.plan[0]),
        HeatingSettings.read(config),
        int(wildcards.count),
        int(wildcards.seed),
        snakemake.threads,
        file.allocate,
    ))
