"""Controllers that a patient file names, built in or from a user's file, and their options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hifuflow.controller.methods.option import file_keys, json_schema, read_options
from hifuflow.controller.methods.own import FORM, PLAIN, code_sha256, load_class, plain_name
from hifuflow.controller.methods.registry import OPTIONS, YARDSTICKS
from hifuflow.errors import InputError
from hifuflow.provenance import file_sha256

from .paths import user_path
from .schema import check, load_schema

OWN = "./FILE.py:CLASS"
RESERVED = ("treatment",)  # name of the results of the best controller


@dataclass(frozen=True)
class NamedController:
    """A controller that a patient file names.

    Attributes
    ----------
    key : where it is named.  options : class of its options; None if it cannot be used.
    yardstick : see `Controller.yardstick`.
    source : argument of `registry.controller_class`; for a user's own one with the `sha256` of its
        code.
    """

    key: str
    options: type | None
    yardstick: bool
    source: dict


def named_controllers(content: dict, file: Path) -> tuple[dict, list[InputError]]:
    """Name -> `NamedController`, in the order of the patient file, and the faults.

    Controllers that cannot be used are included, with None for their options.
    """
    schema = load_schema("patient")["properties"]
    entries = content.get("controllers", schema["controllers"]["default"])
    named, faults = {}, []
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, str) or entry in entries[:number]:
            continue  # the schema says what is wrong
        key, own_form = f"controllers.{number}", FORM.fullmatch(entry)
        name = plain_name(own_form["class_name"]) if own_form else entry
        try:
            if not own_form and name not in OPTIONS:
                raise InputError("no such controller", value=entry,
                                 allowed=f"{', '.join(OPTIONS)}, or {OWN}")
            if own_form:
                _check_name(name, schema, named)
            named[name] = _own(key, name, own_form, file) if own_form else NamedController(
                key, OPTIONS[name], name in YARDSTICKS, {"name": name})
        except InputError as error:
            faults.append(InputError(error.problem, file=file, key=key, value=entry,
                                     allowed=error.allowed))
            named.setdefault(name, NamedController(key, None, False, {}))
    return named, faults


def patient_schema(named: dict) -> dict:
    """Schema of a patient file, with a section for the options of every controller.

    The section of a controller that cannot be used is not checked.
    """
    schema = load_schema("patient")
    own_options = {name: controller.options for name, controller in named.items()
                   if name not in OPTIONS}
    sections = {name: {} if options is None else json_schema(options)
                for name, options in {**OPTIONS, **own_options}.items()}
    return {**schema, "properties": {**schema["properties"], **sections}}


def check_controllers(config: dict, named: dict, file: Path) -> list[InputError]:
    """Faults of the controllers' options and of the ensemble, beyond the schema.

    Paths of files become absolute, and the hashes of the files part of the controller's source.
    """
    faults = []
    for name, controller in named.items():
        for key in file_keys(controller.options):
            entered = config[name].get(key)
            path = user_path(entered, file.parent)
            if path is not None and path.is_file():
                path = path.resolve()
                config[name][key] = str(path)
                controller.source.setdefault("files", {})[key] = file_sha256(path)
            else:
                faults.append(InputError(
                    "no such file", file=file, key=f"{name}.{key}", value=entered,
                    allowed="a path relative to the patient file"))
        try:
            read_options(controller.options, config[name])
        except Exception as error:  # raised by the class itself
            faults.append(InputError(f"{error}", file=file, key=name, value=config[name]))
    treating = [name for name, controller in named.items() if not controller.yardstick]
    ensemble = config["ensemble"]
    if ensemble["draws"] and "controllers" not in ensemble and not treating:
        faults.append(InputError(
            "draws patients, but no controller treats them", file=file, key="controllers",
            value=list(named),
            allowed="a controller that treats, or these in ensemble.controllers too"))
    faults += [InputError("does not treat the patient", file=file, key="ensemble.controllers",
                          value=name, allowed=", ".join(named))
               for name in ensemble.get("controllers", []) if name not in named]
    return faults


def _check_name(name: str, sections: dict, named: dict) -> None:
    if not PLAIN.fullmatch(name):
        raise InputError("is not a usable name", allowed="a class whose name begins with a letter "
                         "and holds ASCII letters, digits and _")
    if name in OPTIONS or name in sections or name in RESERVED or name in named:
        other = ("a built-in controller is" if name in OPTIONS else
                 "a section of the patient file is" if name in sections else
                 "the best treatment is" if name in RESERVED else f"{named[name].key} is")
        raise InputError(f"would be called '{name}', as {other}",
                         allowed="a class with another name")


def _own(key: str, name: str, entry, patient_file: Path) -> NamedController:
    """A controller from a file relative to the patient file; its options class is checked, too."""
    file = user_path(entry["file"], patient_file.parent)
    if file is None or not file.is_file():
        raise InputError("no such file", allowed="a path relative to the patient file")
    file = file.resolve()
    controller = load_class(file, entry["class_name"])
    _check_defaults(json_schema(controller.Options), patient_file)
    return NamedController(key, controller.Options, bool(controller.yardstick), {
        "name": name, "file": str(file), "class": entry["class_name"],
        "sha256": code_sha256(file)})


def _check_defaults(schema: dict, file: Path) -> None:
    _, faults = check({}, {**schema, "required": []}, file)
    for fault in faults:
        raise InputError(f"the default of option '{fault.key}', {fault.value!r}, {fault.problem}",
                         allowed=fault.allowed)
