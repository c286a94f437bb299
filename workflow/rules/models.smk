# The finite-element models of controller and patient, and the controller's reduced model.


rule assemble:
    input:
        anatomy=rules.anatomy.output,
        constraints=rules.constraints.output,
        heating=rules.heating.output,
        mesh=rules.mesh.output.mesh,
    output:
        f"{RESULTS}/fem/{{model}}.h5",
    params:
        config=section("assemble", "model"),
        code=code("assemble"),
    log:
        f"{RESULTS}/logs/assemble_{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/assemble_{{model}}.tsv"
    resources:
        mem_mb=3000,
        runtime=30,
    script:
        "../scripts/assemble.py"


rule reduce:
    input:
        f"{RESULTS}/fem/control.h5",
    output:
        rom=f"{RESULTS}/reduction/rom.h5",
        certificate=f"{RESULTS}/reduction/certificate.json",
    params:
        config=section("reduce"),
        code=code("reduce"),
    log:
        f"{RESULTS}/logs/reduce.log",
    benchmark:
        f"{RESULTS}/benchmarks/reduce.tsv"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
    script:
        "../scripts/reduce.py"
