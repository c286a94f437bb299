"""Check YAML content against its schema: find every fault, and fill in every default.

The schemas in `workflow/schemas/` are JSON Schema (draft 2020-12); they are also where each key's
meaning, unit (in its name), range and default are documented.
"""

from __future__ import annotations

import copy
import difflib
import itertools
import math
import re
from functools import cache

import jsonschema

from hifuflow.errors import InputError
from hifuflow.provenance import ROOT

from .yaml_file import read_yaml

SCHEMAS = ROOT / "workflow" / "schemas"


MOST_FAULTS = 100  # of one file: nobody reads more


def _pattern(validator, pattern, instance, schema):
    """Refuse a text that does not match as a whole: `$` alone would accept a final line feed."""
    if isinstance(instance, str) and not re.fullmatch(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _unique(validator, wanted, instance, schema):
    """Refuse equal elements of a list, without comparing every pair."""
    if wanted and isinstance(instance, list) and (
            len({_comparable(item) for item in instance}) < len(instance)):
        yield jsonschema.ValidationError("has non-unique elements")


def _comparable(item):
    """A hashable equivalent that is equal for equal values: 1 equals 1.0, but not true."""
    if isinstance(item, list):
        return tuple(map(_comparable, item))
    if isinstance(item, dict):
        return frozenset((key, _comparable(value)) for key, value in item.items())
    return (isinstance(item, bool), item)


def _any_of(validator, options, instance, schema):
    """Where a key tells which alternative is meant (`discriminator`), only that one speaks."""
    key = schema.get("discriminator", {}).get("propertyName")
    if key is None or not isinstance(instance, dict):
        yield from jsonschema.Draft202012Validator.VALIDATORS["anyOf"](
            validator, options, instance, schema)
        return
    option = meant(schema, instance)
    if option is None:
        option = {"required": [key], "properties": {key: {"enum": list(kinds(schema))}}}
    yield from validator.descend(instance, option)


def kinds(schema: dict) -> dict:
    """Value of the key that tells alternatives apart -> the alternative."""
    key = schema["discriminator"]["propertyName"]
    return {option["properties"][key]["const"]: option for option in schema["anyOf"]}


def meant(schema: dict, value) -> dict | None:
    """The alternative of a schema with `discriminator` that a value names; None if none."""
    name = value.get(schema["discriminator"]["propertyName"]) if isinstance(value, dict) else None
    return kinds(schema).get(name) if isinstance(name, str) else None


# JSON Schema accepts 256.0 as an integer; a count must be written 256.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    {"pattern": _pattern, "uniqueItems": _unique, "anyOf": _any_of},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)))


@cache
def load_schema(name: str) -> dict:
    """The schema with a name: `patient`, `study`, `tissues`, `transducer` or `campaign`."""
    return read_yaml(SCHEMAS / f"{name}.schema.yaml")


def check(content: dict, schema: str | dict, file) -> tuple[dict, list[InputError]]:
    """A copy of `content` with defaults filled in, and the list of all faults.

    Parameters
    ----------
    schema : a name that `load_schema` takes, or a schema.
    """
    schema = load_schema(schema) if isinstance(schema, str) else schema
    filled = copy.deepcopy(content)
    _fill(filled, schema, schema)
    validator = _Validator(schema)
    errors = itertools.islice(_leaves(validator.iter_errors(filled)), MOST_FAULTS)
    faults = [fault for error in errors for fault in _translate(error, file, schema)]
    return filled, sorted(faults, key=lambda fault: fault.key or "") + _not_finite(filled, file)


def resolve(schema: dict, root: dict) -> dict:
    """A schema with its `$ref` followed; keys beside the reference win."""
    while "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _fill(value, schema, root) -> None:
    schema = resolve(schema, root)
    if "discriminator" in schema:
        _fill(value, meant(schema, value) or {}, root)
    else:
        for option in schema.get("anyOf", ()):
            _fill(value, option, root)
    if isinstance(value, list):
        for item in value:
            _fill(item, schema.get("items", {}), root)
    if not isinstance(value, dict):
        return
    for key, sub in schema.get("properties", {}).items():
        sub = resolve(sub, root)
        if key not in value:
            if "default" in sub:
                value[key] = copy.deepcopy(sub["default"])
            elif sub.get("type") == "object" and "required" not in sub and "properties" in sub \
                    and key not in schema.get("required", ()) and not sub.get("x-optional"):
                value[key] = {}
        if key in value:
            _fill(value[key], sub, root)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for key in value:
            if key not in schema.get("properties", {}):
                _fill(value[key], extra, root)


def _leaves(errors):
    """Each error; of alternatives (`anyOf`) only those of the closest one."""
    for error in errors:
        if error.validator == "anyOf" and isinstance(error.instance, dict | list):
            inner = [e for e in error.context if e.validator != "const" and e.validator != "type"]
            if inner:
                yield from _leaves(inner)
                continue
        yield error


def _translate(error, file, root) -> list[InputError]:
    key = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        return _unknown_keys(error, file, key)
    return [_one_fault(error, file, key, root)]


def _unknown_keys(error, file, key) -> list[InputError]:
    """Keys that a mapping must not have; a schema's `x-renamed` tells earlier names of keys."""
    known = sorted(error.schema.get("properties", {}))
    faults = []
    for unknown in sorted(set(error.instance) - set(known), key=str):
        problem, allowed = "unknown key", ", ".join(known) or "no keys"
        if new := error.schema.get("x-renamed", {}).get(unknown):
            problem, allowed = f"{unknown} is now {new}", new
        elif close := difflib.get_close_matches(str(unknown), known, 1):
            problem = f"unknown key, did you mean '{close[0]}'?"
        faults.append(InputError(problem, file=file, key=_join(key, unknown),
                                 value=error.instance[unknown], allowed=allowed))
    return faults


def _one_fault(error, file, key, root) -> InputError:
    schema, value = error.schema, error.instance
    if error.validator == "required":
        # One error per missing key; only its message says which one it is about.
        missing = next(name for name in error.validator_value
                       if error.message.startswith(f"{name!r} "))
        return InputError("is missing", file=file, key=_join(key, missing),
                          allowed=_allowed(schema.get("properties", {}).get(missing, {}), root))
    if error.validator == "propertyNames" or "propertyNames" in error.absolute_schema_path:
        return InputError("is not a usable name", file=file, key=_join(key, value),
                          allowed="lower-case letters, digits and _, beginning with a letter")
    problems = {"type": "has the wrong type", "enum": "is not known",
                "pattern": "has the wrong form",
                "anyOf": "fits none of the possibilities", "uniqueItems": "names something twice",
                "minItems": "has too few entries", "maxItems": "has too many entries",
                "minProperties": "is empty"}
    return InputError(problems.get(error.validator, "is out of range"), file=file, key=key or None,
                      value=value, allowed=_allowed(schema, root))


def _join(key, name) -> str:
    return f"{key}.{name}" if key else str(name)


def _allowed(schema: dict, root: dict) -> str:
    """The values that a schema accepts, in words."""
    schema = resolve(schema, root)
    if "const" in schema:
        return "null" if schema["const"] is None else f"'{schema['const']}'"
    if "enum" in schema:
        return ", ".join(str(item) for item in schema["enum"])
    if "discriminator" in schema:
        return (f"keys and values with one of these as "
                f"{schema['discriminator']['propertyName']}: {', '.join(kinds(schema))}")
    if "anyOf" in schema:
        return " or ".join(_allowed(option, root) for option in schema["anyOf"])
    words = [{"number": "a number", "integer": "a whole number", "string": "text",
              "array": "a list", "object": "keys and values"}.get(schema.get("type"), "a value")]
    if schema.get("type") == "array":
        low, high = schema.get("minItems"), schema.get("maxItems")
        if low is not None and low == high:
            words.append(f"of {low} entries")
        elif low:
            words.append(f"of at least {low}")
        if schema.get("uniqueItems"):
            words.append("all different")
        if "items" in schema:
            words.append(f"each {_allowed(schema['items'], root)}")
    for name, sign in (("exclusiveMinimum", "above"), ("minimum", "at least"),
                       ("exclusiveMaximum", "below"), ("maximum", "at most")):
        if name in schema:
            words.append(f"{sign} {schema[name]}")
    if "properties" in schema:
        words.append("of " + ", ".join(schema["properties"]))
    if "pattern" in schema:
        words.append(f"of the form {schema['pattern']}")
    return " ".join(words)


def _not_finite(value, file, key="") -> list[InputError]:
    if isinstance(value, dict):
        return [e for name, sub in value.items() for e in _not_finite(sub, file, _join(key, name))]
    if isinstance(value, list):
        return [e for i, sub in enumerate(value) for e in _not_finite(sub, file, _join(key, i))]
    if isinstance(value, float) and not math.isfinite(value):
        return [InputError("is not a finite number", file=file, key=key, value=value,
                           allowed="a finite number")]
    return []
