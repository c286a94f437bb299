from hifuflow.job import job, write_json
from hifuflow.provenance import config_hash
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.reduction.reduce import reduce_model
from hifuflow.reduction.settings import ReductionSettings

config = snakemake.params.config
with job("reduce", snakemake.log[0], snakemake.threads):
    model = BioheatModel.load(snakemake.input[0])
    reduced, certificate = reduce_model(model, ReductionSettings.read(config),
                                        snakemake.threads)
    reduced.save(snakemake.output.rom, snakemake.wildcards.patient, config_hash(config))
    write_json(snakemake.output.certificate, certificate)
