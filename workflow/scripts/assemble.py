from pathlib import Path

from hifuflow.fem.model import write_model
from hifuflow.fem.ranks import run_on_ranks
from hifuflow.fem.settings import ModelSettings
from hifuflow.job import job
from hifuflow.job_record import recorded
from hifuflow.provenance import config_hash

files, output, config = snakemake.input, Path(snakemake.output[0]), snakemake.params.config
with job(f"assemble {snakemake.wildcards.model}", snakemake.log[0]), recorded(snakemake):
    run_on_ranks(
        snakemake.resources.get("mpi"),
        snakemake.resources.get("tasks", 1),
        output.with_name(f".{output.stem}-ranks"),
        write_model,
        output,
        snakemake.wildcards.patient,
        files.mesh,
        Path(files.anatomy[0]).parent,
        files.heating[0],
        files.constraints[0],
        ModelSettings.read(config),
        config_hash(config),
    )
