# The finite-element models of controller and patient, and the controller's reduced model.


rule assemble:
    input:
        anatomy=rules.anatomy.output,
        constraints=rules.constraints.output,
        heating=rules.heating.output,
        mesh=rules.mesh.output.mesh,
        outdated=ask.outdated(
            "assemble", f"{RESULTS}/fem/{{model}}.h5", ask.section("assemble", "model")
        ),
    output:
        f"{RESULTS}/fem/{{model}}.h5",
    log:
        f"{RESULTS}/logs/assemble_{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/assemble_{{model}}.tsv"
    resources:
        mem_mb=ask.memory("assemble", "model"),
        runtime=ask.minutes("assemble", "model"),
    params:
        config=ask.section("assemble", "model"),
        code=ask.code("assemble"),
    script:
        "../scripts/assemble.py"


# The same job on several MPI ranks, with the same result.
if study.mpi_ranks > 1:

    ruleorder: assemble_mpi > assemble

    use rule assemble as assemble_mpi with:
        threads: study.mpi_ranks
        resources:
            mem_mb=ask.memory("assemble", "model", ranks=study.mpi_ranks),
            runtime=ask.minutes("assemble", "model"),
            mpi="mpirun",
            tasks=study.mpi_ranks,
            cpus_per_task=1,


rule reduce:
    input:
        model=f"{RESULTS}/fem/control.h5",
        given=ask.given_model,
        outdated=ask.outdated(
            "reduce",
            f"{RESULTS}/reduction/rom.h5",
            ask.section("reduce"),
            ask.given_model,
        ),
    output:
        rom=f"{RESULTS}/reduction/rom.h5",
        certificate=f"{RESULTS}/reduction/certificate.json",
    log:
        f"{RESULTS}/logs/reduce.log",
    benchmark:
        f"{RESULTS}/benchmarks/reduce.tsv"
    threads: ask.cores("reduce")
    resources:
        mem_mb=ask.memory("reduce"),
        runtime=ask.minutes("reduce"),
    params:
        config=ask.section("reduce"),
        code=ask.code("reduce"),
    script:
        "../scripts/reduce.py"


# What the foci heat in the simulated patient while elements of the array are dead.
rule dead_load:
    input:
        anatomy=rules.anatomy.output,
        heating=rules.dead_heating.output,
        mesh=f"{RESULTS}/mesh/plant.msh",
        outdated=ask.outdated(
            "dead_load",
            f"{RESULTS}/fem/load_dead_{{count}}_{{seed}}.h5",
            ask.plant_section,
        ),
    output:
        f"{RESULTS}/fem/load_dead_{{count}}_{{seed}}.h5",
    log:
        f"{RESULTS}/logs/dead_load_{{count}}_{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/dead_load_{{count}}_{{seed}}.tsv"
    wildcard_constraints:
        count=r"\d+",
        seed=r"\d+",
    resources:
        mem_mb=ask.memory("assemble"),
        runtime=ask.minutes("assemble"),
    params:
        config=ask.plant_section,
        code=ask.code("dead_load"),
    script:
        "../scripts/dead_load.py"
