from hifuflow.job import job, write_json
from hifuflow.provenance import config_hash
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.reduction.given import use_given
from hifuflow.reduction.reduce import reduce_model
from hifuflow.reduction.settings import ReductionSettings

config = snakemake.params.config
with job("reduce", snakemake.log[0], snakemake.threads):
    settings = ReductionSettings.read(config)
    reduce = use_given if settings.model else reduce_model
    reduced, certificate = reduce(BioheatModel.load(snakemake.input.model), settings,
                                  snakemake.threads)
    reduced.save(snakemake.output.rom, snakemake.wildcards.patient, config_hash(config))
    write_json(snakemake.output.certificate, certificate)
