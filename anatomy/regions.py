"""Which voxels belong to which region of the patient file."""

from __future__ import annotations

import numpy as np

from hifuflow.errors import InputError, raise_faults
from hifuflow.formats.image import HIGHEST, LOWEST
from hifuflow.job import log

from .labelmap import LabelMap
from .settings import AnatomySettings

MOST_LISTED = 40


def named_regions(source: LabelMap, settings: AnatomySettings):
    """Renumber a map: region i of the patient file becomes label i + 1, outside stays 0.

    Where segments overlap, the region written first in the patient file holds the voxel.

    Returns
    -------
    labels : (nx, ny, nz) int16.  regions : name -> {"label", "tissue"}, in the file's order.

    Raises
    ------
    InputError : labels or names that the map does not hold, labels that no region claims, a
        region that others cover wholly; all of them at once.
    """
    content = _Content(source, settings.written.file)
    number = {}  # (layer, label) -> region's number
    regions, faults = {}, []
    for rank, region in enumerate(settings.regions, start=1):
        regions[region.name] = {"label": rank, "tissue": region.tissue}
        for found in content.find(region.labels, f"regions.{region.name}.labels", faults):
            if number.setdefault(found, rank) != rank:
                owner = list(regions)[number[found] - 1]
                faults.append(region.written.error(
                    f"{content.describe(*found)} already belongs to region '{owner}'", "labels",
                    allowed="each label in one region"))
    outside = content.find(settings.outside, "anatomy.outside", faults)
    free = [key for key in content.counts if key not in number and key not in outside]
    if free:
        unclaimed = _listing([content.describe(*key) for key in free])
        faults.append(InputError(
            f"no region names the labels {unclaimed}", file=settings.written.file, key="regions",
            allowed="every label of the map but 0 in a region, or in anatomy.outside if it is not "
                    "body" + ("; a scan goes into anatomy.image, with thresholds"
                              if len(free) > MOST_LISTED else "")))
    raise_faults(faults)
    labels = _painted(source.layers, number)
    _check_covered(labels, content, number, regions, settings.written.file)
    return labels, regions


class _Content:
    """Labels that a map holds: `counts`, (layer, label) -> voxels."""

    def __init__(self, source, file):
        self.file, self.counts = file, {}
        for index, layer in enumerate(source.layers):
            count = sum(np.bincount(slab.ravel() - LOWEST, minlength=HIGHEST - LOWEST + 1)
                        for slab in layer)  # slab by slab: it takes less memory
            for label in np.flatnonzero(count) + LOWEST:
                if label:
                    self.counts[index, int(label)] = int(count[label - LOWEST])
        self.names: dict = {}  # (layer, label) -> name
        self.empty = set()  # names without voxels
        for segment in source.segments:
            layers = range(len(source.layers)) if segment.layer is None else [segment.layer]
            held = [(layer, segment.label) for layer in layers
                    if (layer, segment.label) in self.counts]
            self.names.update(dict.fromkeys(held, segment.name))
            self.empty |= set() if held else {segment.name}
        self.classes = len(source.layers) - 1 if "thresholds" in source.record else None

    def describe(self, layer, label):
        """A label with its name and number of voxels, in words."""
        name = self.names.get((layer, label))
        text = f"'{name}'" if layer == self.classes else f"{label} '{name}'" if name else f"{label}"
        return f"{text} ({self.counts[layer, label]} voxels)"

    def find(self, wanted, key, faults):
        """(layer, label) of labels or names; what is not there is added to the faults."""
        found = []
        for item in wanted:
            held = [where for where in self.counts if self._is(where, item)]
            if len(held) == 1:
                found += held
                continue
            kind = "label" if isinstance(item, int) else "name"
            if held:
                problem = f"{len(held)} segments have this {kind}"
                if not any(where in self.names for where in held):
                    problem += ", and the header gives them no names to tell them apart"
            elif item in self.empty:
                problem = "the segment of this name has no voxel"
            else:
                problem = f"no such {kind} in the map"
            faults.append(InputError(problem, file=self.file, key=key, value=item,
                                     allowed="labels of the map: " + _listing(
                                         [self.describe(*where) for where in self.counts])))
        return found

    def _is(self, where, item):
        if isinstance(item, int):
            return where[1] == item and where[0] != self.classes
        return self.names.get(where) == item


def _listing(words):
    """Some of the words, and how many there are."""
    more = f", ... ({len(words)} in all)" if len(words) > MOST_LISTED else ""
    return ", ".join(words[:MOST_LISTED]) + more or "none"


def _painted(layers, number):
    """Region of each voxel: of those that claim it in any layer, the one with the least number."""
    claim = None
    for index, layer in enumerate(layers):
        table = np.full(HIGHEST - LOWEST + 1, HIGHEST, np.int16)
        for (where, label), rank in number.items():
            if where == index:
                table[label - LOWEST] = rank
        part = table[layer - LOWEST]
        claim = part if claim is None else np.minimum(claim, part)
    claim[claim == HIGHEST] = 0
    return claim


def _check_covered(labels, content, number, regions, file):
    """Say what a region loses to those before it; refuse one that loses all."""
    if len({layer for layer, _ in content.counts}) < 2:
        return
    left, faults = np.bincount(labels.ravel(), minlength=len(regions) + 1), []
    for region, entry in regions.items():
        given = sum(content.counts[key] for key, rank in number.items() if rank == entry["label"])
        if left[entry["label"]] == 0:
            faults.append(InputError(
                f"all of its {given} voxels belong to regions written before it", file=file,
                key=f"regions.{region}",
                allowed="regions in order: what lies inside stands before what surrounds it"))
        elif left[entry["label"]] < given:
            log.info("region %s leaves %d of its %d voxels to regions written before it", region,
                     given - left[entry["label"]], given)
    raise_faults(faults)
