"""Options of a controller: a frozen dataclass whose fields say what they mean and allow.

    @dataclass(frozen=True)
    class GentleOptions:
        \"\"\"Options of the controller `gentle`.\"\"\"

        step: float = option(0.5, "Power per kelvin that is missing.", "w_k", above=0, at_most=10)

The patient file's section `gentle` then takes the key `step_w_k` (name and unit), checked before
anything runs as all other keys are: this is turned into JSON Schema. The controller gets an object
whose attribute `step` holds the value in SI units.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from dataclasses import dataclass
from pathlib import Path

from hifuflow.errors import InputError

# What a key ends in: its value in SI units. All other units are taken as they are.
TO_SI = {"mm": 1e-3, "ms": 1e-3, "min": 60.0, "ml": 1e-6, "percent": 1e-2}
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", Path: "string"}
RANGE = {"at_least": "minimum", "at_most": "maximum", "above": "exclusiveMinimum",
         "below": "exclusiveMaximum"}
KNOWN = "bool, int, float, str, Path, tuple[float, ...] or tuple[float, float]"


@dataclass(frozen=True)
class NoOptions:
    """Options of a controller that has none."""


@dataclass(frozen=True)
class _Description:
    """Description of one option, as given to `option`."""

    default: object
    meaning: str
    unit: str
    one_of: tuple | None
    formerly: str
    limits: dict


def option(default, meaning: str, unit: str = "", *, one_of=None, formerly: str = "", **limits):
    """Field of an options class.

    Parameters
    ----------
    default : in the unit of the patient file; `...` for an option that must be given.
    meaning : what the option says, for the page of all keys.
    unit : ending of its key in the patient file, e.g. "s", "w", "c", "mm" (see `TO_SI`); a pure
        number has none.
    one_of : the values that are allowed, of text and whole numbers.
    formerly : an earlier name of the key, which is refused with a pointer to the new one.
    limits : `at_least`, `at_most`, `above`, `below`, in the unit of the patient file; of each entry
        where the option is a tuple.

    The type is the field's annotation: bool, int, float, str, a tuple of these (of fixed length, or
    `tuple[float, ...]` of any), or Path for a file, which is taken relative to the patient file
    and whose content reruns the treatment when it changes.
    """
    if unknown := set(limits) - set(RANGE):
        raise TypeError(f"option() has no {', '.join(sorted(unknown))}")
    described = _Description(default, meaning, unit, one_of and tuple(one_of), formerly,
                             {RANGE[name]: value for name, value in limits.items()})
    value = {} if default is ... else {"default": _in_si(default, unit)}
    return dataclasses.field(**value, kw_only=True, metadata={"option": described})


def json_schema(options: type) -> dict:
    """JSON Schema of the section that an options class describes.

    Raises
    ------
    InputError : the class describes none: it is no frozen dataclass, or a field of it is no
        `option`, has an unknown type or a default that it does not allow itself.
    """
    if not (inspect.isclass(options) and dataclasses.is_dataclass(options)
            and options.__dataclass_params__.frozen):
        raise InputError("its Options are no frozen dataclass", value=str(options),
                         allowed="a class under @dataclass(frozen=True)")
    keys = _keys(options)
    schema = {"description": " ".join((inspect.getdoc(options) or "").split()), "type": "object",
              "additionalProperties": False,
              "properties": {key: _property(*one) for key, one in keys.items()}}
    required = [key for key, (_, _, described) in keys.items() if described.default is ...]
    renamed = {described.formerly: key for key, (_, _, described) in keys.items()
               if described.formerly}
    if required:
        schema |= {"required": required, "default": {}}  # left out, it lacks them too
    return schema | {"x-renamed": renamed} if renamed else schema


def read_options(options: type, section: dict):
    """Options from a checked section, in SI units."""
    return options(**{name: _in_si(_typed(kind, section[key]), described.unit)
                      for key, (name, kind, described) in _keys(options).items()
                      if key in section})


def file_keys(options: type) -> list[str]:
    """Keys of the options that name files."""
    return [key for key, (_, kind, _) in _keys(options).items() if kind is Path]


def _keys(options: type) -> dict[str, tuple[str, type, _Description]]:
    """Key in the patient file -> (attribute, type, description)."""
    try:
        # By the names of its module, which may not be loaded under its own name (`own.load_class`).
        kinds = typing.get_type_hints(options, options.__init__.__globals__)
    except Exception as error:  # annotations are evaluated here, whatever is written in them
        raise InputError(f"annotations of {options.__name__}: {error}", allowed=KNOWN) from error
    keys = {}
    for field in dataclasses.fields(options):
        described = field.metadata.get("option")
        if described is None:
            raise InputError(f"{options.__name__}.{field.name} is no option",
                             allowed=f"{field.name}: ... = option(default, meaning, unit)")
        key = f"{field.name}_{described.unit}" if described.unit else field.name
        keys[key] = field.name, kinds[field.name], described
    return keys


def _property(name: str, kind, described: _Description) -> dict:
    """JSON Schema of one option."""
    entries = typing.get_args(kind) if typing.get_origin(kind) is tuple else ()
    entry, default = entries[0] if entries else kind, described.default
    if entry not in TYPES or (entry is Path and entries) or set(entries) - {entry, ...}:
        raise InputError(f"option '{name}' has an unknown type", value=str(kind), allowed=KNOWN)
    schema = {"type": TYPES[entry], **described.limits}
    if described.one_of:
        schema["enum"] = list(described.one_of)
    if entries:
        size = {} if ... in entries else {"minItems": len(entries), "maxItems": len(entries)}
        schema = {"type": "array", "items": schema, **size}
    schema = {"description": described.meaning, **schema}
    if default is not ...:
        schema["default"] = list(default) if entries else str(default) if entry is Path else default
    return schema


def _typed(kind, value):
    if isinstance(value, list):
        entry = typing.get_args(kind)[0]
        return tuple(entry(part) for part in value)
    return kind(value)


def _in_si(value, unit: str):
    factor = TO_SI.get(unit)
    if factor is None:
        return value
    return tuple(part * factor for part in value) if isinstance(value, tuple) else value * factor
