import os
from pathlib import Path

from hifuflow.controller.metrics import best_treatment
from hifuflow.job import read_json

names, output = snakemake.params.names, Path(snakemake.output[0])
metrics = {name: read_json(path)
           for name, path in zip(names, snakemake.input.metrics, strict=True)}
best = best_treatment(metrics, snakemake.params.config["hard_excess_k"])
output.unlink(missing_ok=True)
os.symlink(Path(snakemake.input.meshes[names.index(best)]).name, output)
