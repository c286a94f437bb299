from hifuflow.controller.loop import run_treatment
from hifuflow.controller.treatment_settings import TreatmentSettings
from hifuflow.job import job, write_json
from hifuflow.job_record import recorded
from hifuflow.provenance import config_hash
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.faulty_load import FaultyLoad
from hifuflow.records.reduced_model import ReducedModel

config, controller = snakemake.params.config, snakemake.wildcards.controller
faulty = snakemake.input.get("faulty")
with job(controller, snakemake.log[0], snakemake.threads), recorded(snakemake):
    trajectory, metrics = run_treatment(
        ReducedModel.load(snakemake.input.rom),
        BioheatModel.load(snakemake.input.plant),
        TreatmentSettings.read(config),
        FaultyLoad.load(faulty) if faulty else None,
    )
    trajectory.save(snakemake.output.trajectory, snakemake.wildcards.patient, config_hash(config))
    write_json(snakemake.output.metrics, metrics)
