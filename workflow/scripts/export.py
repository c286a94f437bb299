from pathlib import Path

from hifuflow.job import job
from hifuflow.job_record import recorded
from hifuflow.provenance import config_hash
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.trajectory import Trajectory
from hifuflow.report.exports.images import export_images, export_segments, export_series
from hifuflow.report.exports.vtkhdf import write_vtkhdf
from hifuflow.report.settings import ExportSettings

given, made, config = snakemake.input, snakemake.output, snakemake.params.config
with job(f"export {snakemake.wildcards.controller}", snakemake.log[0]), recorded(snakemake):
    settings = ExportSettings.read(config)
    anatomy = Anatomy.load(Path(given.anatomy[0]).parent)
    trajectory, source = Trajectory.load(given.trajectory), given.get("source") or None
    transform = settings.nifti_transform
    export_images(anatomy, trajectory, source, made.peak, made.dose, transform)
    export_segments(anatomy, trajectory, settings.dose, source, made.segments, transform)
    export_series(trajectory, made.series)
    write_vtkhdf(made.mesh, given.mesh, BioheatModel.load(given.plant), anatomy, trajectory,
                 settings.surfaces, snakemake.wildcards.patient, config_hash(config))
