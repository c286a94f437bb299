# Segmented anatomy, where it must stay cool, where the foci go, and the two meshes.


rule anatomy:
    input:
        sources,
    output:
        labels=f"{RESULTS}/anatomy/labels.nii.gz",
        coupling=f"{RESULTS}/anatomy/coupling.nii.gz",
        regions=f"{RESULTS}/anatomy/regions.json",
    params:
        config=section("anatomy"),
        code=code("anatomy"),
    log:
        f"{RESULTS}/logs/anatomy.log",
    benchmark:
        f"{RESULTS}/benchmarks/anatomy.tsv"
    resources:
        mem_mb=memory("anatomy"),
        runtime=minutes("anatomy"),
    script:
        "../scripts/anatomy.py"


rule constraints:
    input:
        rules.anatomy.output,
    output:
        f"{RESULTS}/anatomy/constraints.json",
    params:
        config=section("constraints"),
        code=code("constraints"),
    log:
        f"{RESULTS}/logs/constraints.log",
    benchmark:
        f"{RESULTS}/benchmarks/constraints.tsv"
    resources:
        mem_mb=memory("constraints"),
        runtime=minutes("constraints"),
    script:
        "../scripts/constraints.py"


rule plan:
    input:
        rules.anatomy.output,
    output:
        f"{RESULTS}/acoustics/plan.json",
    params:
        config=section("plan"),
        code=code("plan"),
    log:
        f"{RESULTS}/logs/plan.log",
    benchmark:
        f"{RESULTS}/benchmarks/plan.tsv"
    resources:
        mem_mb=memory("plan"),
        runtime=minutes("plan"),
    script:
        "../scripts/plan.py"


# The constraints are not used here, but bad ones shall stop the run before the long steps begin;
# `ancient` marks whatever object it is given, hence the name and not `rules.constraints.output`.
rule mesh:
    input:
        anatomy=rules.anatomy.output,
        constraints=ancient(f"{RESULTS}/anatomy/constraints.json"),
        plan=rules.plan.output,
    output:
        mesh=f"{RESULTS}/mesh/{{model}}.msh",
        record=f"{RESULTS}/mesh/{{model}}.json",
    params:
        config=section("mesh", "model"),
        code=code("mesh"),
    log:
        f"{RESULTS}/logs/mesh_{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/mesh_{{model}}.tsv"
    resources:
        mem_mb=memory("mesh", "model"),
        runtime=minutes("mesh", "model"),
    script:
        "../scripts/mesh.py"
