"""Certificate of a reduced model, `reduction/certificate.json`, and its link to the model."""

from __future__ import annotations

from pathlib import Path

from hifuflow.formats.hdf5 import open_artifact
from hifuflow.job import json_sha256, read_json, write_json
from hifuflow.provenance import file_sha256

from .reduced_model import ReducedModel

MODEL, FULL_MODEL, CERTIFICATE = "rom_sha256", "full_model_sha256", "certificate_sha256"


def save_certified(reduced: ReducedModel, certificate: dict, model_path, path, patient: str,
                   config_sha256: str, full_model_sha256: str) -> None:
    """Write a reduced model and its certificate, each with the other's hash.

    Parameters
    ----------
    full_model_sha256 : of the file with the model that was reduced; both carry it.
    """
    certificate = {**certificate, FULL_MODEL: full_model_sha256}
    reduced.save(model_path, patient, config_sha256, **{
        FULL_MODEL: full_model_sha256, CERTIFICATE: json_sha256(certificate)})
    write_json(path, {**certificate, MODEL: file_sha256(model_path)})


def read_certificate(path, model_path) -> tuple[dict, str]:
    """Certificate of the model in a file, and "".

    If there is none, or it is about another model: an empty dict, and the reason in words.

    Raises
    ------
    InputError : a file is damaged.
    """
    path, model_path = Path(path), Path(model_path)
    if not path.is_file() or not model_path.is_file():
        return {}, ""
    certificate = read_json(path)
    with open_artifact(model_path, "reduced_model") as file:
        stated = file.attrs.get(CERTIFICATE)
    about = certificate.pop(MODEL, None)
    if about != file_sha256(model_path) or stated != json_sha256(certificate):
        return {}, (f"Not certified: {path.name} is about another model than {model_path.name}, "
                    f"or was edited.")
    return {**certificate, MODEL: about}, ""
