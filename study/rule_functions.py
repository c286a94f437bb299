"""Functions of a study for the workflow's rules: settings, code, resources, files, staleness.

Methods named as a directive of a rule return the function that Snakemake calls with the wildcards.
"""

from __future__ import annotations

import math
import subprocess
import sys
from functools import cache
from itertools import chain
from pathlib import Path

from hifuflow.errors import HifuflowError, raise_faults
from hifuflow.formats.side_files import with_side_files
from hifuflow.job_record import save_run_record, settings_hash, state_of
from hifuflow.provenance import ROOT, code_hash, created_by

from .campaign import dead_elements, parts, ranges
from .resources import expected, requested, sizes, useful_threads
from .study import Study
from .unfinished import write_unfinished_summary
from .up_to_date import damaged_results, order_times, refresh_marks, why_outdated


class RuleFunctions:
    """Functions for the rules of one run.

    Parameters
    ----------
    study : the patients.
    workflow : Snakemake's object of this name. Its main process decides which jobs run; the
        processes of single jobs skip what they do not need.
    """

    def __init__(self, study: Study, workflow):
        self.study, self.workflow = study, workflow
        self.results = f"{study.results_dir}/{{patient}}"
        self.code_hashes: dict[str, str] = {}
        self.state = cache(state_of)
        self._campaign = cache(self._campaign_of)

    def section(self, name: str, wildcard: str | None = None):
        """The part of a patient's configuration that a rule uses, for one model or controller."""
        return lambda wildcards: self._patient(wildcards).section(
            name, wildcards.get(wildcard) if wildcard else None)

    def code(self, name: str):
        """Hash of a rule's script and of all project code it imports: an edit reruns the rule."""
        if not self.workflow.is_main_process:
            return False
        if name not in self.code_hashes:
            self.code_hashes[name] = code_hash(f"{ROOT}/workflow/scripts/{name}.py")
        return self.code_hashes[name]

    # --- resources --------------------------------------------------------------------------

    def memory(self, name: str, wildcard: str | None = None, ranks: int = 1):
        """Memory to ask for [MB], of all ranks, more on every attempt."""
        def asked(wildcards, attempt):
            memory_mb, cpu_s = self._cost(name, wildcard, wildcards)
            return requested(ranks * memory_mb, cpu_s, attempt)[0]

        return asked

    def minutes(self, name: str, wildcard: str | None = None):
        """Wall time to ask for [min], more on every attempt."""
        return lambda wildcards, attempt: requested(
            *self._cost(name, wildcard, wildcards), attempt)[1]

    def campaign_minutes(self, wildcards, attempt):
        """Wall time to ask for a job of a campaign [min]: that of all its treatments."""
        memory_mb, cpu_s = self._cost("control", "controller", wildcards)
        count = len(self._campaign(wildcards.patient)[int(wildcards.part) - 1])
        return requested(memory_mb, count * cpu_s, attempt)[1]

    def cores(self, name: str, wildcard: str | None = None):
        """Threads of a rule that can use several."""
        def used(wildcards):
            here = self.workflow.is_main_process and self.workflow.local_exec  # no cluster's node
            share = self.workflow.cores // len(self.study.patients) if here else math.inf
            return useful_threads(self._cost(name, wildcard, wildcards)[1], share)

        return used

    def _cost(self, name, wildcard, wildcards):
        """Memory [MB] and CPU time [s] that a job is expected to need, by its models' sizes."""
        part = wildcards.get(wildcard) if wildcard else None
        model = part if wildcard == "model" else None
        folder = f"{self.study.results_dir}/{wildcards.patient}"
        return expected(name, part, sizes(self._patient(wildcards), folder, model))

    # --- input files ------------------------------------------------------------------------

    def every_controller(self, path: str):
        """One file of each controller that the patient names."""
        return lambda wildcards: [self._path(path, wildcards, controller=name)
                                  for name in self._patient(wildcards).controllers]

    def every_treatment(self, path: str):
        """One file of each controller that treats; of yardsticks only where there are no others."""
        return lambda wildcards: [
            self._path(path, wildcards, controller=name)
            for name in self._patient(wildcards).section("best")["controllers"]]

    def sources(self, wildcards):
        """All files from which the anatomy is made, so that a new one reruns the patient."""
        return self._patient(wildcards).sources

    def given_model(self, wildcards):
        """The reduced model that was made elsewhere; [] where the control model is reduced."""
        return self._patient(wildcards).reduced_model or []

    def plant_section(self, wildcards):
        """What the plant's assembly uses of a patient's configuration."""
        return self._patient(wildcards).section("assemble", "plant")

    def dead_load(self, wildcards):
        """The plant's loads while elements of the array are dead; [] where no fault says so."""
        dead = self._patient(wildcards).dead_elements
        return self._path("fem/load_dead_{count}_{seed}.h5", wildcards, **dead) if dead else []

    def scan(self, wildcards):
        """The image whose grid results are exported on; [] where there is none."""
        return self._patient(wildcards).scan or []

    def dicom_series(self, wildcards):
        """All files of the DICOM series that results refer to."""
        return with_side_files(self._patient(wildcards).dicom_series)

    def every_ensemble(self, wildcards):
        """The summary of each controller's ensemble; none by default."""
        return [self._path("ensemble/{controller}.json", wildcards, controller=name)
                for name in self._patient(wildcards).ensemble_controllers]

    def every_draw(self, wildcards):
        """The metrics of each draw of one controller's ensemble."""
        return [self._path("ensemble/{controller}/{draw}.json", wildcards,
                           controller=wildcards.controller, draw=draw)
                for draw in range(1, self.draws(wildcards) + 1)]

    def draws(self, wildcards):
        """Number of draws of the ensemble."""
        return self._patient(wildcards).config["ensemble"]["draws"]

    # --- fault campaigns --------------------------------------------------------------------

    def every_campaign(self) -> list[str]:
        """The page of each patient's campaign; none where none was asked for."""
        names = self.study.patients if self.study.campaign else ()
        return [f"{self.study.results_dir}/{name}/campaign/index.html" for name in names]

    def campaign_part(self, wildcards):
        """Settings of one job of a campaign: of the treatment, and what is drawn for it."""
        settings = self._patient(wildcards).section("control", wildcards.controller)
        return {**settings, "over_k": ranges()["over_k"],
                "draws": self._campaign(wildcards.patient)[int(wildcards.part) - 1]}

    def campaign_loads(self, wildcards):
        """The plant's loads with each set of dead elements that a job needs."""
        drawn = self._campaign(wildcards.patient)[int(wildcards.part) - 1]
        return [self._path("fem/load_dead_{dead}.h5", wildcards, dead=dead)
                for dead in dead_elements(drawn)]

    def campaign_rows(self, wildcards):
        """What came of each job of a campaign."""
        count = len(self._campaign(wildcards.patient))
        return [self._path("campaign/{controller}/{part}.json", wildcards, controller=name,
                           part=part)
                for name in self.campaign_settings(wildcards)["controllers"]
                for part in range(1, count + 1)]

    def campaign_settings(self, wildcards):
        """What the page of a campaign says of it."""
        patient, campaign = self._patient(wildcards), self.study.campaign
        return {"file": patient.file.name, "controllers": campaign.treated_by(patient),
                "seed": campaign.seed, "draws": campaign.draws, "pairs": campaign.pairs,
                "over_k": ranges()["over_k"]}

    def _dead_elements(self, name: str) -> list[str]:
        """COUNT_SEED of all arrays with dead elements that the present run needs."""
        draws = chain(*self._campaign(name)) if self.study.campaign else ()
        return dead_elements([self.study.patients[name].config, *draws])

    def _campaign_of(self, name: str) -> list[list[dict]]:
        return parts(self.study.campaign.of(self.study.patients[name]))

    # --- all of a run -----------------------------------------------------------------------

    def every_result(self) -> list[str]:
        """The files of a run that are made for users."""
        folder = self.study.results_dir
        return [f"{folder}/summary.html", *(
            f"{folder}/{name}/{file}" for name, patient in self.study.patients.items()
            for file in ("report/index.html", "export/treatment.vtkhdf",
                         *(f"export/{controller}_lesion.dcm" for controller in patient.controllers
                           if patient.dicom_series),
                         *(f"ensemble/{controller}.json"
                           for controller in patient.ensemble_controllers)))]

    def treatments(self) -> list[str]:
        """Metrics and trajectory of each treatment of each patient."""
        return [f"{self.study.results_dir}/{name}/control/{controller}/{file}"
                for name, patient in self.study.patients.items()
                for controller in patient.controllers
                for file in ("metrics.json", "trajectory.h5")]

    def summary_settings(self) -> dict:
        """Patient -> its controllers, and the goals of its treatments."""
        return {name: patient.section("summary") for name, patient in self.study.patients.items()}

    def _patient(self, wildcards):
        return self.study.patients[wildcards.patient]

    def _path(self, path, wildcards, **parts) -> str:
        return f"{self.results}/{path}".format(patient=wildcards.patient, **parts)

    # --- what is outdated -------------------------------------------------------------------

    def outdated(self, name: str, path: str, config=None, sources=None):
        """Input function without files, which has results made again that are outdated by content.

        Parameters
        ----------
        name : of the rule's script.  path : one of the rule's outputs.
        config : the rule's `params.config`.  sources : its input function of files from elsewhere.
        """
        def check(wildcards):
            if self.workflow.is_main_process:
                file = path.format(**dict(wildcards.items()))
                settings = config(wildcards) if callable(config) else config
                files = sources(wildcards) if sources else []
                self._note(file, why_outdated(file, settings, self.code(name),
                                              [files] if isinstance(files, str) else files,
                                              self.state))
            return []

        return check

    def write_unfinished_summary(self) -> None:
        """Write the page and the table of all patients with the existing results, and the failures.

        They do not count as results: the rule makes them again.
        """
        try:
            write_unfinished_summary(self.study.results_dir, self.summary_settings())
        except HifuflowError as error:
            print(f"no summary: {error}", file=sys.stderr)

    def print_summary(self, failed: bool = False) -> None:
        """Print how each treatment ended and where its report is, or why there is none."""
        if self.study.campaign and not failed:
            print("\n".join(f"fault campaign: {page}" for page in self.every_campaign()))
            return
        # In a separate process, as the report's libraries take a second to load.
        subprocess.run([sys.executable, "-m", "hifuflow", "summary", self.study.results_dir,
                        *self.study.patients])

    def _note(self, file: str, reason: str | None) -> None:
        if reason and file not in self.workflow.dag.forcefiles:
            print(f"{file} is made again: {reason}", file=sys.stderr)
            self.workflow.dag.forcefiles.add(file)

    def check_results(self) -> None:
        """Check all existing results before Snakemake does.

        Raises
        ------
        InputError : some were changed since their jobs wrote them.
        """
        folders = {f"{self.study.results_dir}/{name}": patient
                   for name, patient in self.study.patients.items()}
        raise_faults([fault for folder in folders for fault in damaged_results(folder)])
        try:
            for folder, patient in folders.items():
                order_times(folder, [*patient.sources, *filter(None, (
                    patient.scan, patient.dicom_series, patient.reduced_model))])
            order_times(self.study.results_dir)
        except PermissionError:  # of somebody else's results: Snakemake makes more than it must
            pass

    def started(self) -> None:
        """Record the configuration and code to which the results belong from now on."""
        codes = {**self.code_hashes, "assemble_mpi": self.code("assemble")}
        shared = {"created_by": created_by(), "code_sha256": codes}
        save_run_record(self.study.results_dir, shared)
        for name, patient in self.study.patients.items():
            folder = Path(self.study.results_dir) / name
            refresh_marks(folder)
            save_run_record(folder, {**shared, "patient_file": patient.file.name,
                                     "draws": patient.config["ensemble"]["draws"],
                                     "campaign": self.study.campaign is not None,
                                     "dead_elements": self._dead_elements(name), **{
                key: {name: settings_hash(patient.section(rule, name)) for name in names}
                for key, rule, names in (
                    ("controllers", "control", patient.controllers),
                    ("ensembles", "draw", patient.ensemble_controllers))}})
