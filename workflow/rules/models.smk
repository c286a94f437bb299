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
        mem_mb=memory("assemble", "model"),
        runtime=minutes("assemble", "model"),
    script:
        "../scripts/assemble.py"


# The same job on several MPI ranks, with the same result.
if study.mpi_ranks > 1:
    ruleorder: assemble_mpi > assemble

    use rule assemble as assemble_mpi with:
        threads: study.mpi_ranks
        resources:
            mem_mb=memory("assemble", "model", ranks=study.mpi_ranks),
            runtime=minutes("assemble", "model"),
            mpi="mpirun",
            tasks=study.mpi_ranks,
            cpus_per_task=1,


rule reduce:
    input:
        model=f"{RESULTS}/fem/control.h5",
        given=given_model,
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
    threads: cores("reduce")
    resources:
        mem_mb=memory("reduce"),
        runtime=minutes("reduce"),
    script:
        "../scripts/reduce.py"
