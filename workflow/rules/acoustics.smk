# The ultrasound array's heating of the patient, focus by focus, and that of an array of which
# elements are dead, where a patient's simulated faults ask for it.


rule heating:
    input:
        anatomy=rules.anatomy.output,
        after=ancient(f"{RESULTS}/anatomy/constraints.json"),
        plan=rules.plan.output,
        outdated=ask.outdated(
            "heating", f"{RESULTS}/acoustics/heating.h5", ask.section("heating")
        ),
    output:
        f"{RESULTS}/acoustics/heating.h5",
    log:
        f"{RESULTS}/logs/heating.log",
    benchmark:
        f"{RESULTS}/benchmarks/heating.tsv"
    threads: ask.cores("heating")
    resources:
        mem_mb=ask.memory("heating"),
        runtime=ask.minutes("heating"),
    params:
        config=ask.section("heating"),
        code=ask.code("heating"),
    script:
        "../scripts/heating.py"


rule dead_heating:
    input:
        anatomy=rules.anatomy.output,
        plan=rules.plan.output,
        outdated=ask.outdated(
            "dead_heating",
            f"{RESULTS}/acoustics/heating_dead_{{count}}_{{seed}}.h5",
            ask.section("heating"),
        ),
    output:
        f"{RESULTS}/acoustics/heating_dead_{{count}}_{{seed}}.h5",
    log:
        f"{RESULTS}/logs/dead_heating_{{count}}_{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/dead_heating_{{count}}_{{seed}}.tsv"
    wildcard_constraints:
        count=r"\d+",
        seed=r"\d+",
    threads: ask.cores("heating")
    resources:
        mem_mb=ask.memory("heating"),
        runtime=ask.minutes("heating"),
    params:
        config=ask.section("heating"),
        code=ask.code("dead_heating"),
    script:
        "../scripts/dead_heating.py"
