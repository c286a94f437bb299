"""Which results belong to the present configuration, decided by their content.

Snakemake's own records are kept by path, apart from the results, and it compares time stamps. Ours
(`hifuflow.job_record`) go with the results, and compare content.
"""

from __future__ import annotations

import dataclasses
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


def _records(folder):
    """(file, record) of each result that jobs read and that is there."""
    folder = Path(folder)
    for path in sorted((folder / FOLDER).rglob("*.json")):
        name = path.relative_to(folder / FOLDER)
        file = folder / str(name).removesuffix(".json")
        record = JobRecord.load(path)
        if record and name.parts[0] not in (*FINAL, RUN) and file.is_file():
            yield file, record
