from controller.loop import run_treatment
from hifuflow.artifacts import BioheatModel, ReducedModel
from hifuflow.job import job, write_json
from hifuflow.provenance import config_hash

config, controller = snakemake.params.config, snakemake.wildcards.controller
with job(controller, snakemake.log[0], snakemake.threads):
    trajectory, metrics = run_treatment(
        ReducedModel.load(snakemake.input.rom),
        BioheatModel.load(snakemake.input.plant),
        controller,
        config,
    )
    trajectory.save(snakemake.output.trajectory, snakemake.wildcards.patient, config_hash(config))
    write_json(snakemake.output.metrics, metrics)
