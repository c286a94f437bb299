"""Records of what a job read and wrote, so that content decides what is up to date.

For each file that a job wrote, the folder `provenance/` beside the results has a JSON record: the
hashes of its content, of the job's settings and code, and of each file that the job read. Time
stamps say nothing about content: a copied or restored file may be older or newer. Together with
size and inode they only save hashing a file again when all of them are unchanged.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import DamagedFile, InputError
from .job import check_owner, read_json, write_json
from .provenance import config_hash, created_by, file_sha256

FOLDER = "provenance"
RUN = "run.json"  # the configuration and code of the latest run
ORDER_ONLY = "after"  # name of a rule's inputs that must exist but are not read
SOURCE = "source"


@dataclass(frozen=True)
class FileState:
    """State of a file: hash of its content, and marks that recognise it without reading.

    Attributes
    ----------
    sha256 : of its bytes.  marks : size, times of modification and change [ns], inode.
    """

    sha256: str
    marks: list

    @classmethod
    def of(cls, path, known: FileState | None = None) -> FileState:
        """State of a file; it is read only if its marks differ from those of the `known` state."""
        status = os.stat(path)
        marks = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        return known if known and known.marks == marks else cls(file_sha256(path), marks)


@dataclass(frozen=True)
class JobRecord:
    """Record of one file that a job wrote: `provenance/{file}.json`.

    Attributes
    ----------
    rule : name of the job's rule.
    config_sha256, code_sha256 : hashes of the settings and the code that it used.
    state : of the file.
    inputs : name -> state of each file that was read. Files of the results folder have their path
        in it, others `source/NUMBER/NAME`, so that they may be moved.
    outputs : paths in the folder of all files that the job wrote.
    """

    rule: str
    config_sha256: str
    code_sha256: str | None
    state: FileState
    inputs: dict[str, FileState]
    outputs: list[str]

    def save(self, path) -> None:
        """Write the record as JSON."""
        write_json(path, {"rule": self.rule, "created_by": created_by(),
                          "config_sha256": self.config_sha256, "code_sha256": self.code_sha256,
                          "file": vars(self.state),
                          "inputs": {name: vars(state) for name, state in self.inputs.items()},
                          "outputs": self.outputs})

    @classmethod
    def load(cls, path) -> JobRecord | None:
        """Read a record; None where there is none, or it is damaged."""
        try:
            content = read_json(path)
            return cls(content["rule"], content["config_sha256"], content["code_sha256"],
                       FileState(**content["file"]),
                       {name: FileState(**state) for name, state in content["inputs"].items()},
                       content["outputs"])
        except (OSError, InputError, KeyError, TypeError, AttributeError):
            return None


def record_path(file) -> Path:
    """Path of the record of a result, in the folder `provenance` of its results."""
    file = Path(file)
    for parent in file.parents:
        if (parent / FOLDER).is_dir():
            return parent / FOLDER / f"{file.relative_to(parent)}.json"
    return file.parent / FOLDER / f"{file.name}.json"


def record_of(file) -> JobRecord | None:
    """Record of a result, if there is one."""
    return JobRecord.load(record_path(file))


def state_of(file) -> FileState:
    """State of a result; it is read only if its record does not match."""
    record = record_of(file)
    return FileState.of(file, record.state if record else None)


def check_content(file) -> FileState:
    """State of a result, which must be unchanged since its job wrote it.

    Raises
    ------
    DamagedFile : it was changed.
    """
    record, state = record_of(file), state_of(file)
    if record and state.sha256 != record.state.sha256:
        raise DamagedFile(file, "its content is not what the run wrote")
    return state


def named_sources(paths) -> dict[str, Path]:
    """Name in a record -> path of each file from elsewhere; folders are left out."""
    return {f"{SOURCE}/{i}/{Path(path).name}": Path(path) for i, path in enumerate(paths)
            if not os.path.isdir(path)}


@contextmanager
def recorded(task):
    """Run the block as the job of a rule, and record its results when all of them are complete.

    Until then they have no records, so that results of a killed job are made again.

    Parameters
    ----------
    task : the `snakemake` object of a script.

    Raises
    ------
    DamagedFile : a result to be read was changed since its job wrote it.
    """
    folder = Path(task.log[0]).parents[1]
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    outputs = [Path(path) for path in task.output]
    for path in outputs:
        _own_record(folder, path).unlink(missing_ok=True)
    read = _files_read(task)
    inside = [path for path in read if path.is_relative_to(folder)]
    elsewhere = named_sources(path for path in read if not path.is_relative_to(folder))
    inputs = {str(path.relative_to(folder)): check_content(path) for path in inside
              if path.is_file()}
    inputs |= {name: FileState.of(path) for name, path in elsewhere.items()}
    code = run_record(folder).get("code_sha256", {}).get(task.rule)
    settings = settings_hash(task.params.get("config"))
    yield
    check_owner()
    made = [str(path.relative_to(folder)) for path in outputs]
    made.append(f"benchmarks/{Path(task.log[0]).stem}.tsv")  # Snakemake's own, named as the log is
    for path in outputs:
        if path.is_file():
            JobRecord(task.rule, settings, code, FileState.of(path), inputs, made).save(
                _own_record(folder, path))


def settings_hash(config) -> str:
    """Hash of a job's settings, independent of the folders of the files that they name."""
    return config_hash(_without_folders(config))


def _without_folders(value):
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(item) for item in value]
    return Path(value).name if isinstance(value, str) and os.path.isabs(value) else value


def _own_record(folder: Path, path: Path) -> Path:
    return folder / FOLDER / f"{path.relative_to(folder)}.json"


def _files_read(task) -> list[Path]:
    """Inputs of a job except those that only have to exist."""
    skipped = task.input.get(ORDER_ONLY) or []
    skipped = {skipped} if isinstance(skipped, str) else set(skipped)
    return [Path(path) for path in task.input if path not in skipped]


def run_record(folder) -> dict:
    """Record of the latest run (`save_run_record`); empty if there was none."""
    try:
        return read_json(Path(folder) / FOLDER / RUN)
    except (OSError, InputError):
        return {}


def save_run_record(folder, record: dict) -> None:
    """Record the configuration and code to which the results in a folder belong from now on."""
    write_json(Path(folder) / FOLDER / RUN, record)
