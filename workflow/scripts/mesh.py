from pathlib import Path

from hifuflow.job import atomic, job
from hifuflow.job_record import recorded
from hifuflow.meshes.build import mesh_anatomy
from hifuflow.meshes.settings import MeshSettings
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.mesh import save_mesh_record
from hifuflow.records.plan import Plan

with job(f"mesh {snakemake.wildcards.model}", snakemake.log[0]), recorded(snakemake):
    anatomy = Anatomy.load(Path(snakemake.input.anatomy[0]).parent)
    plan = Plan.load(snakemake.input.plan[0])
    settings = MeshSettings.read(snakemake.params.config)
    with atomic(snakemake.output.mesh) as temporary:
        record = mesh_anatomy(anatomy, plan, settings, temporary)
    save_mesh_record(snakemake.output.record, record)
