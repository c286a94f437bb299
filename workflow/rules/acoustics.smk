# The ultrasound array's heating of the patient, focus by focus.


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
