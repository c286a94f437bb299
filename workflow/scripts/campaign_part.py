from hifuflow.controller.campaign import campaign_rows
from hifuflow.controller.treatment_settings import TreatmentSettings
from hifuflow.job import job, write_json
from hifuflow.job_record import recorded
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.faulty_load import FaultyLoad
from hifuflow.records.reduced_model import ReducedModel

config, name = snakemake.params.config, snakemake.wildcards.controller
with job(f"{name} {snakemake.wildcards.part}", snakemake.log[0], snakemake.threads), recorded(
        snakemake):
    rows = campaign_rows(
        ReducedModel.load(snakemake.input.rom),
        BioheatModel.load(snakemake.input.plant),
        TreatmentSettings.read(config),
        config["draws"],
        FaultyLoad.load_each(snakemake.input.get("loads")),
        config["over_k"],
    )
    write_json(snakemake.output[0], {"controller": name, "rows": rows})
