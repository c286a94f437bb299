"""Check by content of which results belong to the present configuration.

Snakemake's records are kept by path, apart from the results, and compare time stamps. Those of
`hifuflow.job_record` are kept with the results and compare content.
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

FINAL = ("export", "report")  # folders with results for users, which no job reads
TIMESTAMP = ".snakemake_timestamp"  # file whose time Snakemake takes as that of its folder


def why_outdated(file, config, code_sha256: str, sources: Iterable = (),
                 state: Callable = state_of) -> str | None:
    """Reason why a result is outdated; None if it is up to date or does not exist.

    Parameters
    ----------
    file : the result, `results/{patient}/...`.
    config, code_sha256 : settings of its job, and hash of its code.
    sources : files from elsewhere that the job reads.
    state : function that returns the state of a result.
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
    """Errors for changed results of a patient, of those that other jobs would read."""
    faults = []
    for path, _ in _records(folder):
        try:
            check_content(path)
        except DamagedFile as error:
            faults.append(error)
    return faults


def refresh_marks(folder) -> None:
    """Update the marks of unchanged results, so that a copied folder is hashed only once."""
    for path, record in _records(folder):
        state = FileState.of(path, record.state)
        if state.sha256 == record.state.sha256 and state.marks != record.state.marks:
            dataclasses.replace(record, state=state).save(record_path(path))


def order_times(folder, elsewhere: Iterable = ()) -> None:
    """Adjust time stamps so that no result is older than its inputs.

    Snakemake would otherwise make it again, and content has already decided whether it must.

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
    while moved:  # a changed result may now be newer than results made from it
        moved = False
        for outputs, (inputs, oldest) in jobs.items():
            newest = max([oldest, *map(_time, inputs)])
            for path in (folder / name for name in outputs):
                if 0 < _time(path) < newest:
                    _set_time(path, newest)
                    moved = True


def _time(path: Path) -> int:
    """Time of modification [ns] of a file or link itself; 0 if it does not exist."""
    mark = path / TIMESTAMP
    return os.lstat(mark if mark.exists() else path).st_mtime_ns if os.path.lexists(path) else 0


def _set_time(path: Path, time: int) -> None:
    mark = path / TIMESTAMP
    os.utime(mark if mark.exists() else path, ns=(time, time), follow_symlinks=False)


def _records(folder, final: bool = False):
    """Yield (file, record) of each existing result; those that no job reads only if `final`."""
    folder = Path(folder)
    for path in sorted((folder / FOLDER).rglob("*.json")):
        name = path.relative_to(folder / FOLDER)
        file = folder / str(name).removesuffix(".json")
        if name.name != RUN and (final or name.parts[0] not in FINAL) and file.is_file() and (
                record := JobRecord.load(path)):
            yield file, record
