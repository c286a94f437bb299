from pathlib import Path

from hifuflow.artifacts import Anatomy, Trajectory
from hifuflow.job import job
from report.export import export_images

with job("export", snakemake.log[0]):
    export_images(
        Anatomy.load(Path(snakemake.input.anatomy[0]).parent),
        Trajectory.load(snakemake.input.trajectory),
        snakemake.input.get("source") or None,
        snakemake.output.peak,
        snakemake.output.dose,
    )
