from pathlib import Path

from hifuflow.job import job
from hifuflow.job_record import recorded
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.trajectory import Trajectory
from hifuflow.report.exports.dicom import export_dicom

given, made, config = snakemake.input, snakemake.output, snakemake.params.config
with job(f"export_dicom {snakemake.wildcards.controller}", snakemake.log[0]), recorded(snakemake):
    export_dicom(Anatomy.load(Path(given.anatomy[0]).parent), Trajectory.load(given.trajectory),
                 config["dose_cem43_min"], config["series"], made.lesion, made.peak, made.dose)
