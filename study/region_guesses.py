"""Regions of a patient file, guessed from the names that a label map gives to its labels."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass

FILL_IN = "FILL_IN"  # stands where nothing can be guessed; `validate` refuses it
OUTSIDE = {"background", "outside", "exterior"}  # names of labels outside the body
# Words for something to be treated, and words that mean its surroundings or its absence.
TARGET = re.compile(r"gtv|.*(tumou?r|lesion|metasta|carcinom|sarcom|fibroid|myoma|cancer|neoplas)")
NO_TARGET = re.compile(r"no|non|not|without|healthy|normal|near|around|outside|.*peri.*|non.*")
# Words of names that stand for a tissue of config/tissues.yaml, beside that tissue's own name.
WORDS = {
    "bone": "bones rib ribs vertebra vertebrae vertebral femur hip sacrum skull sternum scapula "
            "clavicle clavicula humerus pelvis tibia fibula patella mandible ilium cortical",
    "muscle": "muscles gluteus autochthon iliopsoas psoas pectoral pectoralis",
    "fat": "adipose",
    "gland": "glandular fibroglandular",
    "lung": "lungs",
    "kidney": "kidneys",
    "soft_tissue": "body trunk",
}
NEEDS = {"gland": {"breast", "mammary"}}  # the tissue does not have the properties of other glands


@dataclass(frozen=True)
class Region:
    """One label of a map, as a region of a patient file.

    Attributes
    ----------
    name : of the region, usable in a patient file.  label : as it is written there.
    header_name : the name in the map's header, "" if it has none.
    tissue : name of a tissue, or FILL_IN.
    certain : whether the header names the tissue itself.
    target : whether the name means something to be treated.
    outside : whether the name means something outside the body.
    components : number of connected pieces.  ml : volume.
    """

    name: str
    label: str
    header_name: str
    tissue: str
    certain: bool
    target: bool
    outside: bool
    components: int
    ml: float

    def line(self) -> str:
        """The region in a patient file."""
        return f"{self.name}: {{labels: [{self.label}], tissue: {self.tissue}}}"


def guess_regions(rows: list[dict], layered: bool, tissues, by_name: bool = False
                  ) -> list[Region]:
    """A region for each label; where segments overlap (`layered`), the smallest come first.

    Parameters
    ----------
    rows : see `inspect_labels.label_rows`.  tissues : names of the known tissues.
    by_name : a label is told by its name even where its value would do.
    """
    used: set[str] = set()
    names = [row["name"] for row in rows]
    named = layered or by_name
    regions = []
    for row in sorted(rows, key=lambda row: row["voxels"] if layered else 0):
        header_name, label = row["name"] or "", row["label"]
        words = _words(header_name)
        target = is_target(words)
        tissue = "tumour" if target and "tumour" in tissues else tissue_of(words, tissues)
        regions.append(Region(
            _new_name(words, label, used),
            # A value may be that of other layers' segments, too.
            json.dumps(header_name, ensure_ascii=False)
            if named and header_name and names.count(header_name) == 1 else str(label),
            header_name, tissue or FILL_IN, "_".join(words) == tissue, target,
            "_".join(words) in OUTSIDE, row["components"], row["ml"]))
    return regions


def is_target(words: list[str]) -> bool:
    """Whether a name of these words means something to be treated."""
    return (any(TARGET.match(word) for word in words)
            and not any(NO_TARGET.fullmatch(word) for word in words))


def tissue_of(words: list[str], tissues) -> str | None:
    """The tissue that a name of these words means; None if it means none."""
    text = f"_{'_'.join(words)}_"
    by_name = [tissue for tissue in tissues if f"_{tissue}_" in text
               and (words == [tissue] or NEEDS.get(tissue, set(words)) & set(words))]
    if by_name:
        return max(by_name, key=len)
    return next((tissue for word in words for tissue, others in WORDS.items()
                 if word in others.split() and tissue in tissues), None)


def _words(name: str) -> list[str]:
    """The words of a name in plain lower-case letters and digits, in British spelling."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return [{"tumor": "tumour"}.get(word, word) for word in re.findall(r"[a-z0-9]+", plain)]


def _new_name(words: list[str], label: int, used: set[str]) -> str:
    """A valid name for a region that no other region has yet."""
    base = "_".join(words) or f"label_{label}".replace("-", "minus_")
    base = base if base[0].isalpha() else f"region_{base}"
    name, number = base, 1
    while name in used:
        number += 1
        name = f"{base}_{number}"
    used.add(name)
    return name
