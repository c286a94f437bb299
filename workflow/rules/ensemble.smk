# Treatments of drawn patients: the nominal run's models, other noise, other tissue.


rule control_draw:
    input:
        rom=rules.reduce.output.rom,
        plant=f"{RESULTS}/fem/plant.h5",
        faulty=ask.dead_load,
        outdated=ask.outdated(
            "control_draw",
            f"{RESULTS}/ensemble/{{controller}}/{{draw}}.json",
            ask.section("draw", "controller"),
        ),
    output:
        f"{RESULTS}/ensemble/{{controller}}/{{draw}}.json",
    log:
        f"{RESULTS}/logs/ensemble_{{controller}}_{{draw}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/ensemble_{{controller}}_{{draw}}.tsv"
    wildcard_constraints:
        draw=r"\d+",
    resources:
        mem_mb=ask.memory("control", "controller"),
        runtime=ask.minutes("control", "controller"),
    params:
        config=ask.section("draw", "controller"),
        code=ask.code("control_draw"),
    script:
        "../scripts/control_draw.py"


rule ensemble:
    input:
        ask.every_draw,
        outdated=ask.outdated(
            "ensemble", f"{RESULTS}/ensemble/{{controller}}.json", ask.draws
        ),
    output:
        summary=f"{RESULTS}/ensemble/{{controller}}.json",
        table=f"{RESULTS}/ensemble/{{controller}}.csv",
    log:
        f"{RESULTS}/logs/ensemble_{{controller}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/ensemble_{{controller}}.tsv"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=ask.draws,
        code=ask.code("ensemble"),
    script:
        "../scripts/ensemble.py"
