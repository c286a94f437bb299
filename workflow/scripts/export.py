from pathlib import Path

from hifuflow.artifacts import Anatomy, BioheatModel, Trajectory
from hifuflow.job import job
from hifuflow.provenance import config_hash
from report.export import export_images, export_segments, export_series
from report.vtkhdf import write_vtkhdf

given, made, config = snakemake.input, snakemake.output, snakemake.params.config
with job(f"export {snakemake.wildcards.controller}", snakemake.log[0]):
    anatomy = Anatomy.load(Path(given.anatomy[0]).parent)
    trajectory, source = Trajectory.load(given.trajectory), given.get("source") or None
    export_images(anatomy, trajectory, source, made.peak, made.dose)
    export_segments(anatomy, trajectory, config["dose_cem43_min"], source, made.segments)
    export_series(trajectory, made.series)
    write_vtkhdf(made.mesh, given.mesh, BioheatModel.load(given.plant), anatomy, trajectory,
                 config["boundary"], snakemake.wildcards.patient, config_hash(config))
