from hifuflow.job import job, write_json
from hifuflow.provenance import config_hash
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.reduction.given import use_given
from hifuflow.reduction.reduce import reduce_model

config = snakemake.params.config
with job("reduce", snakemake.log[0], snakemake.threads):
    model = BioheatModel.load(snakemake.input.model)
    reduce = use_given if config["model"] else reduce_model
    reduced, certificate = reduce(model, config, snakemake.threads)
    reduced.save(snakemake.output.rom, snakemake.wildcards.patient, config_hash(config))
    write_json(snakemake.output.certificate, certificate)
