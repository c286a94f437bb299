from controller.ensemble import drawn_config
from controller.loop import run_treatment
from hifuflow.artifacts import BioheatModel, ReducedModel
from hifuflow.job import job, write_json

name, draw = snakemake.wildcards.controller, int(snakemake.wildcards.draw)
with job(f"{name} {draw}", snakemake.log[0], snakemake.threads):
    _, metrics = run_treatment(
        ReducedModel.load(snakemake.input.rom),
        BioheatModel.load(snakemake.input.plant),
        name,
        drawn_config(snakemake.params.config, draw),
    )
    write_json(snakemake.output[0], metrics)
