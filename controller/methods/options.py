"""Options of the built-in controllers: sections of a patient file under the controllers' names."""

from __future__ import annotations

from dataclasses import dataclass

from .option import option

PATIENCE = ("A treatment in which no further voxel reaches the dose for this long ends as "
            "`unreachable`.")
MARGIN = "Least distance from the limits."
CONFIDENCE = "Further distance from the limits in standard deviations of the estimate."
HEATING_MARGIN = ("Relative safety margin on the predicted heating of constraint points, e.g. "
                  "where the beam crosses them.")
BLOCK = "Time for which a plan holds its powers, in whole samples."
CAP = "Highest temperature of the target by the model"


@dataclass(frozen=True)
class RasterOptions:
    """Options of the controller `raster`. Cooling of 90 s is typical by the reference paper; power
    and dwell are assumed, such that one pass reaches the dose around each focus."""

    power: float = option(15, "Acoustic power.", "w", above=0, at_most=1000)
    dwell: float = option(30, "Time at each focus.", "s", at_least=0.1, at_most=600)
    cooling: float = option(90, "Time with the power off after each focus.", "s",
                            at_least=0, at_most=3600)
    passes: int = option(10, "A treatment that is not complete after so many passes over the foci "
                         "ends as `unreachable`.", at_least=1, at_most=1000)


@dataclass(frozen=True)
class PaperOptions:
    """Options of the controller `paper` (assumed: the paper leaves them open)."""

    focal_zone_level: float = option(
        0.5, "Voxels heated at least this fraction as fast as a focus's hottest one must have the "
        "dose before the focus counts as treated; 0 counts all that are nearest to it.",
        at_least=0, at_most=1)
    patience: float = option(900, PATIENCE, "s", at_least=2, at_most=86400)


@dataclass(frozen=True)
class MintimeOptions:
    """Options of the controller `mintime` (assumed, chosen by trial on breast models)."""

    horizon: float = option(1600, "Longest plan.", "s", at_least=60, at_most=7200)
    block: float = option(8, BLOCK, "s", at_least=0.1, at_most=60)
    coast: float = option(
        120, "Time after a plan within which its limits hold and its dose counts.", "s",
        at_least=0, at_most=600)
    first_coverage: float = option(
        0.9, "Fraction of the target that is treated first; what takes longer comes after it.",
        above=0, at_most=1)
    dose_factor: float = option(
        1.25, "Planned over prescribed dose; covers single voxels whose true dose is below the "
        "estimated one.", at_least=1, at_most=100)
    finish_factor: float = option(
        1.1, "Estimated over prescribed dose with which a voxel counts as treated at the end, for "
        "what the estimate may be wrong by.", at_least=1, at_most=100)
    max_target: float = option(85, CAP + "; 15 K below the boiling point of water.", "c",
                               at_least=44, at_most=99)
    margin: float = option(0.02, MARGIN, "k", at_least=0, at_most=10)
    confidence: float = option(1.5, CONFIDENCE, at_least=0, at_most=10)
    heating_margin: float = option(0.1, HEATING_MARGIN, at_least=0, at_most=10,
                                   formerly="heating_doubt")
    evaluations: int = option(1, "Evaluations in each sample that improve the plan.",
                              at_least=0, at_most=1000)
    preparation: int = option(3, "Rounds of improvement before the treatment, at two resolutions "
                              "in time.", at_least=1, at_most=1000)
    patience: float = option(900, PATIENCE, "s", at_least=2, at_most=86400)


@dataclass(frozen=True)
class HyperthermiaOptions:
    """Options of the controller `hyperthermia`: mild heating of the target for a time. The
    temperature is the mean that Tillander et al. (2016) reached in the clinic; the rest is
    assumed."""

    temperature: float = option(42, "Temperature that the target is held at.", "c",
                                at_least=38, at_most=45)
    hold: float = option(1800, "Time for which it is held.", "s", at_least=1, at_most=86400)
    tolerance: float = option(0.25, "The time begins when the target's mean is so near to the "
                              "temperature.", "k", above=0, at_most=5)
    window: float = option(1, "Distance of the target's mean from the temperature within which "
                           "time counts as time in the window.", "k", at_least=0.1, at_most=5)
    in_window: float = option(0.95, "Least part of the held time in the window, to be reached.",
                              at_least=0, at_most=1)
    spread: float = option(1.1, "Goal for T10 and T90, the temperatures that 10 % and 90 % of the "
                           "target exceed: within this of the temperature (Tillander et al. 2016: "
                           "43.1 and 40.9 degC around 42.0).", "k", at_least=0.1, at_most=10)
    horizon: float = option(60, "Time that the powers are chosen for.", "s",
                            at_least=2, at_most=600)
    max_target: float = option(45, CAP + ".", "c", at_least=38, at_most=99)
    margin: float = option(0.02, MARGIN, "k", at_least=0, at_most=10)
    confidence: float = option(2, CONFIDENCE, at_least=0, at_most=10)
    heating_margin: float = option(0.25, HEATING_MARGIN, at_least=0, at_most=10,
                                   formerly="heating_doubt")


@dataclass(frozen=True)
class OptimumOptions:
    """Options of the yardstick `optimum` (assumed): the shortest treatment that an offline search
    finds, carried out as it is."""

    horizon: float = option(2400, "Longest treatment that is searched.", "s",
                            at_least=60, at_most=14400)
    block: float = option(8, "Time for which powers are held, in whole samples.", "s",
                          at_least=0.1, at_most=60)
    coast: float = option(
        120, "Time after the last power within which limits hold and dose counts.", "s",
        at_least=0, at_most=600)
    first_coverage: float = option(
        0.9, "Fraction of the target that is treated as soon as possible; the rest comes after it.",
        above=0, at_most=1)
    max_target: float = option(85, CAP + ".", "c", at_least=44, at_most=99)
    rounds: int = option(6, "Rounds of the search, at two resolutions in time.",
                         at_least=1, at_most=1000)
