from pathlib import Path

from hifuflow.fem.model import build_faulty_load
from hifuflow.fem.settings import ModelSettings
from hifuflow.job import job
from hifuflow.job_record import recorded
from hifuflow.provenance import config_hash
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.heating import Heating
from hifuflow.records.mesh import check_mesh

files, config = snakemake.input, snakemake.params.config
with (
    job("dead load", snakemake.log[0]),
    recorded(snakemake),
    Heating.opened(files.heating[0]) as heating,
):
    load = build_faulty_load(check_mesh(files.mesh), Anatomy.load(Path(files.anatomy[0]).parent),
                             heating, ModelSettings.read(config))
    load.save(snakemake.output[0], snakemake.wildcards.patient, config_hash(config))
