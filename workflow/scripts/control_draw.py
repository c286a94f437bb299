from hifuflow.controller.ensemble import drawn_settings
from hifuflow.controller.loop import run_treatment
from hifuflow.job import job, write_json
from hifuflow.job_record import recorded
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.faulty_load import FaultyLoad
from hifuflow.records.reduced_model import ReducedModel

name, draw = snakemake.wildcards.controller, int(snakemake.wildcards.draw)
faulty = snakemake.input.get("faulty")
with job(f"{name} {draw}", snakemake.log[0], snakemake.threads), recorded(snakemake):
    _, metrics = run_treatment(
        ReducedModel.load(snakemake.input.rom),
        BioheatModel.load(snakemake.input.plant),
        drawn_settings(snakemake.params.config, draw),
        FaultyLoad.load(faulty) if faulty else None,
    )
    write_json(snakemake.output[0], metrics)
