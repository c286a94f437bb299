"""Fault campaigns: which faults which treatments of a patient get, drawn evenly from their ranges.

`config/campaign.yaml` names the faults and their ranges. The values of each are drawn with
scrambled Sobol sequences (`scipy.stats.qmc.Sobol`), which fill the ranges more evenly than
independent draws; the same seed gives the same draws, whichever other faults are asked for.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import cache

from hifuflow.errors import InputError, InvalidConfig
from hifuflow.provenance import ROOT

from .schema import check, load_schema
from .yaml_file import read_yaml

RANGES = ROOT / "config" / "campaign.yaml"
DRAWS_PER_JOB = 10  # a job reads the models once for so many treatments
DIGITS = 3  # behind the point of a drawn value


@dataclass(frozen=True)
class Campaign:
    """What a campaign is to treat.

    Attributes
    ----------
    names : of the faults.  draws : treatments with each of them.
    pairs : treatments with two of them at once.
    seed : of all draws.  controllers : names; all of the patient's that treat, if empty.
    """

    names: tuple[str, ...]
    draws: int
    pairs: int
    seed: int
    controllers: tuple[str, ...]

    @classmethod
    def read(cls, section: dict) -> Campaign:
        """From the section `campaign` of a study, checked.

        Raises
        ------
        InvalidConfig : an unknown fault, or nothing to draw.
        """
        known = [*ranges()["sound"], *ranges()["faults"]]
        asked = known if section["faults"] == ["all"] else section["faults"]
        faults = [InputError("is not known", file=RANGES, key="campaign.faults", value=name,
                             allowed=f"all, {', '.join(known)}")
                  for name in asked if name not in known]
        several = [name for name in asked if name in ranges()["faults"]]
        if section["pairs"] and len(several) < 2:
            faults.append(InputError("has no two faults to combine", file=RANGES,
                                     key="campaign.pairs", value=section["pairs"],
                                     allowed=f"0, or two of {', '.join(ranges()['faults'])}"))
        if not section["draws"] and not section["pairs"]:
            faults.append(InputError("has nothing to treat", file=RANGES, key="campaign.draws",
                                     value=0, allowed="a number of draws or of pairs"))
        if faults:
            raise InvalidConfig(faults)
        return cls(tuple(dict.fromkeys(asked)), section["draws"], section["pairs"],
                   section["seed"], tuple(section["controllers"]))

    def treated_by(self, patient) -> list[str]:
        """Names of the controllers.

        Raises
        ------
        InputError : one that the patient does not name.
        """
        for name in self.controllers:
            if name not in patient.controllers:
                raise InputError("does not treat the patient", file=patient.file,
                                 key="campaign.controllers", value=name,
                                 allowed=", ".join(patient.controllers))
        return list(self.controllers or patient.treating)

    def of(self, patient) -> list[dict]:
        """All treatments of one controller, each `number` (from 1), `fault` (its name), `sound`,
        `seed` (of the images' noise), `begins_s` and `faults`, as a patient file has them.

        Raises
        ------
        InvalidConfig : faults that the patient cannot have.
        """
        ranges_of = _Ranges(patient)
        names = [name for name in self.names if ranges_of.possible(name)]
        drawn = [(i, name, faults) for name in names for i, faults in enumerate(
            ranges_of.draws([name], self._seed(name), self.draws))]
        several = [name for name in names if name in ranges()["faults"]]
        if self.pairs and len(several) > 1:
            drawn += [(i, *one) for i, one in enumerate(
                ranges_of.pairs(several, self._seed("two faults"), self.pairs))]
        return [{"number": number, "fault": name, "sound": name in ranges()["sound"],
                 "seed": self.seed + i, "faults": patient.config["faults"] + faults,
                 "begins_s": min((fault["from_s"] for fault in faults), default=0.0)}
                for number, (i, name, faults) in enumerate(drawn, 1)]

    def _seed(self, name: str) -> list[int]:
        return [self.seed, zlib.crc32(name.encode())]


@cache
def ranges() -> dict:
    """Content of `config/campaign.yaml`, checked."""
    content, faults = check(read_yaml(RANGES), "campaign", RANGES)
    if faults:
        raise InvalidConfig(faults)
    return content


def parts(draws: list[dict]) -> list[list[dict]]:
    """The treatments job by job."""
    return [draws[start:start + DRAWS_PER_JOB] for start in range(0, len(draws), DRAWS_PER_JOB)]


def dead_elements(draws: list[dict]) -> list[str]:
    """COUNT_SEED of each array with dead elements that the treatments need."""
    return sorted({f"{fault['count']}_{fault['seed']}" for draw in draws
                   for fault in draw["faults"] if fault["kind"] == "dead_elements"})


class _Ranges:
    """What the faults of one patient are drawn from."""

    def __init__(self, patient):
        latest = 0.5 * patient.config["prescription"]["max_time_s"]
        begins = ranges()["begins_s"]
        self._begins = [min(begins[side], latest) for side in ("low", "high")]
        self._working = sum(weight > 0 for weight in patient.transducer["weights"])
        self._own = patient.config["faults"]
        self._known = {**ranges()["sound"], **ranges()["faults"]}

    def possible(self, name: str) -> bool:
        """Whether the patient can have this fault: dead elements need an array, and can be there
        only once."""
        dead = any(fault["kind"] == "dead_elements" for fault in self._known[name])
        return not dead or (self._working > 1 and not any(
            fault["kind"] == "dead_elements" for fault in self._own))

    def draws(self, names: list[str], seed: list[int], n: int) -> list[list[dict]]:
        """The faults of these names, all at once, `n` times."""
        size = sum(self._size(name) for name in names)
        return [self._faults(names, iter(row)) for row in _sobol(size, seed, n)]

    def pairs(self, names: list[str], seed: list[int], n: int) -> list[tuple[str, list[dict]]]:
        """(name, faults) of two different ones at once, `n` times."""
        two = [(first, second) for i, first in enumerate(names) for second in names[i + 1:]]
        size = 1 + 2 * max(self._size(name) for name in names)
        found = []
        for row in _sobol(size, seed, n):
            pair = two[min(int(row[0] * len(two)), len(two) - 1)]
            found.append((" + ".join(pair), self._faults(pair, iter(row[1:]))))
        return found

    def _size(self, name: str) -> int:
        """How many numbers the draw of one fault takes."""
        return sum(("from_s" not in fault) + sum(
            3 if value.get("length") else 2 if value.get("either_sign") else 1
            for value in fault.values() if isinstance(value, dict)) for fault in self._known[name])

    def _faults(self, names, numbers) -> list[dict]:
        found = []
        for name in names:
            for given in self._known[name]:
                fault = {key: self._value(key, value, numbers) for key, value in given.items()}
                if name in ranges()["sound"]:
                    fault.setdefault("from_s", 0.0)
                elif "from_s" not in fault:
                    fault["from_s"] = self._beginning(next(numbers))
                found.append(fault)
        filled, faults = check({"faults": found}, _faults_schema(), RANGES)
        if faults:
            raise InvalidConfig(faults)
        return filled["faults"]

    def _beginning(self, number: float) -> float:
        at_start = ranges()["from_start_fraction"]
        if number < at_start:
            return 0.0
        low, high = self._begins
        return round(low + (high - low) * (number - at_start) / max(1 - at_start, 1e-12), DIGITS)

    def _value(self, key: str, value, numbers):
        """The value that is drawn where a range stands; everything else as it is."""
        if not isinstance(value, dict):
            return value
        number = next(numbers)
        if "choose" in value:
            chosen = value["choose"][min(int(number * len(value["choose"])),
                                         len(value["choose"]) - 1)]
            if key != "count":
                return chosen
            return min(max(round(chosen * self._working), 1), self._working - 1)
        size = value["low"] + (value["high"] - value["low"]) * number
        if value.get("length"):  # even on the sphere: even along the axis, and around it
            along, around = 2 * next(numbers) - 1, 2 * math.pi * next(numbers)
            across = math.sqrt(max(1 - along**2, 0.0))
            return [round(size * part, DIGITS) for part in (
                across * math.cos(around), across * math.sin(around), along)]
        if value.get("either_sign") and next(numbers) < 0.5:
            size = -size
        return round(size, DIGITS)


def _faults_schema() -> dict:
    patient = load_schema("patient")
    return {**patient, "required": [], "properties": {"faults": patient["properties"]["faults"]}}


def _sobol(size: int, seed: list[int], n: int):
    """(n, size) numbers between 0 and 1."""
    if not n:
        return []
    if not size:
        return [[]] * n
    import numpy as np  # here only: the rules of an ordinary run need no NumPy
    from scipy.stats import qmc

    sampler = qmc.Sobol(size, rng=np.random.default_rng(seed))
    return sampler.random_base2(math.ceil(math.log2(n)))[:n].tolist()  # even for powers of two
