from pathlib import Path

from fem.model import build_model
from hifuflow.artifacts import Anatomy, Heating
from hifuflow.job import job, read_json
from hifuflow.provenance import config_hash

config, model = snakemake.params.config, snakemake.wildcards.model
with job(f"assemble {model}", snakemake.log[0], snakemake.threads), \
        Heating.opened(snakemake.input.heating[0]) as heating:
    bioheat = build_model(
        snakemake.input.mesh,
        Anatomy.load(Path(snakemake.input.anatomy[0]).parent),
        heating,
        read_json(snakemake.input.constraints[0]),
        config,
    )
    bioheat.save(snakemake.output[0], snakemake.wildcards.patient, config_hash(config))
