# The closed-loop treatment of the simulated patient, its pictures and its exports.


rule control:
    input:
        rom=rules.reduce.output.rom,
        plant=f"{RESULTS}/fem/plant.h5",
    output:
        trajectory=f"{RESULTS}/control/{{controller}}/trajectory.h5",
        metrics=f"{RESULTS}/control/{{controller}}/metrics.json",
    params:
        config=section("control", "controller"),
        code=code("control"),
    log:
        f"{RESULTS}/logs/control_{{controller}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/control_{{controller}}.tsv"
    resources:
        mem_mb=memory("control", "controller"),
        runtime=minutes("control", "controller"),
    script:
        "../scripts/control.py"


rule export:
    input:
        anatomy=rules.anatomy.output,
        source=scan,
        mesh=f"{RESULTS}/mesh/plant.msh",
        plant=f"{RESULTS}/fem/plant.h5",
        trajectory=rules.control.output.trajectory,
    output:
        dose=f"{RESULTS}/export/{{controller}}_dose.nii.gz",
        peak=f"{RESULTS}/export/{{controller}}_peak_temperature.nii.gz",
        segments=f"{RESULTS}/export/{{controller}}.seg.nrrd",
        series=f"{RESULTS}/export/{{controller}}.csv",
        mesh=f"{RESULTS}/export/{{controller}}.vtkhdf",
    params:
        config=section("export"),
        code=code("export"),
    log:
        f"{RESULTS}/logs/export_{{controller}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/export_{{controller}}.tsv"
    resources:
        mem_mb=memory("export"),
        runtime=minutes("export"),
    script:
        "../scripts/export.py"


# One name that is always there: the best treatment of those that the patient names.
rule treatment_mesh:
    input:
        metrics=every_treatment("control/{controller}/metrics.json"),
        meshes=every_treatment("export/{controller}.vtkhdf"),
    output:
        f"{RESULTS}/export/treatment.vtkhdf",
    params:
        names=treating,
        config=section("best"),
        code=code("treatment_mesh"),
    localrule: True
    script:
        "../scripts/treatment_mesh.py"


rule report:
    input:
        anatomy=rules.anatomy.output,
        constraints=rules.constraints.output,
        plan=rules.plan.output,
        meshes=expand(f"{RESULTS}/mesh/{{model}}.{{kind}}", model=["control", "plant"],
                      kind=["msh", "json"], allow_missing=True),
        heating=rules.heating.output,
        rom=rules.reduce.output.rom,
        certificate=rules.reduce.output.certificate,
        trajectories=every_controller("control/{controller}/trajectory.h5"),
        metrics=every_controller("control/{controller}/metrics.json"),
        models=expand(f"{RESULTS}/fem/{{model}}.h5", model=["control", "plant"], allow_missing=True),
        exports=every_controller("export/{controller}_dose.nii.gz"),
        ensembles=every_ensemble,
    output:
        page=report(f"{RESULTS}/report/index.html", caption="../report/page.rst",
                    category="{patient}", labels={"figure": "whole page"}),
        figures=report(directory(f"{RESULTS}/report/figures"), patterns=["{name}.png"],
                       caption="../report/figure.rst", category="{patient}",
                       labels={"figure": "{name}"}),
    params:
        config=section("report"),
        code=code("report"),
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    resources:
        mem_mb=memory("report"),
        runtime=minutes("report"),
    script:
        "../scripts/report.py"


rule summary:
    input:
        [f"{study.results_dir}/{name}/control/{controller}/{file}"
         for name, patient in study.patients.items() for controller in patient.controllers
         for file in ("metrics.json", "trajectory.h5")],
    output:
        page=report(f"{study.results_dir}/summary.html", caption="../report/summary.rst",
                    category="all patients", labels={"figure": "side by side"}),
        table=f"{study.results_dir}/summary.csv",
    params:
        config={"controllers": {name: patient.controllers
                                for name, patient in study.patients.items()},
                "goals": {name: patient.config["prescription"]["coverage"]
                          for name, patient in study.patients.items()}},
        code=code("summary"),
    log:
        f"{study.results_dir}/logs/summary.log",
    benchmark:
        f"{study.results_dir}/benchmarks/summary.tsv"
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/summary.py"
