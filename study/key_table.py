"""Write `config/README.md` from the schemas: meaning, unit, default and range of every key."""

from __future__ import annotations

import json

from .controllers import patient_schema
from .schema import kinds, load_schema, resolve

UNITS = {"_mm": "mm", "_m": "m", "_s": "s", "_c": "degC", "_k": "K", "_w": "W", "_hz": "Hz",
         "_w_m_k": "W/m/K", "_kg_m3": "kg/m3", "_j_kg_k": "J/kg/K", "_kg_m3_s": "kg/m3/s",
         "_m_s": "m/s", "_k_per_min": "K/min", "_c_per_min": "degC/min",
         "_np_m_mhz": "Np/m/MHz", "_cem43_min": "min at 43 degC"}
INTRODUCTION = """# Configuration

`config.yaml` says which patients are treated. Each patient is one file in `patients/`; it names
its transducer, a file in `transducers/` or one beside the patient file, and takes tissue values
from `tissues.yaml`. Every key has a default but the anatomy, its regions and the target. Unknown
keys are errors. Check a file with

    hifuflow validate config/patients/breast_reference.yaml

A key's unit is in its name. Positions are in the patient frame: R, A, S (right, front and top are
positive). Values of physics and of devices carry their source in the file they stand in.

This page is made from `workflow/schemas/` by `hifuflow document`.
"""
SECTIONS = (("study", "config.yaml"), ("patient", "patients/NAME.yaml"),
            ("transducer", "transducers/NAME.yaml"), ("tissues", "tissues.yaml"),
            ("campaign", "campaign.yaml"))


def configuration_page() -> str:
    """The whole page as Markdown."""
    parts = [INTRODUCTION]
    for name, title in SECTIONS:
        schema = patient_schema({}) if name == "patient" else load_schema(name)
        rows = ["| key | meaning | unit | default | allowed |", "|---|---|---|---|---|"]
        rows += [f"| `{key}` | {meaning} | {unit} | {default} | {allowed} |"
                 for key, meaning, unit, default, allowed in _rows(schema, schema, "")]
        parts.append(f"## {title}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _rows(schema, root, prefix):
    for key, raw in schema.get("properties", {}).items():
        sub = resolve(raw, root)
        name = f"{prefix}{key}"
        default = f"`{json.dumps(sub['default'])}`" if "default" in sub else _no_default(
            key, sub, schema)
        yield (name, sub.get("description", ""), _unit(key), default,
               _range(sub, root).replace("|", "\\|"))
        yield from _rows(sub, root, f"{name}.")
        for option in sub.get("anyOf", ()):
            yield from _rows(resolve(option, root), root, f"{name}.")
        items = sub.get("items", {})
        if "discriminator" in items:
            for kind, option in kinds(items).items():
                yield f"{name}.{kind}", option["description"], "", "", "keys and values"
                without = {**option, "properties": {
                    key: value for key, value in option["properties"].items() if key != "kind"}}
                yield from _rows(without, root, f"{name}.{kind}.")
        extra = sub.get("additionalProperties")
        if isinstance(extra, dict):
            yield from _rows(resolve(extra, root), root, f"{name}.NAME.")


def _no_default(key, sub, parent) -> str:
    if key in parent.get("required", ()):
        return "(required)"
    return "" if "properties" in sub else "(none)"


def _unit(key) -> str:
    fitting = [suffix for suffix in UNITS if f"_{key}".endswith(suffix)]
    return UNITS[max(fitting, key=len)] if fitting else ""


def _range(schema, root) -> str:
    schema = resolve(schema, root)
    if "const" in schema:
        return f"`{'null' if schema['const'] is None else schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{item}`" for item in schema["enum"])
    if "discriminator" in schema:
        return f"one of {', '.join(f'`{kind}`' for kind in kinds(schema))}"
    if "anyOf" in schema:
        return " or ".join(_range(option, root) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_range(schema.get('items', {}), root)}"
    if schema.get("type") == "object":
        return "keys and values"
    words = {"number": "number", "integer": "whole number", "string": "text"}
    low, high = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    text = [words.get(schema.get("type"), "")]
    if above is not None:
        text.append(f"> {above:g}")
    if low is not None:
        text.append(f">= {low:g}")
    if high is not None:
        text.append(f"<= {high:g}")
    return " ".join(text)
