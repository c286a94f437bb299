from pathlib import Path

from hifuflow.artifacts import Anatomy, Plan
from hifuflow.job import atomic, job, write_json
from meshes.tetrahedra import mesh_anatomy

with job(f"mesh {snakemake.wildcards.model}", snakemake.log[0]):
    anatomy = Anatomy.load(Path(snakemake.input.anatomy[0]).parent)
    plan = Plan.load(snakemake.input.plan[0])
    with atomic(snakemake.output.mesh) as temporary:
        record = mesh_anatomy(anatomy, plan, snakemake.params.config, temporary)
    write_json(snakemake.output.record, record)
