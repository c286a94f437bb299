# What every rule needs: the configuration it uses and a hash of the code it reaches.


def section(name, wildcard=None):
    """Params function: what a rule uses of a patient's configuration, for one model or controller."""
    return lambda wildcards: study.patients[wildcards.patient].section(
        name, wildcards.get(wildcard) if wildcard else None
    )


def code(name):
    """Hash of a rule's script and of all project code it imports: an edit there reruns the rule.

    Only the main process compares it; those that run single jobs are spared the time.
    """
    return workflow.is_main_process and code_hash(f"{ROOT}/workflow/scripts/{name}.py")


def cost(name, wildcard, wildcards):
    """Memory [MB] and CPU time [s] that a job is expected to need, by the size of its models."""
    part = wildcards.get(wildcard) if wildcard else None
    model = part if wildcard == "model" else None
    size = sizes(study.patients[wildcards.patient], f"{study.results_dir}/{wildcards.patient}", model)
    return expected(name, part, size)


def memory(name, wildcard=None, ranks=1):
    """Resource function: memory to ask for [MB], of all ranks, more on every attempt."""
    def asked(wildcards, attempt):
        memory_mb, cpu_s = cost(name, wildcard, wildcards)
        return requested(ranks * memory_mb, cpu_s, attempt)[0]

    return asked


def minutes(name, wildcard=None):
    """Resource function: wall time to ask for [min], more on every attempt."""
    return lambda wildcards, attempt: requested(*cost(name, wildcard, wildcards), attempt)[1]


def cores(name, wildcard=None):
    """Threads function of a rule that can use several."""
    def used(wildcards):
        here = workflow.is_main_process and workflow.local_exec  # not on a cluster's nodes
        share = workflow.cores // len(study.patients) if here else math.inf
        return useful_threads(cost(name, wildcard, wildcards)[1], share)

    return used


def every_controller(path):
    """Input function: one file of each controller that the patient names."""
    return lambda wildcards: expand(
        f"{RESULTS}/{path}",
        patient=wildcards.patient,
        controller=study.patients[wildcards.patient].controllers,
    )


def every_treatment(path):
    """Input function: one file of each controller that treats; yardsticks only if there are no others."""
    return lambda wildcards: expand(
        f"{RESULTS}/{path}",
        patient=wildcards.patient,
        controller=treating(wildcards),
    )


def treating(wildcards):
    """Names of the controllers that treat the patient, or else of those that there are."""
    patient = study.patients[wildcards.patient]
    return patient.treating or patient.controllers


def sources(wildcards):
    """All that the anatomy is made from, so that a new file there reruns the patient."""
    return study.patients[wildcards.patient].sources


def given_model(wildcards):
    """The reduced model that was made elsewhere; [] where the control model is reduced."""
    return study.patients[wildcards.patient].reduced_model or []


def scan(wildcards):
    """The image whose grid results are exported on; [] where there is none."""
    return study.patients[wildcards.patient].scan or []


def every_ensemble(wildcards):
    """Input function: the summary of each controller's ensemble; none by default."""
    return expand(
        f"{RESULTS}/ensemble/{{controller}}.json",
        patient=wildcards.patient,
        controller=study.patients[wildcards.patient].ensemble_controllers,
    )


def every_draw(wildcards):
    """Input function: the metrics of each draw of one controller's ensemble."""
    draws = study.patients[wildcards.patient].config["ensemble"]["draws"]
    return expand(
        f"{RESULTS}/ensemble/{wildcards.controller}/{{draw}}.json",
        patient=wildcards.patient,
        draw=range(1, draws + 1),
    )
