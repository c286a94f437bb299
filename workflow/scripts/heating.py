from pathlib import Path

from acoustics.heating import compute_heating
from hifuflow.artifacts import Anatomy, Plan
from hifuflow.job import job
from hifuflow.provenance import config_hash

config = snakemake.params.config
with job("heating", snakemake.log[0], snakemake.threads):
    heating = compute_heating(
        Anatomy.load(Path(snakemake.input.anatomy[0]).parent),
        Plan.load(snakemake.input.plan[0]),
        config["device"],
        config["tissues"],
        config["acoustics"],
        snakemake.threads,
    )
    heating.save(snakemake.output[0], snakemake.wildcards.patient, config_hash(config))
