# Segmented anatomy, where it must stay cool, where the foci go, and the two meshes.


rule anatomy:
    input:
        ask.sources,
        outdated=ask.outdated(
            "anatomy",
            f"{RESULTS}/anatomy/regions.json",
            ask.section("anatomy"),
            ask.sources,
        ),
    output:
        labels=f"{RESULTS}/anatomy/labels.nii.gz",
        coupling=f"{RESULTS}/anatomy/coupling.nii.gz",
        regions=f"{RESULTS}/anatomy/regions.json",
    log:
        f"{RESULTS}/logs/anatomy.log",
    benchmark:
        f"{RESULTS}/benchmarks/anatomy.tsv"
    resources:
        mem_mb=ask.memory("anatomy"),
        runtime=ask.minutes("anatomy"),
    params:
        config=ask.section("anatomy"),
        code=ask.code("anatomy"),
    script:
        "../scripts/anatomy.py"


rule constraints:
    input:
        rules.anatomy.output,
        outdated=ask.outdated(
            "constraints",
            f"{RESULTS}/anatomy/constraints.json",
            ask.section("constraints"),
        ),
    output:
        f"{RESULTS}/anatomy/constraints.json",
    log:
        f"{RESULTS}/logs/constraints.log",
    benchmark:
        f"{RESULTS}/benchmarks/constraints.tsv"
    resources:
        mem_mb=ask.memory("constraints"),
        runtime=ask.minutes("constraints"),
    params:
        config=ask.section("constraints"),
        code=ask.code("constraints"),
    script:
        "../scripts/constraints.py"


rule plan:
    input:
        rules.anatomy.output,
        outdated=ask.outdated(
            "plan", f"{RESULTS}/acoustics/plan.json", ask.section("plan")
        ),
    output:
        f"{RESULTS}/acoustics/plan.json",
    log:
        f"{RESULTS}/logs/plan.log",
    benchmark:
        f"{RESULTS}/benchmarks/plan.tsv"
    resources:
        mem_mb=ask.memory("plan"),
        runtime=ask.minutes("plan"),
    params:
        config=ask.section("plan"),
        code=ask.code("plan"),
    script:
        "../scripts/plan.py"


# The constraints are not used here, but bad ones should stop the run before the long steps begin:
# they are `after`. `ancient` marks whatever object it is given, hence the name and not
# `rules.constraints.output`.
rule mesh:
    input:
        anatomy=rules.anatomy.output,
        after=ancient(f"{RESULTS}/anatomy/constraints.json"),
        plan=rules.plan.output,
        outdated=ask.outdated(
            "mesh", f"{RESULTS}/mesh/{{model}}.json", ask.section("mesh", "model")
        ),
    output:
        mesh=f"{RESULTS}/mesh/{{model}}.msh",
        record=f"{RESULTS}/mesh/{{model}}.json",
    log:
        f"{RESULTS}/logs/mesh_{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/mesh_{{model}}.tsv"
    resources:
        mem_mb=ask.memory("mesh", "model"),
        runtime=ask.minutes("mesh", "model"),
    params:
        config=ask.section("mesh", "model"),
        code=ask.code("mesh"),
    script:
        "../scripts/mesh.py"
