# The ultrasound array's heating of the patient, focus by focus.


rule heating:
    input:
        anatomy=rules.anatomy.output,
        constraints=ancient(f"{RESULTS}/anatomy/constraints.json"),
        plan=rules.plan.output,
    output:
        f"{RESULTS}/acoustics/heating.h5",
    params:
        config=section("heating"),
        code=code("heating"),
    log:
        f"{RESULTS}/logs/heating.log",
    benchmark:
        f"{RESULTS}/benchmarks/heating.tsv"
    threads: cores("heating")
    resources:
        mem_mb=memory("heating"),
        runtime=minutes("heating"),
    script:
        "../scripts/heating.py"
