import os
from pathlib import Path

from hifuflow.controller.metrics import best_treatment
from hifuflow.job import job, read_json
from hifuflow.job_record import recorded

config, output = snakemake.params.config, Path(snakemake.output[0])
with job("treatment_mesh", snakemake.log[0]), recorded(snakemake):
    names = config["controllers"]
    metrics = {name: read_json(path)
               for name, path in zip(names, snakemake.input.metrics, strict=True)}
    best = best_treatment(metrics, config["hard_excess_k"])
    output.unlink(missing_ok=True)
    os.symlink(Path(snakemake.input.meshes[names.index(best)]).name, output)
