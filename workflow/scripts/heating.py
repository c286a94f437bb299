from pathlib import Path

from acoustics.heating import compute_heating
from hifuflow.artifacts import Anatomy, HeatingFile, Plan
from hifuflow.job import job
from hifuflow.provenance import config_hash

config = snakemake.params.config
with job("heating", snakemake.log[0], snakemake.threads), HeatingFile.create(
    snakemake.output[0], snakemake.wildcards.patient, config_hash(config)) as file:
    file.complete(compute_heating(
        Anatomy.load(Path(snakemake.input.anatomy[0]).parent),
        Plan.load(snakemake.input.plan[0]),
        config["device"],
        config["tissues"],
        config["acoustics"],
        snakemake.threads,
        file.allocate,
    ))
