"""Which results belong to the present configuration, decided by their content.

Snakemake's own records are kept by path, apart from the results, and it compares time stamps. Ours
(`hifuflow.job_record`) go with the results, and compare content.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from hifuflow.errors import DamagedFile
from hifuflow.job_record import (
    FOLDER,
    RUN,
    SOURCE,
    FileState,
    JobRecord,
    check_content,
    named_sources,
    record_path,
    settings_hash,
    state_of,
)

FINAL = ("export", "report")  # folders of what is made for people: no job reads it
TIMESTAMP = ".snakemake_timestamp"  # file in a folder whose time Snakemake takes for the folder's


def why_outdated(file, config, code_sha256: str, sources: Iterable = (),
                 state: Callable = state_of) -> str | None:
    """Why a result is not what its job would make now; None if it is, or if it is not there.

    Parameters
    ----------
    file : the result, `results/{patient}/...`.
    config, code_sha256 : settings of its job, and hash of its code.
    sources : files from elsewhere that the job reads.
    state : function that tells the state of a result.
    """
    if not Path(file).exists():
        return None
    record = JobRecord.load(record_path(file))
    if record is None:
        return "there is no record of what it was made from"
    if record.config_sha256 != settings_hash(config):
        return "it was made with other settings"
    if record.code_sha256 != code_sha256:
        return "it was made by other code"
    present = {name: FileState.of(path, record.inputs.get(name))
               for name, path in named_sources(sources).items() if path.is_file()}
    recorded = {name: known for name, known in record.inputs.items()
                if name.startswith(f"{SOURCE}/")}
    if _hashes(present) != _hashes(recorded):
        return "it was made from other files"
    folder = _folder(file)
    for name in record.inputs.keys() - recorded.keys():
        if (folder / name).exists() and state(folder / name).sha256 != record.inputs[name].sha256:
            return f"{name} is not the one that it was made from"
    return None


def _hashes(states: dict[str, FileState]) -> dict[str, str]:
    return {name: state.sha256 for name, state in states.items()}


def _folder(file) -> Path:
    """The folder of results that a result belongs to."""
    return next(parent for parent in record_path(file).parents if parent.name == FOLDER).parent


def damaged_results(folder) -> list[DamagedFile]:
    """Results of a patient that are not what their jobs wrote and that other jobs would read."""
    faults = []
    for path, _ in _records(folder):
        try:
            check_content(path)
        except DamagedFile as error:
            faults.append(error)
    return faults


def refresh_marks(folder) -> None:
    """Note how unchanged results look now, so that those of a copied folder are hashed once."""
    for path, record in _records(folder):
        state = FileState.of(path, record.state)
        if state.sha256 == record.state.sha256 and state.marks != record.state.marks:
            dataclasses.replace(record, state=state).save(record_path(path))


def order_times(folder, elsewhere: Iterable = ()) -> None:
    """Make no result older than what it was made from.

    Snakemake would make it again, and content has already told whether that is needed.

    Parameters
    ----------
    elsewhere : all files from elsewhere that jobs of this folder read.
    """
    folder = Path(folder)
    sources = [_time(Path(path)) for path in elsewhere]
    jobs = {}
    for _, record in _records(folder, final=True):
        newest = [folder / name for name in record.inputs if not name.startswith(f"{SOURCE}/")]
        oldest = max(sources, default=0) if len(newest) < len(record.inputs) else 0
        jobs[tuple(record.outputs)] = newest, oldest
    moved = True
    while moved:  # what is moved may be newer than what was made from it
        moved = False
        for outputs, (inputs, oldest) in jobs.items():
            newest = max([oldest, *map(_time, inputs)])
            for path in (folder / name for name in outputs):
                if 0 < _time(path) < newest:
                    _set_time(path, newest)
                    moved = True


def _time(path: Path) -> int:
    """Time of modification [ns], 0 where nothing is; of a link, its own."""
    mark = path / TIMESTAMP
    return os.lstat(mark if mark.exists() else path).st_mtime_ns if os.path.lexists(path) else 0


def _set_time(path: Path, time: int) -> None:
    mark = path / TIMESTAMP
    os.utime(mark if mark.exists() else path, ns=(time, time), follow_symlinks=False)


def _records(folder, final: bool = False):
    """(file, record) of each result that is there, of those that no job reads only if `final`."""
    folder = Path(folder)
    for path in sorted((folder / FOLDER).rglob("*.json")):
        name = path.relative_to(folder / FOLDER)
        file = folder / str(name).removesuffix(".json")
        if name.name != RUN and (final or name.parts[0] not in FINAL) and file.is_file() and (
                record := JobRecord.load(path)):
            yield file, record
