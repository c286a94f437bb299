# Treatments of drawn patients: the nominal run's models, other noise, other tissue.


rule control_draw:
    input:
        rom=rules.reduce.output.rom,
        plant=f"{RESULTS}/fem/plant.h5",
    output:
        f"{RESULTS}/ensemble/{{controller}}/{{draw}}.json",
    params:
        config=section("draw", "controller"),
        code=code("control_draw"),
    wildcard_constraints:
        draw=r"\d+",
    log:
        f"{RESULTS}/logs/ensemble_{{controller}}_{{draw}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/ensemble_{{controller}}_{{draw}}.tsv"
    resources:
        mem_mb=memory("control", "controller"),
        runtime=minutes("control", "controller"),
    script:
        "../scripts/control_draw.py"


rule ensemble:
    input:
        every_draw,
    output:
        summary=f"{RESULTS}/ensemble/{{controller}}.json",
        table=f"{RESULTS}/ensemble/{{controller}}.csv",
    params:
        code=code("ensemble"),
    log:
        f"{RESULTS}/logs/ensemble_{{controller}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/ensemble_{{controller}}.tsv"
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/ensemble.py"
