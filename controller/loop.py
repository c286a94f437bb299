"""Closed loop: patient, thermometry, estimator, controller and supervisor, sample by sample."""

from __future__ import annotations

import json
import time as clock

import numpy as np

from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.estimation.kalman import KalmanFilter
from hifuflow.controller.methods.base import Controller
from hifuflow.controller.patient.array import Array
from hifuflow.controller.patient.drawn import simulated_patient
from hifuflow.controller.patient.faulty_loads import with_faulty_loads
from hifuflow.controller.patient.plant import HeatedPatient
from hifuflow.controller.patient.scanner import Scanner
from hifuflow.controller.patient.thermometry import Thermometry
from hifuflow.errors import HifuflowError, InputError
from hifuflow.job import Progress, log
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.faulty_load import FaultyLoad
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.records.trajectory import Trajectory

from .dose import BREAK, covered
from .failure import failure
from .fault_settings import changes
from .imaging import Image, Imaging
from .metrics import damaged_volume, time_to_limit, treatment_metrics
from .model_difference import model_difference
from .prediction import DiscreteModel
from .read_only import read_only
from .record import Record
from .safety.beforehand import check_beforehand
from .safety.supervisor import Supervisor
from .safety.watch import Watch
from .treatment_settings import TreatmentSettings
from .verdict import verdict


def run_treatment(rom: ReducedModel, plant: BioheatModel, settings: TreatmentSettings,
                  faulty: FaultyLoad | None = None) -> tuple[Trajectory, dict]:
    """Treat the patient `plant` with a controller that knows `rom`.

    The treatment ends "complete" when the controller is finished, by what it believes (by default
    when the prescribed fraction of the target has the prescribed dose), and nothing holds the power
    off; "unreachable" when the controller gives up; "timeout" at `prescription.max_time`; "aborted"
    when the supervisor ends it (`safety`). After the end the patient cools with the power off until
    nothing in the target is above 43 degC (at most `patient.cooling`): that dose counts too. What
    was really reached is in the metrics, and a treatment that is complete only by belief ends as
    "aborted" (`verdict`). `status_reason` says why a treatment is not complete.

    Parameters
    ----------
    rom, plant : reduced and full model, with the same outputs and foci.
    settings : of the treatment, with its controller.
    faulty : loads of the plant while elements of the array are dead, where that is among
        `settings.faults`.

    Returns
    -------
    trajectory, metrics : see `Trajectory` and `metrics.treatment_metrics`.

    Raises
    ------
    InputError
        for models that do not fit together, loads of dead elements that are missing, limits that
        can never be kept, or a user's own controller that cannot start.
    """
    _check_same_outputs(rom, plant)
    check_beforehand(settings)
    prescription, thermometry, safety = settings.prescription, settings.thermometry, settings.safety
    started = clock.perf_counter()
    model = DiscreteModel.sampled(rom, thermometry.interval,
                                  settings.estimator.truncation / prescription.max_power)
    imaging = Imaging(thermometry, rom.outputs)
    observer = KalmanFilter(model, settings.estimator, imaging, prescription.max_power,
                            safety.max_gap)
    log.info("%d of %d states, estimator ready after %.1f s", len(model.A), rom.order,
             clock.perf_counter() - started)
    controller = _started(settings, model)
    patient = simulated_patient(with_faulty_loads(plant, settings.faults, faulty),
                                settings.patient, thermometry.interval, prescription.max_power)
    loop = _Loop(rom, patient, imaging, observer, controller, settings)
    status, end_time, reason = loop.treat()
    loop.cool(end_time + settings.patient.cooling)
    trajectory = loop.record.trajectory(plant.voxels.index, imaging.position)
    metrics = treatment_metrics(
        trajectory, prescription, status, end_time, trajectory.voxel_dose[~plant.voxels.target],
        plant.voxels.volume, np.array(loop.step_seconds), rom.order)
    metrics["damaged_target_volume_m3"] = damaged_volume(
        trajectory.voxel_dose[plant.voxels.target], plant.voxels.volume)
    trajectory, judged = verdict(trajectory, metrics, loop.believed, reason,
                                safety.overshoot_tolerance)
    metrics |= judged
    metrics |= patient.coldest.metrics()
    metrics["first_focus_limit_s"] = time_to_limit(model, prescription)
    metrics["model_difference"] = model_difference(model, trajectory, prescription)
    metrics |= _own_metrics(controller, trajectory, metrics)
    log.info("%s after %.0f s, %.1f %% of the target treated%s", metrics["status"], end_time,
             100 * metrics["coverage"],
             f": {metrics['status_reason']}" if metrics["status_reason"] else "")
    return trajectory, metrics


def _started(settings: TreatmentSettings, model: DiscreteModel) -> Controller:
    try:
        return settings.controller(read_only(model), settings.prescription, settings.options)
    except InputError as error:  # a controller knows neither its file nor its section
        key = f"{settings.name}.margin_k" if error.key == "margin_k" else error.key
        raise InputError(error.problem, file=error.file or settings.file, key=key,
                         value=error.value, allowed=error.allowed) from error
    except HifuflowError:
        raise
    except Exception as error:
        if settings.own_file is None:
            raise
        raise InputError(f"{settings.controller.__name__} cannot start: {failure(error)}",
                         file=settings.own_file) from error


def _own_metrics(controller: Controller, trajectory: Trajectory, metrics: dict) -> dict:
    """The controller's own numbers; a treatment is never lost for a fault in them."""
    try:
        # Numbers of NumPy become plain ones, what is not finite None.
        text = json.dumps(controller.metrics(trajectory), default=lambda value: value.tolist())
        own = json.loads(text, parse_constant=lambda _: None)
        taken = sorted(set(own) & set(metrics))
    except Exception:
        log.warning("the controller's own metrics are left out", exc_info=True)
        return {}
    if taken:
        log.warning("the controller's own metrics do not replace %s", ", ".join(taken))
    return {name: value for name, value in own.items() if name not in metrics}


class _Loop:
    """Treatment on its way: what happens at each sample."""

    def __init__(self, rom: ReducedModel, plant: HeatedPatient, imaging: Imaging,
                 observer: KalmanFilter, controller: Controller, settings: TreatmentSettings):
        self._plant, self._observer = plant, observer
        self._controller, self._prescription = controller, settings.prescription
        self._faults = settings.faults
        self._array = Array(len(rom.foci), settings.faults)
        self._scanner = Scanner(Thermometry(settings.thermometry, imaging),
                                settings.thermometry.interval, settings.faults,
                                settings.thermometry.seed)
        self._supervisor = Supervisor(settings.safety, imaging.limit, len(rom.foci),
                                      settings.prescription.max_power, controller.note)
        self._watch = Watch(settings.safety, imaging, observer, controller.note)
        self._volume = rom.outputs.volume[rom.outputs.target]
        self._off = np.zeros(len(rom.foci))
        self._sample, self._interval = 0, observer.model.interval
        self.record = Record(rom, plant, settings.prescription.dose)
        self.step_seconds: list[float] = []
        self.believed = 0.0

    def treat(self) -> tuple[str, float, str]:
        """Run to the end of the treatment; returns (status, time, why it is not complete)."""
        with Progress("treatment", total=self._prescription.max_time, unit="s") as progress:
            while True:
                status, power = self._step()
                if status:
                    self.record.end(self._time, status)
                    return status, self._time, self._reason(status)
                self._advance(power, self._array.radiated(self._time, power))
                progress.advance(self._interval, f"{self.believed:.1%} treated")

    def cool(self, until: float) -> None:
        """Power off until the target is below 43 degC, or until a time [s].

        The sample at which the treatment ended is already recorded, with the power off. The array
        has no supply any more: one that is stuck at a power heats no longer.
        """
        target = self._observer.model.outputs.target
        while self._plant.temperature[target].max() > BREAK and self._time < until:
            self._advance(self._off, self._array.off)
            image = self._image()
            believed = self._watch.believed(self._time, image)
            estimate = self._observer.update(self._time, believed.temperature)
            self.record.sample(self._time, self._off, estimate.constraint_temperature,
                               image.temperature)

    @property
    def _time(self) -> float:
        return self._sample * self._interval

    def _image(self) -> Image:
        """Take an image; the one that arrives now."""
        return self._scanner.image(self._sample, self._plant.mean_temperature)

    def _reason(self, status: str) -> str:
        """Why the treatment is not complete; "" if it is."""
        ended = {"complete": "", "unreachable": "the controller sees no way to go on",
                 "timeout": "prescription.max_time_s is over"}.get(status, "")
        held = "" if status == "complete" else self._supervisor.reason
        return f"{ended}, and power is held off: {held}" if ended and held else ended or held

    def _step(self) -> tuple[str, np.ndarray]:
        """Image, estimate, decision, record: (status or "", power)."""
        for text in changes(self._faults, self._time - self._interval, self._time):
            self.record.event(self._time, text)
        image = self._image()
        started = clock.perf_counter()
        believed = self._watch.believed(self._time, image)
        estimate = self._observer.update(self._time, believed.temperature)
        self.believed = covered(estimate.target_dose, self._prescription.dose, self._volume)
        status, power = self._decide(estimate, believed)
        self.step_seconds.append(clock.perf_counter() - started)
        for note in self._controller.take_notes():
            self.record.event(self._time, note)
        self.record.sample(self._time, power, estimate.constraint_temperature, image.temperature)
        return status, power

    def _decide(self, estimate: Estimate, image: Image) -> tuple[str, np.ndarray]:
        given, decide = read_only(estimate), self._controller.decide
        finding = self._watch.finding(given)
        holds = self._supervisor.holds(given, image, finding)
        try:
            if self._controller.finished(given) and not holds:
                return "complete", self._off
        except Exception as error:
            decide = _failing(error)
        if estimate.time >= self._prescription.max_time:
            return "timeout", self._off
        status, power = self._supervisor.command(given, image, decide, finding)
        if not status and self._controller.unreachable:
            status = "unreachable"
        return status, self._off if status else power

    def _advance(self, power: np.ndarray, radiated: np.ndarray) -> None:
        """To the next sample: `power` is what was commanded, and all that the observer knows."""
        self._plant.advance(radiated)
        self._plant.coldest.check()
        self._observer.predict(power)
        self._sample += 1


def _failing(error: Exception):
    """A controller's `decide` in its place after it failed: it fails in the same way."""
    def decide(_):
        raise error

    return decide


def _check_same_outputs(rom: ReducedModel, plant: BioheatModel) -> None:
    same = (rom.C.shape[0] == plant.C.shape[0] and rom.foci.shape == plant.foci.shape
            and np.allclose(rom.foci, plant.foci)
            and np.allclose(rom.outputs.position, plant.outputs.position))
    if not same:
        raise InputError("the reduced model and the plant have other outputs or foci",
                         key="reduction/rom.h5, fem/plant.h5")
