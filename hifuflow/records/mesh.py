"""Link of a mesh to its record: `mesh/{model}.json` has the hash of `mesh/{model}.msh`."""

from __future__ import annotations

from pathlib import Path

from hifuflow.errors import DamagedFile
from hifuflow.job import read_json, write_json
from hifuflow.provenance import file_sha256

HASH = "mesh_sha256"  # MSH files have no checksum of their own


def save_mesh_record(path, record: dict) -> None:
    """Write the record of a mesh beside it, with the mesh's hash."""
    path = Path(path)
    write_json(path, {**record, HASH: file_sha256(path.with_suffix(".msh"))})


def check_mesh(path) -> Path:
    """The path of a mesh, which must match its record if there is one.

    Raises
    ------
    DamagedFile : it does not.
    """
    path, record = Path(path), Path(path).with_suffix(".json")
    if path.is_file() and record.is_file():
        stated = read_json(record).get(HASH)
        if stated and stated != file_sha256(path):
            raise DamagedFile(path, f"it does not match the {HASH} in {record.name}")
    return path
