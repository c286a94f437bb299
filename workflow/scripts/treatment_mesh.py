from pathlib import Path

from hifuflow.controller.metrics import link_best_treatment
from hifuflow.job import job
from hifuflow.job_record import recorded

config, given = snakemake.params.config, snakemake.input
with job("treatment_mesh", snakemake.log[0]), recorded(snakemake):
    link_best_treatment(
        config["controllers"],
        given.metrics,
        given.meshes,
        config["hard_excess_k"],
        Path(snakemake.output[0]),
    )
