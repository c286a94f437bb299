from hifuflow.controller.ensemble import distributions, table
from hifuflow.job import atomic, job, read_json, write_json
from hifuflow.job_record import recorded

with job("ensemble", snakemake.log[0]), recorded(snakemake):
    draws = [read_json(path) for path in snakemake.input]
    with atomic(snakemake.output.table) as temporary:
        temporary.write_text(table(draws))
    write_json(snakemake.output.summary, distributions(draws))
