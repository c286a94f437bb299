"""The closed loop: patient, thermometry, estimator, controller and supervisor, by samples."""

from __future__ import annotations

import time as clock
from collections import deque

import numpy as np

from hifuflow.controller.estimation.kalman import KalmanFilter
from hifuflow.controller.methods.base import Controller
from hifuflow.controller.methods.hyperthermia import HyperthermiaController
from hifuflow.controller.methods.mintime import MintimeController
from hifuflow.controller.methods.optimum import Optimum
from hifuflow.controller.methods.paper import PaperController
from hifuflow.controller.methods.raster import RasterController
from hifuflow.controller.patient.drawn import simulated_patient
from hifuflow.controller.patient.plant import HeatedPatient
from hifuflow.controller.patient.thermometry import Thermometry
from hifuflow.errors import InputError
from hifuflow.job import Progress, log
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.records.trajectory import Trajectory

from .dose import covered
from .imaging import Imaging
from .metrics import time_to_limit, treatment_metrics
from .model_difference import model_difference
from .prediction import DiscreteModel
from .record import Record
from .safety import Supervisor
from .settings import EstimatorSettings, Prescription, SafetySettings, ThermometrySettings

CONTROLLERS: dict[str, type[Controller]] = {
    "raster": RasterController, "paper": PaperController, "mintime": MintimeController,
    "hyperthermia": HyperthermiaController, "optimum": Optimum}


def run_treatment(rom: ReducedModel, plant: BioheatModel, controller: str,
                  config: dict) -> tuple[Trajectory, dict]:
    """Treat the patient `plant` with a controller that knows `rom`.

    The treatment ends "complete" when the controller is finished, by what it believes (by default
    when the prescribed fraction of the target has the prescribed dose); "unreachable" when the
    controller gives up; "timeout" at `max_time_s`; "aborted" when the supervisor has held the power
    off for too long (`safety`). What was really reached is in the metrics. After the end the
    patient cools with the power off until nothing in the target is above 43 degC (at most
    `plant.cooling_s`): that dose counts too.

    Parameters
    ----------
    rom, plant : reduced and full model, with the same outputs and foci.
    controller : a key of `CONTROLLERS`.
    config : sections `prescription`, `thermometry`, `plant`, `estimator`, `safety`, and the
        controller's own `options`, as the patient schema defines them.

    Returns
    -------
    trajectory, metrics : see `Trajectory` and `metrics.treatment_metrics`.

    Raises
    ------
    InputError
        for models that do not fit together.
    """
    _check_same_outputs(rom, plant)
    prescription = Prescription.read(config["prescription"])
    settings = ThermometrySettings.read(config["thermometry"])
    started = clock.perf_counter()
    model = DiscreteModel.sampled(rom, settings.interval)
    imaging, safety = Imaging(settings, rom.outputs), SafetySettings.read(config["safety"])
    observer = KalmanFilter(model, EstimatorSettings.read(config["estimator"]), imaging,
                            prescription.max_power, safety.max_gap)
    log.info("%d states, estimator ready after %.1f s", rom.order, clock.perf_counter() - started)
    method = CONTROLLERS[controller](model, prescription, config["options"])
    loop = _Loop(rom, simulated_patient(plant, config["plant"], settings.interval,
                                        prescription.max_power),
                 Thermometry(settings, imaging), observer, method, prescription, safety)
    status, end_time = loop.treat()
    loop.cool(end_time + config["plant"]["cooling_s"])
    trajectory = loop.record.trajectory(plant.voxels.index, imaging.position)
    metrics = treatment_metrics(
        trajectory, prescription, status, end_time, trajectory.voxel_dose[~plant.voxels.target],
        plant.voxels.volume, np.array(loop.step_seconds), rom.order)
    metrics["first_focus_limit_s"] = time_to_limit(model, prescription)
    metrics["model_difference"] = model_difference(model, trajectory, prescription)
    metrics.update(method.metrics(trajectory))
    log.info("%s after %.0f s, %.1f %% of the target treated", status, end_time,
             100 * metrics["coverage"])
    return trajectory, metrics


class _Loop:
    """One treatment on its way."""

    def __init__(self, rom: ReducedModel, plant: HeatedPatient, thermometry: Thermometry,
                 observer: KalmanFilter, controller: Controller, prescription: Prescription,
                 safety: SafetySettings):
        self._plant, self._thermometry, self._observer = plant, thermometry, observer
        imaging = thermometry.imaging
        self._controller, self._prescription = controller, prescription
        self._supervisor = Supervisor(safety, imaging.limit, len(rom.foci),
                                      prescription.max_power, controller.note)
        self._volume = rom.outputs.volume[rom.outputs.target]
        self._off = np.zeros(len(rom.foci))
        self._sample, self._interval = 0, observer.model.interval
        blank = np.full(len(imaging.position), np.nan)
        self._underway = deque([blank] * imaging.delay)
        self.record = Record(rom, plant, prescription.dose)
        self.step_seconds: list[float] = []

    def treat(self) -> tuple[str, float]:
        """Run to the end of the treatment; returns (status, time)."""
        with Progress("treatment", total=self._prescription.max_time, unit="s") as progress:
            while True:
                status, power, believed = self._step()
                if status:
                    self.record.event(self._time, f"end: {status}")
                    return status, self._time
                self._advance(power)
                progress.advance(self._interval, f"{believed:.1%} treated")

    def cool(self, until: float) -> None:
        """Power off until the target is below 43 degC, or until a time [s].

        The sample at which the treatment ended is already recorded, with the power off.
        """
        target = self._observer.model.outputs.target
        while self._plant.temperature[target].max() > 43.0 and self._time < until:
            self._advance(self._off)
            measured = self._image()
            estimate = self._observer.update(self._time, measured)
            self.record.sample(self._time, self._off, estimate.constraint_temperature, measured)

    @property
    def _time(self) -> float:
        return self._sample * self._interval

    def _image(self) -> np.ndarray:
        """Take an image; the one that arrives now."""
        self._underway.append(self._thermometry.image(self._sample,
                                                       self._plant.mean_temperature))
        return self._underway.popleft()

    def _step(self) -> tuple[str, np.ndarray, float]:
        """Image, estimate, decision, record: (status or "", power, believed coverage)."""
        measured = self._image()
        started = clock.perf_counter()
        estimate = self._observer.update(self._time, measured)
        believed = covered(estimate.target_dose, self._prescription.dose, self._volume)
        status, power = self._decide(estimate, measured)
        self.step_seconds.append(clock.perf_counter() - started)
        for note in self._controller.take_notes():
            self.record.event(self._time, note)
        self.record.sample(self._time, power, estimate.constraint_temperature, measured)
        return status, power, believed

    def _decide(self, estimate, measured) -> tuple[str, np.ndarray]:
        if self._controller.finished(estimate):
            return "complete", self._off
        if estimate.time >= self._prescription.max_time:
            return "timeout", self._off
        status, power = self._supervisor.command(estimate, measured, self._controller.decide)
        if not status and self._controller.unreachable:
            status = "unreachable"
        return status, self._off if status else power

    def _advance(self, power: np.ndarray) -> None:
        self._plant.advance(power)
        self._observer.predict(power)
        self._sample += 1


def _check_same_outputs(rom: ReducedModel, plant: BioheatModel) -> None:
    same = (rom.C.shape[0] == plant.C.shape[0] and rom.foci.shape == plant.foci.shape
            and np.allclose(rom.foci, plant.foci)
            and np.allclose(rom.outputs.position, plant.outputs.position))
    if not same:
        raise InputError("the reduced model and the plant have other outputs or foci",
                         key="reduction/rom.h5, fem/plant.h5")
