from hifuflow.job import job
from hifuflow.job_record import recorded, state_of
from hifuflow.provenance import config_hash
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.certificate import save_certified
from hifuflow.reduction.given import reduced_or_given
from hifuflow.reduction.settings import ReductionSettings

config, made = snakemake.params.config, snakemake.output
with job("reduce", snakemake.log[0], snakemake.threads), recorded(snakemake):
    settings, full = ReductionSettings.read(config), snakemake.input.model
    reduced, certificate = reduced_or_given(BioheatModel.load(full), settings, snakemake.threads)
    save_certified(reduced, certificate, made.rom, made.certificate, snakemake.wildcards.patient,
                   config_hash(config), state_of(full).sha256)
