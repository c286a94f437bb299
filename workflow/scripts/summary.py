from pathlib import Path

from hifuflow.job import job
from hifuflow.job_record import recorded
from hifuflow.report.settings import SummarySettings
from hifuflow.report.summary import write_summary

config, page = snakemake.params.config, snakemake.output.page
with job("summary", snakemake.log[0]), recorded(snakemake):
    write_summary(Path(page).parent, SummarySettings.read(config), page, snakemake.output.table)
