from pathlib import Path

from hifuflow.job import job, read_json
from hifuflow.job_record import recorded
from hifuflow.provenance import config_hash, created_by, revision, versions
from hifuflow.report.inputs import ReportInputs
from hifuflow.report.page import write_report
from hifuflow.report.settings import ReportSettings

config, page = snakemake.params.config, Path(snakemake.output.page)
with job("report", snakemake.log[0]), recorded(snakemake):
    settings, folder = ReportSettings.read(config), page.parents[1]
    provenance = {
        "made by": created_by(),
        "git revision": revision(),
        "patient file": settings.file,
        "configuration (sha256)": config_hash(config),
        "label map (sha256)": read_json(folder / "anatomy" / "regions.json")["source_sha256"],
        "seed of the thermometry's noise": settings.noise_seed,
        "own controllers": settings.own_controllers,
        "libraries": versions(),
    }
    inputs = ReportInputs.from_folder(
        folder, snakemake.wildcards.patient, settings, provenance, snakemake.input.ensembles)
    write_report(inputs, page.parent)
