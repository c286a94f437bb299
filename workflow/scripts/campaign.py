from hifuflow.job import job, read_json
from hifuflow.job_record import recorded
from hifuflow.report.campaign import write_campaign

with job("campaign", snakemake.log[0]), recorded(snakemake):
    write_campaign(
        [read_json(path) for path in snakemake.input.rows],
        snakemake.params.config,
        snakemake.wildcards.patient,
        snakemake.output.page,
        snakemake.output.table,
    )
