# The closed-loop treatment of the simulated patient, its pictures and its exports.


rule control:
    input:
        rom=rules.reduce.output.rom,
        plant=f"{RESULTS}/fem/plant.h5",
        faulty=ask.dead_load,
        outdated=ask.outdated(
            "control",
            f"{RESULTS}/control/{{controller}}/metrics.json",
            ask.section("control", "controller"),
        ),
    output:
        trajectory=f"{RESULTS}/control/{{controller}}/trajectory.h5",
        metrics=f"{RESULTS}/control/{{controller}}/metrics.json",
    log:
        f"{RESULTS}/logs/control_{{controller}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/control_{{controller}}.tsv"
    resources:
        mem_mb=ask.memory("control", "controller"),
        runtime=ask.minutes("control", "controller"),
    params:
        config=ask.section("control", "controller"),
        code=ask.code("control"),
    script:
        "../scripts/control.py"


rule export:
    input:
        anatomy=rules.anatomy.output,
        source=ask.scan,
        mesh=f"{RESULTS}/mesh/plant.msh",
        plant=f"{RESULTS}/fem/plant.h5",
        trajectory=rules.control.output.trajectory,
        outdated=ask.outdated(
            "export",
            f"{RESULTS}/export/{{controller}}.vtkhdf",
            ask.section("export"),
            ask.scan,
        ),
    output:
        dose=f"{RESULTS}/export/{{controller}}_dose.nii.gz",
        peak=f"{RESULTS}/export/{{controller}}_peak_temperature.nii.gz",
        segments=f"{RESULTS}/export/{{controller}}.seg.nrrd",
        series=f"{RESULTS}/export/{{controller}}.csv",
        mesh=f"{RESULTS}/export/{{controller}}.vtkhdf",
    log:
        f"{RESULTS}/logs/export_{{controller}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/export_{{controller}}.tsv"
    resources:
        mem_mb=ask.memory("export"),
        runtime=ask.minutes("export"),
    params:
        config=ask.section("export"),
        code=ask.code("export"),
    script:
        "../scripts/export.py"


# Only for patients with a DICOM series to refer to.
rule export_dicom:
    input:
        anatomy=rules.anatomy.output,
        series=ask.dicom_series,
        trajectory=rules.control.output.trajectory,
        outdated=ask.outdated(
            "export_dicom",
            f"{RESULTS}/export/{{controller}}_lesion.dcm",
            ask.section("export_dicom"),
            ask.dicom_series,
        ),
    output:
        lesion=f"{RESULTS}/export/{{controller}}_lesion.dcm",
        peak=f"{RESULTS}/export/{{controller}}_peak_temperature.dcm",
        dose=f"{RESULTS}/export/{{controller}}_dose.dcm",
    log:
        f"{RESULTS}/logs/export_dicom_{{controller}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/export_dicom_{{controller}}.tsv"
    resources:
        mem_mb=ask.memory("export_dicom"),
        runtime=ask.minutes("export_dicom"),
    params:
        config=ask.section("export_dicom"),
        code=ask.code("export_dicom"),
    script:
        "../scripts/export_dicom.py"


# One name that is always there: the best treatment of those that the patient names.
rule treatment_mesh:
    input:
        metrics=ask.every_treatment("control/{controller}/metrics.json"),
        meshes=ask.every_treatment("export/{controller}.vtkhdf"),
        outdated=ask.outdated(
            "treatment_mesh",
            f"{RESULTS}/export/treatment.vtkhdf",
            ask.section("best"),
        ),
    output:
        f"{RESULTS}/export/treatment.vtkhdf",
    log:
        f"{RESULTS}/logs/treatment_mesh.log",
    localrule: True
    params:
        config=ask.section("best"),
        code=ask.code("treatment_mesh"),
    script:
        "../scripts/treatment_mesh.py"


rule report:
    input:
        anatomy=rules.anatomy.output,
        constraints=rules.constraints.output,
        plan=rules.plan.output,
        meshes=expand(
            f"{RESULTS}/mesh/{{model}}.{{kind}}",
            model=["control", "plant"],
            kind=["msh", "json"],
            allow_missing=True,
        ),
        heating=rules.heating.output,
        rom=rules.reduce.output.rom,
        certificate=rules.reduce.output.certificate,
        trajectories=ask.every_controller("control/{controller}/trajectory.h5"),
        metrics=ask.every_controller("control/{controller}/metrics.json"),
        models=expand(
            f"{RESULTS}/fem/{{model}}.h5",
            model=["control", "plant"],
            allow_missing=True,
        ),
        exports=ask.every_controller("export/{controller}_dose.nii.gz"),
        ensembles=ask.every_ensemble,
        outdated=ask.outdated(
            "report", f"{RESULTS}/report/index.html", ask.section("report")
        ),
    output:
        page=report(
            f"{RESULTS}/report/index.html",
            caption="../report/page.rst",
            category="{patient}",
            labels={"figure": "whole page"},
        ),
        figures=report(
            directory(f"{RESULTS}/report/figures"),
            patterns=["{name}.png"],
            caption="../report/figure.rst",
            category="{patient}",
            labels={"figure": "{name}"},
        ),
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    resources:
        mem_mb=ask.memory("report"),
        runtime=ask.minutes("report"),
    params:
        config=ask.section("report"),
        code=ask.code("report"),
    script:
        "../scripts/report.py"


rule summary:
    input:
        ask.treatments(),
        outdated=ask.outdated(
            "summary", f"{study.results_dir}/summary.html", ask.summary_settings()
        ),
    output:
        page=report(
            f"{study.results_dir}/summary.html",
            caption="../report/summary.rst",
            category="all patients",
            labels={"figure": "side by side"},
        ),
        table=f"{study.results_dir}/summary.csv",
    log:
        f"{study.results_dir}/logs/summary.log",
    benchmark:
        f"{study.results_dir}/benchmarks/summary.tsv"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=ask.summary_settings(),
        code=ask.code("summary"),
    script:
        "../scripts/summary.py"
